//! The plan: what an action consists of, and the docker command of each step.

use crate::{
    compose::{self, SERVICE},
    decide::{Action, ContainerState, Drift, Situation},
    process::Invocation,
    state::State,
    torch::PROBE,
};

/// One thing to do; together they are the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Builds the new image under its own name.
    Build {
        no_cache: bool,
        pull: bool,
    },
    /// Makes sure that torch imports in the new image and is the pinned version.
    CheckTorch,
    /// Gives the new image the service's name.
    Adopt,
    Unpause,
    Restart,
    /// Creates, recreates or starts the container, as Compose sees fit.
    Up,
    /// Waits until the service answers.
    Await,
    /// Removes the superseded image.
    Forget,
}

/// The steps of an action in a situation. Pure.
pub fn plan(action: Action, situation: &Situation, pull: bool) -> Vec<Step> {
    let full = action == Action::Full;
    let stopped =
        matches!(situation.container, ContainerState::Missing | ContainerState::Stopped { .. });
    let start = if stopped || situation.drift != Drift::None { Step::Up } else { Step::Restart };
    let mut steps = Vec::new();
    if action >= Action::Fast {
        steps.push(Step::Build { no_cache: full, pull: full && pull });
        steps.extend(full.then_some(Step::CheckTorch));
        steps.push(Step::Adopt);
    }
    if action > Action::None {
        // Neither restarting nor recreating works on a frozen process.
        steps.extend((situation.container == ContainerState::Paused).then_some(Step::Unpause));
        steps.push(if action == Action::Restart { start } else { Step::Up });
    }
    // A service that is starting is waited for, even if there is nothing to do.
    steps.push(Step::Await);
    steps.extend((action >= Action::Fast).then_some(Step::Forget));
    steps
}

/// The docker command of a step; none for those that only watch.
pub fn command(step: Step, state: &State) -> Option<Invocation> {
    let docker = &state.docker;
    Some(match step {
        Step::Build { no_cache, pull } => docker.build(&state.candidate(), no_cache, pull),
        Step::CheckTorch => compose::python_in(&state.candidate(), PROBE),
        Step::Adopt => compose::tag(&state.candidate(), &state.project.image),
        Step::Unpause => docker.unpause(),
        Step::Restart => docker.restart(),
        Step::Up => docker.up(),
        Step::Forget => compose::remove_image(&state.image.as_ref()?.id),
        Step::Await => return None,
    })
}

/// Prints the command of a step instead of running it.
pub fn show(step: Step, state: &State) {
    let note = match step {
        Step::Build { .. } => format!("   # stdin: services: {{{SERVICE}: {{image: …}}}}"),
        Step::CheckTorch => "   # stdin: xtask/src/probe.py".to_owned(),
        Step::Forget => "   # if the build yields another image".to_owned(),
        _ => String::new(),
    };
    if let Some(command) = command(step, state) {
        println!("would run: {command}{note}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::ImageState;

    #[test]
    fn every_action_in_every_kind_of_situation() {
        use {Action as A, ContainerState as C, Drift as D, Step as S};
        let build = |no_cache, pull| S::Build { no_cache, pull };
        let exited = || C::Stopped { state: "exited".into(), exit_code: 1 };
        for (action, container, drift, pull, want) in [
            (A::None, C::Starting, D::None, false, vec![S::Await]),
            (A::Restart, C::Serving, D::None, false, vec![S::Restart, S::Await]),
            (A::Restart, C::Unhealthy, D::None, false, vec![S::Restart, S::Await]),
            (A::Restart, C::Serving, D::Configuration, false, vec![S::Up, S::Await]),
            (A::Restart, C::Serving, D::Image, false, vec![S::Up, S::Await]),
            (A::Restart, exited(), D::None, false, vec![S::Up, S::Await]),
            (A::Restart, C::Missing, D::None, false, vec![S::Up, S::Await]),
            (A::Restart, C::Paused, D::None, false, vec![S::Unpause, S::Restart, S::Await]),
            (
                A::Fast,
                C::Serving,
                D::None,
                true,
                vec![build(false, false), S::Adopt, S::Up, S::Await, S::Forget],
            ),
            (
                A::Full,
                C::Missing,
                D::None,
                true,
                vec![build(true, true), S::CheckTorch, S::Adopt, S::Up, S::Await, S::Forget],
            ),
            (
                A::Full,
                C::Paused,
                D::None,
                false,
                vec![
                    build(true, false),
                    S::CheckTorch,
                    S::Adopt,
                    S::Unpause,
                    S::Up,
                    S::Await,
                    S::Forget,
                ],
            ),
        ] {
            let situation =
                Situation { image_name: "x".into(), image: ImageState::Current, container, drift };
            assert_eq!(plan(action, &situation, pull), want, "{action:?} {situation:?}");
        }
    }
}
