//! The probe as Python really runs it: with fake torch packages, and with the
//! real torch on a driver that is made up.
//!
//! It runs in a container of the image that XTASK_TEST_IMAGE names, or else, as
//! far as torch need not be real, under this machine's own Python.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Map, Value, json};

use crate::{
    common::Run,
    doctors::{on_cpu, on_gpu},
    fake::Fake,
};

/// Where Python runs.
enum Place {
    /// A container, removed when dropped.
    Container {
        docker: String,
        id: String,
    },
    Here,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Container { docker, id } = self {
            let _ = Command::new(docker).args(["rm", "--force", id]).output();
        }
    }
}

fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    // Not eprintln!, which a passing test keeps to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}

impl Place {
    /// None, and says so, where XTASK_TEST_IMAGE names none.
    fn in_image() -> Option<Place> {
        let Ok(image) = std::env::var("XTASK_TEST_IMAGE") else {
            skipped("XTASK_TEST_IMAGE names no image with the real torch");
            return None;
        };
        let docker = which::which("docker").unwrap().display().to_string();
        let place = Place::Container { docker, id: String::new() };
        let run = ["run", "--detach", "--network", "none", "--entrypoint", "sleep", &image, "900"];
        let id = place.docker(&run).trim().to_owned();
        let Place::Container { docker, .. } = &place else { return None };
        Some(Place::Container { docker: docker.clone(), id })
    }

    /// None, and says so, where there is no Python either.
    fn any() -> Option<Place> {
        if std::env::var("XTASK_TEST_IMAGE").is_ok() {
            return Place::in_image();
        }
        if Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
            return Some(Place::Here);
        }
        skipped("there is no python3, and XTASK_TEST_IMAGE names no image");
        None
    }

    fn docker(&self, args: &[&str]) -> String {
        let Place::Container { docker, .. } = self else { return String::new() };
        let mut command = Command::new(docker);
        command.args(args).stdin(Stdio::null());
        Run::of(command).ok()
    }

    /// Makes a directory of `fake`'s repository known to Python; its name there.
    fn bring(&self, fake: &Fake, directory: &str) -> String {
        let here = fake.repo.root.join(directory).display().to_string();
        match self {
            Place::Here => here,
            Place::Container { id, .. } => {
                self.docker(&["cp", &here, &format!("{id}:/tmp/{directory}")]);
                format!("/tmp/{directory}")
            }
        }
    }

    /// The shell's words for Python with these variables.
    fn python(&self, variables: &[(&str, &str)]) -> String {
        let set = |prefix: &str| {
            let words = variables.iter().map(|(key, value)| format!("{prefix}{key}='{value}' "));
            words.collect::<String>()
        };
        match self {
            Place::Here => {
                let path = std::env::var("PATH").unwrap_or_default();
                format!("env PATH='{path}' {}python3", set(""))
            }
            Place::Container { docker, id } => {
                format!("{docker} exec --interactive {}{id} python3", set("--env "))
            }
        }
    }

    /// What parts of the probe print.
    fn probe(&self, variables: &[(&str, &str)], parts: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} - 120 {parts}", self.python(variables))]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(include_bytes!("../../src/python/probe.py")).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

/// All facts of a probe's lines.
fn facts(printed: &str) -> Map<String, Value> {
    printed.lines().flat_map(|line| serde_json::from_str::<Map<_, _>>(line).unwrap()).collect()
}

/// Has doctor's probes run under the real Python, at most `seconds` long.
fn under(fake: &mut Fake, python: &str, seconds: u32, parts: &str) {
    let skip = "while [ \"$1\" != 50 ]; do shift; done; shift";
    let script = format!("{skip}; exec {python} - {seconds} \"$@\"");
    fake.python_script(parts, &script);
}

/// As much of torch as the probe asks for, of a given version.
fn torch(version: &str, cuda: &str, import: &str) -> String {
    format!(
        r#"import os, sys, ctypes
{import}
__version__ = "{version}"
class version:
    cuda = {cuda}
class amp:
    custom_fwd = None
class Product:
    def cuda(self):
        os.abort()
def rand(*size):
    return Product()
class cuda:
    devices = {devices}
    def is_available():
        return cuda.devices > 0
    def device_count():
        return cuda.devices
    def init():
        raise AssertionError("Torch not compiled with CUDA enabled")
    def get_device_name(i):
        return "NVIDIA A100-SXM4-40GB"
    def get_device_capability(i):
        return (8, 0)
    def get_arch_list():
        return ["sm_80"]
    def mem_get_info():
        return (1, 2)
"#,
        devices = i32::from(cuda != "None" && import.is_empty()),
    )
}

