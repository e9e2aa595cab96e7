//! Questions that are answered from inside a container.

use std::iter;
use std::time::Duration;

use anyhow::Result;

use super::commands::{docker, gpu_options, throw_away, try_gpus, try_port};
use super::{CAP, Container, Docker, Image, Machine, SERVICE, host, http};
use crate::error::Failure;
use crate::process::{Finished, Invocation};

/// For one look at a port.
const GLANCE: Duration = Duration::from_secs(1);

/// Where to run Python.
pub enum Python<'a> {
    /// In the service's container, whichever that is; Compose refuses where none runs.
    Service,
    Container(&'a Container),
    /// In a throw-away container that has the service's GPUs and its CUDA_VISIBLE_DEVICES.
    Image {
        image: &'a str,
        gpus: Option<&'a str>,
        visible: Option<&'a str>,
    },
}

impl Docker {
    /// The command that runs a Python script with arguments.
    pub fn python(&self, place: &Python, script: &str, args: &[&str]) -> Invocation {
        let python = [&["python3", "-"], args].concat();
        let run = match place {
            Python::Service => self.compose(&["exec", "-T", SERVICE]).args(python),
            Python::Container(c) => docker(["exec", "--interactive", &c.id]).args(python),
            Python::Image { image, gpus, visible } => {
                let visible = visible.map(|value| format!("CUDA_VISIBLE_DEVICES={value}"));
                let mut options = gpus.map(gpu_options).unwrap_or_default();
                options.extend(visible.iter().flat_map(|visible| ["--env", visible]));
                throw_away(&options, image, &python)
            }
        };
        run.stdin(script, "a Python script")
    }

    /// What docker says where it can't start a container of `image` with `gpus`.
    pub fn gpu_refusal(&self, image: &str, gpus: &str) -> Result<Option<String>> {
        self.not_started(&try_gpus(image, gpus))
    }

    /// Why a container of `image` can't publish on `host:port`; none where it can.
    pub fn port_refusal(&self, image: &str, address: &str) -> Result<Option<Failure>> {
        self.refusal(&try_port(image, address))
    }

    /// Why a throw-away container can't be started; none where it can.
    pub fn refusal(&self, run: &Invocation) -> Result<Option<Failure>> {
        let said = self.not_started(run)?;
        Ok(said.map(|said| Failure::of_command(&run.to_string(), 1, &said)))
    }

    /// What docker says where it can't start a container.
    fn not_started(&self, run: &Invocation) -> Result<Option<String>> {
        let Finished { code, stderr, .. } = self.answer(run)?;
        // Only a container that was started can lack the program.
        let started = code == 0 || stderr.contains("executable file not found");
        Ok((!started).then_some(stderr))
    }

    /// What the running `container`, or a throw-away one, sees of the engine's machine; none where
    /// neither `image` nor any other has a shell.
    pub fn machine(&self, container: Option<&Container>, image: Option<&Image>) -> Option<Machine> {
        let look = ["sh", "-c", host::LOOK];
        let running = container.filter(|container| container.is("running")).into_iter();
        let exec = running.map(|container| docker(["exec", &container.id]).args(look));
        let any = iter::once_with(|| self.some_images().unwrap_or_default()).flatten();
        let images = image.map(|image| image.id.clone()).into_iter().chain(any);
        exec.chain(images.map(|image| throw_away(&[], &image, &look)))
            .find_map(|look| self.ask(&look).ok().map(|said| Machine::parse(&said)))
    }

    /// Whether the service answers now: its healthcheck, without waiting for the interval, or
    /// where it has none anything in HTTP on a port that it publishes.
    pub fn answers(&self, container: &Container) -> bool {
        let Some((command, timeout)) = container.healthcheck() else {
            // A service that starts is asked again and again; the engine stays where it is.
            let endpoint = || self.endpoint.get_or_init(|| self.endpoint().unwrap_or_default());
            let speaks = |a: &String| http::speaks(&http::from_here(a, endpoint()), GLANCE);
            return container.addresses().iter().any(speaks);
        };
        let exec = docker(["exec", &container.id]).args(command);
        let answer = self.output(&exec, timeout.min(CAP));
        answer.is_ok_and(|answer| answer.code == 0 && answer.timed_out.is_none())
    }
}
