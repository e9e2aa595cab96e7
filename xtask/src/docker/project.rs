//! What `docker compose config` says about the service.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::SERVICE;
use super::model::{address, from_json, is_gpu_node, list, with_tag};
use crate::error::Failure;
use crate::image::inputs::Build;

/// The project and its service, as Compose resolves them.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    pub name: String,
    /// Name of the service's image, with its tag.
    pub image: String,
    /// `host:port` of each port that is published under a fixed number.
    pub ports: Vec<String>,
    /// How the image is built; none where the service only pulls it.
    pub build: Option<Build>,
    /// The name that the compose file gives its container.
    pub container_name: Option<String>,
    /// Services that have to have started, to be healthy, or to have ended well, before this
    /// one starts.
    pub needs_started: Vec<String>,
    pub needs_healthy: Vec<String>,
    pub needs_completed: Vec<String>,
    /// DOCKER_DEFAULT_PLATFORM, such as `linux/arm64`, where the compose file names none.
    pub default_platform: Option<String>,
    /// Whether the compose file gives it a healthcheck, or takes the image's away; none where
    /// the image decides.
    pub healthcheck: Option<bool>,
    /// The NVIDIA GPUs it asks for, as `docker run --gpus` takes them.
    pub gpus: Option<String>,
    /// The CUDA_VISIBLE_DEVICES that its container is given.
    pub visible_devices: Option<String>,
    /// Values of its environment, wherever they come from; never to be printed.
    pub values: Vec<String>,
}

impl Project {
    /// Parses the JSON that `docker compose config` prints; it may lack the service.
    pub fn parse(json: &str) -> Result<Project> {
        let config = single_dollars(from_json(json, "docker compose config")?);
        let services = entries(&config["services"]);
        let Some((_, service)) = services.clone().find(|(name, _)| *name == SERVICE) else {
            let others: Vec<_> = services.map(|(name, _)| name.as_str()).collect();
            let others = others.join(", ");
            return Err(Failure::new(format!("the compose file has no service `{SERVICE}`"))
                .advice(format!("name the service `{SERVICE}`; the file has: {others}"))
                .into());
        };
        let name = text(&config["name"]).unwrap_or_default();
        let environment = &service["environment"];
        let needs = |condition: &str| {
            let all = entries(&service["depends_on"]);
            all.filter(|(_, how)| how["condition"] == condition)
                .map(|(name, _)| name.clone())
                .collect()
        };
        Ok(Project {
            image: with_tag(&text(&service["image"]).unwrap_or_else(|| default_image(&name))),
            ports: list(&service["ports"]).filter_map(published).collect(),
            build: read_build(service),
            container_name: text(&service["container_name"]),
            needs_completed: needs("service_completed_successfully"),
            needs_started: needs("service_started"),
            needs_healthy: needs("service_healthy"),
            default_platform: None,
            healthcheck: healthcheck(&service["healthcheck"]),
            gpus: gpus(service),
            visible_devices: text(&environment["CUDA_VISIBLE_DEVICES"]),
            values: entries(environment).filter_map(|(_, value)| text(value)).collect(),
            name,
        })
    }

    /// The same where images without a platform are built for this one: Compose's `config`
    /// does not say so.
    pub fn with_platform(mut self, platform: Option<String>) -> Project {
        if let Some(build) = &mut self.build
            && build.arguments["platform"].is_null()
        {
            self.default_platform = platform;
            build.arguments["platform"] = self.default_platform.clone().into();
        }
        self
    }

    /// The names that the compose file gives the service's image.
    pub fn image_names(&self) -> impl Iterator<Item = String> + '_ {
        let tags = self.build.iter().flat_map(|build| build.tags.iter().map(|tag| with_tag(tag)));
        [self.image.clone()].into_iter().chain(tags)
    }
}

/// `config` doubles each `$` in a value, so that its output could be a compose file again
/// (docker/compose #9160).
fn single_dollars(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace("$$", "$").into(),
        Value::Array(list) => list.into_iter().map(single_dollars).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, single_dollars(v))).collect(),
        other => other,
    }
}

/// The entries of a JSON map; none where it is `null`.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> + Clone {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn healthcheck(check: &Value) -> Option<bool> {
    let disabled = check["disable"] == true || check["test"][0] == "NONE";
    // Without a test it changes how often the image's own is run.
    if disabled { Some(false) } else { check["test"].is_array().then_some(true) }
}

