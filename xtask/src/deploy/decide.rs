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
    // Compose removes the old container before it finds out.
    let swaps = match request {
        Request::Up => needed(situation).action != Action::None,
        Request::This(action) => action != Action::None,
        Request::ForcedFast => true,
    };
    if let Some(name) = situation.taken_name.as_ref().filter(|_| swaps) {
        return Err(Failure::new(format!("another container has the name `{name}`"))
            .advice("the compose file gives it to `backend` by `container_name`")
            .hint(format!("docker rename {name} {name}-old"))
            .hint("cargo xtask up"));
    }
    let reasons = match (request, &situation.image) {
        (Request::Up, _) => return Ok(needed(situation)),
        (Request::This(Action::Restart), ImageState::Missing) if situation.container.is_down() => {
            let message = format!("there is no image `{}` to start", situation.image_name);
            return refuse(message, "cargo xtask full");
        }
        (Request::This(Action::Rollback), _) if !situation.has_previous => {
            let message = "there is no previous image to roll back to";
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
#[path = "../../tests/unit/decide.rs"]
mod tests;
