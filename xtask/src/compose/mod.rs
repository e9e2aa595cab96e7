//! The only room that spells docker arguments.
//!
//! Questions return typed answers; what changes something is returned as an
//! [`Invocation`], so that a dry run can show exactly what would be run.

pub mod config;
pub mod files;
pub mod inspect;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use xshell::Shell;

pub use self::{
    config::Project,
    inspect::{Container, Engine, Image},
};
use crate::{
    failure::Failure,
    process::{self, Finished, Invocation},
};

/// The service's name, in the compose file and everywhere else.
pub const SERVICE: &str = "backend";

/// The oldest Compose that knows `env_file.required` (2.24) and all else we use.
pub const MIN_COMPOSE: (u32, u32) = (2, 24);

/// Enough for any question on a loaded server; a dead engine answers faster.
const CAP: Duration = Duration::from_secs(30);

/// Docker, as it answers for the repository at `root`.
#[derive(Clone)]
pub struct Docker {
    sh: Shell,
    root: PathBuf,
    /// Whether [`files::CPU_FILE`] is added to the user's compose files.
    on_cpu: bool,
}

impl Docker {
    /// # Errors
    /// When there is no `docker` on PATH.
    pub fn new(root: PathBuf) -> Result<Docker> {
        which::which("docker").map_err(|_| {
            Failure::new("`docker` is not on PATH").hint(
                "docs.docker.com/engine/install, or on Debian and Ubuntu: cargo xtask up --setup",
            )
        })?;
        let sh = Shell::new()?;
        sh.change_dir(&root);
        // A provenance attestation would give every rebuild another image id.
        sh.set_var("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
        Ok(Docker { sh, root, on_cpu: false })
    }

    /// The same with [`files::CPU_FILE`] in force, where the repository has it.
    pub fn on_cpu(&self, on_cpu: bool) -> Docker {
        Docker { on_cpu: on_cpu && self.root.join(files::CPU_FILE).is_file(), ..self.clone() }
    }

    /// Runs a long command, which draws its own progress on the terminal.
    ///
    /// # Errors
    /// See [`process::stream`].
    pub fn run(&self, invocation: &Invocation) -> Result<()> {
        process::stream(&self.sh, invocation)
    }

    /// Runs a short command that changes something and names a known cause
    /// where it fails.
    ///
    /// # Errors
    /// See [`process::stream_and_note`].
    pub fn change(&self, invocation: &Invocation) -> Result<()> {
        process::stream_and_note(&self.sh, invocation)
    }

    // --- Questions ---------------------------------------------------------

    /// # Errors
    /// When the engine can't be reached; known causes are named.
    pub fn engine(&self) -> Result<Engine> {
        let answer = self.ask(&docker(["info", "--format", "{{json .}}"]))?;
        // Older CLIs exit with 0 although the engine does not answer.
        let engine = Engine::parse(&answer.stdout)?;
        if engine.id.is_empty() {
            return Err(
                Failure::of_command("docker info", 1, &(answer.stderr + &answer.stdout)).into()
            );
        }
        Ok(engine)
    }

    /// # Errors
    /// When the engine can't be reached.
    pub fn engine_version(&self) -> Result<String> {
        Ok(self
            .ask(&docker(["version", "--format", "{{.Server.Version}}"]))?
            .stdout
            .trim()
            .to_owned())
    }

    /// # Errors
    /// When the plugin is missing.
    pub fn compose_version(&self) -> Result<String> {
        Ok(self.ask(&docker(["compose", "version", "--short"]))?.stdout.trim().to_owned())
    }

    /// # Errors
    /// When the plugin is missing.
    pub fn buildx_version(&self) -> Result<String> {
        Ok(self.ask(&docker(["buildx", "version"]))?.stdout.trim().to_owned())
    }

    /// # Errors
    /// When the compose files are missing or wrong, or have no service `backend`.
    pub fn project(&self) -> Result<Project> {
        let answer = self.answer(&self.compose(&["config", "--format", "json"], None)?)?;
        if answer.code != 0 {
            let failure = Failure::of_command("docker compose config", answer.code, &answer.stderr);
            return Err(failure.hint("docker compose config --quiet"))
                .context("reading the compose files");
        }
        Project::parse(&answer.stdout)
    }

    /// The service's container in any state; the first where it is scaled.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn container(&self, project: &Project) -> Result<Option<Container>> {
        let label = |key: &str, value: &str| format!("label=com.docker.compose.{key}={value}");
        let answer = self.ask(&docker([
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            "--filter",
            &label("project", &project.name),
            "--filter",
            &label("service", SERVICE),
            "--filter",
            &label("oneoff", "False"),
        ]))?;
        // The newest comes first.
        answer.stdout.lines().last().map_or(Ok(None), |id| self.container_by_id(id))
    }

