//! What is remembered between runs, below target/xtask: how long each command
//! took, and which engines' machines have an NVIDIA card. Losing it costs a
//! second of looking again, so trouble with it is never an error.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// How long the answer about a machine's card is believed.
const CARD_TRUSTED: Duration = Duration::from_secs(24 * 60 * 60);

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
        self.facts["seconds"][command] = json!((duration.as_secs_f64() * 10.0).round() / 10.0);
        self.save();
    }

    /// Whether the machine of the engine with this id has an NVIDIA card, as
    /// far as somebody looked within a day.
    pub fn card(&self, engine: &str) -> Option<bool> {
        let fact = &self.facts["cards"][engine];
        let age = now().checked_sub(fact["seen"].as_u64()?)?;
        fact["nvidia"].as_bool().filter(|_| age < CARD_TRUSTED.as_secs())
    }

    /// Remembers the answer about a card.
    pub fn saw_card(&mut self, engine: &str, nvidia: bool) {
        self.facts["cards"][engine] = json!({ "nvidia": nvidia, "seen": now() });
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

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_over_runs_and_survives_nonsense() {
        let root = std::env::temp_dir().join(format!("xtask-memory-{}", std::process::id()));
        let _ = fs_err::remove_dir_all(&root);
        let mut memory = Memory::of(&root);
        assert_eq!((memory.duration("full"), memory.card("e")), (None, None));
        memory.took("full", Duration::from_millis(190_240));
        memory.saw_card("e", false);
        let again = Memory::of(&root);
        assert_eq!(again.duration("full"), Some(Duration::from_millis(190_200)));
        assert_eq!((again.card("e"), again.card("other")), (Some(false), None));

        for (text, card) in
            [("[1]", None), ("{", None), (r#"{"cards":{"e":{"nvidia":true,"seen":1}}}"#, None)]
        {
            fs_err::write(root.join("target/xtask/memory.json"), text).unwrap();
            assert_eq!(Memory::of(&root).card("e"), card, "{text}");
            Memory::of(&root).took("fast", Duration::from_secs(1));
            assert_eq!(Memory::of(&root).duration("fast"), Some(Duration::from_secs(1)));
        }
    }
}
