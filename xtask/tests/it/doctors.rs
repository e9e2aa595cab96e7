//! `doctor` on every kind of broken machine, against a fake docker.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use crate::{
    common::Run,
    fake::{CONFIG, CONTAINER, Fake, IMAGE_INSPECT, PROBE, RECREATE, image, snapshot, try_gpus},
};

pub const ON_THE_CPU: &str =
    r#"{"model": "not loaded", "torch": "2.5.1", "device": "cpu", "advice": []}"#;

/// Answers every request on a port of its own with `status` and `body`, for as
/// long as the test runs.
pub fn serve(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ =
                write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\r\n{body}");
        }
    });
    port.to_string()
}

/// A container that publishes `port`.
pub fn container(fake: &mut Fake, port: &str, with: &[(&str, &str)]) {
    let published = CONTAINER.replace("\"HostPort\":\"8000\"", &format!("\"HostPort\":\"{port}\""));
    let json = with.iter().fold(published, |json, (from, to)| {
        assert!(json.contains(from), "{from}");
        json.replace(from, to)
    });
    fake.container(&json);
}

/// As [`Fake::serving`], with more of a machine around it.
pub fn on_cpu() -> Fake {
    let mut fake = Fake::serving();
    container(&mut fake, &serve("200 OK", ON_THE_CPU), &[]);
    fake.card("0x8086\n0x1af4\noverlay 264212084 20371196 74914692 22% /\n");
    fake
}

pub const GPU_PROBE: &str = r#"{"python": "3.11.2", "executable": "/usr/bin/python3", "packages": {"torch": "2.5.1+cu124"}, "unmet": []}
{"nodes": {"/dev/nvidia0": "ok", "/dev/nvidiactl": "ok"}, "wsl": false, "visible": {"kind": "unset"}, "shm": 2147483648}
{"libcuda": "ok"}
{"driver": 12040}
{"cuInit": 0}
{"smi": ["GPU 0: NVIDIA A100-SXM4-40GB"]}
{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}
{"devices": ["NVIDIA A100-SXM4-40GB"], "capabilities": [[8, 0]], "archs": ["sm_80", "sm_86", "sm_90"]}
{"memory": [41000000000, 42300000000]}
{"kernel": "ok"}"#;

pub const GPU_MACHINE: &str = "0x10de\nNVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n\
                           overlay 264212084 20371196 74914692 22% /\n";

