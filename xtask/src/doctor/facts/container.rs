//! The facts that the service's container is asked for.

use std::time::Duration;

use super::{Facts, Known};
use crate::deploy::device::Device;
use crate::docker::{Container, Python};
use crate::doctor::http;
use crate::python::{PROBE, Report};

/// Seconds after which the probe ends itself; less than [`CAP`], so that what it
/// printed until then is kept.
const PROBE_SECONDS: &str = "50";

/// For a probe and the docker command that runs it.
const CAP: Duration = Duration::from_secs(60);

impl Facts {
    /// The last lines that the service wrote.
    pub fn logs(&self) -> Known<&String> {
        self.logs.or_ask(|| {
            let container = self.container()?.ok_or("there is no container")?;
            let values = &self.project()?.values;
            Ok(self.without_values(&self.docker()?.last_lines(container, 5), values))
        })
    }

    /// What the service answers on its published port.
    pub fn health(&self) -> Known<&http::Answer> {
        self.health.or_ask(|| {
            let container = self.container()?.ok_or("there is no container")?;
            let addresses = container.addresses();
            let address = addresses.first().ok_or("it publishes no port")?;
            Ok(http::get(&http::from_here(address, self.endpoint()), "/health")?)
        })
    }

    /// Python, the packages and the driver, as the container sees them.
    pub fn inside(&self) -> Known<&Report> {
        self.inside.or_ask(|| self.probe(&["packages", "driver"]))
    }

    /// torch, as the container sees it.
    pub fn torch(&self) -> Known<&Report> {
        self.torch.or_ask(|| {
            // Importing torch takes longest of all, so it begins before the container
            // is known. Its answer counts only if that container keeps running.
            let docker = self.docker()?;
            let run = docker.python(&Python::Service, PROBE, &[PROBE_SECONDS, "torch"]);
            let early = docker.output(&run, CAP)?;
            match self.lasting()? {
                Some(_) => Ok(Report::parse(&early)),
                None => self.probe(&["torch"]),
            }
        })
    }

    /// The running container that probes run in; none where they need a temporary
    /// one. A crash-looping container would end in the middle of a probe.
    pub fn lasting(&self) -> Known<Option<&Container>> {
        let container = self.container()?;
        Ok(container.filter(|c| {
            c.is("running") && (c.restart_count == 0 || c.health() != Some("starting"))
        }))
    }

    fn probe(&self, parts: &[&str]) -> Known<Report> {
        let args = [&[PROBE_SECONDS], parts].concat();
        let docker = self.docker()?;
        if let Some(container) = self.lasting()? {
            let run = docker.python(&Python::Container(container), PROBE, &args);
            return Ok(Report::parse(&docker.output(&run, CAP)?));
        }
        let image = &self.image()?.ok_or("the service has no image yet")?.id;
        let project = self.project()?;
        // Where the engine refuses the GPUs, Python can still be asked without.
        let granted = self.device() == Ok(Device::Gpu) && self.refusal() == Ok(None);
        let gpus = project.gpus.as_deref().filter(|_| granted);
        let visible = gpus.and(project.visible_devices.as_deref());
        let run = docker.python(&Python::Image { image, gpus, visible }, PROBE, &args);
        // A new container takes its time to start.
        Ok(Report::parse(&docker.output(&run, 2 * CAP)?))
    }
}
