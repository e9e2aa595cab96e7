//! Every known fault of a GPU machine, as docker, the driver and torch tell it,
//! and the one finding that it ends in.

use std::time::Duration;

use super::checks::{CHECKS, cuda, gpu, judge, recreate};
use super::facts::stated::read;
use super::{Facts, Finding, Status, examine};
use crate::deploy::device::Device;
use crate::docker::{Machine, Project};
use crate::process::Finished;
use crate::python::Report;

/// A machine on which everything works, as the probe and docker describe it.
#[derive(Clone)]
struct Machinery {
    card: bool,
    kernel_module: Option<&'static str>,
    refusal: Option<&'static str>,
    asks: bool,
    has: bool,
    wsl: bool,
    inside: String,
    torch: String,
    code: i32,
    stderr: &'static str,
    timed_out: Option<Duration>,
}

const NODES: &str = r#"{"/dev/nvidia0": "ok", "/dev/nvidiactl": "ok", "/dev/nvidia-uvm": "ok"}"#;

fn well() -> Machinery {
    Machinery {
        card: true,
        kernel_module: Some("550.54.14"),
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
        timed_out: None,
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
                timed_out: self.timed_out,
            })
        };
        let gpus = self.asks.then(|| "all".to_owned());
        let project = Project::parse(r#"{"name":"p","services":{"backend":{}}}"#).unwrap();
        let requests = if self.has { r#"[{"Driver":"nvidia","Count":-1}]"# } else { "[]" };
        let container = format!(
            r#"{{"State":{{"Status":"running"}},"HostConfig":{{"DeviceRequests":{requests}}}}}"#
        );
        let kernel = if self.wsl { "5.15-microsoft-standard-WSL2" } else { "6.1.0" };
        let engine = format!(r#"{{"Runtimes":{{"nvidia":{{}}}},"KernelVersion":"{kernel}"}}"#);
        Facts::none()
            .with_requested(Ok(None))
            .with_env_names(Ok(None))
            .with_example_names(Ok(None))
            .with_engine(Ok(read(&engine)))
            .with_machine(Ok(Some(Machine {
                nvidia_card: self.card,
                driver: self.kernel_module.map(str::to_owned),
                free: None,
            })))
            .with_refusal(Ok(self.refusal.map(str::to_owned)))
            .with_project(Ok(Project { gpus, ..project }))
            .with_container(Ok(Some(read(&container))))
            .with_image(Ok(Some(read("{}"))))
            .with_inside(Ok(report(&self.inside)))
            .with_torch(Ok(report(&self.torch)))
    }

    /// The id of the first check that does not pass, and its finding. Dependent
    /// checks are skipped.
    fn first_fault(&self) -> Option<(&'static str, Finding)> {
        let gpu = CHECKS.iter().filter(|check| check.group == "gpu");
        let checks: Vec<_> = gpu.map(|check| (check, true)).collect();
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
            Machinery { kernel_module: Some("570.86.15"), ..well() }.but(r#""cuda": "12.4""#, r#""cuda": "13.0""#),
            "gpu-driver",
            Fail,
            "570.86.15 is too old for torch's CUDA 13.0",
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
        (well().but("\"cuInit\": 0", "\"cuInit\": 803"), "gpu-init", Fail, "different versions", "--force-recreate"),
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
        // What nvidia-smi lacks in the container is no fault of the driver's.
        (
            well()
                .but("GPU 0: NVIDIA A100-SXM4-40GB", "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.")
                .but(r#""libcuda": "ok""#, r#""libcuda": "libcuda.so.1: cannot open shared object file""#),
            "gpu-libcuda",
            Fail,
            "does not load",
            "compute",
        ),
        (
            refused("nvidia-container-cli: couldn't find libnvidia-ml.so library in your system"),
            "gpu-driver",
            Fail,
            "has no NVIDIA driver",
            "install the driver there",
        ),
        (
            refused("error during container init: failed to fulfil mount request: open /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.161.07: no such file or directory"),
            "gpu-engine",
            Fail,
            "out of date",
            "nvidia-ctk cdi generate",
        ),
        (Machinery { kernel_module: None, ..well() }, "gpu-driver", Fail, "no NVIDIA driver", "XTASK_DEVICE=cpu"),
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
        (well().but("\"cuInit\": 0", "\"cuInit\": 34"), "gpu-init", Fail, "stub for building", "LD_LIBRARY_PATH"),
        (well().but("\"cuInit\": 0", "\"cuInit\": 46"), "gpu-init", Fail, "in use exclusively", "exclusive mode"),
        (well().but("\"cuInit\": 0", "\"cuInit\": 802"), "gpu-init", Fail, "fabric is not up", "nvidia-fabricmanager"),
        (well().but("\"cuInit\": 0", "\"cuInit\": 702"), "gpu-init", Fail, "error 702", "nvidia-smi"),
        // 11
        (hidden_by(r#"{"kind": "empty"}"#), "gpu-devices", Fail, "set but empty", "Remove it from .env"),
        (hidden_by(r#"{"kind": "none"}"#), "gpu-devices", Fail, "names no GPU", "Remove it from .env"),
        (hidden_by(r#"{"kind": "all"}"#), "gpu-devices", Fail, "is `all`", "Remove it from .env"),
        (hidden_by(r#"{"kind": "numbers", "highest": 1}"#), "gpu-devices", Fail, "too high a number", "Remove it from .env"),
        (hidden_by(r#"{"kind": "numbers", "highest": 0}"#), "gpu-init", Fail, "sees no GPU", "nvidia-smi -L"),
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
        (well().but("42300000000", "26999999999"), "gpu-memory", Warn, "27.0 GB free: too little for Step1X-3D", "27 to 29 GB"),
        (well().but("41000000000", "26999999999"), "gpu-memory", Warn, "the rest is held", "nvidia-smi"),
        (well().but("42300000000", "17000000000"), "gpu-memory", Warn, "too little for Step1X-3D", "27 to 29 GB"),
        (well().but("41000000000", "9000000000"), "gpu-memory", Warn, "9.0 GB of 42.3 GB free", "which process holds it"),
        (
            well().but("41000000000", "9000000000").but(
                r#"["GPU 0: NVIDIA A100-SXM4-40GB"]}"#,
                r#"["GPU 0: NVIDIA A100-SXM4-40GB"], "holders": ["4711, python, 31000 MiB"]}"#,
            ),
            "gpu-memory",
            Warn,
            "the rest is held by 4711, python, 31000 MiB",
            "which process holds it",
        ),
        (
            well().but(r#""kernel": "ok""#, r#""kernel": "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.""#),
            "gpu-kernel",
            Warn,
            "memory is full",
            "nvidia-smi",
        ),
        // 15
        (well().but("2147483648", "67108864"), "shm", Warn, "64 MB (Docker's default): data-loader", "shm_size: 2gb"),
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
        // One that hangs in the kernel is ended from outside.
        (
            Machinery { timed_out: Some(Duration::from_secs(60)), ..cut("{\"cuInit\"", "", 137) },
            "gpu-init",
            Error,
            "(cuInit) hangs: no end after 60 s",
            "reboot",
        ),
        (cut("{\"cuInit\"", "", 139), "gpu-init", Error, "exit code 139 (segmentation fault)", "reboot"),
        (cut("{\"nodes\"", "", 137), "gpu-nodes", Error, "exit code 137", "reboot"),
    ] {
        let (first, finding) = machinery.first_fault().unwrap_or_else(|| panic!("{message}"));
        assert_eq!((first, finding.status), (id, status), "{message}: {finding:?}");
        assert!(finding.message.contains(message), "{message}: {}", finding.message);
        if let Some(remedy) = &finding.remedy {
            let next = finding.next_step().unwrap();
            assert!(!next.contains("# after"), "{message}: {next}");
            assert!(!next.starts_with("nvidia-smi") || remedy.text.starts_with("See "), "{next}");
        }
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
fn the_last_line_is_what_mends_it() {
    for (machinery, next) in [
        (
            Machinery { refusal: Some("could not select device driver"), ..well() },
            "sudo apt-get install nvidia-container-toolkit   # from NVIDIA's own package source",
        ),
        (
            Machinery { asks: false, has: false, ..well() },
            "Ask for it under the service in docker-compose.yml",
        ),
        (
            Machinery { kernel_module: Some("470.57.02"), ..well() },
            "Upgrade the NVIDIA driver of the engine's machine, and reboot it.",
        ),
        (
            well().but("2147483648", "67108864"),
            "Write `shm_size: 2gb` under the service in docker-compose.yml.",
        ),
        (
            hidden_by(r#"{"kind": "empty"}"#),
            "Remove it from .env and the compose file, or correct it: numbers from 0 on.",
        ),
    ] {
        assert_eq!(machinery.first_fault().unwrap().1.next_step(), Some(next));
    }
}

#[test]
fn a_model_that_is_loaded_may_fill_the_memory() {
    let facts = well().but("41000000000", "9000000000").facts();
    let ready = crate::docker::http::Answer {
        address: String::new(),
        status: 200,
        body: r#"{"model": "ready"}"#.into(),
    };
    let finding = judge(cuda::memory, &facts.with_health(Ok(ready)));
    assert_eq!(finding.status, Status::Ok, "{finding:?}");
}

#[test]
fn a_card_may_be_required_or_refused() {
    let card = |forced, require_gpu, there| {
        let machine = Machine { nvidia_card: there, ..Machine::default() };
        let mut facts = Facts::none()
            .with_engine(Ok(read("{}")))
            .with_requested(Ok(forced))
            .with_machine(Ok(Some(machine)));
        facts.require_gpu = require_gpu;
        judge(gpu::card, &facts)
    };
    assert_eq!(card(None, false, false).status, Status::Skipped);
    assert!(card(None, false, false).note.is_some());
    assert_eq!(card(None, true, false).status, Status::Fail);
    assert_eq!(card(Some(Device::Gpu), false, false).status, Status::Fail);
    assert_eq!(card(Some(Device::Cpu("x")), false, true).message, "XTASK_DEVICE=cpu");
    assert_eq!(card(None, true, true).status, Status::Ok);
    let mut blind = Facts::none().with_engine(Ok(read("{}"))).with_requested(Ok(None));
    blind.require_gpu = true;
    assert_eq!(judge(gpu::card, &blind.with_machine(Ok(None))).status, Status::Fail);
    let blind = Facts::none().with_engine(Ok(read("{}"))).with_requested(Ok(None));
    assert_eq!(judge(gpu::card, &blind.with_machine(Ok(None))).status, Status::Skipped);
}

#[test]
fn wsl_has_its_own_device() {
    let mut wsl = Machinery { wsl: true, kernel_module: None, card: false, ..well() };
    wsl = wsl.but(NODES, "{}").but("\"wsl\": false", "\"wsl\": true");
    assert_eq!(wsl.first_fault(), None);
}

#[test]
fn memory_and_drivers_at_their_limits_are_enough() {
    for machinery in [
        well().but("42300000000", "27000000000").but("41000000000", "27000000000"),
        well().but("2147483648", "67108865"),
        Machinery { kernel_module: Some("525.60.13"), ..well() },
        Machinery { kernel_module: Some("580.65.06"), ..well() }
            .but(r#""cuda": "12.4""#, r#""cuda": "13.0""#)
            .but("12040", "13000"),
    ] {
        assert_eq!(machinery.first_fault(), None);
    }
}

#[test]
fn a_lost_gpu_is_fixed_once_and_only_in_a_container_that_runs() {
    let lost = well().but(r#""/dev/nvidiactl": "ok""#, r#""/dev/nvidiactl": "EPERM""#);
    let finding = judge(cuda::nodes, &lost.facts());
    let fix = finding.fix.unwrap();
    assert_eq!(fix.name, "recreating the container");
    let mut facts = lost.facts();
    facts.fixed.push(fix);
    let again = judge(cuda::nodes, &facts);
    let step = "A new container did not help: reboot the engine's machine.";
    assert_eq!((again.fix, again.next_step()), (None, Some(step)));
    let stopped = Facts::none().with_container(Ok(None));
    let kept = recreate::fixed_by_a_new_container(Finding::fail("x"), &stopped);
    assert_eq!(kept, Finding::fail("x"));
    // The container that was created without its GPU is recreated, too.
    assert_eq!(Machinery { has: false, ..well() }.first_fault().unwrap().1.fix, Some(fix));
}
