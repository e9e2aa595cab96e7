//! The project: its settings, compose file, sources and requirements, and what the
//! engine's machine offers it: the port, disk and memory.

use std::path::Path;

use anyhow::Result;

use super::cuda::VISIBLE;
use super::gpu::RESTART;
use crate::deploy::device::SETTING;
use crate::deploy::preflight;
use crate::docker::{SERVICE, files};
use crate::doctor::finding::{by_command, by_hand};
use crate::doctor::{Facts, Finding, Fix, Judgement, Status, Trouble};
use crate::error::{Failure, Kind};
use crate::image::requirements::PATH;
use crate::image::sources;
use crate::ui;

/// Bytes that a full build needs while both images are there.
const BUILD: u64 = 20_000_000_000;

/// Bytes of memory below which building and loading torch gets slow or killed.
const MEMORY: u64 = 8_000_000_000;

remedies! {
    CORRECT_DEVICE = by_hand("Correct it in the environment or in .env.", &[]);
    COPY_EXAMPLE = by_command("Start from the example.", &["cp .env.example .env", "cargo xtask up"]);
    WRITE_ENV = by_hand("Write it; the compose file names what it must hold.", &[]);
    COPY_NAMES = by_command("Copy them from there.", &["diff .env.example .env"]);
    CORRECT_VISIBLE = by_hand("Remove it, or name GPUs in it; if the compose file passes it on, an unset variable counts as empty.", &[RESTART]);
    FETCH_SOURCES = by_command("Fetch them, and put them into the image.", &["git submodule update --init backend/Step1X-3D", "cargo xtask up"]);
    PIN_TORCH = by_hand("Write `torch==<version>` there, so that nothing else pulls another.", &[]);
    FREE_DISK = by_hand("A full build needs about 20 GB. Remove what you no longer need there.", &[
        "docker system df   # what Docker holds",
        "docker buildx prune --filter until=24h   # build cache that was not used for a day",
    ]);
    MORE_MEMORY = by_hand("Give the machine (or Docker Desktop's virtual machine) more: the build and the model may be killed.", &[]);
}

const SET_LIMIT: &str = r#"to set that, in the engine's daemon.json: {"builder": {"gc": {"defaultKeepStorage": "20GB"}}}"#;

const FETCH: Fix = Fix { name: "fetching Step1X-3D's sources", apply: sources::fetch };

/// The names that an env file sets, each with whether its value is empty.
pub type Names = Vec<(String, bool)>;

/// What an env file sets, without the values; none where there is no such file.
/// Fails when it is there and can't be read.
pub fn names(root: &Path, file: &str) -> Result<Option<Names>> {
    let path = root.join(file);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(path).map_err(|error| {
        Failure::new(format!("{file} cannot be read: {error}"))
            .advice(format!("Save {file} as UTF-8, and see that you may read it."))
    })?;
    Ok(Some(files::keys(&text)))
}

/// .env against .env.example, without looking at any value.
pub fn env(facts: &Facts) -> Judgement {
    let own = facts.env_names().map_err(Trouble::fault)?;
    let example = facts.example_names().map_err(Trouble::fault)?;
    // The error itself would show a value.
    if facts.requested().is_err() {
        let message = format!("{SETTING} is none of gpu, cpu and auto");
        return Ok(Finding::fail(message).remedy(CORRECT_DEVICE));
    }
    let Some(own) = own else { return Ok(without_env(facts, example)) };
    let is_missing = |name: &&str| own.iter().all(|(own, _)| own != name);
    let example = example.into_iter().flatten().map(|(name, _)| &**name);
    let missing: Vec<_> = example.filter(is_missing).collect();
    if !missing.is_empty() {
        let message = format!("lacks {}, which .env.example sets", missing.join(", "));
        return Ok(Finding::warn(message).remedy(COPY_NAMES));
    }
    let passed_on = facts.project().is_ok_and(|p| p.visible_devices.as_deref() == Some(""));
    if passed_on || own.iter().any(|(name, empty)| name == VISIBLE && *empty) {
        let message = format!("{VISIBLE} is set but empty, which hides every GPU");
        return Ok(Finding::warn(message).remedy(CORRECT_VISIBLE));
    }
    let s = if own.len() == 1 { "" } else { "s" };
    Ok(Finding::ok(format!("{} setting{s}", own.len())))
}

