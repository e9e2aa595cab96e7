//! Every situation that a command promises to handle, caused on a real engine
//! with a tiny image, and the state looked at afterwards.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    common::{self, COMPOSE_FILE, PYTHON, Repo, Run},
    service::{Service, need},
};

// --- restart ---------------------------------------------------------------

#[test]
fn restart_of_an_unchanged_service_restarts_its_process() {
    let service = need!(Service::serving());
    let (container, before) = (service.container(), service.fingerprint());
    service.xtask(&["restart"]).ok();
    assert_eq!(service.container(), container);
    assert_ne!(service.fingerprint(), before);
}

#[test]
fn restart_applies_changed_settings() {
    let service = need!(Service::serving());
    service.write(".env", "FOO=1\n");
    let said = service.xtask(&["restart"]).ok();
    assert!(said.contains("restart: .env or the compose configuration changed"), "{said}");
    assert_eq!(service.inside(&["printenv", "FOO"]), "1");
    service.write(".env", "FOO=2\n");
    service.xtask(&["restart"]).ok();
    assert_eq!(service.inside(&["printenv", "FOO"]), "2");
    service.write(
        "docker-compose.yml",
        &COMPOSE_FILE.replace("init: true", "environment: {BAR: '3'}"),
    );
    service.decides("restart", "compose configuration changed");
    service.xtask(&["restart"]).ok();
    assert_eq!(service.inside(&["printenv", "BAR"]), "3");
    service.decides("none", "it runs");
}

#[test]
fn restart_brings_up_what_is_stopped_paused_or_removed() {
    let service = need!(Service::serving());
    for (fault, state) in [("stop", "exited"), ("kill", "exited"), ("pause", "paused")] {
        service.docker(&[fault, &service.container()]);
        service.decides("restart", state);
        service.xtask(&["restart"]).ok();
        assert!(service.running(), "after {fault}");
    }
    service.docker(&["rm", "--force", &service.container()]);
    service.decides("restart", "there is no container");
    service.xtask(&["restart"]).ok();
    assert!(service.running());
}

#[test]
fn restart_revives_a_hung_service() {
    let service = need!(Service::new());
    let compose = COMPOSE_FILE.replace("interval: 5s", "interval: 200ms, retries: 1");
    service.write("docker-compose.yml", &compose);
    service.xtask(&["up"]).ok();
    service.inside(&["rm", "/tmp/ready"]);
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "unhealthy");
    service.decides("restart", "the container is unhealthy");
    let before = service.fingerprint();
    service.xtask(&["up"]).ok();
    assert_ne!(service.fingerprint(), before);
    service.inside(&["rm", "/tmp/ready"]);
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "unhealthy");
    service.xtask(&["fast"]).ok();
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "healthy");
}

#[test]
fn restart_never_builds() {
    let service = need!(Service::new());
    service.xtask(&["restart"]).fails(1, &["there is no image", "hint: cargo xtask full"]);
    assert_eq!(service.container(), "");
    service.xtask(&["up"]).ok();
    let image = service.inspect(&service.image_name(), "{{.Id}}");
    service.write("backend/app.sh", &format!("{}# new\n", common::APP));
    let said = service.xtask(&["restart"]).ok();
    assert!(said.contains("not in the container: backend/app.sh changed"), "{said}");
    assert!(said.contains("hint: cargo xtask fast\n"), "{said}");
    service.write("backend/requirements.txt", "torch==2.6.0\n");
    let said = service.xtask(&["restart"]).ok();
    assert!(
        said.contains("torch 2.5.1 → 2.6.0") && said.contains("hint: cargo xtask full\n"),
        "{said}"
    );
    assert_eq!(service.inspect(&service.image_name(), "{{.Id}}"), image);
}

// --- fast ------------------------------------------------------------------

#[test]
fn fast_puts_new_code_into_the_container_and_leaves_nothing_behind() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    service.write("backend/app.sh", &common::APP.replace("serving", "version two"));
    service.xtask(&["fast"]).ok();
    assert!(service.docker(&["logs", &service.container()]).contains("version two"));
    assert_eq!(service.docker(&["image", "inspect", &old]), "[]", "the superseded image is gone");
    let names = service.docker(&[
        "images",
        "--quiet",
        "--filter",
        &format!("reference=localhost/xtask/{}-backend", service.project),
    ]);
    assert_eq!(names.lines().count(), 2, "one name and one record");
    service.decides("none", "it runs");
}

