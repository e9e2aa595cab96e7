//! The only module that builds docker commands.
//!
//! What changes something is an [`Invocation`] ([`commands`]), so that a plan can hold it.
//! Questions ([`query`], [`exec`]) return typed models and fail where the engine does not answer.

pub mod commands;
pub mod engine;
mod exec;
pub mod files;
mod host;
pub mod http;
pub mod model;
pub mod project;
mod query;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use xshell::Shell;

pub use self::engine::Engine;
pub use self::exec::Python;
pub use self::host::{Machine, card_beside, card_here};
pub use self::model::{Builder, CacheRecord, Container, Image};
pub use self::project::Project;
pub use self::query::NamedImage;
use crate::error::Failure;
pub use crate::image::SERVICE;
use crate::process::{self, Finished, Invocation};

/// Enough for any question on a loaded server; a dead engine answers faster.
const CAP: Duration = Duration::from_secs(30);

/// Longer than the old container may take to end (`stop_grace_period`).
const GRACE: Duration = Duration::from_secs(120);

/// The docker CLI, as it answers for the repository at `root`.
#[derive(Clone)]
pub struct Docker {
    sh: Shell,
    root: PathBuf,
    /// The compose files the user works with, and one that is added to them.
    files: Vec<String>,
    added: Option<String>,
    /// What builds, where it is known; else what buildx takes by default.
    builder: Option<String>,
    /// Where the engine is, once that was asked.
    endpoint: Arc<OnceLock<String>>,
    /// What [`Docker::change`] lets its commands write to.
    log: Option<Arc<File>>,
}

impl Docker {
    /// Fails when there is no `docker` on PATH, or .env can't be read.
    pub fn new(root: PathBuf) -> Result<Docker> {
        // On Windows std starts no docker.bat or docker.cmd under the name `docker`.
        which::which(format!("docker{}", std::env::consts::EXE_SUFFIX)).map_err(|_| {
            Failure::new("`docker` is not on PATH")
                .advice("docs.docker.com/engine/install tells how to install it")
                .hint("cargo xtask up --setup   # on Debian and Ubuntu")
        })?;
        let files = files::in_force(&root)?;
        Docker::with_files(root, files)
    }

    /// The same for compose files that are known.
    pub fn with_files(root: PathBuf, files: Vec<String>) -> Result<Docker> {
        let sh = Shell::new()?;
        sh.change_dir(&root);
        // Compose believes PWD, which in a symlinked clone names another path.
        sh.set_var("PWD", &root);
        // A provenance attestation would give every rebuild another image id.
        sh.set_var("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
        let endpoint = Arc::default();
        Ok(Docker { sh, root, files, added: None, builder: None, endpoint, log: None })
    }

    pub fn logging_to(&self, log: Option<Arc<File>>) -> Docker {
        Docker { log, ..self.clone() }
    }

    /// The same, but for builds by the engine's own builder, whatever buildx's default is:
    /// another one would keep image and cache to itself.
    pub fn building_on(&self, engine: &Engine) -> Docker {
        Docker { builder: engine.builder().map(str::to_owned), ..self.clone() }
    }

    /// The same with a compose file added, if it exists and the user's own do not include it.
    pub fn adding(&self, file: Option<&str>) -> Docker {
        let wanted = |file: &&str| self.root.join(file).is_file() && !self.names(file);
        Docker { added: file.filter(wanted).map(str::to_owned), ..self.clone() }
    }

    /// Whether the user's own compose files include this one.
    pub fn names(&self, file: &str) -> bool {
        self.files.iter().any(|own| own == file)
    }

    pub fn added(&self) -> Option<&str> {
        self.added.as_deref()
    }

    /// Runs a long command, which Ctrl-C ends.
    pub fn run(&self, invocation: &Invocation) -> Result<()> {
        process::shown(&self.sh, invocation)
    }

    /// Runs a command that must not stop halfway: half a swap would serve nothing.
    pub fn change(&self, invocation: &Invocation) -> Result<()> {
        process::to_its_end(&self.sh, invocation, GRACE, self.log.as_deref())
    }

    /// Runs a short command without showing its output; false where it fails.
    pub fn quietly(&self, invocation: &Invocation) -> Result<bool> {
        Ok(self.answer(invocation)?.code == 0)
    }

    /// What a question that has to succeed prints on stdout.
    fn ask(&self, question: &Invocation) -> Result<String> {
        Ok(self.answer(question)?.success(question)?.stdout.trim().to_owned())
    }

    /// An answer with any exit code.
    fn answer(&self, question: &Invocation) -> Result<Finished> {
        self.output(question, CAP)?.in_time(question)
    }

    /// What a command prints until its end or `cap`, with any exit code.
    pub fn output(&self, invocation: &Invocation, cap: Duration) -> Result<Finished> {
        let said = process::capture(&self.sh, invocation, cap);
        let ended = said.as_ref().is_ok_and(|said| said.timed_out.is_none());
        if let Some(name) = invocation.value_of("--name").filter(|_| !ended) {
            // Its docker was killed; what hangs in the kernel cannot be removed at all.
            let remove = commands::remove_container(name);
            process::clean_up(&self.sh, &remove, Duration::from_secs(10));
        }
        said
    }
}
