//! A service of its own on a real engine, for one test.
//!
//! Without an engine the tests say that they are skipped; with
//! XTASK_TEST_ENGINE=required that is a failure.

use std::{
    io::Write as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{COMPOSE_FILE, Repo, Run};

/// A repository with a compose project of its own on the engine, both removed
/// when dropped.
pub struct Service {
    repo: Repo,
    pub project: String,
}

impl std::ops::Deref for Service {
    type Target = Repo;
    fn deref(&self) -> &Repo {
        &self.repo
    }
}

impl std::ops::DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Repo {
        &mut self.repo
    }
}

impl Service {
    /// Nothing built yet; none without an engine.
    pub fn new() -> Option<Service> {
        let engine =
            Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
        if !engine.is_ok_and(|output| output.status.success()) {
            let required =
                std::env::var("XTASK_TEST_ENGINE").is_ok_and(|value| value == "required");
            assert!(!required, "no Docker engine answers, and XTASK_TEST_ENGINE=required");
            let name = thread::current().name().unwrap_or_default().to_owned();
            // Not eprintln!, which a passing test keeps to itself.
            let _ = writeln!(std::io::stderr(), "skipped: {name}: no Docker engine answers");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let project =
            format!("xtask-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut repo = Repo::new();
        repo.set("COMPOSE_PROJECT_NAME", &project);
        repo.set("XTASK_DEVICE", "cpu");
        Some(Service { repo, project })
    }

    /// Built and serving.
    pub fn serving() -> Option<Service> {
        let service = Service::new()?;
        service.xtask(&["up"]).ok();
        Some(service)
    }

    pub fn docker(&self, args: &[&str]) -> String {
        Run::of(self.command("docker", args)).stdout.trim().to_owned()
    }

    pub fn image_name(&self) -> String {
        format!("{}-backend:latest", self.project)
    }

    pub fn container(&self) -> String {
        self.docker(&[
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            "--filter",
            &format!("label=com.docker.compose.project={}", self.project),
        ])
    }

    pub fn inspect(&self, what: &str, format: &str) -> String {
        self.docker(&["inspect", "--format", format, what])
    }

    /// Container id, its start time and its image id: unchanged if left alone.
    pub fn fingerprint(&self) -> String {
        self.inspect(&self.container(), "{{.Id}} {{.State.StartedAt}} {{.Image}}")
    }

    pub fn running(&self) -> bool {
        self.inspect(&self.container(), "{{.State.Running}}") == "true"
    }

    /// What a command prints inside the container.
    pub fn inside(&self, args: &[&str]) -> String {
        self.docker(&[&["exec", &self.container()], args].concat())
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.xtask(&["status", "--json"]).ok()).unwrap()
    }

    #[track_caller]
    pub fn decides(&self, decision: &str, reason: &str) {
        let status = self.status();
        assert_eq!(status["decision"], decision, "{status:#}");
        assert!(status["reasons"][0].as_str().unwrap().contains(reason), "{status:#}");
    }

    /// Containers of the project's images besides the service's own; they have
    /// the image's label, but not Compose's others.
    pub fn throw_aways(&self) -> usize {
        let ours = format!("label=com.docker.compose.project={}", self.project);
        let names = self.docker(&["ps", "--all", "--filter", &ours, "--format", "{{.Names}}"]);
        names.lines().filter(|name| name.starts_with("xtask-") && !name.contains("backend")).count()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, format: &str, value: &str) {
        self.wait_until(&format!("{format} of {what} is {value}"), || {
            self.inspect(what, format) == value
        });
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < Duration::from_secs(120), "it never happened: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let ours = format!("label=com.docker.compose.project={}", self.project);
        let dangling =
            self.docker(&["images", "--quiet", "--filter", "dangling=true", "--filter", &ours]);
        assert!(
            thread::panicking() || dangling.is_empty(),
            "an image was left without a name: {dangling}"
        );
        self.repo.write("docker-compose.yml", COMPOSE_FILE);
        self.docker(&[
            "compose",
            "--file",
            "docker-compose.yml",
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "0",
        ]);
        for repository in [
            format!("{}-backend", self.project),
            format!("localhost/xtask/{}-backend", self.project),
        ] {
            let filter = format!("reference={repository}");
            for tag in self
                .docker(&["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"])
                .lines()
            {
                self.docker(&["image", "rm", "--force", tag]);
            }
        }
    }
}

macro_rules! need {
    ($service:expr) => {
        match $service {
            Some(service) => service,
            None => return,
        }
    };
}
pub(crate) use need;
