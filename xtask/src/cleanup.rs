//! After a successful swap: what the new image supersedes goes, and only that.

use anyhow::Result;

use crate::{
    compose::{self, CacheRecord, Docker},
    provenance, report,
    requirements::{self, Pins},
    state::State,
    torch::{PROBE, Report},
};

/// Removes what the new image supersedes: our names for older images of this
/// project, and the image that had the service's name, unless somebody gave it
/// another. Nothing is forced and nothing is pruned.
///
/// After `full` it also says which versions changed to `packages` and how much
/// disk was freed, and drops the build cache that only the superseded image's
/// layers needed: the engine would otherwise keep them all.
///
/// # Errors
/// When the engine no longer answers.
pub fn after(state: &State, full: bool, packages: Option<&Pins>) -> Result<()> {
    let (docker, project) = (&state.docker, &state.project);
    let new = docker.image(&project.image)?.map(|image| image.id);
    let old = state.image.as_ref().filter(|old| Some(&old.id) != new.as_ref());
    let mut before = None;
    if let (Some(old), true) = (old, full) {
        say!("removing the superseded image; this may take a minute");
        // Neither is worth failing for: the new image serves.
        let report = docker.python_in_image(&old.id, PROBE).map(|probe| Report::parse(&probe));
        tell_versions(report.ok().map(|report| report.packages).as_ref(), packages);
        before = docker.disk_use().ok().zip(docker.build_cache().ok());
    }

    let names: Vec<String> = state
        .own_name()
        .into_iter()
        .flat_map(|name| [provenance::record_name(&name), name])
        .collect();
    for tag in docker.tags(&provenance::repository(&project.name))? {
        if !names.contains(&tag) {
            docker.quietly(&compose::remove_image(&tag))?;
        }
    }
    let Some(old) = old else { return Ok(()) };
    let kept = !remove_nameless(docker, &old.id)?;
    if kept {
        let id = report::short(&old.id);
        say!("the superseded image {id} stays: another name or container uses it");
    } else if full {
        let freed = before.and_then(|(bytes, cache)| {
            for id in superseded(&cache, &docker.build_cache().ok()?) {
                docker.quietly(&compose::remove_build_cache(&id)).ok()?;
            }
            Some(bytes.saturating_sub(docker.disk_use().ok()?))
        });
        let freed = freed.map_or_else(|| "an unknown amount".to_owned(), report::size);
        say!("removed the superseded image: {freed} of disk freed");
    }
    Ok(())
}

/// Removes an image that nobody has named; false where a name or a container
/// keeps it.
///
/// # Errors
/// When the engine does not answer.
pub fn remove_nameless(docker: &Docker, id: &str) -> Result<bool> {
    match docker.image(id)? {
        Some(image) if image.tags.is_empty() => docker.quietly(&compose::remove_image(id)),
        image => Ok(image.is_none()),
    }
}

/// The records that lost their image from `before` to `after`, and those that
/// build on them and have none, children first: a record with children stays.
/// Pure.
fn superseded(before: &[CacheRecord], after: &[CacheRecord]) -> Vec<String> {
    let had_image = |id: &str| before.iter().any(|record| record.shared && record.id == id);
    let unshared = || after.iter().filter(|record| !record.shared);
    let mut ids: Vec<String> = unshared()
        .filter(|record| had_image(&record.id) && !record.id.is_empty())
        .map(|record| record.id.clone())
        .collect();
    loop {
        let children: Vec<String> = unshared()
            .filter(|record| !ids.contains(&record.id))
            .filter(|record| record.parents.iter().any(|parent| ids.contains(parent)))
            .map(|record| record.id.clone())
            .collect();
        if children.is_empty() {
            break;
        }
        ids.extend(children);
    }
    let parents =
        |id: &String| after.iter().find(|record| record.id == *id).map(|record| &record.parents);
    let mut ordered: Vec<String> = Vec::new();
    while let Some(at) = ids.iter().position(|id| {
        !ids.iter().any(|other| parents(other).is_some_and(|parents| parents.contains(id)))
    }) {
        ordered.push(ids.swap_remove(at));
    }
    ordered
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
    fn only_what_the_superseded_image_held_goes_and_children_go_first() {
        let record = |id: &str, parents: &[&str], shared| CacheRecord {
            id: id.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            shared,
        };
        let before = [
            record("base", &[], true),
            record("install", &["base"], true),
            record("older-copy", &["install"], false),
            record("somebody-elses", &["base"], false),
        ];
        let after = [
            record("base", &[], true),
            record("install", &["base"], false),
            record("older-copy", &["install"], false),
            record("copy-of-copy", &["older-copy"], false),
            record("still-used", &["install"], true),
            record("somebody-elses", &["base"], false),
        ];
        assert_eq!(superseded(&before, &after), ["copy-of-copy", "older-copy", "install"]);
        assert!(superseded(&before, &before).is_empty());
    }
}
