//! How an image knows what it was built from.
//!
//! A label would change the image's id, and with it whether containers count as up to date; a local
//! file would not survive a fresh clone. So the digests of the inputs are one more *name* of the
//! image on its engine: `localhost/xtask/<project>-backend:<inputs>-<requirements>`.
//!
//! A build by hand yields another image, which lacks the name, or from the same inputs the same
//! image, for which it is true. Beside it stands an image of no size, `….record`, whose label lists
//! the inputs, to say *what* changed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::SERVICE;
use super::inputs::Inputs;
use super::requirements::{self, Pins};
use crate::process;

pub const LABEL: &str = "xtask.record";

/// A longer list of files is left out of a record, since a command line ends at 32 KiB
/// on Windows. Only a decision's wording needs it.
const LONGEST_RECORD: usize = 24 * 1024;

/// The repository that holds our names for a project's images.
pub fn repository(project: &str) -> String {
    format!("localhost/xtask/{project}-{SERVICE}")
}

/// The name of the image of `project` that is built from `inputs`.
pub fn name(project: &str, inputs: &Inputs) -> String {
    let (all, requirements) = (inputs.digest(), inputs.requirements_digest());
    format!("{}:{}-{}", repository(project), short(&all), short(&requirements))
}

/// 64 bits tell a project's few images apart.
fn short(digest: &str) -> &str {
    &digest[..16]
}

/// The temporary tag of the image that this run builds; no other run moves it.
pub fn temporary(project: &str) -> String {
    format!("{}:building-{}", repository(project), process::run_id())
}

/// Whether a name is [`temporary`], of this run or another.
pub fn is_temporary(name: &str) -> bool {
    name.rsplit(':').next().is_some_and(|tag| tag.starts_with("building-"))
}

/// The name of the image to roll back to: the one that served before the last swap.
pub fn previous(project: &str) -> String {
    format!("{}:previous", repository(project))
}

/// The name of an image that did not serve and is kept for inspection.
pub fn failed(project: &str) -> String {
    format!("{}:failed", repository(project))
}

pub fn record_name(name: &str) -> String {
    format!("{name}.record")
}

#[derive(Default, Deserialize)]
struct Record {
    pins: Option<Pins>,
    files: Option<BTreeMap<String, String>>,
}

pub fn record(inputs: &Inputs) -> String {
    let pins = requirements::pins(&inputs.requirements);
    let whole = json!({ "pins": pins, "files": inputs.files }).to_string();
    if whole.len() <= LONGEST_RECORD { whole } else { json!({ "pins": pins }).to_string() }
}

/// What an image was built from, compared with the inputs as they are now.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Built by hand, or before xtask, or elsewhere.
    Unknown,
    /// From these very inputs.
    Current,
    /// From others; `name` leads to the record that says which.
    Stale { name: String, requirements: bool },
}

/// Looks up an image's origin among its names.
pub fn origin(project: &str, names: &[String], inputs: &Inputs) -> Origin {
    let prefix = repository(project) + ":";
    let (current, requirements) = (name(project, inputs), inputs.requirements_digest());
    let is_digest = |part: &str| part.len() == 16 && part.chars().all(|c| c.is_ascii_hexdigit());
    let is_ours = |name: &&String| {
        let digests = name.strip_prefix(&prefix).and_then(|tag| tag.split_once('-'));
        digests.is_some_and(|(all, requirements)| is_digest(all) && is_digest(requirements))
    };
    let ours: Vec<&String> = names.iter().filter(is_ours).collect();
    if ours.contains(&&current) {
        return Origin::Current;
    }
    // The same image may come from several inputs; the nearest speaks for it.
    let same_requirements = ours.iter().find(|name| name.ends_with(short(&requirements)));
    same_requirements.or(ours.first()).map_or(Origin::Unknown, |name| Origin::Stale {
        name: (*name).clone(),
        requirements: same_requirements.is_none(),
    })
}

