//! Tests of `dockerel`.

use super::*;

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_container_in_every_state() {
    let c: Container = read(
        r#"{"Id":"c1","Name":"/p-backend-1","Image":"sha256:a","RestartCount":3,
        "State":{"Status":"restarting","Pid":7,"ExitCode":3,"StartedAt":"2026-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"unhealthy"}},
        "Config":{"Image":"p-backend","Labels":{"com.docker.compose.project":"p"},"Healthcheck":{"Test":["CMD-SHELL","curl -f x"],"Timeout":3000000000}},
        "HostConfig":{"PortBindings":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]},"DeviceRequests":null},
        "NetworkSettings":{"Ports":{"9/tcp":null,"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"},{"HostIp":"::1","HostPort":"8000"}]}}}"#,
    );
    assert_eq!((c.name(), c.project(), &*c.image_name()), ("p-backend-1", "p", "p-backend:latest"));
    assert!(c.is("restarting") && !c.is("running"));
    assert_eq!((c.state.exit_code, c.restart_count, c.state.pid), (3, 3, 7));
    assert_eq!(c.health(), Some("unhealthy"));
    assert_eq!(c.addresses(), ["127.0.0.1:8000", "[::1]:8000"]);
    assert_eq!(c.requested_addresses(), ["127.0.0.1:8000"]);
    let (command, timeout) = c.healthcheck().unwrap();
    assert_eq!(
        (command.join(" "), timeout),
        ("/bin/sh -c curl -f x".into(), Duration::from_secs(3))
    );
    assert_eq!(read::<Vec<Container>>("[]"), []);
    let bare: Container = read(
        r#"{"State":{"Health":{"Status":"none"}},"Config":{"Labels":null,"Healthcheck":null}}"#,
    );
    assert_eq!((bare.health(), bare.healthcheck(), bare.project()), (None, None, ""));
}

