//! GPU or CPU: what the service is to run on.

use std::path::Path;

use anyhow::{Result, bail};

use crate::docker::{Docker, files};
use crate::error::{Failure, GPU_REMEDY, Remedy};

/// The compose file that removes the GPU reservation; relative to the repository's
/// root.
pub const CPU_FILE: &str = "docker-compose.cpu.yml";

/// Environment variable, or line in .env, that overrides the choice.
pub const SETTING: &str = "XTASK_DEVICE";

/// What the service runs on, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Device {
    Gpu,
    Cpu(&'static str),
    /// The engine has no image yet in which something could look for a card. Asked
    /// again once one is built.
    Unknown,
}

impl Device {
    pub fn is_cpu(self) -> bool {
        matches!(self, Device::Cpu(_))
    }

    /// Why it runs without a GPU.
    pub fn reason(self) -> Option<&'static str> {
        if let Device::Cpu(reason) = self { Some(reason) } else { None }
    }

    /// The same docker with the compose file that fits the device.
    pub fn docker(self, docker: &Docker) -> Docker {
        docker.adding(self.is_cpu().then_some(CPU_FILE))
    }

    /// The word for it in `status --json`.
    pub fn word(self) -> &'static str {
        match self {
            Device::Gpu => "gpu",
            Device::Cpu(_) => "cpu",
            Device::Unknown => "unknown",
        }
    }
}

/// The device that the user insists on, by the environment or .env; none for auto.
/// Fails when .env can't be read, or as [`parse`].
pub fn requested(root: &Path) -> Result<Option<Device>> {
    parse(files::setting(root, SETTING)?.as_deref())
}

/// Fails for anything but gpu, cpu and auto, with exit code 2.
fn parse(setting: Option<&str>) -> Result<Option<Device>> {
    Ok(match setting {
        None | Some("auto") => None,
        Some("gpu") => Some(Device::Gpu),
        Some("cpu") => Some(Device::Cpu("XTASK_DEVICE=cpu")),
        Some(other) => bail!(
            Failure::new(format!("{SETTING} is `{other}`"))
                .advice(format!("set {SETTING} to gpu, cpu or auto"))
                .code(2)
        ),
    })
}

/// Chooses from whether the engine hands out NVIDIA GPUs, and whether its
/// machine has a card (none: it could not be asked).
/// Fails when there is a card that the engine can't hand out: a GPU machine never runs
/// on the CPU unnoticed.
pub fn choose(hands_out: bool, is_wsl: bool, card: Option<bool>) -> Result<Device> {
    match (card, hands_out) {
        (Some(true) | None, true) => Ok(Device::Gpu),
        // WSL2 hands out the card as /dev/dxg; nothing shows on the PCI bus.
        (Some(false), true) if is_wsl => Ok(Device::Gpu),
        (Some(false), _) => Ok(Device::Cpu("no NVIDIA card on the engine's machine")),
        (None, false) => Ok(Device::Unknown),
        (Some(true), false) => Err(out_of_reach(card)),
    }
}

/// The failure of an engine that can't hand out the GPU it should, on a machine
/// that has a card or not.
pub fn out_of_reach(card: Option<bool>) -> anyhow::Error {
    if card == Some(false) {
        return Failure::new(format!("{SETTING}=gpu, but the engine's machine has no NVIDIA card"))
            .advice(format!("take {SETTING} out of the environment and .env"))
            .into();
    }
    let failure =
        Failure::new("the engine's machine has an NVIDIA card, but Docker cannot reach it");
    failure.remedy(&Remedy::new(GPU_REMEDY.0, GPU_REMEDY.1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_machine() {
        for (hands_out, is_wsl, card, want) in [
            (true, false, Some(true), Some("gpu")),
            (true, false, None, Some("gpu")),
            (true, false, Some(false), Some("cpu")),
            (true, true, Some(false), Some("gpu")),
            (false, false, Some(false), Some("cpu")),
            (false, true, Some(false), Some("cpu")),
            (false, false, None, Some("unknown")),
            (false, false, Some(true), None),
        ] {
            let got = choose(hands_out, is_wsl, card).ok().map(Device::word);
            assert_eq!(got, want, "gpus {hands_out} wsl {is_wsl} card {card:?}");
        }
    }

    #[test]
    fn a_device_says_why_it_is_no_gpu() {
        let none = choose(false, false, Some(false)).unwrap();
        assert_eq!(none.reason(), Some("no NVIDIA card on the engine's machine"));
        assert!(none.is_cpu() && !Device::Gpu.is_cpu() && !Device::Unknown.is_cpu());
        assert_eq!((Device::Gpu.reason(), Device::Unknown.reason()), (None, None));
        for (card, says) in [
            (Some(false), "XTASK_DEVICE=gpu, but the engine's machine has no NVIDIA card"),
            (Some(true), "the engine's machine has an NVIDIA card, but Docker cannot reach it"),
            (None, "the engine's machine has an NVIDIA card, but Docker cannot reach it"),
        ] {
            assert_eq!(out_of_reach(card).to_string(), says);
        }
    }

    #[test]
    fn the_setting_is_read_from_env() {
        let root = std::env::temp_dir().join(format!("xtask-device-{}", std::process::id()));
        fs_err::create_dir_all(&root).unwrap();
        assert_eq!(requested(&root).unwrap(), None);
        fs_err::write(root.join(".env"), "XTASK_DEVICE=gpu\n").unwrap();
        assert_eq!(requested(&root).unwrap(), Some(Device::Gpu));
        fs_err::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_setting_is_checked() {
        assert_eq!(parse(Some("gpu")).unwrap(), Some(Device::Gpu));
        assert_eq!(parse(Some("cpu")).unwrap().map(Device::word), Some("cpu"));
        assert_eq!((parse(Some("auto")).unwrap(), parse(None).unwrap()), (None, None));
        let error = parse(Some("GPU0")).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 2);
        assert!(crate::error::render(&error).contains("hint: set XTASK_DEVICE"));
    }
}
