//! Docker command lines, whole, and what it answers to them.

pub const CONTAINER: &str = r#"[{"Id":"c1","Name":"/p-backend-1","Image":"sha256:a","RestartCount":0,
"State":{"Status":"running","ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy"}},
"Config":{"Image":"p-backend","Labels":{"com.docker.compose.project":"p"},"Healthcheck":{"Test":["CMD","true"]}},"HostConfig":{"DeviceRequests":null,"Runtime":"runc"},
"NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}]"#;

pub const PROBE: &str = r#"{"python": "3.11.2", "executable": "/usr/bin/python3", "packages": {"torch": "2.5.1+cu124"}, "unmet": []}
{"nodes": {}, "wsl": false, "visible": {"kind": "unset"}, "shm": 2147483648}
{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}
{"devices": []}"#;

// Questions, by their whole command lines.
pub const INFO: &str = "info --format {{json .}}";
pub const CONFIG: &str = "compose config --format json";
pub const CONTAINERS: &str = "ps --all --quiet --no-trunc --filter label=com.docker.compose.service=backend --filter label=com.docker.compose.oneoff=False";
pub const CONTAINERS_OF_PROJECT: &str = "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=p --filter label=com.docker.compose.service=backend --filter label=com.docker.compose.oneoff=False";
pub const CONTAINER_INSPECT: &str = "container inspect c1";
pub const IMAGE_INSPECT: &str = "image inspect p-backend:latest";
pub const OWN_NAMES: &str = "image ls --no-trunc --filter reference=localhost/xtask/*-backend --format {{.Repository}}:{{.Tag}} {{.ID}}";
pub const SOME_IMAGES: &str = "image ls --no-trunc --format {{.ID}} {{.Size}}";
pub const BUILD_CACHE: &str = "buildx du --verbose --builder default";
pub const DRIFT: &str = "--progress plain --dry-run up --detach --no-build backend";

/// What a shell in a container is asked for about the machine.
pub const LOOK: &str = "-c cat /sys/bus/pci/devices/*/vendor /proc/driver/nvidia/version 2>/dev/null; df -kP / 2>/dev/null; true";
pub const LOOK_IN_CONTAINER: &str = "exec c1 sh";

// What changes something.
pub const RESTART: &str = "restart --no-deps backend";
pub const UP: &str = "up --detach --no-build backend";
pub const RECREATE: &str = "up --detach --no-build --force-recreate backend";
pub const BUILD: &str = "--file - --progress plain build --builder default backend";
pub const BUILD_FULL: &str = "--file - --progress plain build --builder default --no-cache backend";

/// The name of the image that is being built.
pub const BUILDING: &str = "localhost/xtask/p-backend:building-<digest>";
/// The name by which an image says what it was built from.
pub const INPUTS: &str = "localhost/xtask/p-backend:<digest>-<digest>";

/// What docker says of an image that is not there.
pub const NO_IMAGE: &str = "Error response from daemon: No such image\n";

/// `docker compose` on a machine without a card.
pub fn compose(args: &str) -> String {
    let files = "--file docker-compose.yml --file docker-compose.cpu.yml";
    format!("compose {files} {args}")
}

/// A throw-away container: options before its name, and what it runs, with its image
/// before the arguments.
pub fn throw_away(options: &str, program: &str) -> String {
    let network = if options.contains("--network") { "" } else { "--network none " };
    let options = if options.is_empty() { String::new() } else { format!("{options} ") };
    format!(
        "run --rm {options}--interactive --name xtask-<digest>-<n> {network}--entrypoint {program}"
    )
}

/// The throw-away container that asks for GPUs.
pub fn try_gpus(gpus: &str, image: &str) -> String {
    throw_away(&format!("--gpus {gpus}"), &format!("true {image}"))
}

/// The throw-away container that publishes on `host:port`.
pub fn try_port(address: &str, image: &str) -> String {
    throw_away(&format!("--network bridge --publish {address}:1"), &format!("true {image}"))
}

/// The throw-away container in which a shell looks at the machine.
pub fn look_in_image(image: &str) -> String {
    throw_away("", &format!("sh {image} {LOOK}"))
}

/// An image as `docker image inspect` shows it. Those with the same layer run alike.
pub fn image(id: &str, layer: &str, names: &[&str]) -> String {
    let names = serde_json::json!(names);
    format!(
        r#"[{{"Id":"{id}","RepoTags":{names},"Created":"2026-01-01T00:00:00Z","Config":{{}},"RootFS":{{"Layers":["{layer}"]}}}}]"#
    )
}
