//! The service's image, its container, and whether it answers.

use serde_json::Value;

use crate::deploy::decide;
use crate::deploy::device::Device;
use crate::deploy::situation::{ContainerState, ImageState};
use crate::doctor::facts::Service;
use crate::doctor::finding::{by_command, by_hand};
use crate::doctor::{Facts, Finding, Judgement, Status, Trouble};
use crate::python::exit_meaning;
use crate::ui;

const LOGS: &str = "docker compose logs --tail 50 backend";

remedies! {
    BUILD = by_command("Build it; the first time takes several minutes.", &["cargo xtask up"]);
    GPU_ACCESS = by_command("See GPU access below.", &["cargo xtask doctor gpu"]);
    // A mere restart may bring old sources back.
    START = by_command("", &["cargo xtask up", LOGS]);
    WAIT = by_command("Wait until it answers.", &["cargo xtask up"]);
    RECREATE = by_command("Recreate it from the current image and settings.", &["cargo xtask restart"]);
    CRASHED = by_command("See why it ended.", &[LOGS]);
    NO_ANSWER = by_command("See what the service listens on, and whether a firewall is in between.", &[LOGS]);
}

pub fn image(facts: &Facts) -> Judgement {
    let not_built = || Ok(Finding::fail("not built yet").remedy(BUILD));
    // Known before all else that is asked about the service.
    if facts.image() == Ok(None) && facts.project().is_ok_and(|project| project.build.is_some()) {
        return not_built();
    }
    let service = facts.service().map_err(Trouble::fault)?;
    let situation = &service.situation;
    if situation.image == ImageState::Missing {
        return not_built();
    }
    let age = service.image.as_ref().and_then(|image| ui::age(&image.created)).unwrap_or_default();
    let found = format!("{age} old");
    let finding = match decide::image_reason(situation) {
        Some(needed) => {
            let command = format!("cargo xtask {}", needed.action.word());
            Finding::warn(format!("{found}, and {}", needed.reasons.join("; ")))
                .found(found)
                .remedy(by_command("Put the current sources into it.", &[&command]))
        }
        None if situation.image == ImageState::Pulled => {
            Finding::ok(format!("{found}, pulled rather than built"))
        }
        None => Finding::ok(format!("{found}, from the current sources")),
    };
    let id = service.image.as_ref().map(|image| ui::short_id(&image.id));
    Ok(finding.evidence(id.map(|id| format!("{} {id}", situation.image_name))))
}

pub fn container(facts: &Facts) -> Judgement {
    let Service { situation, container, .. } = facts.service()?;
    let restarts = container.as_ref().map_or(0, |container| container.restart_count);
    let restarted =
        if restarts > 0 { format!(", restarted {restarts} times") } else { String::new() };
    // Asked for only where something is wrong.
    let with_logs = |finding: Finding| {
        let text = facts.logs().map(String::as_str).unwrap_or_default();
        finding.evidence(text.lines().map(|line| format!("log: {line}")))
    };
    let finding = match (&situation.container, decide::container_reason(situation)) {
        // That the engine refuses the GPU is a fault of its own, in a later check.
        (state, _) if state.is_down() && gpu_refused(facts) => {
            Finding::warn("it cannot be started, since the engine refuses the GPU it asks for")
                .remedy(GPU_ACCESS)
        }
        (ContainerState::Starting, _) => Finding::warn("starting").remedy(WAIT),
        (ContainerState::Serving, Some(reason)) => Finding::warn(reason).remedy(RECREATE),
        (state, Some(reason)) => {
            let meaning = state.exit_code().and_then(exit_meaning);
            let meaning = meaning.map(|meaning| format!(": {meaning}")).unwrap_or_default();
            let finding = Finding::fail(format!("{reason}{meaning}{restarted}"));
            with_logs(finding.expected("running and healthy").remedy(START))
        }
        (_, None) if restarts > 0 => {
            with_logs(Finding::warn(format!("healthy, but it crashed{restarted}")).remedy(CRASHED))
        }
        (_, None) if container.as_ref().is_some_and(|c| c.health().is_none()) => {
            Finding::ok("running; it has no healthcheck")
        }
        (_, None) => Finding::ok("running and healthy"),
    };
    Ok(finding.evidence(container.as_ref().map(|c| {
        format!("{} {}, {}, restarts: {restarts}", c.name(), ui::short_id(&c.id), c.state.status)
    })))
}

/// Whether the service is to run on a GPU that the engine refuses.
fn gpu_refused(facts: &Facts) -> bool {
    let wanted = facts.card() == Ok(Some(true)) || facts.device() == Ok(&Device::Gpu);
    wanted && matches!(facts.refusal(), Ok(Some(_)))
}

/// The published port from this machine; the healthcheck inside does not prove it.
pub fn health(facts: &Facts) -> Judgement {
    if facts.container()?.is_none_or(|container| container.addresses().is_empty()) {
        return Ok(Finding::skipped("the service publishes no port"));
    }
    if facts.service().is_ok_and(|s| s.situation.container == ContainerState::Starting) {
        return Ok(Finding::skipped("the service is starting"));
    }
    let answer = match facts.health() {
        Ok(answer) => answer,
        // A port that is bound to the other machine alone is no fault.
        Err(trouble) if facts.engine_is_remote() => return Err(trouble),
        Err(trouble) => {
            let finding = Finding::fail("nothing answers on the published port");
            return Ok(finding.evidence([trouble.message]).remedy(NO_ANSWER));
        }
    };
    // The service may report more; only these fields are known here.
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or_default();
    let suffix = if model.is_empty() { String::new() } else { format!(", model: {model}") };
    let found = format!("{} on {}{suffix}", answer.status, answer.address);
    let advice = body["advice"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let advice = advice.collect::<Vec<_>>().join("\n");
    let finding = match answer.status {
        200 if advice.is_empty() && !model.starts_with("failed") => Finding::ok(found),
        200 if !model.starts_with("failed") => {
            Finding::measured(Status::Warn, found).remedy(by_hand(&advice, &[]))
        }
        code => {
            let status = if code == 200 { Status::Warn } else { Status::Fail };
            Finding::measured(status, found).remedy(by_command(&advice, &[LOGS]))
        }
    };
    let field = |key: &str| body[key].as_str().map(|value| format!("{key}: {value}"));
    Ok(finding.expected("200").evidence(["model", "device", "torch"].into_iter().filter_map(field)))
}

#[cfg(test)]
#[path = "../../../tests/unit/service_checks.rs"]
mod tests;
