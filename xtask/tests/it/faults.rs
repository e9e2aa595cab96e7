//! Nothing is ever lost: each fault is caused, with the command that meets it,
//! and afterwards what served before still serves, nothing is left over, and
//! the message names a cause and a next step. The matrix is printed at the end.
//!
//! What would take the engine or its disk from other tests is caused on an
//! engine of its own: see [`crate::outages`].

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{APP, COMPOSE_FILE, DOCKERFILE, PYTHON, Run, Running},
    matrix::Matrix,
    service::{Service, need},
};

/// A service that never becomes healthy.
const SICK: &str = concat!(
    "  db:\n    image: debian:bookworm-slim\n    command: sleep 1000\n    init: true\n",
    "    healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1}\n",
);

/// Every command that looks at the project.
const ALL: [&str; 5] = ["up", "restart", "fast", "full", "status"];

#[test]
fn faults_before_building() {
    let mut m = Matrix::new(need!(Service::serving()));

    let env = m.service.env.clone();
    m.service.set("DOCKER_HOST", "tcp://127.0.0.1:1");
    let runs = ALL.map(|command| (command, m.service.xtask(&[command])));
    m.service.env.clone_from(&env);
    for (command, run) in runs {
        m.refused(
            "the engine does not run",
            &[command],
            &run,
            &["the Docker engine does not answer", "systemctl start docker"],
        );
    }
    m.service.set("PATH", "/nonexistent");
    let runs = ALL.map(|command| (command, m.service.xtask(&[command])));
    m.service.env.clone_from(&env);
    for (command, run) in runs {
        m.refused("docker is not on PATH", &[command], &run, &["`docker` is not on PATH"]);
    }

    for (fault, compose, text) in [
        ("compose file with a syntax error", "services: [", "reading the compose files"),
        ("compose file without `backend`", "services: {api: {image: x}}", "no service `backend`"),
        ("compose file that is empty", "", "reading the compose files"),
        (
            "compose file with an unknown key",
            "services: {backend: {imag: x}}",
            "reading the compose files",
        ),
        ("build context that is not there", "services: {backend: {build: ./nowhere}}", "nowhere"),
    ] {
        m.service.write("docker-compose.yml", compose);
        m.refuses(fault, &ALL, &[text]);
    }
    m.service.write("docker-compose.yml", COMPOSE_FILE);

    let away = |service: &Service, path: &str| {
        fs_err::rename(service.root.join(path), service.root.join("away")).unwrap()
    };
    let back = |service: &Service, path: &str| {
        fs_err::rename(service.root.join("away"), service.root.join(path)).unwrap()
    };
    for (fault, path, text) in [
        ("backend/ is missing", "backend", "backend/requirements.txt"),
        (
            "requirements.txt is missing",
            "backend/requirements.txt",
            "hint: git checkout -- backend/requirements.txt",
        ),
        ("the Dockerfile is missing", "backend/Dockerfile", "Dockerfile"),
        ("the compose file is missing", "docker-compose.yml", "reading the compose files"),
    ] {
        away(&m.service, path);
        m.refuses(fault, &ALL, &[text]);
        back(&m.service, path);
    }
    away(&m.service, "backend/requirements.txt");
    fs_err::create_dir(m.service.root.join("backend/requirements.txt")).unwrap();
    m.refuses("requirements.txt cannot be read", &ALL, &["backend/requirements.txt"]);
    fs_err::remove_dir(m.service.root.join("backend/requirements.txt")).unwrap();
    back(&m.service, "backend/requirements.txt");
    fs_err::write(m.service.root.join("backend/requirements.txt"), b"torch==2.5.1 # caf\xe9\n")
        .unwrap();
    m.refuses("requirements.txt is not UTF-8", &ALL, &["UTF-8"]);

    for (fault, requirements, text) in [
        ("torch is not pinned", "torch\n", "torch 2.5.1 removed"),
        ("torch is pinned twice", "torch==2.5.1\ntorch==2.5.0\n", "torch 2.5.1 → 2.5.0"),
        ("torch is pinned with an extra", "torch[opt]==2.5.0\n", "torch 2.5.1 → 2.5.0"),
        (
            "torch is pinned with a marker",
            "torch==2.5.0 ; python_version > '3'\n",
            "torch 2.5.1 → 2.5.0",
        ),
        ("torch is pinned with a comment", "torch==2.5.0 # why\n", "torch 2.5.1 → 2.5.0"),
        (
            "torch is pinned with a hash",
            "torch==2.5.0 \\\n  --hash=sha256:00\n",
            "torch 2.5.1 → 2.5.0",
        ),
        ("torch is pinned in another file", "-r other.txt\n", "torch 2.5.1 removed"),
    ] {
        m.service.write("backend/requirements.txt", requirements);
        m.refuses(fault, &["fast"], &[text, "hint: cargo xtask full"]);
    }
    m.service.write("backend/requirements.txt", "torch==2.5.1\n");

    let has_gpus = m.service.docker(&["info"]).contains("nvidia");
    m.service.set("XTASK_DEVICE", "gpu");
    let gpu = ["restart", "fast"].map(|command| (command, m.service.xtask(&[command])));
    m.service.set("XTASK_DEVICE", "cpu");
    for (command, run) in gpu {
        // An engine that can hand one out has nothing to refuse.
        if !has_gpus {
            m.refused("a GPU that the engine cannot hand out", &[command], &run, &["XTASK_DEVICE"]);
        }
    }

    for (oddity, text, value) in [
        (".env with CRLF", "FOO=a\r\n", "a"),
        (".env with quotes", "FOO=\"a b\"\n", "a b"),
        (".env with `export`", "export FOO=c\n", "c"),
        (".env with a byte-order mark", "\u{feff}FOO=d\n", "d"),
        (".env with a key without value", "BAR\nFOO=e\n", "e"),
    ] {
        m.service.write(".env", text);
        m.works(oddity, &["restart"]);
        assert_eq!(m.service.inside(&["printenv", "FOO"]), value, "{oddity}");
    }
    fs_err::remove_file(m.service.root.join(".env")).unwrap();
    m.works("no .env any more", &["up"]);

    let mut below = m.service.command(env!("CARGO_BIN_EXE_xtask"), &["restart"]);
    below.current_dir(m.service.root.join("backend"));
    let run = Run::of(below);
    assert_eq!(run.code, Some(0), "{}", run.text());
    m.note("a run from a subdirectory", "restart", &run);
    assert!(m.service.root.display().to_string().contains("my clôné"));
    m.works("a path with spaces, and not ASCII", &["restart"]);

    let run = m.service.second_clone().xtask(&["restart"]);
    assert_eq!(run.code, Some(0), "{}", run.text());
    m.note("a second clone of the same project", "restart", &run);
    assert!(m.answers(), "{}", run.text());
    m.print("Faults before building");
}

