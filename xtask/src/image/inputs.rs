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
use crate::error::Failure;
use crate::image::requirements;

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
mod tests {
    use super::*;

    /// A directory that goes when it is dropped.
    struct Tree(PathBuf);

    impl std::ops::Deref for Tree {
        type Target = Path;
        fn deref(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs_err::remove_dir_all(&self.0);
        }
    }

    fn tree(name: &str, files: &[(&str, &str)]) -> Tree {
        let root = std::env::temp_dir().join(format!("xtask-inputs-{}-{name}", std::process::id()));
        fill(&root, files);
        Tree(root)
    }

    fn fill(root: &Path, files: &[(&str, &str)]) {
        let _ = fs_err::remove_dir_all(root);
        for (path, text) in
            [("backend/requirements.txt", "torch==2.5.1\n"), ("backend/Dockerfile", "FROM x\n")]
                .iter()
                .chain(files)
        {
            let path = root.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
    }

    fn read(root: &Path, context: &str) -> Inputs {
        let build = Build {
            context: root.join(context).display().to_string(),
            dockerfile: Some(
                if context == "." { "backend/Dockerfile" } else { "Dockerfile" }.into(),
            ),
            ..Build::default()
        };
        Inputs::read(root, &build).unwrap()
    }

    #[test]
    fn only_what_reaches_the_image_counts() {
        let files =
            [("backend/app.py", "1"), ("backend/.dockerignore", "*.log\n"), ("README.md", "x")];
        let root = tree("counts", &files);
        let before = read(&root, "backend").digest();
        for (path, text, counts) in [
            ("backend/app.py", "2", true),
            ("backend/app.py", "1", false),
            ("backend/x.log", "x", false),
            ("README.md", "y", false),
            ("backend/Dockerfile", "FROM y\n", true),
            ("backend/new.py", "", true),
        ] {
            fs_err::write(root.join(path), text).unwrap();
            assert_eq!(read(&root, "backend").digest() != before, counts, "{path} := {text}");
            if path != "backend/x.log" && counts {
                fill(&root, &files);
            }
        }
    }

    #[test]
    fn git_and_cargo_never_count_even_without_a_dockerignore() {
        let root = tree("root", &[("backend/app.py", "1")]);
        let before = read(&root, ".").digest();
        for path in [".git/HEAD", "backend/Step1X-3D/.git", "target/xtask/memory.json"] {
            let path = root.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "x").unwrap();
        }
        assert_eq!(read(&root, ".").digest(), before);
        fs_err::write(root.join("README.md"), "x").unwrap();
        assert_ne!(read(&root, ".").digest(), before);
    }

    #[test]
    fn a_second_clone_has_the_same_digest() {
        let (a, b) = (
            tree("clone-a", &[("backend/app.py", "1")]),
            tree("clone-b", &[("backend/app.py", "1")]),
        );
        assert_eq!(read(&a, "backend"), read(&b, "backend"));
        assert_eq!(read(&a, ".").digest(), read(&b, ".").digest());
    }

    #[test]
    fn every_block_of_a_file_counts_and_the_order_of_many_is_kept() {
        let root = tree("large", &[("backend/app.py", "1")]);
        let mut bytes = vec![0; 2 * BLOCK as usize + 1];
        let path = root.join("backend/large");
        fs_err::write(&path, &bytes).unwrap();
        let before = read(&root, "backend").digest();
        for at in [0, BLOCK as usize - 1, BLOCK as usize, 2 * BLOCK as usize] {
            bytes[at] = 1;
            fs_err::write(&path, &bytes).unwrap();
            assert_ne!(read(&root, "backend").digest(), before, "{at}");
            bytes[at] = 0;
        }
        fs_err::write(&path, &bytes).unwrap();
        assert_eq!(read(&root, "backend").digest(), before);
        let numbers: Vec<usize> = (0..1000).collect();
        assert_eq!(in_parallel(&numbers, |n| *n), numbers);
    }

    #[test]
    fn a_missing_dockerfile_or_requirements_is_named() {
        let root = tree("missing", &[]);
        let build = Build {
            context: root.display().to_string(),
            dockerfile: Some("nope".into()),
            ..Build::default()
        };
        assert!(format!("{:#}", Inputs::read(&root, &build).unwrap_err()).contains("nope"));
        fs_err::remove_file(root.join(requirements::PATH)).unwrap();
        let error = crate::error::render(&Inputs::read(&root, &build).unwrap_err());
        assert!(
            error.contains("backend/requirements.txt") && error.contains("hint: git checkout"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_executable_bit_and_a_links_target_count() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let root = tree("modes", &[("backend/run", "x")]);
        let plain = read(&root, "backend").digest();
        fs_err::set_permissions(root.join("backend/run"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        let executable = read(&root, "backend").digest();
        symlink("run", root.join("backend/link")).unwrap();
        let linked = read(&root, "backend").digest();
        assert!(plain != executable && executable != linked);
    }
}
