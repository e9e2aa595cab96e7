//! `up` and `status` on a real engine, with the user's own compose files too.

use serde_json::Value;

use crate::{
    common::{self, COMPOSE_FILE, Repo, Run},
    service::{Service, need},
};

#[test]
fn up_carries_out_the_decision_tree() {
    let service = need!(Service::new());
    service.decides("full", "there is no image");
    let said = service.xtask(&["up"]).ok();
    assert!(said.starts_with("full: there is no image"), "{said}");
    let before = service.fingerprint();
    let said = service.xtask(&["up"]).ok();
    assert!(said.starts_with("none: it runs"), "{said}");
    assert_eq!(service.fingerprint(), before);
    service.write("backend/app.sh", &format!("{}# 2\n", common::APP));
    let said = service.xtask(&["up"]).ok();
    assert!(said.starts_with("fast: backend/app.sh changed since the image was built"), "{said}");
    service.write(".env", "FOO=1\n");
    let said = service.xtask(&["up"]).ok();
    assert!(said.starts_with("restart: .env or the compose configuration changed"), "{said}");
    assert_eq!(service.inside(&["printenv", "FOO"]), "1");
    service.write("backend/requirements.txt", "torch==2.6.0\n");
    let said = service.xtask(&["up"]).ok();
    assert!(said.starts_with("full: backend/requirements.txt changed"), "{said}");
    service.decides("none", "it runs");
}

#[test]
fn an_image_newer_than_the_container_needs_only_a_swap() {
    let service = need!(Service::serving());
    let first = service.inspect(&service.container(), "{{.Image}}");
    service.write("backend/app.sh", &format!("{}# 2\n", common::APP));
    service.xtask(&["fast"]).ok();
    let second = service.inspect(&service.image_name(), "{{.Id}}");
    // As after a SIGKILL between build and swap.
    service.docker(&["rm", "--force", &service.container()]);
    service.docker(&["tag", "debian:bookworm-slim", &service.image_name()]);
    service.docker(&[
        "compose",
        "--file",
        "docker-compose.yml",
        "--file",
        "docker-compose.cpu.yml",
        "up",
        "--no-start",
        "--no-build",
    ]);
    service.docker(&["tag", &second, &service.image_name()]);
    assert_ne!(first, second);
    service.decides("restart", "the container was never started");
    service.xtask(&["up"]).ok();
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), second);
}

#[test]
fn a_fresh_clone_elsewhere_knows_the_image() {
    let service = need!(Service::serving());
    let mut clone = Repo::new();
    clone.set("COMPOSE_PROJECT_NAME", &service.project);
    clone.set("XTASK_DEVICE", "cpu");
    let marker = fs_err::read_to_string(service.root.join("backend/marker")).unwrap();
    clone.write("backend/marker", &marker);
    let status: Value = serde_json::from_str(&clone.xtask(&["status", "--json"]).ok()).unwrap();
    assert_eq!(
        (&status["decision"], &status["image"]["origin"]),
        (&"none".into(), &"known".into()),
        "{status:#}"
    );
    clone.write("backend/app.sh", "exit 1\n");
    let status = clone.xtask(&["status"]).ok();
    assert!(
        status.starts_with("fast: backend/app.sh changed since the image was built"),
        "{status}"
    );
}

