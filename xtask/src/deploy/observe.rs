//! Observes: asks Docker and the sources for everything a decision needs,
//! independent questions at the same time.

use std::{path::Path, thread};

use anyhow::{Result, anyhow};

use crate::deploy::decide::{ContainerState, Drift, ImageState, Situation};
use crate::deploy::device::{self, Device};
use crate::docker::{self, Container, Docker, Engine, Image, Project, files};
use crate::image::inputs::Inputs;
use crate::image::provenance::{self, Differences, Origin};
use crate::image::requirements;

/// The service as it is: on disk, on the engine, and in its container.
pub struct State {
    /// Docker with the compose files that fit the device.
    pub docker: Docker,
    /// None where nobody needed to ask yet.
    pub engine: Option<Engine>,
    pub project: Project,
    pub device: Device,
    pub container: Option<Container>,
    /// The image that the service's name stands for.
    pub image: Option<Image>,
    /// None where the service has no `build` section.
    pub inputs: Option<Inputs>,
    /// Whether the image says what it was built from.
    pub known_origin: bool,
    pub situation: Situation,
}

impl State {
    /// The name that says what an image built now is built from; none where
    /// nobody can tell.
    pub fn own_name(&self) -> Option<String> {
        self.inputs.as_ref().map(|inputs| provenance::name(&self.project.name, inputs))
    }
}

/// What has to be known before anything else: whose containers, on whose engine.
#[derive(Clone)]
pub struct Ground {
    pub engine: Engine,
    pub project: Project,
}

impl Ground {
    /// # Errors
    /// When Docker does not answer or the compose file is wrong.
    pub fn of(docker: &Docker) -> Result<Ground> {
        let (engine, project) = Ground::ask(docker);
        Ok(Ground { engine: engine?, project: project? })
    }

    /// Asks for both at the same time, each with an answer of its own.
    pub fn ask(docker: &Docker) -> (Result<Engine>, Result<Project>) {
        both(docker, Docker::engine, Docker::project)
    }
}

/// Looks at everything once, except for drift where that does not count; changes
/// nothing.
///
/// # Errors
/// When Docker does not answer, an input can't be read, or the machine's NVIDIA
/// card is out of Docker's reach.
pub fn observe(root: &Path, docker: &Docker, ground: Ground, drift_counts: bool) -> Result<State> {
    observe_on(wish(root)?, root, docker, ground, drift_counts, None)
}

/// The service's container and its image.
pub type Known = (Option<Container>, Option<Image>);

/// The same on a given device, or for `None` on the one that fits the machine,
/// and without asking again for what is known.
///
/// # Errors
/// As [`observe`].
pub fn observe_on(
    forced: Option<Device>,
    root: &Path,
    docker: &Docker,
    ground: Ground,
    drift_counts: bool,
    known: Option<Known>,
) -> Result<State> {
    let Ground { engine, project } = ground;
    // What the engine offers is a good guess, so Compose can be asked for drift
    // before anybody has looked for a card.
    let early = docker.on_cpu(forced.map_or(!engine.has_nvidia, Device::is_cpu));
    thread::scope(|scope| {
        let inputs = scope.spawn(|| read_inputs(root, &project));
        let drifted = scope.spawn({
            let early = early.clone();
            move || if drift_counts { early.drifted().map(Some) } else { Ok(None) }
        });
        let known = match known {
            Some(known) => known,
            None => {
                let asked = both(docker, |d| d.container(&project), |d| d.image(&project.image));
                (asked.0?, asked.1?)
            }
        };
        let device = match forced {
            Some(device) => device,
            None => look_for_card(docker, Some(&engine), known.0.as_ref(), known.1.as_ref())?,
        };
        let seen = Seen { drifted: (early, join(drifted)?), inputs: join(inputs)?, device, known };
        seen.judge(docker, Some(engine.clone()), project.clone())
    })
}

/// The same for who changes nothing, and so needs no lock, nor to know first
/// whose containers are meant, on which engine: everything is asked at once.
///
/// # Errors
/// As [`observe`].
pub fn glance(root: &Path, docker: &Docker) -> Result<State> {
    let forced = wish(root)?;
    let early =
        docker.on_cpu(forced.map_or_else(|| docker::card_here() != Some(true), Device::is_cpu));
    thread::scope(|scope| {
        let project = scope.spawn({
            let docker = docker.clone();
            move || docker.project()
        });
        let drifted = scope.spawn({
            let early = early.clone();
            move || early.drifted().map(Some)
        });
        // Most machines have one, which says what its image's name is.
        let everyones = docker.containers(None);
        let name = everyones.iter().flatten().map(|c| c.image_name.clone()).next();
        let image = name.as_deref().map(|name| docker.image(name));

        let project = join(project)?;
        // Other projects' containers are none of our business if they make trouble.
        let mut known = everyones.or_else(|_| docker.containers(Some(&project)))?.into_iter();
        let container = known.rfind(|container| container.project == project.name);
        let image = match image {
            Some(image) if name.as_ref() == Some(&project.image) => image?,
            _ => docker.image(&project.image)?,
        };
        let device = match forced {
            Some(device) => device,
            None => look_for_card(docker, None, container.as_ref(), image.as_ref())?,
        };
        let inputs = read_inputs(root, &project)?;
        let known = (container, image);
        Seen { drifted: (early, join(drifted)?), inputs, device, known }
            .judge(docker, None, project)
    })
}

