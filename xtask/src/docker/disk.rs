//! What BuildKit's cache holds on the engine's disk.

/// One record of the build cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheRecord {
    pub id: String,
    /// Whether an image has its layer too.
    pub shared: bool,
}

/// The build cache, from `docker buildx du --verbose`: a block of `key: value`
/// lines a record (buildx, `commands/diskusage.go`). `docker system df` says the
/// same as JSON, but walks through all images for it, half a minute where one
/// has 8 GB.
pub fn build_cache(text: &str) -> Vec<CacheRecord> {
    let mut records: Vec<CacheRecord> = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match (key, records.last_mut()) {
            ("ID", _) => records.push(CacheRecord { id: value.into(), ..CacheRecord::default() }),
            // The sum below the records has this key too, with a size.
            ("Shared", Some(record)) if value == "true" => record.shared = true,
            _ => {}
        }
    }
    records
}

/// What a prune says it has freed, such as `7.29GB`, in its last line.
pub fn freed(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| line.strip_prefix("Total:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_cache_records_are_read() {
        let text = "ID:\t\ta\nMutable:\tfalse\nShared:\t\ttrue\nSize:\t\t7.29GB\nDescription:\tRUN echo Shared: x\n\n\
                    ID:\t\tb\nParent:\t\ta,x\nShared:\t\tfalse\n\nShared:\t\t7.29GB\nTotal:\t\t7.3GB\n";
        let record = |id: &str, shared| CacheRecord { id: id.into(), shared };
        assert_eq!(build_cache(text), [record("a", true), record("b", false)]);
        assert!(build_cache("").is_empty());
        assert_eq!((freed(text), freed("")), (Some("7.3GB"), None));
    }
}
