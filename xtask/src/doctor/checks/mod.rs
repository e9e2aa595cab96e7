//! The list of checks. To add one, add a row here, and its judgement, remedy and fix
//! to the file of its theme.

pub mod cuda;
pub mod gpu;
pub mod project;
pub mod python;
pub mod recreate;
pub mod service;
pub mod tools;

use super::{Facts, Judgement};

/// One check.
pub struct Check {
    /// The theme, for `doctor GROUP`.
    pub group: &'static str,
    /// Stable name, for `doctor ID`, for programs and for [`Check::needs`].
    pub id: &'static str,
    pub title: &'static str,
    /// Ids of checks that must pass first; they are earlier in the list.
    pub needs: &'static [&'static str],
    /// Judges the facts. Pure; it waits for those that are not answered yet.
    pub judge: fn(&Facts) -> Judgement,
    /// Where to read more.
    pub link: &'static str,
}

const CODES: &str = "https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html";
const GPUS: &str = "https://docs.docker.com/compose/how-tos/gpu-support/";
const PINS: &str = "https://pip.pypa.io/en/stable/reference/requirements-file-format/";
const PORTS: &str = "https://docs.docker.com/engine/network/port-publishing/";
const SERVICES: &str = "https://docs.docker.com/reference/compose-file/services/";
const STEP1X: &str = "https://github.com/stepfun-ai/Step1X-3D";
const TORCH: &str = "https://pytorch.org/get-started/previous-versions/";
const TROUBLE: &str =
    "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html";

macro_rules! checks {
    ($($group:literal { $($id:literal, $title:literal, $needs:expr, $judge:path, $link:expr;)* })*) => {
        /// All checks; each is after those that it needs.
        pub const CHECKS: &[Check] = &[$($(
            Check { group: $group, id: $id, title: $title, needs: &$needs, judge: $judge, link: $link },
        )*)*];
    };
}

checks! {
    "tools" {
        "docker-cli", "Docker CLI", [], tools::cli, "https://docs.docker.com/engine/install/";
        "engine", "engine", ["docker-cli"], tools::engine, "https://docs.docker.com/engine/daemon/troubleshoot/";
        "compose", "Compose", ["docker-cli"], tools::compose, "https://docs.docker.com/compose/install/";
        "buildx", "buildx", ["docker-cli"], tools::buildx, "https://docs.docker.com/build/concepts/overview/";
        "git", "git", [], tools::git, "https://git-scm.com/downloads";
    }
    "project" {
        "env", ".env", ["compose"], project::env, "https://docs.docker.com/compose/how-tos/environment-variables/";
        "compose-file", "compose file", ["env"], project::compose_file, SERVICES;
        "sources", "Step1X-3D", [], project::sources, STEP1X;
        "requirements", "requirements", [], project::requirements, PINS;
        "port", "port", ["engine", "compose-file"], project::port, PORTS;
        "disk", "disk", ["engine"], project::disk, "https://docs.docker.com/engine/manage-resources/pruning/";
        "memory", "memory", ["engine"], project::memory, "https://docs.docker.com/engine/containers/resource_constraints/";
    }
    "service" {
        "image", "image", ["engine", "compose-file", "requirements"], service::image, "https://docs.docker.com/build/cache/";
        "container", "container", ["image", "port"], service::container, "https://docs.docker.com/engine/containers/start-containers-automatically/";
        "health", "/health", ["container"], service::health, PORTS;
    }
    "python" {
        "interpreter", "Python", ["image"], python::interpreter, TORCH;
        "torch", "torch", ["interpreter"], python::torch, TORCH;
        "torchvision", "torchvision", ["torch"], python::torchvision, TORCH;
        "cuda-build", "CUDA build", ["torch"], python::cuda_build, TORCH;
        "pins", "pins", ["interpreter"], python::pins, PINS;
        "dependencies", "dependencies", ["torch", "pins"], python::dependencies, PINS;
    }
    "gpu" {
        "gpu-card", "NVIDIA card", ["engine"], gpu::card, GPUS;
        "gpu-driver", "driver", ["gpu-card"], gpu::driver, "https://docs.nvidia.com/deploy/cuda-compatibility/";
        "gpu-engine", "GPU access", ["gpu-driver"], gpu::engine, "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html";
        "gpu-request", "GPU request", ["gpu-engine", "compose-file"], gpu::request, GPUS;
        "gpu-nodes", "device nodes", ["gpu-request", "interpreter"], cuda::nodes, TROUBLE;
        "gpu-libcuda", "libcuda", ["gpu-nodes"], cuda::libcuda, TROUBLE;
        "gpu-init", "cuInit", ["gpu-libcuda"], cuda::init, CODES;
        "gpu-devices", "GPUs", ["gpu-init", "cuda-build"], cuda::devices, "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables";
        "gpu-arch", "capability", ["gpu-devices"], cuda::arch, "https://developer.nvidia.com/cuda-gpus";
        "gpu-kernel", "kernel", ["gpu-arch"], cuda::kernel, CODES;
        "gpu-memory", "GPU memory", ["gpu-kernel"], cuda::memory, STEP1X;
        "shm", "/dev/shm", ["gpu-card", "container"], cuda::shm, SERVICES;
    }
}

#[cfg(test)]
/// What a check finds where its facts are stated.
pub fn judge(check: fn(&Facts) -> Judgement, facts: &Facts) -> super::Finding {
    check(facts).unwrap_or_else(super::Finding::from)
}
