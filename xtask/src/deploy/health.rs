//! Waits until the service answers, and says why where it does not.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::docker::{Container, Docker, Project, SERVICE};
use crate::error::Failure;
use crate::process;

/// Between two looks. Each takes processor time that the service could use to start.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a container without a healthcheck has to run before it counts as up.
const SETTLED: Duration = Duration::from_secs(1);

/// Waits until the service in `project`'s container answers, at most `timeout`;
/// returns the container as it is then. Restarts by the engine that `before`
/// already had, while its process is still the same, are forgiven.
///
/// # Errors
/// When the container ends, crashes again and again, or doesn't answer in time;
/// its last log lines are printed first. With exit code 130 after Ctrl-C.
pub fn wait(
    docker: &Docker,
    project: &Project,
    before: Option<&Container>,
    timeout: Duration,
) -> Result<Container> {
    let started = Instant::now();
    let mut container = docker
        .container(project)?
        .ok_or_else(|| Failure::new("Compose made no container").hint("cargo xtask doctor"))?;
    loop {
        process::interrupted()?;
        match verdict(&container, forgiven(&container, before)) {
            Verdict::Ended => return Err(crashed(docker, container)),
            Verdict::Healthy => return Ok(container),
            Verdict::Running if container.healthcheck.is_none() && started.elapsed() > SETTLED => {
                return Ok(container);
            }
            Verdict::Running if docker.answers(&container) => return Ok(container),
            Verdict::Running => {}
        }
        if started.elapsed() > timeout {
            let message =
                format!("service `{SERVICE}` did not answer within {} s", timeout.as_secs());
            return Err(complain(docker, &container, message));
        }
        thread::sleep(PAUSE);
        container = docker.container_by_id(&container.id)?.ok_or_else(|| {
            Failure::new("the container was removed while starting").hint("cargo xtask up")
        })?;
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Ended,
    Healthy,
    Running,
}

/// How many restarts by the engine are none of ours.
fn forgiven(container: &Container, before: Option<&Container>) -> u64 {
    let same = |before: &&Container| {
        before.id == container.id && before.started_at == container.started_at
    };
    before.filter(same).map_or(0, |before| before.restarts)
}

/// A container that ended once since it was started has crashed, even if the
/// engine has restarted it by now.
fn verdict(container: &Container, forgiven: u64) -> Verdict {
    match (&*container.state, container.health.as_deref()) {
        ("running", _) if container.restarts > forgiven => Verdict::Ended,
        ("running", Some("healthy")) => Verdict::Healthy,
        ("running" | "created", _) => Verdict::Running,
        _ => Verdict::Ended,
    }
}

/// The engine forgets the exit code as soon as it restarts the container, so
/// this waits a moment for the next crash of a loop.
fn crashed(docker: &Docker, mut container: Container) -> anyhow::Error {
    for _ in 0..20 {
        if container.state != "running" {
            break;
        }
        thread::sleep(PAUSE);
        match docker.container_by_id(&container.id) {
            Ok(Some(again)) => container = again,
            _ => break,
        }
    }
    let how = match (container.restarts, &*container.state) {
        (0, state) => format!("is {state}, exit code {}", container.exit_code),
        (n, "running") => format!("ended and was restarted {n} times"),
        (n, _) => format!("is crash-looping, exit code {} ({n} restarts)", container.exit_code),
    };
    complain(docker, &container, format!("service `{SERVICE}` {how}"))
}

fn complain(docker: &Docker, container: &Container, message: String) -> anyhow::Error {
    warn!("last lines of `{SERVICE}`:");
    for line in docker.last_words(container, 20).lines() {
        warn!("  | {line}");
    }
    Failure::new(message)
        .hint(format!("docker compose logs --tail 100 {SERVICE}"))
        .hint("cargo xtask up   # when it is mended")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_seen_before_and_after_the_engine_restarts_it() {
        for (state, health, restarts, want) in [
            ("running", Some("healthy"), 0, Verdict::Healthy),
            ("running", Some("starting"), 0, Verdict::Running),
            ("running", Some("unhealthy"), 0, Verdict::Running),
            ("running", None, 0, Verdict::Running),
            ("running", Some("starting"), 1, Verdict::Ended),
            ("restarting", None, 1, Verdict::Ended),
            ("exited", None, 0, Verdict::Ended),
            ("created", None, 0, Verdict::Running),
        ] {
            let container = Container {
                state: state.into(),
                health: health.map(str::to_owned),
                restarts,
                ..Container::default()
            };
            assert_eq!(verdict(&container, 0), want, "{state} {health:?} {restarts}");
        }
        let container = |started: &str| Container {
            started_at: started.into(),
            restarts: 2,
            ..Container::default()
        };
        let (before, after) = (container("noon"), container("one"));
        assert_eq!(forgiven(&before, Some(&before)), 2, "what happened before is no fault of ours");
        assert_eq!(forgiven(&after, Some(&before)), 0, "it crashed since");
        assert_eq!(forgiven(&after, None), 0);
    }
}
