//! What the engine says about the container, the images and itself.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::project::{address, with_tag};

/// The service's container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// Name of its compose project.
    pub project: String,
    /// Id of the image it was created from.
    pub image: String,
    /// The name by which that image was asked for.
    pub image_name: String,
    /// Engine's word: created, running, paused, restarting, exited or dead.
    pub state: String,
    /// Process id of its first process, on the engine's machine; 0 if it has none.
    pub pid: u64,
    /// Engine's word: starting, healthy or unhealthy; none without a healthcheck.
    pub health: Option<String>,
    /// How to ask the service whether it answers; none without a healthcheck.
    pub healthcheck: Option<Healthcheck>,
    pub exit_code: i64,
    /// Restarts by the engine since somebody last started it.
    pub restarts: u64,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; year 1 where it never ended.
    pub finished_at: String,
    /// `host:port` of its published ports, on the engine's machine.
    pub addresses: Vec<String>,
    /// `host:port` that it asks for whenever it runs.
    pub asks_for: Vec<String>,
    /// Whether it was created with NVIDIA GPUs, whichever way.
    pub has_gpus: bool,
}

/// A healthcheck's command line and how long it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Healthcheck {
    pub command: Vec<String>,
    pub timeout: Duration,
}

impl Container {
    /// Parses what `docker container inspect` prints.
    ///
    /// # Errors
    /// When it isn't JSON.
    pub fn parse(json: &str) -> Result<Vec<Container>> {
        let list = list(json, "docker container inspect")?;
        Ok(list.iter().map(Container::of).collect())
    }

    fn of(c: &Value) -> Container {
        let state = &c["State"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Container {
            id: text(&c["Id"]),
            name: text(&c["Name"]).trim_start_matches('/').to_owned(),
            project: text(&c["Config"]["Labels"]["com.docker.compose.project"]),
            image: text(&c["Image"]),
            image_name: with_tag(text(&c["Config"]["Image"])),
            state: text(&state["Status"]),
            pid: state["Pid"].as_u64().unwrap_or_default(),
            health: state["Health"]["Status"].as_str().filter(|h| *h != "none").map(str::to_owned),
            healthcheck: healthcheck(&c["Config"]["Healthcheck"]),
            exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
            restarts: c["RestartCount"].as_u64().unwrap_or_default(),
            started_at: text(&state["StartedAt"]),
            finished_at: text(&state["FinishedAt"]),
            addresses: addresses(&c["NetworkSettings"]["Ports"]),
            asks_for: addresses(&c["HostConfig"]["PortBindings"]),
            has_gpus: has_gpus(&c["HostConfig"]),
        }
    }
}

fn addresses(ports: &Value) -> Vec<String> {
    let bindings =
        ports.as_object().into_iter().flatten().filter_map(|(_, b)| b.as_array()).flatten();
    bindings.filter_map(|b| Some(address(b["HostIp"].as_str()?, b["HostPort"].as_str()?))).collect()
}

/// By a device request (`--gpus`, Compose's reservation), the runtime `nvidia`,
/// or device nodes by name.
fn has_gpus(host: &Value) -> bool {
    let list = |key: &str| host[key].as_array().into_iter().flatten();
    list("DeviceRequests").next().is_some()
        || host["Runtime"] == "nvidia"
        || list("Devices").filter_map(|device| device["PathOnHost"].as_str()).any(is_gpu_node)
}

/// Whether a device's path is an NVIDIA GPU's, or WSL2's stand-in for one.
pub fn is_gpu_node(path: &str) -> bool {
    path.starts_with("/dev/nvidia") || path.starts_with("/dev/dxg")
}

/// `Test` is `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`, `Timeout`
/// nanoseconds with 0 for the default of 30 s (Docker Engine API).
fn healthcheck(config: &Value) -> Option<Healthcheck> {
    let test: Vec<String> = config["Test"]
        .as_array()?
        .iter()
        .filter_map(|arg| Some(arg.as_str()?.to_owned()))
        .collect();
    let command = match test.split_first()? {
        (kind, command) if kind == "CMD" => command.to_vec(),
        (kind, command) if kind == "CMD-SHELL" => {
            ["/bin/sh".into(), "-c".into()].into_iter().chain(command.iter().cloned()).collect()
        }
        _ => return None,
    };
    let timeout = config["Timeout"]
        .as_u64()
        .filter(|nanos| *nanos > 0)
        .map_or(Duration::from_secs(30), Duration::from_nanos);
    Some(Healthcheck { command, timeout })
}

/// An image on the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub id: String,
    pub tags: Vec<String>,
    /// RFC 3339.
    pub created: String,
    pub labels: Value,
    /// Its layers and configuration less Compose's labels: two images with
    /// equal content run alike, whatever their ids.
    pub content: (Value, Value),
}

