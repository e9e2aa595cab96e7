//! Tests of `doctor/checks/project`.

use super::*;
use crate::docker::{Builder, Container, Machine, Project};
use crate::doctor::checks::judge;
use crate::doctor::facts::stated::read;
use crate::image::requirements;

fn project() -> Project {
    Project::parse(r#"{"name":"p","services":{"backend":{"ports":[{"host_ip":"127.0.0.1","published":"8000"}]}}}"#).unwrap()
}

#[test]
fn env_files_of_every_kind() {
    type Files = (Option<Names>, Option<Names>);
    let names = |names: &[(&str, bool)]| -> Names {
        names.iter().map(|(name, empty)| ((*name).to_owned(), *empty)).collect()
    };
    let file = |own: Option<&[(&str, bool)]>, example: &[&str]| -> Files {
        let example = example.iter().map(|name| ((*name).to_owned(), false)).collect();
        (own.map(names), Some(example))
    };
    let no_example: Files = (None, None);
    let with = |(own, example): Files| {
        Facts::none().with_env_names(Ok(own)).with_example_names(Ok(example))
    };
    let says = "env file /r/.env not found: stat /r/.env: no such file or directory";
    let not_found: Trouble = Failure::of_command("docker compose config", 1, says).into();
    const COPY: Option<&str> = Some("cp .env.example .env");
    for (files, trouble, status, message, step) in [
        (file(None, &[]), None, Status::Ok, "none, and none is needed", None),
        (no_example.clone(), None, Status::Ok, "none, and none is needed", None),
        (file(None, &["A"]), None, Status::Warn, "missing; .env.example sets A", COPY),
        (file(None, &[]), Some(not_found.clone()), Status::Fail, "the compose file needs it", COPY),
        (
            no_example,
            Some(not_found),
            Status::Fail,
            "the compose file needs it",
            Some("Write it; the compose file names what it must hold."),
        ),
        (file(None, &[]), Some("other".into()), Status::Ok, "none, and none is needed", None),
        (file(Some(&[("A", false)]), &["A"]), None, Status::Ok, "1 setting", None),
        (file(Some(&[("A", false), ("B", true)]), &[]), None, Status::Ok, "2 settings", None),
        (
            file(Some(&[("A", false)]), &["A", "B"]),
            None,
            Status::Warn,
            "lacks B, which",
            Some("diff .env.example .env"),
        ),
        (
            file(Some(&[(VISIBLE, true)]), &[]),
            None,
            Status::Warn,
            "empty, which hides every GPU",
            Some(
                "Remove it, or name GPUs in it; if the compose file passes it on, an unset variable counts as empty.",
            ),
        ),
        (file(Some(&[(VISIBLE, false)]), &[]), None, Status::Ok, "1 setting", None),
    ] {
        let facts = with(files.clone());
        let facts = facts.with_project(trouble.map_or(Ok(project()), Err));
        let finding = judge(env, &facts);
        assert_eq!((finding.status, finding.next_step()), (status, step), "{files:?}");
        assert!(finding.message.contains(message), "{}", finding.message);
    }
    let facts = || with(file(Some(&[]), &[]));
    let passed_on = Project { visible_devices: Some(String::new()), ..project() };
    assert_eq!(judge(env, &facts().with_project(Ok(passed_on))).status, Status::Warn);
    let wrong = judge(env, &facts().with_requested(Err("XTASK_DEVICE is `secret`".into())));
    assert_eq!(
        (wrong.status, &*wrong.message),
        (Status::Fail, "XTASK_DEVICE is none of gpu, cpu and auto")
    );
    assert!(wrong.remedy.is_some());
    let unreadable = judge(env, &Facts::none().with_env_names(Err("not UTF-8".into())));
    assert_eq!(unreadable.status, Status::Fail);
}

#[test]
fn env_files_are_read_without_their_values() {
    let root = std::env::temp_dir().join(format!("xtask-doctor-env-{}", std::process::id()));
    fs_err::create_dir_all(&root).unwrap();
    assert_eq!(names(&root, ".env").unwrap(), None);
    fs_err::write(root.join(".env"), "A=1\nB=\n").unwrap();
    let own = vec![("A".to_owned(), false), ("B".to_owned(), true)];
    assert_eq!(names(&root, ".env").unwrap(), Some(own));
    fs_err::write(root.join(".env.example"), b"\xff").unwrap();
    let error = names(&root, ".env.example").unwrap_err();
    assert!(error.to_string().starts_with(".env.example cannot be read"), "{error}");
    fs_err::remove_dir_all(root).unwrap();
}

#[test]
fn sources_are_there_missing_or_of_no_known_origin() {
    let root = std::env::temp_dir().join(format!("xtask-doctor-src-{}", std::process::id()));
    fs_err::create_dir_all(root.join(sources::PATH)).unwrap();
    let found = || judge(super::sources, &Facts::about(&root));
    assert_eq!(found().status, Status::Skipped);
    fs_err::write(root.join(".gitmodules"), "").unwrap();
    let missing = found();
    assert_eq!((missing.status, missing.fix), (Status::Warn, Some(FETCH)));
    assert!(missing.next_step().unwrap().starts_with("git submodule update"));
    fs_err::write(root.join(sources::PATH).join("x"), "").unwrap();
    assert_eq!(found(), Finding::ok("in backend/Step1X-3D"));
    fs_err::remove_dir_all(root).unwrap();
}

#[test]
fn compose_files_and_requirements() {
    let parsed = judge(compose_file, &Facts::none().with_project(Ok(project())));
    assert_eq!(parsed, Finding::ok("project `p` has `backend`"));
    let wrong = Facts::none().with_project(Err("no service".into()));
    assert_eq!(judge(compose_file, &wrong).status, Status::Fail);
    let pins = |text: &str| {
        let facts = Facts::none().with_pins(Ok(requirements::pins(text)));
        judge(super::requirements, &facts)
    };
    assert_eq!(pins("torch==2.5.1\nnumpy==1.26.4"), Finding::ok("torch 2.5.1, 2 pins in all"));
    let none = pins("numpy==1.26.4");
    assert_eq!((none.status, none.remedy.is_some()), (Status::Warn, true));
    let unreadable = Facts::none().with_pins(Err("unreadable".into()));
    assert_eq!(judge(super::requirements, &unreadable).status, Status::Fail);
}

#[test]
fn a_port_is_free_ours_or_taken() {
    let running = |ip: &str, port: u16| -> Option<Container> {
        let binding = format!(r#"{{"8000/tcp":[{{"HostIp":"{ip}","HostPort":"{port}"}}]}}"#);
        read(&format!(
            r#"{{"State":{{"Status":"running"}},"HostConfig":{{"PortBindings":{binding}}}}}"#
        ))
    };
    let refused = |stderr: &str| {
        let failure = Failure::of_command("docker run", 125, stderr);
        Ok(Some(("127.0.0.1:8000".to_owned(), Trouble::from(failure))))
    };
    type Port = Option<(String, Trouble)>;
    let with = |container: Option<Container>, taken: Result<Port, Trouble>| {
        let facts = Facts::none().with_project(Ok(project())).with_container(Ok(container));
        judge(port, &facts.with_image(Ok(Some(read("{}")))).with_port(taken))
    };
    let ours = with(running("0.0.0.0", 8000), Err("never asked".into()));
    assert_eq!((ours.status, ours.message.contains("our container")), (Status::Ok, true));
    assert_eq!(with(None, Ok(None)).message, "127.0.0.1:8000 is free");
    let holder = Some("End what holds it, or name a free port by BACKEND_PORT in .env.");
    for (container, answer, status, step) in [
        (
            None,
            refused("Bind for 127.0.0.1:8000 failed: port is already allocated"),
            Status::Fail,
            holder,
        ),
        // Ours publishes another port than the compose file wants.
        (running("127.0.0.1", 18200), refused("address already in use"), Status::Fail, holder),
        (
            None,
            refused("listen tcp4 203.0.113.9:8000: bind: cannot assign requested address"),
            Status::Fail,
            Some("cargo xtask up"),
        ),
        (None, refused("something new"), Status::Error, None),
        (None, Err("docker gave no answer".into()), Status::Error, None),
    ] {
        let finding = with(container, answer);
        assert_eq!((finding.status, finding.next_step()), (status, step), "{finding:?}");
        if step == holder {
            let commands = finding.remedy.unwrap().commands;
            assert!(commands[0].starts_with("docker ps --filter publish=8000 "));
        }
    }
    let none = Project { ports: Vec::new(), ..project() };
    let facts = Facts::none().with_project(Ok(none)).with_container(Ok(None));
    assert_eq!(judge(port, &facts).status, Status::Skipped);
}

#[test]
fn little_disk_is_a_fault_only_before_the_first_build() {
    let with = |free: Option<u64>, has_image: bool| {
        let machine = Machine { free, ..Machine::default() };
        let image = if has_image { Some(read("{}")) } else { None };
        let facts = Facts::none().with_machine(Ok(Some(machine))).with_image(Ok(image));
        judge(disk, &facts)
    };
    let enough = with(Some(20_000_000_000), false);
    assert_eq!((enough.status, enough.remedy), (Status::Ok, None));
    assert_eq!(with(Some(19_999_999_999), false).status, Status::Fail);
    let finding = with(Some(19_999_999_999), true);
    assert_eq!(finding.status, Status::Warn);
    assert!(finding.next_step().unwrap().starts_with("A full build needs about 20 GB."));
    assert_eq!(finding.expected.as_deref(), Some("20.0 GB for a full build"));
    let keeps = |keeps: &str| Builder {
        driver: "docker".into(),
        keeps: Some(keeps.into()),
        ..Builder::default()
    };
    let machine = Machine { free: Some(1), ..Machine::default() };
    let facts = Facts::none().with_machine(Ok(Some(machine))).with_builder(Ok(keeps("24.21GiB")));
    let evidence = judge(disk, &facts).evidence;
    assert!(
        evidence[0].starts_with("BuildKit keeps up to 24.21GiB of build cache"),
        "{evidence:?}"
    );
    assert_eq!(with(None, false).status, Status::Skipped);
    assert_eq!(judge(disk, &Facts::none().with_machine(Ok(None))).status, Status::Skipped);
}

#[test]
fn memory_is_the_engines() {
    let with = |bytes: u64| {
        let engine = read(&format!(r#"{{"MemTotal": {bytes}}}"#));
        judge(memory, &Facts::none().with_engine(Ok(engine)))
    };
    let [enough, little, unknown] = [8_000_000_000, 7_999_999_999, 0].map(with);
    assert_eq!(enough.status, Status::Ok);
    assert_eq!((little.status, little.remedy.is_some()), (Status::Warn, true));
    assert_eq!(little.expected.as_deref(), Some("8.0 GB or more"));
    assert_eq!(unknown.status, Status::Skipped);
}
