//! The rows about the service: how long until it answers, and how long it does not.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    bed::{Bed, SERVICE},
    measure::{Measured, Row, in_turns, seconds},
    watch::{self, Seen},
};

/// Between two questions to the service.
const EVERY: Duration = Duration::from_millis(20);

/// # Errors
/// When either side fails.
pub fn restart(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let watched = |work: &dyn Fn() -> Result<String>| {
        Ok(bed.watched(EVERY, || work().map(drop))?.until_new_answer)
    };
    Ok(vec![in_turns(
        rows[0],
        rounds,
        || watched(&|| bed.xtask(&["restart"])),
        || watched(&|| bed.compose(&["restart", SERVICE])),
    )?])
}

/// # Errors
/// When either side fails.
pub fn restart_with_settings(
    bed: &Bed,
    rounds: usize,
    rows: &'static [Row],
) -> Result<Vec<Measured>> {
    let watched = |work: &dyn Fn() -> Result<String>| {
        bed.edit_settings()?;
        Ok(bed.watched(EVERY, || work().map(drop))?.until_new_answer)
    };
    Ok(vec![in_turns(
        rows[0],
        rounds,
        || watched(&|| bed.xtask(&["restart"])),
        || watched(&|| bed.compose(&["up", "--detach"])),
    )?])
}

/// Each side is first given a state in which nothing is left for it to do: an
/// image that the other one built may be another.
///
/// # Errors
/// When either side fails.
pub fn nothing_to_do(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let bare = || bed.compose(&["up", "--detach", "--build"]).map(drop);
    let ours = || bed.xtask(&["up"]).map(drop);
    let measured = in_turns(
        rows[0],
        rounds,
        || {
            ours()?;
            bed.settle()?;
            seconds(ours)
        },
        || {
            let before = bed.image()?;
            bare()?;
            bed.forget(&before);
            bed.settle()?;
            seconds(bare)
        },
    )?;
    ours()?;
    Ok(vec![measured])
}

/// # Errors
/// When a side fails, or an edit does not arrive.
pub fn fast(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let edited = |work: &dyn Fn() -> Result<()>| -> Result<Seen> {
        let (before, title) = (bed.image()?, bed.edit_code()?);
        let seen = bed.watched(EVERY, work)?;
        if !watch::get(bed.port, "/openapi.json")?.contains(&title) {
            bail!("the service answers, but not with the edit of app.py");
        }
        bed.forget(&before);
        Ok(seen)
    };
    let (mut silences, mut stopped) = (Vec::new(), Vec::new());
    let new_answer = in_turns(
        rows[0],
        rounds,
        || {
            let seen = edited(&|| bed.xtask(&["fast"]).map(drop))?;
            silences.push(seen.silence);
            Ok(seen.until_new_answer)
        },
        || {
            let seen = edited(&|| stop_first(bed, &["build", SERVICE]))?;
            stopped.push(seen.silence);
            let seen = edited(&|| bed.compose(&["up", "--detach", "--build"]).map(drop))?;
            Ok(seen.until_new_answer)
        },
    )?;
    Ok(vec![new_answer, Measured::new(rows[1], silences, stopped)])
}

/// What the scripts did that xtask replaces.
///
/// # Errors
/// When Compose fails.
pub fn stop_first(bed: &Bed, build: &[&str]) -> Result<()> {
    bed.compose(&["stop", SERVICE])?;
    bed.compose(build)?;
    bed.compose(&["up", "--detach"]).map(drop)
}

/// Imports what generates meshes: Step1X-3D's pipeline, or, where its sources
/// were not fetched, what of its dependencies takes longest.
const IMPORT: &str = r#"
import os, sys, time
sys.path.append("/app/Step1X-3D")
began = time.perf_counter()
if os.path.isdir("/app/Step1X-3D/step1x3d_geometry"):
    import step1x3d_geometry.models.pipelines.pipeline
else:
    import torch, diffusers, transformers, rembg, pymeshlab, pytorch_lightning, streaming, wandb
print(time.perf_counter() - began)
"#;

/// Two processes in one container, which has the image's own files alone.
///
/// # Errors
/// When Docker or an import fails.
pub fn first_import(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    let image = bed.image()?;
    for _ in 0..rounds {
        // As the service: nothing that the first compiles is there for the second.
        let run = [
            "run",
            "--rm",
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/home/backend",
            "--network",
            "none",
            "--entrypoint",
            "sh",
            &image,
            "-c",
            "python -c \"$1\" && python -c \"$1\"",
            "sh",
            IMPORT,
        ];
        let said = bed.run("docker", &run)?;
        // Upstream prints too.
        let took: Vec<f64> = said.lines().filter_map(|line| line.parse().ok()).collect();
        let [first, second] = took[..] else { bail!("no two imports: {said}") };
        firsts.push(first);
        seconds.push(second);
    }
    let mut measured = Measured::new(rows[0], firsts, seconds);
    if !bed.root.join("backend/Step1X-3D/step1x3d_geometry").is_dir() {
        measured.remark = "its dependencies alone: the sources are not here".into();
    }
    Ok(vec![measured])
}
