//! `restart`, and services that do not serve, on a real engine.

use std::time::{Duration, Instant};

use crate::{
    common::{self, COMPOSE_FILE},
    service::{Service, need},
};

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
