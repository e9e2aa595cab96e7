//! How long each command took last time. Nothing is decided by it, so no trouble is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One JSON file below target/xtask, read and written whole.
#[derive(Default, Deserialize, Serialize)]
pub struct Durations {
    #[serde(skip)]
    path: PathBuf,
    /// Seconds by command.
    #[serde(default)]
    seconds: BTreeMap<String, f64>,
}

impl Durations {
    /// Those of the clone at `root`; empty where none are noted yet.
    pub fn of(root: &Path) -> Durations {
        let path = root.join("target/xtask/memory.json");
        let text = fs_err::read_to_string(&path).unwrap_or_default();
        Durations { path, ..serde_json::from_str(&text).unwrap_or_default() }
    }

    pub fn last(&self, command: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(*self.seconds.get(command)?).ok()
    }

    pub fn note(&mut self, command: &str, took: Duration) {
        self.seconds.insert(command.to_owned(), (took.as_secs_f64() * 10.0).round() / 10.0);
        let _ = self.save();
    }

    /// Written beside and renamed, so that a second xtask never reads half of it.
    fn save(&self) -> std::io::Result<()> {
        let beside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        fs_err::create_dir_all(self.path.parent().unwrap_or(Path::new("")))?;
        fs_err::write(&beside, serde_json::to_string(self)?)?;
        fs_err::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_last_over_runs_and_survive_nonsense() {
        let root = std::env::temp_dir().join(format!("xtask-durations-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&root);
        let mut durations = Durations::of(&root);
        assert_eq!(durations.last("full"), None);
        durations.note("full", Duration::from_millis(190_240));
        assert_eq!(Durations::of(&root).last("full"), Some(Duration::from_millis(190_200)));
        for text in [
            "[1]",
            "{",
            r#"{"seconds":7}"#,
            r#"{"seconds":{"full":"x"}}"#,
            r#"{"seconds":{"full":-1}}"#,
        ] {
            fs_err::write(root.join("target/xtask/memory.json"), text).unwrap();
            assert_eq!(Durations::of(&root).last("full"), None, "{text}");
            Durations::of(&root).note("fast", Duration::from_secs(1));
            assert_eq!(Durations::of(&root).last("fast"), Some(Duration::from_secs(1)));
        }
        fs_err::remove_dir_all(&root).unwrap();
    }
}