/// A machine with a card on which everything works.
pub fn on_gpu() -> Fake {
    let mut fake = Fake::serving();
    let build = fake.repo.root.join("backend");
    let config = format!(
        r#"{{"name":"p","services":{{"backend":{{"build":{{"context":"{}","dockerfile":"Dockerfile"}},
        "deploy":{{"resources":{{"reservations":{{"devices":[{{"driver":"nvidia","count":-1,"capabilities":["gpu"]}}]}}}}}}}}}}}}"#,
        build.display()
    );
    fake.answer(CONFIG, 0, &config, "");
    fake.engine(r#"{"nvidia":{"path":"nvidia-container-runtime"}}"#, "6.1.0");
    fake.card(GPU_MACHINE);
    fake.answer(&try_gpus("all", "sha256:a"), 0, "", "");
    fake.python(0, GPU_PROBE, "");
    let request = r#""DeviceRequests":[{"Driver":"nvidia","Count":-1}]"#;
    container(&mut fake, &serve("200 OK", ON_THE_CPU), &[(r#""DeviceRequests":null"#, request)]);
    fake
}

/// What differs from run to run taken out.
pub fn stable(run: &Run) -> String {
    let text = run.text();
    let lines = text.lines().map(|line| {
        let line = match line.split_once(" days old") {
            Some((_, rest)) => format!("✓ image          N days old{rest}"),
            None => line.to_owned(),
        };
        match line.split_once("127.0.0.1:") {
            Some((before, rest)) => {
                format!(
                    "{before}127.0.0.1:PORT{}",
                    rest.trim_start_matches(|c: char| c.is_ascii_digit())
                )
            }
            None => line,
        }
    });
    let git = |line: String| match line.strip_prefix("✓ git ") {
        Some(_) => "✓ git            VERSION".to_owned(),
        None => line,
    };
    lines.map(git).map(|line| line + "\n").collect()
}

pub fn checks(run: &Run) -> Vec<Value> {
    let document: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.text()));
    assert_eq!(document["version"], 2);
    document["checks"].as_array().unwrap().clone()
}

#[test]
fn a_machine_without_a_card_is_a_machine_that_works() {
    let fake = on_cpu();
    let run = fake.xtask(&["doctor"]);
    let log = fake.log();
    assert!(!log.lines().any(|line| line.starts_with("run ")), "no container is started: {log}");
    assert_eq!(
        stable(&run),
        "✓ Docker CLI     on PATH
✓ engine         26.1.5
✓ Compose        2.26.1
✓ buildx         v0.13.1
✓ git            VERSION
✓ .env           none, and none is needed
✓ compose file   project `p` has `backend`
– Step1X-3D      this clone names no place to fetch them from
✓ requirements   torch 2.5.1, 1 pins in all
– port           the service publishes none
✓ disk           76.7 GB free on the engine's machine
– memory         the engine does not say
✓ image          N days old, from the current sources
✓ container      running and healthy
✓ /health        200 on 127.0.0.1:PORT, model: not loaded
✓ Python         3.11.2
✓ torch          2.5.1+cu124
– torchvision    neither pinned nor installed
✓ CUDA build     for CUDA 12.4
✓ pins           0 of 0 as pinned
✓ dependencies   1 of 1 have what they need
– NVIDIA card    no NVIDIA card
– driver         no NVIDIA card
– GPU access     no NVIDIA card
– GPU request    no NVIDIA card
– device nodes   no NVIDIA card
– libcuda        no NVIDIA card
– cuInit         no NVIDIA card
– GPUs           no NVIDIA card
– capability     no NVIDIA card
– kernel         no NVIDIA card
– GPU memory     no NVIDIA card
– /dev/shm       no NVIDIA card
without an NVIDIA GPU no 3D models are generated; all else works
nothing to fix
--- stderr
--- exit 0
"
    );
}

#[test]
fn a_group_or_one_check_alone_with_its_evidence() {
    let fake = on_gpu();
    snapshot(
        &fake.xtask(&["doctor", "gpu"]),
        "✓ NVIDIA card    on the engine's machine
✓ driver         550.54.14
✓ GPU access     the engine hands out the GPUs
✓ GPU request    asks for all
✓ device nodes   2 in /dev
✓ libcuda        libcuda.so.1 loads
✓ cuInit         CUDA 12.4
✓ GPUs           NVIDIA A100-SXM4-40GB
✓ capability     8.0
✓ kernel         a matrix product gives the same result as on the CPU
✓ GPU memory     41.0 GB of 42.3 GB free
✓ /dev/shm       2.1 GB
nothing to fix
--- stderr
--- exit 0
",
    );
    let text = fake.xtask(&["doctor", "torch", "--verbose"]).ok();
    let lines: Vec<_> = text.lines().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "✓ torch          2.5.1+cu124",
            "                 | expected 2.5.1",
            "                 | in container p-backend-1",
            "nothing to fix"
        ]
    );
    for id in
        fake.xtask(&["doctor", "--list"]).ok().lines().filter_map(|line| line.strip_prefix("  "))
    {
        let id = id.split(' ').next().unwrap();
        let shown = checks(&fake.xtask(&["doctor", id, "--json"]));
        assert_eq!((shown.len(), &shown[0]["id"]), (1, &id.into()), "{shown:?}");
    }
}