#[test]
fn fast_refuses_changed_requirements_and_names_the_pins() {
    let service = need!(Service::serving());
    let before = service.fingerprint();
    service.write("backend/requirements.txt", "torch==2.5.0\nnumpy==1.26.4\n");
    service
        .xtask(&["fast"])
        .fails(1, &["torch 2.5.1 → 2.5.0", "numpy 1.26.4 added", "hint: cargo xtask full"]);
    assert_eq!(service.fingerprint(), before);
    service.xtask(&["fast", "--force"]).ok();
    assert!(service.inside(&["cat", "/requirements.txt"]).contains("2.5.0"));
    service.decides("none", "it runs");
}

#[test]
fn a_build_that_yields_what_runs_leaves_the_container_alone() {
    let service = need!(Service::serving());
    let before = service.fingerprint();
    service.xtask(&["fast"]).ok();
    assert_eq!(service.fingerprint(), before);
    // In the context, but no COPY takes it: other inputs, same image.
    service.write("backend/notes.md", "notes\n");
    service.decides("fast", "backend/notes.md added since the image was built");
    service.xtask(&["up"]).ok();
    assert_eq!(service.fingerprint(), before);
    service.decides("none", "it runs");
    // A build by hand with another configuration of nothing but Compose's labels.
    let dockerfile = format!("{}LABEL com.docker.compose.version=\"0\"\n", common::DOCKERFILE);
    service.write("backend/Dockerfile", &dockerfile);
    service.xtask(&["up"]).ok();
    assert_eq!(service.fingerprint(), before);
}

#[test]
fn an_image_built_by_hand_is_never_taken_for_ours() {
    let service = need!(Service::serving());
    service.write("backend/app.sh", &format!("{}# by hand\n", common::APP));
    service.docker(&["compose", "build", "--quiet", "backend"]);
    let status = service.status();
    assert_eq!(
        (&status["image"]["origin"], &status["decision"]),
        (&"unknown".into(), &"fast".into()),
        "{status:#}"
    );
    service.docker(&[
        "compose",
        "--file",
        "docker-compose.yml",
        "--file",
        "docker-compose.cpu.yml",
        "up",
        "--detach",
        "--no-build",
    ]);
    let before = service.fingerprint();
    service.xtask(&["up"]).ok();
    assert_eq!(service.fingerprint(), before, "the same layers: nothing to swap");
    service.decides("none", "it runs");
}

#[test]
fn a_failed_build_leaves_everything_as_it_was() {
    let service = need!(Service::serving());
    let before = (service.fingerprint(), service.inspect(&service.image_name(), "{{.Id}}"));
    service.write("backend/Dockerfile", &format!("{}RUN exit 3\n", common::DOCKERFILE));
    let run = service.xtask(&["fast"]);
    assert_ne!(run.code, Some(0));
    run.fails(run.code.unwrap(), &["building `backend`", "docker compose"]);
    assert!(service.running());
    assert_eq!((service.fingerprint(), service.inspect(&service.image_name(), "{{.Id}}")), before);
}

#[test]
fn ctrl_c_during_a_build_leaves_everything_as_it_was() {
    let service = need!(Service::serving());
    let before = (service.fingerprint(), service.inspect(&service.image_name(), "{{.Id}}"));
    service.write("backend/Dockerfile", &format!("{}RUN sleep 30\n", common::DOCKERFILE));
    // A terminal sends SIGINT to the whole foreground group.
    let mut command = service.command(env!("CARGO_BIN_EXE_xtask"), &["fast"]);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(3));
    Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status().unwrap();
    let started = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(service.running());
    assert_eq!((service.fingerprint(), service.inspect(&service.image_name(), "{{.Id}}")), before);
}

#[test]
fn an_edit_during_the_build_is_not_lost() {
    let service = need!(Service::serving());
    service.write("backend/Dockerfile", &format!("{}RUN sleep 4\n", common::DOCKERFILE));
    let mut build = service.command(env!("CARGO_BIN_EXE_xtask"), &["fast"]);
    let build = build.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    service.write("backend/app.sh", &format!("{}# late\n", common::APP));
    let said = String::from_utf8(build.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("the sources changed while building"), "{said}");
    assert_eq!(service.status()["image"]["origin"], "unknown");
    service.xtask(&["up"]).ok();
    assert!(service.inside(&["tail", "-n1", "/app.sh"]).contains("# late"));
    service.decides("none", "it runs");
}

