//! Waits until the service answers, and says why where it does not.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::docker::{Container, Docker, SERVICE};
use crate::error::Failure;
use crate::process;

/// Between two looks. Each takes processor time that the service could use to start.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a container has to run before it is asked without a healthcheck: what answers
/// at once may not be the service yet.
const SETTLED: Duration = Duration::from_secs(1);

/// How long it has to run before it counts as up where nothing answers that could be asked.
const UNPROVEN: Duration = Duration::from_secs(10);

/// Waits until the service in the container of `project` answers, at most `timeout`;
/// returns the container as it is then. Restarts by the engine that `before`
/// already had, while its process is still the same, are forgiven.
/// Fails when the container ends, crashes again and again, or doesn't answer in time;
/// its last log lines are printed first. With exit code 130 after Ctrl-C.
pub fn wait(
    docker: &Docker,
    project: &str,
    before: Option<&Container>,
    timeout: Duration,
) -> Result<Container> {
    let started = Instant::now();
    let mut container = docker
        .container(project)?
        .ok_or_else(|| Failure::new("Compose created no container").hint("cargo xtask doctor"))?;
    loop {
        process::interrupted()?;
        match verdict(&container, forgiven(&container, before)) {
            Verdict::Ended => return Err(crashed(docker, container)),
            Verdict::Healthy => return Ok(container),
            Verdict::Running => {
                let (has_check, runs) = (container.healthcheck().is_some(), started.elapsed());
                let settled = has_check || runs > SETTLED;
                let long = !has_check && runs > UNPROVEN.min(timeout);
                if long || settled && docker.answers(&container) {
                    return Ok(container);
                }
            }
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
        before.id == container.id && before.state.started_at == container.state.started_at
    };
    before.filter(same).map_or(0, |before| before.restart_count)
}

/// A container that ended once since it was started has crashed, even if the
/// engine has restarted it by now.
fn verdict(container: &Container, forgiven: u64) -> Verdict {
    match (&*container.state.status, container.health()) {
        ("running", _) if container.restart_count > forgiven => Verdict::Ended,
        ("running", Some("healthy")) => Verdict::Healthy,
        ("running" | "created", _) => Verdict::Running,
        _ => Verdict::Ended,
    }
}

/// The engine forgets the exit code as soon as it restarts the container, so
/// this waits a moment for the next crash of a loop.
fn crashed(docker: &Docker, mut container: Container) -> anyhow::Error {
    for _ in 0..20 {
        if !container.is("running") {
            break;
        }
        thread::sleep(PAUSE);
        match docker.container_by_id(&container.id) {
            Ok(Some(again)) => container = again,
            _ => break,
        }
    }
    let how = match (container.restart_count, &*container.state.status) {
        (0, state) => format!("is {state}, exit code {}", container.state.exit_code),
        (n, "running") => format!("ended and was restarted {n} times"),
        (n, _) => {
            format!("is crash-looping, exit code {} ({n} restarts)", container.state.exit_code)
        }
    };
    complain(docker, &container, format!("service `{SERVICE}` {how}"))
}

fn complain(docker: &Docker, container: &Container, message: String) -> anyhow::Error {
    warn!("last lines of `{SERVICE}`:");
    for line in docker.last_lines(container, 20).lines() {
        warn!("  | {line}");
    }
    Failure::new(message)
        .hint(format!("docker compose logs --tail 100 {SERVICE}"))
        .hint("cargo xtask up   # after fixing it")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: &str) -> Container {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_crash_is_seen_before_and_after_the_engine_restarts_it() {
        for (state, health, restarts, want) in [
            ("running", "healthy", 0, Verdict::Healthy),
            ("running", "starting", 0, Verdict::Running),
            ("running", "unhealthy", 0, Verdict::Running),
            ("running", "none", 0, Verdict::Running),
            ("running", "starting", 1, Verdict::Ended),
            ("running", "healthy", 1, Verdict::Ended),
            ("restarting", "none", 1, Verdict::Ended),
            ("exited", "none", 0, Verdict::Ended),
            ("created", "none", 0, Verdict::Running),
        ] {
            let container = container(&format!(
                r#"{{"RestartCount":{restarts},"State":{{"Status":"{state}","Health":{{"Status":"{health}"}}}}}}"#
            ));
            assert_eq!(verdict(&container, 0), want, "{state} {health} {restarts}");
        }
    }

    #[test]
    fn restarts_from_before_are_forgiven() {
        let at = |started: &str| {
            container(&format!(
                r#"{{"Id":"c","RestartCount":2,"State":{{"StartedAt":"{started}"}}}}"#
            ))
        };
        let (before, after) = (at("noon"), at("one"));
        assert_eq!(forgiven(&before, Some(&before)), 2);
        assert_eq!(forgiven(&after, Some(&before)), 0, "it crashed since");
        assert_eq!(forgiven(&after, None), 0);
        let other = container(r#"{"Id":"d","RestartCount":2,"State":{"StartedAt":"noon"}}"#);
        assert_eq!(forgiven(&other, Some(&before)), 0, "another container");
    }
}
