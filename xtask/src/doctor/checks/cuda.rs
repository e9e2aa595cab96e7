//! The GPU from inside the container: from the device nodes up to what torch sees, a
//! real kernel, and the memory for a model.

use super::gpu::{NVIDIA_SMI, RESTART, UPGRADE_DRIVER, torchs_cuda};
use super::python::imported;
use super::recreate::{DMESG, fixed_by_a_new_container};
use crate::doctor::finding::{Advice, by_command, by_hand};
use crate::doctor::{Facts, Finding, Judgement, Trouble};
use crate::error::{Kind, Remedy};
use crate::python::{Driver, Report, Torch};
use crate::ui;

pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// `restart` would not recreate a container that did not drift.
const FORCE_RECREATE: &str = "docker compose up --detach --no-build --force-recreate backend";

/// Bytes of GPU memory that Step1X-3D needs (its README: 27 to 29 GB).
const NEEDED: u64 = 27_000_000_000;

/// Docker's default size of /dev/shm, 64 MiB.
const DEFAULT_SHM: u64 = 64 << 20;

remedies! {
    RECREATE_FOR_GPU = by_command("Recreate it. After `systemctl daemon-reload` it happens again, unless the engine uses CDI, or native.cgroupdriver=cgroupfs.",
        &["cargo xtask doctor --fix"]);
    RECREATE = by_command("Recreate it.", &["cargo xtask doctor --fix"]);
    SEE_NODE_MODE = by_command("See its owner and mode on the engine's machine.", &["ls -l /dev/nvidia*"]);
    REFRESH_DRIVER_FILES = by_command("NVIDIA_DRIVER_CAPABILITIES, if set, must hold `compute`; a list of the driver's files (CDI) may be out of date.",
        &["sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", FORCE_RECREATE]);
    CORRECT_VISIBLE = by_hand("Remove it from .env and the compose file, or correct it: numbers from 0 on.", &[RESTART]);
    ASK_DRIVER = by_command("See what the driver says there.", &["docker compose exec backend nvidia-smi"]);
    RAISE_TORCH = by_hand("A newer GPU needs a newer torch: Blackwell (10.0, 12.0) torch 2.7 with CUDA 12.8. Nothing within the pinned version helps; take another GPU, or raise the pin.",
        &["cargo xtask full   # after raising the pin"]);
    FIND_PROCESS = by_command("See which process holds it: Step1X-3D needs 27 to 29 GB.", &[NVIDIA_SMI]);
    READ_KERNEL_LOG = by_command("See what the kernel says, and reboot.", &[DMESG]);
    USE_LARGER_CARD = by_hand("It needs a card with 27 to 29 GB.", &[NVIDIA_SMI]);
    RAISE_SHM_SIZE = by_hand("Write `shm_size: 2gb` under the service in docker-compose.yml.", &[RESTART]);
}

