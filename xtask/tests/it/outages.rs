//! Faults of the machine: an engine that ends, a disk that fills, permissions
//! that are lacking. Each on an engine of its own, which the test may break.

use std::os::unix::{
    fs::{MetadataExt as _, PermissionsExt},
    process::CommandExt as _,
};

use crate::{
    common::{self, APP, DOCKERFILE, Run},
    engine::Engine,
    matrix::Matrix,
    service::{Service, need},
};

/// A user who is not root and owns nothing.
const NOBODY: u32 = 65534;

#[test]
fn faults_of_the_engine() {
    let mut engine = need!(Engine::start(700));
    let mut m = Matrix::new(need!(Service::serving_on(&engine)));
    let same = m.service.inspect(&m.service.container(), "{{.Id}} {{.Image}}");
    let comes_back = |m: &mut Matrix, engine: &mut Engine| {
        engine.start_again();
        m.service.wait_until("it serves again", || m.answers());
        assert_eq!(m.service.inspect(&m.service.container(), "{{.Id}} {{.Image}}"), same);
        m.before = m.service.fingerprint();
    };
    engine.stop("TERM");
    let commands = ["up", "restart", "fast", "full", "rollback", "status", "doctor"];
    let runs = commands.map(|command| (command, m.service.xtask(&[command])));
    comes_back(&mut m, &mut engine);
    for (command, run) in runs {
        if command == "doctor" {
            // What doctor finds is output, not an error.
            run.fails(1, &["✗ engine", "does not answer", "next: sudo systemctl start docker"]);
            m.note("the engine is stopped", command, &run);
        } else {
            m.refused(
                "the engine is stopped",
                &[command],
                &run,
                &["the Docker engine does not answer", "hint: sudo systemctl start docker"],
            );
        }
    }

    // The quotes keep the word out of the line that names the step.
    m.service.write("backend/Dockerfile", &format!("{DOCKERFILE}RUN echo be''gun; sleep 60\n"));
    for (signal, fault) in
        [("TERM", "the engine is stopped in a build"), ("KILL", "the engine is killed in a build")]
    {
        for command in ["fast", "full"] {
            let xtask = m.service.start(&[command]);
            m.service.wait_until("it builds", || xtask.says("begun"));
            engine.stop(signal);
            let run = xtask.end();
            comes_back(&mut m, &mut engine);
            m.refused(fault, &[command], &run, &["stopped during the command", "hint: "]);
        }
    }
    m.service.write("backend/Dockerfile", DOCKERFILE);

    // Compose has stopped the old container when the engine goes: nothing could
    // go on, and the next `up` finishes what was begun.
    m.service.write("backend/app.sh", &APP.replace("'exit 0'", "'echo ending; sleep 3; exit 0'"));
    m.works("a service that takes its time to end", &["fast"]);
    let old = m.service.container();
    m.service.write(".env", "FOO=1\n");
    let xtask = m.service.start(&["up"]);
    m.service.wait_until("it ends", || m.service.docker(&["logs", &old]).contains("ending"));
    engine.stop("KILL");
    let run = xtask.end();
    engine.start_again();
    assert!(run.code != Some(0) && run.stderr.contains("hint: "), "{}", run.text());
    m.works("after the engine was killed in a swap", &["up"]);
    assert_eq!(m.service.inside(&["printenv", "FOO"]), "1");
    m.print("Faults of the engine");
}

#[test]
fn faults_of_the_disk() {
    let engine = need!(Engine::start(600));
    let mut m = Matrix::new(need!(Service::serving_on(&engine)));
    let fills = format!("{DOCKERFILE}RUN head -c 700M /dev/zero > /big\n");
    m.service.write("backend/Dockerfile", &fills);
    m.refuses(
        "the disk fills up in a build",
        &["fast", "full", "up"],
        &["the disk of the engine's machine is full", "hint: docker system df"],
    );
    m.service.write("backend/Dockerfile", DOCKERFILE);
    m.works("what did not fit is gone again", &["up"]);
    m.print("Faults of the disk");
}

