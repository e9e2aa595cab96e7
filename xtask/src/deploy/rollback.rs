//! The way back: the image that served keeps a name of its own until its
//! successor answers, and can be given its place again.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::deploy::decide::ContainerState;
use crate::deploy::health;
use crate::deploy::observe::State;
use crate::deploy::plan;
use crate::deploy::preflight;
use crate::deploy::prune;
use crate::docker::{self, Docker, Image, SERVICE, with_tag};
use crate::error::Failure;
use crate::image::provenance;
use crate::process::Invocation;

/// What the names that a swap moves stood for: an image's id, or nothing.
pub struct Names(Vec<(String, Option<String>)>);

impl Names {
    /// # Errors
    /// When the engine does not answer.
    pub fn now(state: &State) -> Result<Names> {
        let own = state.own_name().into_iter();
        let own = own.flat_map(|name| [provenance::record_name(&name), name]);
        let own: Vec<String> = own.collect();
        let names: Vec<String> = own.iter().cloned().chain(plan::names(state)).collect();
        let images = state.docker.images(&names)?;
        let id_of = |name: String| {
            let named = |image: &&Image| image.tags.contains(&with_tag(name.clone()));
            let id = match images.iter().find(named) {
                // The engine lists `docker.io/library/x` as `x`.
                None if !own.contains(&name) => state.docker.image(&name)?.map(|image| image.id),
                image => image.map(|image| image.id.clone()),
            };
            Ok((name, id))
        };
        names.into_iter().map(id_of).collect::<Result<_>>().map(Names)
    }

    /// Lets them stand for that again.
    pub fn restore(&self, docker: &Docker) {
        for (name, id) in &self.0 {
            let command = match id {
                Some(id) => docker::tag(id, name),
                None => docker::remove_image(name),
            };
            // The failure itself is the one to report.
            let _ = docker.quietly(&command);
        }
    }
}

/// Names the image to come back to: the one that serves now. Where none does,
/// the one that served last, if it is still known, and else what there is.
///
/// # Errors
/// When the engine does not answer.
pub fn keep(state: &State) -> Result<()> {
    let serves = state.situation.container == ContainerState::Serving;
    if !serves && is_known(state)? {
        return Ok(());
    }
    let running = state.container.as_ref().map(|container| &container.image);
    // A container outlives its image where somebody removed that by force.
    let known = state.image.as_ref().filter(|image| running == Some(&image.id));
    let running = match (known, running) {
        (None, Some(id)) => state.docker.image(id)?,
        (known, _) => known.cloned(),
    };
    match running.as_ref().or(state.image.as_ref()) {
        Some(image) => {
            let previous = provenance::previous(&state.project.name);
            state.docker.change(&docker::tag(&image.id, &previous))
        }
        None => Ok(()),
    }
}

/// Whether there is an image to come back to.
///
/// # Errors
/// When the engine does not answer.
pub fn is_known(state: &State) -> Result<bool> {
    Ok(state.docker.image(&provenance::previous(&state.project.name))?.is_some())
}

/// Forgets the image to come back to: what is there now answers.
///
/// # Errors
/// When the engine does not answer.
pub fn forget(state: &State) -> Result<()> {
    state
        .docker
        .quietly(&docker::remove_image(&provenance::previous(&state.project.name)))
        .map(drop)
}

/// Keeps an image that does not serve under a name, for inspection, in place of
/// an older one.
pub fn keep_failed(state: &State, image: &str) {
    let failed = provenance::failed(&state.project.name);
    let older = state.docker.image(&failed).ok().flatten();
    // The failure itself is the one to report.
    if !state.docker.quietly(&docker::tag(image, &failed)).is_ok_and(|done| done) {
        return;
    }
    // The older one makes room, unless somebody is looking into it.
    if let Some(older) = older {
        let _ = prune::remove_nameless(&state.docker, &older.id);
    }
    warn!(
        "the image is kept as {failed}; to look inside: docker run --rm -it --entrypoint sh {failed}"
    );
}

/// The commands that put the previous image into its place: under all names of
/// the service's image, or under the first alone where `before` knows what the
/// others stood for.
///
/// # Errors
/// When there is no previous image.
pub fn commands(state: &State, before: Option<&Names>) -> Result<Vec<Invocation>> {
    let id = previous(state)?.id;
    let names = plan::names(state).take(if before.is_some() { 1 } else { usize::MAX });
    let tags = names.map(|name| docker::tag(&id, &name));
    Ok(tags.chain([state.docker.up()]).collect())
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
pub fn go(state: &State, before: Option<&Names>, timeout: Duration) -> Result<()> {
    let (docker, project) = (&state.docker, &state.project);
    let previous = previous(state)?;
    preflight::before_swap(state, docker.container(project)?.as_ref(), &previous)?;
    if let Some(current) = docker.image(&project.image)?.filter(|image| image.id != previous.id) {
        keep_failed(state, &current.id);
    }
    before.iter().for_each(|names| names.restore(docker));
    for command in commands(state, before)? {
        docker.change(&command)?;
    }
    health::wait(docker, project, None, timeout).context("waiting for the image before")?;
    forget(state)?;
    say!("`{SERVICE}` answers, from the image before");
    Ok(())
}
