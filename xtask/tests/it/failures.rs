//! What is said about failures, against a fake docker.

use crate::fake::{CONTAINER, Fake, snapshot};

#[test]
fn known_failures_of_docker_are_said_in_the_users_words() {
    for (pattern, stderr, message, hint) in [
        (
            "info*",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            "the Docker engine does not answer",
            "hint: sudo systemctl start docker",
        ),
        (
            "info*",
            "permission denied while trying to connect to the Docker daemon socket",
            "no permission to talk to the Docker engine",
            "hint: sudo usermod",
        ),
        (
            "compose*",
            "docker: 'compose' is not a docker command.",
            "Docker Compose 2.24 or newer is missing",
            "hint: docs.docker.com/compose",
        ),
        (
            "compose*config*",
            "no configuration file provided: not found",
            "reading the compose files",
            "hint: docker compose config",
        ),
        (
            "compose*config*",
            "yaml: line 3: did not find expected key",
            "yaml: line 3",
            "hint: docker compose config",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer(pattern, 1, "", stderr);
        for command in ["up", "restart", "fast", "full", "status"] {
            fake.xtask(&[command]).fails(1, &["error: ", message, hint]);
        }
    }
}

#[test]
fn a_swap_that_fails_names_the_cause() {
    for (stderr, message) in [
        (
            "Bind for 127.0.0.1:8000 failed: port is already allocated",
            "the port that the service publishes is taken",
        ),
        (
            "could not select device driver \"nvidia\" with capabilities: [[gpu]]",
            "the engine cannot hand one out",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("container inspect c1", 0, &CONTAINER.replace("running", "exited"), "");
        fake.answer("compose*up --detach*", 1, "", stderr);
        fake.answer(
            "compose*--dry-run up*",
            0,
            " DRY-RUN MODE -  Container p-backend-1  Starting",
            "",
        );
        fake.xtask(&["restart"]).fails(1, &["starting `backend`", message, "hint: "]);
    }
}

#[test]
fn a_failed_build_passes_its_exit_code_on() {
    let mut fake = Fake::serving();
    fake.answer("compose*plain build backend", 17, "", "failed to solve\n");
    snapshot(
        &fake.xtask(&["fast"]),
        "fast: nothing calls for it, but you ask\n\
         no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml\n--- stderr\n\
         failed to solve\n\
         error: building `backend` failed; what served before still does\n  \
         because: `docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - \
         --progress plain build backend` exited with 17: failed to solve\n\
         hint: cargo xtask up   # once it is mended\n--- exit 17\n",
    );
}

#[test]
fn build_failures_are_said_in_the_users_words() {
    for (stderr, message, hint) in [
        (
            "rpc error: code = Unavailable desc = error reading from server: EOF",
            "the Docker engine went away in the middle",
            "hint: sudo systemctl start docker",
        ),
        (
            "failed to solve: write /x: no space left on device",
            "the disk of the engine's machine is full",
            "hint: docker system df",
        ),
        (
            "failed to solve: debian:bookworm-slim: failed to resolve source metadata",
            "the base image is neither",
            "hint: cargo xtask up --setup",
        ),
        (
            "  x No solution found when resolving dependencies:",
            "a requirement does not exist",
            "mend backend/requirements.txt",
        ),
        (
            "Temporary failure in name resolution",
            "a package index does not answer",
            "UV_DEFAULT_INDEX",
        ),
        (
            "dockerfile parse error on line 3: unknown instruction: RUNN",
            "the Dockerfile has a fault",
            "hint: the lines above name it",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("compose*plain build*backend", 1, "", stderr);
        for command in ["fast", "full"] {
            fake.xtask(&[command]).fails(
                1,
                &["building `backend` failed; what served before still does", message, hint],
            );
            assert!(!fake.log().contains("tag localhost"), "no name was given: {}", fake.log());
        }
    }
}

#[test]
fn a_machine_in_trouble_is_described_while_it_serves() {
    for (stderr, message, hint) in [
        (
            "Failed to initialize NVML: Driver/library version mismatch",
            "the machine runs the old one",
            "hint: reboot",
        ),
        (
            "nvidia-container-cli: mount error: file creation failed: libEGL_nvidia.so.550",
            "is out of date",
            "hint: sudo nvidia-ctk cdi generate",
        ),
        (
            "Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44",
            "newer than this Docker CLI",
            "hint: upgrade",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("compose*restart*", 1, "", stderr);
        fake.xtask(&["restart"]).fails(1, &["restarting `backend`", message, hint]);
    }
}

#[test]
fn an_old_compose_is_named_with_its_version() {
    let mut fake = Fake::serving();
    fake.answer("compose*config*", 1, "", "services.backend.env_file.0 must be a string");
    fake.answer("compose version*", 0, "Docker Compose version v2.20.3\n", "");
    fake.xtask(&["up"]).fails(
        1,
        &[
            "Docker Compose 2.20.3 is too old: 2.24 or newer is needed",
            "hint: cargo xtask up --setup",
        ],
    );
}

#[test]
fn without_docker_on_path_the_next_step_is_named() {
    let mut fake = Fake::serving();
    fake.repo.set("PATH", "/nonexistent");
    snapshot(
        &fake.repo.xtask(&["up"]),
        "--- stderr\nerror: `docker` is not on PATH\n\
         hint: docs.docker.com/engine/install tells how to install it\n\
         hint: cargo xtask up --setup   # on Debian and Ubuntu\n--- exit 1\n",
    );
}

#[test]
fn a_service_without_a_build_section_is_pulled_not_built() {
    let mut fake = Fake::serving();
    fake.answer(
        "compose*config*",
        0,
        r#"{"name":"p","services":{"backend":{"image":"p-backend"}}}"#,
        "",
    );
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "));
    for command in ["fast", "full"] {
        fake.xtask(&[command]).fails(
            1,
            &["service `backend` has no `build` section", "hint: docker compose pull backend"],
        );
    }
}

#[test]
fn missing_requirements_are_named() {
    let fake = Fake::serving();
    fs_err::remove_file(fake.repo.root.join("backend/requirements.txt")).unwrap();
    fake.xtask(&["up"])
        .fails(1, &["backend/requirements.txt", "hint: git checkout -- backend/requirements.txt"]);
}

#[test]
fn children_see_the_users_environment_but_not_cargos() {
    let mut fake = Fake::serving();
    fake.repo.set("CARGO_PKG_NAME", "xtask");
    fake.repo.set("LD_LIBRARY_PATH", "/cargo");
    fake.repo.set("COMPOSE_PROFILES", "mine");
    fake.xtask(&["status"]).ok();
    let seen = fs_err::read_to_string(fake.repo.root.join("environment")).unwrap();
    assert!(seen.contains("COMPOSE_PROFILES=mine"), "{seen}");
    for gone in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "LD_LIBRARY_PATH"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}
