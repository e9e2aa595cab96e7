//! The service as the decision sees it: pure judgements of what was observed.

use crate::docker::{Container, Image};
use crate::image::provenance::{Differences, Origin};
use crate::image::requirements::PATH;

/// Everything the decision rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// Name of the service's image.
    pub image_name: String,
    pub image: ImageState,
    pub container: ContainerState,
    pub drift: Drift,
    /// Whether an image is kept to roll back to.
    pub has_previous: bool,
    /// The name that the compose file gives the container, where another one has it.
    pub taken_name: Option<String>,
}

/// The service's image against the sources as they are now.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageState {
    Missing,
    /// The compose file gives no way to build it: it is pulled.
    Pulled,
    /// What it was built from is unknown.
    Unknown,
    Current,
    /// Built from other code, but from the same requirements.
    CodeChanged(Vec<String>),
    /// Built from other requirements.
    RequirementsChanged(Vec<String>),
}

/// The service's container, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    Missing,
    Stopped {
        state: String,
        exit_code: i64,
    },
    /// The engine keeps restarting it; it forgets the exit code on each start.
    CrashLooping {
        exit_code: Option<i64>,
    },
    Paused,
    Unhealthy,
    /// Running; its healthcheck has not succeeded yet.
    Starting,
    /// Running, and healthy as far as a healthcheck tells.
    Serving,
}

/// Why Compose would recreate the container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drift {
    None,
    /// The service's image is another than the container's.
    Image,
    Configuration,
}

impl Drift {
    /// `drifted` names the containers that Compose would recreate.
    pub fn of(container: Option<&Container>, image: Option<&Image>, drifted: &[String]) -> Drift {
        match container.filter(|c| drifted.iter().any(|name| name == c.name())) {
            None => Drift::None,
            Some(c) if image.is_some_and(|image| image.id == c.image) => Drift::Configuration,
            Some(_) => Drift::Image,
        }
    }
}

impl ContainerState {
    /// The state of a container; `answers` is whether one of which that is not sure
    /// answers.
    pub fn of(container: Option<&Container>, answers: bool) -> ContainerState {
        let Some(c) = container else { return ContainerState::Missing };
        let exit_code = c.state.exit_code;
        match (&*c.state.status, c.health()) {
            ("restarting", _) => ContainerState::CrashLooping { exit_code: Some(exit_code) },
            // Between two crashes it is running for a moment.
            ("running", Some("starting")) if c.restart_count > 0 => {
                ContainerState::CrashLooping { exit_code: None }
            }
            ("running", None) if c.restart_count > 0 && !answers => {
                ContainerState::CrashLooping { exit_code: None }
            }
            ("running", Some("unhealthy")) => ContainerState::Unhealthy,
            ("running", Some("starting")) if !answers => ContainerState::Starting,
            ("running", _) => ContainerState::Serving,
            ("paused", _) => ContainerState::Paused,
            (state, _) => ContainerState::Stopped { state: state.to_owned(), exit_code },
        }
    }

    /// The code that it ended with, where that is known.
    pub fn exit_code(&self) -> Option<i64> {
        match self {
            ContainerState::Stopped { exit_code, .. } => Some(*exit_code),
            ContainerState::CrashLooping { exit_code } => *exit_code,
            _ => None,
        }
    }

    /// Whether no process of it runs.
    pub fn is_down(&self) -> bool {
        matches!(self, ContainerState::Missing | ContainerState::Stopped { .. })
    }
}

impl ImageState {
    /// The state of an image of that origin.
    pub fn of(origin: &Origin, differences: &Differences) -> ImageState {
        match origin {
            Origin::Unknown => ImageState::Unknown,
            Origin::Current => ImageState::Current,
            Origin::Stale { requirements: true, .. } => {
                ImageState::RequirementsChanged(requirements_changed(differences))
            }
            Origin::Stale { requirements: false, .. } => {
                ImageState::CodeChanged(code_changed(differences))
            }
        }
    }
}

const SINCE: &str = "since the image was built";

fn requirements_changed(differences: &Differences) -> Vec<String> {
    let pins = match &*differences.pins {
        [] => String::new(),
        pins => format!(" ({})", pins.join(", ")),
    };
    vec![format!("{PATH} changed {SINCE}{pins}")]
}