/// The device that the user insists on.
fn wish(root: &Path) -> Result<Option<Device>> {
    device::forced(files::setting(root, device::SETTING)?.as_deref())
}

/// What was asked for at the same time.
struct Seen {
    /// What Compose would recreate, unless nobody wants to know, and as which
    /// Docker it was asked.
    drifted: (Docker, Option<Vec<String>>),
    inputs: Option<Inputs>,
    device: Device,
    known: Known,
}

impl Seen {
    /// Asks for the little that depends on it, and judges.
    fn judge(self, docker: &Docker, engine: Option<Engine>, project: Project) -> Result<State> {
        let Seen { drifted: (early, mut drifted), inputs, device, known: (container, image) } =
            self;
        let docker = docker.on_cpu(device.is_cpu());
        if drifted.is_some() && docker.adds_cpu_file() != early.adds_cpu_file() {
            drifted = Some(docker.drifted()?);
        }
        let other_image =
            container.as_ref().filter(|c| image.as_ref().is_none_or(|image| image.id != c.image));
        let running = other_image.map(|c| docker.image(&c.image)).transpose()?.flatten();
        let (image_state, known_origin) =
            judge_image(&docker, &project, image.as_ref(), running.as_ref(), inputs.as_ref())?;
        let drifted = drifted.unwrap_or_default();
        let drifted = container.as_ref().is_some_and(|c| drifted.contains(&c.name));
        // What answers need not wait for its healthcheck's next round to count.
        let answers = container
            .as_ref()
            .is_some_and(|c| c.health.as_deref() == Some("starting") && docker.answers(c));
        let situation = Situation {
            image_name: project.image.clone(),
            image: image_state,
            container: container_state(container.as_ref(), answers),
            drift: match (drifted, other_image.is_some()) {
                (false, _) => Drift::None,
                (true, true) => Drift::Image,
                (true, false) => Drift::Configuration,
            },
        };
        Ok(State {
            docker,
            engine,
            project,
            device,
            container,
            image,
            inputs,
            known_origin,
            situation,
        })
    }
}

/// Reads what the service's image is built from; none where it isn't built here.
///
/// # Errors
/// See [`Inputs::read`].
pub fn read_inputs(root: &Path, project: &Project) -> Result<Option<Inputs>> {
    project.build.as_ref().map(|build| Inputs::read(root, build)).transpose()
}

/// Looks for a card by way of the container or the image, and chooses.
///
/// # Errors
/// See [`device::choose`].
pub fn look_for_card(
    docker: &Docker,
    engine: Option<&Engine>,
    container: Option<&Container>,
    image: Option<&Image>,
) -> Result<Device> {
    let beside = container.and_then(docker::card_beside);
    if beside == Some(false) {
        // Whatever the engine offers, there is nothing to hand out.
        return device::choose(false, false, beside);
    }
    let engine = engine.map_or_else(|| docker.engine(), |engine| Ok(engine.clone()))?;
    let card = beside.or_else(|| docker.nvidia_card(container, image));
    // An engine can hand out GPUs without listing a runtime; trying tells.
    let hands_out = engine.has_nvidia
        || ((card == Some(true) || engine.is_wsl) && docker.hands_out_gpus(image));
    device::choose(hands_out, engine.is_wsl, card)
}

/// Judges the service's image, and says whether its own origin is known;
/// `running` is the container's image where that is another.
fn judge_image(
    docker: &Docker,
    project: &Project,
    image: Option<&Image>,
    running: Option<&Image>,
    inputs: Option<&Inputs>,
) -> Result<(ImageState, bool)> {
    let Some(inputs) = inputs else { return Ok((ImageState::Pulled, false)) };
    let Some(image) = image else { return Ok((ImageState::Missing, false)) };
    let origin_of = |image: &Image| provenance::origin(&project.name, image, inputs);
    let own = origin_of(image);
    let known = own != Origin::Unknown;
    // An image built by hand says nothing of its requirements; the one that
    // still serves may.
    let origin = match (own, running.map(origin_of)) {
        (Origin::Unknown, Some(stale @ Origin::Stale { requirements: true, .. })) => stale,
        (origin, _) => origin,
    };
    let state = match origin {
        Origin::Stale { name, requirements } => {
            let record = docker.image(&provenance::record_name(&name))?;
            let changes = wording(requirements, &provenance::differences(record.as_ref(), inputs));
            ImageState::Stale { requirements, changes }
        }
        Origin::Current => ImageState::Current,
        Origin::Unknown => ImageState::Unknown,
    };
    Ok((state, known))
}

