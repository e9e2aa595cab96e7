//! What doctor's checks are judged by. Nothing here decides what is well.
//!
//! Each fact is asked for when the first check wants it, and once: the others
//! wait for the answer. So independent questions are on their way at the same
//! time, and a question that nobody needs is never asked.

#[cfg(test)]
mod stated;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{Fix, checks::project::EnvFile, finding::Trouble, http};
use crate::commands::sources;
use crate::deploy::decide::Situation;
use crate::deploy::device::{self, Device};
use crate::deploy::observe::{self, Ground};
use crate::deploy::preflight;
use crate::docker::{Container, Docker, Engine, Image, Machine, Project, SERVICE, files};
use crate::image::requirements::{self, Pins};
use crate::python::report::{PROBE, Report};

/// Seconds after which the probe ends itself; below docker's own cap, so that
/// what it said before is kept.
const PATIENCE: &str = "50";

/// An answer that is asked for once.
struct Fact<T>(OnceLock<Result<T, Trouble>>);

impl<T> Default for Fact<T> {
    fn default() -> Fact<T> {
        Fact(OnceLock::new())
    }
}

impl<T> Fact<T> {
    fn or_ask(&self, ask: impl FnOnce() -> Result<T>) -> Result<&T, Trouble> {
        self.0.get_or_init(|| ask().map_err(Trouble::from)).as_ref().map_err(Trouble::clone)
    }
}

/// The service as `status` sees it.
pub struct Service {
    pub situation: Situation,
    pub image: Option<Image>,
    pub container: Option<Container>,
}

