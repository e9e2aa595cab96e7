//! The facts that doctor's checks are judged by; nothing is judged here.
//!
//! Each fact is asked for when the first check needs it, and only once: the other
//! checks wait for that answer. Independent questions are asked in parallel, and a
//! question that no check needs is never asked.

mod container;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::checks::project::EnvFiles;
use super::finding::{Fix, Trouble};
use super::http;
use crate::deploy::device::{self, Device};
use crate::deploy::observe::{self, Scope};
use crate::deploy::preflight;
use crate::deploy::situation::Situation;
use crate::docker::{Container, Docker, Engine, Image, Machine, Project, files};
use crate::image::requirements::{self, Pins};
use crate::image::sources;
use crate::python::Report;

/// Why nothing can be tried in a container.
const NO_IMAGE: &str = "the engine has no image to try it with";

type Known<T> = Result<T, Trouble>;

/// An answer that is asked for once.
struct Fact<T>(OnceLock<Known<T>>);

impl<T> Default for Fact<T> {
    fn default() -> Fact<T> {
        Fact(OnceLock::new())
    }
}

impl<T> Fact<T> {
    fn or_ask(&self, ask: impl FnOnce() -> Known<T>) -> Known<&T> {
        self.0.get_or_init(ask).as_ref().map_err(Trouble::clone)
    }
}

/// The service as `status` sees it.
pub struct Service {
    pub situation: Situation,
    pub image: Option<Image>,
    pub container: Option<Container>,
}

/// The answers about one clone; an answer that could not be had is an error.
#[derive(Default)]
pub struct Facts {
    pub root: PathBuf,
    /// Whether a machine without an NVIDIA card is a fault.
    pub require_gpu: bool,
    /// What `--fix` has done already, whether or not it helped.
    pub fixed: Vec<Fix>,
    /// In a mutex, as threads may not share it.
    docker: Fact<Mutex<Docker>>,
    endpoint: Fact<String>,
    engine: Fact<Engine>,
    compose_version: Fact<String>,
    buildx_version: Fact<String>,
    git_version: Fact<String>,
    env_files: Fact<EnvFiles>,
    project: Fact<Project>,
    pins: Fact<Pins>,
    excludes: Fact<Vec<String>>,
    requested: Fact<Option<Device>>,
    container: Fact<Option<Container>>,
    image: Fact<Option<Image>>,
    some_image: Fact<Option<String>>,
    machine: Fact<Option<Machine>>,
    refusal: Fact<Option<String>>,
    device: Fact<Device>,
    service: Fact<Service>,
    logs: Fact<String>,
    port: Fact<Option<(String, Trouble)>>,
    health: Fact<http::Answer>,
    inside: Fact<Report>,
    torch: Fact<Report>,
}

impl Facts {
    /// About the clone at `root`; nothing is asked yet.
    pub fn about(root: &Path) -> Facts {
        Facts { root: root.to_owned(), ..Facts::default() }
    }

