//! What the probe reports about Python, torch and the NVIDIA driver in an image or a
//! container.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{self, Failure};
use crate::image::requirements::{self, Pins};
use crate::process::Finished;

/// The probe's report. What the probe was not asked, or did not get to, is
/// none or empty.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// Installed packages; empty where there is no Python to tell.
    pub packages: Pins,
    /// Python's version and where it lies.
    pub python: Option<(String, String)>,
    /// Requirements of installed packages that do not hold; an error where they could
    /// not be compared.
    pub unmet: Option<Result<Vec<Unmet>, String>>,
    pub driver: Driver,
    /// torch, or why it could not be looked at.
    pub torch: Result<Torch, String>,
    /// Where and how the probe ended before its end.
    pub cut_short: Option<String>,
    /// Whether it was ended, rather than crashed: too slow is not yet broken.
    pub hangs: bool,
    /// The exit code of Python, or of the docker that was to run it.
    pub code: i32,
}

/// A requirement of an installed package that does not hold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Unmet {
    pub package: String,
    /// The name of the package that it requires.
    pub needs: String,
    /// Such as `>=2,<3`; may be empty.
    pub specifier: String,
    /// The version that is installed, if any.
    pub found: Option<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unmet { package, needs, specifier, found } = self;
        let found = found.as_deref().unwrap_or("none");
        write!(f, "{package} needs {needs}{specifier}, found {found}")
    }
}

/// torch as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Torch {
    /// `torch.__version__`, with its local part (`2.5.1+cu124`).
    #[serde(rename = "torch")]
    pub version: String,
    /// The CUDA version it was built for; none for a CPU build.
    pub cuda: Option<String>,
    /// Whether it has `torch.amp.custom_fwd`.
    pub custom_fwd: bool,
    /// Names of the CUDA devices; none where it did not get as far as to say.
    pub devices: Option<Vec<String>>,
    /// What torch says where it sees none.
    pub why: Option<String>,
    /// Compute capability of each device.
    pub capabilities: Vec<(u64, u64)>,
    /// What it was compiled for: `sm_90`, `compute_90`, …
    pub archs: Vec<String>,
    /// Free and total bytes of the first device's memory.
    pub memory: Option<(u64, u64)>,
    /// `ok`, or what became of a small matrix product on the GPU.
    pub kernel: Option<String>,
}

/// The driver as the container sees it, without torch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Driver {
    /// `/dev/nvidia*`, each with `ok` or the error that opening it gave
    /// (`EPERM`, …); none where the probe did not get there.
    pub nodes: Option<BTreeMap<String, String>>,
    /// Whether there is /dev/dxg, WSL2's own device.
    pub wsl: bool,
    pub visible: Visible,
    /// Bytes of /dev/shm.
    pub shm: Option<u64>,
    /// `ok`, or what the dynamic linker says.
    pub libcuda: Option<String>,
    /// The newest CUDA that the driver knows, as `1000 * major + 10 * minor`.
    #[serde(rename = "driver")]
    pub version: Option<u64>,
    /// What `cuInit` returned; 0 is well.
    #[serde(rename = "cuInit")]
    pub cu_init: Option<u64>,
    /// The lines of `nvidia-smi -L`; none where there is no nvidia-smi.
    smi: Option<Vec<String>>,
    /// Processes that hold the GPUs' memory, as `PID, program, MiB`, as far as they
    /// show in the container.
    holders: Option<Vec<String>>,
}

impl Driver {
    /// What `nvidia-smi -L` says, in one line.
    pub fn smi(&self) -> Option<String> {
        self.smi.as_ref().map(|lines| lines.join("; "))
    }

    /// The processes that hold the GPUs' memory, in one line.
    pub fn holders(&self) -> Option<String> {
        self.holders.as_ref().filter(|lines| !lines.is_empty()).map(|lines| lines.join("; "))
    }
}

/// CUDA_VISIBLE_DEVICES, without its value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Visible {
    /// unset, empty, all, none, uuid or numbers.
    pub kind: String,
    /// The highest of the numbers.
    pub highest: Option<u64>,
}

/// The rest of what the probe says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    /// What it did last.
    stage: Option<String>,
    python: Option<String>,
    executable: String,
    packages: Option<BTreeMap<String, String>>,
    unmet: Option<Vec<Unmet>>,
    unmet_unknown: Option<String>,
    /// Why torch does not import.
    error: Option<String>,
}

