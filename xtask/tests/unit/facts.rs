//! Facts that a test states instead of asking for them.

use serde::de::DeserializeOwned;

use super::*;

/// A container, an engine or an image, as docker prints it.
pub fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

impl Facts {
    /// Nothing is known, and nothing can be asked.
    pub fn none() -> Facts {
        let facts = Facts::about(Path::new("/nonexistent"));
        let _ = facts.locked_docker.set(Err("there is no docker to ask".into()));
        facts
    }
}

macro_rules! settable {
    ($($set:ident $fact:ident: $kind:ty;)*) => {
        impl Facts {
            $(pub fn $set(self, answer: Known<$kind>) -> Facts {
                assert!(self.$fact.set(answer).is_ok(), "stated twice");
                self
            })*
        }
    };
}

settable! {
    with_endpoint endpoint: String;
    with_engine engine: Engine;
    with_compose_version compose_version: String;
    with_buildx_version buildx_version: String;
    with_builder builder: Builder;
    with_platform platform: Option<String>;
    with_git_version git_version: String;
    with_env_names env_names: Option<Names>;
    with_example_names example_names: Option<Names>;
    with_project project: Project;
    with_pins pins: Pins;
    with_excludes excludes: Vec<String>;
    with_requested requested: Option<Device>;
    with_container container: Option<Container>;
    with_image image: Option<Image>;
    with_machine machine: Option<Machine>;
    with_refusal refusal: Option<String>;
    with_service service: Service;
    with_port port: Option<(String, Trouble)>;
    with_health health: http::Answer;
    with_inside inside: Report;
    with_torch torch: Report;
    with_logs logs: String;
}
