//! The service's own tests, in its image and with no more rights than compose
//! gives it. XTASK_TEST_IMAGE names an image built from these sources; without it, that of
//! this clone's compose project is taken.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::service::{required, skipped};

/// As in docker-compose.yml, and a directory for what the tests bring along.
const OPTIONS: &str = "--rm --interactive --init --read-only --user 1000:1000 --cap-drop ALL \
    --security-opt no-new-privileges:true --tmpfs /tmp --tmpfs /home/backend --shm-size 2g \
    --tmpfs /tests:exec,mode=1777 --env PIP_INDEX_URL \
    --env UV_DEFAULT_INDEX";

/// Tests of other code than the image has would fail for no reason that lies in either.
const RUN: &str = "cd /tests && tar -x && diff -q app.py /app/app.py \
    && diff -q requirements.txt /app/requirements.txt && diff -q excludes.txt /app/excludes.txt \
    && diff -qr --exclude __pycache__ service /app/service || exit 77; \
    rm -r app.py service; exec sh tests/run";

/// Exit codes of `RUN` and of backend/tests/run.
const OTHER_SOURCES: i32 = 77;
const NO_INDEX: i32 = 75;

#[test]
fn backend_in_its_own_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = std::env::var("XTASK_TEST_IMAGE");
    let image = match named.clone().or_else(|_| image_of_project(&root)) {
        Ok(image) => image,
        Err(reason) => return skipped(&format!("{reason}, and XTASK_TEST_IMAGE names no image")),
    };
    let backend = root.join("backend");
    // Over a pipe, since a remote engine mounts no directory of this machine.
    let mut tar = Command::new("tar")
        .arg("--directory")
        .arg(backend)
        .args(["--exclude", "__pycache__", "--create", "--file", "-"])
        .args(["pyproject.toml", "requirements-test.txt", "tests"])
        .args(["app.py", "service", "Dockerfile", "requirements.txt", "excludes.txt"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = Command::new("docker")
        .arg("run")
        .args(OPTIONS.split_whitespace())
        .args([&*image, "sh", "-c", RUN])
        .stdin(tar.stdout.take().unwrap())
        .status()
        .unwrap();
    assert!(tar.wait().unwrap().success());
    let reason = match status.code() {
        Some(OTHER_SOURCES) => format!("`{image}` is of other sources: cargo xtask up"),
        Some(NO_INDEX) => "the package index did not give the tests what they need".to_owned(),
        _ => {
            assert!(status.success(), "{status}");
            return;
        }
    };
    // The project's own image was not asked for.
    assert!(named.is_err() || !required(), "{reason}");
    skipped(&reason);
}

/// The image of the service in this clone's compose project, if it has been built.
///
/// Its error is a reason to skip.
fn image_of_project(root: &Path) -> Result<String, String> {
    let names = output(root, &["compose", "config", "--images", "backend"])
        .ok_or("docker compose names no image of the service")?;
    let name = names.lines().next().unwrap_or_default().trim().to_owned();
    match output(root, &["image", "inspect", "--format", "{{.Id}}", &name]) {
        Some(_) => Ok(name),
        None => Err(format!("`{name}` is not built or no engine answers")),
    }
}

/// What docker prints, if it is there and succeeds.
fn output(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker")
        .current_dir(root)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