    /// # Errors
    /// When the engine can't be reached; a container that isn't there is `None`.
    pub fn container_by_id(&self, id: &str) -> Result<Option<Container>> {
        let answer = self.answer(&docker(["container", "inspect", id]))?;
        if answer.code != 0 && answer.stderr.to_lowercase().contains("no such container") {
            Ok(None)
        } else {
            Container::parse(&answer.stdout)
        }
    }

    /// # Errors
    /// When the engine can't be reached; an image that isn't there is `None`.
    pub fn image(&self, reference: &str) -> Result<Option<Image>> {
        let inspect = docker(["image", "inspect", reference]);
        let answer = self.answer(&inspect)?;
        if answer.code != 0 && !answer.stderr.to_lowercase().contains("no such image") {
            return Err(
                Failure::of_command(&inspect.to_string(), answer.code, &answer.stderr).into()
            );
        }
        if answer.code == 0 { Image::parse(&answer.stdout) } else { Ok(None) }
    }

    /// Whether Compose would recreate the container: its configuration, its
    /// .env or its image is no longer what it was created with.
    ///
    /// # Errors
    /// When Compose can't tell.
    pub fn drifted(&self) -> Result<bool> {
        let args = [
            "--progress",
            "plain",
            "--dry-run",
            "up",
            "--detach",
            "--no-build",
            "--no-deps",
            SERVICE,
        ];
        let answer = self.ask(&self.compose(&args, None)?)?;
        Ok((answer.stdout + &answer.stderr)
            .lines()
            .any(|line| line.contains("Container") && line.contains("Recreate")))
    }

    /// Whether an NVIDIA card is on the engine's machine: any container sees
    /// its PCI bus, with or without toolkit and driver. None where nothing runs
    /// that could look: no container, and no image or one without a shell.
    pub fn nvidia_card(
        &self,
        container: Option<&Container>,
        image: Option<&Image>,
    ) -> Option<bool> {
        let look = ["-c", "cat /sys/bus/pci/devices/*/vendor"];
        let invocation = match (container.filter(|c| c.state == "running"), image) {
            (Some(container), _) => docker(["exec", &container.id, "sh"].into_iter().chain(look)),
            (_, Some(image)) => throw_away(&image.id, "sh", &look),
            _ => return None,
        };
        let answer = self.answer(&invocation).ok()?;
        (answer.code == 0).then(|| answer.stdout.lines().any(|vendor| vendor.trim() == "0x10de"))
    }

    /// Whether a container of `image` can be started with the GPUs.
    pub fn hands_out_gpus(&self, image: Option<&Image>) -> bool {
        let Some(image) = image else { return false };
        let args = [
            "run",
            "--rm",
            "--gpus",
            "all",
            "--network",
            "none",
            "--entrypoint",
            "true",
            &image.id,
        ];
        self.answer(&docker(args)).is_ok_and(|answer| answer.code == 0)
    }

    /// Whether the service answers now, asked the way its healthcheck asks, so
    /// that nobody waits for the healthcheck's next interval.
    pub fn answers(&self, container: &Container) -> bool {
        container.healthcheck.as_ref().is_some_and(|check| {
            let exec = ["exec", &container.id]
                .into_iter()
                .map(str::to_owned)
                .chain(check.command.iter().cloned());
            process::capture(&self.sh, &docker(exec), check.timeout)
                .is_ok_and(|answer| answer.code == 0)
        })
    }

    /// The last `lines` lines that the container wrote to stdout and stderr.
    pub fn last_words(&self, container: &Container, lines: usize) -> String {
        let answer = self.answer(&docker(["logs", "--tail", &lines.to_string(), &container.id]));
        answer.map(|answer| answer.stdout + &answer.stderr).unwrap_or_default()
    }

    /// Runs a Python script, read from stdin, in a throw-away container of
    /// `image` without network; its output whatever its exit code.
    ///
    /// # Errors
    /// When docker can't be run or the script takes longer than five minutes.
    pub fn python_in_image(&self, image: &str, script: &str) -> Result<Finished> {
        process::capture(&self.sh, &python_in(image, script), Duration::from_secs(300))
    }

    /// The same in the service's running container.
    ///
    /// # Errors
    /// When docker can't be run or the script takes longer than a minute.
    pub fn python_in_container(&self, container: &Container, script: &str) -> Result<Finished> {
        let exec = docker(["exec", "--interactive", &container.id, "python3", "-"]).stdin(script);
        process::capture(&self.sh, &exec, Duration::from_secs(60))
    }

