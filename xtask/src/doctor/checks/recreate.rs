//! The one fix that touches the service: a new container, which gets its devices anew.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::deploy::observe::{self, Scope};
use crate::deploy::situation::Drift;
use crate::deploy::{self, device};
use crate::docker::{Docker, SERVICE};
use crate::doctor::finding::by_hand;
use crate::doctor::{Facts, Finding, Fix};
use crate::error::Failure;

pub const DMESG: &str = "sudo dmesg | grep -i nvrm   # on the engine's machine";

remedies! {
    REBOOT = by_hand("A new container did not help: reboot the engine's machine.", &[DMESG]);
}

const NEW_CONTAINER: Fix = Fix { name: "recreating the container", apply: recreate };

/// For the new container to answer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Only a new container gets its devices anew; a restart keeps the old ones.
fn recreate(root: &Path) -> Result<()> {
    let (docker, since) = (Docker::new(root.to_owned())?, SystemTime::now());
    let device = device::requested(root)?;
    let observe = |docker: &Docker| observe::observe(root, docker, Scope::Plan, device);
    let (_lock, seen) = deploy::lock_project(&docker, "doctor --fix", since, None, observe)?;
    if seen.situation.drift == Drift::Image {
        let message = format!("`{}` is another image than the one that runs", seen.project.image);
        return Err(Failure::new(message).hint("cargo xtask restart").into());
    }
    let docker = &seen.docker;
    docker.change(&docker.recreate()).with_context(|| format!("starting `{SERVICE}`"))?;
    deploy::wait(docker, &seen.project.name, None, TIMEOUT).map(drop)
}

/// Adds the fix, or what to do where it did not help. A container that does not run
/// is not started for it.
pub fn fixed_by_a_new_container(finding: Finding, facts: &Facts) -> Finding {
    match facts.running_container() {
        Ok(Some(_)) if facts.fixed.contains(&NEW_CONTAINER) => finding.remedy(REBOOT),
        Ok(Some(_)) => Finding { fix: Some(NEW_CONTAINER), ..finding },
        _ => finding,
    }
}