#[test]
fn healthcheck_forms() {
    for (check, want) in [
        (r#"{"Test":["CMD","true","x"]}"#, Some("true x")),
        (r#"{"Test":["CMD-SHELL","true x"],"Timeout":0}"#, Some("/bin/sh -c true x")),
        (r#"{"Test":["NONE"]}"#, None),
        (r#"{"Test":null}"#, None),
        ("null", None),
    ] {
        let c: Container = read(&format!(r#"{{"Config":{{"Healthcheck":{check}}}}}"#));
        let got = c.healthcheck();
        assert_eq!(got.as_ref().map(|(command, _)| command.join(" ")).as_deref(), want);
        assert!(got.is_none_or(|(_, timeout)| timeout == Duration::from_secs(30)));
    }
}

#[test]
fn images_that_differ_in_composes_labels_only_run_alike() {
    let image = |labels: &str, layer: &str, cmd: &str| -> Image {
        read(&format!(
            r#"{{"Id":"i","RepoTags":["a:1"],"Config":{{"Cmd":["{cmd}"],"Labels":{labels}}},"RootFS":{{"Layers":["{layer}"]}}}}"#
        ))
    };
    let old = image(r#"{"com.docker.compose.version":"2.26.1"}"#, "l1", "x");
    assert!(old.runs_like(&image(r#"{"com.docker.compose.version":"5.0.0"}"#, "l1", "x")));
    assert!(old.runs_like(&image("null", "l1", "x")));
    assert!(!old.runs_like(&image(r#"{"mine":"1"}"#, "l1", "x")));
    assert!(!old.runs_like(&image("null", "l2", "x")));
    assert!(!old.runs_like(&image("null", "l1", "y")));
    assert_eq!(image(r#"{"mine":"1"}"#, "l1", "x").label("mine"), Some("1"));
    assert_eq!(read::<Image>(r#"{"Config":null}"#).label("mine"), None);
}

#[test]
fn a_dry_run_is_read_for_what_it_would_recreate() {
    let said = " DRY-RUN MODE -  Container p-db-1  Running\n DRY-RUN MODE -  Container p-backend-1  Recreate\n \
                DRY-RUN MODE -  Container p-backend-1  Recreated\n DRY-RUN MODE -  Container 5f_p-backend-1  Starting\n";
    assert_eq!(recreated(said), ["p-backend-1"]);
    assert!(recreated(" DRY-RUN MODE -  Container p-backend-1  Created\n").is_empty());
}

#[test]
fn a_container_has_gpus_in_one_of_several_ways() {
    for (host, want) in [
        (r#"{"DeviceRequests":null,"Runtime":"runc"}"#, false),
        (r#"{"DeviceRequests":[{"Driver":"nvidia","Count":-1}]}"#, true),
        (r#"{"DeviceRequests":[],"Runtime":"nvidia"}"#, true),
        (r#"{"Devices":[{"PathOnHost":"/dev/nvidia0"}]}"#, true),
        (r#"{"Devices":[{"PathOnHost":"/dev/dxg"}]}"#, true),
        (r#"{"Devices":[{"PathOnHost":"/dev/snd"}]}"#, false),
    ] {
        let c: Container = read(&format!(r#"{{"HostConfig":{host}}}"#));
        assert_eq!(c.has_gpus(), want, "{host}");
    }
}

#[test]
fn names_and_addresses_are_completed() {
    for (name, want) in [
        ("x", "x:latest"),
        ("x:1", "x:1"),
        ("registry:5000/x", "registry:5000/x:latest"),
        ("x@sha256:0", "x@sha256:0"),
    ] {
        assert_eq!(with_tag(name), want);
    }
    assert_eq!((address("::1", "80"), address("", "80")), ("[::1]:80".into(), ":80".into()));
}

#[test]
fn builders_are_read_with_what_they_keep() {
    let text =
        "Name:          ci\nDriver:        docker-container\n\nNodes:\nName:             ci0\n";
    let builder = |rules: &str| builder(&format!("{text}{rules}"));
    let want = Builder { name: "ci".into(), driver: "docker-container".into(), keeps: None };
    assert_eq!(builder(""), want);
    // buildx 0.13, and 0.29.
    let old =
        "GC Policy rule#0:\n Keep Duration: 48h0m0s\nGC Policy rule#1:\n Keep Bytes:    24.21GiB\n";
    assert_eq!(builder(old).keeps, None);
    let new = "GC Policy rule#3:\n Reserved Space: 24.21GiB\n Max Used Space: 188.1GiB\n Min Free Space: 47.5GiB\n";
    assert_eq!(builder(new).keeps.as_deref(), Some("188.1GiB"));
}

#[test]
fn build_cache_records_are_read() {
    let text = "ID:\t\ta\nMutable:\tfalse\nShared:\t\ttrue\nSize:\t\t7.29GB\nDescription:\tRUN echo Shared: x\n\n\
                ID:\t\tb\nParent:\t\ta,x\nShared:\t\tfalse\n\nShared:\t\t7.29GB\nTotal:\t\t7.3GB\n";
    let record = |id: &str, shared| CacheRecord { id: id.into(), shared };
    assert_eq!(build_cache(text), [record("a", true), record("b", false)]);
    assert!(build_cache("").is_empty());
    assert_eq!((freed(text), freed("")), (Some("7.3GB"), None));
}

#[test]
fn warnings_before_json_are_passed_over() {
    for said in ["{}", "time=\"x\" level=warning\n WARNING: {\n{}\n"] {
        assert_eq!(from_json::<Value>(said, "x").unwrap(), serde_json::json!({}), "{said}");
    }
    assert_eq!(from_json::<Vec<Image>>("warning\n[]", "x").unwrap(), []);
    let error = from_json::<Value>("no answer", "docker x").unwrap_err();
    assert_eq!(crate::error::kind(&error), crate::error::Kind::NoAnswer);
    assert!(format!("{error:#}").starts_with("reading what `docker x` printed: "));
}
