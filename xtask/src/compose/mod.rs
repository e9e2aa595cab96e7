//! The only room that spells docker arguments.
//!
//! Questions ([`ask`]) return typed answers; what changes something is returned
//! as an [`Invocation`], so that a dry run can show exactly what would be run.

mod ask;
pub mod config;
pub mod files;
pub mod inspect;

use std::path::PathBuf;

use anyhow::Result;
use xshell::Shell;

pub use self::{
    config::Project,
    inspect::{Container, Engine, Image},
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

    /// Creates, recreates or starts the container as needed, after what it
    /// depends on.
    ///
    /// # Errors
    /// When .env can't be read.
    pub fn up(&self) -> Result<Invocation> {
        self.compose(&["up", "--detach", "--no-build", SERVICE], None)
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
