//! The rows about build contexts: digesting one beside merely reading it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use xtask::image::inputs::{Build, Inputs};

use crate::{
    bed::{self, Bed},
    measure::{Measured, Row, in_turns, median},
};

/// Files, and bytes in each.
const CONTEXTS: [(usize, usize); 3] = [(10, 4 << 10), (10_000, 4 << 10), (1, 2 << 30)];

/// What a process of its own told.
struct Told {
    seconds: f64,
    /// Peak memory in MB, where the system tells.
    peak: Option<f64>,
}

/// # Errors
/// When a context can't be written or read.
pub fn digests(bed: &Bed, rounds: usize, rows: &'static [Row]) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for (row, (files, bytes)) in rows.iter().zip(CONTEXTS) {
        let root = bed.root.with_file_name("context");
        write_context(&root, files, bytes)?;
        let told = |what: &str| -> Result<Told> {
            let mut process = bed::command(&std::env::current_exe()?.display().to_string());
            process.args(["--context", what]).arg(&root);
            let said = bed::output(process)?;
            let mut numbers = said.split_whitespace().map(str::parse);
            let seconds = numbers.next().context("no seconds were told")??;
            Ok(Told { seconds, peak: numbers.next().transpose()? })
        };
        told("read")?; // so that both find it in the page cache
        let (mut digesting, mut reading) = (None, None);
        let note = |peak: &mut Option<f64>, told: Told| {
            *peak = told.peak;
            Ok(told.seconds)
        };
        let mut line = in_turns(
            *row,
            rounds,
            || note(&mut digesting, told("digest")?),
            || note(&mut reading, told("read")?),
        )?;
        if let (Some(ours), Some(bare)) = (digesting, reading) {
            line.remark = format!("peak memory {ours:.1} MB, reading {bare:.1} MB");
        }
        measured.push(line);
        fs_err::remove_dir_all(&root)?;
    }
    Ok(measured)
}

/// What `--context` does: says the median of its seconds, and its peak memory.
///
/// # Errors
/// When the context below `root` can't be read.
pub fn in_own_process(what: &str, root: &Path) -> Result<()> {
    let context = context(root);
    let build = Build {
        context: context.display().to_string(),
        dockerfile: Some("Dockerfile".to_owned()),
        ..Build::default()
    };
    let once = || match what {
        "digest" => Inputs::read(root, &build).map(|inputs| assert_eq!(inputs.digest().len(), 32)),
        "read" => read(&context, &mut vec![0; 1 << 18]),
        other => bail!("`{other}` is neither digest nor read"),
    };
    // Small contexts are over before a clock can tell.
    let (began, mut seconds) = (Instant::now(), Vec::new());
    while seconds.is_empty() || began.elapsed() < Duration::from_millis(200) {
        let started = Instant::now();
        once()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let peak = kilobytes.map(|kilobytes| (kilobytes * 1.024 / 1000.0).to_string());
    println!("{} {}", median(&mut seconds), peak.unwrap_or_default());
    Ok(())
}

/// Reads every byte of every file once.
fn read(directory: &Path, block: &mut [u8]) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read(&entry.path(), block)?;
        } else {
            let mut file = std::fs::File::open(entry.path())?;
            while file.read(block)? > 0 {}
        }
    }
    Ok(())
}

/// A hundred files a directory, of bytes that differ.
fn write_context(root: &Path, files: usize, bytes: usize) -> Result<()> {
    let context = context(root);
    fs_err::create_dir_all(&context)?;
    fs_err::write(context.join("Dockerfile"), "FROM scratch\n")?;
    fs_err::write(context.join("requirements.txt"), "torch==2.5.1\n")?;
    let mut content: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    for file in 0..files {
        let directory = context.join(format!("package{}", file / 100));
        fs_err::create_dir_all(&directory)?;
        content[..8].copy_from_slice(&file.to_le_bytes());
        fs_err::write(directory.join(format!("module{file}.py")), &content)?;
    }
    Ok(())
}

fn context(root: &Path) -> PathBuf {
    root.join("backend")
}
