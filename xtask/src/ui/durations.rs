//! What is remembered between runs, below target/xtask: how long each command
//! took. Nothing is decided by it, so trouble with it is never an error.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

/// One JSON file, read and written whole.
pub struct Memory {
    path: PathBuf,
    facts: Value,
}

impl Memory {
    /// The memory of the clone at `root`; empty where there is none yet.
    pub fn of(root: &Path) -> Memory {
        let path = root.join("target/xtask/memory.json");
        let facts =
            fs_err::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
        Memory { path, facts: facts.filter(Value::is_object).unwrap_or_else(|| json!({})) }
    }

    /// How long `command` took when it last succeeded.
    pub fn duration(&self, command: &str) -> Option<Duration> {
        self.facts["seconds"][command]
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Remembers how long `command` took.
    pub fn took(&mut self, command: &str, duration: Duration) {
        if !self.facts["seconds"].is_object() {
            self.facts["seconds"] = json!({});
        }
        self.facts["seconds"][command] = json!((duration.as_secs_f64() * 10.0).round() / 10.0);
        self.save();
    }

    /// Written beside and renamed, so that a second xtask never reads half.
    fn save(&self) {
        let beside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let _ = self.path.parent().map(fs_err::create_dir_all);
        let _ = fs_err::write(&beside, self.facts.to_string())
            .and_then(|()| fs_err::rename(&beside, &self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_over_runs_and_survives_nonsense() {
        let root = std::env::temp_dir().join(format!("xtask-memory-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&root);
        let mut memory = Memory::of(&root);
        assert_eq!(memory.duration("full"), None);
        memory.took("full", Duration::from_millis(190_240));
        assert_eq!(Memory::of(&root).duration("full"), Some(Duration::from_millis(190_200)));

        for text in ["[1]", "{", r#"{"seconds":7}"#, r#"{"seconds":{"full":"x"}}"#] {
            fs_err::write(root.join("target/xtask/memory.json"), text).unwrap();
            assert_eq!(Memory::of(&root).duration("full"), None, "{text}");
            Memory::of(&root).took("fast", Duration::from_secs(1));
            assert_eq!(Memory::of(&root).duration("fast"), Some(Duration::from_secs(1)));
        }
        fs_err::remove_dir_all(&root).unwrap();
    }
}
