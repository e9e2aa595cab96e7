//! What `--fix` does: only what is safe inside the repository.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::Fix;
use crate::cli::Common;
use crate::commands::sources;
use crate::deploy::health;
use crate::deploy::observe;
use crate::docker::SERVICE;

impl Fix {
    /// Names what is done, and does it.
    ///
    /// # Errors
    /// When that fails; nothing else has been touched.
    pub fn apply(self, root: &Path) -> Result<()> {
        let says = match self {
            Fix::EnvFile => "copying .env.example to .env",
            Fix::Sources => "fetching Step1X-3D's sources",
            Fix::Recreate => "recreating the container",
        };
        say!("fix: {says}");
        match self {
            Fix::EnvFile => copy_example(root),
            Fix::Sources => sources::fetch(root),
            Fix::Recreate => recreate(root),
        }
        .with_context(|| format!("{says} failed"))
    }
}

/// Never over a .env that somebody made meanwhile.
fn copy_example(root: &Path) -> Result<()> {
    let text = fs_err::read(root.join(".env.example"))?;
    let mut file =
        fs_err::OpenOptions::new().write(true).create_new(true).open(root.join(".env"))?;
    Ok(std::io::Write::write_all(&mut file, &text)?)
}

/// A restart keeps what the container was created with; only a new one gets its
/// devices anew.
fn recreate(root: &Path) -> Result<()> {
    let common = Common { dry_run: false, timeout: Duration::from_secs(120) };
    let (docker, ground, _lock) = crate::commands::alone(root, "doctor --fix", &common)?;
    let state = observe::observe(root, &docker, ground, true)?;
    state
        .docker
        .change(&state.docker.recreate())
        .with_context(|| format!("starting `{SERVICE}`"))?;
    health::wait(&state.docker, &state.project, None, common.timeout).map(drop)
}