#[test]
fn a_torch_that_raises_hangs_or_crashes_is_survived_and_named() {
    let Some(place) = Place::any() else { return };
    let pinned = "2.5.1+cu124";
    for (name, version, cuda, import, seconds, code, says) in [
        (
            "wrong",
            "2.6.0+cu124",
            "'12.4'",
            "pass",
            120,
            1,
            "✗ torch          torch is 2.6.0+cu124, pinned is 2.5.1",
        ),
        (
            "cpu",
            "2.5.1+cpu",
            "None",
            "",
            120,
            1,
            "✗ CUDA build     this wheel of torch is built for the CPU alone",
        ),
        (
            "missing",
            pinned,
            "None",
            "raise ModuleNotFoundError(\"No module named 'torch'\")",
            120,
            1,
            "✗ torch          torch does not import: ModuleNotFoundError: No module",
        ),
        (
            "broken",
            pinned,
            "None",
            "raise ImportError('libcudnn.so.9: cannot open shared object file')",
            120,
            1,
            "✗ torch          torch does not import: ImportError: libcudnn.so.9",
        ),
        (
            "leaves",
            pinned,
            "None",
            "sys.exit('no')",
            120,
            1,
            "✗ torch          torch does not import: SystemExit: no",
        ),
        (
            "ends",
            pinned,
            "None",
            "os._exit(3)",
            120,
            1,
            "✗ torch          importing torch ended Python with exit code 3",
        ),
        (
            "well",
            pinned,
            "None",
            "os._exit(0)",
            120,
            1,
            "✗ torch          importing torch ended Python with exit code 0",
        ),
        ("crashes", pinned, "None", "os.kill(os.getpid(), 11)", 120, 1, "exit code 139"),
        (
            "loops",
            pinned,
            "None",
            "while True: pass",
            5,
            0,
            "? torch          importing torch hangs: no end after 0:00:05",
        ),
        // In C, and without letting any other thread of Python run.
        (
            "sleeps",
            pinned,
            "None",
            "ctypes.PyDLL(None).pause()",
            5,
            0,
            "? torch          importing torch hangs: no end after 0:00:05",
        ),
        (
            "aborts",
            pinned,
            "'12.4'",
            "",
            120,
            0,
            "? kernel         running a kernel on the GPU ended Python with exit code",
        ),
    ] {
        let mut fake = on_gpu();
        fake.repo.write(&format!("{name}/torch/__init__.py"), &torch(version, cuda, import));
        let path = place.bring(&fake, name);
        let python = place.python(&[("PYTHONPATH", &path)]);
        under(&mut fake, &python, seconds, "torch");
        fake.xtask(&["doctor", "torch", "cuda-build", "gpu-kernel"]).fails(code, &[says]);
    }
}

#[test]
fn packages_are_read_and_compared() {
    let Some(place) = Place::any() else { return };
    let mut fake = on_cpu();
    let package = |fake: &Fake, name: &str, version: &str, requires: &str| {
        let text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}");
        fake.repo.write(&format!("packages/{name}-{version}.dist-info/METADATA"), &text);
    };
    package(&fake, "one", "1.0", "Requires-Dist: two>=2\nRequires-Dist: three; extra == 'x'\n");
    package(&fake, "two", "1.5", "");
    fake.repo.write("shadowed/x-0.1.dist-info/METADATA", "Name: one\nVersion: 0.1\n");
    let path = place.bring(&fake, "packages");
    let path = format!("{path}:{}", place.bring(&fake, "shadowed"));
    let variables = [("PYTHONPATH", &*path), ("NVIDIA_VISIBLE_DEVICES", "void")];
    let said = facts(&place.probe(&variables, "packages"));
    assert_eq!(
        (&said["packages"]["one"], &said["packages"]["two"]),
        (&"1.0".into(), &"1.5".into())
    );
    match said.get("unmet") {
        Some(unmet) => {
            let unmet = unmet.as_array().unwrap();
            let two = json!({"package": "one", "needs": "two", "specifier": ">=2", "found": "1.5"});
            assert!(unmet.contains(&two), "{unmet:?}");
            assert!(!unmet.iter().any(|one| one["needs"] == "three"), "{unmet:?}");
        }
        None => assert!(said["unmet_unknown"].as_str().unwrap().contains("packaging"), "{said:?}"),
    }
    fake.repo.write("backend/requirements.txt", "torch==2.5.1\ntwo==2.0\n");
    fake.answer(
        "image inspect localhost/xtask/p-backend:<digest>-<digest>.record",
        1,
        "[]\n",
        "Error: No such image\n",
    );
    under(&mut fake, &place.python(&variables), 120, "packages driver");
    fake.xtask(&["doctor", "interpreter", "pins"])
        .fails(1, &["✓ Python         3.", "✗ pins           two is 1.5, pinned is 2.0"]);
}

