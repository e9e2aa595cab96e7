//! The engine and the docker CLI, as `docker info` describes them.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::model::list;
use crate::error::Failure;

const ENGINE: Oldest = Oldest {
    name: "Docker Engine",
    version: (20, 10),
    page: "docs.docker.com/engine/install",
    hint: None,
};
/// 2.24 knows `env_file.required`.
pub const COMPOSE: Oldest = Oldest {
    name: "Docker Compose",
    version: (2, 24),
    page: "docs.docker.com/compose/install",
    hint: Some("cargo xtask up --setup   # on Debian and Ubuntu"),
};
pub const BUILDX: Oldest = Oldest {
    name: "buildx",
    version: (0, 12),
    page: "docs.docker.com/build/install-buildx",
    hint: None,
};

/// Engines by name, and what tells them from Docker Engine: a pointer into what
/// `docker info` says, and a word at the value's beginning or in the list there.
#[rustfmt::skip]
const PRODUCTS: [(&str, &str, &str); 6] = [
    ("Podman", "/Plugins/Log", "k8s-file"),
    ("Docker Desktop", "/OperatingSystem", "Docker Desktop"),
    ("OrbStack", "/OperatingSystem", "OrbStack"),
    ("Rancher Desktop", "/OperatingSystem", "Rancher Desktop"),
    ("Colima", "/Name", "colima"),
    ("rootless Docker", "/SecurityOptions", "name=rootless"),
];

/// The engine, as `docker info` describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Engine {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "ServerVersion")]
    pub version: String,
    /// Bytes of memory of its machine; 0 where it does not say.
    #[serde(rename = "MemTotal")]
    pub memory: u64,
    #[serde(flatten)]
    others: Value,
}

impl Engine {
    /// Whether it says that it can hand out NVIDIA GPUs.
    pub fn lists_gpus(&self) -> bool {
        // CDI devices are listed from Engine 28 on.
        let devices = list(&self.others["DiscoveredDevices"]);
        let mut ids = devices.filter_map(|device| device["ID"].as_str());
        !self.others["Runtimes"]["nvidia"].is_null()
            || ids.any(|id| id.starts_with("nvidia.com/gpu"))
    }

    /// Whether its machine is WSL2, where no card shows on the PCI bus.
    pub fn is_wsl(&self) -> bool {
        self.others["KernelVersion"].as_str().is_some_and(|version| version.contains("WSL2"))
    }

    /// Whether images are containerd's: BuildKit's cache then shares its records among them all.
    pub fn has_containerd_store(&self) -> bool {
        let mut types = list(&self.others["DriverStatus"]).filter(|pair| pair[0] == "driver-type");
        types.any(|pair| pair[1].as_str().is_some_and(|value| value.contains("containerd")))
    }

    /// Docker Desktop, Podman and the like; none for an engine like any other.
    pub fn product(&self) -> Option<&'static str> {
        let is = |value: &Value, word| value.as_str().is_some_and(|text| text.starts_with(word));
        let found = PRODUCTS.iter().find(|(_, pointer, word)| {
            let value = self.others.pointer(pointer).unwrap_or(&Value::Null);
            is(value, *word) || list(value).any(|value| is(value, *word))
        });
        found.map(|(name, ..)| *name)
    }

    /// Whether it runs images of a platform such as `linux/arm64/v8` or `amd64` without
    /// emulation.
    pub fn runs(&self, platform: &str) -> bool {
        let asked = platform.trim_start_matches("linux/").split('/').next().unwrap_or_default();
        architecture(asked) == self.architecture()
    }

    /// As images name it, such as `amd64`.
    pub fn architecture(&self) -> &str {
        architecture(self.others["Architecture"].as_str().unwrap_or_default())
    }

    /// buildx's name for the engine's own builder: that of the docker context.
    pub fn builder(&self) -> Option<&str> {
        self.others["ClientInfo"]["Context"].as_str()
    }

    /// Fails for an engine, a Compose or a buildx that xtask does not work with.
    pub fn check(&self) -> Result<(), Failure> {
        self.check_itself()?;
        COMPOSE.check(self.plugin("compose").unwrap_or_default())?;
        BUILDX.check(self.plugin("buildx").unwrap_or_default())
    }

    /// The same for the engine alone.
    pub fn check_itself(&self) -> Result<(), Failure> {
        if self.product() == Some("Podman") {
            let message = format!("the engine is Podman {}, which is not supported", self.version);
            return Err(Failure::new(message)
                .advice("use Docker Engine or Docker Desktop: docs.docker.com/engine/install")
                .hint("docker context ls   # the engines that are known; then: docker context use NAME")
                .hint("unset DOCKER_HOST   # it wins over the context"));
        }
        ENGINE.check(&self.version)
    }

    /// The version of a plugin of this machine's docker CLI.
    pub fn plugin(&self, name: &str) -> Option<&str> {
        let mut plugins = list(&self.others["ClientInfo"]["Plugins"]);
        plugins.find(|plugin| plugin["Name"] == name)?["Version"].as_str()
    }
}

/// A program and the oldest version of it that works.
pub struct Oldest {
    name: &'static str,
    version: (u32, u32),
    /// Where it is told how to get a newer one.
    page: &'static str,
    /// What installs one.
    hint: Option<&'static str>,
}

impl Oldest {
    /// Fails for an older version, such as `v2.20.3-1`. One that can't be read may be
    /// recent enough.
    pub fn check(&self, version: &str) -> Result<(), Failure> {
        let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse::<u32>().ok();
        if number().zip(number()).is_none_or(|found| found >= self.version) {
            return Ok(());
        }
        let message = format!("{} {version} is too old: {self} is needed", self.name);
        let old = Failure::new(message).advice(format!("{} tells how to upgrade it", self.page));
        Err(self.hint.into_iter().fold(old, Failure::hint))
    }
}

/// The name that images have for an architecture.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armhf" => "arm",
        other => other,
    }
}

impl fmt::Display for Oldest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} or newer", self.version.0, self.version.1)
    }
}

#[cfg(test)]
#[path = "../../tests/unit/engine.rs"]
mod tests;
