//! The way back, and two at once, on a real engine.

use std::{process::Stdio, thread, time::Duration};

use crate::{
    common::{self, Repo},
    service::{Service, need},
};

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
    assert!(said.contains("would run: docker tag sha256:"), "{said}");
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
fn the_way_back_leads_to_what_served() {
    let service = need!(Service::serving());
    let served = service.inspect(&service.container(), "{{.Image}}");
    // Built by hand and never put to use.
    service.write("backend/app.sh", "exit 4\n");
    service.docker(&["compose", "build", "--quiet", "backend"]);
    let by_hand = service.inspect(&service.image_name(), "{{.Id}}");
    service.write("backend/app.sh", "exit 5\n");
    service.xtask(&["full"]).fails(1, &["the superseded one serves again", "exit code 5"]);
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
    // Not ours to remove.
    assert_eq!(service.inspect(&by_hand, "{{.Id}}"), by_hand);
    service.docker(&["image", "rm", &by_hand]);
    // What serves in the end is what to come back to, however it came to serve.
    service.write("backend/app.sh", &format!("[ \"$READY\" ] || exit 6\n{}", common::APP));
    service.xtask(&["fast"]).fails(1, &["hint: cargo xtask rollback"]);
    service.write(".env", "READY=1\n");
    service.xtask(&["up"]).ok();
    let served = service.inspect(&service.container(), "{{.Image}}");
    service.xtask(&["rollback"]).fails(1, &["there is nothing to go back to"]);
    service.write("backend/app.sh", "exit 7\n");
    service.xtask(&["full"]).fails(1, &["the superseded one serves again"]);
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
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
