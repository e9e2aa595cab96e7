//! The list of checks. To add one, add an entry here and, if it needs a new
//! fact, a field to [`Facts`].

use super::{Facts, Finding, Status};
use crate::{
    compose::{MIN_COMPOSE, SERVICE, recent_enough},
    decide::{self, ContainerState, ImageState},
    device::Device,
    report, requirements,
    state::State,
};

/// One check.
pub struct Check {
    /// Stable name, for programs and for [`Check::needs`].
    pub id: &'static str,
    pub title: &'static str,
    /// Ids of checks that must hold first; they stand earlier in the list.
    pub needs: &'static [&'static str],
    /// Judges the facts. Pure.
    pub evaluate: fn(&Facts) -> Finding,
}

/// All checks, the ground first.
pub const CHECKS: &[Check] = &[
    Check { id: "docker-cli", title: "Docker CLI", needs: &[], evaluate: docker_cli },
    Check { id: "engine", title: "engine", needs: &["docker-cli"], evaluate: engine },
    Check { id: "compose", title: "Compose", needs: &["docker-cli"], evaluate: compose },
    Check { id: "buildx", title: "buildx", needs: &["docker-cli"], evaluate: buildx },
    Check {
        id: "compose-file",
        title: "compose file",
        needs: &["engine", "compose"],
        evaluate: compose_file,
    },
    Check { id: "sources", title: "sources", needs: &["compose-file"], evaluate: sources },
    Check { id: "device", title: "device", needs: &["sources"], evaluate: device },
    Check { id: "image", title: "image", needs: &["sources"], evaluate: image },
    Check { id: "container", title: "container", needs: &["image"], evaluate: container },
    Check { id: "torch", title: "torch", needs: &["image"], evaluate: torch },
    Check { id: "cuda", title: "CUDA", needs: &["device", "container", "torch"], evaluate: cuda },
];

fn docker_cli(facts: &Facts) -> Finding {
    facts.cli.as_ref().map_or_else(Finding::of_error, |()| Finding::ok("on PATH"))
}

fn engine(facts: &Facts) -> Finding {
    facts.engine.as_ref().map_or_else(Finding::of_error, |engine| Finding::ok(&engine.version))
}

fn compose(facts: &Facts) -> Finding {
    let expected = format!("{}.{} or newer", MIN_COMPOSE.0, MIN_COMPOSE.1);
    let finding = match &facts.compose_version {
        Err(error) => Finding::of_error(error),
        Ok(version) if recent_enough(version) => Finding::ok(version),
        Ok(version) => {
            Finding::new(Status::Fail, format!("{version} is too old")).found(version).remedy(
                "docs.docker.com/compose/install tells how to upgrade it.",
                &["cargo xtask up --setup"],
            )
        }
    };
    finding.expected(expected)
}

fn buildx(facts: &Facts) -> Finding {
    match &facts.buildx_version {
        // `github.com/docker/buildx v0.13.1 …`
        Ok(version) => Finding::ok(version.split(' ').nth(1).unwrap_or(version)),
        Err(_) => Finding::new(Status::Fail, "the buildx plugin is missing")
            .remedy("docs.docker.com/build/install-buildx", &["cargo xtask up --setup"]),
    }
}

fn compose_file(facts: &Facts) -> Finding {
    match &facts.project {
        Ok(project) => Finding::ok(format!("project `{}` has `{SERVICE}`", project.name)),
        Err(error) => Finding::of_error(error),
    }
}

fn sources(facts: &Facts) -> Finding {
    match (&facts.state, &facts.torch_pin) {
        (Err(error), _) | (_, Err(error)) => Finding::of_error(error),
        (Ok(_), Ok(Some(pin))) => Finding::ok(format!("{} pins torch {pin}", requirements::PATH)),
        (Ok(_), Ok(None)) => {
            Finding::new(Status::Warn, format!("{} pins no torch", requirements::PATH))
                .remedy("Write `torch==<version>` there, so that nothing else pulls another.", &[])
        }
    }
}

fn device(facts: &Facts) -> Finding {
    match &facts.device {
        Err(error) => Finding::of_error(error),
        Ok(device) => Finding::ok(device.to_string()),
    }
}

