//! The commands.

pub mod setup;
pub mod sources;

use std::{
    env,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::{Command, Common},
    deploy::{
        decide::{self, Action, ContainerState, Decision, ImageState},
        execute::{self, Options},
        lock::{self, Lock},
        observe::{self, Ground},
        prune, rollback,
    },
    docker::Docker,
    doctor,
    error::Failure,
    process,
    ui::{durations::Memory, report},
};

/// Runs a command; its exit code.
///
/// # Errors
/// When it fails.
pub fn run(command: Command) -> Result<i32> {
    process::note_signals()?;
    let root = repository_root()?;
    match command {
        Command::Up(args) => {
            if args.setup {
                setup::run(&root, args.common.dry_run)?;
            }
            if nothing_to_do(&root, &args.common)? {
                return Ok(0);
            }
            act(&root, &Wish { action: None, force: false, pull: false }, &args.common)
        }
        Command::Restart(args) => act(
            &root,
            &Wish { action: Some(Action::Restart), force: false, pull: false },
            &args.common,
        ),
        Command::Fast(args) => act(
            &root,
            &Wish { action: Some(Action::Fast), force: args.force, pull: false },
            &args.common,
        ),
        Command::Full(args) => act(
            &root,
            &Wish { action: Some(Action::Full), force: false, pull: args.pull },
            &args.common,
        ),
        Command::Rollback(args) => roll_back(&root, &args.common),
        Command::Status(args) => status(&root, args.json),
        Command::Doctor(args) => return doctor::run(&root, &args),
    }?;
    Ok(0)
}

/// What the user wants of a command that acts.
struct Wish {
    /// None: whatever is needed.
    action: Option<Action>,
    force: bool,
    pull: bool,
}

/// Whether the service already is what `up` would make it; says so. That changes
/// nothing, and so waits for nobody.
fn nothing_to_do(root: &Path, common: &Common) -> Result<bool> {
    if common.dry_run || sources::missing(root) {
        return Ok(false);
    }
    // In the middle of somebody's swap it may fail; `act` waits for them.
    let Ok(state) = observe::glance(root, &Docker::new(root.to_owned())?) else { return Ok(false) };
    let decision = decide::decide(&state.situation);
    let serves = state.situation.container == ContainerState::Serving;
    if decision.action != Action::None || !serves || prune::is_due(&state)? {
        return Ok(false);
    }
    say!("{}", report::decision(&decision, &Memory::of(root)));
    state.container.iter().for_each(|container| say!("{}", report::answers(container)));
    Ok(true)
}

/// Observes, decides, and acts, alone on this project.
fn act(root: &Path, wish: &Wish, common: &Common) -> Result<()> {
    let started = Instant::now();
    let word = wish.action.map_or("up", Action::word);
    let (docker, ground, _lock) = alone(root, word, common)?;
    if wish.action.is_none() {
        match common.dry_run {
            false => sources::fetch_if_missing(root)?,
            true if sources::missing(root) => say!("would run: {}", sources::fetch_command()),
            true => {}
        }
    }
    // Whoever builds puts a new container into place whether or not it drifted.
    let drift_counts = !matches!(wish.action, Some(Action::Fast | Action::Full));
    let state = observe::observe(root, &docker, ground, drift_counts)?;
    let mut memory = Memory::of(root);
    let decision = match wish.action {
        None => decide::decide(&state.situation),
        Some(action) => decide::chosen(action, &state.situation),
    };
    if let (Action::Fast, ImageState::Stale { requirements: true, changes }, false) =
        (decision.action, &state.situation.image, wish.force)
    {
        bail!(
            Failure::new(format!("fast refuses: {}", changes.join("; ")))
                .hint("cargo xtask full")
                .hint("cargo xtask fast --force   # to build with cache all the same")
        );
    }
    say!("{}", report::decision(&decision, &memory));
    let left_out =
        decide::image_reason(&state.situation).filter(|_| decision.action == Action::Restart);
    let options =
        Options { started, dry_run: common.dry_run, timeout: common.timeout, pull: wish.pull };
    execute::carry_out(root, decision.action, state, &mut memory, &options)?;
    if let Some(Decision { action, reasons }) = left_out {
        say!("not in the container: {}", reasons.join("; "));
        say!("hint: cargo xtask {}", action.word());
    }
    Ok(())
}

/// Puts the image back that served before the last swap.
fn roll_back(root: &Path, common: &Common) -> Result<()> {
    let (docker, ground, _lock) = alone(root, "rollback", common)?;
    let state = observe::observe(root, &docker, ground, false)?;
    if common.dry_run {
        for command in rollback::commands(&state, None)? {
            say!("would run: {command}");
        }
        return Ok(());
    }
    rollback::go(&state, None, common.timeout)
}

/// Finds out whose containers on whose engine are meant, and takes the lock for
/// them, unless for a dry run.
pub fn alone(
    root: &Path,
    command: &str,
    common: &Common,
) -> Result<(Docker, Ground, Option<Lock>)> {
    let docker = Docker::new(root.to_owned())?;
    let ground = Ground::of(&docker)?;
    let take = || lock::take(&ground.engine.id, &ground.project.name, command);
    let lock = (!common.dry_run).then(take).transpose()?;
    let Some(lock) = lock else { return Ok((docker, ground, None)) };
    // Its last holder, or an editor meanwhile, may have changed what we knew.
    let ground = if lock.waited { Ground::of(&docker)? } else { ground };
    Ok((docker.holding(&lock), ground, Some(lock)))
}

fn status(root: &Path, json: bool) -> Result<()> {
    let docker = Docker::new(root.to_owned())?;
    let state = observe::glance(root, &docker)?;
    let decision = decide::decide(&state.situation);
    if json {
        say!("{:#}", report::status_json(&state, &decision));
    } else {
        say!(
            "{}\n{}",
            report::decision(&decision, &Memory::of(root)),
            report::container_line(&state)
        );
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