// --- full ------------------------------------------------------------------

#[test]
fn full_checks_swaps_and_removes_what_it_supersedes() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    service.docker(&["tag", "debian:bookworm-slim", &format!("{}-bystander:1", service.project)]);
    service.write("backend/requirements.txt", "torch==2.6.0\n");
    let said = service.xtask(&["full"]).ok();
    assert!(said.contains("package versions: torch 2.5.1 → 2.6.0"), "{said}");
    assert!(said.contains("removed the superseded image: "), "{said}");
    assert_eq!(service.docker(&["image", "inspect", &old]), "[]");
    let bystander =
        service.docker(&["images", "--quiet", &format!("{}-bystander", service.project)]);
    assert!(!bystander.is_empty(), "an image of somebody else stays");
    service.docker(&["image", "rm", &format!("{}-bystander:1", service.project)]);
    assert!(service.inside(&["cat", "/requirements.txt"]).contains("2.6.0"));
    service.decides("none", "it runs");
}

#[test]
fn full_uses_no_cache_and_fast_does() {
    let service = need!(Service::new());
    service.write("backend/Dockerfile", &format!("{}RUN date +%N > /built\n", common::DOCKERFILE));
    service.xtask(&["up"]).ok();
    let first = service.inside(&["cat", "/built"]);
    service.xtask(&["fast"]).ok();
    assert_eq!(service.inside(&["cat", "/built"]), first);
    let said = service.xtask(&["full"]).ok();
    assert_ne!(service.inside(&["cat", "/built"]), first);
    assert!(said.contains("of disk freed"), "{said}");
}

#[test]
fn full_without_a_pinned_torch_takes_any() {
    let service = need!(Service::new());
    service.write("backend/requirements.txt", "torch\n");
    service.write("backend/python3", &PYTHON.replace("v=$(", "v=2.4.0 #("));
    let said = service.xtask(&["full"]).ok();
    assert!(said.contains("backend/requirements.txt pins no torch"), "{said}");
}

#[test]
fn ctrl_c_during_the_check_leaves_everything_as_it_was() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    let before = (service.fingerprint(), service.inspect(&old, "{{.RepoTags}}"));
    // The same inputs again but for a check that takes its time.
    service.write("backend/python3", &format!("{PYTHON}sleep 20\n"));
    let mut command = service.command(env!("CARGO_BIN_EXE_xtask"), &["full"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let building = format!("localhost/xtask/{}-backend:building", service.project);
    service.wait_for(&building, "{{.RepoTags}}", &format!("[{building}]"));
    thread::sleep(Duration::from_secs(1));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!((service.fingerprint(), service.inspect(&old, "{{.RepoTags}}")), before);
}

#[test]
fn full_keeps_an_image_that_somebody_named() {
    let service = need!(Service::serving());
    let (old, mine) = (
        service.inspect(&service.image_name(), "{{.Id}}"),
        format!("{}-backend:mine", service.project),
    );
    service.docker(&["tag", &old, &mine]);
    service.write("backend/app.sh", &format!("{}# new\n", common::APP));
    let said = service.xtask(&["full"]).ok();
    assert!(said.contains("stays: another name or container uses it"), "{said}");
    assert_eq!(service.inspect(&mine, "{{.Id}}"), old);
    service.docker(&["image", "rm", &mine]);
}

#[test]
fn full_never_swaps_to_an_image_with_the_wrong_torch() {
    let service = need!(Service::serving());
    let names = |id: &str| service.inspect(id, "{{json .RepoTags}}");
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    let before = (service.fingerprint(), names(&old));
    for (python, message) in [
        (
            PYTHON.replace("echo \"{\\\"torch", "v=2.6.0+cpu; echo \"{\\\"torch"),
            "torch is 2.6.0+cpu, pinned is 2.5.1",
        ),
        (
            PYTHON.replace("echo \"{\\\"torch", "exit 139; echo \"{\\\"torch"),
            "importing torch ended Python with exit code 139",
        ),
        ("#!/bin/sh\nexit 1\n".to_owned(), "python3 did not run (exit code 1)"),
    ] {
        service.write("backend/python3", &python);
        service
            .xtask(&["full"])
            .fails(1, &["not fit to serve", message, "is kept as localhost/xtask/"]);
        assert_eq!((service.fingerprint(), names(&old)), before, "{message}");
    }
    // Sources back as they were: a full build of the same inputs that then fails
    // must not take the old image's name either.
    service.write("backend/python3", PYTHON);
    service.decides("none", "it runs");
}

#[test]
fn further_names_of_the_image_move_only_when_it_is_fit() {
    let service = need!(Service::new());
    let stable = format!("{}-backend:stable", service.project);
    let compose = COMPOSE_FILE
        .replace("build: ./backend", &format!("build: {{context: ./backend, tags: ['{stable}']}}"));
    service.write("docker-compose.yml", &compose);
    service.xtask(&["up"]).ok();
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    assert_eq!(service.inspect(&stable, "{{.Id}}"), old);
    service.write("backend/python3", "exit 1\n");
    service.xtask(&["full"]).fails(1, &["not fit to serve"]);
    assert_eq!(service.inspect(&stable, "{{.Id}}"), old);
    service.write("backend/python3", &format!("{PYTHON}# 2\n"));
    service.xtask(&["up"]).ok();
    assert_ne!(service.inspect(&stable, "{{.Id}}"), old);
}

// --- up and status ---------------------------------------------------------

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
            "would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - --progress plain build --no-cache backend",
        ),
        (["fast", "--dry-run"], "--file - --progress plain build backend"),
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

