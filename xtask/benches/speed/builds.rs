//! The long rows: a build of everything.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;

use crate::{
    bed::{Bed, SERVICE},
    measure::{Measured, Row},
    service,
};

/// How one builds such an image without looking for the time: pip, by itself.
const PIP_DOCKERFILE: &str = include_str!("pip.Dockerfile");

/// Both sides build without cache, and until a new process answers.
///
/// # Errors
/// When a build fails.
pub fn full(bed: &Bed, _rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    const EVERY: Duration = Duration::from_millis(50);
    let ours = bed.watched(EVERY, || bed.xtask(&["full"]).map(drop))?;
    let cached = pip_layers(bed)?;
    let (before, dockerfile) = (bed.image()?, bed.root.join("backend/Dockerfile"));
    let own = fs_err::read_to_string(&dockerfile)?;
    fs_err::write(&dockerfile, PIP_DOCKERFILE)?;
    let bare = bed.watched(EVERY, || service::stop_first(bed, &["build", "--no-cache", SERVICE]));
    fs_err::write(&dockerfile, own)?;
    bed.forget(&before);
    // The last image goes as soon as another one is built; its layers would stay.
    bed.xtask(&["fast"])?;
    let new: Vec<String> = pip_layers(bed)?.difference(&cached).cloned().collect();
    if !new.is_empty() {
        let ids = format!("id={}", new.join("|"));
        bed.run("docker", &["buildx", "prune", "--force", "--filter", &ids])?;
    }
    let bare = bare?;
    Ok(vec![
        Measured::new(rows[0], vec![ours.until_new_answer], vec![bare.until_new_answer]),
        Measured::new(rows[1], vec![ours.silence], vec![bare.silence]),
    ])
}

/// Ids of what pip left in the build cache.
fn pip_layers(bed: &Bed) -> Result<BTreeSet<String>> {
    let said = bed.run("docker", &["buildx", "du", "--verbose"])?;
    let records =
        said.split("\n\n").filter(|record| record.contains("pip install --no-cache-dir -r"));
    let ids = records.filter_map(|record| record.lines().find_map(|line| line.strip_prefix("ID:")));
    Ok(ids.map(|id| id.trim().to_owned()).collect())
}
