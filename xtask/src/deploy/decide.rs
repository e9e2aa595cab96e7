//! The decision tree: from what was observed to what has to be done, and why.
//!
//! Pure. `cargo xtask --help` and the README show the same tree.

use std::fmt;

/// What has to be done, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    None,
    Restart,
    Fast,
    Full,
}

impl Action {
    /// The command that does it, and the word in `status --json`.
    pub fn word(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Restart => "restart",
            Action::Fast => "fast",
            Action::Full => "full",
        }
    }
}

/// What is to be done, with at least one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub action: Action,
    pub reasons: Vec<String>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action.word(), self.reasons.join("; "))
    }
}

/// The service's image against the sources as they are now.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageState {
    Missing,
    /// The compose file gives no way to build it: it is pulled.
    Pulled,
    Unknown,
    Current,
    /// `requirements` says whether requirements.txt differs, the rest what does.
    Stale {
        requirements: bool,
        changes: Vec<String>,
    },
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
    /// Running; its healthcheck hasn't had its say yet.
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

/// Everything the decision rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// Name of the service's image.
    pub image_name: String,
    pub image: ImageState,
    pub container: ContainerState,
    pub drift: Drift,
}

/// Chooses the cheapest action after which the current sources and the current
/// configuration serve.
pub fn decide(situation: &Situation) -> Decision {
    image_reason(situation).unwrap_or_else(|| {
        let (action, reason) = match (container_reason(situation), &situation.container) {
            (Some(reason), _) => (Action::Restart, reason),
            (None, ContainerState::Starting) => (Action::None, "it is starting".to_owned()),
            (None, _) => {
                (Action::None, "it runs, from the current sources and configuration".to_owned())
            }
        };
        Decision { action, reasons: vec![reason] }
    })
}

/// The user's own choice, with what speaks for it.
pub fn chosen(action: Action, situation: &Situation) -> Decision {
    let reasons = match action {
        Action::Fast | Action::Full => image_reason(situation).map(|decision| decision.reasons),
        _ => container_reason(situation).map(|reason| vec![reason]),
    };
    Decision {
        action,
        reasons: reasons.unwrap_or_else(|| vec!["nothing calls for it, but you ask".to_owned()]),
    }
}

/// Why the image has to be built, and how; none if it is current. A mere
/// restart leaves that out.
pub fn image_reason(situation: &Situation) -> Option<Decision> {
    let name = &situation.image_name;
    let (action, reasons) = match &situation.image {
        ImageState::Missing => (Action::Full, vec![format!("there is no image `{name}` yet")]),
        ImageState::Stale { requirements: true, changes } => (Action::Full, changes.clone()),
        ImageState::Stale { requirements: false, changes } => (Action::Fast, changes.clone()),
        ImageState::Unknown => (
            Action::Fast,
            vec![format!("what `{name}` was built from is unknown (built by hand?)")],
        ),
        ImageState::Current | ImageState::Pulled => return None,
    };
    Some(Decision { action, reasons })
}

