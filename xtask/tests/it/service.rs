//! A service of its own on a real engine, for one test.
//!
//! Without an engine the tests say that they are skipped; with
//! XTASK_TEST_ENGINE=required that is a failure. All but one real pass through each
//! command take minutes, and run with XTASK_TEST_FULL=1 alone.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Once, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    common::{COMPOSE_FILE, Repo, Run, Running},
    engine::{self, Engine},
};

/// A repository with a compose project of its own on the engine, both removed
/// when dropped.
pub struct Service {
    repo: Repo,
    pub project: String,
    /// Whether project and images were there before, and stay.
    borrowed: bool,
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

/// Says that this test is skipped; not by eprintln!, which a passing test keeps
/// to itself.
pub fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}

/// Whether a test that cannot be run has failed.
pub fn required() -> bool {
    std::env::var("XTASK_TEST_ENGINE").is_ok_and(|value| value == "required")
}

/// Whether the tests that take minutes run, too; says once that they do not.
pub fn full() -> bool {
    static SAID: Once = Once::new();
    let full = std::env::var("XTASK_TEST_FULL").is_ok_and(|value| value == "1");
    if !full {
        SAID.call_once(|| {
            let _ = writeln!(
                std::io::stderr(),
                "left out: what takes minutes (the matrix of faults, outages, every form of a \
                 build). To run it, too: XTASK_TEST_FULL=1 cargo test"
            );
        });
    }
    full
}

/// Why no engine can be used for tests; asked once.
fn engine_trouble() -> Option<&'static str> {
    static TROUBLE: OnceLock<Option<&str>> = OnceLock::new();
    *TROUBLE.get_or_init(|| {
        let succeeds = |args: &[&str]| {
            let output = Command::new("docker").args(args).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !succeeds(&["version", "--format", "{{.Server.Version}}"]) {
            return Some("no Docker engine answers");
        }
        let has_base = succeeds(&["image", "inspect", engine::BASE]);
        (!has_base).then_some("the engine lacks debian:bookworm-slim: cargo xtask up --setup")
    })
}

/// Whether tests can use the default engine; says where they cannot.
pub fn has_engine() -> bool {
    let Some(trouble) = engine_trouble() else { return true };
    assert!(!required(), "XTASK_TEST_ENGINE=required, but {trouble}");
    skipped(trouble);
    false
}

impl Service {
    /// Nothing built yet; none without an engine, and outside of a full run.
    pub fn new() -> Option<Service> {
        if full() { Service::in_every_run() } else { None }
    }

