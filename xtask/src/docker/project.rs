//! What `docker compose config` says about the service.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{SERVICE, model::is_gpu_node};
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
    /// Values of its environment, wherever they come from; not for print.
    pub values: Vec<String>,
}

impl Project {
    /// Parses the JSON that `docker compose config --format json` prints.
    ///
    /// # Errors
    /// When it isn't JSON, or the project has no service `backend`.
    pub fn parse(json: &str) -> Result<Project> {
        let config: Value =
            serde_json::from_str(json).context("reading what `docker compose config` printed")?;
        let service = &config["services"][SERVICE];
        if !service.is_object() {
            let services = config["services"]
                .as_object()
                .map(|s| s.keys().cloned().collect::<Vec<_>>().join(", "));
            return Err(Failure::new(format!("the compose file has no service `{SERVICE}`"))
                .advice(format!(
                    "name the service `{SERVICE}`; the file has: {}",
                    services.unwrap_or_default()
                ))
                .into());
        }
        let name = config["name"].as_str().unwrap_or_default().to_owned();
        Ok(Project {
            image: with_tag(
                service["image"].as_str().map_or_else(|| default_image(&name), str::to_owned),
            ),
            ports: service["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(published)
                .collect(),
            build: service["build"].as_object().map(|_| build(service)),
            needs_started: needs(service, "service_started"),
            needs_healthy: needs(service, "service_healthy"),
            gpus: gpus(service),
            visible_devices: service["environment"]["CUDA_VISIBLE_DEVICES"]
                .as_str()
                .map(str::to_owned),
            values: texts(&service["environment"]),
            name,
        })
    }
}

fn texts(object: &Value) -> Vec<String> {
    let values = object.as_object().into_iter().flatten();
    values.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
}

fn needs(service: &Value, condition: &str) -> Vec<String> {
    let all = service["depends_on"].as_object().into_iter().flatten();
    all.filter(|(_, how)| how["condition"] == condition).map(|(name, _)| name.clone()).collect()
}

/// By a reservation or `gpus:`, the runtime `nvidia`, or device nodes by name.
fn gpus(service: &Value) -> Option<String> {
    let reserved = &service["deploy"]["resources"]["reservations"]["devices"];
    let requests = [reserved, &service["gpus"]].into_iter().filter_map(Value::as_array).flatten();
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
    let mut devices = service["devices"].as_array().into_iter().flatten();
    let by_name = devices.any(|device| {
        let source = device["source"].as_str().or(device.as_str()).unwrap_or_default();
        is_gpu_node(source) || source.starts_with("nvidia.com/gpu")
    });
    (by_name || service["runtime"] == "nvidia").then(|| "all".to_owned())
}

fn published(port: &Value) -> Option<String> {
    if port["protocol"] == "udp" {
        return None;
    }
    let number = port["published"].as_str()?.parse::<u16>().ok().filter(|number| *number > 0)?;
    Some(address(port["host_ip"].as_str().unwrap_or("0.0.0.0"), &number.to_string()))
}

/// `host:port`, as `docker run --publish` takes it.
pub fn address(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn build(service: &Value) -> Build {
    let mut arguments = service["build"].clone();
    let text = |value: Value| value.as_str().map(str::to_owned);
    let taken = |arguments: &mut Value, key: &str| {
        arguments.as_object_mut().and_then(|a| a.remove(key)).unwrap_or_default()
    };
    let additional = taken(&mut arguments, "additional_contexts");
    let tags = taken(&mut arguments, "tags");
    // Where the cache lies changes nothing in the image.
    for key in ["cache_from", "cache_to", "no_cache", "pull"] {
        taken(&mut arguments, key);
    }
    let context = text(taken(&mut arguments, "context")).unwrap_or_default();
    let dockerfile = text(taken(&mut arguments, "dockerfile"));
    arguments["platform"] = service["platform"].clone();
    Build {
        context,
        additional_contexts: additional
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, context)| Some((name.clone(), context.as_str()?.to_owned())))
            .filter(|(_, context)| {
                context.contains("://") || std::path::Path::new(context).is_dir()
            })
            .collect(),
        tags: tags.as_array().into_iter().flatten().filter_map(|tag| text(tag.clone())).collect(),
        dockerfile: dockerfile.filter(|_| arguments["dockerfile_inline"].is_null()),
        arguments,
    }
}

/// The name Compose gives an image that has none (`api.Separator` in its source).
fn default_image(project: &str) -> String {
    let compatible =
        std::env::var("COMPOSE_COMPATIBILITY").is_ok_and(|value| ["1", "true"].contains(&&*value));
    format!("{project}{}{SERVICE}", if compatible { "_" } else { "-" })
}

/// The name with the tag that Docker takes where it has none.
pub fn with_tag(image: String) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { image } else { format!("{image}:latest") }
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
                gpus(&serde_json::from_str(&service).unwrap()).as_deref(),
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
