//! What the GPU does for torch: a real kernel, and the memory for a model.

use super::{cuda::cut_short, python};
use crate::doctor::{Facts, Finding, Status};
use crate::python::report::Torch;
use crate::ui::report;

/// Bytes of GPU memory that Step1X-3D needs (its README: 27 to 29 GB).
const NEEDED: u64 = 27_000_000_000;

/// Whether torch was compiled for the GPU: machine code for the same major
/// version and a minor one no newer, or PTX that the driver can compile further.
fn compiled_for(archs: &[String], (major, minor): (u64, u64)) -> bool {
    archs.iter().any(|arch| {
        let (kind, number) = arch.split_once('_').unwrap_or_default();
        let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        let Ok(number_is) = digits.parse::<u64>() else { return false };
        let is = (number_is / 10, number_is % 10);
        match kind {
            // `sm_90a` runs on exactly that.
            "sm" if digits.len() < number.len() => is == (major, minor),
            "sm" => is.0 == major && is.1 <= minor,
            "compute" => is <= (major, minor),
            _ => false,
        }
    })
}

pub fn arch(facts: &Facts) -> Finding {
    let torch = match python::known(facts) {
        Ok((_, torch)) => torch,
        Err(finding) => return *finding,
    };
    let spelled = |(major, minor): &(u64, u64)| format!("{major}.{minor}");
    let has = torch.capabilities.iter().map(spelled).collect::<Vec<_>>().join(", ");
    let lacking = torch.capabilities.iter().find(|gpu| !compiled_for(&torch.archs, **gpu));
    match lacking {
        _ if torch.archs.is_empty() => {
            Finding::new(Status::Error, "torch does not say what it was compiled for")
        }
        None => Finding::ok(has),
        Some(gpu) => not_compiled(torch, &spelled(gpu)),
    }
    .evidence([torch.archs.join(" ")])
}

fn not_compiled(torch: &Torch, capability: &str) -> Finding {
    Finding::fail(format!("torch {} has no code for this GPU ({capability})", torch.version))
        .found(capability)
        .expected(torch.archs.join(" "))
        .remedy(
            "A newer GPU needs a newer torch: Blackwell (10.0, 12.0) torch 2.7 with CUDA 12.8. \
             Nothing within the pinned version helps; take another GPU, or raise the pin.",
            &["cargo xtask full   # after raising the pin"],
        )
}

/// A kernel that ran, and gave what the CPU gives.
pub fn kernel(facts: &Facts) -> Finding {
    let (report, torch) = match python::known(facts) {
        Ok(known) => known,
        Err(finding) => return *finding,
    };
    match torch.kernel.as_deref() {
        None => cut_short(report),
        Some("ok") => Finding::ok("a matrix product, as the CPU has it"),
        Some(why) if why.contains("out of memory") => Finding::warn("the GPU's memory is full")
            .evidence([why.to_owned()])
            .remedy("See who holds it.", &["nvidia-smi   # on the engine's machine"]),
        Some(why) if why.contains("no kernel image is available") => {
            not_compiled(torch, "see nvidia-smi")
        }
        Some(why) => Finding::fail(format!(
            "the GPU does not compute: {}",
            why.lines().next().unwrap_or_default()
        ))
        .evidence(why.lines().map(str::to_owned))
        .remedy(
            "See what the kernel says, and reboot.",
            &["sudo dmesg | grep -i nvrm   # on the engine's machine"],
        ),
    }
}

/// Total and free memory of the GPU against what Step1X-3D needs.
pub fn memory(facts: &Facts) -> Finding {
    let (report, torch) = match python::known(facts) {
        Ok(known) => known,
        Err(finding) => return *finding,
    };
    let Some((free, total)) = torch.memory else { return cut_short(report) };
    let found = format!("{} of {} free", report::size(free), report::size(total));
    let finding = if total < NEEDED {
        Finding::warn(format!("{found}: too little for Step1X-3D")).remedy(
            "It needs a card with 27 to 29 GB.",
            &["nvidia-smi   # on the engine's machine"],
        )
    } else if free < NEEDED && facts.health().is_ok_and(|answer| answer.is_ready()) {
        Finding::ok(format!("{found}; the service's own model is loaded"))
    } else if free < NEEDED {
        let holders = facts.inside().map_or(Vec::new(), |inside| inside.driver.holders.clone());
        let by =
            if holders.is_empty() { String::new() } else { format!(" by {}", holders.join("; ")) };
        Finding::warn(format!("{found}, the rest is held{by}")).remedy(
            "See who holds it: Step1X-3D needs 27 to 29 GB.",
            &["nvidia-smi   # on the engine's machine"],
        )
    } else {
        Finding::ok(&found)
    };
    finding.found(found).expected("27 to 29 GB free")
}

/// Shared memory of the service's own container; a throw-away one has another.
pub fn shm(facts: &Facts) -> Finding {
    match (facts.lasting(), facts.inside().map(|report| report.driver.shm)) {
        (Ok(Some(_)), Ok(Some(bytes))) => {
            let found = report::size(bytes);
            // Docker's default is 64 MiB.
            if bytes > 64 << 20 {
                return Finding::ok(found);
            }
            // Decimal elsewhere, it would read like more than it is.
            let found = match bytes {
                0x400_0000 => "64 MB (Docker's default)".to_owned(),
                _ => found,
            };
            Finding::warn(format!("{found}: data-loader workers end with a bus error"))
                .found(found)
                .expected("more than 64 MB")
                .remedy(
                    "Write `shm_size: 2gb` under the service in docker-compose.yml.",
                    &["cargo xtask restart   # afterwards"],
                )
        }
        (Err(trouble), _) | (_, Err(trouble)) => Finding::unknown(&trouble),
        _ => Finding::skipped("no container runs"),
    }
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