/// A clone without .env, which may be all right.
fn without_env(facts: &Facts, example: Option<&Names>) -> Finding {
    let names: Vec<_> = example.into_iter().flatten().map(|(name, _)| &**name).collect();
    let finding = if facts.project().is_err_and(|error| error.kind == Kind::EnvFileMissing) {
        Finding::fail("missing, and the compose file needs it")
    } else if names.is_empty() {
        return Finding::ok("none, and none is needed");
    } else {
        Finding::warn(format!("missing; .env.example sets {}", names.join(", ")))
    };
    finding.remedy(if example.is_some() { COPY_EXAMPLE } else { WRITE_ENV })
}

pub fn compose_file(facts: &Facts) -> Judgement {
    let project = facts.project().map_err(Trouble::fault)?;
    Ok(Finding::ok(format!("project `{}` has `{SERVICE}`", project.name)))
}

/// Step1X-3D's own sources, without which the service runs but generates nothing.
pub fn sources(facts: &Facts) -> Judgement {
    if sources::present(&facts.root) {
        return Ok(Finding::ok(format!("in {}", sources::PATH)));
    }
    if !sources::missing(&facts.root) {
        return Ok(Finding::skipped("this clone names no place to fetch them from"));
    }
    let message = "the sources are missing: the service runs, but generates nothing";
    Ok(Finding { fix: Some(FETCH), ..Finding::warn(message).remedy(FETCH_SOURCES) })
}

pub fn requirements(facts: &Facts) -> Judgement {
    let pins = facts.pins().map_err(Trouble::fault)?;
    Ok(match pins.get("torch") {
        Some(pin) => Finding::ok(format!("torch {pin}, {} pins in all", pins.len())),
        None => Finding::warn(format!("{PATH} pins no torch")).remedy(PIN_TORCH),
    })
}

/// Whether the service can publish its port, if it does not already.
pub fn port(facts: &Facts) -> Judgement {
    let (project, container) = (facts.project()?, facts.container()?);
    if project.ports.is_empty() {
        return Ok(Finding::skipped("the service publishes none"));
    }
    let ports = project.ports.join(", ");
    if preflight::to_publish(project, container).next().is_none() {
        return Ok(Finding::ok(format!("{ports}, held by our container")));
    }
    if facts.some_image()?.is_none() {
        return Ok(Finding::skipped("the engine has no image to try it with"));
    }
    let Some((address, trouble)) = facts.port()? else {
        return Ok(Finding::ok(format!("{ports} is free")));
    };
    if trouble.remedy.is_empty() {
        return Err(trouble.clone());
    }
    let finding = Finding::from(trouble.clone().fault()).found(address);
    if trouble.kind != Kind::PortTaken {
        return Ok(finding);
    }
    let number = address.rsplit(':').next().unwrap_or_default();
    let holder = format!("docker ps --filter publish={number}   # whether a container holds it");
    let text = "End what holds it, or name a free port by BACKEND_PORT in .env.";
    Ok(finding.remedy(by_hand(text, &[&holder, "cargo xtask up"])))
}

/// Free disk where the engine stores images. Too little is a fault only if a full
/// build is due.
pub fn disk(facts: &Facts) -> Judgement {
    let Some(free) = facts.machine()?.and_then(|machine| machine.free) else {
        return Ok(Finding::skipped("no image or container to look with"));
    };
    let found = format!("{} free on the engine's machine", ui::size(free));
    let finding = match facts.image() {
        _ if free >= BUILD => Finding::ok(found),
        Ok(None) => Finding::measured(Status::Fail, found).remedy(FREE_DISK),
        _ => Finding::measured(Status::Warn, found).remedy(FREE_DISK),
    };
    let builder = facts.builder().ok().filter(|builder| builder.driver == "docker");
    let keeps = builder.and_then(|builder| builder.keeps.as_ref());
    let limit =
        keeps.map(|size| format!("BuildKit keeps up to {size} of build cache; {SET_LIMIT}"));
    Ok(finding.expected(format!("{} for a full build", ui::size(BUILD))).evidence(limit))
}

pub fn memory(facts: &Facts) -> Judgement {
    let memory = facts.engine()?.memory;
    let found = format!("{} on the engine's machine", ui::size(memory));
    let finding = match memory {
        0 => return Ok(Finding::skipped("the engine does not say")),
        MEMORY.. => Finding::ok(found),
        _ => Finding::measured(Status::Warn, found).remedy(MORE_MEMORY),
    };
    Ok(finding.expected(format!("{} or more", ui::size(MEMORY))))
}

#[cfg(test)]
#[path = "../../../tests/unit/project_checks.rs"]
mod tests;
