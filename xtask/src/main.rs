//! Parses the command line, runs the command, and renders what went wrong.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::exit;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use xtask::cli::Cli;
use xtask::{error, process};

fn main() {
    match run(&Cli::parse()) {
        Ok(code) => exit(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", error::render(&error).trim_end());
            exit(error::exit_code(&error));
        }
    }
}

fn run(cli: &Cli) -> Result<i32> {
    process::note_signals()?;
    cli.command.run(&repository_root()?)
}

/// The parent of this crate. Cargo names the crate at run time; a binary that was
/// copied elsewhere knows where it was built.
fn repository_root() -> Result<PathBuf> {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&manifest).parent().context("finding the repository's root")?.to_owned())
}
