//! The rows about xtask itself: its build, and the commands that change nothing.

use anyhow::{Context as _, Result};

use crate::{
    bed::{self, Bed, SERVICE},
    measure::{Measured, Row, in_turns, seconds},
};

/// Both builds find the crates downloaded, and nothing compiled.
///
/// # Errors
/// When cargo fails.
pub fn clean_build(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let empty = bed.root.with_file_name("empty");
    for file in ["Cargo.toml", "Cargo.lock", "xtask/Cargo.toml"] {
        let to = empty.join(file);
        fs_err::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs_err::copy(bed.root.join(file), to)?;
    }
    for (file, text) in [
        ("src/main.rs", "fn main() {}\n"),
        ("src/lib.rs", ""),
        ("benches/speed/main.rs", "fn main() {}\n"),
    ] {
        let to = empty.join("xtask").join(file);
        fs_err::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs_err::write(to, text)?;
    }
    let build = |root: &std::path::Path| {
        let target = bed.root.with_file_name("clean");
        let mut build = bed::command("cargo");
        build.args(["build", "--locked", "--package", "xtask", "--jobs", "2", "--target-dir"]);
        build.arg(&target).current_dir(root);
        let took = seconds(|| bed::output(build).map(drop));
        fs_err::remove_dir_all(&target)?;
        took
    };
    Ok(vec![in_turns(rows[0], rounds, || build(&bed.root), || build(&empty))?])
}

/// # Errors
/// When xtask fails.
pub fn help(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let binary = bed.root.join("target/debug/xtask");
    let binary = binary.to_str().context("a path that is not UTF-8")?;
    // Too short for a few rounds to tell anything.
    Ok(vec![in_turns(
        rows[0],
        rounds * 4,
        || seconds(|| bed.xtask(&["--help"]).map(drop)),
        || seconds(|| bed.run(binary, &["--help"]).map(drop)),
    )?])
}

/// # Errors
/// When xtask or Compose fails.
pub fn status(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    Ok(vec![in_turns(
        rows[0],
        rounds * 2,
        || seconds(|| bed.xtask(&["status"]).map(drop)),
        || seconds(|| bed.compose(&["ps"]).map(drop)),
    )?])
}

/// # Errors
/// When xtask or Compose fails.
pub fn doctor(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    const BARE: &str = "import torch; torch.cuda.is_available()";
    Ok(vec![in_turns(
        rows[0],
        rounds,
        || seconds(|| bed.xtask(&["doctor"]).map(drop)),
        || seconds(|| bed.compose(&["exec", "-T", SERVICE, "python", "-c", BARE]).map(drop)),
    )?])
}
