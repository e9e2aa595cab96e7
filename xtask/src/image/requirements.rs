//! backend/requirements.txt: the one place where versions are pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::error::Failure;

/// Where the requirements stand, relative to the repository's root.
pub const PATH: &str = "backend/requirements.txt";

/// Packages that the image leaves out although others need them, one a line: uv's `--excludes`.
pub const EXCLUDES: &str = "backend/excludes.txt";

/// Versions by normalised package names. Of several pins of one package the last counts.
pub type Pins = BTreeMap<String, String>;

/// Fails when the file is missing, unreadable or not UTF-8.
pub fn read(root: &Path) -> Result<String> {
    fs_err::read_to_string(root.join(PATH))
        .map_err(|error| {
            let failure = Failure::new(error.to_string());
            match error.kind() {
                ErrorKind::NotFound => failure.hint(format!("git checkout -- {PATH}")),
                ErrorKind::InvalidData => failure.advice(format!("save {PATH} as UTF-8")),
                // It may hold work that is not committed.
                _ => failure.hint(format!("ls -l {PATH}   # whether you may read it")),
            }
        })
        .with_context(|| format!("reading the pins in {PATH}"))
}

/// Normalised names of the packages that are left out on purpose; the file may be missing.
pub fn excludes(root: &Path) -> Result<Vec<String>> {
    let path = root.join(EXCLUDES);
    let text = if path.exists() { fs_err::read_to_string(path)? } else { String::new() };
    let names = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(names.filter(|name| !name.is_empty()).map(normalised).collect())
}

/// The exact pins (`name==version`, PEP 508) of a requirements file; it may hold more.
pub fn pins(text: &str) -> Pins {
    let text = text.trim_start_matches('\u{feff}').replace("\\\r\n", " ").replace("\\\n", " ");
    text.lines().filter_map(pin).collect()
}

fn pin(line: &str) -> Option<(String, String)> {
    let line = line.split(" #").next()?.trim();
    if line.starts_with(['#', '-']) {
        return None;
    }
    let (name, version) = line.split(';').next()?.split_once("==")?;
    let name = name.split('[').next()?.trim();
    let mut parts = version.trim_start_matches('=').split([' ', ',']);
    Some((normalised(name), parts.find(|part| !part.is_empty())?.to_owned()))
}

/// A package name as PyPI compares it (PEP 503): lowercase, runs of `-_.` as one `-`.
pub fn normalised(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

/// Whether an installed version satisfies a pin (PEP 440): a local part (`2.5.1+cu124`) counts only
/// where the pin has one too, zeros at the end do not, and `2.5.*` stands for all that begin so.
pub fn satisfies(installed: &str, pin: &str) -> bool {
    let public = installed.split('+').next().unwrap_or_default();
    let installed = if pin.contains('+') { installed } else { public };
    match pin.strip_suffix(".*") {
        Some(prefix) => format!("{installed}.").starts_with(&format!("{prefix}.")),
        None => installed.trim_end_matches(".0") == pin.trim_end_matches(".0"),
    }
}

/// A package that is not what its pin says: `installed` is none where it is missing.
pub fn mismatch(name: &str, installed: Option<&str>, pin: &str) -> String {
    match installed {
        Some(installed) => format!("{name} is {installed}, pinned is {pin}"),
        None => format!("{name} is missing, pinned is {pin}"),
    }
}

/// What differs from `old` to `new`, by name, such as `torch 2.5.0 → 2.5.1`.
pub fn changes(old: &Pins, new: &Pins) -> Vec<String> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some(to)) => Some(format!("{name} {to} added")),
        (Some(from), None) => Some(format!("{name} {from} removed")),
        (Some(from), Some(to)) if from != to => Some(format!("{name} {from} → {to}")),
        _ => None,
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_past_everything_else_a_line_may_hold() {
        for (text, want) in [
            ("torch==2.5.1", "torch 2.5.1"),
            ("torch == 2.5.1 # why\r\n", "torch 2.5.1"),
            ("\u{feff}torch===2.5.1", "torch 2.5.1"),
            ("uvicorn[standard]==0.34.2", "uvicorn 0.34.2"),
            ("torch==2.5.1 ; sys_platform == 'linux'", "torch 2.5.1"),
            ("torch==2.5.1 \\\n    --hash=sha256:ab", "torch 2.5.1"),
            ("Foo_Bar.baz==1", "foo-bar-baz 1"),
            ("torch==2.5.0\ntorch==2.5.1", "torch 2.5.1"),
            ("torch==2.5.1,<3", "torch 2.5.1"),
            ("torch>=2.5\nbeautifulsoup4\n# torch==1\n-r other.txt\n--find-links a==b\n\n", ""),
        ] {
            let got: Vec<_> = pins(text).iter().map(|(n, v)| format!("{n} {v}")).collect();
            assert_eq!(got.join(", "), want, "{text:?}");
        }
    }

    #[test]
    fn requirements_that_cannot_be_read_say_what_to_do() {
        let root = std::env::temp_dir().join(format!("xtask-pins-{}", std::process::id()));
        let says = || read(&root).map_err(|error| crate::error::render(&error));
        assert!(says().unwrap_err().contains("hint: git checkout -- backend/requirements.txt"));
        fs_err::create_dir_all(root.join("backend")).unwrap();
        fs_err::write(root.join(PATH), b"torch==2.5.1 # \xff").unwrap();
        assert!(says().unwrap_err().contains("hint: save backend/requirements.txt as UTF-8"));
        fs_err::write(root.join(PATH), "torch==2.5.1").unwrap();
        assert_eq!(says().unwrap(), "torch==2.5.1");
        fs_err::remove_dir_all(root).unwrap();
        assert_eq!(mismatch("a", Some("1"), "2"), "a is 1, pinned is 2");
        assert_eq!(mismatch("a", None, "2"), "a is missing, pinned is 2");
    }

    #[test]
    fn what_is_left_out_is_read_past_comments() {
        let root = std::env::temp_dir().join(format!("xtask-excludes-{}", std::process::id()));
        assert!(excludes(&root).unwrap().is_empty(), "no file, nothing left out");
        fs_err::create_dir_all(root.join("backend")).unwrap();
        fs_err::write(root.join(EXCLUDES), "# why\nOCI\n\n foo_bar # too\n").unwrap();
        assert_eq!(excludes(&root).unwrap(), ["oci", "foo-bar"]);
        fs_err::remove_dir_all(root).unwrap();
    }

    #[test]
    fn changes_name_old_and_new() {
        let (old, new) =
            (pins("torch==2.5.0\nold==1\nsame==1"), pins("torch==2.5.1\nnew==2\nsame==1"));
        assert_eq!(changes(&old, &new), ["new 2 added", "old 1 removed", "torch 2.5.0 → 2.5.1"]);
    }

    #[test]
    fn a_local_version_part_counts_only_where_it_is_pinned() {
        assert!(satisfies("2.5.1+cu124", "2.5.1") && satisfies("2.5.1+cpu", "2.5.1+cpu"));
        assert!(!satisfies("2.5.1+cu124", "2.5.1+cpu") && !satisfies("2.5.10", "2.5.1"));
        assert!(
            satisfies("2.3.0", "2.3") && satisfies("2.3", "2.3.0") && !satisfies("2.30", "2.3")
        );
        assert!(satisfies("2.5.1", "2.5.*") && !satisfies("2.50.1", "2.5.*"));
    }
}
