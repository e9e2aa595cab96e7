//! Decisions, machines with and without a GPU, and usage, against a fake docker.

use crate::{
    common::{Run, executable},
    fake::*,
};

#[test]
fn nothing_to_do() {
    let fake = Fake::serving();
    snapshot(
        &fake.xtask(&["up"]),
        r#"none: it runs, from the current sources and configuration
`backend` answers on http://127.0.0.1:8000
--- stderr
--- exit 0
"#,
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
fn a_container_that_goes_while_it_is_looked_at_is_none() {
    let mut fake = Fake::serving();
    // Warnings are no part of the answer.
    for warning in ["", "WARNING: the config file cannot be read\n"] {
        let (json, error) = ("[]\n", "Error: No such container: c1\n");
        let (stdout, stderr) = (format!("{warning}{json}"), format!("{warning}{error}"));
        fake.answer(CONTAINER_INSPECT, 1, &stdout, &stderr);
        let said = fake.xtask(&["status"]).ok();
        assert!(said.starts_with("restart: there is no container\n"), "{said}");
    }
}

#[test]
fn other_projects_containers_make_no_difference() {
    let mut fake = Fake::serving();
    let other = CONTAINER.replace("\"p\"", "\"other\"").replace("\"c1\"", "\"c0\"");
    let both = format!("{},{}", other.trim_end_matches(']'), CONTAINER.trim_start_matches('['));
    fake.answer(CONTAINERS, 0, "c0\nc1\n", "");
    fake.answer("container inspect c0 c1", 0, &both, "");
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "), "{}", fake.log());
    // One that cannot be looked at is left out.
    fake.answer(
        "container inspect c0 c1",
        1,
        "[]\n",
        "Error: removal of container c0 is in progress\n",
    );
    fake.answer(CONTAINERS_OF_PROJECT, 0, "c1\n", "");
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "), "{}", fake.log());
}

#[test]
fn what_xtask_adds_to_the_environment_is_no_drift() {
    let mut fake = Fake::serving();
    fake.script(
        &compose(DRIFT),
        "echo \" DRY-RUN MODE -  Container p-backend-1  ${GOGC:+Recreate}\"",
    );
    assert!(fake.xtask(&["status"]).ok().starts_with("none: "), "{}", fake.log());
}

#[test]
fn the_last_duration_is_named() {
    let fake = Fake::serving();
    fake.repo.write("target/xtask/memory.json", r#"{"seconds":{"restart":190}}"#);
    let said = fake.xtask(&["restart", "--dry-run"]).ok();
    assert!(
        said.starts_with(
            "restart: requested explicitly; nothing has changed (3 min 10 s last time)"
        ),
        "{said}"
    );
}

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
    let refusal = "could not select device driver \"\" with capabilities: [[gpu]]";
    fake.answer(&try_gpus("all", "sha256:a"), 125, "", refusal);
    for command in ["up", "restart", "fast", "full", "status"] {
        // Docker has no answer to a command that changes something.
        snapshot(
            &fake.xtask(&[command]),
            r#"--- stderr
error: the engine's machine has an NVIDIA card, but Docker cannot reach it

hint: install nvidia-container-toolkit on the engine's machine and configure Docker for it
hint: sudo apt-get install nvidia-container-toolkit   # from NVIDIA's own package source
hint: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker
hint: XTASK_DEVICE=cpu cargo xtask up   # to run on the CPU all the same
--- exit 1
"#,
        );
    }
    fake.repo.set("XTASK_DEVICE", "cpu");
    fake.xtask(&["up"]).ok();
}

#[test]
fn a_gpu_that_the_engine_refuses_has_one_of_three_causes() {
    let asks = r#","gpus":[{"count":1}]"#;
    for (card, keys, gpus, says) in [
        ("0x10de\n", asks, "1", "the engine cannot hand out the GPUs that the service asks for"),
        (
            "0x10de\n",
            "",
            "all",
            "the engine's machine has an NVIDIA card, but Docker cannot reach it",
        ),
        ("0x8086\n", asks, "1", "XTASK_DEVICE=gpu, but the engine's machine has no NVIDIA card"),
    ] {
        let mut fake = Fake::serving();
        fake.repo.set("XTASK_DEVICE", "gpu");
        fake.card(card);
        fake.service(keys);
        fake.drift("Recreate");
        fake.answer(&try_gpus(gpus, "sha256:a"), 125, "", "could not select device driver");
        fake.xtask(&["restart"]).fails(1, &[says]);
    }
}

#[test]
fn an_engine_that_hands_out_gpus_without_listing_a_runtime_is_believed() {
    let mut fake = Fake::serving();
    fake.card("0x10de\n");
    fake.answer(&try_gpus("all", "sha256:a"), 0, "", "");
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
        r#"--- stderr
error: XTASK_DEVICE is `cuda`

hint: set XTASK_DEVICE to gpu, cpu or auto
--- exit 2
"#,
    );
    fake.repo.set("XTASK_DEVICE", "cpu");
    fake.xtask(&["up"]).ok();
}

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
    for command in ["up", "restart", "fast", "full", "rollback", "status", "doctor"] {
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
    fake.repo.write("bin/apt-get", "");
    executable(&fake.repo.root.join("bin/apt-get"));
    fake.repo.write("xtask/setup-debian", "echo 'setup: run me as root' >&2; exit 7\n");
    snapshot(
        &fake.xtask(&["up", "--setup", "--dry-run"]),
        r#"setup, where missing: Docker Engine, Compose v2 and buildx (Debian packages), and the base image
would run: sh xtask/setup-debian
none: it runs, from the current sources and configuration
--- stderr
--- exit 0
"#,
    );
    snapshot(
        &fake.xtask(&["up", "--setup"]),
        r#"setup, where missing: Docker Engine, Compose v2 and buildx (Debian packages), and the base image
--- stderr
setup: run me as root
error: setting up this machine
  because: `sh xtask/setup-debian` exited with 7

hint: cargo xtask doctor
--- exit 7
"#,
    );
    assert_eq!(fake.log(), "", "nothing else is done on a machine that is not ready");
    fake.repo.write("xtask/setup-debian", "exit 0\n");
    fake.xtask(&["up", "--setup"]).ok();
}

#[test]
fn setup_is_refused_where_there_is_no_apt_get() {
    let mut fake = Fake::serving();
    fake.repo.set("PATH", &fake.repo.root.join("bin").display().to_string());
    for args in [&["up", "--setup"][..], &["up", "--setup", "--dry-run"]] {
        snapshot(
            &fake.xtask(args),
            r#"--- stderr
error: `--setup` is for Debian and Ubuntu only

hint: install Docker Desktop, or Docker Engine with Compose 2.24 or newer: docs.docker.com/engine/install
hint: cargo xtask up   # then, without --setup
--- exit 1
"#,
        );
    }
}

#[test]
fn up_fetches_missing_sources_and_goes_on_without_them() {
    let mut fake = Fake::serving();
    fake.without_sources();
    let upstream = fake.repo.root.join("upstream");
    fs_err::rename(&upstream, fake.repo.root.join("away")).unwrap();

    snapshot(
        &fake.xtask(&["up", "--dry-run"]),
        r#"would run: git -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=30 submodule update --init --depth 1 --progress backend/Step1X-3D
none: it runs, from the current sources and configuration
--- stderr
--- exit 0
"#,
    );
    let said = fake.xtask(&["up"]);
    assert!(
        said.stderr.contains("hint: git submodule update --init backend/Step1X-3D"),
        "{}",
        said.text()
    );
    assert!(said.ok().contains("none: it runs"));
    fs_err::rename(fake.repo.root.join("away"), &upstream).unwrap();
    let said = fake.xtask(&["up", "--dry-run"]).ok();
    assert!(said.contains("submodule update"), "{said}");
    fake.xtask(&["up", "--dry-run"]).ok();
    Run::of(fake.repo.command(env!("CARGO_BIN_EXE_xtask"), &["up"]));
    assert!(fake.repo.root.join("backend/Step1X-3D/step1x3d_geometry/__init__.py").is_file());
    assert!(!fake.xtask(&["up", "--dry-run"]).stdout.contains("submodule"));
}
