//! The engine's machine, which may be another than this one.

use std::path::{Path, PathBuf};

use super::Container;

/// NVIDIA's number on the PCI bus.
const NVIDIA: &str = "0x10de";

/// The engine's machine, as any container on it sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Whether an NVIDIA card is on the PCI bus.
    pub nvidia_card: bool,
    /// Version of the NVIDIA kernel module that is loaded.
    pub driver: Option<String>,
    /// Bytes free where the engine stores images, from the container's own file system.
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
        let mut module = text.lines().filter(|line| line.starts_with("NVRM version:"));
        let is_version = |word: &&str| {
            word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.')
        };
        // POSIX: "fuse-overlayfs 264212084 20371196 74914692 22% /".
        let mut root = text.lines().filter(|line| line.ends_with(" /"));
        let kilobytes = |line: &str| line.split_whitespace().rev().nth(2)?.parse::<u64>().ok();
        Machine {
            nvidia_card: text.lines().any(|line| line.trim() == NVIDIA),
            driver: module
                .find_map(|line| line.split_whitespace().find(is_version))
                .map(str::to_owned),
            free: root.find_map(kilobytes).map(|kilobytes| kilobytes * 1024),
        }
    }
}

/// [`card_here`] if the container runs on this machine: this kernel has then put its
/// process into a control group that bears its id. None elsewhere.
pub fn card_beside(container: &Container) -> Option<bool> {
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", container.state.pid)).ok()?;
    let here = container.id.len() == 64 && groups.contains(&container.id);
    here.then(card_here)?
}

/// Whether an NVIDIA card is on this machine's PCI bus; none where the bus does not
/// tell, as in WSL2, where a card is `/dev/dxg`.
pub fn card_here() -> Option<bool> {
    card_on(Path::new("/"))
}

fn card_on(root: &Path) -> Option<bool> {
    let version = std::fs::read_to_string(root.join("proc/version")).ok()?;
    if version.contains("microsoft") || version.contains("WSL") || root.join("dev/dxg").exists() {
        return None;
    }
    let devices = std::fs::read_dir(root.join("sys/bus/pci/devices")).ok()?;
    let vendor = |path: PathBuf| std::fs::read_to_string(path.join("vendor")).ok();
    let vendors: Option<Vec<_>> = devices.map(|device| vendor(device.ok()?.path())).collect();
    let vendors = vendors.filter(|vendors| !vendors.is_empty())?;
    Some(vendors.iter().any(|vendor| vendor.trim() == NVIDIA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_tells_of_a_card_or_does_not_tell() {
        let root = std::env::temp_dir().join(format!("xtask-machine-{}", std::process::id()));
        for (version, vendors, want) in [
            ("Linux version 6.1.0", &["0x8086\n", "0x10de\n"][..], Some(true)),
            ("Linux version 6.1.0", &["0x8086\n"], Some(false)),
            ("Linux version 6.1.0", &[], None),
            ("Linux version 5.15.90.1-microsoft-standard-WSL2", &["0x1414\n"], None),
        ] {
            let _ = fs_err::remove_dir_all(&root);
            fs_err::create_dir_all(root.join("proc")).unwrap();
            fs_err::write(root.join("proc/version"), version).unwrap();
            assert_eq!(card_on(&root), None, "no bus");
            fs_err::create_dir_all(root.join("sys/bus/pci/devices")).unwrap();
            for (n, vendor) in vendors.iter().enumerate() {
                let device = root.join("sys/bus/pci/devices").join(n.to_string());
                fs_err::create_dir_all(&device).unwrap();
                fs_err::write(device.join("vendor"), vendor).unwrap();
            }
            assert_eq!(card_on(&root), want, "{version} {vendors:?}");
        }
        fs_err::remove_dir_all(&root).unwrap();
        // No process of this machine bears such an id.
        let json = format!(r#"{{"Id":"{}","State":{{"Pid":1}}}}"#, "f".repeat(64));
        let elsewhere: Container = serde_json::from_str(&json).unwrap();
        assert_eq!(card_beside(&elsewhere), None);
    }

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
