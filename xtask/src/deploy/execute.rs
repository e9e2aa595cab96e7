//! Acts: carries out a plan, step by step, or shows it.
//!
//! The old container serves until the new image is built and, for `full`,
//! checked. The new image is built under a name that says nothing, so whatever
//! goes wrong before the swap, every name stands for what it stood for.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::deploy::decide::{Action, ContainerState, ImageState};
use crate::deploy::device::Device;
use crate::deploy::health;
use crate::deploy::observe::{self, State};
use crate::deploy::plan::{self, Step};
use crate::deploy::preflight;
use crate::deploy::prune;
use crate::deploy::rollback::{self, Names};
use crate::docker::{self, Container, Docker, Image, SERVICE, files};
use crate::error::{self, Failure};
use crate::image::provenance;
use crate::image::requirements;
use crate::process;
use crate::python::report::{PROBE, Report};
use crate::ui::durations::Memory;
use crate::ui::report;

/// How a decision is carried out.
#[derive(Clone, Debug)]
pub struct Options {
    /// When the user pressed return, as far as we can know.
    pub started: Instant,
    pub dry_run: bool,
    /// How long the service may take to answer.
    pub timeout: Duration,
    /// `full` looks for newer base images.
    pub pull: bool,
}

/// Carries out `action`, or only shows it, and remembers how long it took.
///
/// # Errors
/// When a step fails; what served before the swap then still does.
pub fn carry_out(
    root: &Path,
    action: Action,
    mut state: State,
    memory: &mut Memory,
    options: &Options,
) -> Result<()> {
    let nothing_runs = matches!(
        state.situation.container,
        ContainerState::Missing | ContainerState::Stopped { .. }
    );
    if action == Action::Restart && state.situation.image == ImageState::Missing && nothing_runs {
        bail!(
            Failure::new(format!("there is no image `{}` to start", state.project.image))
                .hint("cargo xtask full")
        );
    }
    if action >= Action::Fast && state.inputs.is_none() {
        bail!(
            Failure::new(format!("service `{SERVICE}` has no `build` section in the compose file"))
                .hint(format!("docker compose pull {SERVICE} && cargo xtask restart"))
        );
    }
    if action > Action::None {
        tell_device(&state, options.dry_run);
    }
    let steps = plan::plan(action, &state.situation, options.pull);
    if options.dry_run {
        steps.into_iter().for_each(|step| plan::show(step, &state));
        return Ok(());
    }
    let mut run = Run { root, action, options, new: None, packages: None, names: None };
    for step in steps {
        let done = run.step(step, &mut state, memory);
        done.map_err(|error| run.look_back(step, error, &state))?;
    }
    Ok(())
}

fn tell_device(state: &State, dry_run: bool) {
    match state.device {
        Device::Cpu(why) if state.docker.adds_cpu_file() => {
            say!("{why}: adding {}", files::CPU_FILE)
        }
        Device::Unknown if dry_run => {
            say!(
                "without an NVIDIA card, known once there is an image, {} is added",
                files::CPU_FILE
            );
        }
        _ => {}
    }
}

/// An action under way, and what its steps so far have led to.
struct Run<'a> {
    root: &'a Path,
    action: Action,
    options: &'a Options,
    /// The image to put to use; its id may be the old one's.
    new: Option<Image>,
    /// What the check found installed in it.
    packages: Option<requirements::Pins>,
    /// What the service's names stood for before they moved.
    names: Option<Names>,
}

