//! The table, in Markdown, and its place in docs/benchmarks.md.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;

use crate::{
    bed::{self, Bed},
    measure::{Goal, Measured},
};

/// What a new docs/benchmarks.md begins with.
const HEAD: &str = "\
# Benchmarks

Written by `cargo bench -p xtask`: one section for each engine and storage driver, medians in
seconds, and the bare equivalent in the same run, in turns. What a section's heading says is
replaced by the next run on such an engine; all else stays.
";

/// A measurement in a line.
pub fn line(row: &Measured) -> String {
    let met = if row.meets_goal() { "met" } else { "MISSED" };
    let (ours, bare) = (spoken(row.ours), spoken(row.bare));
    format!("{ours} s against {bare} s, {:.2}×; goal {}: {met}", row.ratio(), goal(row.row.goal))
}

/// The heading of a section: engine, machine and versions.
///
/// # Errors
/// When one of them can't be told.
pub fn heading(bed: &Bed, repository: &Path) -> Result<String> {
    let ask =
        |program: &str, args: &[&str]| bed.run(program, args).map(|said| said.trim().to_owned());
    let info = ask("docker", &["info", "--format", "{{.ServerVersion}}, {{.Driver}}"])?;
    let buildx = ask("docker", &["buildx", "version"])?;
    let mut git = bed::command("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(repository);
    Ok(format!(
        "## Engine {info}\n\n{}; Compose {}, buildx {}; {}; commit {}, {}\n",
        machine(),
        ask("docker", &["compose", "version", "--short"])?,
        buildx.split_whitespace().nth(1).unwrap_or_default(),
        ask("rustc", &["--version"])?.split(" (").next().unwrap_or_default(),
        bed::output(git)?.trim(),
        ask("date", &["+%Y-%m-%d"])?,
    ))
}

/// A section of the page.
pub fn section(heading: &str, rows: &[Measured]) -> String {
    let mut section = format!("{heading}\n");
    section += "| Row | xtask | Bare | Ratio | Goal | | Rounds | Against |\n";
    section += "|---|--:|--:|--:|---|---|--:|---|\n";
    for row in rows {
        let remark =
            if row.remark.is_empty() { String::new() } else { format!("; {}", row.remark) };
        let _ = writeln!(
            section,
            "| {} | {} | {} | {:.2}× | {} | {} | {} | {}{remark} |",
            row.row.what,
            spoken(row.ours),
            spoken(row.bare),
            row.ratio(),
            goal(row.row.goal),
            if row.meets_goal() { "met" } else { "missed" },
            row.rounds,
            row.row.against,
        );
    }
    section
}

/// Puts the section into the page, in place of one with the same heading.
///
/// # Errors
/// When the page can't be written.
pub fn write(page: &Path, section: &str) -> Result<()> {
    let text = fs_err::read_to_string(page).unwrap_or_else(|_| HEAD.to_owned());
    let heading = section.lines().next().unwrap_or_default();
    let mut sections: Vec<&str> = text.split("\n## ").collect();
    let head = sections.remove(0);
    let mut new = format!("{}\n\n{section}", head.trim_end());
    for old in sections {
        if format!("## {}", old.lines().next().unwrap_or_default()) != heading {
            let _ = write!(new, "\n## {}\n", old.trim_end());
        }
    }
    if let Some(directory) = page.parent() {
        fs_err::create_dir_all(directory)?;
    }
    Ok(fs_err::write(page, new)?)
}

/// Which of the rows the page does not have.
///
/// # Errors
/// When there is no page.
pub fn lacking<'a>(page: &Path, rows: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let text = fs_err::read_to_string(page)?;
    Ok(rows.filter(|row| !text.contains(&format!("| {row} |"))).collect())
}

fn goal(goal: Goal) -> String {
    let ratio = goal.ratio.map(|most| format!("≤ {most}×"));
    let seconds = goal.seconds.map(|most| format!("≤ {most} s"));
    ratio.into_iter().chain(seconds).collect::<Vec<_>>().join(", ")
}

/// Seconds with three digits that mean something.
fn spoken(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => format!("{s:.0}"),
        s if s >= 10.0 => format!("{s:.1}"),
        s if s >= 0.1 => format!("{s:.2}"),
        s => format!("{s:.5}"),
    }
}

/// Processors and memory, where Linux tells.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
    let memory = value(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok())
        .map_or(String::new(), |kilobytes| {
            format!(", {:.0} GiB of memory", kilobytes / 1_048_576.0)
        });
    format!("{cores} cores ({model}){memory}, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}
