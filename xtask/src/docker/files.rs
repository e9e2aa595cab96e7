//! Which compose files are in force, and what .env says.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// What Compose looks for, in its order (compose-go, `cli/options.go`).
#[rustfmt::skip]
const NAMES: [[&str; 4]; 2] = [
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"],
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"],
];

/// The compose files the user works with: COMPOSE_FILE, from the shell or from
/// .env, or else those that Compose finds in `root` by itself.
/// Fails when .env exists but can't be read.
pub fn in_force(root: &Path) -> Result<Vec<String>> {
    if let Some(list) = setting(root, "COMPOSE_FILE")? {
        let default = if cfg!(windows) { ";" } else { ":" };
        let separator = setting(root, "COMPOSE_PATH_SEPARATOR")?.unwrap_or_else(|| default.into());
        return Ok(list.split(&separator).map(str::to_owned).collect());
    }
    // An override alone is no project.
    let found = |names: [&'static str; 4]| names.into_iter().find(|name| root.join(name).is_file());
    Ok(NAMES.into_iter().map_while(found).map(str::to_owned).collect())
}

/// The value of an environment variable or, failing that, of a line in .env; the shell
/// wins, as for Compose. An empty value counts as none.
/// Fails when .env exists but can't be read.
pub fn setting(root: &Path, key: &str) -> Result<Option<String>> {
    let mut value = env::var(key).ok();
    if value.is_none() {
        for path in env_files(root).into_iter().filter(|path| path.is_file()) {
            // What is not UTF-8 is Compose's to complain of.
            value = lookup(&String::from_utf8_lossy(&fs_err::read(path)?), key).or(value);
        }
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// For what platform images are to be that name none.
/// Fails when .env exists but can't be read.
pub fn default_platform(root: &Path) -> Result<Option<String>> {
    setting(root, "DOCKER_DEFAULT_PLATFORM")
}

/// .env, or those that COMPOSE_ENV_FILES names instead.
fn env_files(root: &Path) -> Vec<PathBuf> {
    let names = env::var("COMPOSE_ENV_FILES").unwrap_or_else(|_| ".env".into());
    names.split(',').map(|name| root.join(name)).collect()
}

/// The last value of `key` in a .env text.
fn lookup(text: &str, key: &str) -> Option<String> {
    let values = entries(text).filter(|(name, _)| *name == key);
    values.last().map(|(_, value)| value.to_owned())
}

/// The names that a .env text sets, in order, with whether their values are empty.
pub fn keys(text: &str) -> Vec<(String, bool)> {
    entries(text).map(|(name, value)| (name.to_owned(), value.is_empty())).collect()
}

/// The values that the env files set in `root`; of one with several lines each line.
pub fn values(root: &Path) -> Vec<String> {
    let texts = env_files(root).into_iter().filter_map(|path| fs_err::read(path).ok());
    texts.flat_map(|text| values_of(&String::from_utf8_lossy(&text))).collect()
}

fn values_of(text: &str) -> Vec<String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let goes_on = |line: &&str| assignment(line).is_none_or(|(name, _)| !is_name(name));
    let rest = lines(text).filter(goes_on).map(|line| line.trim_matches(['"', '\'']));
    entries(text).map(|(_, value)| value).chain(rest).map(str::to_owned).collect()
}

/// The names and values in a .env text: `export`, quotes, comments, CRLF and a
/// byte-order mark are understood, interpolation is not.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    lines(text).filter_map(assignment).map(|(name, value)| {
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
            _ => value.split(" #").next().map(str::trim_end),
        };
        (name, value.unwrap_or_default())
    })
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    Some((name.trim(), value.trim()))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.filter(|line| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_compose_reads_them() {
        for (text, want) in [
            ("KEY=v", Some("v")),
            ("\u{feff}KEY=v\r\n", Some("v")),
            ("export KEY = v", Some("v")),
            ("KEY=\"a # b\" # c", Some("a # b")),
            ("KEY='a b'", Some("a b")),
            ("KEY=a#b # c", Some("a#b")),
            ("KEY=1\nKEY=2", Some("2")),
            ("KEY=", Some("")),
            ("KEY", None),
            ("# KEY=v", None),
            ("OTHER_KEY=v", None),
            ("KEY='", Some("")),
            ("KEY='a\" b' c", Some("a\" b")),
        ] {
            assert_eq!(lookup(text, "KEY").as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn names_are_listed_without_their_values() {
        let text = "# A=1\nB=secret\nexport C=\nD=\"\" # none\n\nnonsense\n";
        let want = [("B", false), ("C", true), ("D", true)];
        assert_eq!(keys(text), want.map(|(name, empty)| (name.to_owned(), empty)));
        let text = "\u{feff}A=1 # why\nA=2\nBASE64/+=\n\"quoted rest\"\n";
        assert_eq!(values_of(text), ["1", "2", "", "BASE64/+=", "quoted rest"]);
        let several = "A=1\nB=\"un terminated\n-- next: line\nlast\"\n# none\n";
        assert_eq!(values_of(several), ["1", "un terminated", "-- next: line", "last"]);
    }

    #[test]
    fn composes_own_choice_of_files_is_followed() {
        let root = std::env::temp_dir().join(format!("xtask-files-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&root);
        fs_err::create_dir_all(&root).unwrap();
        assert!(in_force(&root).unwrap().is_empty());
        for name in ["docker-compose.yml", "docker-compose.override.yml"] {
            fs_err::write(root.join(name), "").unwrap();
        }
        assert_eq!(in_force(&root).unwrap(), ["docker-compose.yml", "docker-compose.override.yml"]);
        fs_err::write(root.join("compose.yaml"), "").unwrap();
        assert_eq!(in_force(&root).unwrap(), ["compose.yaml", "docker-compose.override.yml"]);
        fs_err::write(root.join(".env"), "COMPOSE_FILE=a.yml;b.yml\nCOMPOSE_PATH_SEPARATOR=;\n")
            .unwrap();
        assert_eq!(in_force(&root).unwrap(), ["a.yml", "b.yml"]);
        assert_eq!(values(&root), ["a.yml;b.yml", ";"]);
        fs_err::remove_dir_all(&root).unwrap();
    }
}