/// The answers about one clone; each is an error where nobody could say.
#[derive(Default)]
pub struct Facts {
    root: PathBuf,
    /// Whether the user wants a machine without a card to be a fault.
    pub require_gpu: bool,
    /// What `--fix` did already, whether or not it helped.
    pub fixed: Vec<Fix>,
    /// Threads may hand it on, but not share it.
    docker: Fact<Mutex<Docker>>,
    endpoint: Fact<String>,
    engine: Fact<Engine>,
    compose_version: Fact<String>,
    buildx_version: Fact<String>,
    git_version: Fact<String>,
    env_file: Fact<EnvFile>,
    project: Fact<Project>,
    pins: Fact<Pins>,
    excludes: Fact<Vec<String>>,
    forced: Fact<Option<Device>>,
    container: Fact<Option<Container>>,
    image: Fact<Option<Image>>,
    some_image: Fact<Option<Image>>,
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
    /// About the clone at `root`; nothing is asked yet, and nothing ever changed.
    pub fn about(root: &Path, require_gpu: bool) -> Facts {
        Facts { root: root.to_owned(), require_gpu, ..Facts::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn docker(&self) -> Result<Docker, Trouble> {
        let docker = self.docker.or_ask(|| Ok(Mutex::new(Docker::new(self.root.clone())?)))?;
        // Nothing is left half done in it by a thread that panicked.
        Ok(docker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
    }

    /// Where the engine is, such as `unix:///var/run/docker.sock`.
    pub fn endpoint(&self) -> Result<&String, Trouble> {
        self.endpoint.or_ask(|| self.docker()?.endpoint())
    }

    pub fn engine(&self) -> Result<&Engine, Trouble> {
        self.engine.or_ask(|| self.docker()?.engine())
    }

    pub fn compose_version(&self) -> Result<&String, Trouble> {
        let ask = || match self.plugin("compose") {
            Some(version) => Ok(version),
            None => self.docker()?.compose_version(),
        };
        self.compose_version.or_ask(ask)
    }

    pub fn buildx_version(&self) -> Result<&String, Trouble> {
        let ask = || match self.plugin("buildx") {
            Some(version) => Ok(version),
            None => self.docker()?.buildx_version(),
        };
        self.buildx_version.or_ask(ask)
    }

    /// The version of a plugin of the docker CLI, which an engine that answers
    /// brings along.
    fn plugin(&self, name: &str) -> Option<String> {
        let plugins = &self.engine().ok()?.plugins;
        plugins.iter().find(|(plugin, _)| plugin == name).map(|(_, version)| version.clone())
    }

    pub fn git_version(&self) -> Result<&String, Trouble> {
        self.git_version.or_ask(sources::git_version)
    }

    pub fn env_file(&self) -> Result<&EnvFile, Trouble> {
        self.env_file.or_ask(|| EnvFile::read(&self.root, self.forced().is_err()))
    }

    pub fn project(&self) -> Result<&Project, Trouble> {
        self.project.or_ask(|| {
            self.docker()?.project().map_err(|error| {
                let trouble = Trouble::from(error);
                Trouble { says: self.without_values(&trouble.says, &[]), ..trouble }.into()
            })
        })
    }

    /// A text of somebody else's with no value of .env in it, and none of `more`:
    /// Compose, for one, quotes what it can't read.
    fn without_values(&self, text: &str, more: &[String]) -> String {
        let lines = more.iter().flat_map(|value| value.lines()).map(|line| line.trim().to_owned());
        let mut values: Vec<_> = files::values(&self.root).into_iter().chain(lines).collect();
        // What is shorter hides nothing, and is all over the place.
        values.retain(|value| value.len() >= 4);
        // One may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(&value, "…"))
    }

    /// The exact pins of requirements.txt.
    pub fn pins(&self) -> Result<&Pins, Trouble> {
        self.pins.or_ask(|| Ok(requirements::pins(&requirements::read(&self.root)?)))
    }

    /// Names of the packages that the image leaves out on purpose.
    pub fn excludes(&self) -> Result<&Vec<String>, Trouble> {
        self.excludes.or_ask(|| requirements::excludes(&self.root))
    }

    /// The device that the user wants; an error where it is no device.
    pub fn forced(&self) -> Result<Option<Device>, Trouble> {
        let setting = || device::forced(files::setting(&self.root, device::SETTING)?.as_deref());
        self.forced.or_ask(setting).copied()
    }

    pub fn container(&self) -> Result<Option<&Container>, Trouble> {
        let ask = || self.docker()?.container(self.project()?);
        self.container.or_ask(ask).map(Option::as_ref)
    }

    pub fn image(&self) -> Result<Option<&Image>, Trouble> {
        let ask = || self.docker()?.image(&self.project()?.image);
        self.image.or_ask(ask).map(Option::as_ref)
    }

    /// The service's image or, before it is built, another that can look at the
    /// engine's machine; none where the engine has none.
    pub fn some_image(&self) -> Result<Option<&Image>, Trouble> {
        let ask = || {
            if let Ok(Some(image)) = self.image() {
                return Ok(Some(image.clone()));
            }
            let ids = self.docker()?.some_images()?;
            Ok(ids.into_iter().next().map(|id| Image { id, ..Image::default() }))
        };
        self.some_image.or_ask(ask).map(Option::as_ref)
    }

    /// The engine's machine; none where nothing on it could look.
    pub fn machine(&self) -> Result<Option<&Machine>, Trouble> {
        let ask = || {
            self.engine()?;
            let docker = self.docker()?;
            let own: Vec<_> =
                self.image().ok().flatten().map(|i| i.id.clone()).into_iter().collect();
            let container = self.container().ok().flatten();
            if let Some(machine) = docker.machine(container, &own) {
                return Ok(Some(machine));
            }
            // The service's image may be missing, or without a shell.
            Ok(docker.machine(None, &docker.some_images().unwrap_or_default()))
        };
        self.machine.or_ask(ask).map(Option::as_ref)
    }

    /// Whether an NVIDIA card shows; none where nobody could look. In WSL2 no
    /// card is on the PCI bus, so what the engine offers has to do.
    pub fn card(&self) -> Result<Option<bool>, Trouble> {
        let engine = self.engine()?;
        if engine.is_wsl && engine.has_nvidia {
            return Ok(Some(true));
        }
        Ok(self.machine()?.map(|machine| machine.nvidia_card))
    }

    /// What docker says when it is to hand out the GPUs; none where it does. Not
    /// tried where there is no card and nobody insists: a container costs time.
    pub fn refusal(&self) -> Result<Option<&String>, Trouble> {
        let ask = || {
            let wanted = self.forced() == Ok(Some(Device::Gpu)) || self.card()? == Some(true);
            ensure!(wanted, "there is no card to hand out");
            let image = self.some_image()?.context("no image is at hand to try it with")?;
            // As the service does: an engine may have some and not others.
            let gpus = self.project().ok().and_then(|project| project.gpus.as_deref());
            self.docker()?.try_gpus(image, gpus.unwrap_or("all"))
        };
        self.refusal.or_ask(ask).map(Option::as_ref)
    }

    /// What the service is to run on: what serves on a card goes on to do so where
    /// the engine would not hand it out again.
    pub fn device(&self) -> Result<Device, Trouble> {
        let ask = || {
            if let Ok(Some(forced)) = self.forced() {
                return Ok(forced);
            }
            Ok(match self.card()? {
                None => Device::Unknown,
                Some(true) => Device::Gpu,
                Some(false) => Device::Cpu("no NVIDIA card on the engine's machine"),
            })
        };
        self.device.or_ask(ask).copied()
    }

    pub fn service(&self) -> Result<&Service, Trouble> {
        self.service.or_ask(|| {
            let ground =
                Ground { engine: self.engine()?.clone(), project: self.project()?.clone() };
            let device = Some(self.device()?);
            let known = (self.container()?.cloned(), self.image()?.cloned());
            let observe::State { situation, image, container, .. } = observe::observe_on(
                device,
                &self.root,
                &self.docker()?,
                ground,
                true,
                Some(known),
            )?;
            Ok(Service { situation, image, container })
        })
    }

    /// The last lines that the service wrote.
    pub fn logs(&self) -> Result<&String, Trouble> {
        self.logs.or_ask(|| {
            let container = self.container()?.context("there is no container")?;
            let values = &self.project()?.values;
            Ok(self.without_values(&self.docker()?.last_words(container, 5), values))
        })
    }

    /// The first address that the service is to publish on and can't, and why.
    pub fn port(&self) -> Result<Option<&(String, Trouble)>, Trouble> {
        let ask = || {
            let image = self.some_image()?.context("no image is at hand to try it with")?;
            let docker = self.docker()?;
            for address in preflight::to_publish(self.project()?, self.container()?) {
                if let Some(refusal) = docker.port_refusal(image, address)? {
                    let trouble = Trouble::from(anyhow::Error::from(refusal));
                    return Ok(Some((address.clone(), trouble)));
                }
            }
            Ok(None)
        };
        self.port.or_ask(ask).map(Option::as_ref)
    }

    /// What the service answers on its published port.
    pub fn health(&self) -> Result<&http::Answer, Trouble> {
        self.health.or_ask(|| {
            let container = self.container()?.context("there is no container")?;
            let address = container.addresses.first().context("it publishes no port")?;
            http::get(&http::from_here(address, self.endpoint()?), "/health")
        })
    }

    /// Python, the packages and the driver, as the container sees them.
    pub fn inside(&self) -> Result<&Report, Trouble> {
        self.inside.or_ask(|| self.probe(&["packages", "driver"]))
    }

    /// torch, as the container sees it.
    pub fn torch(&self) -> Result<&Report, Trouble> {
        self.torch.or_ask(|| {
            let args = [PATIENCE, "torch"];
            // Importing torch takes longest of all, so nobody waits to be told
            // which container is meant. What comes of one that does not last is
            // not to be believed.
            let early = self.docker()?.python_in_service(PROBE, &args)?;
            match self.lasting()? {
                Some(_) => Ok(Report::parse(&early)),
                None => self.probe(&["torch"]),
            }
        })
    }

    /// The running container that probes run in; none where they have to do
    /// with a throw-away one. In one that comes and goes they would be cut short.
    pub fn lasting(&self) -> Result<Option<&Container>, Trouble> {
        let container = self.container()?;
        Ok(container.filter(|c| {
            c.state == "running" && (c.restarts == 0 || c.health.as_deref() != Some("starting"))
        }))
    }

    fn probe(&self, parts: &[&str]) -> Result<Report> {
        let args: Vec<&str> = [PATIENCE].iter().chain(parts).copied().collect();
        let docker = self.docker()?;
        if let Some(container) = self.lasting()? {
            return Ok(Report::parse(&docker.python_in_container(container, PROBE, &args)?));
        }
        let image = self.image()?.ok_or_else(|| anyhow!("`{SERVICE}` has no image yet"))?;
        let project = self.project()?;
        // Where the engine refuses the GPUs, Python can still be asked without.
        let granted = self.device() == Ok(Device::Gpu) && self.refusal().is_ok_and(|r| r.is_none());
        let gpus = project.gpus.clone().filter(|_| granted);
        let gpus = gpus.map(|gpus| (gpus, project.visible_devices.clone()));
        let probe = docker.python_with_gpus(image, gpus.as_ref(), PROBE, &args)?;
        Ok(Report::parse(&probe))
    }
}
