//! Questions to docker. None of them changes anything that outlives it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{
    Docker, MIN_COMPOSE, SERVICE, disk, docker,
    model::{self, Container, Engine, Image},
    project::Project,
    python_in, throw_away,
};
use crate::error::Failure;
use crate::process::{self, Finished, Invocation};

/// Enough for any question on a loaded server; a dead engine answers faster.
const CAP: Duration = Duration::from_secs(30);

impl Docker {
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
    /// When the plugin is missing.
    pub fn compose_version(&self) -> Result<String> {
        // Without options: a CLI that lacks the plugin would complain of those.
        let answer = self.ask(&docker(["compose", "version"]))?.stdout;
        let version = answer.split_whitespace().last().unwrap_or_default();
        Ok(version.trim_start_matches('v').to_owned())
    }

    /// # Errors
    /// When the plugin is missing.
    pub fn buildx_version(&self) -> Result<String> {
        Ok(self.ask(&docker(["buildx", "version"]))?.stdout.trim().to_owned())
    }

    /// # Errors
    /// When the compose files are missing or wrong, or have no service `backend`.
    pub fn project(&self) -> Result<Project> {
        let answer = self.answer(&self.compose(&["config", "--format", "json"]))?;
        if answer.code != 0 {
            let failure = match self.compose_version()? {
                version if !recent_enough(&version) => Failure::new(format!(
                    "Docker Compose {version} is too old: {}.{} or newer is needed",
                    MIN_COMPOSE.0, MIN_COMPOSE.1
                ))
                .advice("docs.docker.com/compose/install tells how to upgrade it")
                .hint("cargo xtask up --setup   # on Debian and Ubuntu"),
                _ => Failure::of_command("docker compose config", answer.code, &answer.stderr)
                    .hint("docker compose config --quiet"),
            };
            return Err(failure).context("reading the compose files");
        }
        Project::parse(&answer.stdout)
    }

