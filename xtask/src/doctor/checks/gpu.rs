//! The GPU from outside the container: the card, its driver, and whether the
//! engine hands it out to a service that asks. [`super::cuda`] goes on from there.

use super::{cuda::fixed_by_a_new_container, driver};
use crate::deploy::device::{Device, SETTING};
use crate::docker::{SERVICE, files};
use crate::doctor::{Facts, Finding, finding::Trouble};
use crate::error::Failure;

/// The part of a compose file that asks for a GPU.
const REQUEST: &str = "\
Ask for it under the service in docker-compose.yml:
deploy:
  resources:
    reservations:
      devices:
        - driver: nvidia
          count: all
          capabilities: [gpu]";

pub fn card(facts: &Facts) -> Finding {
    let required = facts.require_gpu || matches!(facts.forced(), Ok(Some(Device::Gpu)));
    let note = |finding| Finding {
        note: Some("without an NVIDIA GPU no 3D models are generated; all else works"),
        ..finding
    };
    match (facts.forced(), facts.card()) {
        (Ok(Some(Device::Cpu(_))), _) if !facts.require_gpu => {
            note(Finding::absent(format!("{SETTING}=cpu")))
        }
        (_, Err(trouble)) => Finding::unknown(&trouble),
        (_, Ok(Some(true))) => Finding::ok("on the engine's machine"),
        (_, Ok(None)) if required => Finding::fail("no image is at hand to look for a card with")
            .remedy("Build the service's.", &["cargo xtask up"]),
        (_, Ok(None)) => Finding::absent("no image is at hand to look with"),
        (_, Ok(Some(false))) if required => {
            Finding::fail("no NVIDIA card on the engine's machine").remedy(
                &format!("Choose an engine that has one, or do without: no --require-gpu, and no {SETTING}=gpu."),
                &["docker context ls   # which engine is meant"],
            )
        }
        (_, Ok(Some(false))) => note(Finding::absent("no NVIDIA card")),
    }
}

/// The kernel module: loaded, of one version with its libraries, new enough.
pub fn driver(facts: &Facts) -> Finding {
    let machine = match facts.machine() {
        Ok(machine) => machine.cloned().unwrap_or_default(),
        Err(trouble) => return Finding::unknown(&trouble),
    };
    // nvidia-smi may have troubles of its own in a container, but not this one.
    let smi = facts.inside().ok().and_then(|report| report.driver.smi.clone());
    let smi = smi.filter(|text| text.to_lowercase().contains("version mismatch"));
    let said = [smi, facts.refusal().ok().flatten().cloned()];
    let blamed = said.iter().flatten().find_map(|text| Some((Failure::of_driver(text)?, text)));
    if let Some((failure, text)) = blamed {
        return of_failure(failure, text);
    }
    let is_wsl = facts.engine().is_ok_and(|engine| engine.is_wsl);
    let Some(there) = machine.driver else {
        return if is_wsl {
            Finding::ok("that of Windows (WSL2)")
        } else {
            Finding::fail("no NVIDIA driver is loaded on the engine's machine").remedy(
                &format!("Install it there, and reboot; or do without the card: {SETTING}=cpu."),
                &["nvidia-smi   # on the engine's machine, whether it works"],
            )
        };
    };
    let upgrade = |finding: Finding| {
        finding.found(&there).remedy(
            "Upgrade the NVIDIA driver of the engine's machine, and reboot it.",
            &["nvidia-smi   # on the engine's machine, afterwards"],
        )
    };
    let have = driver::version(&there).unwrap_or_default();
    let required = facts.image().ok().flatten().and_then(|image| {
        let disabled =
            image.env("NVIDIA_DISABLE_REQUIRE").is_some_and(|v| ["1", "true"].contains(&v));
        image.env("NVIDIA_REQUIRE_CUDA").filter(|_| !disabled)
    });
    if let Some(required) = required.filter(|required| !driver::meets(required, &have)) {
        return upgrade(
            Finding::fail(format!("{there} is older than the image demands")).expected(required),
        );
    }
    let cuda = facts.torch().ok().and_then(|report| report.torch.as_ref().ok()?.cuda.clone());
    let major = cuda.as_deref().and_then(|cuda| cuda.split('.').next()?.parse().ok());
    match major.and_then(driver::oldest) {
        Some(oldest) if Some(&have) < driver::version(oldest).as_ref() => upgrade(
            Finding::fail(format!(
                "{there} is too old for torch's CUDA {}",
                cuda.unwrap_or_default()
            ))
            .expected(format!("{oldest} or newer")),
        ),
        _ => Finding::ok(&there),
    }
}

/// A known failure in the user's words, with what was said as evidence.
fn of_failure(failure: Failure, text: &str) -> Finding {
    let finding = Finding::of(&Trouble::from(anyhow::Error::from(failure)));
    finding.evidence(text.trim().lines().map(str::to_owned))
}

pub fn engine(facts: &Facts) -> Finding {
    match facts.refusal() {
        Err(trouble) => Finding::unknown(&trouble),
        Ok(None) => Finding::ok("the engine hands out the GPUs"),
        Ok(Some(text)) => of_failure(Failure::of_command("docker run", 125, text), text),
    }
}

/// Whether the service, and its container, ask for a GPU.
pub fn request(facts: &Facts) -> Finding {
    let (project, container) = match (facts.project(), facts.container()) {
        (Ok(project), Ok(container)) => (project, container),
        (Err(trouble), _) | (_, Err(trouble)) => return Finding::unknown(&trouble),
    };
    match (&project.gpus, container) {
        (None, _) if facts.docker().is_ok_and(|docker| docker.names_cpu_file()) => Finding::fail(
            format!("COMPOSE_FILE names {}, which takes the GPU away", files::CPU_FILE),
        )
        .remedy(
            "Take that file out of COMPOSE_FILE, in the environment or in .env.",
            &["cargo xtask restart   # afterwards"],
        ),
        (None, _) => Finding::fail(format!("`{SERVICE}` does not ask for a GPU"))
            .remedy(REQUEST, &["cargo xtask restart   # afterwards"]),
        (Some(_), Some(container)) if !container.has_gpus => {
            let says = "the container was created without the GPU that the compose file asks for";
            let finding = Finding::fail(says).remedy("Recreate it.", &["cargo xtask restart"]);
            fixed_by_a_new_container(finding, facts)
        }
        (Some(gpus), _) => Finding::ok(format!("asks for {gpus}")),
    }
}
