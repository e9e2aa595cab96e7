//! The way back, and two at once, on a real engine.

use crate::{
    common::{self, COMPOSE_FILE},
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
            "the new container does not serve; rolled back to the previous image",
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
    service.xtask(&["rollback"]).fails(1, &["there is no previous image"]);
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
    service.xtask(&["rollback"]).fails(1, &["there is no previous image"]);
    service.write("backend/app.sh", &format!("{}# mended\n", common::APP));
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
    assert_eq!(service.own_names().len(), 2, "one name and one record");
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
    service.xtask(&["full"]).fails(1, &["rolled back to the previous image", "exit code 5"]);
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
    service.xtask(&["rollback"]).fails(1, &["there is no previous image"]);
    service.write("backend/app.sh", "exit 7\n");
    service.xtask(&["full"]).fails(1, &["rolled back to the previous image"]);
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
}

#[test]
fn an_image_built_by_hand_can_be_gone_back_from() {
    let service = need!(Service::serving());
    let served = service.inspect(&service.container(), "{{.Image}}");
    service.write("backend/app.sh", "exit 4\n");
    service.docker(&["compose", "build", "--quiet", "backend"]);
    // The cached build yields what the name already stands for.
    service.xtask(&["up"]).fails(1, &["exit code 4", "hint: cargo xtask rollback"]);
    service.xtask(&["rollback"]).ok();
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
}

#[test]
fn an_image_that_lost_its_name_is_still_what_served() {
    let service = need!(Service::serving());
    let served = service.inspect(&service.container(), "{{.Image}}");
    service.docker(&["image", "rm", &service.image_name()]);
    service.write("backend/app.sh", "exit 5\n");
    service.xtask(&["full"]).fails(1, &["rolled back to the previous image", "exit code 5"]);
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
}

#[test]
fn a_container_whose_image_is_gone_is_replaced() {
    let service = need!(Service::serving());
    service.docker(&["stop", "--time", "1", &service.container()]);
    let image = service.inspect(&service.container(), "{{.Image}}");
    service.docker(&["image", "rm", "--force", &image]);
    service.xtask(&["up"]).ok();
    service.decides("none", "it runs");
}

