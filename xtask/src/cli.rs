//! The command line. Each command's arguments and its help stand beside what it
//! does, in [`crate::commands`].

use std::path::Path;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{doctor, fast, full, restart, rollback, status, up};

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
    Up(up::Up),
    Restart(restart::Restart),
    Fast(fast::Fast),
    Full(full::Full),
    Rollback(rollback::Rollback),
    Status(status::Status),
    Doctor(doctor::Doctor),
}

impl Command {
    /// Runs it in the repository at `root`; its exit code.
    /// Fails with a refusal, or with what it could not do.
    pub fn run(&self, root: &Path) -> Result<i32> {
        match self {
            Command::Up(command) => command.run(root),
            Command::Restart(command) => command.run(root),
            Command::Fast(command) => command.run(root),
            Command::Full(command) => command.run(root),
            Command::Rollback(command) => command.run(root),
            Command::Status(command) => command.run(root),
            Command::Doctor(command) => return command.run(root),
        }?;
        Ok(0)
    }
}
