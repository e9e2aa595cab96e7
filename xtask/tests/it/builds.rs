//! `fast` and `full` on a real engine: what they put to use, and what they leave alone.

use crate::{
    common::{self, COMPOSE_FILE, PYTHON, Run},
    service::{Service, need},
};

#[test]
fn fast_puts_new_code_into_the_container_and_leaves_nothing_behind() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    service.write("backend/app.sh", &common::APP.replace("serving", "version two"));
    service.xtask(&["fast"]).ok();
    assert!(service.docker(&["logs", &service.container()]).contains("version two"));
    assert_eq!(service.docker(&["image", "inspect", &old]), "[]", "the superseded image is gone");
    assert_eq!(service.own_names().len(), 2, "one name and one record");
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
fn an_edit_during_the_build_is_not_lost() {
    let service = need!(Service::serving());
    service.write("backend/Dockerfile", &format!("{}RUN sleep 4\n", common::DOCKERFILE));
    let build = service.start(&["fast"]);
    // Once it has said what it does, it has read the sources.
    service.wait_until("it has decided", || build.says("fast: "));
    service.write("backend/app.sh", &format!("{}# late\n", common::APP));
    let said = build.end().ok();
    assert!(said.contains("the sources changed during the build"), "{said}");
    assert_eq!(service.status()["image"]["origin"], "unknown");
    service.xtask(&["up"]).ok();
    assert!(service.inside(&["tail", "-n1", "/app.sh"]).contains("# late"));
    service.decides("none", "it runs");
}

#[test]
fn full_checks_swaps_and_removes_what_it_supersedes() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    service.docker(&["tag", "debian:bookworm-slim", &format!("{}-bystander:1", service.project)]);
    service.write("backend/requirements.txt", "torch==2.6.0\n");
    let said = service.xtask(&["full"]).ok();
    assert!(said.contains("package versions: torch 2.5.1 → 2.6.0"), "{said}");
    assert!(said.contains("removed the superseded image"), "{said}");
    assert_eq!(service.docker(&["image", "inspect", &old]), "[]");
    let bystander =
        service.docker(&["images", "--quiet", &format!("{}-bystander", service.project)]);
    assert!(!bystander.is_empty(), "an image of another project stays");
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
    assert!(said.contains("removed the superseded image"), "{said}");
}

#[test]
fn full_without_a_pinned_torch_takes_any() {
    let service = need!(Service::new());
    service.write("backend/requirements.txt", "torch\n");
    service.write("backend/python3", &PYTHON.replace("v=$(", "v=2.4.0 #("));
    let said = service.xtask(&["full"]).ok();
    assert!(said.contains("backend/requirements.txt pins none"), "{said}");
}

#[test]
fn ctrl_c_during_the_check_leaves_everything_as_it_was() {
    let service = need!(Service::serving());
    let old = service.inspect(&service.image_name(), "{{.Id}}");
    let before = (service.fingerprint(), service.inspect(&old, "{{.RepoTags}}"));
    // The same inputs again but for a check that takes its time.
    service.write("backend/python3", &format!("{PYTHON}sleep 20\n"));
    let xtask = service.start(&["full"]);
    // The check runs in a container of the new image.
    service.wait_until("the check runs", || service.throw_aways() == 1);
    common::kill("INT", xtask.child.id());
    xtask.end().fails(130, &["interrupted"]);
    assert_eq!((service.fingerprint(), service.inspect(&old, "{{.RepoTags}}")), before);
    assert_eq!(service.throw_aways(), 0);
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
            .fails(1, &["does not pass the check", message, "is kept as localhost/xtask/"]);
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
    service.xtask(&["full"]).fails(1, &["does not pass the check"]);
    assert_eq!(service.inspect(&stable, "{{.Id}}"), old);
    service.write("backend/python3", &format!("{PYTHON}# 2\n"));
    service.xtask(&["up"]).ok();
    assert_ne!(service.inspect(&stable, "{{.Id}}"), old);
}

#[test]
fn no_secret_reaches_an_image() {
    let mut service = need!(Service::new());
    let secrets = ["hf_secret_of_the_shell", "hf_secret_of_env"];
    service.set("HF_TOKEN", secrets[0]);
    service.write(".env", &format!("OTHER_TOKEN={}\n", secrets[1]));
    let compose = COMPOSE_FILE.replace("init: true", "init: true\n    environment: [HF_TOKEN]");
    service.write("docker-compose.yml", &compose);
    service.xtask(&["up"]).ok();
    service.write("backend/app.sh", &format!("{}# 2\n", common::APP));
    service.xtask(&["fast"]).ok();
    assert_eq!(service.inside(&["printenv", "HF_TOKEN"]), secrets[0]);
    assert_eq!(service.inside(&["printenv", "OTHER_TOKEN"]), secrets[1]);
    let names = service.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let ours: Vec<_> = names.lines().filter(|name| name.contains(&service.project)).collect();
    assert_eq!(ours.len(), 3, "the service's name, ours, and its record: {ours:?}");
    for name in ours {
        let labels = service.docker(&["image", "inspect", name]);
        let history = service.docker(&["history", "--no-trunc", name]);
        assert!(!labels.is_empty() && !history.is_empty());
        for secret in secrets {
            assert!(!labels.contains(secret) && !history.contains(secret), "{secret} in {name}");
        }
    }
}

#[test]
fn a_build_by_hand_of_the_same_content_changes_nothing() {
    let service = need!(Service::serving());
    let before = service.fingerprint();
    for (without, command) in [("0", "up"), ("0", "fast"), ("1", "up"), ("1", "fast")] {
        let mut by_hand = service.command("docker", &["compose", "build", "--quiet", "backend"]);
        by_hand.env("BUILDX_NO_DEFAULT_ATTESTATIONS", without);
        Run::of(by_hand).ok();
        let built = service.inspect(&service.image_name(), "{{.Id}}");
        service.xtask(&[command]).ok();
        assert_eq!(service.fingerprint(), before, "{command}, without attestations: {without}");
        service.decides("none", "it runs");
        if !before.ends_with(&built) {
            assert_eq!(service.docker(&["image", "inspect", &built]), "[]", "it is left over");
        }
    }
}