/// What an error of cuInit means (CUDA Driver API, `CUresult`), and what to do.
#[rustfmt::skip]
const CU_INIT: &[(u64, &str, Advice<'static>)] = &[
    (3, "the driver did not initialise", by_command("See what the kernel says.", &[DMESG])),
    (34, "the libcuda in the container is a stub for building",
     by_hand("Take the stubs directory out of LD_LIBRARY_PATH.", &["cargo xtask fast   # afterwards"])),
    (46, "the GPU is in use exclusively by another program",
     by_hand("End it, or take the GPU out of exclusive mode.", &[NVIDIA_SMI])),
    (100, "the driver sees no GPU",
     by_command("See whether the machine itself does, then recreate the container.", &["nvidia-smi -L   # on the engine's machine"])),
    (802, "the GPUs' fabric is not up",
     by_command("Start the fabric manager on the engine's machine.", &["sudo systemctl start nvidia-fabricmanager"])),
    (803, "libcuda and the driver are of different versions",
     by_command("Recreate the container; if the driver was upgraded, reboot first. An image with cuda-compat must not put it on the loader's path.",
        &[FORCE_RECREATE])),
    (804, "the image's cuda-compat does not work on this card",
     by_hand("Install driver 550 or newer, or take /usr/local/cuda/compat out of the loader's path: GeForce cards have no forward compatibility.",
        &["nvidia-smi   # on the engine's machine: the driver's version"])),
    (999, "CUDA does not start, whatever nvidia-smi says",
     by_command("Load the module that CUDA needs; if that does not help, install another version of nvidia-container-toolkit.",
        &["sudo modprobe nvidia_uvm   # on the engine's machine"])),
];

#[rustfmt::skip]
const UNKNOWN_ERROR: (u64, &str, Advice<'static>) =
    (0, "the driver refuses to start", by_hand("The link tells what the number means.", &[NVIDIA_SMI]));

/// The probe ended before it came to a layer.
fn cut_short(report: &Report) -> Trouble {
    let remedy = Remedy::new("A hanging or crashing driver needs a reboot.", &[DMESG]);
    Trouble { kind: Kind::Driver, remedy, ..Trouble::from(report.ending()) }
}

/// The device nodes, and whether the container may still open them.
pub fn nodes(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    let driver = &report.driver;
    let nodes = driver.nodes.as_ref().ok_or_else(|| cut_short(report))?;
    if driver.wsl {
        return Ok(Finding::ok("/dev/dxg (WSL2)"));
    }
    let listed = nodes.iter().map(|(path, how)| format!("{path}: {how}"));
    let nvml = driver.smi().filter(|smi| smi.contains("NVML: Unknown Error"));
    // Every program opens these two; which other nodes CUDA needs depends on the GPUs it uses.
    let needed = ["/dev/nvidiactl", "/dev/nvidia-uvm"].map(|path| nodes.get_key_value(path));
    let refused = needed.into_iter().flatten().find(|(_, how)| *how != "ok");
    let finding = if nvml.is_some() || nodes.values().any(|how| how == "EPERM") {
        let lost = Finding::fail("the container lost its GPU").remedy(RECREATE_FOR_GPU);
        fixed_by_a_new_container(lost, facts)
    } else if nodes.is_empty() {
        let message = "there is no /dev/nvidia* in the container, although it asks for a GPU";
        fixed_by_a_new_container(Finding::fail(message).remedy(RECREATE), facts)
    } else if let Some((path, how)) = refused {
        Finding::fail(format!("{path} cannot be opened: {how}")).remedy(SEE_NODE_MODE)
    } else {
        return Ok(Finding::ok(format!("{} in /dev", nodes.len())).evidence(listed));
    };
    Ok(finding.evidence(listed).evidence(driver.smi()))
}

pub fn libcuda(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    let why = report.driver.libcuda.as_ref().ok_or_else(|| cut_short(report))?;
    if why == "ok" {
        return Ok(Finding::ok("libcuda.so.1 loads"));
    }
    let finding = Finding::fail("libcuda.so.1 does not load in the container");
    Ok(finding.evidence([why.clone()]).remedy(REFRESH_DRIVER_FILES))
}

/// The driver's own answer, before torch is asked.
pub fn init(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    let driver = &report.driver;
    let version = driver.version.map(|v| format!("CUDA {}.{}", v / 1000, v % 1000 / 10));
    let version = version.unwrap_or_default();
    if let (Some(number), Some((_, major))) = (driver.version, torchs_cuda(facts))
        && number / 1000 < major
    {
        let message = format!("the driver is too old: it knows {version} at most");
        let expected = format!("CUDA {major}, which torch is built for");
        let finding = Finding::fail(message).found(version).expected(expected);
        return Ok(finding.remedy(UPGRADE_DRIVER));
    }
    let code = driver.cu_init.ok_or_else(|| cut_short(report))?;
    // Why no GPU is visible is told by the next layer.
    if code == 0 || code == 100 && hidden(driver).is_some() {
        return Ok(Finding::ok(version));
    }
    let (_, message, advice) =
        CU_INIT.iter().find(|(known, ..)| *known == code).unwrap_or(&UNKNOWN_ERROR);
    Ok(Finding::fail(format!("{message} (cuInit: error {code})"))
        .found(code.to_string())
        .expected("0")
        .remedy(*advice))
}

/// How CUDA_VISIBLE_DEVICES hides every GPU; its value is never printed.
fn hidden(driver: &Driver) -> Option<&'static str> {
    let is_gpu = |path: &&String| {
        path.strip_prefix("/dev/nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let gpus = driver.nodes.iter().flat_map(|nodes| nodes.keys()).filter(is_gpu).count() as u64;
    match (&*driver.visible.kind, driver.visible.highest) {
        ("empty", _) => Some("is set but empty, which hides every GPU"),
        ("all", _) => Some("is `all`, which CUDA does not know"),
        ("none", _) => Some("names no GPU, which hides every one"),
        ("numbers", Some(highest)) if gpus > 0 && highest >= gpus => {
            Some("names a GPU that is not there, by too high a number")
        }
        ("uuid", _) => Some("names GPUs that are not there"),
        _ => None,
    }
}

/// The devices that torch sees.
pub fn devices(facts: &Facts) -> Judgement {
    let (report, torch) = imported(facts)?;
    let names = torch.devices.as_ref().ok_or_else(|| cut_short(report))?;
    let driver = facts.inside().map(|report| report.driver.clone()).unwrap_or_default();
    if !names.is_empty() {
        return Ok(Finding::ok(names.join(", ")).evidence(driver.smi()));
    }
    let finding = match hidden(&driver) {
        Some(how) => Finding::fail(format!("{VISIBLE} {how}")).remedy(CORRECT_VISIBLE),
        None => Finding::fail("torch sees no GPU, although the driver starts").remedy(ASK_DRIVER),
    };
    let finding = finding.found("no device").expected("at least one device");
    Ok(finding.evidence(torch.why.clone()).evidence(driver.smi()))
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
        .remedy(RAISE_TORCH)
}

/// A kernel that ran, and gave the same result as the CPU.
pub fn kernel(facts: &Facts) -> Judgement {
    let (report, torch) = imported(facts)?;
    let why = torch.kernel.as_deref().ok_or_else(|| cut_short(report))?;
    let finding = match why.lines().next().unwrap_or_default() {
        "ok" => return Ok(Finding::ok("a matrix product gives the same result as on the CPU")),
        _ if why.contains("no kernel image is available") => not_compiled(torch, "see nvidia-smi"),
        _ if why.contains("out of memory") => {
            Finding::warn("the GPU's memory is full").remedy(FIND_PROCESS)
        }
        first => {
            Finding::fail(format!("the GPU does not compute: {first}")).remedy(READ_KERNEL_LOG)
        }
    };
    Ok(finding.evidence(why.lines().map(str::to_owned)))
}

/// Total and free memory of the GPU against what Step1X-3D needs.
pub fn memory(facts: &Facts) -> Judgement {
    let (report, torch) = imported(facts)?;
    let (free, total) = torch.memory.ok_or_else(|| cut_short(report))?;
    let found = format!("{} of {} free", ui::size(free), ui::size(total));
    let finding = if total < NEEDED {
        Finding::warn(format!("{found}: too little for Step1X-3D")).remedy(USE_LARGER_CARD)
    } else if free >= NEEDED {
        Finding::ok(&found)
    } else if facts.health().is_ok_and(|answer| answer.is_ready()) {
        Finding::ok(format!("{found}; the service's own model is loaded"))
    } else {
        let holders = facts.inside().ok().and_then(|inside| inside.driver.holders());
        let by = holders.map(|holders| format!(" by {holders}")).unwrap_or_default();
        Finding::warn(format!("{found}, the rest is held{by}")).remedy(FIND_PROCESS)
    };
    Ok(finding.found(found).expected("27 to 29 GB free"))
}

/// Shared memory of the service's own container; a temporary one has another size.
pub fn shm(facts: &Facts) -> Judgement {
    let (Some(_), Some(bytes)) = (facts.running_container()?, facts.inside()?.driver.shm) else {
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
        .remedy(RAISE_SHM_SIZE))
}

#[cfg(test)]
#[path = "../../../tests/unit/cuda_checks.rs"]
mod tests;
