//! `up --setup`: makes a bare Debian or Ubuntu machine ready.

use std::path::Path;

use anyhow::{Context as _, Result};
use xshell::Shell;

use crate::docker::engine::COMPOSE;
use crate::error::Failure;
use crate::process::{self, Invocation};

/// The script, relative to the repository's root. It is sh because on such a
/// machine there is nothing else yet, and because it can be read before it is run.
const SCRIPT: &str = "xtask/setup-debian";

/// Says what will be installed and runs the script, which leaves alone what is
/// there already.
/// Fails on other systems, and with the script's exit code; it says itself what is wrong.
pub fn run(root: &Path, dry_run: bool) -> Result<()> {
    if !cfg!(target_os = "linux") || which::which("apt-get").is_err() {
        return Err(Failure::new("`--setup` is for Debian and Ubuntu only")
            .advice(format!("install Docker Desktop, or Docker Engine with Compose {COMPOSE}: docs.docker.com/engine/install"))
            .hint("cargo xtask up   # then, without --setup")
            .into());
    }
    let sh = Shell::new()?;
    sh.change_dir(root);
    say!(
        "setup, where missing: Docker Engine, Compose v2 and buildx (Debian packages), and the base image"
    );
    let script = Invocation::new("sh", [SCRIPT]);
    if dry_run {
        say!("would run: {script}");
        return Ok(());
    }
    process::on_terminal(&sh, &script).context("setting up this machine")
}