    pub fn docker(&self) -> Known<Docker> {
        let docker = self.docker.or_ask(|| Ok(Mutex::new(Docker::new(self.root.clone())?)))?;
        // A thread that panicked has changed nothing in it.
        Ok(docker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
    }

    /// Where the engine is, such as `unix:///var/run/docker.sock`; empty if unknown.
    pub fn endpoint(&self) -> &str {
        let endpoint = self.endpoint.or_ask(|| Ok(self.docker()?.endpoint()?));
        endpoint.map(String::as_str).unwrap_or_default()
    }

    pub fn engine(&self) -> Known<&Engine> {
        self.engine.or_ask(|| Ok(self.docker()?.engine()?))
    }

    pub fn compose_version(&self) -> Known<&String> {
        self.compose_version.or_ask(|| self.plugin("compose", Docker::compose_version))
    }

    pub fn buildx_version(&self) -> Known<&String> {
        self.buildx_version.or_ask(|| self.plugin("buildx", Docker::buildx_version))
    }

    /// The version of a plugin of the docker CLI, which `docker info` lists where
    /// the engine answers.
    fn plugin(&self, name: &str, ask: fn(&Docker) -> anyhow::Result<String>) -> Known<String> {
        match self.engine().ok().and_then(|engine| engine.plugin(name)) {
            Some(version) => Ok(version.to_owned()),
            None => Ok(ask(&self.docker()?)?),
        }
    }

    pub fn git_version(&self) -> Known<&String> {
        self.git_version.or_ask(|| Ok(sources::git_version()?))
    }

    pub fn env_files(&self) -> Known<&EnvFiles> {
        self.env_files.or_ask(|| Ok(EnvFiles::read(&self.root)?))
    }

    pub fn project(&self) -> Known<&Project> {
        self.project.or_ask(|| {
            self.docker()?.project().map_err(|error| {
                let trouble = Trouble::from(error);
                Trouble { says: self.without_values(&trouble.says, &[]), ..trouble }
            })
        })
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

    /// The exact pins of requirements.txt.
    pub fn pins(&self) -> Known<&Pins> {
        self.pins.or_ask(|| Ok(requirements::pins(&requirements::read(&self.root)?)))
    }

    /// Names of the packages that the image leaves out on purpose.
    pub fn excludes(&self) -> Known<&Vec<String>> {
        self.excludes.or_ask(|| Ok(requirements::excludes(&self.root)?))
    }

    /// The device that the user requested; an error where it is no device.
    pub fn requested(&self) -> Known<Option<Device>> {
        self.requested.or_ask(|| Ok(device::requested(&self.root)?)).copied()
    }

    pub fn container(&self) -> Known<Option<&Container>> {
        let ask = || Ok(self.docker()?.container(&self.project()?.name)?);
        self.container.or_ask(ask).map(Option::as_ref)
    }

    pub fn image(&self) -> Known<Option<&Image>> {
        let ask = || Ok(self.docker()?.image(&self.project()?.image)?);
        self.image.or_ask(ask).map(Option::as_ref)
    }

    /// The id of the service's image or, before it is built, of any other; none
    /// where the engine has none.
    pub fn some_image(&self) -> Known<Option<&String>> {
        let ask = || match self.image() {
            Ok(Some(image)) => Ok(Some(image.id.clone())),
            _ => Ok(self.docker()?.some_images()?.into_iter().next()),
        };
        self.some_image.or_ask(ask).map(Option::as_ref)
    }

    /// The engine's machine; none where it has no image to look with.
    pub fn machine(&self) -> Known<Option<&Machine>> {
        let ask = || {
            self.engine()?;
            let (container, image) = (self.container().ok(), self.image().ok());
            Ok(self.docker()?.machine(container.flatten(), image.flatten()))
        };
        self.machine.or_ask(ask).map(Option::as_ref)
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

    /// Why docker refuses the GPUs; none where it hands them out. Tried only where
    /// there is a card or the GPU was requested, as starting a container takes time.
    pub fn refusal(&self) -> Known<Option<&String>> {
        let ask = || {
            if self.requested() != Ok(Some(Device::Gpu)) && self.card()? != Some(true) {
                return Err("there is no card to hand out".into());
            }
            let image = self.some_image()?.ok_or(NO_IMAGE)?;
            // The engine may have only some of the GPUs that the service asks for.
            let gpus = self.project().ok().and_then(|project| project.gpus.as_deref());
            Ok(self.docker()?.gpu_refusal(image, gpus.unwrap_or("all"))?)
        };
        self.refusal.or_ask(ask).map(Option::as_ref)
    }

    /// What the service is to run on. One that runs on a card keeps it even where
    /// the engine would not hand it out again.
    pub fn device(&self) -> Known<Device> {
        let ask = || match self.requested() {
            Ok(Some(device)) => Ok(device),
            _ => Ok(match self.card()? {
                None => Device::Unknown,
                Some(true) => Device::Gpu,
                Some(false) => Device::Cpu("no NVIDIA card on the engine's machine"),
            }),
        };
        self.device.or_ask(ask).copied()
    }

    pub fn service(&self) -> Known<&Service> {
        self.service.or_ask(|| {
            let (docker, device) = (self.docker()?, Some(self.device()?));
            let seen = observe::observe(&self.root, &docker, Scope::Decision, device)?;
            Ok(Service { situation: seen.situation, image: seen.image, container: seen.container })
        })
    }

    /// The first address that the service can't publish on, and why.
    pub fn port(&self) -> Known<Option<&(String, Trouble)>> {
        let ask = || {
            let image = self.some_image()?.ok_or(NO_IMAGE)?;
            let docker = self.docker()?;
            for address in preflight::to_publish(self.project()?, self.container()?) {
                if let Some(refusal) = docker.port_refusal(image, address)? {
                    return Ok(Some((address.clone(), refusal.into())));
                }
            }
            Ok(None)
        };
        self.port.or_ask(ask).map(Option::as_ref)
    }
}

#[cfg(test)]
#[path = "../../tests/unit/facts.rs"]
pub mod stated;
