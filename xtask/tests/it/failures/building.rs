//! Builds that fail, against a fake docker.

use crate::{common::Run, fake::*};

#[test]
fn a_failed_build_passes_its_exit_code_on() {
    let mut fake = Fake::serving();
    fake.answer(&compose(BUILD), 17, "", "failed to solve\n");
    snapshot(
        &fake.xtask(&["fast"]),
        r#"fast: requested explicitly; nothing has changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> build the image with cache, under a temporary tag
--- stderr
failed to solve
error: building `backend` failed; what served before still does
  because: `docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - --progress plain build --builder default backend` exited with 17: failed to solve

hint: cargo xtask up   # after fixing it
--- exit 17
"#,
    );
}

/// A build that fails, with or without cache. Docker has no answer to a command that
/// would give a name.
#[track_caller]
fn where_building_fails(stderr: &str, want: &str) {
    let mut fake = Fake::serving();
    fake.answer(&compose(BUILD), 1, "", stderr);
    fake.answer(&compose(BUILD_FULL), 1, "", stderr);
    let [fast, full] = ["fast", "full"].map(|command| fake.xtask(&[command]));
    assert_eq!((fast.stderr.clone(), fast.code), (full.stderr, full.code));
    // What is said before is the same for all of them.
    snapshot(&Run { stdout: String::new(), ..fast }, want);
}

#[test]
fn build_failures_are_said_in_the_users_words() {
    where_building_fails(
        "rpc error: code = Unavailable desc = error reading from server: EOF\n",
        r#"--- stderr
rpc error: code = Unavailable desc = error reading from server: EOF
error: building `backend` failed; what served before still does
  because: the Docker engine stopped during the command

hint: sudo systemctl start docker   # or start Docker Desktop
hint: cargo xtask up
--- exit 1
"#,
    );
    where_building_fails(
        "failed to solve: write /x: no space left on device\n",
        r#"--- stderr
failed to solve: write /x: no space left on device
error: building `backend` failed; what served before still does
  because: the disk of the engine's machine is full

hint: remove what you no longer need there
hint: docker system df   # what Docker holds
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
    where_building_fails(
        "failed to solve: debian:bookworm-slim: failed to resolve source metadata\n",
        r#"--- stderr
failed to solve: debian:bookworm-slim: failed to resolve source metadata
error: building `backend` failed; what served before still does
  because: the base image is not on the engine, and its registry does not provide it

hint: see whether the FROM line and the network are right
hint: cargo xtask up --setup   # makes Debian's base image without a registry
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
    where_building_fails(
        "  x No solution found when resolving dependencies:\n",
        r#"--- stderr
  x No solution found when resolving dependencies:
error: building `backend` failed; what served before still does
  because: a requirement does not exist in that version

hint: the lines above name it; correct backend/requirements.txt
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
    where_building_fails(
        "ERROR: Could not find a version that satisfies the requirement nonesuch (from versions: none)\nERROR: No matching distribution found for nonesuch\n",
        r#"--- stderr
ERROR: Could not find a version that satisfies the requirement nonesuch (from versions: none)
ERROR: No matching distribution found for nonesuch
error: building `backend` failed; what served before still does
  because: the package index does not know a package, or cannot be used

hint: the lines above name it; UV_DEFAULT_INDEX in .env names another index
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
    where_building_fails(
        "Temporary failure in name resolution\n",
        r#"--- stderr
Temporary failure in name resolution
error: building `backend` failed; what served before still does
  because: a package index does not answer

hint: try again, or name another index by UV_DEFAULT_INDEX in .env
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
    where_building_fails(
        "dockerfile parse error on line 3: unknown instruction: RUNN\n",
        r#"--- stderr
dockerfile parse error on line 3: unknown instruction: RUNN
error: building `backend` failed; what served before still does
  because: the Dockerfile has a fault

hint: the lines above name it
hint: cargo xtask up   # after fixing it
--- exit 1
"#,
    );
}

#[test]
fn an_architecture_that_the_engine_lacks_is_named_where_a_build_fails() {
    let mut fake = Fake::serving();
    fake.engine_with(r#""OSType":"linux","Architecture":"x86_64""#);
    for (platform, target, hint) in [
        ("linux/amd64", "", ""),
        (
            "linux/arm64",
            " for linux/arm64, which the engine is not,",
            "hint: unset DOCKER_DEFAULT_PLATFORM   # or remove it from .env\n",
        ),
    ] {
        fake.repo.set("DOCKER_DEFAULT_PLATFORM", platform);
        fake.answer(&compose(BUILD), 1, "", "exec /bin/sh: exec format error\n");
        let run = fake.xtask(&["fast"]);
        let message =
            format!("error: building `backend`{target} failed; what served before still does\n");
        assert!(run.stderr.contains(&message), "{platform}: {}", run.text());
        let hints = format!("\n\n{hint}hint: cargo xtask up   # after fixing it\n");
        assert!(run.stderr.ends_with(&hints), "{platform}: {}", run.text());
    }
}
