//! What the engine says about containers and images (Docker Engine API). What is asked for
//! rarely stays JSON: a missing key reads as the `null` that stands for an empty list or map.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::SERVICE;

/// Reads the JSON that `command` printed; warnings may stand on lines before it.
pub fn from_json<T: DeserializeOwned>(said: &str, command: &str) -> Result<T> {
    let warnings = said.split_inclusive('\n').take_while(|line| !line.starts_with(['[', '{']));
    let json = &said[warnings.map(str::len).sum()..];
    serde_json::from_str(json).with_context(|| format!("reading what `{command}` printed"))
}

/// The elements of a JSON list; none where it is `null`.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The service's container, as `docker container inspect` prints it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Container {
    pub id: String,
    /// With a slash before it.
    name: String,
    /// Id of the image it was created from.
    pub image: String,
    pub state: State,
    /// Restarts by the engine since it was last started by hand.
    pub restart_count: u64,
    config: Value,
    host_config: Value,
    network_settings: Value,
}

/// Times are in RFC 3339; a container that never ended did so in year 1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// created, running, paused, restarting, exited or dead.
    pub status: String,
    /// Of its first process, on the engine's machine; 0 if it has none.
    pub pid: u64,
    pub exit_code: i64,
    pub started_at: String,
    pub finished_at: String,
    health: Value,
}

impl Container {
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    pub fn project(&self) -> &str {
        self.config["Labels"]["com.docker.compose.project"].as_str().unwrap_or_default()
    }

    /// Whether it is the service's own in that project.
    pub fn belongs_to(&self, project: &str) -> bool {
        let service = &self.config["Labels"]["com.docker.compose.service"];
        self.project() == project && service == SERVICE
    }

    /// The name by which its image was asked for, with a tag.
    pub fn image_name(&self) -> String {
        with_tag(self.config["Image"].as_str().unwrap_or_default())
    }

    /// Whether its state is `status`, in the engine's word.
    pub fn is(&self, status: &str) -> bool {
        self.state.status == status
    }

    /// starting, healthy or unhealthy; none without a healthcheck.
    pub fn health(&self) -> Option<&str> {
        self.state.health["Status"].as_str().filter(|health| *health != "none")
    }

    /// The healthcheck's command line and how long it may take.
    pub fn healthcheck(&self) -> Option<(Vec<&str>, Duration)> {
        let check = &self.config["Healthcheck"];
        let test: Vec<&str> = list(&check["Test"]).filter_map(Value::as_str).collect();
        let command = match test.split_first()? {
            (&"CMD", command) => command.to_vec(),
            (&"CMD-SHELL", line) => [&["/bin/sh", "-c"], line].concat(),
            _ => return None,
        };
        // In nanoseconds, with 0 for the engine's default.
        let timeout = check["Timeout"].as_u64().filter(|timeout| *timeout > 0);
        Some((command, timeout.map_or(Duration::from_secs(30), Duration::from_nanos)))
    }

    /// `host:port` of its published ports, on the engine's machine.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.network_settings["Ports"])
    }

    /// `host:port` that it publishes whenever it runs.
    pub fn requested_addresses(&self) -> Vec<String> {
        addresses(&self.host_config["PortBindings"])
    }

    /// Whether it was created with NVIDIA GPUs, in any of the ways there are.
    pub fn has_gpus(&self) -> bool {
        let host = &self.host_config;
        let mut nodes = list(&host["Devices"]).filter_map(|device| device["PathOnHost"].as_str());
        list(&host["DeviceRequests"]).next().is_some()
            || host["Runtime"] == "nvidia"
            || nodes.any(is_gpu_node)
    }
}

/// Of a map from container ports to lists of bindings.
fn addresses(ports: &Value) -> Vec<String> {
    let bindings = ports.as_object().into_iter().flatten().flat_map(|(_, port)| list(port));
    bindings.filter_map(|b| Some(address(b["HostIp"].as_str()?, b["HostPort"].as_str()?))).collect()
}

/// `host:port`, as `docker run --publish` takes it.
pub fn address(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The name with the tag that Docker takes where it has none.
pub fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Whether a device's path is an NVIDIA GPU's, or WSL2's stand-in for one.
pub fn is_gpu_node(path: &str) -> bool {
    path.starts_with("/dev/nvidia") || path.starts_with("/dev/dxg")
}

/// An image, as `docker image inspect` prints it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Image {
    pub id: String,
    #[serde(deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// RFC 3339.
    pub created: String,
    config: Value,
    #[serde(rename = "RootFS")]
    root_fs: Value,
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Image {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config["Labels"][key].as_str()
    }

    pub fn has_healthcheck(&self) -> bool {
        list(&self.config["Healthcheck"]["Test"]).next().is_some_and(|first| first != "NONE")
    }

    /// Whether a container of `other` would be no different from one of this, whatever their ids.
    /// Compose labels an image with its own version and the project's name.
    pub fn runs_like(&self, other: &Image) -> bool {
        self.root_fs["Layers"] == other.root_fs["Layers"] && self.own_config() == other.own_config()
    }

    fn own_config(&self) -> Value {
        let mut config = self.config.clone();
        let labels = config["Labels"].as_object().cloned().unwrap_or_default();
        let own = labels.into_iter().filter(|(key, _)| !key.starts_with("com.docker.compose."));
        config["Labels"] = own.collect();
        config
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheRecord {
    pub id: String,
    /// Whether an image has its layer too.
    pub shared: bool,
}

/// The build cache, from `docker buildx du --verbose` (buildx, `commands/diskusage.go`): as JSON,
/// `docker system df` takes half a minute where one image has 8 GB.
pub fn build_cache(text: &str) -> Vec<CacheRecord> {
    let mut records: Vec<CacheRecord> = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        match (key, value.trim(), records.last_mut()) {
            ("ID", id, _) => records.push(CacheRecord { id: id.into(), shared: false }),
            // The sum below the records has this key too, with a size.
            ("Shared", "true", Some(record)) => record.shared = true,
            _ => {}
        }
    }
    records
}

/// A builder, as `docker buildx inspect` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Builder {
    pub name: String,
    /// `docker` for an engine's own.
    pub driver: String,
    /// How much build cache it keeps before it removes what was not used for longest,
    /// in buildx's words; none where the engine does not say.
    pub keeps: Option<String>,
}

pub fn builder(text: &str) -> Builder {
    let values = |key| text.lines().filter_map(move |line| line.trim().strip_prefix(key));
    let first = |key| values(key).next().unwrap_or_default().trim().to_owned();
    // Of several rules, each stronger than the next. Older versions of buildx do not tell.
    let keeps = values("Max Used Space:").next_back().map(|limit| limit.trim().to_owned());
    Builder { name: first("Name:"), driver: first("Driver:"), keeps }
}

/// What a prune says it has freed, such as `7.29GB`, in its last line.
pub fn freed(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| line.strip_prefix("Total:")).map(str::trim)
}

/// Whether a dry run says anything of the service's container.
pub fn names_container(dry_run: &str) -> bool {
    let mut lines = dry_run.lines().filter_map(|line| line.split_once("Container "));
    lines.any(|(_, rest)| rest.contains(SERVICE))
}

/// Containers in lines such as ` DRY-RUN MODE -  Container p-backend-1  Recreate`.
pub fn recreated(dry_run: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (_, rest) in dry_run.lines().filter_map(|line| line.split_once("Container ")) {
        if let [name, "Recreate", ..] = rest.split_whitespace().collect::<Vec<_>>()[..] {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
#[path = "../../tests/unit/model.rs"]
mod tests;
