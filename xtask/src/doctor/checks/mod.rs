//! The list of checks. To add one, add an entry here, and its judgement, remedy and
//! fix to the file of its theme.

pub mod cuda;
pub mod gpu;
pub mod host;
pub mod kernel;
pub mod project;
pub mod python;
pub mod service;
pub mod tools;

use super::{Facts, Judgement};

/// One check.
pub struct Check {
    /// Stable name, for `doctor ID`, for programs and for [`Check::needs`].
    pub id: &'static str,
    pub title: &'static str,
    /// Ids of checks that must pass first; they are earlier in the list.
    pub needs: &'static [&'static str],
    /// Where to read more.
    pub link: &'static str,
    /// Judges the facts. Pure; it waits for those that are not answered yet.
    pub judge: fn(&Facts) -> Judgement,
}

/// Checks of one theme.
pub struct Group {
    /// Stable name, for `doctor GROUP`.
    pub name: &'static str,
    pub checks: &'static [Check],
}

const ENGINE: &str = "https://docs.docker.com/engine/install/";
const DAEMON: &str = "https://docs.docker.com/engine/daemon/troubleshoot/";
const COMPOSE: &str = "https://docs.docker.com/compose/install/";
const BUILDX: &str = "https://docs.docker.com/build/concepts/overview/";
const GIT: &str = "https://git-scm.com/downloads";
const ENV: &str = "https://docs.docker.com/compose/how-tos/environment-variables/";
const SERVICES: &str = "https://docs.docker.com/reference/compose-file/services/";
const STEP1X: &str = "https://github.com/stepfun-ai/Step1X-3D";
const PINS: &str = "https://pip.pypa.io/en/stable/reference/requirements-file-format/";
const PORTS: &str = "https://docs.docker.com/engine/network/port-publishing/";
const PRUNE: &str = "https://docs.docker.com/engine/manage-resources/pruning/";
const LIMITS: &str = "https://docs.docker.com/engine/containers/resource_constraints/";
const CACHE: &str = "https://docs.docker.com/build/cache/";
const RESTART: &str = "https://docs.docker.com/engine/containers/start-containers-automatically/";
const TORCH: &str = "https://pytorch.org/get-started/previous-versions/";
const DRIVER: &str = "https://docs.nvidia.com/deploy/cuda-compatibility/";
const TOOLKIT: &str =
    "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html";
const TROUBLE: &str =
    "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html";
const REQUEST: &str = "https://docs.docker.com/compose/how-tos/gpu-support/";
const CODES: &str = "https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html";
const CAPABILITY: &str = "https://developer.nvidia.com/cuda-gpus";
const VISIBLE: &str =
    "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables";

const fn check(
    id: &'static str,
    title: &'static str,
    needs: &'static [&'static str],
    link: &'static str,
    judge: fn(&Facts) -> Judgement,
) -> Check {
    Check { id, title, needs, link, judge }
}

/// All checks; each is after those that it needs.
pub const GROUPS: &[Group] = &[
    Group { name: "tools", checks: TOOLS_CHECKS },
    Group { name: "project", checks: PROJECT_CHECKS },
    Group { name: "service", checks: SERVICE_CHECKS },
    Group { name: "python", checks: PYTHON_CHECKS },
    Group { name: "gpu", checks: GPU_CHECKS },
];

const TOOLS_CHECKS: &[Check] = &[
    check("docker-cli", "Docker CLI", &[], ENGINE, tools::cli),
    check("engine", "engine", &["docker-cli"], DAEMON, tools::engine),
    check("compose", "Compose", &["docker-cli"], COMPOSE, tools::compose),
    check("buildx", "buildx", &["docker-cli"], BUILDX, tools::buildx),
    check("git", "git", &[], GIT, tools::git),
];

const PROJECT_CHECKS: &[Check] = &[
    check("env", ".env", &["compose"], ENV, project::env),
    check("compose-file", "compose file", &["env"], SERVICES, project::compose_file),
    check("sources", "Step1X-3D", &[], STEP1X, project::sources),
    check("requirements", "requirements", &[], PINS, project::requirements),
    check("port", "port", &["engine", "compose-file"], PORTS, host::port),
    check("disk", "disk", &["engine"], PRUNE, host::disk),
    check("memory", "memory", &["engine"], LIMITS, host::memory),
];

const SERVICE_CHECKS: &[Check] = &[
    check("image", "image", &["engine", "compose-file", "requirements"], CACHE, service::image),
    check("container", "container", &["image", "port"], RESTART, service::container),
    check("health", "/health", &["container"], PORTS, service::health),
];

const PYTHON_CHECKS: &[Check] = &[
    check("interpreter", "Python", &["image"], TORCH, python::interpreter),
    check("torch", "torch", &["interpreter"], TORCH, python::torch),
    check("torchvision", "torchvision", &["torch"], TORCH, python::torchvision),
    check("cuda-build", "CUDA build", &["torch"], TORCH, python::cuda_build),
    check("pins", "pins", &["interpreter"], PINS, python::pins),
    check("dependencies", "dependencies", &["torch", "pins"], PINS, python::dependencies),
];

const GPU_CHECKS: &[Check] = &[
    check("gpu-card", "NVIDIA card", &["engine"], REQUEST, gpu::card),
    check("gpu-driver", "driver", &["gpu-card"], DRIVER, gpu::driver),
    check("gpu-engine", "GPU access", &["gpu-driver"], TOOLKIT, gpu::engine),
    check("gpu-request", "GPU request", &["gpu-engine", "compose-file"], REQUEST, gpu::request),
    check("gpu-nodes", "device nodes", &["gpu-request", "interpreter"], TROUBLE, cuda::nodes),
    check("gpu-libcuda", "libcuda", &["gpu-nodes"], TROUBLE, cuda::libcuda),
    check("gpu-init", "cuInit", &["gpu-libcuda"], CODES, cuda::init),
    check("gpu-devices", "GPUs", &["gpu-init", "cuda-build"], VISIBLE, cuda::devices),
    check("gpu-arch", "capability", &["gpu-devices"], CAPABILITY, kernel::arch),
    check("gpu-kernel", "kernel", &["gpu-arch"], CODES, kernel::kernel),
    check("gpu-memory", "GPU memory", &["gpu-kernel"], STEP1X, kernel::memory),
    check("shm", "/dev/shm", &["gpu-card", "container"], SERVICES, kernel::shm),
];

/// What a check finds where its facts are stated.
#[cfg(test)]
pub fn judge(check: fn(&Facts) -> Judgement, facts: &Facts) -> super::Finding {
    check(facts).unwrap_or_else(super::Finding::from)
}
