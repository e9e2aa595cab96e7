//! What the engine says about containers, images and itself (Docker Engine API). What is asked for
//! rarely stays JSON: a missing key reads as the `null` that stands for an empty list or map.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

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

    /// The version of a plugin of this machine's docker CLI.
    pub fn plugin(&self, name: &str) -> Option<&str> {
        let mut plugins = list(&self.others["ClientInfo"]["Plugins"]);
        plugins.find(|plugin| plugin["Name"] == name)?["Version"].as_str()
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

/// What a prune says it has freed, such as `7.29GB`, in its last line.
pub fn freed(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| line.strip_prefix("Total:")).map(str::trim)
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
mod tests {
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
        assert_eq!(
            (c.name(), c.project(), &*c.image_name()),
            ("p-backend-1", "p", "p-backend:latest")
        );
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
    fn an_engine_describes_itself() {
        for (json, gpus, wsl, containerd) in [
            (r#"{"ID":"x","Runtimes":{"runc":{}},"KernelVersion":"6.1.0"}"#, false, false, false),
            (r#"{"Runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}"#, true, false, false),
            (
                r#"{"DiscoveredDevices":[{"Source":"cdi","ID":"nvidia.com/gpu=0"}]}"#,
                true,
                false,
                false,
            ),
            (
                r#"{"DiscoveredDevices":[{"Source":"cdi","ID":"x.com/fpga=0"}]}"#,
                false,
                false,
                false,
            ),
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
        assert!(crate::error::line(&error).starts_with("reading what `docker x` printed: "));
    }
}