// --- when the new container does not serve ---------------------------------

#[test]
fn a_crash_loop_fails_at_once_with_code_log_and_next_step() {
    let service = need!(Service::serving());
    service.write("backend/app.sh", "echo the last words; exit 3\n");
    let started = Instant::now();
    let run = service.xtask(&["fast"]);
    run.fails(
        1,
        &["exit code 3", "  | the last words", "hint: docker compose logs --tail 100 backend"],
    );
    assert!(started.elapsed() < Duration::from_secs(60), "well before the timeout of 120 s");
    service.write("backend/app.sh", common::APP);
    service.xtask(&["up"]).ok();
    assert!(service.running());
}

#[test]
fn a_crash_that_is_over_is_forgiven() {
    let service = need!(Service::new());
    service.write("docker-compose.yml", &COMPOSE_FILE.replace("interval: 5s", "interval: 200ms"));
    service.xtask(&["up"]).ok();
    let container = service.container();
    service.inside(&["sh", "-c", "kill -KILL -1"]);
    service.wait_for(&container, "{{.RestartCount}}", "1");
    service.wait_for(&container, "{{.State.Health.Status}}", "healthy");
    service.decides("none", "it runs");
    service.xtask(&["up"]).ok();
    service.xtask(&["fast"]).ok();
}

#[test]
fn a_service_that_never_answers_fails_at_the_timeout() {
    let service = need!(Service::new());
    service.write("backend/app.sh", &common::APP.replace("touch /tmp/ready", ""));
    service
        .xtask(&["up", "--timeout", "2"])
        .fails(1, &["did not answer within 2 s", "  | serving"]);
}

// --- the way back ----------------------------------------------------------

#[test]
fn full_goes_back_when_the_new_image_does_not_serve() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    service.write("backend/app.sh", "echo broken; exit 3\n");
    let run = service.xtask(&["full"]);
    run.fails(
        1,
        &[
            "the new image does not serve; the superseded one serves again",
            "exit code 3",
            "backend:failed",
        ],
    );
    assert!(service.running());
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), old);
    assert_eq!(service.inspect(&service.image_name(), "{{.Id}}"), old);
    let failed = format!("localhost/xtask/{}-backend:failed", service.project);
    assert_ne!(service.inspect(&failed, "{{.Id}}"), "", "kept for inspection");
    service.decides("fast", "backend/app.sh changed since the image was built");
    service.write("backend/app.sh", common::APP);
    service.xtask(&["full"]).ok();
    assert_eq!(service.docker(&["images", "--quiet", &failed]), "", "gone with the next success");
}