    /// The same in every run.
    pub fn in_every_run() -> Option<Service> {
        if !has_engine() {
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let project =
            format!("xtask-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut repo = Repo::new();
        repo.set("COMPOSE_PROJECT_NAME", &project);
        repo.set("XTASK_DEVICE", "cpu");
        Some(Service { repo, project, borrowed: false })
    }

    /// Built and serving.
    pub fn serving() -> Option<Service> {
        let service = Service::new()?;
        service.xtask(&["up"]).ok();
        Some(service)
    }

    /// The same on an engine of its own.
    pub fn serving_on(engine: &Engine) -> Option<Service> {
        let mut service = Service::new()?;
        service.set("DOCKER_HOST", &engine.host());
        service.xtask(&["up"]).ok();
        Some(service)
    }

    /// A clone of this very repository, for the project that XTASK_TEST_PROJECT
    /// names: it serves the real image by now. None, and said so, without it.
    pub fn real() -> Option<Service> {
        let Ok(project) = std::env::var("XTASK_TEST_PROJECT") else {
            let why = "XTASK_TEST_PROJECT names no project that serves the real image";
            skipped(why);
            return None;
        };
        let mut repo = Repo::new();
        fs_err::remove_dir_all(&repo.root).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let clone =
            Command::new("git").args(["clone", "--quiet"]).args([here, &repo.root]).status();
        assert!(clone.unwrap().success(), "cloning {}", here.display());
        let keys = ["BACKEND_PORT", "HF_TOKEN", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"];
        for (key, value) in keys.iter().filter_map(|key| Some((key, std::env::var(key).ok()?))) {
            repo.set(key, &value);
        }
        repo.set("COMPOSE_PROJECT_NAME", &project);
        let service = Service { repo, project, borrowed: true };
        service.xtask(&["up"]).ok();
        Some(service)
    }

    /// A second clone of the same sources, for the same project.
    pub fn second_clone(&self) -> Repo {
        let mut second = Repo::new();
        second.env.clone_from(&self.env);
        second.set("CARGO_MANIFEST_DIR", &second.root.join("xtask").display().to_string());
        second
    }

    /// Whether a process holds the project's lock and has signed.
    pub fn locked(&self) -> bool {
        self.locks().iter().any(|path| fs_err::metadata(path).is_ok_and(|file| file.len() > 0))
    }

    fn locks(&self) -> Vec<PathBuf> {
        let prefix = format!("xtask-{}-", self.project);
        let entries = fs_err::read_dir("/tmp").unwrap().filter_map(Result::ok);
        let locks = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && name.ends_with(".lock")
        });
        locks.map(|entry| entry.path()).collect()
    }

    /// Starts xtask and returns while it runs.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut xtask = self.command(env!("CARGO_BIN_EXE_xtask"), args);
        // As a shell does, so that a signal can be sent to it and its children.
        std::os::unix::process::CommandExt::process_group(&mut xtask, 0);
        let running = Running::of(xtask);
        // Until it listens for signals; on other systems until it surely does.
        let status = format!("/proc/{}/status", running.child.id());
        let listens = || {
            let text = fs_err::read_to_string(&status).unwrap_or_default();
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
            // The bit of SIGINT, which is number 2.
            caught.is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 2 != 0))
        };
        if cfg!(target_os = "linux") {
            self.wait_until("xtask listens for signals", listens);
        } else {
            thread::sleep(Duration::from_secs(2));
        }
        running
    }

    pub fn docker(&self, args: &[&str]) -> String {
        Run::of(self.command("docker", args)).stdout.trim().to_owned()
    }

    pub fn image_name(&self) -> String {
        format!("{}-backend:latest", self.project)
    }

    /// xtask's own names for images of this project; a record is one, too.
    pub fn own_names(&self) -> Vec<String> {
        let repository = format!("localhost/xtask/{}-backend", self.project);
        let filter = format!("reference={repository}");
        let list = ["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &filter];
        let names = self.docker(&list);
        names.lines().filter(|name| name.starts_with(&repository)).map(str::to_owned).collect()
    }

    /// Id of the service's container; only Compose's own have the last label.
    pub fn container(&self) -> String {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service = "label=com.docker.compose.service=backend";
        let own = "label=com.docker.compose.oneoff=False";
        let mut ps = vec!["ps", "--all", "--quiet", "--no-trunc"];
        ps.extend([&project, service, own].into_iter().flat_map(|label| ["--filter", label]));
        self.docker(&ps)
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

    /// Has another program listen on 127.0.0.1 of the engine's machine; the id of the
    /// container that it runs in, and the port.
    pub fn listener(&self) -> (String, u16) {
        const LISTEN: &str = r#"$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1");
            $| = 1; print $s->sockport, "\n"; sleep"#;
        // So that it is removed with the project where a test fails.
        let label = format!("com.docker.compose.project={}", self.project);
        let options = ["--detach", "--init", "--network", "host", "--label", &label];
        let perl = [engine::BASE, "perl", "-MIO::Socket::INET", "-e", LISTEN];
        let container = self.docker(&[&["run"], &options[..], &perl].concat());
        self.wait_until("a port is taken", || !self.docker(&["logs", &container]).is_empty());
        let port = self.docker(&["logs", &container]).parse().unwrap();
        (container, port)
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
        if self.borrowed {
            return;
        }
        for lock in self.locks() {
            let _ = fs_err::remove_file(lock);
        }
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