#[test]
fn an_engine_that_is_down_is_one_fault() {
    let mut fake = on_cpu();
    for command in ["info", "ps", "image", "container", "exec", "run"] {
        fake.every(
            command,
            1,
            "",
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n",
        );
    }
    assert_eq!(
        stable(&fake.xtask(&["doctor", "engine", "container", "gpu-kernel", "pins"])),
        "✗ engine         the Docker engine does not answer
                 -> sudo systemctl start docker   # or start Docker Desktop
                 -> docker context ls   # which engine is meant; DOCKER_HOST, if set, wins
– container      skipped: engine
– pins           skipped: engine
– kernel         skipped: engine
next: sudo systemctl start docker   # or start Docker Desktop
--- stderr
--- exit 1
"
    );
}

#[test]
fn a_fix_that_fails_does_not_stop_the_others() {
    let mut fake = on_gpu();
    fake.without_sources();
    let lost = GPU_PROBE.replace("\"/dev/nvidiactl\": \"ok\"", "\"/dev/nvidiactl\": \"EPERM\"");
    fake.python(0, &lost, "");
    fake.script(&format!("compose {RECREATE}"), "echo 'Error response from daemon: x' >&2; exit 1");
    let run = fake.xtask(&["doctor", "gpu-nodes", "--fix"]);
    run.fails(1, &["error: recreating the container failed", "next: A new container did not help"]);
    assert!(!run.stdout.contains("fetching"), "the sources were not requested");
    let run = fake.xtask(&["doctor", "gpu-nodes", "sources", "--fix"]);
    run.fails(1, &["error: recreating the container failed"]);
    let fixes: Vec<_> = run.stdout.lines().filter(|line| line.starts_with("fix: ")).collect();
    // What is broken is fixed before what only deserves a warning.
    assert_eq!(fixes, ["fix: recreating the container", "fix: fetching Step1X-3D's sources"]);
}

#[test]
fn a_card_may_be_required() {
    let mut fake = on_cpu();
    fake.xtask(&["doctor", "--require-gpu"]).fails(
        1,
        &[
            "✗ NVIDIA card    no NVIDIA card on the engine's machine",
            "– cuInit         skipped: gpu-card",
        ],
    );
    fake.repo.set("XTASK_DEVICE", "gpu");
    let refusal = "could not select device driver \"\" with capabilities: [[gpu]]\n";
    fake.answer(&try_gpus("all", "sha256:a"), 125, "", refusal);
    fake.xtask(&["doctor", "gpu"]).fails(1, &["✗ NVIDIA card"]);
    fake.repo.set("XTASK_DEVICE", "cuda");
    fake.xtask(&["doctor"])
        .fails(1, &["✗ .env           XTASK_DEVICE is none of gpu, cpu and auto"]);
    let mut fake = on_gpu();
    fake.repo.set("XTASK_DEVICE", "cpu");
    fake.xtask(&["doctor", "gpu"]).fails(0, &["– cuInit         XTASK_DEVICE=cpu"]);
}

#[test]
fn a_crash_and_a_hang_are_told_apart_and_named() {
    let mut fake = on_cpu();
    let said = "{\"python\": \"3.11\", \"packages\": {}, \"unmet\": []}\n{\"stage\": \"importing torch\"}\n";
    fake.python(139, said, "");
    fake.xtask(&["doctor"]).fails(
        1,
        &[
            "✗ torch          importing torch ended Python with exit code 139",
            "– CUDA build     skipped: torch",
        ],
    );
    fake.python(1, said, "Timeout (0:00:50)!\n");
    fake.xtask(&["doctor"]).fails(
        0,
        &[
            "? torch          importing torch hangs: no end after 0:00:50",
            "next: cargo xtask doctor torch",
        ],
    );
}

#[test]
fn a_wrong_name_is_wrong_usage() {
    snapshot(
        &on_cpu().xtask(&["doctor", "gpus"]),
        "--- stderr
error: there is no check `gpus`

hint: groups of checks: tools, project, service, python, gpu
hint: cargo xtask doctor --list
--- exit 2
",
    );
}

