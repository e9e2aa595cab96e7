//! What `docker compose config` says about the service.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::SERVICE;
use super::model::{address, is_gpu_node, with_tag};
use crate::error::Failure;
use crate::image::inputs::Build;

/// The project and its service, as Compose resolves them.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Compose project name.
    pub name: String,
    /// Name of the service's image, with its tag.
    pub image: String,
    /// `host:port` of each port that is published under a fixed number.
    pub ports: Vec<String>,
    /// How the image is built; none where the service only pulls it.
    pub build: Option<Build>,
    /// Services that have to have started before this one does.
    pub needs_started: Vec<String>,
    /// Those that have to be healthy.
    pub needs_healthy: Vec<String>,
    /// The NVIDIA GPUs it asks for, as `docker run --gpus` takes them.
    pub gpus: Option<String>,
    /// The CUDA_VISIBLE_DEVICES that its container is given.
    pub visible_devices: Option<String>,
    /// Values of its environment, wherever they come from; never to be printed.
    pub values: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    name: String,
    #[serde(default)]
    services: BTreeMap<String, Value>,
}

/// A service in Compose's normal form. What has many forms is kept as JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Service {
    image: Option<String>,
    platform: Value,
    build: Option<Map<String, Value>>,
    ports: Vec<Port>,
    depends_on: BTreeMap<String, Dependency>,
    environment: Option<BTreeMap<String, Value>>,
    deploy: Value,
    gpus: Value,
    devices: Value,
    runtime: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    host_ip: Option<String>,
    published: Option<String>,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Dependency {
    condition: String,
}

impl Project {
    /// Parses the JSON that `docker compose config --format json` prints.
    /// Fails when it isn't that, or the project has no service `backend`.
    pub fn parse(json: &str) -> Result<Project> {
        const READING: &str = "reading what `docker compose config` printed";
        let mut config: Config = serde_json::from_str(json).context(READING)?;
        let Some(service) = config.services.remove(SERVICE) else {
            let others: Vec<_> = config.services.keys().map(String::as_str).collect();
            let others = others.join(", ");
            return Err(Failure::new(format!("the compose file has no service `{SERVICE}`"))
                .advice(format!("name the service `{SERVICE}`; the file has: {others}"))
                .into());
        };
        let service: Service = serde_json::from_value(service).context(READING)?;
        let gpus = service.gpus();
        let environment = service.environment.unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let needs = |condition: &str| {
            let all = service.depends_on.iter().filter(|(_, how)| how.condition == condition);
            all.map(|(name, _)| name.clone()).collect()
        };
        Ok(Project {
            image: with_tag(&service.image.unwrap_or_else(|| default_image(&config.name))),
            ports: service.ports.iter().filter_map(published).collect(),
            build: service.build.map(|build| read_build(build, service.platform)),
            needs_started: needs("service_started"),
            needs_healthy: needs("service_healthy"),
            gpus,
            visible_devices: environment.get("CUDA_VISIBLE_DEVICES").and_then(text),
            values: environment.values().filter_map(text).collect(),
            name: config.name,
        })
    }

    /// The names that the compose file gives the service's image.
    pub fn image_names(&self) -> impl Iterator<Item = String> + '_ {
        let tags = self.build.iter().flat_map(|build| build.tags.iter().map(|tag| with_tag(tag)));
        [self.image.clone()].into_iter().chain(tags)
    }
}

impl Service {
    /// By a reservation or `gpus:`, the runtime `nvidia`, or device nodes by name.
    fn gpus(&self) -> Option<String> {
        let reserved = &self.deploy["resources"]["reservations"]["devices"];
        let requests = [reserved, &self.gpus].into_iter().filter_map(Value::as_array).flatten();
        let request = requests.into_iter().find(|request| {
            let is_gpu = |word: &Value| ["gpu", "nvidia"].iter().any(|gpu| word == gpu);
            request["driver"] == "nvidia"
                || request["capabilities"].as_array().is_none_or(|words| words.iter().any(is_gpu))
        });
        if let Some(request) = request {
            let ids = request["device_ids"].as_array().into_iter().flatten();
            let ids: Vec<_> = ids.filter_map(Value::as_str).collect();
            return Some(match request["count"].as_i64() {
                _ if !ids.is_empty() => format!("\"device={}\"", ids.join(",")),
                Some(count @ 1..) => count.to_string(),
                _ => "all".to_owned(),
            });
        }
        let mut devices = self.devices.as_array().into_iter().flatten();
        let by_name = devices.any(|device| {
            let source = device["source"].as_str().or(device.as_str()).unwrap_or_default();
            is_gpu_node(source) || source.starts_with("nvidia.com/gpu")
        });
        (by_name || self.runtime.as_deref() == Some("nvidia")).then(|| "all".to_owned())
    }
}

fn published(port: &Port) -> Option<String> {
    if port.protocol.as_deref() == Some("udp") {
        return None;
    }
    let number = port.published.as_ref()?.parse::<u16>().ok().filter(|number| *number > 0)?;
    Some(address(port.host_ip.as_deref().unwrap_or("0.0.0.0"), &number.to_string()))
}

