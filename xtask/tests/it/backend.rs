//! The service's own tests, in its image and with no more rights than compose
//! gives it. XTASK_TEST_IMAGE names an image built from these sources.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// As in docker-compose.yml, and a directory for what the tests bring along.
const OPTIONS: &str = "--rm --interactive --init --read-only --user 1000:1000 --cap-drop ALL \
    --security-opt no-new-privileges:true --tmpfs /tmp --tmpfs /home/backend --shm-size 2g \
    --volume /opt/numba-cache --tmpfs /tests:exec,mode=1777 --env PIP_INDEX_URL";

#[test]
fn backend_in_its_own_image() {
    let Ok(image) = std::env::var("XTASK_TEST_IMAGE") else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: backend_in_its_own_image: XTASK_TEST_IMAGE names no image of the service"
        );
        return;
    };
    let backend = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backend");
    // Over a pipe, since a remote engine mounts no directory of this machine.
    let mut tar = Command::new("tar")
        .arg("--directory")
        .arg(backend)
        .args(["--exclude", "__pycache__", "--create", "--file", "-"])
        .args(["pyproject.toml", "requirements-test.txt", "tests"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = Command::new("docker")
        .arg("run")
        .args(OPTIONS.split_whitespace())
        .args([&*image, "sh", "-c", "tar -xC /tests && sh /tests/tests/run"])
        .stdin(tar.stdout.take().unwrap())
        .status()
        .unwrap();
    assert!(tar.wait().unwrap().success());
    assert!(status.success(), "{status}");
}
