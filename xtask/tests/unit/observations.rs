//! Observations that a test states.

use super::*;

pub fn image(id: &str, names: &[&str]) -> Image {
    let json = serde_json::json!({ "Id": id, "RepoTags": names });
    serde_json::from_value(json).unwrap()
}

/// A service on a CPU that serves from the current sources.
pub fn serving() -> Observation {
    let json = r#"{"name":"p","services":{"backend":{"build":{"context":"/x"},"healthcheck":{"test":["CMD","true"]}}}}"#;
    let container = r#"{"Id":"c","State":{"Status":"running"},"Image":"sha256:a","HostConfig":
        {"PortBindings":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}"#;
    let files = vec!["docker-compose.yml".to_owned()];
    let image = image("sha256:a", &["p-backend:latest"]);
    Observation {
        docker: Docker::with_files("/nonexistent".into(), files).unwrap(),
        engine: Some(Engine::default()),
        project: Project::parse(json).unwrap(),
        device: Device::Cpu("x"),
        container: Some(serde_json::from_str(container).unwrap()),
        running: Some(image.clone()),
        image: Some(image),
        inputs: Some(Inputs { requirements: "torch==2.5.1\n".into(), ..Inputs::default() }),
        known_origin: true,
        own_names: Vec::new(),
        service_names: vec![("p-backend:latest".into(), Some("sha256:a".into()))],
        situation: Situation {
            image_name: "p-backend:latest".into(),
            image: ImageState::Current,
            container: ContainerState::Serving,
            drift: Drift::None,
            has_previous: false,
            taken_name: None,
        },
    }
}

impl Observation {
    /// The same with one of xtask's own names for an image.
    pub fn named(mut self, tag: &str, id: &str) -> Observation {
        let name = format!("{}:{tag}", provenance::repository("p"));
        self.situation.has_previous |= tag == "previous";
        self.own_names.push(NamedImage { name, id: id.into() });
        self
    }
}
