//! A docker CLI with settings of its own: its warnings are no answers, and whatever builder
//! it takes by default, builds are the engine's.

use serde_json::Value;

use crate::{
    common::{APP, executable},
    service::{Service, need},
};

/// doctor's finding on buildx, and its exit code.
fn buildx(service: &Service) -> (String, Option<i32>) {
    let run = service.xtask(&["doctor", "buildx", "--json"]);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let check = document["checks"].as_array().unwrap().iter().find(|check| check["id"] == "buildx");
    (check.unwrap()["message"].as_str().unwrap().to_owned(), run.code)
}

#[test]
fn a_builder_that_keeps_images_to_itself_is_left_alone() {
    let mut service = need!(Service::new());
    // Settings of buildx that no other test sees.
    let config = service.root.join("buildx").display().to_string();
    service.set("BUILDX_CONFIG", &config);
    service.docker(&["buildx", "create", "--name", "elsewhere", "--driver", "docker-container"]);
    service.docker(&["buildx", "use", "elsewhere"]);
    let (message, code) = buildx(&service);
    assert!(message.contains("not by `elsewhere` (docker-container)"), "{message}");
    assert_eq!(code, Some(0));
    builds_and_swaps(&service);
}

#[test]
fn a_builder_that_does_not_exist_is_named_by_doctor_and_not_needed() {
    let mut service = need!(Service::new());
    service.set("BUILDX_BUILDER", "gone");
    let (message, code) = buildx(&service);
    assert_eq!(message, "the builder that is chosen for buildx does not exist");
    assert_eq!(code, Some(1));
    builds_and_swaps(&service);
}

fn builds_and_swaps(service: &Service) {
    service.xtask(&["up"]).ok();
    service.write("backend/app.sh", &APP.replace("serving", "version two"));
    let said = service.xtask(&["fast"]).ok();
    assert!(said.contains("CACHED"), "{said}");
    assert!(service.docker(&["logs", &service.container()]).contains("version two"));
    service.xtask(&["full"]).ok();
    service.decides("none", "it runs");
}

#[test]
fn warnings_of_docker_are_no_answers() {
    let mut service = need!(Service::new());
    let docker = which::which("docker").unwrap().display().to_string();
    // As of a wrapper script, a broken configuration file, or a deprecated option.
    let wrapper = format!(
        "#!/bin/sh\n\
         printf '\\033[33mWARNING: Error loading config file: unexpected EOF\\033[0m\\n' >&2\n\
         echo 'Emulating something else'\nexec '{docker}' \"$@\"\n"
    );
    service.write("bin/docker", &wrapper);
    executable(&service.root.join("bin/docker"));
    let bin = service.root.join("bin").display().to_string();
    let path = std::env::var("PATH").unwrap();
    service.set("PATH", &format!("{bin}:{path}"));
    service.decides("full", "there is no image");
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    service.write("backend/app.sh", &APP.replace("serving", "version two"));
    service.decides("fast", "backend/app.sh changed");
    service.xtask(&["up"]).ok();
    service.xtask(&["full"]).ok();
    service.xtask(&["restart"]).ok();
    assert_eq!(service.own_names().len(), 2, "one name and one record");
    let said = service.xtask(&["doctor", "tools", "project", "service"]).ok();
    assert!(!said.contains("Emulating"), "{said}");
    service.set("PATH", &path);
}

#[test]
fn another_default_platform_is_another_image() {
    let mut service = need!(Service::serving());
    service.set("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    service.decides("fast", "build arguments changed");
    let said = service.xtask(&["doctor", "engine"]).stdout;
    assert!(said.contains("DOCKER_DEFAULT_PLATFORM asks for"), "{said}");
    service.env.retain(|(key, _)| key != "DOCKER_DEFAULT_PLATFORM");
    service.decides("none", "it runs");
    // Compose takes it from .env, too.
    service.write(".env", "DOCKER_DEFAULT_PLATFORM=linux/s390x\n");
    service.decides("fast", "build arguments changed");
}
