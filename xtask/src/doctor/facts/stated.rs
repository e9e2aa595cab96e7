//! Facts that a test states instead of asking for them.

use super::*;

impl Facts {
    /// Nothing is known, and nothing can be asked.
    pub fn none() -> Facts {
        let facts = Facts::about(Path::new("/nonexistent"), false);
        let nobody = Trouble { says: "nobody to ask".to_owned(), ..Trouble::default() };
        let _ = facts.docker.0.set(Err(nobody));
        facts
    }
}

macro_rules! settable {
    ($($set:ident $fact:ident: $kind:ty;)*) => {
        impl Facts {
            $(pub fn $set(self, answer: Result<$kind, &str>) -> Facts {
                let trouble = |says: &str| Trouble {
                    says: says.to_owned(),
                    unanswered: says.contains("gave no answer"),
                    ..Trouble::default()
                };
                let _ = self.$fact.0.set(answer.map_err(trouble));
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
    with_git_version git_version: String;
    with_env_file env_file: EnvFile;
    with_project project: Project;
    with_pins pins: Pins;
    with_excludes excludes: Vec<String>;
    with_forced forced: Option<Device>;
    with_container container: Option<Container>;
    with_image image: Option<Image>;
    with_machine machine: Option<Machine>;
    with_refusal refusal: Option<String>;
    with_service service: Service;
    with_port port: Option<(String, Trouble)>;
    with_health health: http::Answer;
    with_inside inside: Report;
    with_torch torch: Report;
}

impl Facts {
    pub fn with_engine_trouble(self, trouble: Trouble) -> Facts {
        let _ = self.engine.0.set(Err(trouble));
        self
    }

    pub fn with_compose_trouble(self, trouble: Trouble) -> Facts {
        let _ = self.compose_version.0.set(Err(trouble));
        self
    }
}
