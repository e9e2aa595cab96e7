//! What the GPU does for torch: a real kernel, and the memory for a model.

use super::cuda::{DMESG, NVIDIA_SMI, RESTART, cut_short};
use super::python::imported;
use crate::doctor::finding::{by_command, by_hand};
use crate::doctor::{Facts, Finding, Judgement};
use crate::python::Torch;
use crate::ui;

/// Bytes of GPU memory that Step1X-3D needs (its README: 27 to 29 GB).
const NEEDED: u64 = 27_000_000_000;

/// Docker's default size of /dev/shm, 64 MiB.
const DEFAULT_SHM: u64 = 64 << 20;

remedies! {
    NEWER_TORCH = by_hand("A newer GPU needs a newer torch: Blackwell (10.0, 12.0) torch 2.7 with CUDA 12.8. Nothing within the pinned version helps; take another GPU, or raise the pin.", &["cargo xtask full   # after raising the pin"]);
    HOLDER = by_command("See which process holds it: Step1X-3D needs 27 to 29 GB.", &[NVIDIA_SMI]);
    REBOOT = by_command("See what the kernel says, and reboot.", &[DMESG]);
    LARGER_CARD = by_hand("It needs a card with 27 to 29 GB.", &[NVIDIA_SMI]);
    SHM_SIZE = by_hand("Write `shm_size: 2gb` under the service in docker-compose.yml.", &[RESTART]);
}

/// Whether torch was compiled for the GPU: machine code for the same major version
/// and a minor one no newer, or PTX that the driver can compile further.
fn compiled_for(archs: &[String], gpu: (u64, u64)) -> bool {
    archs.iter().any(|arch| {
        let (kind, number) = arch.split_once('_').unwrap_or_default();
        let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        let Ok(version) = digits.parse::<u64>() else { return false };
        let compiled = (version / 10, version % 10);
        match kind {
            // `sm_90a` runs on exactly that.
            "sm" if digits.len() < number.len() => compiled == gpu,
            "sm" => compiled.0 == gpu.0 && compiled.1 <= gpu.1,
            "compute" => compiled <= gpu,
            _ => false,
        }
    })
}

pub fn arch(facts: &Facts) -> Judgement {
    let (_, torch) = imported(facts)?;
    if torch.archs.is_empty() {
        return Err("torch does not say what it was compiled for".into());
    }
    let spelled = |(major, minor): &(u64, u64)| format!("{major}.{minor}");
    let lacking = torch.capabilities.iter().find(|gpu| !compiled_for(&torch.archs, **gpu));
    let finding = match lacking {
        Some(gpu) => not_compiled(torch, &spelled(gpu)),
        None => Finding::ok(torch.capabilities.iter().map(spelled).collect::<Vec<_>>().join(", ")),
    };
    Ok(finding.evidence([torch.archs.join(" ")]))
}

fn not_compiled(torch: &Torch, capability: &str) -> Finding {
    Finding::fail(format!("torch {} has no code for this GPU ({capability})", torch.version))
        .found(capability)
        .expected(torch.archs.join(" "))
        .remedy(NEWER_TORCH)
}

/// A kernel that ran, and gave the same result as the CPU.
pub fn kernel(facts: &Facts) -> Judgement {
    let (report, torch) = imported(facts)?;
    let why = torch.kernel.as_deref().ok_or_else(|| cut_short(report))?;
    let finding = match why.lines().next().unwrap_or_default() {
        "ok" => return Ok(Finding::ok("a matrix product, as the CPU has it")),
        _ if why.contains("no kernel image is available") => not_compiled(torch, "see nvidia-smi"),
        _ if why.contains("out of memory") => {
            Finding::warn("the GPU's memory is full").remedy(HOLDER)
        }
        first => Finding::fail(format!("the GPU does not compute: {first}")).remedy(REBOOT),
    };
    Ok(finding.evidence(why.lines().map(str::to_owned)))
}

/// Total and free memory of the GPU against what Step1X-3D needs.
pub fn memory(facts: &Facts) -> Judgement {
    let (report, torch) = imported(facts)?;
    let (free, total) = torch.memory.ok_or_else(|| cut_short(report))?;
    let found = format!("{} of {} free", ui::size(free), ui::size(total));
    let finding = if total < NEEDED {
        Finding::warn(format!("{found}: too little for Step1X-3D")).remedy(LARGER_CARD)
    } else if free >= NEEDED {
        Finding::ok(&found)
    } else if facts.health().is_ok_and(|answer| answer.is_ready()) {
        Finding::ok(format!("{found}; the service's own model is loaded"))
    } else {
        let holders = facts.inside().ok().and_then(|inside| inside.driver.holders());
        let by = holders.map(|holders| format!(" by {holders}")).unwrap_or_default();
        Finding::warn(format!("{found}, the rest is held{by}")).remedy(HOLDER)
    };
    Ok(finding.found(found).expected("27 to 29 GB free"))
}

/// Shared memory of the service's own container; a temporary one has another size.
pub fn shm(facts: &Facts) -> Judgement {
    let (Some(_), Some(bytes)) = (facts.lasting()?, facts.inside()?.driver.shm) else {
        return Ok(Finding::skipped("no container runs"));
    };
    let found = match bytes {
        // In decimal it would read like more.
        DEFAULT_SHM => "64 MB (Docker's default)".to_owned(),
        _ => ui::size(bytes),
    };
    if bytes > DEFAULT_SHM {
        return Ok(Finding::ok(found));
    }
    Ok(Finding::warn(format!("{found}: data-loader workers end with a bus error"))
        .found(found)
        .expected("more than 64 MB")
        .remedy(SHM_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_compiled_for_a_gpu_or_can_be() {
        let archs = |list: &str| list.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (list, gpu, want) in [
            ("sm_80 sm_86 sm_90", (8, 9), true),
            ("sm_80 sm_86 sm_90", (9, 0), true),
            ("sm_80 sm_86 sm_90", (10, 0), false),
            ("sm_80 sm_86 sm_90", (12, 0), false),
            ("sm_86", (8, 0), false),
            ("sm_80 compute_80", (12, 0), true),
            ("compute_90", (8, 0), false),
            ("sm_90a", (9, 0), true),
            ("sm_100a", (10, 1), false),
            ("sm_120", (12, 1), true),
            ("nonsense", (9, 0), false),
        ] {
            assert_eq!(compiled_for(&archs(list), gpu), want, "{list} {gpu:?}");
        }
    }
}
