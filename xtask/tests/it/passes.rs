//! One real pass through each command on an engine, in every run: each does what its
//! dry run printed, and nothing else.

use crate::{
    common::{self, Run},
    printed::{called, printed},
    service::{Service, need},
};

/// A `docker` before the real one on PATH that writes down how it is called.
fn record(service: &mut Service) {
    let real = which::which("docker").unwrap().display().to_string();
    let log = service.root.join("calls").display().to_string();
    // In one write, since several are called at once.
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{log}'\nexec {real} \"$@\"\n");
    service.write("bin/docker", &script);
    common::executable(&service.root.join("bin/docker"));
    let path = format!("{}/bin:{}", service.root.display(), std::env::var("PATH").unwrap());
    service.set("PATH", &path);
}

/// Runs a command after its dry run, and compares what changed with what was printed.
#[track_caller]
fn pass(service: &Service, args: &[&str]) -> Run {
    let calls = || {
        let path = service.root.join("calls");
        let text = fs_err::read_to_string(&path).unwrap_or_default();
        let _ = fs_err::remove_file(path);
        called(&text)
    };
    calls();
    let dry_run = service.xtask(&[args, &["--dry-run"]].concat());
    assert_eq!(calls(), [""; 0], "a dry run changes nothing");
    let run = service.xtask(args);
    let text = run.text();
    let (called, mut printed) = (calls(), printed(&dry_run.ok(), &text));
    // A busy engine may take too long to count its build cache.
    let is_prune = |command: &String| command.starts_with("buildx prune");
    if !called.iter().any(is_prune) {
        printed.retain(|command| !is_prune(command));
    }
    assert_eq!(called, printed, "{text}");
    run
}

#[test]
fn each_command_does_what_its_dry_run_printed() {
    let mut service = need!(Service::in_every_run());
    record(&mut service);
    let compose = common::COMPOSE_FILE
        .replace("init: true", "ports: ['127.0.0.1:0:9']\n    init: true")
        .replace(
            "services:\n",
            "services:\n  side: {image: debian:bookworm-slim, command: sleep 1000, init: true}\n",
        )
        .replace("    init: true", "    depends_on: [side]\n    init: true");
    service.write("docker-compose.yml", &compose);

    let said = pass(&service, &["up"]).ok();
    assert!(said.starts_with("full: there is no image"), "{said}");
    let said = pass(&service, &["up"]).ok();
    assert!(said.starts_with("none: it runs"), "{said}");
    pass(&service, &["restart"]).ok();
    service.write(".env", "FOO=1\n");
    let said = pass(&service, &["up"]).ok();
    assert!(said.starts_with("restart: .env or the compose configuration changed"), "{said}");
    assert_eq!(service.inside(&["printenv", "FOO"]), "1");
    service.write("backend/app.sh", &format!("{}# 2\n", common::APP));
    let said = pass(&service, &["fast"]).ok();
    assert!(said.starts_with("fast: backend/app.sh changed since the image was built"), "{said}");
    let served = service.inspect(&service.container(), "{{.Image}}");
    // The same image again, which is not swapped.
    let said = pass(&service, &["fast"]).ok();
    assert!(said.contains("build produced an identical image"), "{said}");
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);

    service.write("backend/app.sh", "echo broken; exit 3\n");
    let run = service.xtask(&["fast"]);
    run.fails(1, &["exit code 3", "hint: cargo xtask rollback"]);
    pass(&service, &["rollback"]).ok();
    assert_eq!(service.inspect(&service.container(), "{{.Image}}"), served);
    service.write("backend/requirements.txt", "torch==2.6.0\n");
    service.write("backend/app.sh", common::APP);
    service.xtask(&["fast"]).fails(1, &["fast refuses: ", "hint: cargo xtask full"]);
    let said = pass(&service, &["full"]).ok();
    assert!(said.contains("package versions: torch 2.5.1 → 2.6.0"), "{said}");
    service.decides("none", "it runs");
    let run = service.xtask(&["doctor", "image", "container", "torch"]);
    assert!(run.ok().contains("✓ torch          2.6.0"));
    service.docker(&["compose", "down", "--timeout", "0"]);
}
