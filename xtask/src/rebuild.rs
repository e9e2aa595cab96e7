//! Acts: carries out a plan, step by step, or shows it.
//!
//! The old container serves until the new image is built and, for `full`,
//! checked. The new image is built under a name of its own, so whatever goes
//! wrong before the swap, the service's name still stands for the old one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{
    cleanup,
    compose::{self, Container, Docker, Image, SERVICE, files},
    decide::{Action, ContainerState, ImageState},
    device::Device,
    failure::Failure,
    health,
    memory::Memory,
    plan::{self, Step},
    process::{self, Invocation},
    provenance, report, requirements,
    state::{self, State},
    torch::{PROBE, Report},
    way_back,
};

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
    action: Action,
    mut state: State,
    memory: &mut Memory,
    options: &Options,
) -> Result<()> {
    if action == Action::Restart && state.situation.image == ImageState::Missing {
        bail!(
            Failure::new(format!("there is no image `{}` to start", state.project.image))
                .hint("cargo xtask full")
        );
    }
    if action >= Action::Fast && state.inputs.is_none() {
        bail!(
            Failure::new(format!("service `{SERVICE}` has no `build` section in the compose file"))
                .hint(format!("docker compose pull {SERVICE}, then: cargo xtask restart"))
        );
    }
    match state.device {
        Device::Cpu(why) if action > Action::None => println!("{why}: adding {}", files::CPU_FILE),
        Device::Unknown if options.dry_run => {
            println!(
                "without an NVIDIA card, known once there is an image, {} is added",
                files::CPU_FILE
            );
        }
        _ => {}
    }
    let steps = plan::plan(action, &state.situation, options.pull);
    if options.dry_run {
        for step in steps {
            plan::show(step, &state);
        }
        return Ok(());
    }
    let mut run = Run { action, started: options.started, new: None, packages: None };
    for step in steps {
        let done = run.step(step, &mut state, memory, options);
        done.map_err(|error| run.look_back(step, error, &state, options))?;
    }
    Ok(())
}

/// An action under way, and what its steps so far have led to.
struct Run {
    action: Action,
    started: Instant,
    /// The image to swap to; its id may be the old one's.
    new: Option<Image>,
    /// What the check found installed in it.
    packages: Option<requirements::Pins>,
}