#[test]
fn rollback_undoes_failed_fasts_and_nothing_else() {
    let service = need!(Service::serving());
    service.xtask(&["rollback"]).fails(1, &["there is nothing to go back to"]);
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    for message in ["first failure", "second failure"] {
        service.write("backend/app.sh", &format!("echo {message}; exit 3\n"));
        service.xtask(&["fast"]).fails(1, &[message, "hint: cargo xtask rollback"]);
        assert_ne!(service.inspect(&service.image_name(), "{{.Id}}"), old, "left to its developer");
    }
    let said = service.xtask(&["rollback", "--dry-run"]).ok();
    assert!(said.contains("would run: docker tag localhost/xtask/"), "{said}");
    service.xtask(&["rollback"]).ok();
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), old);
    assert!(service.running());
    service.xtask(&["rollback"]).fails(1, &["there is nothing to go back to"]);
    service.write("backend/app.sh", &format!("{}# mended\n", common::APP));
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    let ours = service.docker(&[
        "images",
        "--quiet",
        &format!("localhost/xtask/{}-backend", service.project),
    ]);
    assert_eq!(ours.lines().count(), 2, "one name and one record");
}

#[test]
fn two_at_once_take_turns() {
    let service = need!(Service::serving());
    let mut other = Repo::new();
    other.set("COMPOSE_PROJECT_NAME", &service.project);
    other.set("XTASK_DEVICE", "cpu");
    for (round, clone) in [&*service, &other].into_iter().enumerate() {
        service
            .write("backend/Dockerfile", &format!("{}RUN sleep 5 # {round}\n", common::DOCKERFILE));
        let mut first = service.command(env!("CARGO_BIN_EXE_xtask"), &["full"]);
        let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_secs(2));
        let said = clone.xtask(&["restart"]).ok();
        assert!(said.starts_with("waiting for `full` (process "), "{said}");
        assert!(
            first.try_wait().unwrap().is_some_and(|status| status.success()),
            "the first was done before"
        );
    }
    // A holder that is killed holds nothing.
    let mut killed = service.command(env!("CARGO_BIN_EXE_xtask"), &["full"]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!service.xtask(&["restart"]).ok().contains("waiting for"));
    // What it had started goes on by itself: a build under a name of its own.
    thread::sleep(Duration::from_secs(10));
}

// --- the user's own compose file -------------------------------------------

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

// --- doctor ----------------------------------------------------------------

#[test]
fn doctor_names_the_first_fault_and_its_remedy() {
    let service = need!(Service::new());
    let doctor = |code: i32| -> Value {
        let run = service.xtask(&["doctor", "--json"]);
        assert_eq!(run.code, Some(code), "{}", run.text());
        serde_json::from_str(&run.stdout).unwrap()
    };
    let check = |document: &Value, id: &str| {
        document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["id"] == id)
            .unwrap()
            .clone()
    };
    let document = doctor(1);
    assert_eq!(document["ok"], false);
    assert_eq!(check(&document, "image")["status"], "fail");
    assert_eq!(check(&document, "image")["remedy"]["commands"][0], "cargo xtask up");
    assert_eq!(check(&document, "container")["status"], "skipped");

    service.xtask(&["up"]).ok();
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "healthy");
    let document = doctor(0);
    assert_eq!((&document["version"], &document["ok"]), (&1.into(), &true.into()));
    for id in
        ["docker-cli", "engine", "compose", "buildx", "compose-file", "image", "container", "torch"]
    {
        assert_eq!(check(&document, id)["status"], "ok", "{document:#}");
    }
    assert_eq!(
        (&check(&document, "torch")["found"], &check(&document, "cuda")["status"]),
        (&"2.5.1".into(), &"skipped".into())
    );

    service.docker(&["stop", &service.container()]);
    let document = doctor(1);
    assert_eq!(check(&document, "container")["remedy"]["commands"][0], "cargo xtask up");
    assert_eq!(check(&document, "torch")["status"], "ok", "looked at in the image");
    assert_eq!(check(&document, "cuda")["status"], "skipped");

    service.write("backend/python3", &PYTHON.replace("v=$(", "v=2.4.0 #("));
    service.xtask(&["fast"]).ok();
    let torch = check(&doctor(1), "torch");
    assert_eq!((&torch["found"], &torch["expected"]), (&"2.4.0".into(), &"2.5.1".into()));
    assert_eq!(torch["remedy"]["commands"][0], "cargo xtask full");
}
