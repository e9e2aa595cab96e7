//! What is said about failures, against a fake docker.

mod building;

use crate::fake::*;

/// Every command says the same where all docker commands of one kind fail.
#[track_caller]
fn where_docker_fails(command: &str, stderr: &str, want: &str) {
    let mut fake = Fake::serving();
    fake.every(command, 1, "", stderr);
    if !stderr.starts_with("docker: 'compose'") {
        fake.answer("compose version", 0, "Docker Compose version 2.26.1\n", "");
    }
    for command in ["up", "restart", "fast", "full", "status"] {
        snapshot(&fake.xtask(&[command]), want);
    }
}

#[test]
fn a_docker_that_does_not_answer() {
    where_docker_fails(
        "info",
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        r#"--- stderr
error: the Docker engine does not answer

hint: sudo systemctl start docker   # or start Docker Desktop
hint: docker context ls   # which engine is meant; DOCKER_HOST, if set, wins
--- exit 1
"#,
    );
    where_docker_fails(
        "info",
        "permission denied while trying to connect to the Docker daemon socket",
        r#"--- stderr
error: no permission to talk to the Docker engine

hint: sudo usermod -aG docker $USER   # then log out and in again
--- exit 1
"#,
    );
    where_docker_fails(
        "compose",
        "docker: 'compose' is not a docker command.",
        r#"--- stderr
error: reading the compose files
  because: Docker Compose 2.24 or newer is missing

hint: docs.docker.com/compose/install tells how to install it
hint: cargo xtask up --setup   # on Debian and Ubuntu
--- exit 1
"#,
    );
    where_docker_fails(
        "compose",
        "no configuration file provided: not found",
        r#"--- stderr
error: reading the compose files
  because: `docker compose config` exited with 1: no configuration file provided: not found

hint: correct the compose file or .env at the place that is named
--- exit 1
"#,
    );
    where_docker_fails(
        "compose",
        "yaml: line 3: did not find expected key",
        r#"--- stderr
error: reading the compose files
  because: `docker compose config` exited with 1: yaml: line 3: did not find expected key

hint: correct the compose file or .env at the place that is named
--- exit 1
"#,
    );
}

/// A stopped container that Compose cannot start.
#[track_caller]
fn where_starting_fails(stderr: &str, want: &str) {
    let mut fake = Fake::serving();
    fake.container_with(&[("running", "exited")]);
    fake.drift("Starting");
    fake.answer(&compose(UP), 1, "", stderr);
    snapshot(&fake.xtask(&["restart"]), want);
}

#[test]
fn a_start_that_fails_names_the_cause() {
    where_starting_fails(
        "Bind for 127.0.0.1:8000 failed: port is already allocated\n",
        r#"restart: the container is exited (exit code 0)
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> start the container
--- stderr
Bind for 127.0.0.1:8000 failed: port is already allocated
error: starting `backend` failed
  because: the port that the service publishes is taken by another program

hint: name a free port in the compose file, or by BACKEND_PORT in .env
hint: cargo xtask up
--- exit 1
"#,
    );
    where_starting_fails(
        "could not select device driver \"nvidia\" with capabilities: [[gpu]]\n",
        r#"restart: the container is exited (exit code 0)
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> start the container
--- stderr
could not select device driver "nvidia" with capabilities: [[gpu]]
error: starting `backend` failed
  because: the service asks for an NVIDIA GPU, and the engine cannot hand one out

hint: install nvidia-container-toolkit on the engine's machine and configure Docker for it
hint: sudo apt-get install nvidia-container-toolkit   # from NVIDIA's own package source
hint: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker
hint: XTASK_DEVICE=cpu cargo xtask up   # to run on the CPU all the same
--- exit 1
"#,
    );
}

/// A machine whose engine refuses a restart.
#[track_caller]
fn where_restarting_fails(stderr: &str, want: &str) {
    let mut fake = Fake::serving();
    fake.answer(&compose(RESTART), 1, "", stderr);
    snapshot(&fake.xtask(&["restart"]), want);
}

#[test]
fn a_machine_in_trouble_is_described_while_it_serves() {
    where_restarting_fails(
        "Failed to initialize NVML: Driver/library version mismatch\n",
        r#"restart: requested explicitly; nothing has changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> restart the container's process
--- stderr
Failed to initialize NVML: Driver/library version mismatch
error: nothing was swapped; what served before still does
  because: restarting `backend` failed
  because: the NVIDIA driver was upgraded, but the machine runs the old one

hint: reboot the engine's machine
hint: sudo reboot   # on the engine's machine
--- exit 1
"#,
    );
    where_restarting_fails(
        "nvidia-container-cli: mount error: file creation failed: libEGL_nvidia.so.550\n",
        r#"restart: requested explicitly; nothing has changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> restart the container's process
--- stderr
nvidia-container-cli: mount error: file creation failed: libEGL_nvidia.so.550
error: nothing was swapped; what served before still does
  because: restarting `backend` failed
  because: the list of the driver's files for containers (CDI) is out of date

hint: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml
hint: cargo xtask restart
--- exit 1
"#,
    );
    where_restarting_fails(
        "Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44\n",
        r#"restart: requested explicitly; nothing has changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> restart the container's process
--- stderr
Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44
error: nothing was swapped; what served before still does
  because: restarting `backend` failed
  because: the engine is too new for this Docker CLI

hint: upgrade the Docker CLI and its Compose plugin
--- exit 1
"#,
    );
}

