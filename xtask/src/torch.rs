//! What [`PROBE`] reports about Python and torch in an image or a container.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    failure::Failure,
    process::Finished,
    requirements::{self, Pins},
};

/// The probe: one Python file, standard library plus torch, fed over stdin.
pub const PROBE: &str = include_str!("probe.py");

/// The probe's report.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// Installed packages; empty where there is no Python to tell.
    pub packages: Pins,
    /// torch, or why it could not be looked at.
    pub torch: Result<Torch, String>,
}

/// torch as it describes itself.
#[derive(Debug, Default, PartialEq)]
pub struct Torch {
    /// `torch.__version__`, with its local part (`2.5.1+cu124`).
    pub version: String,
    /// The CUDA version it was built for; none for a CPU build.
    pub cuda: Option<String>,
    /// `torch.cuda.is_available()`.
    pub available: bool,
    /// Names of the CUDA devices.
    pub devices: Vec<String>,
}

impl Report {
    /// Reads what the probe wrote, whatever became of it.
    pub fn parse(probe: &Finished) -> Report {
        let facts: Vec<Value> =
            probe.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let fact = |key: &str| facts.iter().find(|fact| fact.get(key).is_some());
        let packages =
            fact("packages").and_then(|f| f["packages"].as_object()).into_iter().flatten();
        let torch = match (fact("torch"), fact("error")) {
            (Some(torch), _) => Ok(Torch {
                version: torch["torch"].as_str().unwrap_or_default().to_owned(),
                cuda: torch["cuda"].as_str().map(str::to_owned),
                available: torch["available"] == true,
                devices: torch["devices"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|d| Some(d.as_str()?.to_owned()))
                    .collect(),
            }),
            (None, Some(error)) => Err(format!(
                "torch does not import: {}",
                error["error"].as_str().unwrap_or_default()
            )),
            (None, None) if fact("packages").is_some() => {
                Err(format!("importing torch ended Python with exit code {}", probe.code))
            }
            (None, None) => {
                let why = probe.stderr.trim().lines().last().unwrap_or_default();
                Err(format!("python3 did not run (exit code {}): {why}", probe.code))
            }
        };
        Report {
            packages: packages
                .filter_map(|(name, version)| {
                    Some((requirements::normalised(name), version.as_str()?.to_owned()))
                })
                .collect(),
            torch,
        }
    }

    /// Checks that torch imports and is the pinned version.
    ///
    /// # Errors
    /// With what is there instead.
    pub fn check(&self, pin: &str) -> Result<()> {
        match &self.torch {
            Ok(torch) if requirements::satisfies(&torch.version, pin) => Ok(()),
            Ok(torch) => bail!(Failure::new(format!("torch is {}, pinned is {pin}", torch.version))
                .hint("another requirement may have pulled it: `uv pip tree --invert --package torch` in the image tells")),
            Err(why) => bail!(Failure::new(why.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stdout: &str, code: i32) -> Report {
        Report::parse(&Finished {
            code,
            stdout: stdout.into(),
            stderr: "sh: python3: not found\n".into(),
        })
    }

    #[test]
    fn torch_as_it_may_turn_up() {
        let packages = r#"{"packages": {"Foo_Bar": "1.0"}}"#;
        let gpu = r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "available": true, "devices": ["NVIDIA H200"]}"#;
        let cpu = r#"{"torch": "2.5.1+cpu", "cuda": null, "available": false, "devices": []}"#;
        for (stdout, code, want) in [
            (format!("{packages}\n{gpu}\n"), 0, None),
            (format!("{packages}\n{cpu}\nnoise at exit\n"), 0, None),
            (
                format!("{packages}\n{}\n", gpu.replace("2.5.1", "2.6.0")),
                0,
                Some("torch is 2.6.0+cu124, pinned is 2.5.1"),
            ),
            (
                format!("{packages}\n{{\"error\": \"ImportError: libcudnn.so.9\"}}\n"),
                0,
                Some("torch does not import: ImportError: libcudnn"),
            ),
            (format!("{packages}\n"), 139, Some("importing torch ended Python with exit code 139")),
            (
                String::new(),
                127,
                Some("python3 did not run (exit code 127): sh: python3: not found"),
            ),
        ] {
            let report = report(&stdout, code);
            let got = report.check("2.5.1").err().map(|error| error.to_string());
            match want {
                None => assert_eq!(got, None),
                Some(want) => assert!(
                    got.clone().is_some_and(|got| got.contains(want)),
                    "{got:?} lacks {want}"
                ),
            }
        }
        assert_eq!(report(packages, 0).packages["foo-bar"], "1.0");
    }
}
