//! Questions that are answered from inside a container.

use std::time::Duration;

use anyhow::Result;

use super::{Container, Docker, Image, Machine, SERVICE, docker, host, query::started, throw_away};
use crate::process::Finished;

impl Docker {
    /// Starts a container of `image` with `gpus`, as `docker run --gpus` takes
    /// them: what docker says where it can't.
    ///
    /// # Errors
    /// When docker gives no answer.
    pub fn try_gpus(&self, image: &Image, gpus: &str) -> Result<Option<String>> {
        let answer = self.answer(&throw_away(&gpu_options(gpus), &image.id, "true", &[]))?;
        Ok((!started(&answer)).then_some(answer.stderr))
    }

    /// What a container sees of the engine's machine. It is the running
    /// `container`, or a throw-away one of the first of `images` in which
    /// something can look; none where nothing can.
    pub fn machine(&self, container: Option<&Container>, images: &[String]) -> Option<Machine> {
        let look = ["-c", host::LOOK];
        let exec = container.filter(|c| c.state == "running").map(|container| {
            docker(["exec", &container.id, "sh"].into_iter().chain(look.iter().copied()))
        });
        let runs = images.iter().map(|image| throw_away(&[], image, "sh", &look));
        exec.into_iter().chain(runs).find_map(|invocation| {
            let answer = self.answer(&invocation).ok()?;
            (answer.code == 0).then(|| Machine::parse(&answer.stdout))
        })
    }

    /// Ids of a few images on the engine, the newest first.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn some_images(&self) -> Result<Vec<String>> {
        let format = "{{.ID}} {{.Size}}";
        let answer = self.ask(&docker(["image", "ls", "--no-trunc", "--format", format]))?;
        // Our records of what an image was built from are images of no size.
        let images = answer.stdout.lines().filter_map(|line| line.split_once(' '));
        let ids = images.filter(|(_, size)| *size != "0B").map(|(id, _)| id.to_owned());
        Ok(ids.take(5).collect())
    }

    /// Where the engine is, such as `unix:///var/run/docker.sock`; no engine
    /// needs to answer for that.
    ///
    /// # Errors
    /// When the context that is chosen does not exist.
    pub fn endpoint(&self) -> Result<String> {
        let inspect = docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
        Ok(self.ask(&inspect)?.stdout.trim().to_owned())
    }

    /// Runs a Python script with arguments in the service's container, whichever that is;
    /// Compose refuses where none runs.
    ///
    /// # Errors
    /// When docker can't be run. After a minute the script is ended, and what it
    /// said until then is the answer.
    pub fn python_in_service(&self, script: &str, args: &[&str]) -> Result<Finished> {
        let exec = ["exec", "-T", SERVICE, "python3", "-"];
        let exec = self.compose(&exec).and(args.iter().copied()).stdin(script);
        self.said_within(&exec, Duration::from_secs(60))
    }

    /// The same in a container that is known.
    ///
    /// # Errors
    /// When docker can't be run. After a minute the script is ended, and what it
    /// said until then is the answer.
    pub fn python_in_container(
        &self,
        container: &Container,
        script: &str,
        args: &[&str],
    ) -> Result<Finished> {
        let exec = ["exec", "--interactive", &container.id, "python3", "-"];
        let exec = docker(exec.iter().chain(args).copied()).stdin(script);
        self.said_within(&exec, Duration::from_secs(60))
    }

    /// The same in a throw-away container of `image` that has the GPUs that the
    /// service asks for, if any: `gpus` as `docker run --gpus` takes it, and the
    /// value of CUDA_VISIBLE_DEVICES.
    ///
    /// # Errors
    /// When docker can't be run. After two minutes the script is ended, as above.
    pub fn python_with_gpus(
        &self,
        image: &Image,
        gpus: Option<&(String, Option<String>)>,
        script: &str,
        args: &[&str],
    ) -> Result<Finished> {
        let visible = gpus.and_then(|(_, visible)| visible.as_ref());
        let visible = visible.map(|value| format!("CUDA_VISIBLE_DEVICES={value}"));
        let gpus = gpus.iter().flat_map(|(gpus, _)| gpu_options(gpus));
        let visible = visible.iter().flat_map(|visible| ["--env", visible]);
        let options: Vec<&str> = gpus.chain(visible).collect();
        let args: Vec<&str> = ["-"].iter().chain(args).copied().collect();
        let run = throw_away(&options, &image.id, "python3", &args).stdin(script);
        self.said_within(&run, Duration::from_secs(120))
    }
}

/// Options of `docker run` that ask for GPUs. CDI's own names are devices.
fn gpu_options(gpus: &str) -> Vec<&str> {
    let ids = gpus.trim_matches('"').trim_start_matches("device=");
    if !ids.contains("nvidia.com/gpu=") {
        return vec!["--gpus", gpus];
    }
    ids.split(',').flat_map(|id| ["--device", id]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_asked_for_as_the_engine_knows_them() {
        for (gpus, want) in [
            ("all", "--gpus all"),
            ("\"device=0,3\"", "--gpus \"device=0,3\""),
            (
                "\"device=nvidia.com/gpu=0,nvidia.com/gpu=1\"",
                "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1",
            ),
        ] {
            assert_eq!(gpu_options(gpus).join(" "), want);
        }
    }
}
