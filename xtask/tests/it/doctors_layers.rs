//! `doctor` on machines of which one layer broke, against a fake docker: one cause
//! shows as one fault.

use crate::{doctors::*, fake::*};

type Fault = fn(&mut Fake);

/// One fault shows as one ✗ with its remedy, and doctor ends with that.
#[track_caller]
fn one_fault(mut fake: Fake, fault: Fault, id: &str, message: &str, remedy: &str) {
    fault(&mut fake);
    let run = fake.xtask(&["doctor", "--json"]);
    assert_eq!(run.code, Some(1), "{id}: {}", run.text());
    let failed: Vec<_> =
        checks(&run).into_iter().filter(|check| check["status"] == "fail").collect();
    assert_eq!(failed.len(), 1, "one cause, one fault: {failed:#?}");
    assert_eq!(failed[0]["id"], id);
    assert!(failed[0]["message"].as_str().unwrap().contains(message), "{failed:#?}");
    assert!(failed[0]["remedy"].to_string().contains(remedy), "{failed:#?}");
    let text = fake.xtask(&["doctor"]).stdout;
    assert!(text.lines().last().unwrap().starts_with("next: "), "{text}");
    let wide = |line: &&str| {
        line.chars().count() > 80
            // A path may be longer than a line, where TMPDIR is.
            && line.split(' ').all(|word| word.chars().count() < 60)
            && !line.contains("-> ") && !line.starts_with("next: ")
    };
    assert_eq!(text.lines().filter(wide).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_layer_that_broke_fails_alone() {
    let faults: [(Fault, &str, &str, &str); 14] = [
        (
            |f| {
                f.answer(
                    INFO,
                    1,
                    "",
                    "permission denied while trying to connect to the Docker daemon socket",
                )
            },
            "engine",
            "no permission",
            "usermod -aG docker",
        ),
        (
            |f| f.answer("compose version", 0, "Docker Compose version v2.20.3\n", ""),
            "compose",
            "2.20.3 is too old",
            "cargo xtask up --setup",
        ),
        (
            |f| {
                f.every("compose", 1, "", "docker: 'compose' is not a docker command.\n");
            },
            "compose",
            "Compose 2.24 or newer is missing",
            "cargo xtask up --setup",
        ),
        (
            |f| f.answer("buildx version", 1, "", "docker: 'buildx' is not a docker command."),
            "buildx",
            "is missing",
            "cargo xtask up --setup",
        ),
        (
            |f| {
                f.answer(
                    CONFIG,
                    1,
                    "",
                    "env file /r/.env not found: stat /r/.env: no such file or directory\n",
                )
            },
            "env",
            "the compose file needs it",
            "compose file names what it must hold",
        ),
        (
            |f| {
                f.answer(CONFIG, 0, r#"{"name":"p","services":{"api":{}}}"#, "");
                let named = format!("{CONFIG} backend");
                f.answer(&named, 1, "", "no such service: backend\n");
            },
            "compose-file",
            "no service `backend`",
            "name the service",
        ),
        (
            |f| fs_err::remove_file(f.repo.root.join("backend/requirements.txt")).unwrap(),
            "requirements",
            "backend/requirements.txt",
            "git checkout",
        ),
        (|f| f.no_image(), "image", "not built yet", "cargo xtask up"),
        (
            |f| container(f, "1", &[("\"healthy\"", "\"unhealthy\"")]),
            "container",
            "unhealthy",
            "cargo xtask up",
        ),
        (|f| container(f, "1", &[]), "health", "nothing answers", "docker compose logs"),
        (
            |f| container(f, &serve("503 Service Unavailable", "{}"), &[]),
            "health",
            "503",
            "docker compose logs",
        ),
        (
            |f| {
                f.python(127, "", "OCI runtime exec failed: exec failed: unable to start container process: exec: \"python3\": executable file not found in $PATH: unknown\n")
            },
            "interpreter",
            "python3 did not run (exit code 127)",
            "cargo xtask full",
        ),
        (
            |f| f.python(0, &PROBE.replace("2.5.1", "2.6.0"), ""),
            "torch",
            "torch is 2.6.0+cu124, pinned is 2.5.1",
            "cargo xtask full",
        ),
        (
            |f| f.python(0, &PROBE.replace("true}", "false}"), ""),
            "torch",
            "needs torch 2.4 or newer",
            "cargo xtask full",
        ),
    ];
    for (fault, id, message, remedy) in faults {
        one_fault(on_cpu(), fault, id, message, remedy);
    }
}

#[test]
fn the_layer_of_the_gpu_that_broke_fails_alone() {
    let faults: [(Fault, &str, &str, &str); 6] = [
        (|f| f.card("0x10de\n"), "gpu-driver", "no NVIDIA driver is loaded", "Install it"),
        (
            |f| {
                f.answer(&try_gpus("all", "sha256:a"), 125, "", "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].\n")
            },
            "gpu-engine",
            "cannot hand one out",
            "nvidia-container-toolkit",
        ),
        (
            |f| f.python(0, &GPU_PROBE.replace("\"cuInit\": 0", "\"cuInit\": 999"), ""),
            "gpu-init",
            "whatever nvidia-smi says",
            "modprobe nvidia_uvm",
        ),
        (
            |f| f.python(0, &GPU_PROBE.replace("[[8, 0]]", "[[12, 0]]"), ""),
            "gpu-arch",
            "no code for this GPU",
            "torch 2.7",
        ),
        (
            |f| {
                f.python(
                    0,
                    &GPU_PROBE
                        .replace("+cu124", "+cpu")
                        .replace("\"cuda\": \"12.4\"", "\"cuda\": null"),
                    "",
                )
            },
            "cuda-build",
            "for the CPU alone",
            "cargo xtask full",
        ),
        (
            |f| container(f, &serve("200 OK", ON_THE_CPU), &[]),
            "gpu-request",
            "created without the GPU",
            "cargo xtask restart",
        ),
    ];
    for (fault, id, message, remedy) in faults {
        one_fault(on_gpu(), fault, id, message, remedy);
    }
}

#[test]
fn a_service_that_still_has_its_gpu_is_left_alone_where_the_engine_lost_it() {
    let mut fake = on_gpu();
    let refusal = "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown.\n";
    fake.answer(&try_gpus("all", "sha256:a"), 125, "", refusal);
    let recreate = " DRY-RUN MODE -  Container p-backend-1  Recreate\n";
    fake.answer(&compose(DRIFT), 0, recreate, "");
    let run = fake.xtask(&["doctor", "container", "gpu"]);
    run.fails(
        1,
        &["✓ container      running and healthy", "✗ driver         the NVIDIA driver was"],
    );
    assert_eq!(run.stdout.matches('✗').count(), 1, "{}", run.text());
}

#[test]
fn the_engine_is_asked_for_the_gpus_that_the_service_asks_for() {
    let mut fake = on_gpu();
    let build = fake.repo.root.join("backend");
    let config = format!(
        r#"{{"name":"p","services":{{"backend":{{"build":{{"context":"{}","dockerfile":"Dockerfile"}},"gpus":[{{"count":2}}]}}}}}}"#,
        build.display()
    );
    fake.answer(CONFIG, 0, &config, "");
    fake.no_container();
    fake.python(1, "", "service \"backend\" is not running\n");
    fake.answer(&try_gpus("2", "sha256:a"), 125, "", "docker: Error response from daemon: nvidia-container-cli: device error: 1: unknown device: unknown.\n");
    fake.python_in_image("", 0, PROBE, "");
    let run = fake.xtask(&["doctor"]);
    run.fails(1, &["✗ GPU access", "device error: 1", "✓ Python         3.11.2"]);
    assert_eq!(run.stdout.matches('✗').count(), 1, "{}", run.text());
    // A container that does not start says nothing about the image.
    fake.answer(&try_gpus("2", "sha256:a"), 0, "", "");
    fake.python_in_image("--gpus 2", 125, "", "docker: Error response from daemon: x\n");
    fake.xtask(&["doctor"]).fails(1, &["? Python         python3 did not run (exit code 125)"]);
}

#[test]
fn a_file_that_takes_the_gpu_away_is_named() {
    let mut fake = on_gpu();
    fake.repo.set("COMPOSE_FILE", "docker-compose.yml:docker-compose.cpu.yml");
    fake.answer(CONFIG, 0, r#"{"name":"p","services":{"backend":{}}}"#, "");
    fake.xtask(&["doctor", "gpu"]).fails(
        1,
        &["✗ GPU request    COMPOSE_FILE names docker-compose.cpu.yml", "next: Take that file out"],
    );
}

#[test]
fn an_image_without_a_shell_hides_no_card() {
    let mut fake = on_gpu();
    fake.answer(&format!("{LOOK_IN_CONTAINER} {LOOK}"), 127, "", "no sh\n");
    fake.answer(&look_in_image("sha256:a"), 127, "", "no sh\n");
    fake.answer(SOME_IMAGES, 0, "sha256:other 9MB\n", "");
    fake.answer(&look_in_image("sha256:other"), 0, GPU_MACHINE, "");
    fake.xtask(&["doctor", "gpu-card"]).ok();
    assert!(fake.log().contains("--entrypoint sh sha256:other"), "{}", fake.log());
}

#[test]
fn an_env_file_that_is_no_text_is_named() {
    let fake = on_cpu();
    fs_err::write(fake.repo.root.join(".env"), b"A=\xff\xfe\n").unwrap();
    let run = fake.xtask(&["doctor"]);
    run.fails(
        1,
        &["✓ Docker CLI", "✗ .env           .env cannot be read", "next: Save .env as UTF-8"],
    );
    assert_eq!(run.stdout.matches('✗').count(), 1, "{}", run.text());
}

#[test]
fn a_port_that_another_program_holds() {
    let mut fake = on_cpu();
    let config = r#"{"name":"p","services":{"backend":{"image":"p-backend","ports":[{"host_ip":"127.0.0.1","published":"8000"}]}}}"#;
    fake.answer(CONFIG, 0, config, "");
    fake.no_container();
    fake.python_in_image("", 0, PROBE, "");
    fake.answer(&try_port("127.0.0.1:8000", "sha256:a"), 125, "", "docker: Error response from daemon: driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:8000 failed: port is already allocated.\n");
    fake.xtask(&["doctor"]).fails(
        1,
        &[
            "✗ port           the port that the service publishes is taken",
            "– container      skipped: port",
            "docker ps --filter publish=8000",
            "next: End what holds it",
        ],
    );
    fake.answer(&try_port("127.0.0.1:8000", "sha256:a"), 0, "", "");
    fake.xtask(&["doctor"]).fails(
        1,
        &["✓ port           127.0.0.1:8000 is free", "✗ container      there is no container"],
    );
}

#[test]
fn a_service_that_is_down_is_probed_with_the_gpus_it_asks_for() {
    let mut fake = on_gpu();
    fake.repo.write(".env", "CUDA_VISIBLE_DEVICES=0\n");
    fake.no_container();
    fake.python(1, "", "service \"backend\" is not running\n");
    fake.answer(&look_in_image("sha256:a"), 0, GPU_MACHINE, "");
    fake.python_in_image("--gpus all", 0, GPU_PROBE, "");
    let run = fake.xtask(&["doctor"]);
    run.fails(
        1,
        &[
            "✗ container      there is no container",
            "✓ kernel         a matrix product",
            "– /dev/shm       skipped: container",
        ],
    );
    assert!(fake.log().contains("--name xtask-"), "{}", fake.log());
    // Where they are refused, that is the fault, and Python is asked without.
    let refusal = "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].\n";
    fake.answer(&try_gpus("all", "sha256:a"), 125, "", refusal);
    fake.python_in_image("", 0, PROBE, "");
    fake.xtask(&["doctor"]).fails(
        1,
        &["! container      it cannot be started", "✓ torch          2.5.1+cu124", "✗ GPU access "],
    );
}