#[test]
fn an_old_compose_is_named_with_its_version() {
    let mut fake = Fake::serving();
    fake.answer(CONFIG, 1, "", "services.backend.env_file.0 must be a string");
    fake.answer("compose version", 0, "Docker Compose version v2.20.3\n", "");
    snapshot(
        &fake.xtask(&["up"]),
        r#"--- stderr
error: reading the compose files
  because: Docker Compose 2.20.3 is too old: 2.24 or newer is needed

hint: docs.docker.com/compose/install tells how to upgrade it
hint: cargo xtask up --setup   # on Debian and Ubuntu
--- exit 1
"#,
    );
}

#[test]
fn a_docker_without_compose_complains_of_its_options() {
    let mut fake = Fake::serving();
    fake.answer(CONFIG, 125, "", "unknown flag: --format\n\nRun 'docker --help' for more");
    fake.answer("compose version", 1, "", "docker: 'compose' is not a docker command.");
    fake.xtask(&["up"]).fails(1, &["Docker Compose 2.24 or newer is missing"]);
}

#[test]
fn without_docker_on_path_the_next_step_is_named() {
    let mut fake = Fake::serving();
    fake.repo.set("PATH", "/nonexistent");
    snapshot(
        &fake.xtask(&["up"]),
        r#"--- stderr
error: `docker` is not on PATH

hint: docs.docker.com/engine/install tells how to install it
hint: cargo xtask up --setup   # on Debian and Ubuntu
--- exit 1
"#,
    );
}

#[test]
fn a_service_without_a_build_section_is_pulled_not_built() {
    let mut fake = Fake::serving();
    fake.answer(CONFIG, 0, r#"{"name":"p","services":{"backend":{"image":"p-backend"}}}"#, "");
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "));
    for command in ["fast", "full"] {
        snapshot(
            &fake.xtask(&[command]),
            r#"--- stderr
error: service `backend` has no `build` section in the compose file

hint: docker compose pull backend && cargo xtask restart
--- exit 1
"#,
        );
    }
}

#[test]
fn missing_requirements_are_named() {
    let fake = Fake::serving();
    fs_err::remove_file(fake.repo.root.join("backend/requirements.txt")).unwrap();
    snapshot(
        &fake.xtask(&["up"]),
        r#"--- stderr
error: reading the pins in backend/requirements.txt
  because: failed to open file `<root>/backend/requirements.txt`: No such file or directory (os error 2)

hint: git checkout -- backend/requirements.txt
--- exit 1
"#,
    );
}

#[test]
fn a_superseded_image_that_is_used_elsewhere_is_named_by_its_short_id() {
    let mut fake = Fake::serving();
    let old = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let name = fake.inputs_name();
    fake.answer(IMAGE_INSPECT, 0, &image(&old, "l", &["p-backend:latest", &name]), "");
    fake.container_with(&[("sha256:a", &old)]);
    fake.answer("image inspect sha256:<digest>", 0, &image(&old, "l", &["mine:1"]), "");
    for line in [
        &*compose(BUILD_FULL),
        &compose(UP),
        &fake.record(),
        &format!("tag {BUILDING} {INPUTS}"),
        &format!("tag {BUILDING} p-backend:latest"),
        "tag sha256:<digest> localhost/xtask/p-backend:previous",
        "image rm localhost/xtask/p-backend:previous",
        BUILD_CACHE,
    ] {
        fake.answer(line, 0, "", "");
    }
    for image in [BUILDING, "sha256:<digest>"] {
        fake.answer(&throw_away("", &format!("python3 {image} -")), 0, PROBE, "");
    }
    let new = image("sha256:b", "m", &[]);
    fake.after(&compose(BUILD_FULL), &format!("image inspect {BUILDING}"), 0, &new, "");
    snapshot(
        &fake.xtask(&["full"]),
        r#"full: requested explicitly; nothing has changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
==> build the image without cache, under a temporary tag
==> check that torch 2.5.1 imports in the new image
==> start a container of the image
`backend` answers on http://127.0.0.1:8000, <time> after the start of `full`
==> compare the packages with those of the image that served
package versions: none changed
the superseded image 0123456789ab stays: another name or container uses it
--- stderr
--- exit 0
"#,
    );
}

#[test]
fn children_see_the_users_environment_but_not_cargos() {
    const CARGOS: [&str; 6] = [
        "CARGO",
        "CARGO_PKG_NAME",
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
        "LD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    ];
    let mut fake = Fake::serving();
    for name in CARGOS {
        fake.repo.set(name, "/cargo");
    }
    fake.repo.set("COMPOSE_PROFILES", "mine");
    let seen = fake.repo.root.join("environment");
    fake.script(&compose(RESTART), &format!("env > '{}'", seen.display()));
    fake.xtask(&["restart"]).ok();
    let seen = fs_err::read_to_string(seen).unwrap();
    assert!(seen.contains("COMPOSE_PROFILES=mine\n"), "{seen}");
    for name in CARGOS.into_iter().chain(["CARGO_MANIFEST_DIR"]) {
        let set = |line: &str| line.starts_with(&format!("{name}="));
        assert!(!seen.lines().any(set), "{name} in {seen}");
    }
}