#[test]
fn the_kind_of_visible_devices_is_told_and_not_their_value() {
    let Some(place) = Place::any() else { return };
    for (value, want) in [
        ("", r#"{"kind": "empty"}"#),
        (" ", r#"{"kind": "empty"}"#),
        ("-1", r#"{"kind": "none"}"#),
        ("all", r#"{"kind": "all"}"#),
        ("secret", r#"{"kind": "none"}"#),
        ("0", r#"{"kind": "numbers", "highest": 0}"#),
        ("1, 7", r#"{"kind": "numbers", "highest": 7}"#),
        ("GPU-8932f937", r#"{"kind": "uuid"}"#),
    ] {
        let said = facts(&place.probe(&[("CUDA_VISIBLE_DEVICES", value)], "driver"));
        assert_eq!(said["visible"], serde_json::from_str::<Value>(want).unwrap(), "{value:?}");
    }
}

/// A driver of which nothing works but what the probe and torch ask first.
const DRIVER: &str = "
int cuInit(unsigned int flags) { return CODE; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = 0; return CODE; }
";

#[test]
fn the_real_torch_on_a_driver_that_fails() {
    let Some(place) = Place::in_image() else { return };
    let Place::Container { id, .. } = &place else { return };
    let nodes = "touch /dev/nvidia0 /dev/nvidiactl && chmod 666 /dev/nvidia*";
    place.docker(&["exec", "--user", "0", id, "sh", "-c", nodes]);
    for (code, version, check, finding, torch_says) in [
        (
            100,
            12040,
            "cuInit",
            "the driver sees no GPU (cuInit: error 100)",
            "No CUDA GPUs are available",
        ),
        (
            803,
            12040,
            "cuInit",
            "libcuda and the driver are of different versions (cuInit: error",
            "Error 803",
        ),
        (
            804,
            12040,
            "cuInit",
            "the image's cuda-compat does not work on this card (cuInit:",
            "Error 804",
        ),
        (
            3,
            12040,
            "cuInit",
            "the driver did not initialise (cuInit: error 3)",
            "CUDA driver initialization failed",
        ),
        (
            999,
            12040,
            "cuInit",
            "CUDA does not start, whatever nvidia-smi says (cuInit: error",
            "CUDA unknown error",
        ),
        // Of the same major version as torch's CUDA: new enough to be asked.
        (
            0,
            12020,
            "GPUs",
            "torch sees no GPU, although the driver starts",
            "not supported in the installed CUDA driver",
        ),
        (
            0,
            11040,
            "cuInit",
            "the driver is too old: it knows CUDA 11.4 at most",
            "too old (found version 11040)",
        ),
    ] {
        let mut fake = on_gpu();
        let name = format!("driver-{code}-{version}");
        fake.repo.write(&format!("{name}/driver.c"), DRIVER);
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o", "libcuda.so.1", "driver.c"])
            .args([format!("-DCODE={code}"), format!("-DVERSION={version}")])
            .current_dir(fake.repo.root.join(&name));
        Run::of(cc).ok();
        let directory = place.bring(&fake, &name);
        let variables = [("LD_LIBRARY_PATH", &*directory)];
        let printed = place.probe(&variables, "packages driver torch");
        let said = facts(&printed);
        assert!(said["why"].as_str().unwrap().contains(torch_says), "{said:?}");
        assert_eq!(said["cuda"], "12.4");
        fake.python(0, &printed, "");
        fake.xtask(&["doctor", "torch", "gpu"]).fails(
            1,
            &[
                "✓ torch          2.5.1+cu124",
                "✓ libcuda        libcuda.so.1 loads",
                &format!("✗ {check:<14} {finding}"),
            ],
        );
    }
    let none = facts(&place.probe(&[], "driver torch"));
    assert!(none["libcuda"].as_str().unwrap().contains("cannot open shared object file"));
    assert!(none["why"].as_str().unwrap().contains("Found no NVIDIA driver"), "{none:?}");
}

#[test]
fn the_real_image_has_what_it_needs() {
    let Some(place) = Place::in_image() else { return };
    let said = facts(&place.probe(&[], ""));
    assert_eq!(said["custom_fwd"], true, "{said:?}");
    let left_out = include_str!("../../../backend/excludes.txt").lines();
    let left_out: Vec<_> =
        left_out.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let is_left_out = |one: &&Value| left_out.contains(&one["needs"].as_str().unwrap());
    let unmet = said["unmet"].as_array().unwrap().iter();
    let unmet: Vec<_> = unmet.filter(|one| !is_left_out(one)).collect();
    assert!(unmet.is_empty(), "{unmet:?}");
}
