//! The GPU, layer by layer, from the card up to a real kernel. Each layer's
//! judgement is asked only where those below it hold.

use super::{Facts, Finding, Fix, Status, driver, finding::Trouble, python};
use crate::{
    compose::SERVICE,
    device::{Device, SETTING},
    failure::Failure,
    report,
    torch::{Driver, Report, Torch},
};

/// Bytes of GPU memory that Step1X-3D needs (its README: 27 to 29 GB).
const NEEDED: u64 = 27_000_000_000;

/// What docker or nvidia-smi say when the driver is to blame, rather than the
/// engine's way to it; in lowercase.
const DRIVERS_FAULT: [&str; 6] = [
    "driver/library version mismatch",
    "driver not loaded",
    "communicate with the nvidia driver",
    "libnvidia-ml.so",
    "unsatisfied condition",
    "no adapters were found",
];

/// The part of a compose file that asks for a GPU.
const REQUEST: &str = "\
Under the service in docker-compose.yml:
deploy:
  resources:
    reservations:
      devices: [{driver: nvidia, count: all, capabilities: [gpu]}]";

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
        "cargo xtask fast",
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
        "cargo xtask restart",
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

fn unknown(trouble: Trouble) -> Finding {
    Finding::unknown(&trouble)
}

/// The driver as the container sees it; a finding where nobody could look.
fn inside(facts: &Facts) -> Result<(&Report, &Driver), Box<Finding>> {
    let report = facts.inside().map_err(|trouble| Box::new(unknown(trouble)))?;
    Ok((report, &report.driver))
}