impl Image {
    /// Parses what `docker image inspect` prints.
    ///
    /// # Errors
    /// When it isn't JSON.
    pub fn parse(json: &str) -> Result<Vec<Image>> {
        Ok(list(json, "docker image inspect")?.iter().map(Image::of).collect())
    }

    fn of(image: &Value) -> Image {
        let mut config = image["Config"].clone();
        let labels = config["Labels"].take();
        Image {
            id: image["Id"].as_str().unwrap_or_default().to_owned(),
            tags: image["RepoTags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|t| Some(t.as_str()?.to_owned()))
                .collect(),
            created: image["Created"].as_str().unwrap_or_default().to_owned(),
            content: (image["RootFS"]["Layers"].clone(), with_own_labels(config, &labels)),
            labels,
        }
    }

    /// The value of a variable of its environment.
    pub fn env(&self, key: &str) -> Option<&str> {
        let variables = self.content.1["Env"].as_array().into_iter().flatten();
        variables
            .filter_map(|variable| variable.as_str()?.split_once('='))
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Whether a container of `other` would be no different from one of this.
    pub fn runs_like(&self, other: &Image) -> bool {
        self.content == other.content
    }
}

/// Compose labels an image with its own version and the project's name.
fn with_own_labels(mut config: Value, labels: &Value) -> Value {
    let own = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !key.starts_with("com.docker.compose."));
    config["Labels"] =
        Value::Object(own.map(|(key, value)| (key.clone(), value.clone())).collect());
    config
}

/// The engine, as `docker info` describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Engine {
    /// Unique per engine, so facts about its machine can be remembered.
    pub id: String,
    pub version: String,
    /// Whether it can hand out NVIDIA GPUs: a runtime `nvidia`, or CDI devices
    /// (listed from Engine 28 on).
    pub has_nvidia: bool,
    /// Whether its machine is WSL2, where no card shows on the PCI bus.
    pub is_wsl: bool,
    /// Bytes of memory of its machine; 0 where it does not say.
    pub memory: u64,
    /// Names and versions of this machine's CLI plugins.
    pub plugins: Vec<(String, String)>,
}

impl Engine {
    /// Parses what `docker info --format '{{json .}}'` prints.
    ///
    /// # Errors
    /// When it isn't JSON.
    pub fn parse(json: &str) -> Result<Engine> {
        let info: Value =
            serde_json::from_str(json).context("reading what `docker info` printed")?;
        let cdi = info["DiscoveredDevices"].as_array().into_iter().flatten();
        Ok(Engine {
            id: info["ID"].as_str().unwrap_or_default().to_owned(),
            version: info["ServerVersion"].as_str().unwrap_or_default().to_owned(),
            has_nvidia: info["Runtimes"]["nvidia"].is_object()
                || cdi.into_iter().any(|device| {
                    device["ID"].as_str().is_some_and(|id| id.starts_with("nvidia.com/gpu"))
                }),
            is_wsl: info["KernelVersion"].as_str().is_some_and(|kernel| kernel.contains("WSL2")),
            memory: info["MemTotal"].as_u64().unwrap_or_default(),
            plugins: info["ClientInfo"]["Plugins"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|p| Some((p["Name"].as_str()?.into(), p["Version"].as_str()?.into())))
                .collect(),
        })
    }
}

/// The containers that `docker compose --dry-run up` says it would recreate, in
/// lines such as ` DRY-RUN MODE -  Container p-backend-1  Recreate`.
pub fn recreated(dry_run: &str) -> Vec<String> {
    let lines = dry_run.lines().filter_map(|line| line.split_once("Container "));
    let words = lines.map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words.get(1) == Some(&"Recreate"))
        .map(|words| words[0].to_owned())
        .collect()
}

