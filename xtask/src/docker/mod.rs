//! The only room that spells docker arguments.
//!
//! Questions ([`ask`]) return typed answers; what changes something is returned
//! as an [`Invocation`], so that a dry run can show exactly what would be run.

mod disk;
mod exec;
pub mod files;
mod host;
pub mod model;
pub mod project;
mod query;

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use xshell::Shell;

pub use self::{
    disk::CacheRecord,
    host::{Machine, card_beside, card_here},
    model::{Container, Engine, Image},
    project::{Project, with_tag},
    query::recent_enough,
};
use crate::deploy::lock::Lock;
use crate::error::Failure;
use crate::process::{self, Invocation};

/// The service's name, in the compose file and everywhere else.
pub const SERVICE: &str = "backend";

/// The oldest Compose that knows `env_file.required` (2.24) and all else we use.
pub const MIN_COMPOSE: (u32, u32) = (2, 24);

/// Docker, as it answers for the repository at `root`.
#[derive(Clone)]
pub struct Docker {
    sh: Shell,
    root: PathBuf,
    /// The compose files the user works with.
    files: Vec<String>,
    /// Whether [`files::CPU_FILE`] is added to them.
    on_cpu: bool,
    /// The project's lock, which a swap holds too.
    lock: Option<Arc<File>>,
}

impl Docker {
    /// # Errors
    /// When there is no `docker` on PATH, or .env can't be read.
    pub fn new(root: PathBuf) -> Result<Docker> {
        which::which("docker").map_err(|_| {
            Failure::new("`docker` is not on PATH")
                .advice("docs.docker.com/engine/install tells how to install it")
                .hint("cargo xtask up --setup   # on Debian and Ubuntu")
        })?;
        let sh = Shell::new()?;
        sh.change_dir(&root);
        // Compose believes PWD, which in a symlinked clone names another path.
        sh.set_var("PWD", &root);
        // A provenance attestation would give every rebuild another image id.
        sh.set_var("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
        Ok(Docker { sh, files: files::in_force(&root)?, root, on_cpu: false, lock: None })
    }

    /// The same with the project's lock, so that a swap holds it to its end,
    /// also where xtask is killed meanwhile.
    pub fn holding(&self, lock: &Lock) -> Docker {
        Docker { lock: lock.file(), ..self.clone() }
    }

    /// The same with [`files::CPU_FILE`] added, where the repository has it and
    /// the user has not named it.
    pub fn on_cpu(&self, on_cpu: bool) -> Docker {
        let adds = on_cpu && self.root.join(files::CPU_FILE).is_file() && !self.names_cpu_file();
        Docker { on_cpu: adds, ..self.clone() }
    }

    /// Whether the user's own files hold [`files::CPU_FILE`].
    pub fn names_cpu_file(&self) -> bool {
        self.files.iter().any(|file| file == files::CPU_FILE)
    }

    /// Whether [`files::CPU_FILE`] is added to the user's own.
    pub fn adds_cpu_file(&self) -> bool {
        self.on_cpu
    }

    /// Runs a long command, which Ctrl-C ends.
    ///
    /// # Errors
    /// See [`process::stream_and_note`].
    pub fn run(&self, invocation: &Invocation) -> Result<()> {
        process::stream_and_note(&self.sh, invocation)
    }

    /// Runs a command that had better not be cut in half: a swap that Ctrl-C
    /// breaks off would leave nothing that serves. It is given longer than the
    /// old container may take to end (`stop_grace_period`).
    ///
    /// # Errors
    /// See [`process::outlive`].
    pub fn change(&self, invocation: &Invocation) -> Result<()> {
        process::outlive(&self.sh, invocation, Duration::from_secs(120), self.lock.as_deref())
    }

    /// Builds the service's image under the name `candidate` alone, so that the
    /// names the service knows stay with the old image until the new one is adopted.
    pub fn build(&self, candidate: &str, no_cache: bool, pull: bool) -> Invocation {
        let overlay = format!(
            "services: {{{SERVICE}: {{image: \"{candidate}\", build: {{tags: !reset []}}}}}}
"
        );
        // Plain, since the output is read along for known causes of failure.
        let mut args = vec!["--progress", "plain", "build"];
        args.extend(no_cache.then_some("--no-cache"));
        args.extend(pull.then_some("--pull"));
        args.push(SERVICE);
        self.compose_with(&["-"], &args).stdin(overlay)
    }

    /// Brings up what the service depends on: Compose would replace its container
    /// first, and only then wait for them.
    pub fn up_dependencies(&self, project: &Project) -> Vec<Invocation> {
        let up = |wait: &[&str], names: &[String]| {
            let args = ["up", "--detach", "--no-build"].iter().chain(wait).copied();
            let args: Vec<&str> = args.chain(names.iter().map(String::as_str)).collect();
            (!names.is_empty()).then(|| self.compose(&args))
        };
        let healthy = up(&["--wait", "--wait-timeout", "120"], &project.needs_healthy);
        up(&[], &project.needs_started).into_iter().chain(healthy).collect()
    }

    /// Creates, recreates or starts the container as needed, after what it
    /// depends on.
    pub fn up(&self) -> Invocation {
        self.compose(&["up", "--detach", "--no-build", SERVICE])
    }

    /// Puts a new container in the old one's place, although nothing drifted.
    pub fn recreate(&self) -> Invocation {
        self.compose(&["up", "--detach", "--no-build", "--force-recreate", SERVICE])
    }

    /// Ends the container's process and starts it again, whatever it does.
    pub fn restart(&self) -> Invocation {
        self.compose(&["restart", "--no-deps", SERVICE])
    }

    pub fn unpause(&self) -> Invocation {
        self.compose(&["unpause", SERVICE])
    }

    fn compose(&self, args: &[&str]) -> Invocation {
        self.compose_with(&[], args)
    }

    /// `docker compose` with `overlays` after the files in force. Files are
    /// named only where one is added to what Compose would take by itself.
    fn compose_with(&self, overlays: &[&str], args: &[&str]) -> Invocation {
        let cpu =
            Some(files::CPU_FILE).filter(|cpu| self.on_cpu && !self.files.iter().any(|f| f == cpu));
        let added: Vec<&str> = cpu.into_iter().chain(overlays.iter().copied()).collect();
        let own = self.files.iter().map(String::as_str).filter(|_| !added.is_empty());
        let files = own.chain(added.iter().copied()).flat_map(|name| ["--file", name]);
        docker(["compose"].into_iter().chain(files).chain(args.iter().copied()))
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

/// Removes the records of the build cache whose ids match (a regular expression).
pub fn forget_build_cache(ids: &str) -> Invocation {
    docker(["buildx", "prune", "--force", "--filter", &format!("id={ids}")])
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
    throw_away(&[], image, "python3", &["-"]).stdin(script)
}

/// A container that comes and goes; without a network unless `options` name one.
/// It has a name, by which it can be removed before it goes by itself.
fn throw_away(options: &[&str], image: &str, program: &str, args: &[&str]) -> Invocation {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("xtask-{}-{}", process::run_id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let network: &[&str] =
        if options.contains(&"--network") { &[] } else { &["--network", "none"] };
    docker(["run", "--rm"].iter().chain(options).copied())
        .and(["--interactive", "--name", &name])
        .and(network.iter().copied())
        .and(["--entrypoint", program, image])
        .and(args.iter().copied())
}

fn docker<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Invocation {
    Invocation::new("docker", args)
}
