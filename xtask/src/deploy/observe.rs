//! Observes: asks Docker and the sources for everything a decision needs, all at
//! once. Nothing is changed.

use std::path::Path;
use std::thread;

use anyhow::{Result, anyhow};

use super::device::{self, Device};
use super::situation::{ContainerState, Drift, ImageState, Situation};
use crate::docker::{self, Container, Docker, Engine, Image, NamedImage, Project};
use crate::image::inputs::Inputs;
use crate::image::provenance::{self, Differences, Origin};

/// How much is asked.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// Enough for a decision, which needs no lock.
    Decision,
    /// What a plan needs as well: the engine, and the names of images on it.
    Plan,
    /// The same but for drift: the container is replaced whether or not it drifted.
    PlanWithoutDrift,
}

/// The service as it is: on disk, on the engine, and in its container.
pub struct Observation {
    /// Docker with the compose files that fit the device.
    pub docker: Docker,
    /// None where only a decision is needed.
    pub engine: Option<Engine>,
    pub project: Project,
    pub device: Device,
    pub container: Option<Container>,
    /// The image that the service's name stands for.
    pub image: Option<Image>,
    /// The container's image, unless it was removed by force.
    pub running: Option<Image>,
    /// None where the service has no `build` section.
    pub inputs: Option<Inputs>,
    /// Whether the service's image says what it was built from.
    pub known_origin: bool,
    /// xtask's own names for images of this project. Empty for a decision.
    pub own_names: Vec<NamedImage>,
    /// The names that the compose file gives the service's image, with the ids they
    /// stand for. Empty for a decision.
    pub service_names: Vec<(String, Option<String>)>,
    pub situation: Situation,
}

impl Observation {
    /// The name that says what an image built now is built from.
    pub fn inputs_name(&self) -> Option<String> {
        self.inputs.as_ref().map(|inputs| provenance::name(&self.project.name, inputs))
    }

    /// The image that serves: the container's, or else the one it would get. By hand, the
    /// service's name can be given to another image, even one of the same content.
    pub fn served(&self) -> Option<&Image> {
        self.running.as_ref().or(self.image.as_ref())
    }

    /// Whether a healthcheck will tell that a new container serves.
    pub fn has_healthcheck(&self) -> bool {
        let of_image = || self.served().is_some_and(Image::has_healthcheck);
        self.project.healthcheck.unwrap_or_else(of_image)
    }

    /// DOCKER_DEFAULT_PLATFORM, if the engine has to emulate that architecture.
    pub fn foreign_platform(&self) -> Option<&String> {
        let engine = self.engine.as_ref()?;
        self.project.default_platform.as_ref().filter(|platform| !engine.runs(platform))
    }

    /// The id of the image that one of xtask's own names stands for.
    pub fn id_of(&self, own_name: &str) -> Option<&str> {
        self.own_names.iter().find(|named| named.name == own_name).map(|named| &*named.id)
    }
}

/// Observes the project at `root`, on a given device, or for `None` on the one that
/// fits the engine's machine.
/// Fails when Docker does not answer, an input can't be read, or the machine's NVIDIA
/// card is out of Docker's reach.
pub fn observe(
    root: &Path,
    docker: &Docker,
    scope: Scope,
    device: Option<Device>,
) -> Result<Observation> {
    // What this machine has is a good guess, so that Compose can be asked for
    // drift before the engine's machine is known.
    let guess = match device {
        Some(device) => device.docker(docker),
        None => docker.adding((docker::card_here() != Some(true)).then_some(device::CPU_FILE)),
    };
    let plans = scope != Scope::Decision;
    thread::scope(|threads| {
        let project = threads.spawn(asking(docker, Docker::project));
        let drifted = (scope != Scope::PlanWithoutDrift)
            .then(|| threads.spawn(asking(&guess, Docker::drifted)));
        let engine = plans.then(|| threads.spawn(asking(docker, Docker::engine)));
        // Of all projects, as this one's name is not known yet.
        let every = |docker: &Docker| docker.named_images(&provenance::repository("*"));
        let own_names = plans.then(|| threads.spawn(asking(docker, every)));
        // Most engines have one such container, which names the image.
        let containers = docker.containers(None);
        let name = containers.iter().flatten().map(Container::image_name).next();
        let image = name.as_deref().map(|name| docker.image(name));

        let project = join(project)?;
        // Another project's container that cannot be inspected does not matter.
        let containers = containers.or_else(|_| docker.containers(Some(&project.name)))?;
        let container = containers.into_iter().rfind(|c| c.project() == project.name);
        let image = match image {
            Some(image) if name.as_ref() == Some(&project.image) => image?,
            _ => docker.image(&project.image)?,
        };
        let engine = engine.map(join).transpose()?;
        engine.iter().try_for_each(Engine::check)?;
        let device = match device {
            Some(device) => device,
            None => find_device(docker, engine.as_ref(), container.as_ref(), image.as_ref())?,
        };
        let inputs = read_inputs(root, &project)?;
        let docker = device.docker(docker);
        let docker = match &engine {
            Some(engine) => docker.building_on(engine),
            None => docker,
        };
        let drifted = match drifted.map(join).transpose()? {
            Some(_) if docker.added() != guess.added() => docker.drifted()?,
            drifted => drifted.unwrap_or_default(),
        };
        let mut own_names = own_names.map(join).transpose()?.unwrap_or_default();
        let repository = format!("{}:", provenance::repository(&project.name));
        own_names.retain(|named| named.name.starts_with(&repository));
        let mut service_names = Vec::new();
        for name in project.image_names().filter(|_| plans) {
            let id = if name == project.image { image.clone() } else { docker.image(&name)? };
            service_names.push((name, id.map(|image| image.id)));
        }
        let running = match &container {
            Some(c) if image.as_ref().is_none_or(|image| image.id != c.image) => {
                docker.image(&c.image)?
            }
            container => container.as_ref().and(image.clone()),
        };
        let (image_state, known_origin) =
            judge_image(&docker, &project, inputs.as_ref(), image.as_ref(), running.as_ref())?;
        // What answers need not wait for its healthcheck's next round to count, nor is it in
        // a crash loop because it once crashed.
        let unsure = container.as_ref().filter(|c| match c.health() {
            None => c.is("running") && c.restart_count > 0,
            health => health == Some("starting"),
        });
        let answers = unsure.is_some_and(|container| docker.answers(container));
        let previous = provenance::previous(&project.name);
        let situation = Situation {
            image_name: project.image.clone(),
            image: image_state,
            container: ContainerState::of(container.as_ref(), answers),
            drift: Drift::of(container.as_ref(), image.as_ref(), &drifted),
            has_previous: own_names.iter().any(|named| named.name == previous),
            taken_name: taken_name(&docker, &project)?,
        };
        Ok(Observation {
            docker,
            engine,
            project,
            device,
            container,
            image,
            running,
            inputs,
            known_origin,
            own_names,
            service_names,
            situation,
        })
    })
}