#[test]
fn faults_while_building() {
    let mut m = Matrix::new(need!(Service::serving()));
    for (fault, dockerfile, text) in [
        (
            "Dockerfile with a syntax error",
            "FROM debian:bookworm-slim\nRUNN x\n".to_owned(),
            "the Dockerfile has a fault",
        ),
        ("a step that fails", format!("{DOCKERFILE}RUN exit 3\n"), "building `backend` failed"),
        (
            "a file to copy that is missing",
            format!("{DOCKERFILE}COPY nowhere /\n"),
            "building `backend` failed",
        ),
        (
            "a base image that is nowhere",
            "FROM registry.invalid/nothing:1\n".to_owned(),
            "the base image is not on the engine",
        ),
    ] {
        m.service.write("backend/Dockerfile", &dockerfile);
        m.refuses(fault, &["fast", "full", "up"], &[text, "what served before still does"]);
    }
    m.service.write("backend/Dockerfile", DOCKERFILE);
    for (fault, python) in [
        ("an image without a working torch", "#!/bin/sh\nexit 1\n".to_owned()),
        ("an image with the wrong torch", PYTHON.replace("v=$(", "v=2.6.0 #(")),
    ] {
        m.service.write("backend/python3", &python);
        m.refuses(fault, &["full"], &["does not pass the check"]);
    }
    m.service.write("backend/python3", PYTHON);

    m.service.write("backend/Dockerfile", &format!("{DOCKERFILE}RUN sleep 20\n"));
    let building = |xtask: &Running| xtask.says("RUN sleep 20");
    type When = fn(&Running) -> bool;
    let whens: [(&str, When); 2] = [("at once", |_| true), ("in the long step", building)];
    for (when, time) in whens {
        for (who, signal, to_group, code) in [
            ("Ctrl-C", "INT", true, 130),
            ("SIGINT to xtask alone", "INT", false, 130),
            ("SIGTERM to xtask alone", "TERM", false, 143),
            ("SIGTERM to the process group", "TERM", true, 143),
        ] {
            for command in ["fast", "full"] {
                let fault = format!("{who}, {when}");
                let run = m.signalled(command, signal, to_group, time);
                assert_eq!(run.code, Some(code), "{fault}: {}", run.text());
                m.refused(&fault, &[command], &run, &["interrupted"]);
            }
        }
    }
    // A killed xtask says nothing, and nothing is lost.
    let run = m.signalled("fast", "KILL", false, building);
    assert_eq!(run.code, None);
    m.note("SIGKILL to xtask", "fast", &run);
    assert_eq!(m.service.fingerprint(), m.before);
    m.service.write("backend/Dockerfile", DOCKERFILE);
    // The build goes on without it, if only for a while; the next run clears up.
    let started = Instant::now();
    while !m.under_construction() && started.elapsed() < Duration::from_secs(40) {
        thread::sleep(Duration::from_millis(500));
    }
    m.works("what the orphan left", &["up"]);
    m.print("Faults while building");
}

