//! Questions to docker. None of them changes anything that outlives it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::commands::docker;
use super::engine::COMPOSE;
use super::model::{self, from_json};
use super::{Builder, CacheRecord, Container, Docker, Engine, Image, Project, SERVICE, files};
use crate::error::Failure;

#[derive(Clone, Debug, PartialEq)]
pub struct NamedImage {
    pub name: String,
    pub id: String,
}

/// For a dry run of Compose, which takes half a second.
const PATIENCE: Duration = Duration::from_secs(8);

impl Docker {
    pub fn engine(&self) -> Result<Engine> {
        let info = docker(["info", "--format", "{{json .}}"]);
        let answer = self.answer(&info)?.success(&info)?;
        let engine: Engine = from_json(&answer.stdout, "docker info")?;
        // Older CLIs exit with 0 although the engine does not answer.
        if engine.id.is_empty() {
            let said = answer.stderr + &answer.stdout;
            return Err(Failure::of_command("docker info", 1, &said).into());
        }
        Ok(engine)
    }

    pub fn compose_version(&self) -> Result<String> {
        // Without options: a CLI that lacks the plugin would complain of those.
        let answer = self.ask(&docker(["compose", "version"]))?;
        let version = answer.split_whitespace().last().unwrap_or_default();
        Ok(version.trim_start_matches('v').to_owned())
    }

    pub fn buildx_version(&self) -> Result<String> {
        let said = self.ask(&docker(["buildx", "version"]))?;
        // `github.com/docker/buildx v0.13.1 …`
        let version = said
            .lines()
            .find_map(|line| line.split(' ').nth(1).filter(|_| line.contains("buildx")));
        Ok(version.unwrap_or(&said).to_owned())
    }

    /// What builds unless another builder is named.
    /// Fails where that does not exist, or buildx may not write its own files.
    pub fn default_builder(&self) -> Result<Builder> {
        Ok(model::builder(&self.ask(&docker(["buildx", "inspect"]))?))
    }

    /// Where the engine is, such as `unix:///var/run/docker.sock`, even if it does not answer.
    pub fn endpoint(&self) -> Result<String> {
        self.ask(&docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]))
    }

    /// Fails when the compose files are missing or wrong, or have no service `backend`.
    pub fn project(&self) -> Result<Project> {
        let config = self.compose(&["config", "--format", "json"]);
        let answer = self.answer(&config)?;
        if answer.code == 0 {
            // In a profile it is left out unless it is named, as `up` names it.
            let named = |missing| match self.answer(&config.args([SERVICE]))? {
                answer if answer.code == 0 => Project::parse(&answer.stdout),
                _ => Err(missing),
            };
            let platform = files::default_platform(&self.root)?;
            return Ok(Project::parse(&answer.stdout).or_else(named)?.with_platform(platform));
        }
        let failure = Failure::of_command("docker compose config", answer.code, &answer.stderr);
        let version = self.compose_version();
        let failure = match version.map(|version| COMPOSE.check(&version)) {
            Ok(Err(old)) => old,
            _ if failure.is_known() => failure,
            Err(error) => return Err(error).context("reading the compose files"),
            Ok(Ok(())) => {
                failure.advice("correct the compose file or .env at the place that is named")
            }
        };
        Err(failure).context("reading the compose files")
    }

    /// The service's containers in a project, or in all, the newest first: a swap has two.
    pub fn containers(&self, project: Option<&str>) -> Result<Vec<Container>> {
        let label = |key: &str, value: &str| format!("label=com.docker.compose.{key}={value}");
        let filters = project.map(|project| label("project", project)).into_iter();
        let filters = filters.chain([label("service", SERVICE), label("oneoff", "False")]);
        let list = docker(["ps", "--all", "--quiet", "--no-trunc"])
            .args(filters.flat_map(|filter| ["--filter".to_owned(), filter]));
        self.inspect("container", &self.ask(&list)?.split_whitespace().collect::<Vec<_>>())
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

    /// Those that still exist.
    fn inspect<T: DeserializeOwned>(&self, kind: &str, references: &[&str]) -> Result<Vec<T>> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = docker([kind, "inspect"]).args(references.iter().copied());
        let mut answer = self.answer(&inspect)?;
        // Warnings may stand beside it.
        if !answer.stderr.to_lowercase().contains(&format!("no such {kind}")) {
            answer = answer.success(&inspect)?;
        }
        let json = if answer.stdout.trim().is_empty() { "[]" } else { &answer.stdout };
        from_json(json, &inspect.to_string())
    }

    /// The images whose names match `pattern`, such as `localhost/xtask/*`.
    pub fn named_images(&self, pattern: &str) -> Result<Vec<NamedImage>> {
        let filter = format!("reference={pattern}");
        let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
        let list = ["image", "ls", "--no-trunc", "--filter", &filter, "--format", format];
        let answer = self.ask(&docker(list))?;
        let pairs = answer.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(name, id)| NamedImage { name: name.into(), id: id.into() }).collect())
    }

    /// Ids of a few images on the engine, the newest first, in which a shell may be.
    pub fn some_images(&self) -> Result<Vec<String>> {
        let list = ["image", "ls", "--no-trunc", "--format", "{{.ID}} {{.Size}}"];
        let answer = self.ask(&docker(list))?;
        // Our records of what an image was built from are images of no size.
        let images = answer.lines().filter_map(|line| line.split_once(' '));
        let is_image = |(id, size): &(&str, &str)| id.starts_with("sha256:") && *size != "0B";
        let ids = images.filter(is_image).map(|(id, _)| id.to_owned());
        Ok(ids.take(5).collect())
    }

    /// Names of the containers that Compose would recreate, the service's and those it depends on:
    /// up to Compose 2.26 at least, `--no-deps` gives a service another configuration hash.
    pub fn drifted(&self) -> Result<Vec<String>> {
        let args = ["--progress", "plain", "--dry-run", "up", "--detach", "--no-build", SERVICE];
        // A compose file may pass on the very variables that would make it quick.
        let invocation = self.compose(&args).in_exact_environment();
        // It answers first, and then may wait without end for a dependency that has to end, and
        // that a dry run does not start.
        let mut answer = self.output(&invocation, PATIENCE)?;
        if answer.timed_out.is_some() && !model::names_container(&answer.said()) {
            answer = self.answer(&invocation)?;
        }
        let said = answer.said();
        // A dependency that does not start fails the dry run after the answer.
        if answer.code != 0 && !said.contains("DRY-RUN") {
            return Err(Failure::of_command(&invocation.to_string(), answer.code, &said).into());
        }
        Ok(model::recreated(&said))
    }

    /// The last `lines` lines that the container wrote to stdout and stderr.
    pub fn last_lines(&self, container: &Container, lines: usize) -> String {
        let answer = self.answer(&docker(["logs", "--tail", &lines.to_string(), &container.id]));
        answer.map(|answer| answer.said()).unwrap_or_default()
    }

    pub fn build_cache(&self, cap: Duration) -> Result<Vec<CacheRecord>> {
        let du = docker(["buildx", "du", "--verbose"]).args(self.builder_option());
        Ok(model::build_cache(&self.output(&du, cap)?.in_time(&du)?.stdout))
    }

    /// Removes those records of the build cache that no other needs; returns the size freed.
    pub fn free_build_cache(&self, ids: &[String]) -> Result<String> {
        let prune = self.prune_build_cache(&ids.join("|"));
        // Removing gigabytes takes longer than any question.
        let answer = self.output(&prune, Duration::from_secs(300))?.in_time(&prune)?;
        Ok(model::freed(&answer.stdout).unwrap_or("0 B").to_owned())
    }
}
