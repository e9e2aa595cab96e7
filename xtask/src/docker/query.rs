//! Questions to docker. None of them changes anything that outlives it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::commands::{docker, prune_build_cache};
use super::{Container, Docker, Engine, Image, MIN_COMPOSE, Project, SERVICE, disk, model};
use crate::error::Failure;

/// A name of an image on the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedImage {
    pub name: String,
    pub id: String,
}

impl Docker {
    pub fn engine(&self) -> Result<Engine> {
        let answer = self.ask(&docker(["info", "--format", "{{json .}}"]))?;
        let engine: Engine =
            serde_json::from_str(&answer.stdout).context("reading what `docker info` printed")?;
        // Older CLIs exit with 0 although the engine does not answer.
        if engine.id.is_empty() {
            let said = answer.stderr + &answer.stdout;
            return Err(Failure::of_command("docker info", 1, &said).into());
        }
        Ok(engine)
    }

    pub fn compose_version(&self) -> Result<String> {
        // Without options: a CLI that lacks the plugin would complain of those.
        let answer = self.ask(&docker(["compose", "version"]))?.stdout;
        let version = answer.split_whitespace().last().unwrap_or_default();
        Ok(version.trim_start_matches('v').to_owned())
    }

    pub fn buildx_version(&self) -> Result<String> {
        Ok(self.ask(&docker(["buildx", "version"]))?.stdout.trim().to_owned())
    }

    /// Where the engine is, such as `unix:///var/run/docker.sock`; no engine
    /// needs to answer for that.
    /// Fails when the context that is chosen does not exist.
    pub fn endpoint(&self) -> Result<String> {
        let inspect = docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
        Ok(self.ask(&inspect)?.stdout.trim().to_owned())
    }

    /// Fails when the compose files are missing or wrong, or have no service `backend`.
    pub fn project(&self) -> Result<Project> {
        let answer = self.answer(&self.compose(&["config", "--format", "json"]))?;
        if answer.code == 0 {
            return Project::parse(&answer.stdout);
        }
        let failure = match self.compose_version() {
            Ok(version) if !recent_enough(&version) => Failure::new(format!(
                "Docker Compose {version} is too old: {}.{} or newer is needed",
                MIN_COMPOSE.0, MIN_COMPOSE.1
            ))
            .advice("docs.docker.com/compose/install tells how to upgrade it")
            .hint("cargo xtask up --setup   # on Debian and Ubuntu"),
            _ => {
                let failure =
                    Failure::of_command("docker compose config", answer.code, &answer.stderr);
                match failure.is_known() {
                    true => failure,
                    false => failure.advice("mend the compose file or .env where it says"),
                }
            }
        };
        Err(failure).context("reading the compose files")
    }

    /// All of the service's containers in a project, or in all projects, the newest
    /// first: during a swap there are two.
    pub fn containers(&self, project: Option<&str>) -> Result<Vec<Container>> {
        let label = |key: &str, value: &str| format!("label=com.docker.compose.{key}={value}");
        let filters = project.map(|project| label("project", project)).into_iter();
        let filters = filters.chain([label("service", SERVICE), label("oneoff", "False")]);
        let list = docker(["ps", "--all", "--quiet", "--no-trunc"])
            .args(filters.flat_map(|filter| ["--filter".to_owned(), filter]));
        let ids = self.ask(&list)?.stdout;
        self.inspect("container", &ids.split_whitespace().collect::<Vec<_>>())
    }

    /// The service's container in any state; the oldest where there are several.
    pub fn container(&self, project: &str) -> Result<Option<Container>> {
        Ok(self.containers(Some(project))?.pop())
    }

    /// The container with this id, none if it is gone.
    pub fn container_by_id(&self, id: &str) -> Result<Option<Container>> {
        Ok(self.inspect("container", &[id])?.pop())
    }

    /// The image of this name or id, none if there is none.
    pub fn image(&self, reference: &str) -> Result<Option<Image>> {
        Ok(self.inspect("image", &[reference])?.pop())
    }

