//! The GPU from inside the container, from the device nodes up to what torch sees.
//! [`super::kernel`] goes on from there.

use super::python;
use crate::docker::SERVICE;
use crate::doctor::{Facts, Finding, Fix, Status};
use crate::python::report::{Driver, Report};

/// A restart does not, where nothing drifted.
const RECREATE: &str = "docker compose up --detach --no-build --force-recreate backend";

/// What driver calls return (CUDA Driver API, `CUresult`), and what to do.
const CODES: &[(u64, &str, &str, &str)] = &[
    (
        3,
        "the driver did not initialise",
        "See what the kernel says.",
        "sudo dmesg | grep -i nvrm   # on the engine's machine",
    ),
    (
        34,
        "the libcuda in the container is a stub for building",
        "Take the stubs directory out of LD_LIBRARY_PATH.",
        "cargo xtask fast   # afterwards",
    ),
    (
        46,
        "the GPU is in use exclusively by another program",
        "End it, or take the GPU out of exclusive mode.",
        "nvidia-smi   # on the engine's machine",
    ),
    (
        100,
        "the driver sees no GPU",
        "See whether the machine itself does, then recreate the container.",
        "nvidia-smi -L   # on the engine's machine",
    ),
    (
        802,
        "the GPUs' fabric is not up",
        "Start the fabric manager on the engine's machine.",
        "sudo systemctl start nvidia-fabricmanager",
    ),
    (
        803,
        "libcuda and the driver are of different versions",
        "Recreate the container; if the driver was upgraded, reboot first. An image with cuda-compat must not put it on the loader's path.",
        RECREATE,
    ),
    (
        804,
        "the image's cuda-compat does not work on this card",
        "Install driver 550 or newer, or take /usr/local/cuda/compat out of the loader's path: GeForce cards have no forward compatibility.",
        "nvidia-smi   # on the engine's machine: the driver's version",
    ),
    (
        999,
        "CUDA does not start, whatever nvidia-smi says",
        "Load the module that CUDA needs; if that is no help, take another version of nvidia-container-toolkit.",
        "sudo modprobe nvidia_uvm   # on the engine's machine",
    ),
];

/// The driver as the container sees it; a finding where nobody could look.
fn inside(facts: &Facts) -> Result<(&Report, &Driver), Box<Finding>> {
    let report = facts.inside().map_err(|trouble| Box::new(Finding::unknown(&trouble)))?;
    Ok((report, &report.driver))
}

/// The probe did not get as far as a layer.
pub fn cut_short(report: &Report) -> Finding {
    let why = report.cut_short.as_deref().unwrap_or("the probe did not say");
    Finding::new(Status::Error, why).remedy(
        "A hanging or crashing driver needs a reboot.",
        &["sudo dmesg | grep -i nvrm   # on the engine's machine"],
    )
}

/// One that does not run is not started for it.
pub fn fixed_by_a_new_container(finding: Finding, facts: &Facts) -> Finding {
    match facts.lasting() {
        Ok(Some(_)) if facts.fixed.contains(&Fix::Recreate) => finding.remedy(
            "A new container did not help: reboot the engine's machine.",
            &["sudo dmesg | grep -i nvrm   # on the engine's machine"],
        ),
        Ok(Some(_)) => finding.fix(Fix::Recreate),
        _ => finding,
    }
}

/// The device nodes, and whether the container may still open them.
pub fn nodes(facts: &Facts) -> Finding {
    let (report, driver) = match inside(facts) {
        Ok(inside) => inside,
        Err(finding) => return *finding,
    };
    let Some(nodes) = &driver.nodes else { return cut_short(report) };
    if driver.wsl {
        return Finding::ok("/dev/dxg (WSL2)");
    }
    let listed = nodes.iter().map(|(path, how)| format!("{path}: {how}"));
    let refused = nodes.iter().find(|(_, how)| how == "EPERM");
    let nvml = driver.smi.as_ref().is_some_and(|smi| smi.contains("NVML: Unknown Error"));
    let finding = if refused.is_some() || nvml {
        Finding::fail("the container lost its GPU").remedy(
            "Recreate it. After `systemctl daemon-reload` it happens again, unless the engine uses \
             CDI, or native.cgroupdriver=cgroupfs.",
            &["cargo xtask doctor --fix"],
        )
    } else if nodes.is_empty() {
        Finding::fail("there is no /dev/nvidia* in the container, although it asks for a GPU")
            .remedy("Recreate it.", &["cargo xtask doctor --fix"])
    } else if let Some((path, how)) =
        nodes.iter().find(|(path, how)| path == "/dev/nvidiactl" && how != "ok")
    {
        return Finding::fail(format!("{path} cannot be opened: {how}"))
            .remedy("See its owner and mode on the engine's machine.", &["ls -l /dev/nvidia*"])
            .evidence(listed);
    } else {
        return Finding::ok(format!("{} in /dev", nodes.len())).evidence(listed);
    };
    fixed_by_a_new_container(finding, facts).evidence(listed).evidence(driver.smi.clone())
}

