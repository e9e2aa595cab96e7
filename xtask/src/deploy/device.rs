//! GPU or CPU: what the service is to run on.

use std::fmt;

use anyhow::{Result, bail};

use crate::error::{Failure, GPU_REMEDY};

/// Environment variable, or line in .env, that overrides the choice.
pub const SETTING: &str = "XTASK_DEVICE";

/// What the service runs on, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Device {
    Gpu,
    Cpu(&'static str),
    /// Nothing on the engine could look for a card yet; asked again once there
    /// is an image.
    Unknown,
}

impl Device {
    pub fn is_cpu(self) -> bool {
        matches!(self, Device::Cpu(_))
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

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu(why) => write!(f, "cpu ({why})"),
            other => f.write_str(other.word()),
        }
    }
}

/// The user's wish: `None` for auto.
///
/// # Errors
/// For anything but gpu, cpu and auto, with exit code 2.
pub fn forced(setting: Option<&str>) -> Result<Option<Device>> {
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
/// machine has a card (none: nobody could look).
///
/// # Errors
/// When there is a card that the engine can't hand out: a GPU machine never
/// runs on the CPU unnoticed.
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
    failure.remedy(&GPU_REMEDY).into()
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
    fn the_setting_is_checked() {
        assert_eq!(forced(Some("gpu")).unwrap(), Some(Device::Gpu));
        assert_eq!(forced(Some("cpu")).unwrap().map(Device::word), Some("cpu"));
        assert_eq!((forced(Some("auto")).unwrap(), forced(None).unwrap()), (None, None));
        let error = forced(Some("GPU0")).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 2);
        assert!(crate::error::render(&error).contains("hint: set XTASK_DEVICE"));
    }
}
