//! Failures of docker, the NVIDIA driver and builds, recognised here and nowhere else.

use super::{Failure, Kind, Remedy};

/// A row of the tables: the kind of failure, marks in the output (any one will do),
/// what it means, and what fixes it (a sentence, which may be empty, and commands).
pub(super) type Known =
    (Kind, &'static [&'static str], &'static str, (&'static str, &'static [&'static str]));

/// What to do on a machine whose card Docker cannot hand out.
pub const GPU_REMEDY: (&str, &[&str]) = (
    "install nvidia-container-toolkit on the engine's machine and configure Docker for it",
    &[
        "sudo apt-get install nvidia-container-toolkit   # from NVIDIA's own package source",
        "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
        "XTASK_DEVICE=cpu cargo xtask up   # to run on the CPU all the same",
    ],
);

const START_ENGINE: &str = "sudo systemctl start docker   # or start Docker Desktop";

/// Failures that are the NVIDIA driver's, rather than the engine's way to it.
#[rustfmt::skip]
pub(super) const DRIVERS: &[Known] = &[
    (Kind::Driver, &["driver/library version mismatch"],
     "the NVIDIA driver was upgraded, but the machine runs the old one", ("reboot the engine's machine", &["sudo reboot   # on the engine's machine"])),
    (Kind::Driver, &["nvml error: driver not loaded", "communicate with the NVIDIA driver"],
     "the NVIDIA driver is not loaded on the engine's machine",
     ("install it there, or reboot if it was just installed", &["sudo modprobe nvidia && nvidia-smi   # on the engine's machine"])),
    (Kind::Driver, &["load library failed: libnvidia-ml.so", "couldn't find libnvidia-ml.so"],
     "the engine's machine has no NVIDIA driver, or not its libraries", ("install the driver there", &["nvidia-smi   # on the engine's machine"])),
    (Kind::Driver, &["requirement error: unsatisfied condition"],
     "the NVIDIA driver is older than the image demands (NVIDIA_REQUIRE_CUDA)",
     ("upgrade the driver of the engine's machine", &["nvidia-smi   # its version"])),
    (Kind::Driver, &["no adapters were found", "GPU access blocked by the operating system"],
     "WSL2 does not pass the GPU on", ("upgrade the NVIDIA driver of Windows too", &["wsl --update   # on Windows"])),
];