#[test]
fn faults_of_permission() {
    let engine = need!(Engine::start(700));
    let mut m = Matrix::new(need!(Service::serving_on(&engine)));
    // Where anybody can run it, which a target directory need not be.
    let open = |name: &str| m.service.root.parent().unwrap().join(name);
    let (xtask, home) = (open("xtask"), open("home"));
    fs_err::copy(env!("CARGO_BIN_EXE_xtask"), &xtask).unwrap();
    fs_err::create_dir(&home).unwrap();
    fs_err::set_permissions(&home, PermissionsExt::from_mode(0o777)).unwrap();
    m.service.set("HOME", &home.display().to_string());
    // As nobody's own configuration, which buildx writes to.
    if let Some(config) = m.service.env.iter().find(|(key, _)| key == "DOCKER_CONFIG") {
        let copy = format!(
            "mkdir -m 777 '{0}/.docker' && cp -R '{1}/cli-plugins' '{0}/.docker/'",
            home.display(),
            config.1
        );
        assert_eq!(Run::of(m.service.command("sh", &["-c", &copy])).code, Some(0));
        m.service.env.retain(|(key, _)| key != "DOCKER_CONFIG");
    }
    let group = fs_err::metadata(engine.socket()).unwrap().gid();
    let as_nobody = |service: &Service, group: u32, command: &str| {
        let mut xtask = service.command(&xtask, &[command]);
        Run::of({
            xtask.uid(NOBODY).gid(group);
            xtask
        })
    };
    for command in ["up", "restart", "fast", "full", "rollback", "status"] {
        let run = as_nobody(&m.service, NOBODY, command);
        m.refused(
            "no permission to use the engine",
            &[command],
            &run,
            &["no permission to talk to the Docker engine", "hint: sudo usermod -aG docker"],
        );
    }
    let requirements = m.service.root.join("backend/requirements.txt");
    fs_err::set_permissions(&requirements, PermissionsExt::from_mode(0o000)).unwrap();
    for command in ["up", "restart", "fast", "full", "status"] {
        let run = as_nobody(&m.service, group, command);
        m.refused("requirements.txt may not be read", &[command], &run, &["Permission denied"]);
    }
    fs_err::set_permissions(&requirements, PermissionsExt::from_mode(0o644)).unwrap();
    let _ = fs_err::remove_dir_all(m.service.root.join("target"));
    for command in ["status", "restart", "full"] {
        let run = as_nobody(&m.service, group, command);
        assert_eq!(run.code, Some(0), "{}", run.text());
        m.note("a checkout that may not be written", command, &run);
    }
    assert!(!m.service.root.join("target").exists(), "it was not to be written");
    m.before = m.service.fingerprint();

    // Docker's plugins, out of sight in the eyes of one command.
    let format = "{{range .ClientInfo.Plugins}}{{.Path}} {{end}}";
    let plugins = m.service.docker(&["info", "--format", format]);
    let directory = plugins.split(' ').find_map(|path| path.strip_suffix("/docker-compose"));
    let hidden = format!(
        "for d in '{}' /usr/lib*/docker/cli-plugins; do mount -t tmpfs none \"$d\" || exit; done; \
         exec \"$@\"",
        directory.unwrap()
    );
    for command in ["up", "restart", "fast", "full", "status"] {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let args = ["--mount", "sh", "-c", &hidden, "sh", xtask, command];
        let run = Run::of(m.service.command("unshare", &args));
        m.refused(
            "no Compose but perhaps v1",
            &[command],
            &run,
            &["Docker Compose 2.24 or newer is missing", "hint: cargo xtask up --setup"],
        );
    }
    m.print("Faults of permission, and of what is installed");
}

#[test]
fn rounds_leave_nothing_behind() {
    let engine = need!(Engine::start(900));
    let service = need!(Service::serving_on(&engine));
    let volume = format!("{}_bystander", service.project);
    let bystander = format!("{}-bystander:1", service.project);
    service.docker(&["volume", "create", &volume]);
    service.docker(&["tag", crate::engine::BASE, &bystander]);
    service.write("output/mesh.glb", "a result");
    service.write(".env", "FOO=1\n");
    let round = |round: u32| {
        service.write("backend/app.sh", &format!("{}# round {round}\n", common::APP));
        // So large that ten of them would be seen on the disk.
        let layer = format!("RUN head -c 20M /dev/urandom > /large # {round}\n");
        service.write("backend/Dockerfile", &format!("{DOCKERFILE}{layer}"));
        service.xtask(&[if round % 8 == 7 { "full" } else { "fast" }]).ok();
    };
    let held = || {
        let count = |args: &[&str]| service.docker(args).lines().count();
        [
            count(&["images", "--all", "--format", "{{.ID}}"]),
            count(&["ps", "--all", "--format", "{{.ID}}"]),
            count(&["volume", "ls", "--quiet"]),
            count(&["network", "ls", "--quiet"]),
        ]
    };
    (0..8).for_each(round);
    let (before, used) = (held(), engine.disk_used());
    (8..32).for_each(round);
    assert_eq!(held(), before);
    let grown = engine.disk_used().saturating_sub(used);
    assert!(grown < 20_000_000, "24 rounds of 20 MB each took {grown} bytes of disk for good");
    assert_eq!(fs_err::read_to_string(service.root.join("output/mesh.glb")).unwrap(), "a result");
    assert_eq!(fs_err::read_to_string(service.root.join(".env")).unwrap(), "FOO=1\n");
    assert_ne!(service.inspect(&bystander, "{{.Id}}"), "", "an image of another project stays");
    let left = service.docker(&["volume", "rm", &volume]);
    assert_eq!(left, volume, "a volume of another project stays");
    assert!(!service.locked());
}