    /// Those that exist; one may have gone since it was listed.
    fn inspect<T: DeserializeOwned>(&self, kind: &str, references: &[&str]) -> Result<Vec<T>> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = docker([kind, "inspect"]).args(references.iter().copied());
        let answer = self.answer(&inspect)?;
        let (none, said) = (format!("no such {kind}"), answer.stderr.to_lowercase());
        let mut complaints = said.lines().filter(|line| !line.trim().is_empty()).peekable();
        let gone = complaints.peek().is_some() && complaints.all(|line| line.contains(&none));
        let answer = if gone { answer } else { answer.success(&inspect)? };
        if answer.stdout.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&answer.stdout).with_context(|| format!("reading `{inspect}`"))
    }

    /// The images whose names match `pattern`, such as `localhost/xtask/*`.
    pub fn named_images(&self, pattern: &str) -> Result<Vec<NamedImage>> {
        let filter = format!("reference={pattern}");
        let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
        let list = docker(["image", "ls", "--no-trunc", "--filter", &filter, "--format", format]);
        let answer = self.ask(&list)?;
        let pairs = answer.stdout.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(name, id)| NamedImage { name: name.into(), id: id.into() }).collect())
    }

    /// Ids of a few images on the engine, the newest first, in which a shell may be.
    pub fn some_images(&self) -> Result<Vec<String>> {
        let format = "{{.ID}} {{.Size}}";
        let answer = self.ask(&docker(["image", "ls", "--no-trunc", "--format", format]))?;
        // Our records of what an image was built from are images of no size.
        let images = answer.stdout.lines().filter_map(|line| line.split_once(' '));
        let ids = images.filter(|(_, size)| *size != "0B").map(|(id, _)| id.to_owned());
        Ok(ids.take(5).collect())
    }

    /// Names of the containers that Compose would recreate, the service's and
    /// those it depends on: their configuration, .env or image is no longer
    /// what they were created with.
    ///
    /// Asked with the dependencies, as for [`Docker::up`]: up to Compose 2.26 at
    /// least, `--no-deps` gives the same service another configuration hash.
    pub fn drifted(&self) -> Result<Vec<String>> {
        let args = ["--progress", "plain", "--dry-run", "up", "--detach", "--no-build", SERVICE];
        // A compose file may pass on the very variables that would make it quick.
        let invocation = self.compose(&args).in_exact_environment();
        let answer = self.answer(&invocation)?;
        let said = answer.stdout + &answer.stderr;
        // A dependency that does not start fails the dry run after the answer.
        if answer.code != 0 && !said.contains("DRY-RUN") {
            return Err(Failure::of_command(&invocation.to_string(), answer.code, &said).into());
        }
        Ok(model::recreated(&said))
    }

    /// The last `lines` lines that the container wrote to stdout and stderr.
    pub fn last_lines(&self, container: &Container, lines: usize) -> String {
        let answer = self.answer(&docker(["logs", "--tail", &lines.to_string(), &container.id]));
        answer.map(|answer| answer.stdout + &answer.stderr).unwrap_or_default()
    }

    pub fn build_cache(&self, cap: Duration) -> Result<Vec<disk::CacheRecord>> {
        let du = docker(["buildx", "du", "--verbose"]);
        Ok(disk::build_cache(&self.answer_within(&du, cap)?.in_time(&du)?.stdout))
    }

    /// Removes records of the build cache by their ids, except those that others
    /// build on; returns how much disk that freed, in buildx's words.
    pub fn prune_build_cache(&self, ids: &[String]) -> Result<String> {
        let prune = prune_build_cache(&ids.join("|"));
        // Removing gigabytes takes longer than any question.
        let answer = self.answer_within(&prune, Duration::from_secs(300))?.in_time(&prune)?;
        Ok(disk::freed(&answer.stdout).unwrap_or("0 B").to_owned())
    }
}

/// Whether a version such as `v2.26.1-4` or `5.0.0-desktop.1` is [`MIN_COMPOSE`]
/// or newer. One that can't be read counts as recent.
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
            ("2.23.9", false),
            ("2.3.3", false),
            ("1.29.2", false),
            ("nonsense", true),
        ] {
            assert_eq!(recent_enough(version), recent, "{version}");
        }
    }
}
