//! The only room that spells docker arguments.
//!
//! Questions ([`ask`]) return typed answers; what changes something is returned
//! as an [`Invocation`], so that a dry run can show exactly what would be run.

mod ask;
pub mod config;
mod disk;
pub mod files;
mod inside;
pub mod inspect;
mod machine;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use xshell::Shell;

pub use self::{
    ask::recent_enough,
    config::Project,
    disk::CacheRecord,
    inspect::{Container, Engine, Image},
    machine::Machine,
};
use crate::{
    failure::Failure,
    process::{self, Invocation},
};

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
        Ok(Docker { sh, files: files::in_force(&root)?, root, on_cpu: false })
    }

    /// The same with [`files::CPU_FILE`] added, where the repository has it and
    /// the user has not named it.
    pub fn on_cpu(&self, on_cpu: bool) -> Docker {
        let adds = on_cpu
            && self.root.join(files::CPU_FILE).is_file()
            && !self.files.iter().any(|file| file == files::CPU_FILE);
        Docker { on_cpu: adds, ..self.clone() }
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
        process::stream_and_note(&self.sh, invocation, Duration::ZERO)
    }

    /// Runs a command that takes seconds and had better not be cut in half: a
    /// swap that Ctrl-C breaks off would leave nothing that serves.
    ///
    /// # Errors
    /// See [`process::stream_and_note`].
    pub fn change(&self, invocation: &Invocation) -> Result<()> {
        process::stream_and_note(&self.sh, invocation, Duration::from_secs(20))
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