/// The probe did not get as far as a layer.
fn cut_short(report: &Report) -> Finding {
    let why = report.cut_short.as_deref().unwrap_or("the probe did not say");
    Finding::new(Status::Error, why).remedy(
        "A hanging or crashing driver needs a reboot.",
        &["sudo dmesg | grep -i nvrm   # on the engine's machine"],
    )
}

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
        (_, Err(trouble)) => unknown(trouble),
        (_, Ok(Some(true))) => Finding::ok("on the engine's machine"),
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
        Err(trouble) => return unknown(trouble),
    };
    // What nvidia-smi says in the container, what docker says when it starts one.
    let smi = facts.inside().ok().and_then(|report| report.driver.smi.clone());
    let said = [smi, facts.refusal().ok().flatten().cloned()];
    let blames = |text: &&String| {
        let text = text.to_lowercase();
        DRIVERS_FAULT.iter().any(|mark| text.contains(mark))
    };
    if let Some(text) = said.iter().flatten().find(blames) {
        return of_docker(text);
    }
    let is_wsl = facts.engine().is_ok_and(|engine| engine.is_wsl);
    let Some(there) = machine.driver else {
        return if is_wsl {
            Finding::ok("that of Windows (WSL2)")
        } else {
            Finding::fail("no NVIDIA driver is loaded on the engine's machine").remedy(
                "Install it there, and reboot.",
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
fn of_docker(text: &str) -> Finding {
    let failure = Failure::of_command("docker run --gpus all", 125, text);
    let finding = Finding::of(&Trouble::from(anyhow::Error::from(failure)));
    finding.evidence(text.trim().lines().map(str::to_owned))
}

pub fn engine(facts: &Facts) -> Finding {
    match facts.refusal() {
        Err(trouble) => unknown(trouble),
        Ok(None) => Finding::ok("the engine hands out the GPUs"),
        Ok(Some(text)) => of_docker(text),
    }
}

/// Whether the service, and its container, ask for a GPU.
pub fn request(facts: &Facts) -> Finding {
    let (project, container) = match (facts.project(), facts.container()) {
        (Ok(project), Ok(container)) => (project, container),
        (Err(trouble), _) | (_, Err(trouble)) => return unknown(trouble),
    };
    match (&project.gpus, container) {
        (None, _) => Finding::fail(format!("`{SERVICE}` does not ask for a GPU"))
            .remedy(REQUEST, &["cargo xtask restart   # afterwards"]),
        (Some(_), Some(container)) if !container.has_gpus => Finding::fail(
            "the container was created without the GPU that the compose file asks for",
        )
        .remedy("Recreate it.", &["cargo xtask restart"])
        .fix(Fix::Recreate),
        (Some(gpus), _) => Finding::ok(format!("asks for {gpus}")),
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
    finding.fix(Fix::Recreate).evidence(listed).evidence(driver.smi.clone())
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
                &[
                    "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
                    "cargo xtask doctor --fix",
                ],
            )
            .fix(Fix::Recreate),
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
            let finding = Finding::fail(format!("{says} (cuInit: error {code})"))
                .found(code.to_string())
                .expected("0")
                .remedy(text, &[command]);
            if [100, 803].contains(&code) { finding.fix(Fix::Recreate) } else { finding }
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
    } else if free < NEEDED {
        Finding::warn(format!("{found}: another model does not fit")).remedy(
            "Step1X-3D needs 27 to 29 GB; that may be the service itself. See who holds it.",
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
            Finding::warn(format!("{found}: data-loader workers end with a bus error"))
                .found(found)
                .expected("more than 64 MB")
                .remedy(
                    "Under the service in docker-compose.yml: `shm_size: 2gb`",
                    &["cargo xtask restart"],
                )
        }
        (Err(trouble), _) | (_, Err(trouble)) => unknown(trouble),
        _ => Finding::skipped("no container runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compose::{Container, Engine, Image, Machine, Project},
        doctor::{checks::GROUPS, examine, facts::EnvFile},
        process::Finished,
    };

    /// A machine on which everything works, as the probe and docker describe it.
    #[derive(Clone)]
    struct Machinery {
        card: bool,
        kernel_module: Option<&'static str>,
        require_cuda: Option<&'static str>,
        refusal: Option<&'static str>,
        asks: bool,
        has: bool,
        wsl: bool,
        inside: String,
        torch: String,
        code: i32,
        stderr: &'static str,
    }

    const NODES: &str =
        r#"{"/dev/nvidia0": "ok", "/dev/nvidiactl": "ok", "/dev/nvidia-uvm": "ok"}"#;

    fn well() -> Machinery {
        Machinery {
            card: true,
            kernel_module: Some("550.54.14"),
            require_cuda: None,
            refusal: None,
            asks: true,
            has: true,
            wsl: false,
            inside: format!(
                r#"{{"python": "3.11.2", "executable": "/x", "packages": {{}}, "unmet": []}}
{{"nodes": {NODES}, "wsl": false, "visible": {{"kind": "unset"}}, "shm": 2147483648}}
{{"libcuda": "ok"}}
{{"driver": 12040}}
{{"cuInit": 0}}
{{"smi": ["GPU 0: NVIDIA A100-SXM4-40GB"]}}"#
            ),
            torch: r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}
{"devices": ["NVIDIA A100-SXM4-40GB"], "capabilities": [[8, 0]], "archs": ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]}
{"memory": [41000000000, 42300000000]}
{"kernel": "ok"}"#
                .to_owned(),
            code: 0,
            stderr: "",
        }
    }

    impl Machinery {
        /// With one part of what the probe says replaced.
        fn but(mut self, from: &str, to: &str) -> Machinery {
            assert!(self.inside.contains(from) || self.torch.contains(from), "{from}");
            self.inside = self.inside.replace(from, to);
            self.torch = self.torch.replace(from, to);
            self
        }

        fn facts(&self) -> Facts {
            let report = |stdout: &str| {
                Report::parse(&Finished {
                    code: self.code,
                    stdout: stdout.into(),
                    stderr: self.stderr.into(),
                })
            };
            let gpus = self.asks.then(|| "all".to_owned());
            let project = Project::parse(r#"{"name":"p","services":{"backend":{}}}"#).unwrap();
            let container =
                Container { state: "running".into(), has_gpus: self.has, ..Container::default() };
            let mut image = Image::default();
            if let Some(requirement) = self.require_cuda {
                image.content.1 =
                    serde_json::json!({"Env": [format!("NVIDIA_REQUIRE_CUDA={requirement}")]});
            }
            Facts::none()
                .with_forced(Ok(None))
                .with_env_file(Ok(EnvFile::default()))
                .with_engine(Ok(Engine { is_wsl: self.wsl, has_nvidia: true, ..Engine::default() }))
                .with_machine(Ok(Some(Machine {
                    nvidia_card: self.card,
                    driver: self.kernel_module.map(str::to_owned),
                    free: None,
                })))
                .with_refusal(Ok(self.refusal.map(str::to_owned)))
                .with_project(Ok(Project { gpus, ..project }))
                .with_container(Ok(Some(container)))
                .with_image(Ok(Some(image)))
                .with_inside(Ok(report(&self.inside)))
                .with_torch(Ok(report(&self.torch)))
        }

        /// The first layer that does not hold, as its id, and its finding. What
        /// stands on it is skipped.
        fn first_fault(&self) -> Option<(&'static str, Finding)> {
            let gpu = GROUPS.iter().find(|group| group.name == "gpu").unwrap();
            let checks: Vec<_> = gpu.checks.iter().map(|check| (check, true)).collect();
            let outcomes = examine(&checks, &self.facts(), |_| ());
            let faults = outcomes.iter().filter(|o| o.finding.status == Status::Fail);
            assert!(faults.count() <= 1, "one cause, one fault");
            let mut outcomes = outcomes.into_iter();
            let first = outcomes.find(|outcome| outcome.finding.status != Status::Ok)?;
            Some((first.check.id, first.finding))
        }
    }

    #[test]
    fn everything_holds_on_a_machine_that_works() {
        assert_eq!(well().first_fault(), None);
    }

    #[test]
    fn every_known_fault_ends_in_its_layer_with_its_own_remedy() {
        use Status::{Error, Fail, Skipped, Warn};
        let refused = |text| Machinery { refusal: Some(text), ..well() };
        let cut = |from: &str, stderr, code| {
            let mut machinery = well();
            let at = machinery.inside.find(from).unwrap();
            machinery.inside.truncate(at);
            machinery.inside += "{\"stage\": \"initialising the driver (cuInit)\"}";
            Machinery { stderr, code, ..machinery }
        };
        for (machinery, id, status, message, remedy) in [
            (Machinery { card: false, ..well() }, "gpu-card", Skipped, "no NVIDIA card", ""),
            // 1
            (
                refused("docker: Error response from daemon: could not select device driver \"nvidia\" with capabilities: [[gpu]]."),
                "gpu-engine",
                Fail,
                "the engine cannot hand one out",
                "nvidia-ctk runtime configure --runtime=docker",
            ),
            (
                refused("docker: Error response from daemon: failed to discover GPU vendor from CDI: no known GPU vendor found"),
                "gpu-engine",
                Fail,
                "the engine cannot hand one out",
                "nvidia-ctk runtime configure --runtime=docker",
            ),
            // 2
            (Machinery { asks: false, has: false, ..well() }, "gpu-request", Fail, "does not ask for a GPU", "capabilities: [gpu]"),
            (Machinery { has: false, ..well() }, "gpu-request", Fail, "created without the GPU", "cargo xtask restart"),
            // 3
            (well().but("[[8, 0]]", "[[12, 0]]"), "gpu-arch", Fail, "no code for this GPU (12.0)", "torch 2.7 with CUDA 12.8"),
            (
                well().but(r#""kernel": "ok""#, r#""kernel": "RuntimeError: CUDA error: no kernel image is available for execution on the device""#),
                "gpu-kernel",
                Fail,
                "no code for this GPU",
                "torch 2.7",
            ),
            // 4
            (
                Machinery { kernel_module: Some("470.57.02"), ..well() },
                "gpu-driver",
                Fail,
                "470.57.02 is too old for torch's CUDA 12.4",
                "Upgrade the NVIDIA driver",
            ),
            (
                Machinery { require_cuda: Some("cuda>=12.8 brand=tesla,driver>=470,driver<471"), ..well() },
                "gpu-driver",
                Fail,
                "older than the image demands",
                "Upgrade the NVIDIA driver",
            ),
            (
                refused("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container: unknown."),
                "gpu-driver",
                Fail,
                "older than the image demands",
                "upgrade the driver",
            ),
            (well().but("12040", "11040"), "gpu-init", Fail, "it knows CUDA 11.4 at most", "Upgrade the NVIDIA driver"),
            (Machinery { kernel_module: None, ..well() }, "gpu-driver", Fail, "no NVIDIA driver is loaded", "Install it"),
            (
                refused("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown"),
                "gpu-driver",
                Fail,
                "not loaded",
                "modprobe nvidia",
            ),
            // 5
            (well().but("\"cuInit\": 0", "\"cuInit\": 804"), "gpu-init", Fail, "cuda-compat", "Install driver 550 or newer"),
            (well().but("\"cuInit\": 0", "\"cuInit\": 803"), "gpu-init", Fail, "different versions", "cargo xtask restart"),
            // 6
            (
                well().but(r#""/dev/nvidiactl": "ok""#, r#""/dev/nvidiactl": "EPERM""#),
                "gpu-nodes",
                Fail,
                "the container lost its GPU",
                "native.cgroupdriver=cgroupfs",
            ),
            (
                well().but("GPU 0: NVIDIA A100-SXM4-40GB", "Failed to initialize NVML: Unknown Error"),
                "gpu-nodes",
                Fail,
                "the container lost its GPU",
                "cargo xtask doctor --fix",
            ),
            // 7
            (
                well().but("GPU 0: NVIDIA A100-SXM4-40GB", "Failed to initialize NVML: Driver/library version mismatch"),
                "gpu-driver",
                Fail,
                "runs the old one",
                "reboot",
            ),
            (
                refused("nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown."),
                "gpu-driver",
                Fail,
                "runs the old one",
                "reboot",
            ),
            // 8
            (
                refused("OCI runtime create failed: runc create failed: unable to start container process: error during container init: failed to fulfil mount request: open /usr/lib/x86_64-linux-gnu/libEGL_nvidia.so.535.161.07: no such file or directory: unknown"),
                "gpu-engine",
                Fail,
                "out of date",
                "nvidia-ctk cdi generate",
            ),
            // 9
            (well().but("\"cuInit\": 0", "\"cuInit\": 999"), "gpu-init", Fail, "whatever nvidia-smi says", "modprobe nvidia_uvm"),
            (well().but("\"cuInit\": 0", "\"cuInit\": 3"), "gpu-init", Fail, "did not initialise", "dmesg"),
            (well().but("\"cuInit\": 0", "\"cuInit\": 100"), "gpu-init", Fail, "sees no GPU", "nvidia-smi -L"),
            (well().but("\"cuInit\": 0", "\"cuInit\": 702"), "gpu-init", Fail, "error 702", "nvidia-smi"),
            // 11
            (hidden_by(r#"{"kind": "empty"}"#), "gpu-devices", Fail, "set but empty", "Remove it from .env"),
            (hidden_by(r#"{"kind": "none"}"#), "gpu-devices", Fail, "names no GPU", "Remove it from .env"),
            (hidden_by(r#"{"kind": "all"}"#), "gpu-devices", Fail, "is `all`", "Remove it from .env"),
            (hidden_by(r#"{"kind": "numbers", "highest": 1}"#), "gpu-devices", Fail, "too high a number", "Remove it from .env"),
            (hidden_by(r#"{"kind": "uuid"}"#), "gpu-devices", Fail, "not there", "Remove it from .env"),
            (hidden_by(r#"{"kind": "unset"}"#).but("\"cuInit\": 100", "\"cuInit\": 0"), "gpu-devices", Fail, "torch sees no GPU", "nvidia-smi"),
            // 13
            (
                Machinery {
                    wsl: true,
                    kernel_module: None,
                    ..refused("nvidia-container-cli: initialization error: WSL environment detected but no adapters were found: unknown.")
                },
                "gpu-driver",
                Fail,
                "WSL2 does not pass the GPU on",
                "wsl --update",
            ),
            // 14
            (well().but("42300000000", "17000000000"), "gpu-memory", Warn, "too little for Step1X-3D", "27 to 29 GB"),
            (well().but("41000000000", "9000000000"), "gpu-memory", Warn, "9.0 GB of 42.3 GB free", "who holds it"),
            (
                well().but(r#""kernel": "ok""#, r#""kernel": "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.""#),
                "gpu-kernel",
                Warn,
                "memory is full",
                "nvidia-smi",
            ),
            // 15
            (well().but("2147483648", "67108864"), "shm", Warn, "bus error", "shm_size: 2gb"),
            // Layers without a row of their own.
            (well().but(NODES, "{}"), "gpu-nodes", Fail, "no /dev/nvidia*", "Recreate it"),
            (
                well().but(r#""/dev/nvidiactl": "ok""#, r#""/dev/nvidiactl": "EACCES""#),
                "gpu-nodes",
                Fail,
                "/dev/nvidiactl cannot be opened: EACCES",
                "ls -l",
            ),
            (
                well().but(r#""libcuda": "ok""#, r#""libcuda": "libcuda.so.1: cannot open shared object file: No such file or directory""#),
                "gpu-libcuda",
                Fail,
                "does not load",
                "NVIDIA_DRIVER_CAPABILITIES",
            ),
            (
                well().but(r#""kernel": "ok""#, r#""kernel": "RuntimeError: CUDA error: an illegal memory access was encountered""#),
                "gpu-kernel",
                Fail,
                "does not compute: RuntimeError: CUDA error",
                "dmesg",
            ),
            (well().but(r#""kernel": "ok""#, r#""kernel": "wrong result""#), "gpu-kernel", Fail, "wrong result", "dmesg"),
            // What hangs or crashes is named, and no failure.
            (cut("{\"cuInit\"", "Timeout (0:00:50)!\n", 1), "gpu-init", Error, "(cuInit) hangs", "reboot"),
            (cut("{\"cuInit\"", "", 139), "gpu-init", Error, "exit code 139 (segmentation fault)", "reboot"),
            (cut("{\"nodes\"", "", 137), "gpu-nodes", Error, "exit code 137", "reboot"),
        ] {
            let (first, finding) = machinery.first_fault().unwrap_or_else(|| panic!("{message}"));
            assert_eq!((first, finding.status), (id, status), "{message}: {finding:?}");
            assert!(finding.message.contains(message), "{message}: {}", finding.message);
            let has = finding.remedy.map(|r| r.text + " " + &r.commands.join(" ")).unwrap_or_default();
            assert!(has.contains(remedy), "{remedy}: {has}");
        }
    }

    /// What a driver and torch say where CUDA_VISIBLE_DEVICES hides all GPUs.
    fn hidden_by(visible: &str) -> Machinery {
        well().but(r#"{"kind": "unset"}"#, visible).but("\"cuInit\": 0", "\"cuInit\": 100").but(
            r#"{"devices": ["NVIDIA A100-SXM4-40GB"], "#,
            r#"{"devices": [], "why": "RuntimeError: No CUDA GPUs are available", "#,
        )
    }

    #[test]
    fn a_card_may_be_required_or_refused() {
        let card = |forced, require_gpu, there| {
            let machine = Machine { nvidia_card: there, ..Machine::default() };
            let mut facts = Facts::none()
                .with_engine(Ok(Engine::default()))
                .with_forced(Ok(forced))
                .with_machine(Ok(Some(machine)));
            facts.require_gpu = require_gpu;
            super::card(&facts)
        };
        assert_eq!(card(None, false, false).status, Status::Skipped);
        assert!(card(None, false, false).note.is_some());
        assert_eq!(card(None, true, false).status, Status::Fail);
        assert_eq!(card(Some(Device::Gpu), false, false).status, Status::Fail);
        assert_eq!(card(Some(Device::Cpu("x")), false, true).message, "XTASK_DEVICE=cpu");
        assert_eq!(card(None, true, true).status, Status::Ok);
        let blind = Facts::none().with_engine(Ok(Engine::default())).with_forced(Ok(None));
        assert_eq!(super::card(&blind.with_machine(Ok(None))).status, Status::Skipped);
    }

    #[test]
    fn wsl_has_its_own_device() {
        let mut wsl = Machinery { wsl: true, kernel_module: None, card: false, ..well() };
        wsl = wsl.but(NODES, "{}").but("\"wsl\": false", "\"wsl\": true");
        assert_eq!(wsl.first_fault(), None);
    }

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