/// What differs between a record and the inputs as they are now.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// Changed, added or removed files by name, with the word for it.
    pub files: Vec<(String, &'static str)>,
    pub pins: Vec<String>,
}

/// Compares a record, if there still is one, with the inputs.
pub fn differences(record: Option<&str>, inputs: &Inputs) -> Differences {
    let record = record.and_then(|text| serde_json::from_str(text).ok());
    let Record { pins, files } = record.unwrap_or_default();
    let files = files.map(|old| {
        let new = &inputs.files;
        let here = new.iter().filter_map(|(name, digest)| match old.get(name) {
            None => Some((name.clone(), "added")),
            Some(old) => (old != digest).then(|| (name.clone(), "changed")),
        });
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        here.chain(gone.map(|name| (name.clone(), "removed"))).collect()
    });
    let pins =
        pins.map(|old| requirements::changes(&old, &requirements::pins(&inputs.requirements)));
    Differences { files: files.unwrap_or_default(), pins: pins.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(requirements: &str, files: &[(&str, &str)]) -> Inputs {
        let files =
            files.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
        Inputs { files, requirements: requirements.to_owned() }
    }

    #[test]
    fn an_image_is_known_by_its_names_only() {
        let now = inputs("torch==2.5.1", &[("app.py", "1")]);
        let code = inputs("torch==2.5.1", &[("app.py", "0")]);
        let pins = inputs("torch==2.5.0", &[("app.py", "1")]);
        let origin = |names: &[String]| origin("p", names, &now);
        assert_eq!(origin(&["p-backend:latest".into()]), Origin::Unknown);
        assert_eq!(origin(&[name("other", &now)]), Origin::Unknown);
        assert_eq!(
            origin(&[failed("p"), previous("p"), temporary("p"), record_name(&name("p", &now))]),
            Origin::Unknown
        );
        assert_eq!(origin(&[name("p", &code), name("p", &now)]), Origin::Current);
        assert_eq!(
            origin(&[name("p", &code)]),
            Origin::Stale { name: name("p", &code), requirements: false }
        );
        assert_eq!(
            origin(&[name("p", &pins)]),
            Origin::Stale { name: name("p", &pins), requirements: true }
        );
        assert_eq!(
            origin(&[name("p", &pins), name("p", &code)]),
            Origin::Stale { name: name("p", &code), requirements: false }
        );
    }

    #[test]
    fn a_name_is_a_valid_tag() {
        let tag = record_name(&name("p", &inputs("torch==2.5.1", &[])));
        let tag = tag.rsplit(':').next().unwrap();
        assert!(
            tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)),
            "{tag}"
        );
    }

    #[test]
    fn a_record_says_what_changed() {
        let old = inputs("torch==2.5.0\n", &[("app.py", "0"), ("gone.py", "1"), ("same", "1")]);
        let new = inputs("torch==2.5.1\n", &[("app.py", "1"), ("new.py", "1"), ("same", "1")]);
        let got = differences(Some(&record(&old)), &new);
        let want = [("app.py", "changed"), ("new.py", "added"), ("gone.py", "removed")];
        assert_eq!(got.files, want.map(|(name, word)| (name.to_owned(), word)));
        assert_eq!(got.pins, ["torch 2.5.0 → 2.5.1"]);
    }

    #[test]
    fn a_lost_or_cut_record_says_nothing_wrong() {
        let new = inputs("torch==2.5.1", &[("app.py", "1")]);
        assert_eq!(differences(None, &new), Differences::default());
        assert_eq!(differences(Some("nonsense"), &new), Differences::default());
        let many: Vec<_> = (0..1000).map(|i| format!("backend/some/file-{i}.py")).collect();
        let many: Vec<_> = many.iter().map(|name| (&**name, "0123456789abcdef")).collect();
        let cut = record(&inputs("torch==2.5.0", &many));
        assert!(cut.len() < LONGEST_RECORD);
        let got = differences(Some(&cut), &new);
        assert!(got.files.is_empty() && got.pins.len() == 1);
    }
}
