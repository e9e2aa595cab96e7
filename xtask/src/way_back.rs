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

/// Gives the old image its names again, after a failure that changed nothing
/// else: there is then nothing to go back to.
pub fn stay(state: &State) {
    if let Some(old) = &state.image {
        for name in plan::names(state) {
            // The failure itself is the one to report.
            let _ = state.docker.quietly(&compose::tag(&old.id, &name));
        }
    }
    if state.situation.container == ContainerState::Serving {
        let _ = forget(state);
    }
}

/// Keeps an image that does not serve under a name, for inspection, in place of
/// an older one.
pub fn keep_failed(state: &State, image: &str) {
    let failed = provenance::failed(&state.project.name);
    let older = state.docker.image(&failed).ok().flatten();
    // The failure itself is the one to report.
    if !state.docker.quietly(&compose::tag(image, &failed)).is_ok_and(|done| done) {
        return;
    }
    // The older one makes room, unless somebody is looking into it.
    if let Some(older) = older {
        let _ = cleanup::remove_nameless(&state.docker, &older.id);
    }
    warn!(
        "the image is kept as {failed}; to look inside: docker run --rm -it --entrypoint sh {failed}"
    );
}

/// The commands that put the previous image into its place.
///
/// # Errors
/// When there is no previous image.
pub fn commands(state: &State) -> Result<Vec<Invocation>> {
    let id = previous(state)?.id;
    let names = plan::names(state).map(|name| compose::tag(&id, &name));
    Ok(names.chain([state.docker.up()]).collect())
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
    let (docker, project) = (&state.docker, &state.project);
    let previous = previous(state)?;
    trial::before_swap(state, docker.container(project)?.as_ref(), &previous)?;
    let commands = commands(state)?;
    if let Some(current) = docker.image(&project.image)?.filter(|image| image.id != previous.id) {
        keep_failed(state, &current.id);
    }
    for command in commands {
        docker.change(&command)?;
    }
    health::wait(docker, project, None, timeout).context("waiting for the image before")?;
    forget(state)?;
    say!("`{SERVICE}` answers, from the image before");
    Ok(())
}
