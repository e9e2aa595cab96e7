//! `doctor` on a real engine.

use serde_json::Value;

use crate::{
    common::{APP, COMPOSE_FILE, PYTHON, Run},
    service::{Service, need},
};

/// Every check, after a run that ended with `code`.
#[track_caller]
fn doctor(service: &Service, code: i32) -> Value {
    let run = service.xtask(&["doctor", "--json"]);
    assert_eq!(run.code, Some(code), "{}", run.text());
    serde_json::from_str(&run.stdout).unwrap()
}

fn check(document: &Value, id: &str) -> Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap().clone()
}

/// The only ✗ is this one, and it says that.
#[track_caller]
fn one_fault(document: &Value, id: &str, says: &str) -> Value {
    let checks = document["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["status"] == "fail").collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0]["id"], id);
    assert!(failed[0]["message"].as_str().unwrap().contains(says), "{failed:#?}");
    failed[0].clone()
}

#[test]
fn doctor_names_the_first_fault_and_its_remedy() {
    let service = need!(Service::new());
    let document = doctor(&service, 1);
    assert_eq!(document["ok"], false);
    let image = one_fault(&document, "image", "not built yet");
    assert_eq!(image["remedy"]["commands"][0], "cargo xtask up");
    assert_eq!(check(&document, "container")["message"], "skipped: image");
    assert_eq!(check(&document, "torch")["message"], "skipped: image");

    service.xtask(&["up"]).ok();
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "healthy");
    let document = doctor(&service, 0);
    assert_eq!((&document["version"], &document["ok"]), (&2.into(), &true.into()));
    for id in [
        "docker-cli",
        "engine",
        "compose",
        "buildx",
        "compose-file",
        "memory",
        "disk",
        "image",
        "container",
        "interpreter",
        "torch",
        "pins",
        "dependencies",
    ] {
        assert_eq!(check(&document, id)["status"], "ok", "{document:#}");
    }
    assert_eq!(check(&document, "torch")["found"], "2.5.1");
    assert_eq!(check(&document, "gpu-init")["message"], "XTASK_DEVICE=cpu");

    service.docker(&["stop", &service.container()]);
    let document = doctor(&service, 1);
    let container = one_fault(&document, "container", "exited (exit code");
    assert_eq!(container["remedy"]["commands"][0], "cargo xtask up");
    assert!(container["evidence"].to_string().contains("log: serving"), "{container:#}");
    assert_eq!(check(&document, "torch")["status"], "ok", "looked at in the image");
    let image = format!("ancestor={}", service.image_name());
    let left = service.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &image]);
    assert_eq!(left, service.container(), "no throw-away container is left");

    service.write("backend/python3", &PYTHON.replace("v=$(", "v=2.4.0 #("));
    service.xtask(&["fast"]).ok();
    let torch = one_fault(&doctor(&service, 1), "torch", "torch is 2.4.0, pinned is 2.5.1");
    assert_eq!((&torch["found"], &torch["expected"]), (&"2.4.0".into(), &"2.5.1".into()));
    assert_eq!(torch["remedy"]["commands"][0], "cargo xtask full");
}

#[test]
fn requirements_that_drifted_are_seen_in_the_image_and_in_the_container() {
    let service = need!(Service::serving());
    service.write("backend/requirements.txt", "torch==2.5.1\nnumpy==1.26.4\n");
    let document = doctor(&service, 1);
    let image = check(&document, "image");
    assert_eq!(image["status"], "warn");
    assert!(image["message"].as_str().unwrap().contains("numpy 1.26.4 added"), "{image:#}");
    assert_eq!(image["remedy"]["commands"][0], "cargo xtask full");
    one_fault(&document, "pins", "numpy is missing, pinned is 1.26.4");

    service.write("backend/requirements.txt", "torch==2.5.1\n");
    service.write(".env", "NEW=1\n");
    let container = check(&doctor(&service, 0), "container");
    assert_eq!(
        (&container["status"], &container["remedy"]["commands"][0]),
        (&"warn".into(), &"cargo xtask restart".into())
    );
}

#[test]
fn a_service_that_crashes_or_does_not_answer() {
    let service = need!(Service::new());
    let broken = "rm -f /tmp/ready; echo about to fail; exit 3\n";
    service.write("backend/app.sh", broken);
    service.xtask(&["up", "--timeout", "5"]);
    service.wait_for(&service.container(), "{{.State.Status}}", "restarting");
    let container = one_fault(&doctor(&service, 1), "container", "crash-looping");
    assert!(container["evidence"].to_string().contains("log: about to fail"), "{container:#}");

    service.write(
        "docker-compose.yml",
        &COMPOSE_FILE.replace("interval: 5s", "interval: 1s, retries: 1"),
    );
    service.write("backend/app.sh", &APP.replace("touch /tmp/ready", "rm -f /tmp/ready"));
    service.xtask(&["up", "--timeout", "3"]);
    service.wait_for(&service.container(), "{{.State.Health.Status}}", "unhealthy");
    one_fault(&doctor(&service, 1), "container", "unhealthy");
}

#[test]
fn a_port_is_free_taken_or_ours() {
    let service = need!(Service::serving());
    service.docker(&["rm", "--force", &service.container()]);
    let (listener, port) = service.listener();
    let published = format!("    ports: ['127.0.0.1:{port}:8000']\n");
    service.write("docker-compose.yml", &(COMPOSE_FILE.to_owned() + &published));
    one_fault(&doctor(&service, 1), "port", "taken by another program");
    service.docker(&["rm", "--force", &listener]);
    let port_is =
        |document: &Value| check(document, "port")["message"].as_str().unwrap().to_owned();
    assert!(port_is(&doctor(&service, 1)).ends_with("is free"));
    service.xtask(&["up"]).ok();
    // Nothing listens behind it; of a remote engine's port that would prove nothing.
    let local = std::env::var("DOCKER_HOST").is_err();
    let document = doctor(&service, i32::from(local));
    assert!(port_is(&document).ends_with("held by our container"), "{document:#}");
    if local {
        one_fault(&document, "health", "");
    }
}

#[test]
fn free_disk_is_what_the_engines_own_file_system_says() {
    let service = need!(Service::new());
    let root = service.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let df = Run::of(service.command("df", &["-kP", &root]));
    if df.code != Some(0) {
        return; // The engine is elsewhere.
    }
    let kilobytes: f64 =
        df.stdout.lines().last().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    let disk = check(&doctor(&service, 1), "disk");
    // "75.9 GB free on the engine's machine"; others write to it at the same time.
    let found: f64 = disk["found"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    let want = kilobytes * 1024.0 / 1e9;
    assert!((found - want).abs() < want / 5.0 + 1.0, "{found} is not {want}");
}
