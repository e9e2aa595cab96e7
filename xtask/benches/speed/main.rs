//! `cargo bench -p xtask`: what xtask costs beside the bare commands that it
//! replaces, and how fast the service it builds is. Writes docs/benchmarks.md.
//!
//! Measures in a copy of the repository, with a compose project and a port of
//! its own, on the engine that `docker` talks to.

mod bed;
mod builds;
mod contexts;
mod measure;
mod service;
mod table;
mod tool;
mod watch;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::exit,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::{
    bed::Bed,
    measure::{Goal, Measured, Row},
};

/// Measure xtask against the bare commands
#[derive(Parser)]
#[command(name = "cargo bench -p xtask --")]
struct Args {
    /// Leave out what takes minutes, and print the table without writing it
    #[arg(long)]
    quick: bool,
    /// How often to measure what is not long
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: usize,
    /// Only rows whose name holds TEXT; prints them without writing the table
    #[arg(value_name = "TEXT")]
    only: Option<String>,
    /// Of cargo's own
    #[arg(long, hide = true)]
    bench: bool,
    /// In a process of its own, so that its memory can be told
    #[arg(long, hide = true, num_args = 2, value_names = ["digest|read", "ROOT"])]
    context: Option<Vec<String>>,
}

/// Rows that are measured together; returned in the same order.
struct Group {
    rows: &'static [Row],
    measure: fn(&Bed, usize, &'static [Row]) -> Result<Vec<Measured>>,
}

const fn ratio(most: f64) -> Goal {
    Goal { ratio: Some(most), seconds: None }
}

const fn row(what: &'static str, against: &'static str, goal: Goal) -> Row {
    Row { what, against, goal, long: false }
}

/// Everything that is measured, in the table's order.
const GROUPS: [Group; 11] = [
    Group {
        rows: &[row(
            "clean build of xtask, 2 jobs",
            "a crate with the same dependencies and an empty `main`",
            ratio(1.25),
        )],
        measure: tool::clean_build,
    },
    Group {
        rows: &[row(
            "`cargo xtask --help`, warm",
            "the binary itself",
            Goal { ratio: None, seconds: Some(0.1) },
        )],
        measure: tool::help,
    },
    Group {
        rows: &[row("`status`, service running", "`docker compose ps`", ratio(2.0))],
        measure: tool::status,
    },
    Group {
        rows: &[row(
            "`restart`, nothing changed, until /health answers",
            "`docker compose restart backend`, polled every 20 ms",
            ratio(1.15),
        )],
        measure: service::restart,
    },
    Group {
        rows: &[row(
            "`restart` after an edit of .env, until /health answers",
            "`docker compose up -d`, polled every 20 ms",
            ratio(1.2),
        )],
        measure: service::restart_with_settings,
    },
    Group {
        rows: &[row("`up`, nothing to do", "`docker compose up -d --build`", ratio(1.0))],
        measure: service::nothing_to_do,
    },
    Group {
        rows: &[
            row(
                "edit app.py → `fast` → the new answer",
                "`docker compose up -d --build`, polled every 20 ms",
                Goal { ratio: Some(1.15), seconds: Some(5.0) },
            ),
            row(
                "longest time without an answer during `fast`",
                "stop, build, start",
                Goal { ratio: None, seconds: Some(2.0) },
            ),
        ],
        measure: service::fast,
    },
    Group {
        rows: &[row(
            "`doctor`, healthy",
            "`docker compose exec backend python -c \"import torch; torch.cuda.is_available()\"`",
            ratio(1.15),
        )],
        measure: tool::doctor,
    },
    Group {
        rows: &[row(
            "first import of the model's code in a fresh container",
            "the second import in it",
            ratio(1.5),
        )],
        measure: service::first_import,
    },
    Group {
        rows: &[
            row("digest of a build context of 10 files", READING, ratio(1.5)),
            row("digest of a build context of 10 000 files", READING, ratio(1.5)),
            row("digest of a build context with a file of 2 GB", READING, ratio(1.5)),
        ],
        measure: contexts::digests,
    },
    Group {
        rows: &[
            Row {
                long: true,
                ..row(
                    "`full` → the new answer",
                    "a Dockerfile with `pip install --no-cache-dir`, stopped first",
                    ratio(0.36),
                )
            },
            Row {
                long: true,
                ..row(
                    "longest time without an answer during `full`",
                    "the same",
                    Goal { ratio: None, seconds: Some(2.0) },
                )
            },
        ],
        measure: builds::full,
    },
];

const READING: &str = "reading the same bytes once";

fn main() {
    if let Err(error) = run(&Args::parse()) {
        eprintln!("error: {error:#}");
        exit(1);
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some([what, root]) = args.context.as_deref() {
        return contexts::in_own_process(what, Path::new(root));
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = manifest.parent().context("finding the repository's root")?;
    let wanted = |group: &&Group| {
        let named = |row: &Row| args.only.as_deref().is_none_or(|only| row.what.contains(only));
        group.rows.iter().any(|row| named(row) && !(args.quick && row.long))
    };
    let scratch = Scratch::new(repository)?;
    let mut bed = Bed::new(repository, &scratch.path)?;
    let heading = table::heading(&bed, repository)?;
    eprintln!("bringing the service up, which may build its image");
    bed.serve()?;

    let (mut measured, mut failed) = (Vec::new(), Ok(()));
    for group in GROUPS.iter().filter(wanted) {
        for row in group.rows {
            eprintln!("measuring: {}", row.what);
        }
        match (group.measure)(&bed, args.rounds, group.rows) {
            Ok(rows) => {
                rows.iter().for_each(|row| eprintln!("  {}", table::line(row)));
                measured.extend(rows);
            }
            Err(error) => {
                eprintln!("  failed");
                failed = failed.and(Err(error.context(group.rows[0].what)));
            }
        }
    }
    let section = table::section(&heading, &measured);
    println!("{section}");
    // Half a table is shown, and never written.
    failed?;
    if args.only.is_some() {
        return Ok(());
    }
    let page = repository.join("docs/benchmarks.md");
    if !args.quick && args.rounds >= 5 {
        table::write(&page, &section)?;
        eprintln!("written to docs/benchmarks.md");
    }
    let names = GROUPS.iter().flat_map(|group| group.rows).map(|row| row.what);
    let lacking = table::lacking(&page, names)?;
    if !lacking.is_empty() {
        bail!("docs/benchmarks.md lacks: {}\nhint: cargo bench -p xtask", lacking.join("; "));
    }
    Ok(())
}

/// A directory that goes when it is dropped, for one benchmark at a time.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Of a benchmark that was broken off, nothing stays beyond the next one.
    fn new(repository: &Path) -> Result<Scratch> {
        let path = repository.join("target/xtask-bench");
        fs_err::create_dir_all(repository.join("target"))?;
        let lock = File::create(path.with_extension("lock"))?;
        lock.try_lock().context("another benchmark is under way in this clone")?;
        let _ = fs_err::remove_dir_all(&path);
        fs_err::create_dir_all(&path)?;
        Ok(Scratch { path, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.path);
    }
}
