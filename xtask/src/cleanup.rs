//! After a successful swap: what the new image supersedes goes, and only that.

use anyhow::Result;

use crate::{
    compose::{self, Image},
    inputs::Inputs,
    provenance, report,
    requirements::{self, Pins},
    state::State,
    torch::{PROBE, Report},
};

/// Writes the new image's record and removes what it supersedes: our names for
/// older images of this project, and the image that had the service's name,
/// unless somebody gave it another. Nothing is forced and nothing is pruned.
///
/// With `packages` (after `full`) it also says which versions changed and how
/// much disk was freed, and drops the build cache that only the superseded
/// image's layers needed: the engine would otherwise keep them all.
///
/// # Errors
/// When the engine no longer answers.
pub fn after(state: &State, new: &Image, inputs: &Inputs, packages: Option<&Pins>) -> Result<()> {
    let docker = &state.docker;
    let name = provenance::name(&state.project.name, inputs);
    let record = provenance::record_name(&name);
    let ours = docker.tags(&provenance::repository(&state.project.name))?;
    if !ours.contains(&record) {
        docker.quietly(&compose::label_image(
            &record,
            provenance::LABEL,
            &provenance::record(inputs),
        ))?;
    }

    let old = state.image.as_ref().filter(|old| old.id != new.id);
    if let (Some(old), Some(packages)) = (old, packages) {
        tell_versions(&Report::parse(&docker.python_in_image(&old.id, PROBE)?).packages, packages);
    }
    // Some servers take minutes to count; what was done is not undone by that.
    let before = old
        .and(packages)
        .and_then(|_| Some((docker.disk_use().ok()?, docker.unshared_build_cache().ok()?)));

    for tag in ours.iter().filter(|tag| **tag != name && **tag != record) {
        docker.quietly(&compose::remove_image(tag))?;
    }
    let left = old.map(|old| docker.image(&old.id)).transpose()?.flatten();
    let kept = match left {
        Some(left) if left.tags.is_empty() => !docker.quietly(&compose::remove_image(&left.id))?,
        Some(_) => true,
        None => false,
    };
    if let (true, Some(old)) = (kept, old) {
        println!(
            "the superseded image {} stays: another name or container uses it",
            short(&old.id)
        );
    }

    if old.is_none() || packages.is_none() || kept {
        return Ok(());
    }
    let freed = before.and_then(|(bytes, unshared)| {
        for id in docker.unshared_build_cache().ok()?.iter().filter(|id| !unshared.contains(id)) {
            docker.quietly(&compose::remove_build_cache(id)).ok()?;
        }
        Some(bytes.saturating_sub(docker.disk_use().ok()?))
    });
    match freed {
        Some(bytes) => {
            println!("removed the superseded image: {} of disk freed", report::size(bytes))
        }
        None => {
            println!("removed the superseded image; `docker system df` did not say what that freed")
        }
    }
    Ok(())
}

fn tell_versions(old: &Pins, new: &Pins) {
    let changes: Vec<_> = requirements::changes(old, new).iter().map(ToString::to_string).collect();
    match &*changes {
        _ if old.is_empty() => {
            println!("package versions: the superseded image has no Python to ask")
        }
        [] => println!("package versions: none changed"),
        changes => println!("package versions: {}", changes.join(", ")),
    }
}

/// An id as Docker shortens it.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}