fn code_changed(differences: &Differences) -> Vec<String> {
    vec![match &*differences.files {
        [] => format!("the sources changed {SINCE}"),
        [(name, word)] => format!("{name} {word} {SINCE}"),
        [(name, _), rest @ ..] => format!("{name} and {} more changed {SINCE}", rest.len()),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::requirements;

    #[test]
    fn what_changed_is_said_by_name() {
        let differences = |files: &[&str], old: &str| Differences {
            files: files.iter().map(|name| ((*name).to_owned(), "added")).collect(),
            pins: requirements::changes(
                &requirements::pins(old),
                &requirements::pins("torch==2.5.1"),
            ),
        };
        let stale = |requirements| Origin::Stale { name: "x".into(), requirements };
        let says = |text: &str| vec![text.to_owned()];
        use ImageState as I;
        for (origin, files, old, want) in [
            (Origin::Current, &[][..], "", I::Current),
            (Origin::Unknown, &[], "", I::Unknown),
            (
                stale(false),
                &["a.py"],
                "",
                I::CodeChanged(says("a.py added since the image was built")),
            ),
            (
                stale(false),
                &["a", "b", "c"],
                "",
                I::CodeChanged(says("a and 2 more changed since the image was built")),
            ),
            (
                stale(false),
                &[],
                "",
                I::CodeChanged(says("the sources changed since the image was built")),
            ),
            (
                stale(true),
                &["a"],
                "torch==2.5.0",
                I::RequirementsChanged(says(
                    "backend/requirements.txt changed since the image was built (torch 2.5.0 → 2.5.1)",
                )),
            ),
            (
                stale(true),
                &[],
                "torch==2.5.1",
                I::RequirementsChanged(says(
                    "backend/requirements.txt changed since the image was built",
                )),
            ),
        ] {
            assert_eq!(ImageState::of(&origin, &differences(files, old)), want);
        }
    }

    #[test]
    fn a_container_drifts_by_its_image_or_its_configuration() {
        let container: Container = serde_json::from_str(r#"{"Name":"/c","Image":"a"}"#).unwrap();
        let image = |id: &str| Some(crate::deploy::observe::fixture::image(id, &[]));
        let (drifted, others) = (vec!["c".to_owned()], vec!["d".to_owned()]);
        for (container, image, drifted, want) in [
            (Some(&container), image("a"), &drifted, Drift::Configuration),
            (Some(&container), image("b"), &drifted, Drift::Image),
            (Some(&container), None, &drifted, Drift::Image),
            (Some(&container), image("b"), &others, Drift::None),
            (None, image("a"), &drifted, Drift::None),
        ] {
            assert_eq!(Drift::of(container, image.as_ref(), drifted), want);
        }
    }

    #[test]
    fn every_state_of_a_container() {
        let container = |status: &str, health: &str, restarts: u64| -> Container {
            serde_json::from_str(&format!(
                r#"{{"RestartCount":{restarts},"State":{{"Status":"{status}","ExitCode":3,"Health":{{"Status":"{health}"}}}}}}"#
            ))
            .unwrap()
        };
        use ContainerState as C;
        assert_eq!(C::of(None, false), C::Missing);
        let stopped = |state: &str| C::Stopped { state: state.into(), exit_code: 3 };
        for (c, answers, want) in [
            (container("running", "none", 0), false, C::Serving),
            (container("running", "healthy", 2), false, C::Serving),
            (container("running", "starting", 0), false, C::Starting),
            (container("running", "starting", 0), true, C::Serving),
            (container("running", "starting", 1), true, C::CrashLooping { exit_code: None }),
            (container("running", "unhealthy", 0), true, C::Unhealthy),
            (container("restarting", "none", 1), false, C::CrashLooping { exit_code: Some(3) }),
            (container("paused", "none", 0), false, C::Paused),
            (container("exited", "none", 0), false, stopped("exited")),
            (container("created", "none", 0), false, stopped("created")),
        ] {
            assert_eq!(C::of(Some(&c), answers), want, "{c:?}");
            assert_eq!(want.is_down(), matches!(want, C::Stopped { .. }));
        }
        assert!(C::Missing.is_down());
    }
}