fn read_build(mut build: Map<String, Value>, platform: Value) -> Build {
    // Where the cache lies changes nothing in the image.
    for key in ["cache_from", "cache_to", "no_cache", "pull"] {
        build.remove(key);
    }
    let mut take = |key: &str| build.remove(key).unwrap_or_default();
    let text = |value: Value| value.as_str().map(str::to_owned);
    let context = text(take("context")).unwrap_or_default();
    let dockerfile = text(take("dockerfile"));
    let (tags, additional) = (take("tags"), take("additional_contexts"));
    build.insert("platform".to_owned(), platform);
    let is_inline = build.get("dockerfile_inline").is_some_and(|inline| !inline.is_null());
    let is_known = |context: &String| context.contains("://") || Path::new(context).is_dir();
    Build {
        context,
        additional_contexts: serde_json::from_value::<BTreeMap<String, String>>(additional)
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, context)| is_known(context))
            .collect(),
        tags: serde_json::from_value(tags).unwrap_or_default(),
        dockerfile: dockerfile.filter(|_| !is_inline),
        arguments: Value::Object(build),
    }
}

/// The name Compose gives an image that has none (`api.Separator` in its source).
fn default_image(project: &str) -> String {
    let compatible =
        env::var("COMPOSE_COMPATIBILITY").is_ok_and(|value| ["1", "true"].contains(&&*value));
    format!("{project}{}{SERVICE}", if compatible { "_" } else { "-" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_whatever_form_it_has() {
        let parse = |service: &str| {
            Project::parse(&format!(
                r#"{{"name":"p","services":{{"db":{{}},"backend":{service}}}}}"#
            ))
            .unwrap()
        };
        let plain = parse(
            r#"{"build":{"context":"/r/backend","dockerfile":"Dockerfile","args":{"A":"1"}}}"#,
        );
        assert_eq!(plain.image, "p-backend:latest");
        let build = plain.build.unwrap();
        assert_eq!(
            (&*build.context, build.dockerfile.as_deref()),
            ("/r/backend", Some("Dockerfile"))
        );
        assert_eq!(build.arguments["args"]["A"], "1");

        assert_eq!(parse(r#"{"image":"registry:5000/x"}"#).image, "registry:5000/x:latest");
        assert_eq!(parse(r#"{"image":"x:1"}"#).image, "x:1");
        let ports = r#"{"ports":[{"target":9,"published":"80"},{"host_ip":"::1","published":"81"},{"target":9},{"published":"1-2"}]}"#;
        assert_eq!(parse(ports).ports, ["0.0.0.0:80", "[::1]:81"]);
        assert_eq!(parse(r#"{"image":"x"}"#).build, None);
        let needs = parse(
            r#"{"depends_on":{"db":{"condition":"service_healthy"},"log":{"condition":"service_started"}}}"#,
        );
        assert_eq!((&*needs.needs_started[0], &*needs.needs_healthy[0]), ("log", "db"));
        let inline = parse(
            r#"{"build":{"context":"/r","dockerfile":"Dockerfile","dockerfile_inline":"FROM x"}}"#,
        );
        assert_eq!(inline.build.unwrap().dockerfile, None);
    }

    #[test]
    fn gpus_are_asked_for_in_one_of_several_ways() {
        let reserved = |request: &str| {
            format!(r#"{{"deploy":{{"resources":{{"reservations":{{"devices":[{request}]}}}}}}}}"#)
        };
        for (service, want) in [
            (reserved(r#"{"driver":"nvidia","count":-1,"capabilities":["gpu"]}"#), Some("all")),
            (reserved(r#"{"count":2,"capabilities":["gpu"]}"#), Some("2")),
            (
                reserved(r#"{"driver":"nvidia","device_ids":["0","3"],"capabilities":["gpu"]}"#),
                Some("\"device=0,3\""),
            ),
            (reserved(r#"{"driver":"cdi","capabilities":["tpu"]}"#), None),
            (r#"{"gpus":[{"count":-1}]}"#.to_owned(), Some("all")),
            (r#"{"runtime":"nvidia"}"#.to_owned(), Some("all")),
            (r#"{"devices":[{"source":"/dev/nvidia0"}]}"#.to_owned(), Some("all")),
            (r#"{"deploy":{"resources":{"reservations":{"devices":null}}}}"#.to_owned(), None),
        ] {
            assert_eq!(
                serde_json::from_str::<Service>(&service).unwrap().gpus().as_deref(),
                want,
                "{service}"
            );
        }
    }

    #[test]
    fn where_the_clone_lies_and_how_the_image_is_called_are_no_arguments() {
        let arguments = |build: &str| {
            let json = format!(r#"{{"name":"p","services":{{"backend":{{"build":{build}}}}}}}"#);
            Project::parse(&json).unwrap().build.unwrap().arguments
        };
        assert_eq!(
            arguments(r#"{"context":"/a","tags":["x"],"args":{"A":"1"}}"#),
            arguments(r#"{"context":"/b","cache_from":["y"],"args":{"A":"1"}}"#)
        );
        assert_ne!(arguments(r#"{"context":"/a","target":"x"}"#), arguments(r#"{"context":"/a"}"#));
    }

    #[test]
    fn a_project_without_the_service_names_those_it_has() {
        let error = Project::parse(r#"{"name":"p","services":{"api":{},"db":{}}}"#).unwrap_err();
        let text = crate::error::render(&error);
        assert!(text.contains("no service `backend`") && text.contains("api, db"), "{text}");
        assert!(Project::parse("no json").is_err());
    }
}