fn list(json: &str, command: &str) -> Result<Vec<Value>> {
    serde_json::from_str(json).with_context(|| format!("reading what `{command}` printed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_in_every_state() {
        let json = r#"[{"Id":"c1","Name":"/p-backend-1","Image":"sha256:a","RestartCount":3,
            "State":{"Status":"restarting","ExitCode":3,"StartedAt":"2026-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"unhealthy"}},
            "Config":{"Healthcheck":{"Test":["CMD-SHELL","curl -f x"],"Timeout":3000000000}},
            "HostConfig":{"PortBindings":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}},
            "NetworkSettings":{"Ports":{"9/tcp":null,"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}]"#;
        let c = Container::parse(json).unwrap().remove(0);
        assert_eq!(
            (&*c.name, &*c.state, c.exit_code, c.restarts),
            ("p-backend-1", "restarting", 3, 3)
        );
        assert_eq!(c.health.as_deref(), Some("unhealthy"));
        assert_eq!((&c.addresses, &*c.asks_for), (&c.asks_for, &["127.0.0.1:8000".to_owned()][..]));
        let check = c.healthcheck.unwrap();
        assert_eq!(
            (check.command.join(" "), check.timeout),
            ("/bin/sh -c curl -f x".into(), Duration::from_secs(3))
        );
        assert_eq!(Container::parse("[]").unwrap(), []);
        assert!(Container::parse("").is_err());
    }

    #[test]
    fn healthcheck_forms() {
        let parse = |json: &str| {
            healthcheck(&serde_json::from_str(json).unwrap()).map(|h| h.command.join(" "))
        };
        assert_eq!(parse(r#"{"Test":["CMD","true","x"]}"#), Some("true x".into()));
        assert_eq!(parse(r#"{"Test":["NONE"]}"#), None);
        assert_eq!(parse("null"), None);
    }

    #[test]
    fn images_that_differ_in_composes_labels_only_run_alike() {
        let image = |labels: &str, layer: &str| {
            Image::parse(&format!(
                r#"[{{"Id":"i","RepoTags":["a:1"],"Config":{{"Cmd":["x"],"Labels":{labels}}},"RootFS":{{"Layers":["{layer}"]}}}}]"#
            ))
            .unwrap()
            .remove(0)
        };
        let old = image(r#"{"com.docker.compose.version":"2.26.1"}"#, "l1");
        assert!(old.runs_like(&image(r#"{"com.docker.compose.version":"5.0.0"}"#, "l1")));
        assert!(old.runs_like(&image("null", "l1")));
        assert!(!old.runs_like(&image(r#"{"mine":"1"}"#, "l1")));
        assert!(!old.runs_like(&image("null", "l2")));
    }

    #[test]
    fn a_dry_run_is_read_for_what_it_would_recreate() {
        let said = " DRY-RUN MODE -  Container p-db-1  Running\n DRY-RUN MODE -  Container p-backend-1  Recreate\n \
                    DRY-RUN MODE -  Container p-backend-1  Recreated\n DRY-RUN MODE -  Container 5f_p-backend-1  Starting\n";
        assert_eq!(recreated(said), ["p-backend-1"]);
        assert!(recreated(" DRY-RUN MODE -  Container p-backend-1  Created\n").is_empty());
    }

    #[test]
    fn the_clis_plugins_come_with_the_engine() {
        let info = r#"{"ID":"x","ClientInfo":{"Plugins":[{"Name":"compose","Version":"2.26.1-4"},{"Name":"x","Err":"y"}]}}"#;
        let plugins = Engine::parse(info).unwrap().plugins;
        assert_eq!(plugins, [("compose".to_owned(), "2.26.1-4".to_owned())]);
    }

    #[test]
    fn a_container_has_gpus_in_one_of_several_ways() {
        for (host, want) in [
            (r#"{"DeviceRequests":null,"Runtime":"runc"}"#, false),
            (r#"{"DeviceRequests":[{"Driver":"nvidia","Count":-1}]}"#, true),
            (r#"{"DeviceRequests":[],"Runtime":"nvidia"}"#, true),
            (r#"{"Devices":[{"PathOnHost":"/dev/nvidia0"}]}"#, true),
            (r#"{"Devices":[{"PathOnHost":"/dev/snd"}]}"#, false),
        ] {
            assert_eq!(has_gpus(&serde_json::from_str(host).unwrap()), want, "{host}");
        }
    }

    #[test]
    fn an_engine_can_offer_gpus_as_a_runtime_or_as_cdi_devices() {
        for (json, has_nvidia, is_wsl) in [
            (r#"{"ID":"x","Runtimes":{"runc":{}},"KernelVersion":"6.1.0"}"#, false, false),
            (r#"{"Runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}"#, true, false),
            (r#"{"DiscoveredDevices":[{"Source":"cdi","ID":"nvidia.com/gpu=0"}]}"#, true, false),
            (
                r#"{"DiscoveredDevices":null,"KernelVersion":"5.15.90.1-microsoft-standard-WSL2"}"#,
                false,
                true,
            ),
        ] {
            let engine = Engine::parse(json).unwrap();
            assert!(engine.plugins.is_empty());
            assert_eq!((engine.has_nvidia, engine.is_wsl), (has_nvidia, is_wsl), "{json}");
        }
    }
}