#[test]
fn status_describes_container_and_image() {
    let service = need!(Service::new());
    let status = service.status();
    assert_eq!(
        (&status["version"], &status["container"], &status["image"]),
        (&1.into(), &Value::Null, &Value::Null)
    );
    service.xtask(&["up"]).ok();
    let status = service.status();
    assert_eq!(status["container"]["id"], service.container());
    assert_eq!(
        (&status["container"]["state"], &status["device"]),
        (&"running".into(), &"cpu".into())
    );
    assert_eq!(status["image"]["id"], service.inspect(&service.image_name(), "{{.Id}}"));
    let line = service.xtask(&["status"]).ok();
    assert!(line.contains("container: running") && line.contains("| device: cpu"), "{line}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let service = need!(Service::new());
    for (args, command) in [
        (
            ["up", "--dry-run"],
            "would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - --progress plain build --builder default --no-cache backend",
        ),
        (["fast", "--dry-run"], "--file - --progress plain build --builder default backend"),
        (["full", "--dry-run"], "would run: docker run --rm"),
    ] {
        let said = service.xtask(&args).ok();
        assert!(said.contains(command), "{said}");
        assert!(said.contains("up --detach --no-build"), "{said}");
    }
    assert_eq!(service.docker(&["images", "--quiet", &service.image_name()]), "");
    service.xtask(&["up"]).ok();
    let before = service.fingerprint();
    let said = service.xtask(&["restart", "--dry-run"]).ok();
    assert!(said.contains("restart --no-deps backend"), "{said}");
    assert_eq!(service.fingerprint(), before);
}

#[test]
fn other_forms_of_compose_files_work() {
    let mut service = need!(Service::new());
    let image = format!("{}-backend:own", service.project);
    service.write("backend/dockerfile", &common::DOCKERFILE.replace("COPY ", "COPY backend/"));
    let compose = format!(
        "services:\n  side:\n    image: debian:bookworm-slim\n    command: sleep infinity\n    init: true\n  backend:\n    \
         image: {image}\n    build: {{context: ., dockerfile: backend/dockerfile, args: {{A: '1'}}}}\n    \
         init: true\n    depends_on: [side]\n"
    );
    service.write("deploy/own.yml", &compose.replace("context: .,", "context: ..,"));
    service.write(".dockerignore", "deploy\n");
    service.set("COMPOSE_FILE", "deploy/own.yml");
    let said = service.xtask(&["up"]).ok();
    assert!(said.contains("without a healthcheck nothing tells whether it answers"), "{said}");
    assert_eq!(
        service.docker(&["compose", "ps", "--services", "--status", "running"]).lines().count(),
        2
    );
    service.decides("none", "it runs");
    for dir in [".git", "target"] {
        service.write(&format!("{dir}/x"), "not an input");
    }
    service.decides("none", "it runs");
    service.write(
        "deploy/own.yml",
        &compose.replace("context: .,", "context: ..,").replace("A: '1'", "A: '2'"),
    );
    service.decides("fast", "the build arguments changed");
    service.docker(&["compose", "down", "--timeout", "0"]);
}

#[test]
fn a_dependency_that_was_never_built_is_named() {
    let service = need!(Service::new());
    let side = "  side:\n    build: ./side\n    command: sleep infinity\n";
    let compose = COMPOSE_FILE
        .replace("services:\n", &format!("services:\n{side}"))
        .replace("    init:", "    depends_on: [side]\n    init:");
    service.write("docker-compose.yml", &compose);
    service.write("side/Dockerfile", "FROM debian:bookworm-slim\n");
    service.xtask(&["up"]).fails(
        1,
        &["an image that the service needs is not on the engine", "hint: docker compose build\n"],
    );
    service.docker(&["compose", "build", "--quiet", "side"]);
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    service.docker(&["compose", "down", "--timeout", "0", "--rmi", "local"]);
}

#[test]
fn a_clone_behind_a_symbolic_link_is_the_same_clone() {
    let service = need!(Service::serving());
    let link = service.root.with_file_name("link");
    std::os::unix::fs::symlink(&service.root, &link).unwrap();
    for directory in [link.clone(), link.join("backend")] {
        let mut command = service.command(env!("CARGO_BIN_EXE_xtask"), &["status"]);
        command.current_dir(&directory).env("PWD", &directory);
        let said = Run::of(command).ok();
        assert!(said.starts_with("none: "), "{said}");
    }
}

#[test]
fn the_cpu_file_is_added_only_where_there_is_no_card() {
    let mut service = need!(Service::new());
    service.env.retain(|(key, _)| key != "XTASK_DEVICE");
    let said = service.xtask(&["up"]).ok();
    // On a machine with a card this test has nothing to add.
    if service.status()["device"] == "cpu" {
        assert!(
            said.contains("no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml"),
            "{said}"
        );
        let before = service.fingerprint();
        service.write(".env", "XTASK_DEVICE=gpu\n");
        service.xtask(&["up"]).fails(
            1,
            &[
                "XTASK_DEVICE=gpu, but the engine's machine has no NVIDIA card",
                "hint: take XTASK_DEVICE out",
            ],
        );
        assert_eq!(service.fingerprint(), before);
    }
}

#[test]
fn works_from_any_subdirectory() {
    let service = need!(Service::serving());
    let mut command = service.command(env!("CARGO_BIN_EXE_xtask"), &["status"]);
    command.current_dir(service.root.join("backend"));
    assert!(Run::of(command).ok().starts_with("none: "));
}
