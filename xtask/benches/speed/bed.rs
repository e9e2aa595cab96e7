//! Where it is measured: a copy of the repository, with a compose project and a
//! port of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::watch::{self, Seen, Watch};

const PROJECT: &str = "xtask-bench";
pub const SERVICE: &str = "backend";

/// Removed when dropped, with all that Docker keeps of it.
pub struct Bed {
    pub root: PathBuf,
    pub port: u16,
    /// Compose files for the bare commands, where the machine has no GPU: xtask
    /// finds out by itself.
    compose_files: Option<&'static str>,
}

impl Bed {
    /// Copies the repository, with what is not committed.
    ///
    /// # Errors
    /// When it can't be copied.
    pub fn new(repository: &Path, scratch: &Path) -> Result<Bed> {
        let root = scratch.join("clone");
        for part in [
            "Cargo.toml",
            "Cargo.lock",
            ".cargo",
            "xtask",
            "backend",
            "docker-compose.yml",
            "docker-compose.cpu.yml",
        ] {
            copy(&repository.join(part), &root.join(part))?;
        }
        // Nothing here needs the model, whose weights would be downloaded.
        fs_err::write(root.join(".env"), "HF_HUB_OFFLINE=1\n")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Bed { root, port, compose_files: None })
    }

    /// Brings the service up, after the remains of an earlier benchmark went.
    ///
    /// # Errors
    /// When xtask can't.
    pub fn serve(&mut self) -> Result<()> {
        self.remove();
        // Unlike `up`, with cache: most of it was built before.
        self.xtask(&["fast"])?;
        watch::health(self.port).context("the service must answer on this machine's loopback")?;
        let status: serde_json::Value = serde_json::from_str(&self.xtask(&["status", "--json"])?)?;
        let on_cpu = status["device"] == "cpu";
        self.compose_files = on_cpu.then_some("docker-compose.yml:docker-compose.cpu.yml");
        self.settle()
    }

    /// Waits until the healthcheck has noticed that the service answers, as it has
    /// in daily work: until then, xtask asks it once more.
    ///
    /// # Errors
    /// When it does not notice.
    pub fn settle(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if self.compose(&["ps", "--format", "{{.Health}}", SERVICE])?.trim() == "healthy" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        bail!("the service answers, but its healthcheck fails")
    }

    /// `cargo xtask …`, as contributors type it; its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub fn xtask(&self, args: &[&str]) -> Result<String> {
        self.run("cargo", &[&["xtask"], args].concat())
    }

    /// `docker compose …` with the files that fit the machine; its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub fn compose(&self, args: &[&str]) -> Result<String> {
        self.run("docker", &[&["compose"], args].concat())
    }

    /// Runs a command to its end; its standard output.
    ///
    /// # Errors
    /// When it fails, with all that it said.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = command(program);
        command.args(args).current_dir(&self.root);
        command.env("COMPOSE_PROJECT_NAME", PROJECT).env("BACKEND_PORT", self.port.to_string());
        if let (Some(files), "docker") = (self.compose_files, program) {
            command.env("COMPOSE_FILE", files).env("COMPOSE_PATH_SEPARATOR", ":");
        }
        output(command)
    }

    /// Does `work` while the service is asked `every` so often, until a new
    /// process of it answers.
    ///
    /// # Errors
    /// Those of `work`, and when nothing new answers.
    pub fn watched(&self, every: Duration, work: impl FnOnce() -> Result<()>) -> Result<Seen> {
        self.settle()?;
        let watch = Watch::start(self.port, every)?;
        let began = Instant::now();
        work()?;
        watch.end(began)
    }

    /// Changes what the service calls itself, which is what /openapi.json shows.
    ///
    /// # Errors
    /// When app.py can't be written.
    pub fn edit_code(&self) -> Result<String> {
        let title = format!("Edited {:?}", std::time::SystemTime::now());
        let path = self.root.join("backend/app.py");
        let code = fs_err::read_to_string(&path)?;
        let (before, rest) = code.split_once("title=\"").context("app.py names no title")?;
        let (_, after) = rest.split_once('"').context("app.py names no title")?;
        fs_err::write(&path, format!("{before}title=\"{title}\"{after}"))?;
        Ok(title)
    }

    /// Gives the service another environment.
    ///
    /// # Errors
    /// When .env can't be written.
    pub fn edit_settings(&self) -> Result<()> {
        let now = std::time::SystemTime::now();
        fs_err::write(
            self.root.join(".env"),
            format!("HF_HUB_OFFLINE=1\nXTASK_BENCH='{now:?}'\n"),
        )?;
        Ok(())
    }

    /// The id of the image that the service's name stands for.
    ///
    /// # Errors
    /// When there is none.
    pub fn image(&self) -> Result<String> {
        let name = format!("{PROJECT}-{SERVICE}");
        Ok(self
            .run("docker", &["image", "inspect", "--format", "{{.Id}}", &name])?
            .trim()
            .to_owned())
    }

    /// What a bare build supersedes stays, and would only fill the disk.
    pub fn forget(&self, image: &str) {
        if self.image().is_ok_and(|now| now != image) {
            let _ = self.run("docker", &["image", "rm", image]);
        }
    }

    fn remove(&self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "1"]);
        for name in [format!("{PROJECT}-{SERVICE}"), format!("localhost/xtask/{PROJECT}-{SERVICE}")]
        {
            let format = "{{.Repository}}:{{.Tag}}";
            let list =
                ["image", "ls", "--filter", &format!("reference={name}"), "--format", format];
            for image in self.run("docker", &list).unwrap_or_default().lines() {
                let _ = self.run("docker", &["image", "rm", image]);
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A command in the environment that the benchmark runs in, less what cargo
/// adds to it and what would change the service.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let cargos =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_TARGET_"];
        // The user's own settings would make another service of the copy.
        let settings = ["COMPOSE_", "BACKEND_", "XTASK_"];
        if cargos.iter().chain(&settings).any(|prefix| name.starts_with(prefix))
            || ["LD_LIBRARY_PATH", "RUSTC_WRAPPER", "WEIGHTS_DIR"].contains(&&*name)
        {
            command.env_remove(&key);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end; its standard output.
///
/// # Errors
/// When it fails, with all that it said.
pub fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}\n{stdout}{stderr}", output.status);
    }
    Ok(stdout)
}

/// Copies a file or a directory with all that is in it, but for git's own.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        to.parent().map_or(Ok(()), fs_err::create_dir_all)?;
        fs_err::copy(from, to)?;
        return Ok(());
    }
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let name = entry?.file_name();
        if name != ".git" && name != "__pycache__" {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}