impl Report {
    /// Reads what the probe wrote, whatever became of it.
    pub fn parse(probe: &Finished) -> Report {
        let mut said = Map::new();
        for line in probe.stdout.lines() {
            if let Ok(Value::Object(more)) = serde_json::from_str(line) {
                said.extend(more);
            }
        }
        let has_torch = said.contains_key("torch");
        let said = Value::Object(said);
        let rest: Rest = read(&said);
        let hangs = probe.timed_out.is_some() || probe.stderr.contains(TIMEOUT);
        let stage = rest.stage.as_deref();
        let torch = match rest.error {
            _ if has_torch => Ok(read(&said)),
            Some(error) => Err(format!("torch does not import: {error}")),
            // A process that ends with 0 in the middle ended itself.
            None if stage.is_some() => Err(ending(probe, stage)),
            None => Err(ending(probe, rest.packages.as_ref().map(|_| "importing torch"))),
        };
        let packages = rest.packages.into_iter().flatten();
        let named = |(name, version): (String, String)| (requirements::normalised(&name), version);
        Report {
            packages: packages.map(named).collect(),
            python: rest.python.map(|python| (python, rest.executable)),
            unmet: rest.unmet.map(Ok).or(rest.unmet_unknown.map(Err)),
            driver: read(&said),
            torch,
            cut_short: (probe.code != 0).then(|| ending(probe, stage)),
            hangs,
            code: probe.code,
        }
    }

    /// How the probe ended where it did not come to what was asked.
    pub fn ending(&self) -> &str {
        self.cut_short.as_deref().unwrap_or("the probe did not say")
    }

    /// Checks that torch imports and, where there is a pin, is that version.
    /// Fails with what is there instead.
    pub fn check(&self, pin: Option<&str>) -> Result<()> {
        match (&self.torch, pin) {
            (Err(why), _) => bail!(Failure::new(why)),
            (Ok(torch), Some(pin)) if !requirements::satisfies(&torch.version, pin) => {
                bail!(Failure::new(requirements::mismatch("torch", Some(&torch.version), pin)).advice(
                    "another requirement may have pulled it: `uv pip tree --invert --package torch` in the image tells"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What does not have the expected form is left out.
fn read<T: Default + DeserializeOwned>(said: &Value) -> T {
    T::deserialize(said).unwrap_or_default()
}

/// faulthandler, which ends a probe that hangs, writes "Timeout (0:00:50)!"
/// (CPython, `Modules/faulthandler.c`).
const TIMEOUT: &str = "Timeout (";

/// How a probe ended while at `stage`. One that hangs in the kernel can't even
/// end itself.
fn ending(probe: &Finished, stage: Option<&str>) -> String {
    if let (None, Some(cap)) = (stage, probe.timed_out) {
        return format!("python3 hangs: no word after {} s", cap.as_secs());
    }
    let Some(stage) = stage else {
        let why = error::last_line(&probe.stderr).unwrap_or_default();
        return format!("python3 did not run (exit code {}): {why}", probe.code);
    };
    if let Some(cap) = probe.timed_out {
        return format!("{stage} hangs: no end after {} s", cap.as_secs());
    }
    if let Some((_, rest)) = probe.stderr.split_once(TIMEOUT) {
        let after = rest.split(')').next().unwrap_or_default();
        return format!("{stage} hangs: no end after {after}");
    }
    let how = match (probe.code, error::last_line(&probe.stderr)) {
        // An exception that the probe did not expect.
        (1, Some(last)) => format!(": {last}"),
        (code, _) => {
            exit_meaning(code.into()).map(|meaning| format!(" ({meaning})")).unwrap_or_default()
        }
    };
    format!("{stage} ended Python with exit code {}{how}", probe.code)
}

/// What an exit code means; none where it has no fixed meaning.
pub fn exit_meaning(code: i64) -> Option<&'static str> {
    Some(match code {
        126 | 127 => "its command cannot be run",
        132 => "illegal instruction: a CPU without what the wheel needs",
        134 => "aborted",
        135 => "bus error: /dev/shm or the disk is full",
        137 => "killed, most often for lack of memory",
        139 => "segmentation fault",
        143 => "stopped by SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "../../tests/unit/probe_report.rs"]
mod tests;