#[test]
fn names_are_given_back_as_they_were() {
    let service = need!(Service::serving());
    let names = |service: &Service| {
        let all = service.docker(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        let mut ours: Vec<String> = all
            .lines()
            .filter(|line| line.contains(&service.project) && !line.contains(":failed"))
            .map(str::to_owned)
            .collect();
        ours.sort();
        ours
    };
    // The same inputs once more, and a further name that nothing had before.
    let tag = format!("{}-backend:stable", service.project);
    let build = format!("build: {{context: ./backend, tags: ['{tag}']}}");
    let once = "[ -e /state/x ] && exit 7; touch /state/x\n";
    let volume = "init: true\n    volumes: ['state:/state']";
    let compose = COMPOSE_FILE.replace("init: true", volume) + "volumes: {state: }\n";
    service.write("docker-compose.yml", &compose.replace("build: ./backend", &build));
    let before = names(&service);
    service.write("backend/app.sh", &format!("exit 7\n{}", common::APP));
    service.xtask(&["full"]).fails(1, &["rolled back to the previous image", "exit code 7"]);
    assert_eq!(names(&service), before);

    // What served cannot start a second time.
    service.write("backend/app.sh", &format!("{once}{}", common::APP));
    service.xtask(&["up"]).ok();
    service.write("backend/app.sh", "exit 8\n");
    service.xtask(&["full"]).fails(
        1,
        &[
            "rolling back to the previous image failed, too",
            "rolling back failed: ",
            "hint: cargo xtask rollback",
        ],
    );
}

#[test]
fn ctrl_c_while_waiting_for_the_new_container() {
    let service = need!(Service::serving());
    let served = service.inspect(&service.container(), "{{.Image}}");
    let interrupt = |command: &str| {
        let old = service.container();
        let xtask = service.start(&[command]);
        service.wait_until("the new container runs", || {
            let now = service.container();
            now != old && service.inspect(&now, "{{.State.Running}}") == "true"
        });
        common::kill_group("INT", xtask.child.id());
        xtask.end()
    };
    service.write("backend/app.sh", &common::APP.replace("touch /tmp/ready", ""));
    interrupt("fast").fails(
        130,
        &["interrupted before the new container answered", "hint: cargo xtask rollback"],
    );
    service.xtask(&["rollback"]).ok();
    interrupt("full").fails(
        130,
        &["interrupted before the new container answered; rolled back to the previous image"],
    );
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
    assert!(service.running());
}

#[test]
fn two_at_once_take_turns() {
    let service = need!(Service::serving());
    let other = service.second_clone();
    for (round, clone) in [&*service, &other].into_iter().enumerate() {
        service
            .write("backend/Dockerfile", &format!("{}RUN sleep 5 # {round}\n", common::DOCKERFILE));
        let mut first = service.start(&["full"]);
        service.wait_until("`full` holds the lock", || service.locked());
        let said = clone.xtask(&["restart"]).ok();
        assert!(said.starts_with("waiting for `full` (process "), "{said}");
        assert!(
            first.child.try_wait().unwrap().is_some_and(|status| status.success()),
            "the first was done before"
        );
    }
    // A holder that is killed while building holds nothing.
    service.write("backend/Dockerfile", &format!("{}RUN sleep 5 # 3\n", common::DOCKERFILE));
    let mut killed = service.start(&["full"]);
    service.wait_until("`full` holds the lock", || service.locked());
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(!service.xtask(&["restart"]).ok().contains("waiting for"));
}

/// A `docker` before the real one on PATH that treats some commands as a case of
/// a shell's `case` says.
fn in_between(service: &mut Service, case: &str) {
    let real = which::which("docker").unwrap().display().to_string();
    let bin = service.root.join("bin");
    let script =
        format!("#!/bin/sh\ncase \"$*\" in\n*--dry-run*) ;;\n{case};;\nesac\nexec {real} \"$@\"\n");
    service.write("bin/docker", &script);
    common::executable(&bin.join("docker"));
    let path = std::env::var("PATH").unwrap();
    service.set("PATH", &format!("{}:{path}", bin.display()));
}

#[test]
fn a_swap_outlives_its_killed_xtask_and_keeps_others_out() {
    let mut service = need!(Service::serving());
    // The old container takes its time to end.
    service.write(
        "backend/app.sh",
        &common::APP.replace("'exit 0'", "'echo ending; sleep 8; exit 0'"),
    );
    service.xtask(&["fast"]).ok();
    let (path, old) = (std::env::var("PATH").unwrap(), service.container());
    service.write("backend/app.sh", &format!("{}# new\n", common::APP));
    in_between(&mut service, "*'up --detach'*) kill -9 $PPID");
    assert_eq!(service.xtask(&["fast"]).code, None, "xtask was killed");
    service.set("PATH", &path);
    let said = service.second_clone().xtask(&["restart"]).ok();
    assert!(said.starts_with("waiting for `fast` (process "), "{said}");
    assert_ne!(service.container(), old, "the swap went on to its end");
    assert!(service.inside(&["tail", "-n1", "/app.sh"]).contains("# new"));
    service.decides("none", "it runs");
}

#[test]
fn killed_between_build_and_swap() {
    let mut service = need!(Service::serving());
    let (path, before) = (std::env::var("PATH").unwrap(), service.fingerprint());
    service.write("backend/app.sh", &format!("{}# new\n", common::APP));
    in_between(&mut service, "*'up --detach'*) kill -9 $PPID; exit 1");
    assert_eq!(service.xtask(&["fast"]).code, None, "xtask was killed");
    service.set("PATH", &path);
    assert_eq!(service.fingerprint(), before, "the old container serves");
    service.decides("restart", "the container runs an older image than");
    service.xtask(&["up"]).ok();
    assert!(service.inside(&["tail", "-n1", "/app.sh"]).contains("# new"));
    service.decides("none", "it runs");
}

#[test]
fn the_third_ctrl_c_ends_what_ignores_the_others() {
    let mut service = need!(Service::serving());
    let before = service.fingerprint();
    let deaf = "*'plain build'*) trap '' INT; echo deaf; while :; do sleep 0.1; done";
    in_between(&mut service, deaf);
    let xtask = service.start(&["fast"]);
    service.wait_until("it builds", || xtask.says("deaf"));
    for _ in 0..3 {
        common::kill("INT", xtask.child.id());
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    xtask.end().fails(130, &["interrupted", "hint: cargo xtask status"]);
    assert_eq!(service.fingerprint(), before);
}
