//! `doctor` on every kind of broken machine, against a fake docker.

use crate::fake::{CONTAINER, Fake, PROBE};

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
            |f| f.answer("compose version*", 0, "Docker Compose version v2.20.3\n", ""),
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