#[test]
fn faults_while_swapping() {
    let mut m = Matrix::new(need!(Service::serving()));
    let image = m.service.inspect(&m.service.image_name(), "{{.Id}}");
    for (fault, app, text) in [
        ("crashes at import", "echo ImportError; exit 1\n".to_owned(), "exit code 1"),
        ("exits 0 at once", "exit 0\n".to_owned(), "exit code 0"),
        (
            "hangs without listening",
            APP.replace("touch /tmp/ready", ""),
            "did not answer within 8 s",
        ),
        (
            "answers with an error",
            APP.replace("touch /tmp/ready", "mkdir /tmp/ready"),
            "did not answer within 8 s",
        ),
    ] {
        m.service.write("backend/app.sh", &app);
        let run = m.service.xtask(&["fast", "--timeout", "8"]);
        run.fails(
            1,
            &[text, "the image that served before is still there", "hint: cargo xtask rollback"],
        );
        m.note(fault, "fast", &run);
        m.works("  and back", &["rollback"]);
        assert_eq!(m.service.inspect(&m.service.container(), "{{.Image}}"), image, "{fault}");
        let run = m.service.xtask(&["full", "--timeout", "8"]);
        run.fails(1, &[text, "rolled back to the previous image"]);
        m.note(fault, "full", &run);
        assert_eq!(m.service.inspect(&m.service.container(), "{{.Image}}"), image, "{fault}");
        assert!(m.answers(), "{fault}");
    }
    m.before = m.service.fingerprint();
    // The label, since to newer versions of Compose a dependency alone is no change.
    let sick = "    labels: {edited: 'yes'}\n    depends_on: {db: {condition: service_healthy}}\n";
    m.service.write("docker-compose.yml", &format!("{COMPOSE_FILE}{sick}{SICK}"));
    m.refuses(
        "a service that it depends on is not healthy",
        &["restart", "up"],
        &[
            "a service that `backend` depends on does not start",
            "hint: docker compose logs --tail 50 db",
        ],
    );
    m.service.write("backend/app.sh", &format!("{APP}# new\n"));
    m.refuses(
        "a dependency is unhealthy, and the code is new",
        &["fast", "full"],
        &[
            "a service that `backend` depends on does not start",
            "hint: docker compose logs --tail 50 db",
        ],
    );
    m.service.docker(&["compose", "rm", "--stop", "--force", "db"]);
    m.service.write("docker-compose.yml", COMPOSE_FILE);
    m.service
        .write("backend/app.sh", &APP.replace("touch /tmp/ready", "sleep 61; touch /tmp/ready"));
    m.works("becomes healthy after 61 s", &["fast"]);
    m.service.write("backend/app.sh", &format!("{APP}# quick\n"));
    m.works("is quick again", &["fast"]);

    let (taken, port) = m.service.listener();
    m.before = m.service.fingerprint();
    let image = m.service.inspect(&m.service.image_name(), "{{.Id}}");
    let on = |host: &str, port: u16| {
        COMPOSE_FILE.replace("init: true", &format!("ports: ['{host}:{port}:9']\n    init: true"))
    };
    m.service.write("docker-compose.yml", &on("127.0.0.1", port));
    m.refuses("the port is taken", &["restart", "up"], &["taken by another program"]);
    m.service.write("backend/app.sh", &format!("{APP}# new\n"));
    m.refuses(
        "the port is taken, and the code is new",
        &["fast", "full"],
        &["taken by another program"],
    );
    m.service.write("docker-compose.yml", COMPOSE_FILE);
    let has_gpus = m.service.docker(&["info"]).contains("nvidia");
    m.service.set("XTASK_DEVICE", "gpu");
    let gpu = ["fast", "full", "restart"].map(|command| (command, m.service.xtask(&[command])));
    m.service.set("XTASK_DEVICE", "cpu");
    for (command, run) in gpu {
        if !has_gpus {
            m.refused(
                "a GPU that cannot be had, and the code is new",
                &[command],
                &run,
                &["XTASK_DEVICE"],
            );
        }
    }
    // The reservation stays, whatever the device.
    let cpu_file = m.service.root.join("docker-compose.cpu.yml");
    let text = fs_err::read_to_string(&cpu_file).unwrap();
    fs_err::remove_file(&cpu_file).unwrap();
    if !has_gpus {
        m.refuses(
            "a GPU that is reserved, and no CPU file",
            &["restart", "fast", "full"],
            &["the engine cannot hand out the GPUs that the service asks for"],
        );
    }
    fs_err::write(&cpu_file, text).unwrap();
    assert_eq!(m.service.inspect(&m.service.image_name(), "{{.Id}}"), image, "no name has moved");
    m.service.docker(&["rm", "--force", &taken]);
    m.service.write("docker-compose.yml", &on("127.0.0.1", port));
    m.works("the port is free again", &["up"]);
    m.service.write("docker-compose.yml", &on("0.0.0.0", port));
    m.works("its own port on another address", &["restart"]);

    // Compose stops the old container for three seconds.
    m.service.write("docker-compose.yml", COMPOSE_FILE);
    m.service.write("backend/app.sh", &APP.replace("'exit 0'", "'echo ending; sleep 3; exit 0'"));
    m.works("a service that takes its time to end", &["fast"]);
    for (round, (signal, code)) in
        [("INT", 130), ("TERM", 143), ("HUP", 129)].into_iter().enumerate()
    {
        m.service.write(".env", &format!("ROUND={round}\n"));
        let old = m.service.container();
        let run = m.signalled("restart", signal, true, |_| {
            m.service.docker(&["logs", &old]).contains("ending")
        });
        assert_eq!(run.code, Some(code), "{}", run.text());
        run.fails(code, &["interrupted", "hint: cargo xtask status"]);
        m.note(&format!("SIG{signal} in the middle of the swap"), "restart", &run);
        assert!(m.answers(), "{signal}: {}", run.text());
        assert_eq!(m.service.inside(&["printenv", "ROUND"]), round.to_string());
    }
    m.print("Faults while swapping");
}
