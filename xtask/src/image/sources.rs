//! Step1X-3D's sources: a submodule, since they are not ours to copy. The service runs without.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use xshell::Shell;

use crate::process::{self, Invocation};

/// Where they are, relative to the repository's root.
pub const PATH: &str = "backend/Step1X-3D";

/// Whether the clone at `root` has them: without them the submodule is an empty directory.
pub fn present(root: &Path) -> bool {
    fs_err::read_dir(root.join(PATH)).is_ok_and(|mut entries| entries.next().is_some())
}

/// Whether the clone at `root` says where they come from and lacks them.
pub fn missing(root: &Path) -> bool {
    root.join(".gitmodules").is_file() && !present(root)
}

/// The command that fetches the commit that the repository pins, and no history.
pub fn fetch_command() -> Invocation {
    // A server that stops sending must not hold up what needs no sources.
    Invocation::new("git", ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"]).args([
        "submodule",
        "update",
        "--init",
        "--depth",
        "1",
        "--progress",
        PATH,
    ])
}

/// Fails when there is no git on PATH.
pub fn git_version() -> Result<String> {
    let version = Invocation::new("git", ["--version"]);
    let answer = process::capture(&Shell::new()?, &version, Duration::from_secs(5))?;
    let version = answer.stdout.trim();
    Ok(version.strip_prefix("git version ").unwrap_or(version).to_owned())
}

/// Fetches them into the clone at `root`; fails with git's exit code.
pub fn fetch(root: &Path) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    // Without a prompt git fails where it would ask for a name and a password.
    sh.set_var("GIT_TERMINAL_PROMPT", "0");
    process::shown(&sh, &fetch_command())
}

/// Fetches them if they are missing; where that fails, except by Ctrl-C, says so and goes on.
pub fn fetch_if_missing(root: &Path) -> Result<()> {
    if !missing(root) {
        return Ok(());
    }
    say!("fetching Step1X-3D's sources into {PATH}");
    if let Err(error) = fetch(root) {
        process::interrupted()?;
        warn!("going on without Step1X-3D's sources: {error:#}");
        warn!("hint: git submodule update --init {PATH}   # then: cargo xtask up");
    }
    Ok(())
}