/// Why the container has to be started, restarted or recreated.
fn container_reason(situation: &Situation) -> Option<String> {
    Some(match (&situation.container, situation.drift) {
        (ContainerState::Missing, _) => "there is no container".to_owned(),
        (ContainerState::Stopped { state, .. }, _) if state == "created" => {
            "the container was never started".to_owned()
        }
        (ContainerState::Stopped { state, exit_code }, _) => {
            format!("the container is {state} (exit code {exit_code})")
        }
        (ContainerState::CrashLooping { exit_code }, _) => {
            let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
            format!("the container is crash-looping{code}")
        }
        (ContainerState::Paused, _) => "the container is paused".to_owned(),
        (ContainerState::Unhealthy, _) => "the container is unhealthy".to_owned(),
        (_, Drift::Image) => {
            format!("the container runs an older image than `{}`", situation.image_name)
        }
        (_, Drift::Configuration) => ".env or the compose configuration changed".to_owned(),
        (ContainerState::Starting | ContainerState::Serving, Drift::None) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(requirements: bool) -> ImageState {
        ImageState::Stale { requirements, changes: vec!["x changed".into()] }
    }

    fn stopped(state: &str) -> ContainerState {
        ContainerState::Stopped { state: state.into(), exit_code: 1 }
    }

    #[test]
    fn one_row_a_situation() {
        use {Action as A, ContainerState as C, Drift as D, ImageState as I};
        for (image, container, drift, action, reason) in [
            (I::Missing, C::Missing, D::None, A::Full, "no image `p-backend:latest` yet"),
            (I::Missing, C::Serving, D::Image, A::Full, "no image"),
            (stale(true), C::Serving, D::None, A::Full, "x changed"),
            (stale(true), C::Missing, D::Configuration, A::Full, "x changed"),
            (stale(false), C::Serving, D::None, A::Fast, "x changed"),
            (stale(false), C::Unhealthy, D::Configuration, A::Fast, "x changed"),
            (I::Unknown, C::Serving, D::None, A::Fast, "unknown"),
            (I::Unknown, C::Missing, D::None, A::Fast, "unknown"),
            (I::Current, C::Missing, D::None, A::Restart, "no container"),
            (I::Current, stopped("exited"), D::None, A::Restart, "exited (exit code 1)"),
            (I::Current, stopped("created"), D::Configuration, A::Restart, "never started"),
            (
                I::Current,
                C::CrashLooping { exit_code: Some(3) },
                D::None,
                A::Restart,
                "crash-looping (exit code 3)",
            ),
            (I::Current, C::Paused, D::None, A::Restart, "paused"),
            (I::Current, C::Unhealthy, D::None, A::Restart, "unhealthy"),
            (
                I::Current,
                C::Serving,
                D::Configuration,
                A::Restart,
                ".env or the compose configuration",
            ),
            (
                I::Current,
                C::Starting,
                D::Configuration,
                A::Restart,
                ".env or the compose configuration",
            ),
            (I::Current, C::Serving, D::Image, A::Restart, "older image"),
            (I::Current, C::Serving, D::None, A::None, "it runs"),
            (I::Current, C::Starting, D::None, A::None, "it is starting"),
            (I::Pulled, C::Serving, D::None, A::None, "it runs"),
            (I::Pulled, C::Missing, D::None, A::Restart, "no container"),
        ] {
            let situation =
                Situation { image_name: "p-backend:latest".into(), image, container, drift };
            let decision = decide(&situation);
            assert_eq!(decision.action, action, "{situation:?}");
            assert!(decision.reasons[0].contains(reason), "{decision} for {situation:?}");
        }
    }

    #[test]
    fn a_choice_is_given_the_reason_that_speaks_for_it() {
        let mut situation = Situation {
            image_name: "x".into(),
            image: stale(false),
            container: ContainerState::Serving,
            drift: Drift::Configuration,
        };
        assert_eq!(chosen(Action::Full, &situation).to_string(), "full: x changed");
        assert_eq!(
            chosen(Action::Restart, &situation).reasons,
            [".env or the compose configuration changed"]
        );
        situation.image = ImageState::Current;
        assert_eq!(chosen(Action::Fast, &situation).reasons, ["nothing calls for it, but you ask"]);
    }

    #[test]
    fn a_restart_says_what_it_leaves_out() {
        let situation = |image| Situation {
            image_name: "x".into(),
            image,
            container: ContainerState::Serving,
            drift: Drift::None,
        };
        for (image, action) in [
            (stale(true), Some(Action::Full)),
            (stale(false), Some(Action::Fast)),
            (ImageState::Unknown, Some(Action::Fast)),
            (ImageState::Current, None),
            (ImageState::Pulled, None),
        ] {
            assert_eq!(image_reason(&situation(image)).map(|decision| decision.action), action);
        }
    }
}
