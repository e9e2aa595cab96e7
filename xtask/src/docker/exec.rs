//! Questions that are answered from inside a container.

use std::time::Duration;

use anyhow::Result;

use super::commands::{docker, gpu_options, throw_away, try_gpus, try_port};
use super::{CAP, Container, Docker, Image, Machine, SERVICE, host};
use crate::error::Failure;
use crate::process::{Finished, Invocation};

/// Where to run Python.
pub enum Python<'a> {
    /// In the service's container, whichever that is; Compose refuses where none runs.
    Service,
    Container(&'a Container),
    /// In a throw-away container that has the GPUs that the service asks for, as
    /// `docker run --gpus` takes them, and its CUDA_VISIBLE_DEVICES.
    Image {
        image: &'a str,
        gpus: Option<&'a str>,
        visible: Option<&'a str>,
    },
}

impl Docker {
    /// The command that runs a Python script with arguments.
    pub fn python(&self, place: &Python, script: &str, args: &[&str]) -> Invocation {
        let python: Vec<&str> = ["-"].iter().chain(args).copied().collect();
        let run = match place {
            Python::Service => self.compose(&["exec", "-T", SERVICE, "python3"]).args(python),
            Python::Container(container) => {
                docker(["exec", "--interactive", &container.id, "python3"]).args(python)
            }
            Python::Image { image, gpus, visible } => {
                let visible = visible.map(|value| format!("CUDA_VISIBLE_DEVICES={value}"));
                let visible = visible.iter().flat_map(|visible| ["--env", visible]);
                let options: Vec<&str> =
                    gpus.iter().flat_map(|gpus| gpu_options(gpus)).chain(visible).collect();
                throw_away(&options, image, "python3", &python)
            }
        };
        run.stdin(script, "a Python script")
    }

    /// Runs a command for its output until `cap`, whatever its exit code.
    pub fn output(&self, invocation: &Invocation, cap: Duration) -> Result<Finished> {
        self.answer_within(invocation, cap)
    }

    /// What docker says where it can't start a container of `image` with `gpus`.
    pub fn gpu_refusal(&self, image: &str, gpus: &str) -> Result<Option<String>> {
        let answer = self.answer(&try_gpus(image, gpus))?;
        Ok((!started(&answer)).then_some(answer.stderr))
    }

    /// Why a container of `image` can't publish on `host:port`; none where it can.
    pub fn port_refusal(&self, image: &str, address: &str) -> Result<Option<Failure>> {
        self.refusal(&try_port(image, address))
    }

    /// Why a throw-away container can't be started; none where it can.
    pub fn refusal(&self, run: &Invocation) -> Result<Option<Failure>> {
        let answer = self.answer(run)?;
        let failure = || Failure::of_command(&run.to_string(), 1, &answer.stderr);
        Ok((!started(&answer)).then(failure))
    }

    /// What a container sees of the engine's machine: the running `container`, or a
    /// throw-away one of `image` or else of any image with a shell. None where there
    /// is none.
    pub fn machine(&self, container: Option<&Container>, image: Option<&Image>) -> Option<Machine> {
        let look = ["-c", host::LOOK];
        let exec = container
            .filter(|container| container.is("running"))
            .map(|container| docker(["exec", &container.id, "sh"]).args(look));
        let run = |image: &str| throw_away(&[], image, "sh", &look);
        let own = exec.into_iter().chain(image.map(|image| run(&image.id)));
        let any = std::iter::once_with(|| self.some_images().unwrap_or_default()).flatten();
        own.chain(any.map(|id| run(&id))).find_map(|invocation| {
            let answer = self.answer(&invocation).ok()?;
            (answer.code == 0).then(|| Machine::parse(&answer.stdout))
        })
    }

    /// Whether the service answers now, asked the way its healthcheck asks, but
    /// without waiting for the healthcheck's next interval.
    pub fn answers(&self, container: &Container) -> bool {
        container.healthcheck().is_some_and(|(command, timeout)| {
            let exec = docker(["exec", &container.id]).args(command);
            let answer = self.answer_within(&exec, timeout.min(CAP));
            answer.is_ok_and(|answer| answer.code == 0 && answer.timed_out.is_none())
        })
    }
}

/// Whether a container was started, if only to find no such program in it.
fn started(run: &Finished) -> bool {
    run.code == 0 || run.stderr.contains("executable file not found")
}
