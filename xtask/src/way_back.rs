//! The way back: the image that served keeps a name of its own until its
//! successor answers, and can be given its place again.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    cleanup,
    compose::{self, Image, SERVICE},
    decide::ContainerState,
    failure::Failure,
    health, plan,
    process::Invocation,
    provenance,
    state::State,
    trial,
};

/// Names the image to come back to: the one that serves now. Where none does,
/// the one that served last, if it is still known, and else what there is.
///
/// # Errors
/// When the engine does not answer.
pub fn keep(state: &State) -> Result<()> {
    let previous = provenance::previous(&state.project.name);
    let serves = state.situation.container == ContainerState::Serving;
    if !serves && state.docker.image(&previous)?.is_some() {
        return Ok(());
    }
    let running = state.container.as_ref().map(|container| &container.image);
    match running.or(state.image.as_ref().map(|image| &image.id)) {
        Some(id) => state.docker.change(&compose::tag(id, &previous)),
        None => Ok(()),
    }
}

/// Forgets the image to come back to: what is there now answers.
///
/// # Errors
/// When the engine does not answer.
pub fn forget(state: &State) -> Result<()> {
    state
        .docker
        .quietly(&compose::remove_image(&provenance::previous(&state.project.name)))
        .map(drop)
}

/// Gives the old image its names again, after a failure that changed nothing else.
pub fn restore_names(state: &State) {
    for name in
        state.image.iter().flat_map(|old| plan::names(state).map(|name| (old.id.clone(), name)))
    {
        // The failure itself is the one to report.
        let _ = state.docker.quietly(&compose::tag(&name.0, &name.1));
    }
}

/// The commands that put the previous image into its place.
///
/// # Errors
/// When there is no previous image.
pub fn commands(state: &State) -> Result<Vec<Invocation>> {
    let (docker, project) = (&state.docker, &state.project);
    let id = previous(state)?.id;
    let current = docker.image(&project.image)?.filter(|current| current.id != id);
    let failed =
        current.map(|current| compose::tag(&current.id, &provenance::failed(&project.name)));
    let names = plan::names(state).map(|name| compose::tag(&id, &name));
    Ok(failed.into_iter().chain(names).chain([docker.up()]).collect())
}

fn previous(state: &State) -> Result<Image> {
    let image = state.docker.image(&provenance::previous(&state.project.name))?;
    Ok(image.ok_or_else(|| {
        Failure::new("there is nothing to go back to: the last image that was put to use serves, or none did")
            .hint("cargo xtask status")
    })?)
}

/// Goes back to the previous image and waits until it answers. What is there
/// now is kept for inspection, in place of an older failure.
///
/// # Errors
/// When there is none, or it doesn't serve either.
pub fn go(state: &State, timeout: Duration) -> Result<()> {
    let docker = &state.docker;
    trial::before_swap(state, &previous(state)?)?;
    let failed = provenance::failed(&state.project.name);
    let older = docker.image(&failed)?;
    for command in commands(state)? {
        docker.change(&command)?;
    }
    if let Some(older) = older {
        cleanup::remove_nameless(docker, &older.id)?;
    }
    health::wait(docker, &state.project, None, timeout).context("waiting for the image before")?;
    forget(state)?;
    say!("`{SERVICE}` answers, from the image before; the one that failed is {failed}");
    Ok(())
}
