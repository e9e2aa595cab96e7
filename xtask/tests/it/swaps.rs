//! What Compose would find out only after it removed the old container is tried before.

use crate::{
    common::{APP, COMPOSE_FILE},
    service::{Service, need},
};

/// A service that has to end well before `backend` starts.
fn with_init(command: &str) -> String {
    let needs = "    depends_on: {init: {condition: service_completed_successfully}}\n";
    let init = format!("  init: {{image: 'debian:bookworm-slim', command: {command}}}\n");
    format!("{COMPOSE_FILE}{needs}{init}")
}

#[test]
fn what_has_to_end_well_first_does_so_before_the_swap() {
    let service = need!(Service::new());
    // Never started: a dry run of Compose would wait for it without end.
    service.write("docker-compose.yml", &with_init("'true'"));
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    service.write("backend/app.sh", &format!("{APP}# 2\n"));
    service.xtask(&["up"]).ok();
    assert_eq!(service.inside(&["tail", "-n1", "/app.sh"]), "# 2");

    let before = service.fingerprint();
    service.write("docker-compose.yml", &with_init("'false'"));
    for app in ["# 2\n", "# 3\n"] {
        service.write("backend/app.sh", &format!("{APP}{app}"));
        for command in ["fast", "full"] {
            let run = service.xtask(&[command]);
            let message = "a service that `backend` depends on does not start; nothing was swapped";
            run.fails(run.code.unwrap(), &[message, "hint: docker compose logs --tail 50 init"]);
            assert_eq!(service.fingerprint(), before, "{command}: {}", run.text());
        }
    }
    let project = format!("label=com.docker.compose.project={}", service.project);
    let one_off = "label=com.docker.compose.oneoff=True";
    let left =
        service.docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", one_off]);
    assert_eq!(left, "");
}

#[test]
fn a_name_that_another_container_has_is_no_loss() {
    let service = need!(Service::serving());
    let before = service.fingerprint();
    let name = format!("{}-taken", service.project);
    service.docker(&["create", "--name", &name, "debian:bookworm-slim"]);
    let named =
        COMPOSE_FILE.replace("init: true", &format!("init: true\n    container_name: {name}"));
    service.write("docker-compose.yml", &named);
    service.write("backend/app.sh", &format!("{APP}# 2\n"));
    for command in ["up", "restart", "fast", "full"] {
        let run = service.xtask(&[command]);
        run.fails(1, &[&format!("another container has the name `{name}`"), "hint: docker rename"]);
        assert_eq!(service.fingerprint(), before, "{command}");
    }
    // As the hint says.
    service.docker(&["rename", &name, &format!("{name}-old")]);
    service.xtask(&["up"]).ok();
    assert_eq!(service.inspect(&service.container(), "{{.Name}}"), format!("/{name}"));
    service.docker(&["rm", &format!("{name}-old")]);
}

#[test]
fn a_service_in_a_profile_is_the_service() {
    let service = need!(Service::new());
    service.write(
        "docker-compose.yml",
        &COMPOSE_FILE.replace("init: true", "init: true\n    profiles: [gpu]"),
    );
    service.decides("full", "there is no image");
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    let before = service.fingerprint();
    service.xtask(&["restart"]).ok();
    assert_ne!(service.fingerprint(), before);
    service.write("backend/app.sh", &format!("{APP}# 2\n"));
    service.xtask(&["up"]).ok();
    assert_eq!(service.inside(&["tail", "-n1", "/app.sh"]), "# 2");
    service.xtask(&["doctor", "project", "service"]).ok();
}