/// Says what changed since the image was built, at most three things by name.
fn wording(requirements: bool, differences: &Differences) -> Vec<String> {
    const SINCE: &str = "since the image was built";
    if requirements {
        let pins: Vec<_> = differences.pins.iter().map(ToString::to_string).collect();
        let pins = if pins.is_empty() { String::new() } else { format!(" ({})", pins.join(", ")) };
        return vec![format!("{} changed {SINCE}{pins}", requirements::PATH)];
    }
    match &*differences.files {
        [] => vec![format!("the sources changed {SINCE}")],
        [(name, word)] => vec![format!("{name} {word} {SINCE}")],
        [(name, _), rest @ ..] => vec![format!("{name} and {} more changed {SINCE}", rest.len())],
    }
}

/// `answers` is whether a container that is starting already answers.
fn container_state(container: Option<&Container>, answers: bool) -> ContainerState {
    let Some(c) = container else { return ContainerState::Missing };
    match (&*c.state, c.health.as_deref()) {
        ("restarting", _) => ContainerState::CrashLooping { exit_code: Some(c.exit_code) },
        // Between two crashes it is running for a moment.
        ("running", Some("starting")) if c.restarts > 0 => {
            ContainerState::CrashLooping { exit_code: None }
        }
        ("running", Some("unhealthy")) => ContainerState::Unhealthy,
        ("running", Some("starting")) if !answers => ContainerState::Starting,
        ("running", _) => ContainerState::Serving,
        ("paused", _) => ContainerState::Paused,
        (state, _) => ContainerState::Stopped { state: state.to_owned(), exit_code: c.exit_code },
    }
}

/// Asks two things at the same time.
pub fn both<A: Send, B>(
    docker: &Docker,
    a: impl FnOnce(&Docker) -> A + Send,
    b: impl FnOnce(&Docker) -> B,
) -> (A, B) {
    let own = docker.clone();
    thread::scope(|scope| {
        let a = scope.spawn(move || a(&own));
        let b = b(docker);
        (a.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), b)
    })
}

/// The answer of a thread.
///
/// # Errors
/// Its own, or that it panicked.
pub fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of xtask panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_by_name() {
        let differences = |files: &[&str]| Differences {
            files: files.iter().map(|name| ((*name).to_owned(), "changed")).collect(),
            pins: requirements::changes(
                &requirements::pins("torch==2.5.0"),
                &requirements::pins("torch==2.5.1"),
            ),
        };
        let since = "since the image was built";
        for (requirements, differences, want) in [
            (false, differences(&["backend/app.py"]), format!("backend/app.py changed {since}")),
            (false, differences(&["a", "b", "c"]), format!("a and 2 more changed {since}")),
            (false, Differences::default(), format!("the sources changed {since}")),
            (
                true,
                differences(&["a"]),
                format!("backend/requirements.txt changed {since} (torch 2.5.0 → 2.5.1)"),
            ),
            (true, Differences::default(), format!("backend/requirements.txt changed {since}")),
        ] {
            assert_eq!(wording(requirements, &differences), [want]);
        }
    }

    #[test]
    fn every_state_of_a_container() {
        let container = |state: &str, health: Option<&str>, restarts| Container {
            state: state.into(),
            health: health.map(str::to_owned),
            restarts,
            ..Container::default()
        };
        assert_eq!(container_state(None, false), ContainerState::Missing);
        for (c, want) in [
            (container("running", None, 0), ContainerState::Serving),
            (container("running", Some("healthy"), 2), ContainerState::Serving),
            (container("running", Some("starting"), 0), ContainerState::Starting),
            (
                container("running", Some("starting"), 1),
                ContainerState::CrashLooping { exit_code: None },
            ),
            (container("running", Some("unhealthy"), 0), ContainerState::Unhealthy),
            (container("restarting", None, 1), ContainerState::CrashLooping { exit_code: Some(0) }),
            (container("paused", None, 0), ContainerState::Paused),
            (
                container("exited", None, 0),
                ContainerState::Stopped { state: "exited".into(), exit_code: 0 },
            ),
        ] {
            assert_eq!(container_state(Some(&c), false), want, "{c:?}");
        }
        assert_eq!(
            container_state(Some(&container("running", Some("starting"), 0)), true),
            ContainerState::Serving
        );
    }
}