impl Run<'_> {
    fn step(&mut self, step: Step, state: &mut State, memory: &mut Memory) -> Result<()> {
        match step {
            Step::Build { .. } => self.build(step, state),
            Step::CheckTorch => self.check_torch(state),
            Step::Try => self.try_swap(state),
            Step::Adopt => self.adopt(state),
            Step::Up => self.up(state),
            Step::Unpause | Step::Restart => {
                run(step, state).with_context(|| format!("restarting `{SERVICE}`"))
            }
            Step::Await => {
                let before = state.container.as_ref();
                let container =
                    health::wait(&state.docker, &state.project, before, self.options.timeout)?;
                self.tell(&container, state, memory);
                match self.action {
                    Action::None => prune::unfinished(state),
                    Action::Restart => prune::unfinished(state).and(rollback::forget(state)),
                    // Their own cleanup takes both along.
                    Action::Fast | Action::Full => Ok(()),
                }
            }
            Step::Forget { full } => prune::after(state, full, self.packages.as_ref()),
        }
    }

    /// Builds, and settles which image is to be used: where the new one runs
    /// like the old, the old one is kept, so that nothing is swapped for nothing.
    fn build(&mut self, step: Step, state: &mut State) -> Result<()> {
        let building = provenance::building(&state.project.name);
        for command in plan::commands(step, state) {
            state.docker.run(&command).map_err(|error| {
                Failure::new(format!("building `{SERVICE}` failed; what served before still does"))
                    .hint("cargo xtask up   # once it is mended")
                    .because(error)
            })?;
        }
        // What was edited meanwhile is in the image or not: nobody can tell, so
        // no name may say what it was built from.
        let docker = state.docker.on_cpu(false);
        let (now, new) = observe::both(&docker, Docker::project, |d| d.image(&building));
        let (now, new) = (now?, new?.context("the build left no image")?);
        if now != state.project || observe::read_inputs(self.root, &now)? != state.inputs {
            say!("the sources changed while building; afterwards: cargo xtask up");
            state.inputs = None;
        }
        self.new = match &state.image {
            Some(old) if old.id != new.id && old.runs_like(&new) => {
                say!("the build yields what `{}` already is", state.project.image);
                state.docker.quietly(&docker::remove_image(&building))?;
                Some(old.clone())
            }
            _ => Some(new),
        };
        Ok(())
    }

    /// # Errors
    /// When torch isn't what requirements.txt pins it to be.
    fn check_torch(&mut self, state: &State) -> Result<()> {
        say!("checking torch in the new image");
        let report = Report::parse(&state.docker.python_in_image(self.image_to_run(state), PROBE)?);
        match requirements::pins(&requirements::read(self.root)?).get("torch") {
            Some(pin) => report.check(pin).map_err(|error| {
                Failure::new("the new image is not fit to serve, the old one stays")
                    .hint("cargo xtask full   # once it is mended")
                    .because(error)
            })?,
            None => say!("{} pins no torch: any will do", requirements::PATH),
        }
        self.packages = Some(report.packages);
        Ok(())
    }

    fn adopt(&mut self, state: &State) -> Result<()> {
        self.names = Some(Names::now(state)?);
        let mut tags = plan::adopt(self.image_to_run(state), state).into_iter();
        tags.try_for_each(|tag| state.docker.change(&tag))
            .context("giving the new image its names")?;
        let building = provenance::building(&state.project.name);
        state.docker.quietly(&docker::remove_image(&building)).map(drop)
    }

    /// Lists what the new image was built from, which only wordings depend on.
    fn record(&self, state: &State) -> Result<()> {
        let (Some(inputs), Some(name)) = (&state.inputs, state.own_name()) else { return Ok(()) };
        let record = provenance::record_name(&name);
        if state.docker.image(&record)?.is_none() {
            let text = provenance::record(inputs);
            state.docker.quietly(&docker::label_image(&record, provenance::LABEL, &text))?;
        }
        Ok(())
    }

    /// # Errors
    /// When the machine's card, a port or a service that this one depends on is
    /// not to be had.
    fn try_swap(&self, state: &mut State) -> Result<()> {
        if let (Device::Unknown, Some(new)) = (state.device, &self.new) {
            // The first image: only now is there something to look for a card with.
            state.device =
                observe::look_for_card(&state.docker, state.engine.as_ref(), None, Some(new))?;
            state.docker = state.docker.on_cpu(state.device.is_cpu());
            tell_device(state, false);
        }
        if let Some(image) = self.new.as_ref().or(state.image.as_ref()) {
            preflight::before_swap(state, state.container.as_ref(), image)?;
        }
        run(Step::Try, state).map_err(|error| {
            let project = &state.project;
            let names = [&*project.needs_started, &*project.needs_healthy].concat().join(" ");
            Failure::new(format!(
                "what `{SERVICE}` depends on does not come up; nothing was swapped"
            ))
            .hint(format!("docker compose logs --tail 50 {names}"))
            .because(error)
            .into()
        })
    }

    /// # Errors
    /// When Compose can't start the container.
    fn up(&self, state: &State) -> Result<()> {
        if self.swaps(state) {
            rollback::keep(state)?;
        }
        run(Step::Up, state).with_context(|| format!("starting `{SERVICE}`"))?;
        if self.action >= Action::Fast {
            // Here, since the service starts meanwhile; it may do without.
            let _ = self.record(state);
        }
        // Compose counts a hung container as up to date.
        let (ContainerState::Unhealthy | ContainerState::CrashLooping { .. }, Some(before)) =
            (&state.situation.container, &state.container)
        else {
            return Ok(());
        };
        if state.docker.container(&state.project)?.is_some_and(|after| after.id == before.id) {
            run(Step::Restart, state).with_context(|| format!("restarting `{SERVICE}`"))?;
        }
        Ok(())
    }

    /// Id of the image that is to serve; empty where there is none.
    fn image_to_run<'s>(&'s self, state: &'s State) -> &'s str {
        self.new.as_ref().or(state.image.as_ref()).map_or("", |image| &image.id)
    }

    /// Whether another image than before is put to use.
    fn swaps(&self, state: &State) -> bool {
        let runs = state.container.as_ref().map(|container| &*container.image);
        let before = runs.or(state.image.as_ref().map(|image| &*image.id));
        before.is_none_or(|before| before != self.image_to_run(state))
    }

    /// After a failure or a signal: what this run built and nobody uses goes.
    /// Where the old container still runs, all names stand for what they stood
    /// for; else `full` goes back to what served, and the others leave the new
    /// container to its developer and name the way back.
    fn look_back(&self, step: Step, error: anyhow::Error, state: &State) -> anyhow::Error {
        // The error knows of the signal; another one ends what follows.
        let interrupted = process::take_signal();
        let docker = &state.docker;
        if let Step::Build { .. } | Step::CheckTorch | Step::Try | Step::Adopt = step {
            if step == Step::CheckTorch && !interrupted {
                rollback::keep_failed(state, self.image_to_run(state));
            }
            self.restore_names(docker);
            let building = provenance::building(&state.project.name);
            let _ = docker.quietly(&docker::remove_image(&building));
        }
        if ![Step::Unpause, Step::Restart, Step::Up, Step::Await].contains(&step) {
            return error;
        }
        if step != Step::Await && untouched(state) {
            self.restore_names(docker);
            if state.situation.container != ContainerState::Serving {
                return error;
            }
            let _ = rollback::forget(state);
            return Failure::new("nothing was swapped; what served before still does")
                .because(error)
                .into();
        }
        if !rollback::is_known(state).unwrap_or_default() {
            return error;
        }
        let what = match step {
            _ if interrupted => "interrupted before the new container answered",
            Step::Await => "the new container does not serve",
            _ => "the new container could not be started",
        };
        const BACK: &str = "cargo xtask rollback   # back to the image that served before";
        if self.action != Action::Full {
            return Failure::new(format!("{what}; the image that served before is still there"))
                .hint(BACK)
                .because(error)
                .into();
        }
        say!("{what}: going back to the image that served before");
        match rollback::go(state, self.names.as_ref(), self.options.timeout) {
            Ok(()) => Failure::new(format!("{what}; the image before serves again")).because(error),
            Err(worse) => {
                warn!("going back failed: {}", error::line(&worse));
                let failure = Failure::new(format!("{what}, nor does the image before"));
                let (_, hints) = error::remedies(&worse);
                hints.into_iter().fold(failure.because(error), Failure::hint).hint(BACK)
            }
        }
        .into()
    }

    /// Lets all names stand for what they stood for; the new image goes, if none
    /// is left for it.
    fn restore_names(&self, docker: &Docker) {
        let Some(names) = &self.names else { return };
        names.restore(docker);
        if let Some(new) = &self.new {
            let _ = prune::remove_nameless(docker, &new.id);
        }
    }

    /// Says that the service answers, and remembers how long that took, unless
    /// a build had nothing to do: that says nothing about the next.
    fn tell(&self, container: &Container, state: &State, memory: &mut Memory) {
        let says = report::answers(container);
        if self.action == Action::None {
            say!("{says}");
            return;
        }
        let took = self.options.started.elapsed();
        if self.new.is_none() || self.swaps(state) {
            memory.took(self.action.word(), took);
        }
        say!("{says}, {} after the start of `{}`", report::spoken(took), self.action.word());
    }
}

/// Runs the commands of a step that is short and had better not be cut in half.
fn run(step: Step, state: &State) -> Result<()> {
    plan::commands(step, state).iter().try_for_each(|command| state.docker.change(command))
}

/// Whether the old container is there as it was, and no other beside it: after
/// a swap that was broken off there are two, or it has ended.
fn untouched(state: &State) -> bool {
    let (Some(before), Ok(now)) = (&state.container, state.docker.containers(Some(&state.project)))
    else {
        return false;
    };
    match &*now {
        [now] => now.id == before.id && [&*before.state, "running"].contains(&&*now.state),
        _ => false,
    }
}
