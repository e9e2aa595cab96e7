//! The plan: what an action consists of, and the docker commands of each step.

use crate::deploy::decide::{Action, ContainerState, Drift, ImageState, Situation};
use crate::deploy::observe::State;
use crate::docker::{self, SERVICE};
use crate::image::provenance;
use crate::process::Invocation;
use crate::python::report::PROBE;

/// One thing to do; together they are the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Builds the new image under a name that says nothing yet.
    Build {
        no_cache: bool,
        pull: bool,
    },
    /// Makes sure that torch imports in the new image and is the pinned version.
    CheckTorch,
    /// Tries what would otherwise fail in the middle of the swap, and brings up
    /// what the service depends on.
    Try,
    /// Gives the new image the service's names, and the one that says what it
    /// was built from.
    Adopt,
    Unpause,
    Restart,
    /// Creates, recreates or starts the container, as Compose sees fit.
    Up,
    /// Waits until the service answers.
    Await,
    /// Removes what is superseded.
    Forget {
        full: bool,
    },
}

/// The steps of an action in a situation. Pure.
pub fn plan(action: Action, situation: &Situation, pull: bool) -> Vec<Step> {
    let full = action == Action::Full;
    let stopped =
        matches!(situation.container, ContainerState::Missing | ContainerState::Stopped { .. });
    // Without an image Compose can start nothing anew.
    let start =
        stopped || (situation.drift != Drift::None && situation.image != ImageState::Missing);
    let mut steps = Vec::new();
    if action >= Action::Fast {
        steps.push(Step::Build { no_cache: full, pull: full && pull });
        steps.extend(full.then_some(Step::CheckTorch));
        steps.extend([Step::Try, Step::Adopt]);
    }
    if action > Action::None {
        // Neither restarting nor recreating works on a frozen process.
        steps.extend((situation.container == ContainerState::Paused).then_some(Step::Unpause));
        match action {
            Action::Restart if start => steps.extend([Step::Try, Step::Up]),
            Action::Restart => steps.push(Step::Restart),
            _ => steps.push(Step::Up),
        }
    }
    // A service that is starting is waited for, even if there is nothing to do.
    steps.push(Step::Await);
    steps.extend((action >= Action::Fast).then_some(Step::Forget { full }));
    steps
}

/// The docker commands of a step; those of `Forget` depend on what the build
/// yields, and [`show`] says so.
pub fn commands(step: Step, state: &State) -> Vec<Invocation> {
    let (docker, project) = (&state.docker, &state.project);
    let building = provenance::building(&project.name);
    match step {
        Step::Build { no_cache, pull } => vec![docker.build(&building, no_cache, pull)],
        Step::CheckTorch => vec![docker::python_in(&building, PROBE)],
        Step::Adopt => adopt(&building, state),
        Step::Unpause => vec![docker.unpause()],
        Step::Restart => vec![docker.restart()],
        Step::Up => vec![docker.up()],
        Step::Try => docker.up_dependencies(project),
        Step::Await | Step::Forget { .. } => Vec::new(),
    }
}

/// Gives an image the name that says what it was built from, where anybody can
/// tell, and the service's.
pub fn adopt(image: &str, state: &State) -> Vec<Invocation> {
    let names = state.own_name().into_iter().chain(names(state));
    names.map(|name| docker::tag(image, &name)).collect()
}

/// The names that the compose file gives the service's image.
pub fn names(state: &State) -> impl Iterator<Item = String> + '_ {
    let tags = state.project.build.iter().flat_map(|build| build.tags.iter().cloned());
    [state.project.image.clone()].into_iter().chain(tags)
}

/// Prints the commands of a step instead of running them.
pub fn show(step: Step, state: &State) {
    let note = match step {
        Step::Build { .. } => {
            format!("   # stdin: services: {{{SERVICE}: {{image: …, build: {{tags: !reset []}}}}}}")
        }
        Step::CheckTorch => "   # stdin: xtask/src/python/probe.py".to_owned(),
        _ => String::new(),
    };
    for command in commands(step, state) {
        say!("would run: {command}{note}");
    }
    match step {
        Step::Adopt => {
            say!("would run: docker import …   # the record of what the image was built from")
        }
        Step::Forget { full } => {
            say!(
                "would run: docker image rm …   # the superseded image and its names, if the build yields another"
            );
            if full {
                say!(
                    "would run: docker buildx prune --filter id=…   # the build cache that only it used"
                );
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_in_every_kind_of_situation() {
        use {Action as A, ContainerState as C, Drift as D, ImageState as I, Step as S};
        let build = |no_cache, pull| S::Build { no_cache, pull };
        let exited = || C::Stopped { state: "exited".into(), exit_code: 1 };
        let fast =
            [build(false, false), S::Try, S::Adopt, S::Up, S::Await, S::Forget { full: false }];
        let full = [
            build(true, true),
            S::CheckTorch,
            S::Try,
            S::Adopt,
            S::Unpause,
            S::Up,
            S::Await,
            S::Forget { full: true },
        ];
        for (action, image, container, drift, want) in [
            (A::None, I::Current, C::Starting, D::None, &[S::Await][..]),
            (A::Restart, I::Current, C::Serving, D::None, &[S::Restart, S::Await]),
            (A::Restart, I::Current, C::Unhealthy, D::None, &[S::Restart, S::Await]),
            (A::Restart, I::Current, C::Serving, D::Configuration, &[S::Try, S::Up, S::Await]),
            (A::Restart, I::Current, C::Serving, D::Image, &[S::Try, S::Up, S::Await]),
            (A::Restart, I::Missing, C::Serving, D::Configuration, &[S::Restart, S::Await]),
            (A::Restart, I::Current, exited(), D::None, &[S::Try, S::Up, S::Await]),
            (A::Restart, I::Current, C::Missing, D::None, &[S::Try, S::Up, S::Await]),
            (A::Restart, I::Current, C::Paused, D::None, &[S::Unpause, S::Restart, S::Await]),
            (A::Fast, I::Current, C::Serving, D::None, &fast),
            (A::Full, I::Current, C::Paused, D::None, &full),
        ] {
            let situation = Situation { image_name: "x".into(), image, container, drift };
            assert_eq!(plan(action, &situation, true), want, "{action:?} {situation:?}");
        }
    }
}
