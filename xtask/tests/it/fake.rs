//! Whole runs against a fake `docker`: machines and failures that no test
//! machine has, and what is said about them.
use crate::common::{Repo, Run, executable};

/// A repository, and a `docker` that logs its arguments and answers as told.
struct Fake {
    repo: Repo,
    /// Shell pattern over the arguments, exit code, stdout, stderr; the last
    /// that matches answers.
    answers: Vec<(String, i32, String, String)>,
}

const CONTAINER: &str = r#"[{"Id":"c1","Name":"/p-backend-1","Image":"sha256:a","RestartCount":0,
"State":{"Status":"running","ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy"}},
"Config":{"Healthcheck":{"Test":["CMD","true"]}},"HostConfig":{"DeviceRequests":null,"Runtime":"runc"},
"NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}]"#;

const PROBE: &str = r#"{"packages": {"torch": "2.5.1+cu124"}}
{"torch": "2.5.1+cu124", "cuda": "12.4", "available": false, "devices": []}"#;

impl Fake {
    /// An engine on a machine without a card; the service runs from the
    /// current sources.
    fn serving() -> Fake {
        let mut fake = Fake { repo: Repo::new(), answers: Vec::new() };
        let bin = fake.repo.root.join("bin");
        fake.repo.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
        let context = fake.repo.root.join("backend");
        let config = format!(
            r#"{{"name":"p","services":{{"backend":{{"build":{{"context":"{}","dockerfile":"Dockerfile"}}}}}}}}"#,
            context.display()
        );
        fake.engine(r#"{"runc":{}}"#, "6.1.0");
        fake.card("0x8086\n0x1af4\n");
        for (pattern, stdout) in [
            ("compose*config --format json", &*config),
            ("ps --all*", "c1\n"),
            ("container inspect c1", CONTAINER),
            ("compose*--dry-run up*", " DRY-RUN MODE -  Container p-backend-1  Running\n"),
            ("exec --interactive c1 python3 -", PROBE),
            ("compose version --short", "2.26.1\n"),
            ("buildx version", "github.com/docker/buildx v0.13.1 788433953af1\n"),
        ] {
            fake.answer(pattern, 0, stdout, "");
        }
        // The name that the current sources give an image, in xtask's own words.
        fake.image(&[]);
        let plan = fake.xtask(&["fast", "--dry-run"]).ok();
        let tag = plan
            .lines()
            .find_map(|line| {
                line.strip_prefix("would run: docker tag localhost/xtask/p-backend:building ")
            })
            .unwrap();
        fake.image(&["p-backend:latest", tag.split(' ').next().unwrap()]);
        fake
    }

    fn answer(&mut self, pattern: &str, code: i32, stdout: &str, stderr: &str) {
        self.answers.push((pattern.to_owned(), code, stdout.to_owned(), stderr.to_owned()));
    }

    fn engine(&mut self, runtimes: &str, kernel: &str) {
        // An engine of its own, so that no other test holds its lock.
        let id = self.repo.root.display();
        let info = format!(
            r#"{{"ID":"{id}","ServerVersion":"26.1.5","Runtimes":{runtimes},"KernelVersion":"{kernel}"}}"#
        );
        self.answer("info --format*", 0, &info, "");
    }

    /// Vendors on the PCI bus of the engine's machine.
    fn card(&mut self, vendors: &str) {
        self.answer("exec c1 sh -c*", 0, vendors, "");
        self.answer("run --rm*--entrypoint sh *", 0, vendors, "");
    }

    fn image(&mut self, tags: &[&str]) {
        let tags: Vec<_> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
        let json = format!(
            r#"[{{"Id":"sha256:a","RepoTags":[{}],"Created":"2026-01-01T00:00:00Z","Config":{{}},"RootFS":{{"Layers":["l"]}}}}]"#,
            tags.join(",")
        );
        self.answer("image inspect p-backend:latest", 0, &json, "");
    }

    fn no_image(&mut self) {
        self.answer(
            "image inspect*",
            1,
            "[]\n",
            "Error response from daemon: No such image: p-backend:latest\n",
        );
        self.answer("ps --all*", 0, "", "");
    }

    fn xtask(&self, args: &[&str]) -> Run {
        let log = self.repo.root.join("log");
        let root = self.repo.root.display();
        let mut script = format!(
            "#!/bin/sh\nenv > '{root}/environment'\necho \"$*\" >> '{root}/log'\ncase \"$*\" in\n"
        );
        for (n, (pattern, code, stdout, stderr)) in self.answers.iter().enumerate().rev() {
            self.repo.write(&format!("bin/{n}.out"), stdout);
            self.repo.write(&format!("bin/{n}.err"), stderr);
            let files = self.repo.root.join("bin").join(n.to_string());
            let files = files.display();
            let pattern = pattern.replace(' ', "\\ ");
            script +=
                &format!("{pattern}) cat '{files}.out'; cat '{files}.err' >&2; exit {code};;\n");
        }
        script += "*) echo \"the fake docker has no answer for: $*\" >&2; exit 99;;\nesac\n";
        self.repo.write("bin/docker", &script);
        executable(&self.repo.root.join("bin/docker"));
        let _ = fs_err::remove_file(&log);
        self.repo.xtask(args)
    }

    /// The docker commands of the last run.
    fn log(&self) -> String {
        fs_err::read_to_string(self.repo.root.join("log")).unwrap_or_default()
    }
}

#[track_caller]
fn snapshot(run: &Run, want: &str) {
    assert_eq!(run.text(), want, "\n--- got\n{}", run.text());
}

// --- decisions and dry runs ------------------------------------------------

#[test]
fn nothing_to_do() {
    let fake = Fake::serving();
    snapshot(
        &fake.xtask(&["up"]),
        "none: it runs, from the current sources and configuration\n\
         `backend` answers on http://127.0.0.1:8000\n--- stderr\n--- exit 0\n",
    );
}

#[test]
fn status_for_programs() {
    let fake = Fake::serving();
    snapshot(
        &fake.xtask(&["status", "--json"]),
        r#"{
  "container": {
    "health": "healthy",
    "id": "c1",
    "started_at": "2026-01-01T00:00:00Z",
    "state": "running"
  },
  "decision": "none",
  "device": "cpu",
  "image": {
    "created": "2026-01-01T00:00:00Z",
    "id": "sha256:a",
    "origin": "known"
  },
  "reasons": [
    "it runs, from the current sources and configuration"
  ],
  "version": 1
}
--- stderr
--- exit 0
"#,
    );
}

