//! The command line. Doc comments here are the help texts.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Brings the backend to the current sources and settings, with the least work
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    max_term_width = 80,
    disable_help_subcommand = true,
    after_help = "\
What `up` decides:
  no image yet, or requirements.txt changed?              yes -> full
  no: other sources changed, or image built by hand?      yes -> fast
  no: settings changed, not running, or not healthy?      yes -> restart
  no: nothing to do

The old container serves until the new image is built. On a bare Debian or
Ubuntu machine start with: cargo xtask up --setup"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Up(Up),
    Restart(Restart),
    Fast(Fast),
    Full(Full),
    Rollback(Rollback),
    Status(Status),
    Doctor(Doctor),
}

/// What all commands that act have in common.
#[derive(Args)]
pub struct Common {
    /// Only show the decision and the docker commands
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds the service may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub timeout: Duration,
}

/// Find out what is needed and do it
///
/// Compares sources, image, settings and container, says in one line what is
/// needed and why, does it, and ends when the service answers.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  cargo xtask up --dry-run")]
pub struct Up {
    #[command(flatten)]
    pub common: Common,
    /// First install Docker if missing (Debian, Ubuntu; as root)
    #[arg(long)]
    pub setup: bool,
}

/// Restart, or recreate with changed settings; never builds
///
/// Brings up a service that crashed, hangs, or is gone, too.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example, after editing .env:\n  cargo xtask restart")]
pub struct Restart {
    #[command(flatten)]
    pub common: Common,
}

/// Build with cache, then swap containers
///
/// Refuses when requirements.txt differs from what the image was built from.
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example, after editing backend/app.py:\n  cargo xtask fast"
)]
pub struct Fast {
    #[command(flatten)]
    pub common: Common,
    /// Build although requirements.txt changed
    #[arg(long)]
    pub force: bool,
}

/// Build without cache, check torch, then swap containers
///
/// Then removes the superseded image, and says which versions changed.
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example, after editing backend/requirements.txt:\n  cargo xtask full"
)]
pub struct Full {
    #[command(flatten)]
    pub common: Common,
    /// Look for newer base images first
    #[arg(long)]
    pub pull: bool,
}

/// Go back to the image that served before a failed fast
///
/// The image that failed is kept under a name of its own, for inspection.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  cargo xtask rollback")]
pub struct Rollback {
    #[command(flatten)]
    pub common: Common,
}

/// Say what `up` would do, and how the container is
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  cargo xtask status --json | jq -r .decision"
)]
pub struct Status {
    /// Print one JSON document (the README describes it)
    #[arg(long)]
    pub json: bool,
}

/// Name what is broken, and the command that mends it
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
What a check needs is checked along with it, and shown only if it broke.
Exits with 1 if anything is broken.

Example:
  cargo xtask doctor gpu --verbose"
)]
pub struct Doctor {
    /// Checks or groups of checks, such as torch or gpu; none: all
    #[arg(value_name = "CHECK")]
    pub checks: Vec<String>,
    /// List the checks
    #[arg(long)]
    pub list: bool,
    /// Show what each finding rests on, and how long it took
    #[arg(short, long)]
    pub verbose: bool,
    /// Mend what is safe to mend inside the repository
    #[arg(long, conflicts_with = "json")]
    pub fix: bool,
    /// Count a machine without an NVIDIA card as broken
    #[arg(long)]
    pub require_gpu: bool,
    /// Print one JSON document (the README describes it)
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number of seconds, 1 to 86400".to_owned()),
    }
}