#[test]
fn nothing_of_env_but_its_names_is_shown() {
    let mut fake = on_gpu();
    fake.repo.write(".env", "HF_TOKEN=hf_sentinel\nCUDA_VISIBLE_DEVICES=sentinel7\n");
    fake.repo.write(".env.example", "HF_TOKEN=\nOTHER=sentinel8\n");
    fake.no_image(); // So that everything that can fail does.
    for args in [&["doctor", "-v"][..], &["doctor", "--json"], &["doctor", "env", "-v"]] {
        let run = fake.xtask(args);
        assert!(!run.text().contains("sentinel"), "{}", run.text());
        assert!(run.text().contains("lacks OTHER"), "{}", run.text());
    }
    // Compose quotes what it can't read, and a service may log what it was given.
    let mut fake = on_cpu();
    fake.repo.write(".env", "A=\"sentinel\nB=hf_sentinel\n");
    fake.answer("logs --tail 5 c1", 0, "got hf_sentinel\n", "");
    container(&mut fake, "1", &[("\"healthy\"", "\"unhealthy\"")]);
    fake.xtask(&["doctor", "-v"]).fails(1, &["| log: got …"]);
    // So does what comes from the shell or another file, by Compose's own word.
    let config = r#"{"name":"p","services":{"backend":{"image":"p-backend","environment":{"C":"shell_sentinel\nsecond sentinel"}}}}"#;
    fake.answer(CONFIG, 0, config, "");
    fake.answer("logs --tail 5 c1", 0, "got shell_sentinel\nand second sentinel\n", "");
    let run = fake.xtask(&["doctor", "-v"]);
    run.fails(1, &["| log: got …", "| log: and …"]);
    assert!(!run.text().contains("sentinel"), "{}", run.text());
    fake.repo.set("COMPOSE_ENV_FILES", "prod.env");
    fake.repo.write("prod.env", "D=prod_sentinel\nB=\"one\nsentinel\"\n");
    let quotes = "failed to read prod.env: unterminated prod_sentinel, sentinel\n";
    fake.answer(CONFIG, 1, "", quotes);
    let run = fake.xtask(&["doctor", "-v"]);
    run.fails(1, &["failed to read prod.env"]);
    assert!(!run.text().contains("sentinel"), "{}", run.text());
    fake.repo.env.retain(|(key, _)| key != "COMPOSE_ENV_FILES");
    let quotes = "failed to read /r/.env: line 1: unterminated quoted value \"sentinel\n";
    fake.answer(CONFIG, 1, "", quotes);
    let run = fake.xtask(&["doctor", "-v"]);
    run.fails(1, &["unterminated quoted value"]);
    assert!(!run.text().contains("sentinel"), "{}", run.text());
}

#[test]
fn fix_recreates_a_container_that_lost_its_gpu_and_says_what_is_left() {
    let mut fake = on_gpu();
    let lost = GPU_PROBE.replace("\"/dev/nvidiactl\": \"ok\"", "\"/dev/nvidiactl\": \"EPERM\"");
    fake.python(0, &lost, "");
    let flag = fake.repo.root.join("recreated").display().to_string();
    fake.script(&format!("compose {RECREATE}"), &format!("touch '{flag}'"));
    fake.repo.write("probe", GPU_PROBE);
    fake.repo.write("lost", &lost);
    let root = fake.repo.root.display();
    fake.python_script(
        "packages driver",
        &format!("if [ -e '{flag}' ]; then cat '{root}/probe'; else cat '{root}/lost'; fi"),
    );
    let run = fake.xtask(&["doctor", "gpu-nodes", "--fix"]);
    run.fails(
        0,
        &[
            "✗ device nodes   the container lost its GPU",
            "fix: recreating the container",
            "✓ device nodes   2 in /dev",
        ],
    );
    // It helps once or not at all.
    fake.script(&format!("compose {RECREATE}"), "true");
    fs_err::remove_file(flag).unwrap();
    let run = fake.xtask(&["doctor", "gpu-nodes", "--fix"]);
    assert_eq!(
        (run.code, run.stdout.matches("fix: recreating").count()),
        (Some(1), 1),
        "{}",
        run.text()
    );
    assert_eq!(checks(&fake.xtask(&["doctor", "gpu-nodes", "--json"]))[0]["fixable"], true);
    assert_eq!(fake.xtask(&["doctor", "--fix", "--json"]).code, Some(2), "fixing talks");
    fake.script(&format!("compose {RECREATE}"), "echo 'Error response from daemon: x' >&2; exit 1");
    fake.xtask(&["doctor", "gpu-nodes", "--fix"])
        .fails(1, &["error: recreating the container failed"]);
    // An image that was built by hand must not come into use this way.
    fake.answer("image inspect sha256:a", 0, &image("sha256:a", "l", &[]), "");
    fake.answer(IMAGE_INSPECT, 0, &image("sha256:b", "other", &["p-backend:latest"]), "");
    fake.answer(&try_gpus("all", "sha256:b"), 0, "", "");
    fake.drift("Recreate");
    fake.xtask(&["doctor", "gpu-nodes", "--fix"])
        .fails(1, &["is another image than the one that runs", "cargo xtask restart"]);
}