#[test]
fn a_dry_run_of_a_first_build_asks_but_changes_nothing() {
    let mut fake = Fake::serving();
    fake.no_image();
    snapshot(
        &fake.xtask(&["up", "--dry-run"]),
        "full: there is no image `p-backend:latest` yet\n\
         without an NVIDIA card, known once there is an image, docker-compose.cpu.yml is added\n\
         would run: docker compose --file docker-compose.yml --file - --progress plain build --no-cache backend   \
         # stdin: services: {backend: {image: …, build: {tags: !reset []}}}\n\
         would run: docker run --rm --interactive --network none --entrypoint python3 localhost/xtask/p-backend:building -   \
         # stdin: xtask/src/probe.py\n\
         would run: docker tag localhost/xtask/p-backend:building localhost/xtask/p-backend:<digest>-<digest>\n\
         would run: docker tag localhost/xtask/p-backend:building p-backend:latest\n\
         would run: docker import …   # the record of what the image was built from\n\
         would run: docker compose up --detach --no-build backend\n\
         would run: docker image rm …   # the superseded image and its names, if the build yields another\n\
         would run: docker buildx prune --filter id=…   # the build cache that only it used\n\
         --- stderr\n--- exit 0\n",
    );
    for line in fake.log().lines() {
        let asks = [
            "info",
            "ps",
            "image inspect",
            "compose config",
            "compose --file docker-compose.yml --file docker-compose.cpu.yml --progress plain --dry-run",
            "compose --progress plain --dry-run",
        ];
        assert!(asks.iter().any(|ask| line.starts_with(ask)), "{line}");
    }
}

