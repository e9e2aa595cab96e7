//! The facts that doctor's checks are judged by; nothing is judged here.
//!
//! Each fact is asked for when the first check needs it, and only once: the other
//! checks wait for that answer. Independent questions are asked in parallel, and a
//! question that no check needs is never asked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::checks::project::{self, Names};
use super::finding::{Fix, Trouble};
use crate::deploy::device::{self, Device};
use crate::deploy::observe::{self, Scope};
use crate::deploy::preflight;
use crate::deploy::situation::Situation;
use crate::docker::{
    Builder, Container, Docker, Engine, Image, Machine, Project, Python, files, http,
};
use crate::image::requirements::{self, Pins};
use crate::image::sources;
use crate::python::{PROBE, Report};

/// Seconds after which the probe ends itself; less than [`CAP`], so that what it
/// printed until then is kept.
const PROBE_SECONDS: &str = "50";

/// For a probe and the docker command that runs it.
const CAP: Duration = Duration::from_secs(60);

const NO_IMAGE: &str = "the engine has no image to try it with";
const NO_CONTAINER: &str = "there is no container";

pub type Known<T> = Result<T, Trouble>;

/// The service as `status` sees it.
pub struct Service {
    pub situation: Situation,
    pub image: Option<Image>,
    pub container: Option<Container>,
}

