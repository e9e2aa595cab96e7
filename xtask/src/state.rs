//! Observes: asks Docker and the sources for everything a decision needs,
//! independent questions at the same time.

use std::{path::Path, thread};

use anyhow::{Result, anyhow};

use crate::{
    compose::{Container, Docker, Engine, Image, Project, files},
    decide::{ContainerState, Drift, ImageState, Situation},
    device::{self, Device},
    inputs::Inputs,
    memory::Memory,
    provenance::{self, Differences, Origin},
    requirements,
};

/// The service as it is: on disk, on the engine, and in its container.
pub struct State {
    /// Docker with the compose files that fit the device.
    pub docker: Docker,
    pub engine: Engine,
    pub project: Project,
    pub device: Device,
    pub container: Option<Container>,
    /// The image that the service's name stands for.
    pub image: Option<Image>,
    /// None where the service has no `build` section.
    pub inputs: Option<Inputs>,
    pub situation: Situation,
}

impl State {
    /// The name that the image built from the current inputs gets.
    pub fn candidate(&self) -> String {
        self.inputs
            .as_ref()
            .map(|inputs| provenance::name(&self.project.name, inputs))
            .unwrap_or_default()
    }
}

/// What has to be known before anything else: whose containers, on whose engine.
pub struct Ground {
    pub engine: Engine,
    pub project: Project,
}

impl Ground {
    /// # Errors
    /// When Docker does not answer or the compose file is wrong.
    pub fn of(docker: &Docker) -> Result<Ground> {
        let (engine, project) = both(docker, Docker::engine, Docker::project);
        Ok(Ground { engine: engine?, project: project? })
    }
}

/// Looks at everything once; changes nothing.
///
/// # Errors
/// When Docker does not answer, an input can't be read, or the machine's NVIDIA
/// card is out of Docker's reach.
pub fn observe(root: &Path, docker: &Docker, ground: Ground, memory: &mut Memory) -> Result<State> {
    let forced = device::forced(files::setting(root, device::SETTING)?.as_deref())?;
    observe_on(forced, root, docker, ground, memory)
}

/// The same on a given device, or for `None` on the one that fits the machine.
///
/// # Errors
/// As [`observe`].
pub fn observe_on(
    forced: Option<Device>,
    root: &Path,
    docker: &Docker,
    ground: Ground,
    memory: &mut Memory,
) -> Result<State> {
    let Ground { engine, project } = ground;

    thread::scope(|scope| {
        let inputs = scope
            .spawn(|| project.build.as_ref().map(|build| Inputs::read(root, build)).transpose());
        let look = || -> Result<_> {
            let (container, image) =
                both(docker, |d| d.container(&project), |d| d.image(&project.image));
            Ok((container?, image?))
        };
        // Where the device is known already, Compose can be asked for drift at
        // once. A remembered answer that doesn't fit the engine's own is stale.
        let remembered = memory.card(&engine.id).filter(|card| *card == engine.has_nvidia);
        let known = forced.or_else(|| device::choose(&engine, Some(remembered?)).ok());
        let early = known.map(|device| {
            let docker = docker.on_cpu(matches!(device, Device::Cpu(_)));
            scope.spawn(move || docker.drifted())
        });
        let (container, image) = look()?;
        let device = match known {
            // Compose would take down what serves before it finds this out.
            Some(Device::Gpu)
                if !engine.has_nvidia
                    && image.is_some()
                    && !docker.hands_out_gpus(image.as_ref()) =>
            {
                return Err(device::out_of_reach(
                    docker.nvidia_card(container.as_ref(), image.as_ref()),
                ));
            }
            Some(device) => device,
            None => look_for_card(docker, &engine, memory, container.as_ref(), image.as_ref())?,
        };
        let docker = docker.on_cpu(matches!(device, Device::Cpu(_)));
        let drifted = match early {
            Some(thread) => join(thread),
            None => docker.drifted(),
        }?;
        let inputs = join(inputs)?;
        let running = match &container {
            Some(c) if image.as_ref().is_none_or(|image| image.id != c.image) => {
                docker.image(&c.image)?
            }
            _ => image.clone(),
        };
        let image_state =
            judge_image(&docker, &project, image.as_ref(), running.as_ref(), inputs.as_ref())?;
        let other_image =
            container.as_ref().zip(image.as_ref()).is_some_and(|(c, image)| c.image != image.id);
        let drifted = container.as_ref().is_some_and(|c| drifted.contains(&c.name));
        // What answers need not wait for its healthcheck's next round to count.
        let answers = container
            .as_ref()
            .is_some_and(|c| c.health.as_deref() == Some("starting") && docker.answers(c));
        let situation = Situation {
            image_name: project.image.clone(),
            image: image_state,
            container: container_state(container.as_ref(), answers),
            drift: match (drifted, other_image) {
                (false, _) => Drift::None,
                (true, true) => Drift::Image,
                (true, false) => Drift::Configuration,
            },
        };
        Ok(State {
            docker,
            engine: engine.clone(),
            project: project.clone(),
            device,
            container,
            image,
            inputs,
            situation,
        })
    })
}

/// Looks for a card by way of the container or the image, and chooses.
///
/// # Errors
/// See [`device::choose`].
pub fn look_for_card(
    docker: &Docker,
    engine: &Engine,
    memory: &mut Memory,
    container: Option<&Container>,
    image: Option<&Image>,
) -> Result<Device> {
    let card = docker.nvidia_card(container, image);
    if let Some(card) = card {
        memory.saw_card(&engine.id, card);
    }
    // An engine can hand out GPUs without listing a runtime; trying tells.
    let has_nvidia = engine.has_nvidia || (card == Some(true) && docker.hands_out_gpus(image));
    device::choose(&Engine { has_nvidia, ..engine.clone() }, card)
}

fn judge_image(
    docker: &Docker,
    project: &Project,
    image: Option<&Image>,
    running: Option<&Image>,
    inputs: Option<&Inputs>,
) -> Result<ImageState> {
    let Some(inputs) = inputs else { return Ok(ImageState::Pulled) };
    let Some(image) = image else { return Ok(ImageState::Missing) };
    let origin_of = |image: &Image| provenance::origin(&project.name, image, inputs);
    // An image built by hand says nothing of its requirements; the one that
    // still serves may.
    let origin = match (origin_of(image), running.map(origin_of)) {
        (Origin::Unknown, Some(stale @ Origin::Stale { requirements: true, .. })) => stale,
        (origin, _) => origin,
    };
    Ok(match origin {
        Origin::Stale { name, requirements } => {
            let record = docker.image(&provenance::record_name(&name))?;
            let changes = wording(requirements, &provenance::differences(record.as_ref(), inputs));
            ImageState::Stale { requirements, changes }
        }
        Origin::Current => ImageState::Current,
        Origin::Unknown => ImageState::Unknown,
    })
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
fn both<A: Send, B>(
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

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
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
