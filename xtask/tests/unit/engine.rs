//! Tests of `docker/engine`.

use super::*;
use crate::error;

fn read(json: &str) -> Engine {
    serde_json::from_str(json).unwrap()
}

#[test]
fn an_engine_describes_itself() {
    for (json, gpus, wsl, containerd) in [
        (r#"{"ID":"x","Runtimes":{"runc":{}},"KernelVersion":"6.1.0"}"#, false, false, false),
        (r#"{"Runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}"#, true, false, false),
        (r#"{"DiscoveredDevices":[{"Source":"cdi","ID":"nvidia.com/gpu=0"}]}"#, true, false, false),
        (r#"{"DiscoveredDevices":[{"Source":"cdi","ID":"x.com/fpga=0"}]}"#, false, false, false),
        (
            r#"{"DiscoveredDevices":null,"KernelVersion":"5.15.90.1-microsoft-standard-WSL2"}"#,
            false,
            true,
            false,
        ),
        (
            r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#,
            false,
            false,
            true,
        ),
        (r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#, false, false, false),
    ] {
        let engine: Engine = read(json);
        let got = (engine.lists_gpus(), engine.is_wsl(), engine.has_containerd_store());
        assert_eq!(got, (gpus, wsl, containerd), "{json}");
    }
}

#[test]
fn the_clis_plugins_come_with_the_engine() {
    let engine: Engine = read(
        r#"{"ID":"x","ClientInfo":{"Plugins":[{"Name":"compose","Version":"2.26.1-4"},{"Name":"x","Err":"y"}]}}"#,
    );
    assert_eq!(engine.plugin("compose"), Some("2.26.1-4"));
    assert_eq!((engine.plugin("x"), engine.plugin("buildx")), (None, None));
}

#[test]
fn engines_are_known_by_name() {
    for (json, want) in [
        // As `docker info` says of Podman 4.3.1 and of Docker Engine 28.5.
        (
            r#"{"OperatingSystem":"debian","Plugins":{"Log":["k8s-file","none","journald"]}}"#,
            Some("Podman"),
        ),
        (
            r#"{"OperatingSystem":"Debian GNU/Linux 12 (bookworm)","Name":"vm","Plugins":{"Log":["json-file","local"]},"SecurityOptions":["name=seccomp,profile=builtin"]}"#,
            None,
        ),
        (r#"{"OperatingSystem":"Docker Desktop","Name":"docker-desktop"}"#, Some("Docker Desktop")),
        (r#"{"OperatingSystem":"OrbStack","Name":"orbstack"}"#, Some("OrbStack")),
        (r#"{"OperatingSystem":"Rancher Desktop WSL Distribution"}"#, Some("Rancher Desktop")),
        (r#"{"OperatingSystem":"Ubuntu 24.04 LTS","Name":"colima"}"#, Some("Colima")),
        (
            r#"{"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}"#,
            Some("rootless Docker"),
        ),
        (r#"{"SecurityOptions":null}"#, None),
    ] {
        assert_eq!(read(json).product(), want, "{json}");
    }
}

#[test]
fn a_platform_is_known_by_any_of_its_names() {
    for (architecture, runs, not) in [
        ("x86_64", ["linux/amd64", "linux/amd64/v2", "amd64", "linux/x86_64"], "linux/arm64"),
        ("aarch64", ["linux/arm64", "linux/arm64/v8", "arm64", "linux/aarch64"], "linux/amd64"),
        ("armv7l", ["linux/arm/v7", "linux/arm", "arm", "armhf"], "linux/arm64"),
    ] {
        let engine = read(&format!(r#"{{"OSType":"linux","Architecture":"{architecture}"}}"#));
        for platform in runs {
            assert!(engine.runs(platform), "{architecture}: {platform}");
        }
        assert!(!engine.runs(not), "{architecture}: {not}");
    }
}

#[test]
fn what_is_too_old_is_named() {
    let engine = |version: &str, compose: &str, buildx: &str| {
        let plugins = format!(
            r#"[{{"Name":"compose","Version":"{compose}"}},{{"Name":"buildx","Version":"{buildx}"}}]"#
        );
        read(&format!(r#"{{"ServerVersion":"{version}","ClientInfo":{{"Plugins":{plugins}}}}}"#))
    };
    for (version, compose, buildx, want) in [
        ("20.10.24+dfsg1", "2.26.1-4", "0.13.1+ds1", None),
        ("28.5.2+dfsg4", "v2.40.3", "v0.29.1", None),
        ("29.0.0", "5.0.0-desktop.1", "v0.30.1-desktop.1", None),
        ("20.10", "2.24.0", "v0.12.0", None),
        ("dev", "dev", "", None),
        (
            "19.03.15",
            "2.26.1",
            "v0.13.1",
            Some("Docker Engine 19.03.15 is too old: 20.10 or newer is needed"),
        ),
        (
            "26.1.5",
            "2.23.9",
            "v0.13.1",
            Some("Docker Compose 2.23.9 is too old: 2.24 or newer is needed"),
        ),
        (
            "26.1.5",
            "1.29.2",
            "v0.13.1",
            Some("Docker Compose 1.29.2 is too old: 2.24 or newer is needed"),
        ),
        ("26.1.5", "2.26.1", "v0.11.2", Some("buildx v0.11.2 is too old: 0.12 or newer is needed")),
    ] {
        let error = engine(version, compose, buildx).check().err();
        assert_eq!(error.map(|error| error.to_string()).as_deref(), want);
    }
}

#[test]
fn podman_is_refused_with_what_to_use_instead() {
    let podman = read(r#"{"ServerVersion":"4.3.1","Plugins":{"Log":["k8s-file"]}}"#);
    let text = error::render(&podman.check().unwrap_err().into());
    assert_eq!(
        text,
        "error: the engine is Podman 4.3.1, which is not supported

hint: use Docker Engine or Docker Desktop: docs.docker.com/engine/install
hint: docker context ls   # the engines that are known; then: docker context use NAME
hint: unset DOCKER_HOST   # it wins over the context
"
    );
}