    /// The service's container in any state; the oldest where there are several.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn container(&self, project: &Project) -> Result<Option<Container>> {
        Ok(self.containers(Some(project))?.pop())
    }

    /// All of the service's containers in a project, or in all of them, the newest
    /// first: during a swap there are two.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn containers(&self, project: Option<&Project>) -> Result<Vec<Container>> {
        let label = |key: &str, value: &str| format!("label=com.docker.compose.{key}={value}");
        let filters = project.map(|project| label("project", &project.name)).into_iter();
        let filters = filters.chain([label("service", SERVICE), label("oneoff", "False")]);
        let list = docker(["ps", "--all", "--quiet", "--no-trunc"])
            .and(filters.flat_map(|filter| ["--filter".to_owned(), filter]));
        let ids = self.ask(&list)?.stdout;
        match ids.split_whitespace().collect::<Vec<_>>() {
            ids if ids.is_empty() => Ok(Vec::new()),
            ids => match self.inspect("container", &ids)? {
                Some(json) => Container::parse(&json),
                // It went since it was listed.
                None => Ok(Vec::new()),
            },
        }
    }

    /// The container with this id, none if it is gone.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn container_by_id(&self, id: &str) -> Result<Option<Container>> {
        let found = self.inspect("container", &[id])?;
        found.map_or(Ok(None), |json| Ok(Container::parse(&json)?.pop()))
    }

    /// The image of this name or id, none if there is none.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn image(&self, reference: &str) -> Result<Option<Image>> {
        let found = self.inspect("image", &[reference])?;
        found.map_or(Ok(None), |json| Ok(Image::parse(&json)?.pop()))
    }

    /// The images of these names that there are.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn images(&self, names: &[String]) -> Result<Vec<Image>> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = self.inspect("image", &names)?;
        found.map_or(Ok(Vec::new()), |json| Image::parse(&json))
    }

    /// What is found of what is asked for; none where that is nothing.
    fn inspect(&self, kind: &str, references: &[&str]) -> Result<Option<String>> {
        let inspect = docker([kind, "inspect"]).and(references.iter().copied());
        let answer = self.answer(&inspect)?;
        let (none, said) = (format!("no such {kind}"), answer.stderr.to_lowercase());
        let mut complaints = said.lines().filter(|line| !line.trim().is_empty()).peekable();
        let gone = complaints.peek().is_some() && complaints.all(|line| line.contains(&none));
        match answer.code {
            0 => Ok(Some(answer.stdout)),
            // Of several, one may have gone since they were listed.
            _ if gone => Ok(Some(answer.stdout).filter(|_| references.len() > 1)),
            code => Err(Failure::of_command(&inspect.to_string(), code, &answer.stderr).into()),
        }
    }

    /// Names of the containers that Compose would recreate, the service's and
    /// those it depends on: their configuration, .env or image is no longer
    /// what they were created with.
    ///
    /// Asked with the dependencies, as for [`Docker::up`]: up to Compose 2.26 at
    /// least, `--no-deps` gives the same service another configuration hash.
    ///
    /// # Errors
    /// When Compose can't tell.
    pub fn drifted(&self) -> Result<Vec<String>> {
        let args = ["--progress", "plain", "--dry-run", "up", "--detach", "--no-build", SERVICE];
        // A compose file may hand on the very variables that would make it quick.
        let invocation = self.compose(&args).exactly();
        let answer = self.answer(&invocation)?;
        let said = answer.stdout + &answer.stderr;
        // A dependency that would not come up fails the dry run after it said
        // what we ask for.
        if answer.code != 0 && !said.contains("DRY-RUN") {
            return Err(Failure::of_command(&invocation.to_string(), answer.code, &said).into());
        }
        Ok(model::recreated(&said))
    }

    /// Whether an NVIDIA card is on the engine's machine: any container sees
    /// its PCI bus, with or without toolkit and driver, if it has one. None where nothing runs
    /// that could look: no container, and no image or one without a shell.
    pub fn nvidia_card(
        &self,
        container: Option<&Container>,
        image: Option<&Image>,
    ) -> Option<bool> {
        let image = image.map(|image| image.id.clone());
        Some(self.machine(container, image.as_slice())?.nvidia_card)
    }

    /// Whether a container of `image` can be started with the GPUs.
    pub fn hands_out_gpus(&self, image: Option<&Image>) -> bool {
        image.is_some_and(|image| matches!(self.try_gpus(image, "all"), Ok(None)))
    }

    /// Tries whether a container of `image` can publish on `host:port`.
    ///
    /// # Errors
    /// When the port is not to be had. Any other trouble is Compose's to report.
    pub fn try_port(&self, image: &Image, address: &str) -> Result<()> {
        match self.port_refusal(image, address)? {
            Some(refusal) if refusal.is_known() => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// Why a container of `image` can't publish on `host:port`; none where it can.
    ///
    /// # Errors
    /// When docker gives no answer.
    pub fn port_refusal(&self, image: &Image, address: &str) -> Result<Option<Failure>> {
        let publish = format!("{address}:1");
        let run =
            throw_away(&["--network", "bridge", "--publish", &publish], &image.id, "true", &[]);
        let answer = self.answer(&run)?;
        let refusal = || Failure::of_command(&run.to_string(), answer.code, &answer.stderr);
        Ok((!started(&answer)).then(|| refusal().code(1)))
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
        self.answer_within(&python_in(image, script), Duration::from_secs(300))
    }

    /// The names in a repository.
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

    /// # Errors
    /// When the engine can't be reached or doesn't know within `cap`.
    pub fn build_cache(&self, cap: Duration) -> Result<Vec<disk::CacheRecord>> {
        let du = self.answer_within(&docker(["buildx", "du", "--verbose"]), cap)?;
        Ok(disk::build_cache(&du.stdout))
    }

    /// Removes records of the build cache by their ids, except those that others
    /// build on; returns how much disk that freed, in buildx's words.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn forget_build_cache(&self, ids: &[String]) -> Result<String> {
        if ids.is_empty() {
            return Ok("0 B".to_owned());
        }
        let prune = super::forget_build_cache(&ids.join("|"));
        // Removing gigabytes takes longer than any question.
        let answer = self.answer_within(&prune, Duration::from_secs(300))?;
        Ok(disk::freed(&answer.stdout).unwrap_or("0 B").to_owned())
    }

    /// Runs a short command quietly; false where the engine refuses.
    ///
    /// # Errors
    /// When the engine can't be reached.
    pub fn quietly(&self, invocation: &Invocation) -> Result<bool> {
        Ok(self.answer(invocation)?.code == 0)
    }

    pub(super) fn answer(&self, invocation: &Invocation) -> Result<Finished> {
        self.answer_within(invocation, CAP)
    }

    pub(super) fn answer_within(&self, invocation: &Invocation, cap: Duration) -> Result<Finished> {
        self.said_within(invocation, cap)?.in_time(invocation)
    }

    /// What is said until the end or `cap`. A throw-away container goes also
    /// where docker is ended in its middle.
    pub(super) fn said_within(&self, invocation: &Invocation, cap: Duration) -> Result<Finished> {
        let said = process::overhear(&self.sh, invocation, cap);
        if let Some(name) = invocation.value_of("--name")
            && !said.as_ref().is_ok_and(|said| said.timed_out.is_none())
        {
            // What hangs in the kernel cannot be removed; nobody waits for that.
            process::tidy(&self.sh, &docker(["rm", "--force", name]), Duration::from_secs(10));
        }
        said
    }

    /// An answer that has to be a success.
    pub(super) fn ask(&self, invocation: &Invocation) -> Result<Finished> {
        let answer = self.answer(invocation)?;
        if answer.code == 0 {
            return Ok(answer);
        }
        Err(Failure::of_command(&invocation.to_string(), answer.code, &answer.stderr).into())
    }
}

/// Whether a container was started, if only to be found to have no such program.
pub(super) fn started(run: &Finished) -> bool {
    run.code == 0 || run.stderr.contains("executable file not found")
}

/// Whether a version such as `v2.26.1-4` or `5.0.0-desktop.1` is [`MIN_COMPOSE`]
/// or newer. What can't be read is given the benefit of the doubt.
pub fn recent_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    number().zip(number()).is_none_or(|version| version >= MIN_COMPOSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_versions_are_compared_as_numbers() {
        for (version, recent) in [
            ("2.24.0", true),
            ("v2.26.1-4", true),
            ("5.0.0-desktop.1", true),
            ("2.3.3", false),
            ("1.29.2", false),
            ("nonsense", true),
        ] {
            assert_eq!(recent_enough(version), recent, "{version}");
        }
    }
}