impl Run {
    fn step(
        &mut self,
        step: Step,
        state: &mut State,
        memory: &mut Memory,
        options: &Options,
    ) -> Result<()> {
        let command = plan::command(step, state);
        match (step, command) {
            (Step::Build { .. }, Some(command)) => self.new = Some(build(&command, state)?),
            (Step::CheckTorch, _) => {
                let checked = self.check_torch(state);
                checked.inspect_err(|_| self.disown(state))?;
            }
            (Step::Adopt, Some(command)) if self.swaps(state) => {
                way_back::keep(state)?;
                state.docker.change(&command).context("giving the new image its name")?;
            }
            (Step::Up, _) => self.up(state, memory)?,
            (Step::Unpause | Step::Restart, Some(command)) => {
                state.docker.change(&command).with_context(|| format!("restarting `{SERVICE}`"))?;
            }
            (Step::Await, _) => {
                let container =
                    state.docker.container(&state.project)?.context("Compose made no container")?;
                let container = health::wait(&state.docker, &container.id, options.timeout)?;
                self.tell(&container, state, memory);
            }
            (Step::Forget, _) => {
                if let Some(new) = &self.new {
                    cleanup::after(state, new, self.packages.as_ref())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// # Errors
    /// When torch isn't what requirements.txt pins it to be.
    fn check_torch(&mut self, state: &State) -> Result<()> {
        let requirements =
            state.inputs.as_ref().map(|inputs| requirements::pins(&inputs.requirements));
        let Some(pin) = requirements.as_ref().and_then(|pins| pins.get("torch")) else {
            println!("{} pins no torch: nothing to check in the new image", requirements::PATH);
            return Ok(());
        };
        println!("checking torch in the new image");
        let report = Report::parse(&state.docker.python_in_image(&state.candidate(), PROBE)?);
        report.check(pin).context("the new image is not fit to serve, the old one stays")?;
        self.packages = Some(report.packages);
        Ok(())
    }

    /// Takes the name for good images from one that failed its check, gives it
    /// back to the old image where that had it, and keeps the new for inspection.
    fn disown(&self, state: &State) {
        let (Some(new), candidate) = (&self.new, state.candidate()) else { return };
        let failed = provenance::failed(&state.project.name);
        let old = state.image.as_ref().filter(|old| old.tags.contains(&candidate));
        let name_back = match old {
            Some(old) => compose::tag(&old.id, &candidate),
            None => compose::remove_image(&candidate),
        };
        // An older failure makes room. The check's own error is the one to report.
        for command in [compose::remove_image(&failed), compose::tag(&new.id, &failed), name_back] {
            let _ = state.docker.quietly(&command);
        }
        eprintln!(
            "the new image is kept as {failed}; to look inside: docker run --rm -it --entrypoint sh {failed}"
        );
    }

    /// # Errors
    /// When the machine's card is out of reach, or Compose can't start the container.
    fn up(&self, state: &mut State, memory: &mut Memory) -> Result<()> {
        if let (Device::Unknown, Some(new)) = (state.device, &self.new) {
            // The first image: only now is there something to look for a card with.
            state.device =
                state::look_for_card(&state.docker, &state.engine, memory, None, Some(new))?;
            if let Device::Cpu(why) = state.device {
                println!("{why}: adding {}", files::CPU_FILE);
                state.docker = state.docker.on_cpu(true);
            }
        }
        if let Some(command) = plan::command(Step::Up, state) {
            state.docker.change(&command).with_context(|| format!("starting `{SERVICE}`"))?;
        }
        // Compose counts a hung container as up to date.
        let hung = matches!(
            state.situation.container,
            ContainerState::Unhealthy | ContainerState::CrashLooping { .. }
        );
        let after = state.docker.container(&state.project)?;
        let same = after
            .zip(state.container.as_ref())
            .is_some_and(|(after, before)| after.id == before.id);
        if hung && same {
            state
                .docker
                .change(&state.docker.restart())
                .with_context(|| format!("restarting `{SERVICE}`"))?;
        }
        Ok(())
    }

    /// Whether another image than before is put to use.
    fn swaps(&self, state: &State) -> bool {
        self.new
            .as_ref()
            .is_some_and(|new| Some(&new.id) != state.image.as_ref().map(|old| &old.id))
    }

    /// After a failure: `full` goes back to the superseded image; `fast` leaves
    /// the new container to its developer and names the way back.
    fn look_back(
        &self,
        step: Step,
        error: anyhow::Error,
        state: &State,
        options: &Options,
    ) -> anyhow::Error {
        let swapped = self.swaps(state) && [Step::Up, Step::Await].contains(&step);
        if !swapped || state.image.is_none() {
            return error;
        }
        if self.action != Action::Full || process::interrupted().is_err() {
            return Failure::new("the new image does not serve; the superseded one is still there")
                .hint("cargo xtask rollback   # back to the superseded image")
                .because(error)
                .into();
        }
        eprintln!("the new image does not serve: going back to the superseded one");
        let message = match way_back::go(state, options.timeout) {
            Ok(_) => "the new image does not serve; the superseded one serves again".to_owned(),
            Err(worse) => format!("the new image does not serve, and going back failed: {worse:#}"),
        };
        Failure::new(message).because(error).into()
    }

    /// Says that the service answers, and remembers how long that took, unless
    /// a build had nothing to do: that says nothing about the next.
    fn tell(&self, container: &Container, state: &State, memory: &mut Memory) {
        let at =
            container.address.as_ref().map(|at| format!(" on http://{at}")).unwrap_or_default();
        let says = match &container.healthcheck {
            Some(_) => format!("`{SERVICE}` answers{at}"),
            None => format!(
                "`{SERVICE}` runs{at}; without a healthcheck nothing tells whether it answers"
            ),
        };
        if self.action == Action::None {
            println!("{says}");
        } else {
            let took = self.started.elapsed();
            if self.new.is_none() || self.swaps(state) {
                memory.took(self.action.word(), took);
            }
            println!(
                "{says}, {} after the start of `{}`",
                report::spoken(took),
                self.action.word()
            );
        }
    }
}

/// Builds, and settles which image is to serve: where the new one runs like the
/// old, the old one is kept, so that nothing is swapped for nothing.
fn build(command: &Invocation, state: &State) -> Result<Image> {
    let candidate = state.candidate();
    state
        .docker
        .run(command)
        .with_context(|| format!("building `{SERVICE}`; what served before still does"))?;
    let new = find(&state.docker, &candidate)?;
    remember(&candidate, state)?;
    match &state.image {
        Some(old) if old.id != new.id && old.runs_like(&new) => {
            state.docker.change(&compose::tag(&old.id, &candidate))?;
            state.docker.quietly(&compose::remove_image(&new.id))?;
            println!("the build yields what `{}` already is", state.project.image);
            find(&state.docker, &candidate)
        }
        _ => Ok(new),
    }
}

/// Leaves a record of the inputs beside the image, if there is none yet.
fn remember(candidate: &str, state: &State) -> Result<()> {
    let record = provenance::record_name(candidate);
    if let (Some(inputs), None) = (&state.inputs, state.docker.image(&record)?) {
        let text = provenance::record(inputs);
        state.docker.quietly(&compose::label_image(&record, provenance::LABEL, &text))?;
    }
    Ok(())
}

fn find(docker: &Docker, name: &str) -> Result<Image> {
    docker.image(name)?.with_context(|| format!("the build left no image `{name}`"))
}
