//! The build cache: what is removed costs no later build its cache, and disk is given back.

use crate::{
    common::{self, Run},
    service::{Service, need, skipped},
};

/// Fails unless a bare build takes every step after FROM from the cache.
#[track_caller]
fn assert_cached(service: &Service, when: &str) {
    let build = ["compose", "--progress", "plain", "build", "backend"];
    let mut command = service.command("docker", &build);
    // As xtask builds: an attestation is a step of its own.
    command.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let run = Run::of(command);
    let text = format!("{}{}", run.stdout, run.stderr);
    // `#7 [backend 3/5] COPY …`, and on a later line `#7 CACHED`.
    let steps = text.lines().filter(|line| line.starts_with('#') && line.contains("] COPY "));
    let numbers: Vec<_> = steps.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(numbers.len() >= 4, "{when}: {text}");
    for number in numbers {
        let cached = format!("{number} CACHED");
        assert!(text.lines().any(|line| line == cached), "{when}: {number}: {text}");
    }
}

#[test]
fn what_is_removed_costs_no_later_build_its_cache() {
    let service = need!(Service::serving());
    for round in 0..10 {
        service.write("backend/app.sh", &format!("{}# round {round}\n", common::APP));
        service.xtask(&["fast"]).ok();
    }
    assert_cached(&service, "after ten edits");
    service.xtask(&["full"]).ok();
    assert_cached(&service, "after full");
    service.write("backend/app.sh", "exit 3\n");
    service.xtask(&["fast"]).fails(1, &["hint: cargo xtask rollback"]);
    service.xtask(&["rollback"]).ok();
    service.write("backend/app.sh", &format!("{}# round 9\n", common::APP));
    assert_cached(&service, "after a rollback");
    service.write("backend/Dockerfile", &format!("{}RUN exit 3\n", common::DOCKERFILE));
    assert_ne!(service.xtask(&["fast"]).code, Some(0));
    service.write("backend/Dockerfile", common::DOCKERFILE);
    assert_cached(&service, "after a failed build");
}

#[test]
fn what_one_project_removes_costs_another_no_cache() {
    let (one, other) = (need!(Service::serving()), need!(Service::new()));
    let marker = fs_err::read_to_string(one.root.join("backend/marker")).unwrap();
    // The same layers.
    other.write("backend/marker", &marker);
    other.xtask(&["up"]).ok();
    for round in 0..2 {
        one.write("backend/app.sh", &format!("{}# round {round}\n", common::APP));
        one.xtask(&["fast"]).ok();
        assert_cached(&other, "after the first project's fast");
        assert_cached(&one, "after its own fast");
    }
    one.xtask(&["full"]).ok();
    assert_cached(&other, "after the first project's full");
    other.xtask(&["full"]).ok();
    assert_cached(&one, "after the second project's full");
}

#[test]
fn superseded_layers_do_not_pile_up() {
    let service = need!(Service::new());
    if service.docker(&["info", "--format", "{{.DriverStatus}}"]).contains("containerd") {
        return skipped("on the containerd store BuildKit alone decides how long it keeps layers");
    }
    // By what is run, its cache is known on every engine.
    let step = format!("cat /app.sh > /{}", service.project);
    service.write("backend/Dockerfile", &format!("{}RUN {step}\n", common::DOCKERFILE));
    for round in 0..6 {
        service.write("backend/app.sh", &format!("{}# {round}\n", common::APP));
        service.xtask(&["up"]).ok();
    }
    let cache = service.docker(&["buildx", "du", "--verbose"]);
    let kept =
        cache.lines().filter(|line| line.starts_with("Description:") && line.contains(&step));
    assert!((1..=3).contains(&kept.count()), "{cache}");
}