#[test]
fn fix_fetches_missing_sources() {
    let mut fake = on_cpu();
    fake.without_sources();
    fake.xtask(&["doctor", "sources"])
        .fails(0, &["! Step1X-3D      the sources are missing", "next: git submodule"]);
    fake.xtask(&["doctor", "sources", "--fix"])
        .fails(0, &["fix: fetching Step1X-3D's sources", "✓ Step1X-3D      in backend/Step1X-3D"]);
}

#[test]
fn questions_are_on_their_way_at_once_and_answers_come_one_by_one() {
    let mut fake = on_cpu();
    let root = fake.repo.root.display().to_string();
    let until = |flag: &str| format!("while [ ! -e '{root}/{flag}' ]; do sleep 0.02; done");
    // Each of these answers only after the other was asked.
    fake.script(
        "compose version",
        &format!("touch '{root}/compose'; {}; echo 2.26.1", until("buildx")),
    );
    fake.script(
        "buildx version",
        &format!("touch '{root}/buildx'; {}; echo x v0.13.1", until("compose")),
    );
    fake.repo.write("probe", PROBE);
    fake.python_script("torch", &format!("{}; cat '{root}/probe'", until("read")));
    let mut child = {
        fake.xtask(&["doctor", "--list"]).ok(); // Writes the fake docker.
        let mut command = fake.repo.command(env!("CARGO_BIN_EXE_xtask"), &["doctor"]);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut lines =
        std::io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("✓ Python ")), "shown before torch is known");
    fake.repo.write("read", "");
    assert!(lines.any(|line| line.starts_with("✓ torch ")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_docker_all_that_needs_it_is_skipped() {
    let mut fake = on_cpu();
    fake.repo.set("PATH", "/nonexistent");
    let run = fake.xtask(&["doctor"]);
    run.fails(
        1,
        &[
            "✗ Docker CLI     `docker` is not on PATH",
            "– engine         skipped: docker-cli",
            "! git            missing",
            "– kernel         skipped: docker-cli",
            "next: cargo xtask up --setup",
        ],
    );
    assert_eq!(run.stdout.matches('✗').count(), 1, "{}", run.text());
}

#[test]
fn the_document_has_the_fields_that_the_readme_names() {
    let fake = on_cpu();
    let run = fake.xtask(&["doctor", "torch", "git", "--json"]);
    let checks = checks(&run);
    assert_eq!([&checks[0]["id"], &checks[1]["id"]], ["git", "torch"], "in the list's order");
    let keys: Vec<_> = checks[1].as_object().unwrap().keys().map(String::as_str).collect();
    let want = [
        "evidence", "expected", "fixable", "found", "group", "id", "link", "message", "remedy",
        "status", "title",
    ];
    assert_eq!(keys, want);
    assert_eq!(
        (&checks[1]["group"], &checks[1]["found"]),
        (&"python".into(), &"2.5.1+cu124".into())
    );
    assert!(!run.stdout.contains('\u{1b}'));
}
