//! The engine's machine, which may be another than this one.

use super::Container;

/// NVIDIA's number among the vendors of the PCI bus.
const NVIDIA: &str = "0x10de";

/// The engine's machine, as any container on it sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Whether an NVIDIA card is on the PCI bus.
    pub nvidia_card: bool,
    /// Version of the NVIDIA kernel module that is loaded.
    pub driver: Option<String>,
    /// Bytes free where the engine stores images: what an overlay file system
    /// says of its upper directory.
    pub free: Option<u64>,
}

/// Prints what [`Machine::parse`] reads. The PCI bus and the kernel module's
/// version show in any container, without toolkit or driver in it.
pub const LOOK: &str = "cat /sys/bus/pci/devices/*/vendor /proc/driver/nvidia/version 2>/dev/null; \
                        df -kP / 2>/dev/null; true";

impl Machine {
    /// Parses what a shell prints on [`LOOK`]; what is missing is none.
    pub fn parse(text: &str) -> Machine {
        // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu …", or
        // "… Open Kernel Module for x86_64  560.35.03  Release Build …".
        let version = |word: &&str| {
            word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.')
        };
        let module = text.lines().find(|line| line.starts_with("NVRM version:"));
        Machine {
            nvidia_card: text.lines().any(|line| line.trim() == NVIDIA),
            driver: module
                .and_then(|line| line.split_whitespace().find(version))
                .map(str::to_owned),
            // POSIX: "fuse-overlayfs 264212084 20371196 74914692 22% /".
            free: text
                .lines()
                .filter(|line| line.ends_with(" /"))
                .find_map(|line| line.split_whitespace().rev().nth(2)?.parse::<u64>().ok())
                .map(|kilobytes| kilobytes * 1024),
        }
    }
}

/// Whether an NVIDIA card is on the PCI bus of the machine that a container runs
/// on, which is this one if this kernel has put the container's process into a
/// control group that bears its id; else none. None in WSL2, where no card
/// shows there.
pub fn card_beside(container: &Container) -> Option<bool> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let here = container.id.len() == 64
        && read(&format!("/proc/{}/cgroup", container.pid)).contains(&container.id);
    (here && !read("/proc/version").contains("microsoft")).then(card_here)
}

/// Whether an NVIDIA card is on this machine's PCI bus.
pub fn card_here() -> bool {
    let devices = std::fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    let vendors =
        devices.filter_map(|device| std::fs::read_to_string(device.path().join("vendor")).ok());
    vendors.into_iter().any(|vendor| vendor.trim() == NVIDIA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_what_a_container_sees() {
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\nfuse-overlayfs 264212084 20371196 74914692 22% /\n";
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version:  gcc version 12.3.0\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.77  Release Build  (x@y)\n";
        for (text, card, driver, free) in [
            (
                format!("0x8086\n0x10de\n{closed}{df}"),
                true,
                Some("550.54.14"),
                Some(76_712_644_608),
            ),
            (format!("0x10de\n{open}"), true, Some("565.77"), None),
            (format!("0x8086\n{df}"), false, None, Some(76_712_644_608)),
            (String::new(), false, None, None),
        ] {
            let machine = Machine::parse(&text);
            assert_eq!(
                (machine.nvidia_card, machine.driver.as_deref(), machine.free),
                (card, driver, free)
            );
        }
    }
}