/// By a reservation or `gpus:`, the runtime `nvidia`, or device nodes by name.
fn gpus(service: &Value) -> Option<String> {
    let reserved = &service["deploy"]["resources"]["reservations"]["devices"];
    let request = list(reserved).chain(list(&service["gpus"])).find(|request| {
        let is_gpu = |word: &Value| word == "gpu" || word == "nvidia";
        request["driver"] == "nvidia"
            || request["capabilities"].as_array().is_none_or(|words| words.iter().any(is_gpu))
    });
    if let Some(request) = request {
        let ids: Vec<_> = list(&request["device_ids"]).filter_map(Value::as_str).collect();
        return Some(match request["count"].as_i64() {
            _ if !ids.is_empty() => format!("\"device={}\"", ids.join(",")),
            Some(count @ 1..) => count.to_string(),
            _ => "all".to_owned(),
        });
    }
    let by_name = list(&service["devices"]).any(|device| {
        let source = device["source"].as_str().or(device.as_str()).unwrap_or_default();
        is_gpu_node(source) || source.starts_with("nvidia.com/gpu")
    });
    (by_name || service["runtime"] == "nvidia").then(|| "all".to_owned())
}

fn published(port: &Value) -> Option<String> {
    let number = port["published"].as_str()?.parse::<u16>().ok().filter(|number| *number > 0)?;
    let host = port["host_ip"].as_str().unwrap_or("0.0.0.0");
    (port["protocol"] != "udp").then(|| address(host, &number.to_string()))
}

fn read_build(service: &Value) -> Option<Build> {
    let mut arguments = service["build"].as_object()?.clone();
    let mut take = |key: &str| arguments.remove(key).unwrap_or_default();
    // Where the cache lies changes nothing in the image.
    for key in ["cache_from", "cache_to", "no_cache", "pull"] {
        take(key);
    }
    let (context, dockerfile, tags) = (take("context"), take("dockerfile"), take("tags"));
    let is_known = |context: &String| context.contains("://") || Path::new(context).is_dir();
    let additional: BTreeMap<_, _> =
        serde_json::from_value(take("additional_contexts")).unwrap_or_default();
    arguments.insert("platform".to_owned(), service["platform"].clone());
    let is_inline = arguments.get("dockerfile_inline").is_some_and(|inline| !inline.is_null());
    Some(Build {
        context: text(&context).unwrap_or_default(),
        additional_contexts: additional.into_iter().filter(|(_, at)| is_known(at)).collect(),
        tags: serde_json::from_value(tags).unwrap_or_default(),
        dockerfile: text(&dockerfile).filter(|_| !is_inline),
        arguments: arguments.into(),
    })
}

/// The name Compose gives an image that has none (`api.Separator` in its source).
fn default_image(project: &str) -> String {
    let compatible = env::var("COMPOSE_COMPATIBILITY").is_ok_and(|on| on == "1" || on == "true");
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
        let ports = r#"{"ports":[{"target":9,"published":"80"},{"host_ip":"::1","published":"81"},{"target":9},{"published":"1-2"},{"published":"0"},{"published":"82","protocol":"udp"}]}"#;
        assert_eq!(parse(ports).ports, ["0.0.0.0:80", "[::1]:81"]);
        assert_eq!(parse(r#"{"image":"x"}"#).build, None);
        let needs = parse(
            r#"{"container_name":"n","depends_on":{"db":{"condition":"service_healthy"},"log":{"condition":"service_started"},"init":{"condition":"service_completed_successfully"}}}"#,
        );
        assert_eq!((&*needs.needs_started[0], &*needs.needs_healthy[0]), ("log", "db"));
        assert_eq!(
            (&*needs.needs_completed[0], needs.container_name.as_deref()),
            ("init", Some("n"))
        );
        let environment = parse(r#"{"environment":{"A":"x","B":null,"CUDA_VISIBLE_DEVICES":"1"}}"#);
        assert_eq!(environment.values, ["x", "1"]);
        assert_eq!(environment.visible_devices.as_deref(), Some("1"));
        let dollars = parse(r#"{"environment":{"A":"s3cr$$et"},"build":{"context":"/r$$x"}}"#);
        assert_eq!(dollars.values, ["s3cr$et"]);
        assert_eq!(dollars.build.unwrap().context, "/r$x");
        let named = parse(r#"{"image":"x","build":{"context":"/r","tags":["y","z:1"]}}"#);
        assert_eq!(named.image_names().collect::<Vec<_>>(), ["x:latest", "y:latest", "z:1"]);
        let contexts = r#"{"a":"/nonexistent","b":"/","c":"https://x/y.git"}"#;
        let contexts = parse(&format!(r#"{{"build":{{"additional_contexts":{contexts}}}}}"#));
        let contexts = contexts.build.unwrap().additional_contexts;
        assert_eq!(contexts.keys().collect::<Vec<_>>(), ["b", "c"]);
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
            (r#"{"devices":["nvidia.com/gpu=all"]}"#.to_owned(), Some("all")),
            (r#"{"devices":[{"source":"/dev/snd"}],"runtime":"runc"}"#.to_owned(), None),
            (reserved(r#"{"count":0,"capabilities":["nvidia"]}"#), Some("all")),
            (r#"{"deploy":{"resources":{"reservations":{"devices":null}}}}"#.to_owned(), None),
        ] {
            let read: Value = serde_json::from_str(&service).unwrap();
            assert_eq!(gpus(&read).as_deref(), want, "{service}");
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
