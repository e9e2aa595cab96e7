//! What Docker holds on the engine's disk.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Bytes of images and build cache, to the four digits that `docker system df
/// --format '{{json .}}'` prints.
///
/// # Errors
/// When it isn't JSON.
pub fn disk_use(json: &str) -> Result<u64> {
    let mut bytes = 0;
    for line in json.lines() {
        let total: Value =
            serde_json::from_str(line).context("reading what `docker system df` printed")?;
        if ["Images", "Build Cache"].iter().any(|kind| total["Type"] == *kind) {
            bytes += total["Size"].as_str().and_then(size).unwrap_or_default();
        }
    }
    Ok(bytes)
}

/// One record of the build cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRecord {
    pub id: String,
    /// Ids of the records it builds on.
    pub parents: Vec<String>,
    /// Whether an image has its layer too.
    pub shared: bool,
}

/// The build cache, from `docker system df --verbose --format '{{json .}}'`.
///
/// # Errors
/// When it isn't JSON.
pub fn build_cache(json: &str) -> Result<Vec<CacheRecord>> {
    let usage: Value =
        serde_json::from_str(json).context("reading what `docker system df` printed")?;
    let records = usage["BuildCache"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(records
        .map(|record| CacheRecord {
            id: text(&record["ID"]),
            parents: text(&record["Parent"]).split(", ").map(str::to_owned).collect(),
            shared: text(&record["Shared"]) == "true",
        })
        .collect())
}

/// Bytes of a size such as `7.912GB`; Docker counts in powers of 1000.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let power = ["B", "kB", "MB", "GB", "TB"].iter().position(|unit| *unit == &text[digits..])?;
    Some((text[..digits].parse::<f64>().ok()? * 1000_f64.powi(power as i32)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_use_adds_images_and_build_cache() {
        let totals = [("Images", "7.5GB"), ("Local Volumes", "9TB"), ("Build Cache", "227B")]
            .map(|(kind, size)| format!(r#"{{"Type":"{kind}","Size":"{size}"}}"#));
        assert_eq!(disk_use(&totals.join("\n")).unwrap(), 7_500_000_227);
        assert!(disk_use("no json").is_err());
        assert_eq!(
            (size("52.43MB"), size("176kB"), size("?")),
            (Some(52_430_000), Some(176_000), None)
        );
    }

    #[test]
    fn build_cache_records_know_their_parents() {
        let json = r#"{"BuildCache":[{"ID":"a","Parent":"","Shared":"true"},{"ID":"b","Parent":"a, x","Shared":"false"}]}"#;
        let got = build_cache(json).unwrap();
        assert_eq!((&*got[1].id, got[1].shared, got[0].shared), ("b", false, true));
        assert_eq!(got[1].parents, ["a", "x"]);
        assert!(build_cache("").is_err());
    }
}
