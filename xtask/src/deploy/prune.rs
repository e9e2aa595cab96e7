//! After a successful swap: what the new image supersedes goes, and only that.

use std::time::Duration;

use anyhow::Result;

use crate::deploy::observe::State;
use crate::docker::{self, CacheRecord, Docker};
use crate::image::provenance;
use crate::image::requirements::{self, Pins};
use crate::python::report::{PROBE, Report};
use crate::ui::report;

/// Removes what the new image supersedes: our names for older images of this
/// project, the image that had the service's name, unless somebody gave it
/// another, and the build cache that only its layers needed: the engine would
/// otherwise keep them all. Nothing is forced, and nothing of others is pruned.
///
/// After `full` it also says which versions changed to `packages` and how much
/// disk was freed.
///
/// # Errors
/// When the engine no longer answers. What only the build cache would tell is
/// not worth one: the new image serves.
pub fn after(state: &State, full: bool, packages: Option<&Pins>) -> Result<()> {
    let (docker, project) = (&state.docker, &state.project);
    let new = docker.image(&project.image)?.map(|image| image.id);
    let old = state.image.as_ref().filter(|old| Some(&old.id) != new.as_ref());
    if let (Some(old), true) = (old, full) {
        say!("removing the superseded image; this may take a minute");
        let report = docker.python_in_image(&old.id, PROBE).map(|probe| Report::parse(&probe));
        tell_versions(report.ok().map(|report| report.packages).as_ref(), packages);
    }

    // Some storage drivers take longer to count it than anybody waits for `fast`.
    let patience = Duration::from_secs(if full { 120 } else { 2 });
    let cache = old.and_then(|_| docker.build_cache(patience).ok());
    let names: Vec<String> = state
        .own_name()
        .into_iter()
        .flat_map(|name| [provenance::record_name(&name), name])
        .collect();
    for tag in docker.tags(&provenance::repository(&project.name))? {
        if !names.contains(&tag) {
            docker.quietly(&docker::remove_image(&tag))?;
        }
    }
    let Some(old) = old else { return Ok(()) };
    let kept = !remove_nameless(docker, &old.id)?;
    let freed = cache.filter(|_| !kept).and_then(|before| {
        let ids = superseded(&before, &docker.build_cache(patience).ok()?);
        docker.forget_build_cache(&ids).ok()
    });
    if kept {
        let id = report::short(&old.id);
        say!("the superseded image {id} stays: another name or container uses it");
    } else if full {
        let freed = freed.unwrap_or_else(|| "an unknown amount".to_owned());
        say!("removed the superseded image: {freed} of disk freed");
    }
    Ok(())
}

/// Removes what builds left under construction whose xtask was killed: they go
/// on without it.
///
/// # Errors
/// When the engine does not answer.
pub fn unfinished(state: &State) -> Result<()> {
    let mut stale = under_construction(state)?.into_iter();
    stale.try_for_each(|tag| state.docker.quietly(&docker::remove_image(&tag)).map(drop))
}

/// Whether there is something under construction, or left behind.
///
/// # Errors
/// When the engine does not answer.
pub fn is_due(state: &State) -> Result<bool> {
    Ok(!under_construction(state)?.is_empty())
}

fn under_construction(state: &State) -> Result<Vec<String>> {
    let mut tags = state.docker.tags(&provenance::repository(&state.project.name))?;
    tags.retain(|tag| provenance::is_under_construction(tag));
    Ok(tags)
}

/// Removes an image that nobody has named; false where a name or a container
/// keeps it.
///
/// # Errors
/// When the engine does not answer.
pub fn remove_nameless(docker: &Docker, id: &str) -> Result<bool> {
    match docker.image(id)? {
        Some(image) if image.tags.is_empty() => docker.quietly(&docker::remove_image(id)),
        image => Ok(image.is_none()),
    }
}

/// The records that lost their image from `before` to `after`. Pure.
fn superseded(before: &[CacheRecord], after: &[CacheRecord]) -> Vec<String> {
    let had_image = |id: &str| before.iter().any(|record| record.shared && record.id == id);
    let lost = after.iter().filter(|record| !record.shared && had_image(&record.id));
    lost.map(|record| record.id.clone()).collect()
}

fn tell_versions(old: Option<&Pins>, new: Option<&Pins>) {
    let (Some(old), Some(new)) = (old.filter(|old| !old.is_empty()), new) else {
        say!("package versions: one of the images has no Python to ask");
        return;
    };
    let changes: Vec<_> = requirements::changes(old, new).iter().map(ToString::to_string).collect();
    let changes = if changes.is_empty() { "none changed".to_owned() } else { changes.join(", ") };
    say!("package versions: {changes}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_superseded_image_held_goes() {
        let record = |id: &str, shared| CacheRecord { id: id.to_owned(), shared };
        let before = [record("base", true), record("install", true), record("others", false)];
        let after = [record("base", true), record("install", false), record("others", false)];
        assert_eq!(superseded(&before, &after), ["install"]);
        assert!(superseded(&before, &before).is_empty());
    }
}