/// A question for a thread of its own.
fn asking<T>(
    docker: &Docker,
    question: impl FnOnce(&Docker) -> Result<T> + Send,
) -> impl FnOnce() -> Result<T> + Send {
    let docker = docker.clone();
    move || question(&docker)
}

/// The answer of a thread.
fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of xtask panicked")))
}

/// Reads what the service's image is built from; none where it isn't built here.
/// Fails as [`Inputs::read`].
pub fn read_inputs(root: &Path, project: &Project) -> Result<Option<Inputs>> {
    project.build.as_ref().map(|build| Inputs::read(root, build)).transpose()
}

/// Looks for a card on the engine's machine, and chooses the device.
/// Fails as [`device::choose`].
pub fn find_device(
    docker: &Docker,
    engine: Option<&Engine>,
    container: Option<&Container>,
    image: Option<&Image>,
) -> Result<Device> {
    let beside = container.and_then(docker::card_beside);
    if beside == Some(false) {
        // Whatever the engine lists, there is nothing to hand out.
        return device::choose(false, false, beside);
    }
    let asked = if engine.is_none() { Some(docker.engine()?) } else { None };
    let engine = engine.or(asked.as_ref());
    let (lists, is_wsl) = engine.map_or((false, false), |e| (e.lists_gpus(), e.is_wsl()));
    let card = beside.or_else(|| Some(docker.machine(container, image)?.nvidia_card));
    // An engine can hand out GPUs without listing a runtime; trying tells.
    let tries = || image.is_some_and(|i| matches!(docker.gpu_refusal(&i.id, "all"), Ok(None)));
    let hands_out = lists || ((card == Some(true) || is_wsl) && tries());
    device::choose(hands_out, is_wsl, card)
}

/// The container's name, where a container of something else has it.
fn taken_name(docker: &Docker, project: &Project) -> Result<Option<String>> {
    let Some(name) = &project.container_name else { return Ok(None) };
    let other = docker.container_by_id(name)?.filter(|c| !c.belongs_to(&project.name));
    Ok(other.map(|_| name.clone()))
}

/// Judges the service's image, and whether its origin is known; `running` is the
/// container's image.
fn judge_image(
    docker: &Docker,
    project: &Project,
    inputs: Option<&Inputs>,
    image: Option<&Image>,
    running: Option<&Image>,
) -> Result<(ImageState, bool)> {
    let Some(inputs) = inputs else { return Ok((ImageState::Pulled, false)) };
    let Some(image) = image else { return Ok((ImageState::Missing, false)) };
    let origin_of = |image: &Image| provenance::origin(&project.name, &image.repo_tags, inputs);
    let own = origin_of(image);
    let known = own != Origin::Unknown;
    // The requirements of an image built by hand are unknown; those of the one
    // that still serves may be known.
    let origin = match (own, running.map(origin_of)) {
        (Origin::Unknown, Some(stale @ Origin::Stale { requirements: true, .. })) => stale,
        (origin, _) => origin,
    };
    let mut differences = Differences::default();
    if let Origin::Stale { name, .. } = &origin {
        let record = docker.image(&provenance::record_name(name))?;
        let text = record.as_ref().and_then(|record| record.label(provenance::LABEL));
        differences = provenance::differences(text, inputs);
    }
    Ok((ImageState::of(&origin, &differences), known))
}

#[cfg(test)]
#[path = "../../tests/unit/observations.rs"]
pub mod fixture;
