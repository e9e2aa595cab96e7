//! Tests of `image/inputs`.

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
        dockerfile: Some(if context == "." { "backend/Dockerfile" } else { "Dockerfile" }.into()),
        ..Build::default()
    };
    Inputs::read(root, &build).unwrap()
}

#[test]
fn only_what_reaches_the_image_counts() {
    let files = [
        ("backend/app.py", "1"),
        ("backend/old/a", ""),
        ("backend/.dockerignore", "*.log\nold\\*.py\n"),
        ("README.md", "x"),
    ];
    let root = tree("counts", &files);
    let before = read(&root, "backend").digest();
    for (path, text, counts) in [
        ("backend/app.py", "2", true),
        ("backend/app.py", "1", false),
        ("backend/x.log", "x", false),
        // On Windows `\` separates directories for BuildKit, too.
        ("backend/old/x.py", "x", cfg!(unix)),
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
    let files = [("backend/service/app.py", "1")];
    let (a, b) = (tree("clone-a", &files), tree("clone-b", &files));
    assert_eq!(read(&a, "backend"), read(&b, "backend"));
    // On Windows, too.
    assert!(read(&a, "backend").files.contains_key("backend/service/app.py"));
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
