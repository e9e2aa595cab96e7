//! The decision: from a situation to what has to be done and why, or a refusal.
//!
//! Pure. `cargo xtask --help` and the README show the same tree.

use std::fmt;

use super::situation::{ContainerState, Drift, ImageState, Situation};
use crate::error::Failure;
use crate::image::SERVICE;

/// What is done, and, but for the first, what can be asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    None,
    Restart,
    Fast,
    Full,
    Rollback,
}

impl Action {
    /// The command that does it, and the word in `status --json`.
    pub fn word(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::Restart => "restart",
            Action::Fast => "fast",
            Action::Full => "full",
            Action::Rollback => "rollback",
        }
    }

    /// Whether it builds an image.
    pub fn builds(self) -> bool {
        matches!(self, Action::Fast | Action::Full)
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request {
    /// Whatever is needed.
    Up,
    This(Action),
    /// `fast`, also where requirements.txt changed.
    ForcedFast,
}

impl Request {
    /// The command's name.
    pub fn word(self) -> &'static str {
        match self {
            Request::Up => "up",
            Request::This(action) => action.word(),
            Request::ForcedFast => "fast",
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

/// Chooses what to do: for [`Request::Up`] the cheapest action after which the
/// current sources and the current configuration serve. The error is a refusal.
pub fn decide(request: Request, situation: &Situation) -> Result<Decision, Failure> {
    let refuse = |message: String, hint: &str| Err(Failure::new(message).hint(hint));
    let reasons = match (request, &situation.image) {
        (Request::Up, _) => return Ok(needed(situation)),
        (Request::This(Action::Restart), ImageState::Missing) if situation.container.is_down() => {
            let message = format!("there is no image `{}` to start", situation.image_name);
            return refuse(message, "cargo xtask full");
        }
        (Request::This(Action::Rollback), _) if !situation.has_previous => {
            let message = "there is no previous image: the last one that was built serves";
            return refuse(message.to_owned(), "cargo xtask status");
        }
        (Request::This(Action::Rollback), _) => {
            Some(vec!["back to the image that served before the last swap".to_owned()])
        }
        (Request::This(Action::None | Action::Restart), _) => {
            container_reason(situation).map(|reason| vec![reason])
        }
        (_, ImageState::Pulled) => {
            let message = format!("service `{SERVICE}` has no `build` section in the compose file");
            return refuse(
                message,
                &format!("docker compose pull {SERVICE} && cargo xtask restart"),
            );
        }
        (Request::This(Action::Fast), ImageState::RequirementsChanged(changes)) => {
            return Err(Failure::new(format!("fast refuses: {}", changes.join("; ")))
                .hint("cargo xtask full")
                .hint("cargo xtask fast --force   # to build with cache all the same"));
        }
        _ => image_reason(situation).map(|image| image.reasons),
    };
    let action = if let Request::This(action) = request { action } else { Action::Fast };
    let nothing = || vec!["requested explicitly; nothing has changed".to_owned()];
    Ok(Decision { action, reasons: reasons.unwrap_or_else(nothing) })
}

/// What `up` does, which is never refused.
pub fn needed(situation: &Situation) -> Decision {
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

/// Why the image has to be built, and how; none if it is current. A mere
/// restart leaves that out.
pub fn image_reason(situation: &Situation) -> Option<Decision> {
    let name = &situation.image_name;
    let (action, reasons) = match &situation.image {
        ImageState::Missing => (Action::Full, vec![format!("there is no image `{name}` yet")]),
        ImageState::RequirementsChanged(changes) => (Action::Full, changes.clone()),
        ImageState::CodeChanged(changes) => (Action::Fast, changes.clone()),
        ImageState::Unknown => (
            Action::Fast,
            vec![format!("what `{name}` was built from is unknown (built by hand?)")],
        ),
        ImageState::Current | ImageState::Pulled => return None,
    };
    Some(Decision { action, reasons })
}

/// Why the container has to be started, restarted or recreated.
pub fn container_reason(situation: &Situation) -> Option<String> {
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
    use crate::error;

    fn code() -> ImageState {
        ImageState::CodeChanged(vec!["x changed".into()])
    }

    fn pins() -> ImageState {
        ImageState::RequirementsChanged(vec!["x changed".into()])
    }

    fn stopped(state: &str) -> ContainerState {
        ContainerState::Stopped { state: state.into(), exit_code: 1 }
    }

    fn situation(image: ImageState, container: ContainerState, drift: Drift) -> Situation {
        Situation {
            image_name: "p-backend:latest".into(),
            image,
            container,
            drift,
            has_previous: false,
        }
    }

    #[test]
    fn up_in_every_situation() {
        use {ContainerState as C, Drift as D, ImageState as I};
        const SETTINGS: &str = "restart: .env or the compose configuration changed";
        const RUNS: &str = "none: it runs, from the current sources and configuration";
        for (image, container, drift, want) in [
            (I::Missing, C::Missing, D::None, "full: there is no image `p-backend:latest` yet"),
            (I::Missing, C::Serving, D::Image, "full: there is no image `p-backend:latest` yet"),
            (pins(), C::Serving, D::None, "full: x changed"),
            (pins(), C::Missing, D::Configuration, "full: x changed"),
            (code(), C::Serving, D::None, "fast: x changed"),
            (code(), C::Unhealthy, D::Configuration, "fast: x changed"),
            (
                I::Unknown,
                C::Missing,
                D::None,
                "fast: what `p-backend:latest` was built from is unknown (built by hand?)",
            ),
            (I::Current, C::Missing, D::None, "restart: there is no container"),
            (
                I::Current,
                stopped("exited"),
                D::None,
                "restart: the container is exited (exit code 1)",
            ),
            (
                I::Current,
                stopped("created"),
                D::Configuration,
                "restart: the container was never started",
            ),
            (
                I::Current,
                C::CrashLooping { exit_code: Some(3) },
                D::None,
                "restart: the container is crash-looping (exit code 3)",
            ),
            (
                I::Current,
                C::CrashLooping { exit_code: None },
                D::None,
                "restart: the container is crash-looping",
            ),
            (I::Current, C::Paused, D::None, "restart: the container is paused"),
            (I::Current, C::Unhealthy, D::None, "restart: the container is unhealthy"),
            (I::Current, C::Serving, D::Configuration, SETTINGS),
            (I::Current, C::Starting, D::Configuration, SETTINGS),
            (
                I::Current,
                C::Serving,
                D::Image,
                "restart: the container runs an older image than `p-backend:latest`",
            ),
            (I::Current, C::Serving, D::None, RUNS),
            (I::Current, C::Starting, D::None, "none: it is starting"),
            (I::Pulled, C::Serving, D::None, RUNS),
            (I::Pulled, C::Missing, D::None, "restart: there is no container"),
        ] {
            let situation = situation(image, container, drift);
            assert_eq!(decide(Request::Up, &situation).unwrap().to_string(), want, "{situation:?}");
        }
    }

    #[test]
    fn a_request_is_given_its_reason_or_refused() {
        use {Action as A, ContainerState as C, Drift as D, ImageState as I, Request as R};
        const ASKED: &str = "requested explicitly; nothing has changed";
        const NO_IMAGE: &str =
            "error: there is no image `p-backend:latest` to start\n\nhint: cargo xtask full\n";
        const NO_BUILD: &str = "error: service `backend` has no `build` section in the compose file\n\n\
                                hint: docker compose pull backend && cargo xtask restart\n";
        for (request, image, container, want) in [
            (R::This(A::Restart), I::Current, C::Serving, &*format!("restart: {ASKED}")),
            (R::This(A::Restart), code(), C::Paused, "restart: the container is paused"),
            (R::This(A::Restart), I::Missing, C::Serving, &format!("restart: {ASKED}")),
            (R::This(A::Restart), I::Missing, C::Missing, NO_IMAGE),
            (R::This(A::Restart), I::Missing, stopped("exited"), NO_IMAGE),
            (R::This(A::Restart), I::Pulled, C::Missing, "restart: there is no container"),
            (R::This(A::Fast), code(), C::Serving, "fast: x changed"),
            (R::This(A::Fast), I::Current, C::Paused, &format!("fast: {ASKED}")),
            (
                R::This(A::Fast),
                pins(),
                C::Serving,
                "error: fast refuses: x changed\n\nhint: cargo xtask full\n\
                 hint: cargo xtask fast --force   # to build with cache all the same\n",
            ),
            (R::ForcedFast, pins(), C::Serving, "fast: x changed"),
            (R::This(A::Full), pins(), C::Serving, "full: x changed"),
            (R::This(A::Full), I::Current, C::Serving, &format!("full: {ASKED}")),
            (R::This(A::Fast), I::Pulled, C::Serving, NO_BUILD),
            (R::ForcedFast, I::Pulled, C::Serving, NO_BUILD),
            (R::This(A::Full), I::Pulled, C::Serving, NO_BUILD),
            (
                R::This(A::Rollback),
                I::Current,
                C::Serving,
                "error: there is no previous image: the last one that was built serves\n\n\
                 hint: cargo xtask status\n",
            ),
        ] {
            let situation = situation(image, container, D::None);
            let got = decide(request, &situation).map(|decision| decision.to_string());
            let got = got.unwrap_or_else(|refusal| error::render(&refusal.into()));
            assert_eq!(got, want, "{request:?} {situation:?}");
        }
        let kept = Situation { has_previous: true, ..situation(code(), C::Missing, D::None) };
        let decision = decide(R::This(A::Rollback), &kept).unwrap();
        assert_eq!(
            decision.to_string(),
            "rollback: back to the image that served before the last swap"
        );
        assert_eq!(
            [R::Up.word(), R::This(A::Full).word(), R::ForcedFast.word()],
            ["up", "full", "fast"]
        );
    }

    #[test]
    fn a_restart_leaves_out_what_needs_a_build() {
        for (image, action) in [
            (pins(), Some(Action::Full)),
            (code(), Some(Action::Fast)),
            (ImageState::Unknown, Some(Action::Fast)),
            (ImageState::Missing, Some(Action::Full)),
            (ImageState::Current, None),
            (ImageState::Pulled, None),
        ] {
            let situation = situation(image, ContainerState::Serving, Drift::None);
            assert_eq!(image_reason(&situation).map(|decision| decision.action), action);
        }
        assert!(Action::Fast.builds() && Action::Full.builds());
        assert!(![Action::None, Action::Restart, Action::Rollback].iter().any(|a| a.builds()));
    }
}