pub fn libcuda(facts: &Facts) -> Finding {
    let (report, driver) = match inside(facts) {
        Ok(inside) => inside,
        Err(finding) => return *finding,
    };
    match driver.libcuda.as_deref() {
        None => cut_short(report),
        Some("ok") => Finding::ok("libcuda.so.1 loads"),
        Some(why) => Finding::fail("libcuda.so.1 does not load in the container")
            .evidence([why.to_owned()])
            .remedy(
                "NVIDIA_DRIVER_CAPABILITIES, if set, must hold `compute`; a list of the driver's \
                 files (CDI) may be out of date.",
                &["sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", RECREATE],
            ),
    }
}

/// The driver's own answer, before torch is asked.
pub fn init(facts: &Facts) -> Finding {
    let (report, driver) = match inside(facts) {
        Ok(inside) => inside,
        Err(finding) => return *finding,
    };
    let cuda = facts.torch().ok().and_then(|report| report.torch.as_ref().ok()?.cuda.clone());
    let major = cuda.as_deref().and_then(|cuda| cuda.split('.').next()?.parse::<u64>().ok());
    let knows = driver.version.map(|v| format!("CUDA {}.{}", v / 1000, v % 1000 / 10));
    if let (Some(knows), Some(version), Some(major)) = (&knows, driver.version, major)
        && version / 1000 < major
    {
        return Finding::fail(format!("the driver is too old: it knows {knows} at most"))
            .found(knows)
            .expected(format!("CUDA {major}, which torch is built for"))
            .remedy(
                "Upgrade the NVIDIA driver of the engine's machine, and reboot it.",
                &["nvidia-smi   # on the engine's machine, afterwards"],
            );
    }
    match driver.cu_init {
        None => cut_short(report),
        Some(0) => Finding::ok(knows.unwrap_or_default()),
        // The next layer says why none is to be seen.
        Some(100) if hidden(driver).is_some() => Finding::ok(knows.unwrap_or_default()),
        Some(code) => {
            let known = CODES.iter().find(|(number, ..)| *number == code);
            let (_, says, text, command) = known.copied().unwrap_or((
                code,
                "the driver refuses to start",
                "The link tells what the number means.",
                "nvidia-smi   # on the engine's machine",
            ));
            Finding::fail(format!("{says} (cuInit: error {code})"))
                .found(code.to_string())
                .expected("0")
                .remedy(text, &[command])
        }
    }
}

/// How CUDA_VISIBLE_DEVICES hides every GPU; its value is not for print.
fn hidden(driver: &Driver) -> Option<&'static str> {
    let is_gpu = |path: &str| {
        path.strip_prefix("/dev/nvidia")
            .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
    };
    let gpus = driver.nodes.iter().flatten().filter(|(path, _)| is_gpu(path)).count() as u64;
    match (&*driver.visible, driver.highest) {
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
pub fn devices(facts: &Facts) -> Finding {
    let (report, torch) = match python::known(facts) {
        Ok(known) => known,
        Err(finding) => return *finding,
    };
    let driver = facts.inside().map(|report| report.driver.clone()).unwrap_or_default();
    match &torch.devices {
        None => cut_short(report),
        Some(names) if !names.is_empty() => Finding::ok(names.join(", ")).evidence(driver.smi),
        Some(_) => match hidden(&driver) {
            Some(how) => Finding::fail(format!("CUDA_VISIBLE_DEVICES {how}"))
                .found("no device")
                .expected("at least one device")
                .remedy(
                    "Remove it from .env and the compose file, or correct it: numbers from 0 on.",
                    &["cargo xtask restart   # afterwards"],
                ),
            None => Finding::fail("torch sees no GPU, although the driver starts")
                .found("no device")
                .expected("at least one device")
                .remedy(
                    "See what the driver says there.",
                    &[&format!("docker compose exec {SERVICE} nvidia-smi")],
                ),
        }
        .evidence(torch.why.clone())
        .evidence(driver.smi),
    }
}
