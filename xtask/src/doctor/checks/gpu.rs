//! The GPU from outside the container: the card, its driver, and whether the engine
//! hands it out to a service that asks. [`super::cuda`] continues inside.

use super::cuda::{RESTART, fixed_by_a_new_container};
use crate::deploy::device::{CPU_FILE, Device, SETTING};
use crate::docker::SERVICE;
use crate::doctor::{Facts, Finding, Judgement};
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

pub fn card(facts: &Facts) -> Judgement {
    let note = |finding| Finding {
        note: Some("without an NVIDIA GPU no 3D models are generated; all else works"),
        ..finding
    };
    let requested = facts.requested().ok().flatten();
    if requested.is_some_and(|device| device.is_cpu()) && !facts.require_gpu {
        return Ok(note(Finding::absent(format!("{SETTING}=cpu"))));
    }
    let required = facts.require_gpu || requested == Some(&Device::Gpu);
    Ok(match facts.card()? {
        Some(true) => Finding::ok("on the engine's machine"),
        None if required => Finding::fail("the engine has no image to look for a card with")
            .remedy("Build the service's.", &["cargo xtask up"]),
        None => Finding::absent("no image to look with"),
        Some(false) if required => {
            Finding::fail("no NVIDIA card on the engine's machine").remedy(
                &format!("Choose an engine that has one, or do without: no --require-gpu, and no {SETTING}=gpu."),
                &["docker context ls   # which engine is meant"],
            )
        }
        Some(false) => note(Finding::absent("no NVIDIA card")),
    })
}

/// The kernel module: loaded, of one version with its libraries, new enough.
pub fn driver(facts: &Facts) -> Judgement {
    let loaded = facts.machine()?.and_then(|machine| machine.driver.as_ref());
    // Other errors of nvidia-smi in a container are not the driver's.
    let smi = facts.inside().ok().and_then(|report| report.driver.smi());
    let smi = smi.filter(|text| text.to_lowercase().contains("version mismatch"));
    for text in smi.iter().chain(facts.refusal().ok().flatten()) {
        if let Some(failure) = Failure::of_driver(text) {
            return Ok(of_failure(failure, text));
        }
    }
    let Some(loaded) = loaded else {
        if facts.engine().is_ok_and(|engine| engine.is_wsl()) {
            return Ok(Finding::ok("that of Windows (WSL2)"));
        }
        return Ok(Finding::fail("no NVIDIA driver is loaded on the engine's machine").by_hand(
            &format!("Install it there, and reboot; or do without the card: {SETTING}=cpu."),
            &["nvidia-smi   # on the engine's machine, whether it works"],
        ));
    };
    if let Some((cuda, major)) = torchs_cuda(facts)
        && let Some(oldest) = oldest_driver(major)
        && version(loaded) < version(oldest)
    {
        let finding = Finding::fail(format!("{loaded} is too old for torch's CUDA {cuda}"));
        return Ok(upgrade(finding.found(loaded).expected(format!("{oldest} or newer"))));
    }
    Ok(Finding::ok(loaded))
}

/// The CUDA version that torch is built for, and its major number.
pub fn torchs_cuda(facts: &Facts) -> Option<(String, u64)> {
    let cuda = facts.torch().ok()?.torch.as_ref().ok()?.cuda.clone()?;
    let major = cuda.split('.').next()?.parse().ok()?;
    Some((cuda, major))
}

/// The oldest driver that runs programs built for any CUDA of this major version
/// (NVIDIA's "CUDA Compatibility" and the release notes of the CUDA toolkit).
fn oldest_driver(cuda_major: u64) -> Option<&'static str> {
    match cuda_major {
        11 => Some("450.80.02"),
        12 => Some("525.60.13"),
        13 => Some("580.65.06"),
        _ => None,
    }
}

/// The numbers of a version such as `550.54.14`; none where a part is no number.
fn version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

pub fn upgrade(finding: Finding) -> Finding {
    finding.by_hand(
        "Upgrade the NVIDIA driver of the engine's machine, and reboot it.",
        &["nvidia-smi   # on the engine's machine, afterwards"],
    )
}

/// A known failure in the user's words, with the original text as evidence.
fn of_failure(failure: Failure, text: &str) -> Finding {
    Finding::fault(failure.into()).evidence(text.trim().lines().map(str::to_owned))
}

pub fn engine(facts: &Facts) -> Judgement {
    Ok(match facts.refusal()? {
        None => Finding::ok("the engine hands out the GPUs"),
        Some(text) => of_failure(Failure::of_command("docker run", 125, text), text),
    })
}

/// Whether the service, and its container, ask for a GPU.
pub fn request(facts: &Facts) -> Judgement {
    let (project, container) = (facts.project()?, facts.container()?);
    let Some(gpus) = &project.gpus else {
        if facts.docker().is_ok_and(|docker| docker.names(CPU_FILE)) {
            let message = format!("COMPOSE_FILE names {CPU_FILE}, which takes the GPU away");
            let text = "Take that file out of COMPOSE_FILE, in the environment or in .env.";
            return Ok(Finding::fail(message).by_hand(text, &[RESTART]));
        }
        let message = format!("`{SERVICE}` does not ask for a GPU");
        return Ok(Finding::fail(message).by_hand(REQUEST, &[RESTART]));
    };
    if container.is_some_and(|container| !container.has_gpus()) {
        let message = "the container was created without the GPU that the compose file asks for";
        let finding = Finding::fail(message).remedy("Recreate it.", &["cargo xtask restart"]);
        return Ok(fixed_by_a_new_container(finding, facts));
    }
    Ok(Finding::ok(format!("asks for {gpus}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("525.125.06") > version("525.60.13"));
        assert!(version("525.60") < version("525.60.13"));
        assert_eq!((version("x"), version("")), (None, None));
    }

    #[test]
    fn every_cuda_has_its_oldest_driver() {
        let known = [10, 11, 12, 13, 14].map(oldest_driver);
        let want = [None, Some("450.80.02"), Some("525.60.13"), Some("580.65.06"), None];
        assert_eq!(known, want);
    }
}