#[test]
fn expectations_come_from_the_last_run() {
    let fake = Fake::serving();
    fake.repo.write("target/xtask/memory.json", r#"{"seconds":{"restart":190}}"#);
    let said = fake.xtask(&["restart", "--dry-run"]).ok();
    assert!(
        said.starts_with("restart: nothing calls for it, but you ask (3 min 10 s last time)"),
        "{said}"
    );
}

// --- machines --------------------------------------------------------------

#[test]
fn a_machine_with_a_wired_card_runs_on_it() {
    let mut fake = Fake::serving();
    fake.engine(r#"{"nvidia":{"path":"nvidia-container-runtime"}}"#, "6.1.0");
    fake.card("0x8086\n0x10de\n");
    let said = fake.xtask(&["restart", "--dry-run"]).ok();
    assert!(
        said.contains("would run: docker compose restart --no-deps backend")
            && !said.contains("cpu"),
        "{said}"
    );
}

#[test]
fn a_card_out_of_dockers_reach_stops_everything() {
    let mut fake = Fake::serving();
    fake.card("0x8086\n0x10de\n");
    fake.answer(
        "run --rm --gpus all*",
        125,
        "",
        "could not select device driver \"\" with capabilities: [[gpu]]",
    );
    for command in ["up", "restart", "fast", "full", "status"] {
        fake.xtask(&[command]).fails(
            1,
            &[
                "has an NVIDIA card, but Docker cannot reach it",
                "hint: install nvidia-container-toolkit on the engine's machine",
            ],
        );
        assert!(
            !fake.log().contains("restart") && !fake.log().contains("plain build"),
            "{}",
            fake.log()
        );
    }
    fake.repo.set("XTASK_DEVICE", "cpu");
    fake.xtask(&["up"]).ok();
}

#[test]
fn an_engine_that_hands_out_gpus_without_listing_a_runtime_is_believed() {
    let mut fake = Fake::serving();
    fake.card("0x10de\n");
    fake.answer("run --rm --gpus all*", 0, "", "");
    assert!(fake.xtask(&["status"]).ok().contains("| device: gpu"));
}

#[test]
fn wsl2_shows_no_card_on_the_pci_bus() {
    let mut fake = Fake::serving();
    fake.engine(r#"{"nvidia":{}}"#, "5.15.90.1-microsoft-standard-WSL2");
    assert!(fake.xtask(&["status"]).ok().contains("| device: gpu"));
}

#[test]
fn a_wrong_device_is_wrong_usage() {
    let mut fake = Fake::serving();
    fake.repo.write(".env", "XTASK_DEVICE=cuda\n");
    snapshot(
        &fake.xtask(&["up"]),
        "--- stderr\nerror: XTASK_DEVICE is `cuda`\nhint: set XTASK_DEVICE to gpu, cpu or auto\n--- exit 2\n",
    );
    fake.repo.set("XTASK_DEVICE", "cpu");
    fake.xtask(&["up"]).ok();
}

// --- failures --------------------------------------------------------------

#[test]
fn known_failures_of_docker_are_said_in_the_users_words() {
    for (pattern, stderr, message, hint) in [
        (
            "info*",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            "the Docker engine does not answer",
            "hint: sudo systemctl start docker",
        ),
        (
            "info*",
            "permission denied while trying to connect to the Docker daemon socket",
            "no permission to talk to the Docker engine",
            "hint: sudo usermod",
        ),
        (
            "compose*config*",
            "docker: 'compose' is not a docker command.",
            "Docker Compose 2.24 or newer is missing",
            "hint: docs.docker.com/compose",
        ),
        (
            "compose*config*",
            "no configuration file provided: not found",
            "reading the compose files",
            "hint: docker compose config",
        ),
        (
            "compose*config*",
            "yaml: line 3: did not find expected key",
            "yaml: line 3",
            "hint: docker compose config",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer(pattern, 1, "", stderr);
        for command in ["up", "restart", "fast", "full", "status"] {
            fake.xtask(&[command]).fails(1, &["error: ", message, hint]);
        }
    }
}

#[test]
fn a_swap_that_fails_names_the_cause() {
    for (stderr, message) in [
        (
            "Bind for 127.0.0.1:8000 failed: port is already allocated",
            "the port that the service publishes is taken",
        ),
        (
            "could not select device driver \"nvidia\" with capabilities: [[gpu]]",
            "the engine cannot hand one out",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("container inspect c1", 0, &CONTAINER.replace("running", "exited"), "");
        fake.answer("compose*up --detach*", 1, "", stderr);
        fake.answer(
            "compose*--dry-run up*",
            0,
            " DRY-RUN MODE -  Container p-backend-1  Starting",
            "",
        );
        fake.xtask(&["restart"]).fails(1, &["starting `backend`", message, "hint: "]);
    }
}

#[test]
fn a_failed_build_passes_its_exit_code_on() {
    let mut fake = Fake::serving();
    fake.answer("compose*plain build backend", 17, "", "failed to solve\n");
    snapshot(
        &fake.xtask(&["fast"]),
        "fast: nothing calls for it, but you ask\n\
         no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml\n--- stderr\n\
         failed to solve\n\
         error: building `backend` failed; what served before still does\n  \
         because: `docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - \
         --progress plain build backend` exited with 17: failed to solve\n\
         hint: cargo xtask up   # once it is mended\n--- exit 17\n",
    );
}

#[test]
fn build_failures_are_said_in_the_users_words() {
    for (stderr, message, hint) in [
        (
            "rpc error: code = Unavailable desc = error reading from server: EOF",
            "the Docker engine went away in the middle",
            "hint: sudo systemctl start docker",
        ),
        (
            "failed to solve: write /x: no space left on device",
            "the disk of the engine's machine is full",
            "hint: docker system df",
        ),
        (
            "failed to solve: debian:bookworm-slim: failed to resolve source metadata",
            "the base image is neither",
            "hint: cargo xtask up --setup",
        ),
        (
            "  x No solution found when resolving dependencies:",
            "a requirement does not exist",
            "mend backend/requirements.txt",
        ),
        (
            "Temporary failure in name resolution",
            "a package index does not answer",
            "UV_DEFAULT_INDEX",
        ),
        (
            "dockerfile parse error on line 3: unknown instruction: RUNN",
            "the Dockerfile has a fault",
            "hint: the lines above name it",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("compose*plain build*backend", 1, "", stderr);
        for command in ["fast", "full"] {
            fake.xtask(&[command]).fails(
                1,
                &["building `backend` failed; what served before still does", message, hint],
            );
            assert!(!fake.log().contains("tag localhost"), "no name was given: {}", fake.log());
        }
    }
}

#[test]
fn a_machine_in_trouble_is_described_while_it_serves() {
    for (stderr, message, hint) in [
        (
            "Failed to initialize NVML: Driver/library version mismatch",
            "the machine runs the old one",
            "hint: reboot",
        ),
        (
            "nvidia-container-cli: mount error: file creation failed: libEGL_nvidia.so.550",
            "is out of date",
            "hint: sudo nvidia-ctk cdi generate",
        ),
        (
            "Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44",
            "newer than this Docker CLI",
            "hint: upgrade",
        ),
    ] {
        let mut fake = Fake::serving();
        fake.answer("compose*restart*", 1, "", stderr);
        fake.xtask(&["restart"]).fails(1, &["restarting `backend`", message, hint]);
    }
}

#[test]
fn an_old_compose_is_named_with_its_version() {
    let mut fake = Fake::serving();
    fake.answer("compose*config*", 1, "", "services.backend.env_file.0 must be a string");
    fake.answer("compose version*", 0, "2.20.3\n", "");
    fake.xtask(&["up"]).fails(
        1,
        &[
            "Docker Compose 2.20.3 is too old: 2.24 or newer is needed",
            "hint: cargo xtask up --setup",
        ],
    );
}

#[test]
fn without_docker_on_path_the_next_step_is_named() {
    let mut fake = Fake::serving();
    fake.repo.set("PATH", "/nonexistent");
    snapshot(
        &fake.repo.xtask(&["up"]),
        "--- stderr\nerror: `docker` is not on PATH\n\
         hint: docs.docker.com/engine/install tells how to install it\n\
         hint: cargo xtask up --setup   # on Debian and Ubuntu\n--- exit 1\n",
    );
}

#[test]
fn a_service_without_a_build_section_is_pulled_not_built() {
    let mut fake = Fake::serving();
    fake.answer(
        "compose*config*",
        0,
        r#"{"name":"p","services":{"backend":{"image":"p-backend"}}}"#,
        "",
    );
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "));
    for command in ["fast", "full"] {
        fake.xtask(&[command]).fails(
            1,
            &["service `backend` has no `build` section", "hint: docker compose pull backend"],
        );
    }
}

#[test]
fn missing_requirements_are_named() {
    let fake = Fake::serving();
    fs_err::remove_file(fake.repo.root.join("backend/requirements.txt")).unwrap();
    fake.xtask(&["up"])
        .fails(1, &["backend/requirements.txt", "hint: git checkout -- backend/requirements.txt"]);
}

#[test]
fn children_see_the_users_environment_but_not_cargos() {
    let mut fake = Fake::serving();
    fake.repo.set("CARGO_PKG_NAME", "xtask");
    fake.repo.set("LD_LIBRARY_PATH", "/cargo");
    fake.repo.set("COMPOSE_PROFILES", "mine");
    fake.xtask(&["status"]).ok();
    let seen = fs_err::read_to_string(fake.repo.root.join("environment")).unwrap();
    assert!(seen.contains("COMPOSE_PROFILES=mine"), "{seen}");
    for gone in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "LD_LIBRARY_PATH"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

// --- doctor ----------------------------------------------------------------

#[test]
fn doctor_on_a_machine_without_a_card() {
    let fake = Fake::serving();
    let run = fake.xtask(&["doctor"]);
    let text = run.text();
    let stable: String = text
        .lines()
        .filter(|line| !line.contains("days old"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        stable,
        "✓ Docker CLI     on PATH\n✓ engine         26.1.5\n✓ Compose        2.26.1\n✓ buildx         v0.13.1\n\
         ✓ compose file   project `p` has `backend`\n✓ sources        backend/requirements.txt pins torch 2.5.1\n\
         ✓ device         cpu (no NVIDIA card on the engine's machine)\n✓ container      running and healthy\n\
         ✓ torch          2.5.1+cu124\n– CUDA           no NVIDIA card on the engine's machine\nnothing to mend\n\
         --- stderr\n--- exit 0\n"
    );
}

#[test]
fn doctor_fails_in_the_layer_that_broke_and_skips_what_stands_on_it() {
    type Fault = fn(&mut Fake);
    let faults: [(Fault, &str, &str, &str); 9] = [
        (
            |f| f.answer("info*", 1, "", "Cannot connect to the Docker daemon"),
            "engine",
            "does not answer",
            "sudo systemctl start docker",
        ),
        (
            |f| f.answer("compose version*", 0, "2.20.3\n", ""),
            "compose",
            "2.20.3 is too old",
            "cargo xtask up --setup",
        ),
        (
            |f| f.answer("buildx version", 1, "", "docker: 'buildx' is not a docker command."),
            "buildx",
            "is missing",
            "cargo xtask up --setup",
        ),
        (
            |f| f.answer("compose*config*", 0, r#"{"name":"p","services":{"api":{}}}"#, ""),
            "compose-file",
            "no service `backend`",
            "name the service",
        ),
        (|f| f.no_image(), "image", "not built yet", "cargo xtask up"),
        (
            |f| {
                f.answer(
                    "container inspect c1",
                    0,
                    &CONTAINER.replace("\"healthy\"", "\"unhealthy\""),
                    "",
                )
            },
            "container",
            "unhealthy",
            "cargo xtask up",
        ),
        (
            |f| f.answer("exec --interactive*", 0, &PROBE.replace("2.5.1", "2.6.0"), ""),
            "torch",
            "torch is 2.6.0+cu124, pinned is 2.5.1",
            "cargo xtask full",
        ),
        (
            |f| {
                f.engine(r#"{"nvidia":{}}"#, "6.1.0");
                f.card("0x10de\n");
            },
            "cuda",
            "torch sees no CUDA device",
            "docker compose exec backend nvidia-smi",
        ),
        (
            |f| {
                f.card("0x10de\n");
                f.answer("run --rm --gpus all*", 125, "", "");
            },
            "device",
            "Docker cannot reach it",
            "nvidia-container-toolkit",
        ),
    ];
    for (fault, id, message, remedy) in faults {
        let mut fake = Fake::serving();
        fault(&mut fake);
        let run = fake.xtask(&["doctor", "--json"]);
        assert_eq!(run.code, Some(1), "{id}: {}", run.text());
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let failed: Vec<_> = document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["status"] == "fail")
            .collect();
        assert_eq!(failed.len(), 1, "one cause, one fault: {document:#}");
        assert_eq!(failed[0]["id"], id);
        assert!(failed[0]["message"].as_str().unwrap().contains(message), "{document:#}");
        assert!(failed[0]["remedy"].to_string().contains(remedy), "{document:#}");
        let last = fake.xtask(&["doctor"]).stdout;
        assert!(last.lines().last().unwrap().starts_with("next: "), "{last}");
    }
}

#[test]
fn doctor_tells_a_probe_that_broke_from_a_torch_that_is_wrong() {
    let mut fake = Fake::serving();
    fake.answer("exec --interactive*", 139, r#"{"packages": {}}"#, "");
    fake.xtask(&["doctor"]).fails(
        1,
        &[
            "✗ torch",
            "importing torch ended Python with exit code 139",
            "– CUDA           skipped: torch",
        ],
    );
}

// --- usage, help, setup ----------------------------------------------------

#[test]
fn wrong_usage_ends_with_2() {
    let fake = Fake::serving();
    for args in [
        &["nonsense"][..],
        &[],
        &["up", "--timeout", "0"],
        &["up", "--timeout", "x"],
        &["status", "--force"],
    ] {
        assert_eq!(fake.xtask(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn help_fits_a_screen_and_every_command_has_an_example() {
    let fake = Fake::serving();
    let help = fake.xtask(&["--help"]).ok();
    assert!(
        help.lines().count() <= 24 && help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
    assert!(help.contains("What `up` decides:"), "{help}");
    for command in ["up", "restart", "fast", "full", "status", "doctor"] {
        let help = fake.xtask(&[command, "--help"]).ok();
        assert!(
            help.contains("Example") && help.contains(&format!("  cargo xtask {command}")),
            "{help}"
        );
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}

#[test]
fn setup_says_what_it_installs_and_passes_the_scripts_code_on() {
    let fake = Fake::serving();
    fake.repo.write("xtask/setup-debian", "echo 'setup: run me as root' >&2; exit 7\n");
    let said = fake.xtask(&["up", "--setup", "--dry-run"]).ok();
    assert!(
        said.starts_with("setup, where missing: Docker Engine")
            && said.contains("would run: sh xtask/setup-debian"),
        "{said}"
    );
    fake.xtask(&["up", "--setup"]).fails(7, &["setting up this machine", "run me as root"]);
    assert_eq!(fake.log(), "", "nothing else is done on a machine that is not ready");
    fake.repo.write("xtask/setup-debian", "exit 0\n");
    fake.xtask(&["up", "--setup"]).ok();
}
