//! `cargo xtask`: brings the backend to the current sources and settings.
//!
//! Data flows one way: [`cli`] → observe ([`state`]) → [`decide`] → act
//! ([`rebuild`]) → [`report`]. Docker's arguments are spelled in [`compose`]
//! alone, and [`process`] alone starts anything.

mod cleanup;
mod cli;
mod compose;
mod decide;
mod device;
mod doctor;
mod failure;
mod health;
mod inputs;
mod memory;
mod plan;
mod process;
mod provenance;
mod rebuild;
mod report;
mod requirements;
mod setup;
mod state;
mod torch;

use std::{
    env,
    path::{Path, PathBuf},
    process::exit,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;

use crate::{
    cli::{Cli, Command, Common},
    compose::Docker,
    decide::{Action, Decision, ImageState},
    failure::Failure,
    memory::Memory,
    rebuild::Options,
};

fn main() {
    if let Err(error) = run(Cli::parse().command) {
        eprint!("{}", failure::render(&error));
        exit(failure::exit_code(&error));
    }
}

fn run(command: Command) -> Result<()> {
    process::note_ctrl_c()?;
    let root = repository_root()?;
    match command {
        Command::Up(args) => {
            if args.setup {
                setup::run(&root, args.common.dry_run)?;
            }
            act(&root, None, &args.common, false, false)
        }
        Command::Restart(args) => act(&root, Some(Action::Restart), &args.common, false, false),
        Command::Fast(args) => act(&root, Some(Action::Fast), &args.common, args.force, false),
        Command::Full(args) => act(&root, Some(Action::Full), &args.common, false, args.pull),
        Command::Status(args) => status(&root, args.json),
        Command::Doctor(args) => exit(doctor::run(&root, args.json)),
    }
}

/// Observes, decides (`wanted` is the user's own decision), and acts.
fn act(
    root: &Path,
    wanted: Option<Action>,
    common: &Common,
    force: bool,
    pull: bool,
) -> Result<()> {
    let started = Instant::now();
    let mut memory = Memory::of(root);
    let state = state::observe(root, &Docker::new(root.to_owned())?, &mut memory)?;
    let decision = match wanted {
        None => decide::decide(&state.situation),
        Some(action) => decide::chosen(action, &state.situation),
    };
    if let (Action::Fast, ImageState::Stale { requirements: true, changes }, false) =
        (decision.action, &state.situation.image, force)
    {
        bail!(
            Failure::new(format!("fast refuses: {}", changes.join("; ")))
                .hint("cargo xtask full")
                .hint("to build with cache all the same: cargo xtask fast --force")
        );
    }
    println!("{}", report::decision(&decision, &memory));
    let left_out = decide::left_out(&state.situation);
    let options = Options { started, dry_run: common.dry_run, timeout: common.timeout, pull };
    rebuild::carry_out(decision.action, state, &mut memory, &options)?;
    if let Some(Decision { action: needed, reasons }) =
        left_out.filter(|_| decision.action == Action::Restart)
    {
        println!("not in the container: {}", reasons.join("; "));
        println!("hint: cargo xtask {}", needed.word());
    }
    Ok(())
}

fn status(root: &Path, json: bool) -> Result<()> {
    let mut memory = Memory::of(root);
    let state = state::observe(root, &Docker::new(root.to_owned())?, &mut memory)?;
    let decision = decide::decide(&state.situation);
    if json {
        println!("{:#}", report::status_json(&state, &decision));
    } else {
        println!("{}\n{}", report::decision(&decision, &memory), report::container_line(&state));
    }
    Ok(())
}

/// The repository's root: the parent of this crate. Cargo names the crate at
/// run time; a binary that was copied elsewhere remembers where it was built.
fn repository_root() -> Result<PathBuf> {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&manifest).parent().context("finding the repository's root")?.to_owned())
}