fn image(facts: &Facts) -> Finding {
    with_state(facts, |state| {
        let age =
            state.image.as_ref().and_then(|image| report::age(&image.created)).unwrap_or_default();
        let found = format!("{age} old");
        match (&state.situation.image, decide::image_reason(&state.situation)) {
            (ImageState::Missing, _) => Finding::new(Status::Fail, "not built yet")
                .remedy("Build it; the first time takes several minutes.", &["cargo xtask up"]),
            (_, Some(needed)) => {
                Finding::new(Status::Warn, format!("{found}, and {}", needed.reasons.join("; ")))
                    .found(found)
                    .remedy(
                        "Put the current sources into it.",
                        &[&format!("cargo xtask {}", needed.action.word())],
                    )
            }
            (_, None) => Finding::ok(format!("{found}, from the current sources")),
        }
    })
}

fn container(facts: &Facts) -> Finding {
    with_state(facts, |state| {
        // `up`, since a mere restart may bring old sources back.
        let logs = format!("docker compose logs --tail 50 {SERVICE}");
        let fault = |message: String| {
            Finding::new(Status::Fail, message)
                .expected("running and healthy")
                .remedy("", &["cargo xtask up", &logs])
        };
        match &state.situation.container {
            ContainerState::Serving
                if state.container.as_ref().is_some_and(|c| c.health.is_none()) =>
            {
                Finding::ok("running; it has no healthcheck")
            }
            ContainerState::Serving => Finding::ok("running and healthy"),
            ContainerState::Starting => Finding::new(Status::Warn, "starting")
                .remedy("Wait until it answers.", &["cargo xtask up"]),
            ContainerState::Missing => fault("there is none".to_owned()),
            ContainerState::Paused => fault("paused".to_owned()),
            ContainerState::Unhealthy => fault("unhealthy".to_owned()),
            ContainerState::Stopped { state, exit_code } => {
                fault(format!("{state}, exit code {exit_code}"))
            }
            ContainerState::CrashLooping { exit_code } => {
                let code = exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
                fault(format!("crash-looping{code}"))
            }
        }
    })
}

fn torch(facts: &Facts) -> Finding {
    let pin = facts.torch_pin.as_ref().ok().and_then(Option::as_ref);
    let finding = match (&facts.python, pin) {
        (Err(error), _) => Finding::new(Status::Error, format!("could not look: {error:#}")),
        (Ok(_), None) => Finding::new(Status::Skipped, format!("{} pins none", requirements::PATH)),
        (Ok(python), Some(pin)) => match (python.check(pin), &python.torch) {
            (Ok(()), Ok(torch)) => Finding::ok(&torch.version),
            (checked, torch) => {
                let why = checked.err().map_or_else(String::new, |error| error.to_string());
                let finding = Finding::new(Status::Fail, why)
                    .remedy("Install what is pinned.", &["cargo xtask full"]);
                torch.as_ref().map_or(finding.clone(), |torch| finding.found(&torch.version))
            }
        },
    };
    pin.map_or(finding.clone(), |pin| finding.expected(pin))
}

fn cuda(facts: &Facts) -> Finding {
    let torch = match facts.python.as_ref().map(|python| &python.torch) {
        Ok(Ok(torch)) => torch,
        Ok(Err(why)) => return Finding::new(Status::Error, why),
        Err(error) => return Finding::new(Status::Error, format!("could not look: {error:#}")),
    };
    match (&facts.device, torch.available) {
        (Ok(Device::Cpu(why)), false) => Finding::new(Status::Skipped, *why),
        (_, true) => Finding::ok(torch.devices.join(", ")),
        (_, false) => Finding::new(Status::Fail, "torch sees no CUDA device in the container")
            .found("no device")
            .expected("at least one device")
            .remedy(
                "See whether the driver answers in the container; if not, install nvidia-container-toolkit.",
                &[&format!("docker compose exec {SERVICE} nvidia-smi"), "cargo xtask restart"],
            ),
    }
}

fn with_state(facts: &Facts, judge: impl Fn(&State) -> Finding) -> Finding {
    match &facts.state {
        Ok(state) => judge(state),
        Err(error) => Finding::new(Status::Error, format!("could not look: {error:#}")),
    }
}