    /// The tags of a repository, with the ids they stand for.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let filter = format!("reference={repository}");
        let answer = self.ask(&docker([
            "image",
            "ls",
            "--filter",
            &filter,
            "--format",
            "{{.Repository}}:{{.Tag}}",
        ]))?;
        Ok(answer.stdout.lines().map(str::to_owned).collect())
    }

    /// Bytes that images and build cache take on the engine's disk.
    ///
    /// # Errors
    /// When the engine can't be reached or takes too long to count.
    pub fn disk_use(&self) -> Result<u64> {
        inspect::disk_use(&self.ask(&docker(["system", "df", "--format", "{{json .}}"]))?.stdout)
    }

    /// The ids of the build cache's records that share no layer with an image.
    ///
    /// # Errors
    /// When buildx is missing or the engine can't be reached.
    pub fn unshared_build_cache(&self) -> Result<Vec<String>> {
        Ok(inspect::unshared_records(&self.ask(&docker(["buildx", "du", "--verbose"]))?.stdout))
    }

    /// Removes quietly; false where the engine refuses because it is in use.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn remove(&self, invocation: &Invocation) -> Result<bool> {
        Ok(self.answer(invocation)?.code == 0)
    }

    // --- Changes -----------------------------------------------------------

    /// Builds the service's image under the name `candidate`, so that the name
    /// the service runs by stays with the old image until the new one is adopted.
    ///
    /// # Errors
    /// When .env can't be read.
    pub fn build(&self, candidate: &str, no_cache: bool, pull: bool) -> Result<Invocation> {
        let mut args = vec!["build"];
        args.extend(no_cache.then_some("--no-cache"));
        args.extend(pull.then_some("--pull"));
        args.push(SERVICE);
        self.compose(&args, Some(format!("services: {{{SERVICE}: {{image: \"{candidate}\"}}}}\n")))
    }

    /// # Errors
    /// When .env can't be read.
    pub fn up(&self, with_dependencies: bool) -> Result<Invocation> {
        let mut args = vec!["up", "--detach", "--no-build"];
        args.extend((!with_dependencies).then_some("--no-deps"));
        args.push(SERVICE);
        self.compose(&args, None)
    }

    /// # Errors
    /// When .env can't be read.
    pub fn restart(&self) -> Result<Invocation> {
        self.compose(&["restart", "--no-deps", SERVICE], None)
    }

    /// # Errors
    /// When .env can't be read.
    pub fn unpause(&self) -> Result<Invocation> {
        self.compose(&["unpause", SERVICE], None)
    }

    /// `docker compose` with the files in force and, as a last file, `overlay`
    /// read from stdin. Files are named only where one is added to what Compose
    /// would take by itself.
    fn compose(&self, args: &[&str], overlay: Option<String>) -> Result<Invocation> {
        let mut all = vec!["compose".to_owned()];
        if self.on_cpu || overlay.is_some() {
            let mut names = files::in_force(&self.root)?;
            let cpu = files::CPU_FILE.to_owned();
            if self.on_cpu && !names.contains(&cpu) {
                names.push(cpu);
            }
            names.extend(overlay.is_some().then(|| "-".to_owned()));
            all.extend(names.into_iter().flat_map(|name| ["--file".to_owned(), name]));
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let invocation = docker(all);
        Ok(match overlay {
            Some(text) => invocation.stdin(text),
            None => invocation,
        })
    }

    fn answer(&self, invocation: &Invocation) -> Result<Finished> {
        process::capture(&self.sh, invocation, CAP)
    }

    /// An answer that has to be a success.
    fn ask(&self, invocation: &Invocation) -> Result<Finished> {
        let answer = self.answer(invocation)?;
        if answer.code == 0 {
            return Ok(answer);
        }
        Err(Failure::of_command(&invocation.to_string(), answer.code, &answer.stderr).into())
    }
}

/// Gives an image one more name.
pub fn tag(from: &str, to: &str) -> Invocation {
    docker(["tag", from, to])
}

/// Removes names of images, and with its last name the image itself. Never
/// forced: what a container uses or another name holds stays.
pub fn remove_image(reference: &str) -> Invocation {
    docker(["image", "rm", reference])
}

/// Removes one record of the build cache by its id.
pub fn remove_build_cache(id: &str) -> Invocation {
    docker(["buildx", "prune", "--force", "--filter", &format!("id={id}")])
}

/// Makes an image of no size that carries one label.
pub fn label_image(reference: &str, key: &str, value: &str) -> Invocation {
    let quoted = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
    // An empty tar archive is two blocks of zeros.
    docker(["import", "--change", &format!("LABEL {key}=\"{quoted}\""), "-", reference])
        .stdin(vec![0; 1024])
}

/// Runs a Python script from stdin in a throw-away container of `image`.
pub fn python_in(image: &str, script: &str) -> Invocation {
    throw_away(image, "python3", &["-"]).stdin(script)
}

fn throw_away(image: &str, program: &str, args: &[&str]) -> Invocation {
    let run = ["run", "--rm", "--interactive", "--network", "none", "--entrypoint", program, image];
    docker(run.iter().chain(args).copied())
}

fn docker<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Invocation {
    Invocation::new("docker", args)
}
