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
    let cached = build_cache(bed)?;
    let (before, dockerfile) = (bed.image()?, bed.root.join("backend/Dockerfile"));
    let own = fs_err::read_to_string(&dockerfile)?;
    fs_err::write(&dockerfile, PIP_DOCKERFILE)?;
    let bare = bed.watched(EVERY, || service::stop_first(bed, &["build", "--no-cache", SERVICE]));
    fs_err::write(&dockerfile, own)?;
    bed.forget(&before);
    let bare = bare?;
    // Its image goes as soon as another one is built; its layers would stay.
    bed.xtask(&["fast"])?;
    let new: Vec<String> = build_cache(bed)?.difference(&cached).cloned().collect();
    let ids = format!("id={}", new.join("|"));
    bed.run("docker", &["buildx", "prune", "--force", "--filter", &ids])?;
    Ok(vec![
        Measured::new(rows[0], vec![ours.until_new_answer], vec![bare.until_new_answer]),
        Measured::new(rows[1], vec![ours.silence], vec![bare.silence]),
    ])
}

/// Ids of what the engine keeps for later builds.
fn build_cache(bed: &Bed) -> Result<BTreeSet<String>> {
    let said = bed.run("docker", &["buildx", "du"])?;
    let ids = said.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    Ok(ids.map(|id| id.trim_end_matches('*').to_owned()).collect())
}
