//! What an image is built from: the build context less what its .dockerignore excludes, the
//! Dockerfile, the build arguments, and the requirements.
//!
//! Content decides, not time stamps or git: a fresh clone of the same sources has the same digest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::dockerignore::IgnoreFile;
use super::requirements;
use crate::error::Failure;

/// The `build` section of the service, as `docker compose config` resolves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    /// The context's directory (or, for a remote context, its address).
    pub context: String,
    pub additional_contexts: BTreeMap<String, String>,
    /// Path of the Dockerfile, relative to the context; none if it is inline.
    pub dockerfile: Option<String>,
    pub tags: Vec<String>,
    /// Everything else that decides the result: arguments, target, platforms, …
    pub arguments: Value,
}

#[derive(Debug, Default, PartialEq)]
pub struct Inputs {
    /// Digests of contents (XXH3-128, in hex) by paths relative to the repository.
    pub files: BTreeMap<String, String>,
    /// Text of requirements.txt.
    pub requirements: String,
}

/// Bytes that are read at a time: they have to fit a processor's cache.
const BLOCK: u64 = 1 << 17;

impl Inputs {
    /// Fails when the context, the Dockerfile or another file can't be read; the message names it.
    pub fn read(root: &Path, build: &Build) -> Result<Inputs> {
        let mut inputs = Inputs { requirements: requirements::read(root)?, ..Inputs::default() };
        inputs.add(requirements::PATH.into(), xxh3_128(inputs.requirements.as_bytes()));
        // Like files, so that what changed can be named.
        let arguments = build.arguments.to_string();
        inputs.add("the build arguments".into(), xxh3_128(arguments.as_bytes()));
        let main = inputs.read_context(root, &build.context, build.dockerfile.as_deref());
        main.context("reading the build context")?;
        for context in build.additional_contexts.values() {
            let additional = inputs.read_context(root, context, None);
            additional.context("reading an additional build context")?;
        }
        Ok(inputs)
    }

    /// The digest of all inputs: 32 hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut all = String::new();
        for (name, digest) in &self.files {
            let _ = writeln!(all, "{name}\0{digest}");
        }
        hex(xxh3_128(all.as_bytes()))
    }

    /// The digest of requirements.txt alone.
    pub fn requirements_digest(&self) -> String {
        hex(xxh3_128(self.requirements.as_bytes()))
    }

    fn add(&mut self, name: String, digest: u128) {
        self.files.insert(name, hex(digest));
    }

    fn read_context(&mut self, root: &Path, context: &str, dockerfile: Option<&str>) -> Result<()> {
        if context.contains("://") {
            // The engine fetches a remote context; only its address is known here.
            self.add(context.into(), xxh3_128(context.as_bytes()));
            return Ok(());
        }
        let context = Path::new(context);
        let dockerfile = dockerfile.map(|dockerfile| context.join(dockerfile));
        if let Some(dockerfile) = &dockerfile {
            let digest = digest_of(dockerfile).map_err(|error| {
                Failure::new(error.to_string())
                    .advice("`build` in the compose file names the context and the Dockerfile")
            })?;
            self.add(name_of(root, context, dockerfile), digest);
        }
        // BuildKit prefers an ignore file that belongs to the Dockerfile.
        let own = dockerfile.map(|path| PathBuf::from(format!("{}.dockerignore", path.display())));
        let mut ignore_files = own.into_iter().chain([context.join(".dockerignore")]);
        let ignore = match ignore_files.find(|path| path.is_file()) {
            Some(path) => fs_err::read_to_string(path)?,
            None => String::new(),
        };
        // BuildKit's client matches; on Windows `\` separates for it and escapes nothing.
        let ignore = if cfg!(windows) { ignore.replace('\\', "/") } else { ignore };
        let paths = files(root, context, &IgnoreFile::parse(&ignore))?;
        for (path, digest) in paths.iter().zip(in_parallel(&paths, |path| digest_of(path))) {
            match digest {
                // Editors and byte-compilers remove files in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                digest => self.add(name_of(root, context, path), digest?),
            }
        }
        Ok(())
    }
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}

/// The files that are part of the context.
fn files(root: &Path, context: &Path, ignore: &IgnoreFile) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (Vec::new(), vec![context.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            // Git's and cargo's own files, and xtask's below target/, are no part of the image.
            if entry.file_name() == ".git" || path == root.join("target") {
                continue;
            }
            let excluded = ignore.excludes(&slashed(path.strip_prefix(context).unwrap_or(&path)));
            if kind.is_dir() && !(excluded && ignore.prunes()) {
                directories.push(path);
            } else if !excluded && (kind.is_file() || kind.is_symlink()) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// The results for all items, in order, worked out on all processors.
fn in_parallel<'a, T: Sync, R: Send>(items: &'a [T], work: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    // Starting a thread takes longer than reading some small files.
    let share = items.len().div_ceil(processors).max(32);
    let work = &work;
    thread::scope(|scope| {
        let spawn =
            |share: &'a [T]| scope.spawn(move || share.iter().map(work).collect::<Vec<R>>());
        let threads: Vec<_> = items.chunks(share).map(spawn).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.flat_map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// XXH3-128 of a file's content and its executable bit, or of a symbolic link's target.
fn digest_of(path: &Path) -> io::Result<u128> {
    let metadata = fs_err::symlink_metadata(path)?;
    let mut hasher = Xxh3::new();
    if metadata.is_symlink() {
        hasher.update(b"link ");
        hasher.update(slashed(&fs_err::read_link(path)?).as_bytes());
        return Ok(hasher.digest128());
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0 {
        hasher.update(b"executable ");
    }
    // In blocks, so that memory does not grow with the file.
    let mut file = fs_err::File::open(path)?;
    let mut block = vec![0; metadata.len().clamp(1, BLOCK) as usize];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.digest128()),
            n => hasher.update(&block[..n]),
        }
    }
}

/// A path relative to the repository, or to its context elsewhere: the same in every clone.
fn name_of(root: &Path, context: &Path, path: &Path) -> String {
    slashed(path.strip_prefix(root).or_else(|_| path.strip_prefix(context)).unwrap_or(path))
}

/// A path with `/` between its parts.
fn slashed(path: &Path) -> String {
    // Usually it is; taking it apart would take as long as reading a small file.
    if let Some(text) = path.to_str().filter(|text| cfg!(unix) && !text.contains("/./")) {
        return text.to_owned();
    }
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
#[path = "../../tests/unit/inputs.rs"]
mod tests;
