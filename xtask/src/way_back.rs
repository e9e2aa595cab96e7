//! The way back: a superseded image keeps a name of its own until its successor
//! answers, and can be given its place again.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    compose::{self, Container, Image, SERVICE},
    failure::Failure,
    health,
    process::Invocation,
    provenance,
    state::State,
};

/// Names the image that is about to be superseded. One that has the name
/// already served last; what failed since then is no place to go back to.
///
/// # Errors
/// When the engine does not answer.
pub fn keep(state: &State) -> Result<()> {
    let previous = provenance::previous(&state.project.name);
    match (&state.image, state.docker.image(&previous)?) {
        (Some(old), None) => state.docker.change(&compose::tag(&old.id, &previous)),
        _ => Ok(()),
    }
}

/// The commands that put the previous image into its place: the current one is
/// kept under a name for inspection, in place of an older failure.
///
/// # Errors
/// When there is no previous image.
pub fn commands(state: &State) -> Result<Vec<Invocation>> {
    let (docker, project) = (&state.docker, &state.project);
    let previous = provenance::previous(&project.name);
    let Some(Image { id, .. }) = docker.image(&previous)? else {
        return Err(Failure::new("there is nothing to go back to: the last image that was put to use serves, or none did")
            .hint("cargo xtask status")
            .into());
    };
    let mut commands = Vec::new();
    if let Some(current) = docker.image(&project.image)?.filter(|current| current.id != id) {
        let failed = provenance::failed(&project.name);
        if docker.image(&failed)?.is_some() {
            commands.push(compose::remove_image(&failed));
        }
        commands.push(compose::tag(&current.id, &failed));
    }
    commands.extend([compose::tag(&previous, &project.image), docker.up()]);
    Ok(commands)
}

/// Goes back to the previous image and waits until it answers.
///
/// # Errors
/// When there is none, or it doesn't serve either.
pub fn go(state: &State, timeout: Duration) -> Result<Container> {
    for command in commands(state)? {
        state.docker.change(&command).context("going back to the superseded image")?;
    }
    let container = health::wait(&state.docker, &state.project, None, timeout)?;
    state.docker.quietly(&compose::remove_image(&provenance::previous(&state.project.name)))?;
    println!(
        "`{SERVICE}` answers, from the image before; the one that failed is {}",
        provenance::failed(&state.project.name)
    );
    Ok(container)
}