/// Failures of docker and of builds. The first match wins, so the specific stand first.
#[rustfmt::skip]
pub(super) const KNOWN: &[Known] = &[
    // "env file /r/.env not found: stat /r/.env: no such file or directory"
    (Kind::EnvFileMissing, &["not found: stat "],
     "the compose file names an env file that does not exist", ("create it, or write `required: false` beside its path", &["cargo xtask doctor env"])),
    (Kind::Other, &["project name must not be empty"],
     "the name of this directory gives the compose project no name",
     ("Compose makes it of the letters a to z, digits, `-` and `_`", &["echo COMPOSE_PROJECT_NAME=step1x >> .env   # or another name"])),
    (Kind::Other, &["could not select device driver", "failed to discover GPU vendor from CDI"],
     "the service asks for an NVIDIA GPU, and the engine cannot hand one out", GPU_REMEDY),
    (Kind::Other, &["unknown or invalid runtime name: nvidia", "Unknown runtime specified nvidia"],
     "the service asks for the runtime `nvidia`, which the engine does not know", GPU_REMEDY),
    (Kind::Other, &["nvidia-container-cli: mount error", "failed to fulfil mount request", "unresolvable CDI devices", "libEGL_nvidia.so"],
     "the list of the driver's files for containers (CDI) is out of date",
     ("", &["sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "cargo xtask restart"])),
    (Kind::Other, &["unable to resolve docker endpoint", "is not found on the file system"],
     "the Docker context that is chosen does not exist",
     ("DOCKER_CONTEXT, if set, wins over `docker context use`", &["docker context use default", "docker context ls   # those that exist"])),
    (Kind::Other, &["permission denied while trying to connect to the"],
     "no permission to talk to the Docker engine", ("", &["sudo usermod -aG docker $USER   # then log out and in again"])),
    (Kind::EngineDown, &["Cannot connect to the Docker daemon", "failed to connect to the docker API", "error during connect"],
     "the Docker engine does not answer", ("", &[START_ENGINE, "docker context ls   # which engine is meant; DOCKER_HOST, if set, wins"])),
    (Kind::Other, &["'compose' is not a docker command", "unknown command: docker compose", "unknown shorthand flag: 'f' in -f"],
     "Docker Compose 2.24 or newer is missing",
     ("docs.docker.com/compose/install tells how to install it", &["cargo xtask up --setup   # on Debian and Ubuntu"])),
    (Kind::Other, &["no builder \""],
     "the builder that is chosen for buildx does not exist",
     ("", &["unset BUILDX_BUILDER"])),
    (Kind::Other, &["/buildx: permission denied", "/buildx/instances: permission denied", "/buildx/defaults: permission denied",
                    "/buildx/activity: permission denied", "/buildx/.lock: permission denied"],
     "buildx cannot write its own files in Docker's configuration directory",
     ("make the directory yours, or have buildx write elsewhere: export BUILDX_CONFIG=/tmp/buildx",
      &["sudo chown -R \"$USER\" \"${DOCKER_CONFIG:-$HOME/.docker}\""])),
    (Kind::Other, &["compose build requires buildx", "buildx component is missing or broken"],
     "this version of Compose builds with a newer buildx plugin", ("docs.docker.com/build/install-buildx tells how to install it", &[])),
    (Kind::PortTaken, &["port is already allocated", "address already in use"],
     "the port that the service publishes is taken by another program",
     ("name a free port in the compose file, or by BACKEND_PORT in .env", &["cargo xtask up"])),
    (Kind::Other, &["cannot assign requested address"],
     "the service publishes on an address that the engine's machine does not have",
     ("correct the address in the compose file, or BACKEND_BIND in .env", &["cargo xtask up"])),
    (Kind::Other, &["no such image"], "an image that the service needs is not on the engine",
     ("a service that it depends on may have to be built first", &["docker compose build", "cargo xtask up"])),
    (Kind::Other, &["dockerfile parse error", "failed to parse dockerfile", "unknown instruction", "failed to read dockerfile"],
     "the Dockerfile has a fault", ("the lines above name it", &[])),
    (Kind::Other, &["failed to resolve source metadata", "pull access denied", "failed to do request", "failed to authorize"],
     "the base image is not on the engine, and its registry does not provide it",
     ("see whether the FROM line and the network are right", &["cargo xtask up --setup   # makes Debian's base image without a registry"])),
    (Kind::Other, &["Failed to fetch: `", "error sending request", "connection broken by", "Temporary failure in name resolution", "Temporary failure resolving"],
     "a package index does not answer", ("try again, or name another index by UV_DEFAULT_INDEX in .env", &[])),
    (Kind::Other, &["(from versions: none)"],
     "the package index does not know a package, or cannot be used", ("the lines above name it; UV_DEFAULT_INDEX in .env names another index", &[])),
    (Kind::Other, &["No solution found when resolving", "No matching distribution found", "not found in the package registry"],
     "a requirement does not exist in that version", ("the lines above name it; correct backend/requirements.txt", &[])),
    (Kind::Other, &["rpc error: code = Unavailable", "error reading from server: EOF", "graceful_stop"],
     "the Docker engine stopped during the command", ("", &[START_ENGINE, "cargo xtask up"])),
    (Kind::Other, &["no space left on device"],
     "the disk of the engine's machine is full", ("remove what you no longer need there", &["docker system df   # what Docker holds"])),
    (Kind::Other, &["is too old. Minimum supported API version"],
     "the engine is too new for this Docker CLI", ("upgrade the Docker CLI and its Compose plugin", &[])),
];

/// The first row of a table with a mark in `output`.
pub(super) fn lookup(table: &[Known], output: &str) -> Option<Failure> {
    // The same failure starts with a capital in one tool and without in another.
    let said = output.to_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| said.contains(&mark.to_lowercase()));
    let (kind, _, says, (text, commands)) = table.iter().find(|(_, marks, ..)| has(marks))?;
    Some(Failure::new(*says).kind(*kind).remedy(&Remedy::new(text, commands)))
}

/// What of an output says why a command failed. Of a build that is the failed step, which BuildKit
/// repeats between two rules: other steps may have got over their troubles.
pub(super) fn essence(output: &str) -> &str {
    let start = output.rmatch_indices("------\n").nth(1).map_or(0, |(at, _)| at);
    &output[start..]
}

/// The last line of an output that says something: docker run adds others.
pub fn last_line(output: &str) -> Option<&str> {
    let noise = ["Run 'docker ", "See 'docker ", "error waiting for container: context canceled"];
    let says = |line: &&str| !line.is_empty() && !noise.iter().any(|noise| line.contains(noise));
    output.lines().rev().map(str::trim).find(says)
}