/// Declares [`Facts`]: for each `name: type = question` a field for the answer, and a
/// method of that name that asks for it once. After `[optional]` the answer may be
/// that there is none.
macro_rules! facts {
    (
        $($(#[$doc:meta])* $name:ident: $kind:ty = $ask:expr;)*
        [optional]
        $($(#[$optional_doc:meta])* $optional:ident: $optional_kind:ty = $optional_ask:expr;)*
    ) => {
        /// The answers about one clone; an answer that could not be had is an error.
        #[derive(Default)]
        pub struct Facts {
            pub root: PathBuf,
            /// Whether a machine without an NVIDIA card is a fault.
            pub require_gpu: bool,
            /// What `--fix` has done already, whether or not it helped.
            pub fixed: Vec<Fix>,
            $($name: OnceLock<Known<$kind>>,)*
            $($optional: OnceLock<Known<Option<$optional_kind>>>,)*
        }

        impl Facts {
            $($(#[$doc])* pub fn $name(&self) -> Known<&$kind> {
                let ask: fn(&Facts) -> Known<$kind> = $ask;
                self.$name.get_or_init(|| ask(self)).as_ref().map_err(Trouble::clone)
            })*
            $($(#[$optional_doc])* pub fn $optional(&self) -> Known<Option<&$optional_kind>> {
                let ask: fn(&Facts) -> Known<Option<$optional_kind>> = $optional_ask;
                let answer = self.$optional.get_or_init(|| ask(self)).as_ref();
                answer.map(Option::as_ref).map_err(Trouble::clone)
            })*
        }
    };
}

facts! {
    /// For [`Facts::docker`]; in a mutex, as threads may not share it.
    locked_docker: Mutex<Docker> = |facts| Ok(Mutex::new(Docker::new(facts.root.clone())?));
    /// Where the engine is, such as `unix:///var/run/docker.sock`.
    endpoint: String = |facts| Ok(facts.docker()?.endpoint()?);
    engine: Engine = |facts| Ok(facts.docker()?.engine()?);
    compose_version: String = |facts| facts.plugin("compose", Docker::compose_version);
    buildx_version: String = |facts| facts.plugin("buildx", Docker::buildx_version);
    /// What buildx takes by default.
    builder: Builder = |facts| Ok(facts.docker()?.default_builder()?);
    git_version: String = |_| Ok(sources::git_version()?);
    project: Project = |facts| {
        facts.docker()?.project().map_err(|error| {
            let trouble = Trouble::from(error);
            Trouble { message: facts.without_values(&trouble.message, &[]), ..trouble }
        })
    };
    /// The exact pins of requirements.txt.
    pins: Pins = |facts| Ok(requirements::pins(&requirements::read(&facts.root)?));
    /// Names of the packages that the image leaves out on purpose.
    excludes: Vec<String> = |facts| Ok(requirements::excludes(&facts.root)?);
    /// What the service is to run on. One that runs on a card keeps it even where
    /// the engine would not hand it out again.
    device: Device = |facts| match facts.requested() {
        Ok(Some(device)) => Ok(*device),
        _ => Ok(match facts.card()? {
            None => Device::Unknown,
            Some(true) => Device::Gpu,
            Some(false) => Device::Cpu("no NVIDIA card on the engine's machine"),
        }),
    };
    service: Service = |facts| {
        let (docker, device) = (facts.docker()?, Some(*facts.device()?));
        let seen = observe::observe(&facts.root, &docker, Scope::Decision, device)?;
        Ok(Service { situation: seen.situation, image: seen.image, container: seen.container })
    };
    /// The last lines that the service wrote.
    logs: String = |facts| {
        let lines = facts.docker()?.last_lines(facts.container()?.ok_or(NO_CONTAINER)?, 5);
        Ok(facts.without_values(&lines, &facts.project()?.values))
    };
    /// What the service answers on its published port.
    health: http::Answer = |facts| {
        let addresses = facts.container()?.ok_or(NO_CONTAINER)?.addresses();
        let address = addresses.first().ok_or("it publishes no port")?;
        let endpoint = facts.endpoint().map_or("", String::as_str);
        Ok(http::get(&http::from_here(address, endpoint), "/health")?)
    };
    /// Python, the packages and the driver, as the container sees them.
    inside: Report = |facts| facts.probe(&["packages", "driver"]);
    /// torch, as the container sees it.
    torch: Report = |facts| {
        // Importing torch takes longest of all, so it begins before the container is
        // known. Its answer counts only if that container keeps running.
        let docker = facts.docker()?;
        let run = docker.python(&Python::Service, PROBE, &[PROBE_SECONDS, "torch"]);
        let early = docker.output(&run, CAP)?;
        match facts.running_container()? {
            Some(_) => Ok(Report::parse(&early)),
            None => facts.probe(&["torch"]),
        }
    };

    [optional]
    /// For what platform images are to be, where that is set for all of them.
    platform: String = |facts| Ok(files::default_platform(&facts.root)?);
    env_names: Names = |facts| Ok(project::names(&facts.root, ".env")?);
    example_names: Names = |facts| Ok(project::names(&facts.root, ".env.example")?);
    /// The device that the user requested; an error where it is no device.
    requested: Device = |facts| Ok(device::requested(&facts.root)?);
    container: Container = |facts| Ok(facts.docker()?.container(&facts.project()?.name)?);
    image: Image = |facts| Ok(facts.docker()?.image(&facts.project()?.image)?);
    /// The id of the service's image or, before it is built, of any other; none where
    /// the engine has none.
    some_image: String = |facts| match facts.image() {
        Ok(Some(image)) => Ok(Some(image.id.clone())),
        _ => Ok(facts.docker()?.some_images()?.into_iter().next()),
    };
    /// The engine's machine; none where it has no image to look with.
    machine: Machine = |facts| {
        facts.engine()?;
        let (container, image) = (facts.container().ok(), facts.image().ok());
        Ok(facts.docker()?.machine(container.flatten(), image.flatten()))
    };
    /// Why docker refuses the GPUs; none where it hands them out. Tried only where
    /// there is a card or the GPU was requested, as starting a container takes time.
    refusal: String = |facts| {
        if facts.requested() != Ok(Some(&Device::Gpu)) && facts.card()? != Some(true) {
            return Err("there is no card to hand out".into());
        }
        let image = facts.some_image()?.ok_or(NO_IMAGE)?;
        // The engine may have only some of the GPUs that the service asks for.
        let gpus = facts.project().ok().and_then(|project| project.gpus.as_deref());
        Ok(facts.docker()?.gpu_refusal(image, gpus.unwrap_or("all"))?)
    };
    /// The first address that the service can't publish on, and why.
    port: (String, Trouble) = |facts| {
        let (docker, image) = (facts.docker()?, facts.some_image()?.ok_or(NO_IMAGE)?);
        for address in preflight::to_publish(facts.project()?, facts.container()?) {
            if let Some(refusal) = docker.port_refusal(image, address)? {
                return Ok(Some((address.clone(), refusal.into())));
            }
        }
        Ok(None)
    };
}

impl Facts {
    /// About the clone at `root`; nothing is asked yet.
    pub fn about(root: &Path) -> Facts {
        Facts { root: root.to_owned(), ..Facts::default() }
    }

    pub fn docker(&self) -> Known<Docker> {
        let docker = self.locked_docker()?;
        // A thread that panicked has changed nothing in it.
        Ok(docker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
    }

    /// The version of a plugin of the docker CLI, which `docker info` lists where
    /// the engine answers.
    fn plugin(&self, name: &str, ask: fn(&Docker) -> anyhow::Result<String>) -> Known<String> {
        match self.engine().ok().and_then(|engine| engine.plugin(name)) {
            Some(version) => Ok(version.to_owned()),
            None => Ok(ask(&self.docker()?)?),
        }
    }

    /// A text of another program without the values of .env and of `more`: Compose,
    /// for example, quotes what it can't read.
    fn without_values(&self, text: &str, more: &[String]) -> String {
        let lines = more.iter().flat_map(|value| value.lines()).map(|line| line.trim().to_owned());
        let mut values: Vec<_> = files::values(&self.root).into_iter().chain(lines).collect();
        // Shorter ones are no secrets, and occur everywhere.
        values.retain(|value| value.len() >= 4);
        // One may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(&value, "…"))
    }

    /// Whether the engine's machine has an NVIDIA card; none where it could not be
    /// looked at. WSL2 shows no card on the PCI bus, but its engine lists GPUs.
    pub fn card(&self) -> Known<Option<bool>> {
        let engine = self.engine()?;
        if engine.is_wsl() && engine.lists_gpus() {
            return Ok(Some(true));
        }
        Ok(self.machine()?.map(|machine| machine.nvidia_card))
    }

    /// Whether the engine is on another machine.
    pub fn engine_is_remote(&self) -> bool {
        self.endpoint().is_ok_and(|endpoint| http::remote(endpoint).is_some())
    }

    /// The running container that probes run in; none where they need a temporary
    /// one. A crash-looping container would end in the middle of a probe.
    pub fn running_container(&self) -> Known<Option<&Container>> {
        Ok(self.container()?.filter(|c| {
            c.is("running") && (c.restart_count == 0 || c.health() != Some("starting"))
        }))
    }

    /// Runs parts of the probe in the service's container, or in a temporary one.
    fn probe(&self, parts: &[&str]) -> Known<Report> {
        let args = [&[PROBE_SECONDS], parts].concat();
        let docker = self.docker()?;
        if let Some(container) = self.running_container()? {
            let run = docker.python(&Python::Container(container), PROBE, &args);
            return Ok(Report::parse(&docker.output(&run, CAP)?));
        }
        let image = &self.image()?.ok_or("the service has no image yet")?.id;
        let project = self.project()?;
        // Where the engine refuses the GPUs, Python can still be asked without.
        let granted = self.device() == Ok(&Device::Gpu) && self.refusal() == Ok(None);
        let gpus = project.gpus.as_deref().filter(|_| granted);
        let visible = gpus.and(project.visible_devices.as_deref());
        let run = docker.python(&Python::Image { image, gpus, visible }, PROBE, &args);
        // A new container takes its time to start.
        Ok(Report::parse(&docker.output(&run, 2 * CAP)?))
    }
}

#[cfg(test)]
#[path = "../../tests/unit/facts.rs"]
pub mod stated;
