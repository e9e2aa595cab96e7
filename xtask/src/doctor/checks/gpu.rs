//! The GPU from outside the container: the card, its driver, and whether the engine
//! hands it out to a service that asks. [`super::cuda`] continues inside.

use super::recreate::fixed_by_a_new_container;
use crate::deploy::device::{CPU_FILE, Device, SETTING};
use crate::docker::SERVICE;
use crate::doctor::finding::{by_command, by_hand};
use crate::doctor::{Facts, Finding, Judgement, Trouble};
use crate::error::Failure;

pub const NVIDIA_SMI: &str = "nvidia-smi   # on the engine's machine";
pub const RESTART: &str = "cargo xtask restart   # afterwards";

remedies! {
    BUILD_IMAGE = by_command("Build the service's image.", &["cargo xtask up"]);
    OTHER_ENGINE = by_command("Choose an engine that has one, or do without: no --require-gpu, and no XTASK_DEVICE=gpu.",
        &["docker context ls   # which engine is meant"]);
    INSTALL_DRIVER = by_hand("Install it there, and reboot; or do without the card: XTASK_DEVICE=cpu.", &[NVIDIA_SMI]);
    pub UPGRADE_DRIVER = by_hand("Upgrade the NVIDIA driver of the engine's machine, and reboot it.", &[NVIDIA_SMI]);
    WITHOUT_CPU_FILE = by_hand("Take that file out of COMPOSE_FILE, in the environment or in .env.", &[RESTART]);
    RECREATE = by_command("Recreate it.", &["cargo xtask restart"]);
    REQUEST = by_hand("\
Ask for it under the service in docker-compose.yml:
deploy:
  resources:
    reservations:
      devices:
        - driver: nvidia
          count: all
          capabilities: [gpu]", &[RESTART]);
}

pub fn card(facts: &Facts) -> Judgement {
    let note = Some("without an NVIDIA GPU no 3D models are generated; all else works");
    let requested = facts.requested().ok().flatten();
    if requested.is_some_and(|device| device.is_cpu()) && !facts.require_gpu {
        return Ok(Finding { note, ..Finding::absent(format!("{SETTING}=cpu")) });
    }
    let required = facts.require_gpu || requested == Some(&Device::Gpu);
    Ok(match facts.card()? {
        Some(true) => Finding::ok("on the engine's machine"),
        None if required => {
            Finding::fail("the engine has no image to look for a card with").remedy(BUILD_IMAGE)
        }
        None => Finding::absent("no image to look with"),
        Some(false) if required => {
            Finding::fail("no NVIDIA card on the engine's machine").remedy(OTHER_ENGINE)
        }
        Some(false) => Finding { note, ..Finding::absent("no NVIDIA card") },
    })
}

/// The kernel module: loaded, of one version with its libraries, new enough.
pub fn driver(facts: &Facts) -> Judgement {
    // Other errors of nvidia-smi in a container are not the driver's.
    let smi = facts.inside().ok().and_then(|report| report.driver.smi());
    let smi = smi.filter(|text| text.to_lowercase().contains("version mismatch"));
    for text in smi.iter().chain(facts.refusal().ok().flatten()) {
        if let Some(failure) = Failure::of_driver(text) {
            return Ok(of_failure(failure, text));
        }
    }
    let Some(loaded) = facts.machine()?.and_then(|machine| machine.driver.as_ref()) else {
        if facts.engine().is_ok_and(|engine| engine.is_wsl()) {
            return Ok(Finding::ok("that of Windows (WSL2)"));
        }
        let message = "no NVIDIA driver is loaded on the engine's machine";
        return Ok(Finding::fail(message).remedy(INSTALL_DRIVER));
    };
    if let Some((cuda, major)) = torchs_cuda(facts)
        && let Some(oldest) = oldest_driver(major)
        && version(loaded) < version(oldest)
    {
        return Ok(Finding::fail(format!("{loaded} is too old for torch's CUDA {cuda}"))
            .found(loaded)
            .expected(format!("{oldest} or newer"))
            .remedy(UPGRADE_DRIVER));
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
    let oldest = [(11, "450.80.02"), (12, "525.60.13"), (13, "580.65.06")];
    oldest.into_iter().find(|(major, _)| *major == cuda_major).map(|(_, driver)| driver)
}

/// The numbers of a version such as `550.54.14`; none where a part is no number.
fn version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// A known failure in the user's words, with the original text as evidence.
fn of_failure(failure: Failure, text: &str) -> Finding {
    let finding = Finding::from(Trouble::from(failure).fault());
    finding.evidence(text.trim().lines().map(str::to_owned))
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
            return Ok(Finding::fail(message).remedy(WITHOUT_CPU_FILE));
        }
        return Ok(Finding::fail(format!("`{SERVICE}` does not ask for a GPU")).remedy(REQUEST));
    };
    if container.is_some_and(|container| !container.has_gpus()) {
        let message = "the container was created without the GPU that the compose file asks for";
        return Ok(fixed_by_a_new_container(Finding::fail(message).remedy(RECREATE), facts));
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
