//! The service's image, its container, and whether it answers.

use serde_json::Value;

use crate::deploy::decide::{self, ContainerState, Drift, ImageState};
use crate::deploy::device::Device;
use crate::docker::SERVICE;
use crate::doctor::{Facts, Finding, facts::Service, http};
use crate::ui::report;

pub fn image(facts: &Facts) -> Finding {
    let missing = || {
        Finding::fail("not built yet")
            .remedy("Build it; the first time takes several minutes.", &["cargo xtask up"])
    };
    // Known before all else that is asked about the service.
    if let (Ok(None), Ok(Some(_))) = (facts.image(), facts.project().map(|p| &p.build)) {
        return missing();
    }
    let state = match facts.service() {
        Ok(state) => state,
        Err(trouble) => return Finding::of(&trouble),
    };
    let image = state.image.as_ref();
    let age = image.and_then(|image| report::age(&image.created)).unwrap_or_default();
    let found = format!("{age} old");
    let finding = match (&state.situation.image, decide::image_reason(&state.situation)) {
        (ImageState::Missing, _) => missing(),
        (_, Some(needed)) => Finding::warn(format!("{found}, and {}", needed.reasons.join("; ")))
            .found(found)
            .remedy(
                "Put the current sources into it.",
                &[&format!("cargo xtask {}", needed.action.word())],
            ),
        (ImageState::Pulled, None) => Finding::ok(format!("{found}, pulled rather than built")),
        (_, None) => Finding::ok(format!("{found}, from the current sources")),
    };
    finding.evidence(
        image.map(|image| format!("{} {}", state.situation.image_name, report::short(&image.id))),
    )
}

pub fn container(facts: &Facts) -> Finding {
    let state = match facts.service() {
        Ok(state) => state,
        Err(trouble) => return Finding::unknown(&trouble),
    };
    // Asked for only where something is wrong.
    let logs = || {
        let text = facts.logs().map(String::as_str).unwrap_or_default();
        text.lines().map(|line| format!("log: {line}")).collect::<Vec<_>>()
    };
    let container = state.container.as_ref();
    let restarts = container.map_or(0, |container| container.restarts);
    let show = format!("docker compose logs --tail 50 {SERVICE}");
    // `up`, since a mere restart may bring old sources back.
    let fault = |message: String| {
        Finding::fail(message)
            .expected("running and healthy")
            .remedy("", &["cargo xtask up", &show])
            .evidence(logs())
    };
    let stopped = matches!(
        state.situation.container,
        ContainerState::Missing | ContainerState::Stopped { .. }
    );
    let refused = || {
        let wanted = facts.card() == Ok(Some(true)) || facts.device() == Ok(Device::Gpu);
        wanted && matches!(facts.refusal(), Ok(Some(_)))
    };
    let finding = match (&state.situation.container, state.situation.drift) {
        // That the engine refuses the GPU is a fault of its own, further down.
        _ if stopped && refused() => {
            Finding::warn("it cannot be started, since the engine refuses the GPU it asks for")
                .remedy("See GPU access below.", &["cargo xtask doctor gpu"])
        }
        (ContainerState::Missing, _) => fault("there is none".to_owned()),
        (ContainerState::Paused, _) => fault("paused".to_owned()),
        (ContainerState::Unhealthy, _) => {
            fault("unhealthy: it runs, but does not answer".to_owned())
        }
        (ContainerState::Stopped { state, exit_code }, _) => {
            fault(format!("{state}, exit code {exit_code}{}", meaning(*exit_code)))
        }
        (ContainerState::CrashLooping { exit_code }, _) => {
            let code = exit_code
                .map(|code| format!(", exit code {code}{}", meaning(code)))
                .unwrap_or_default();
            fault(format!("crash-looping{code}, restarted {restarts} times"))
        }
        (ContainerState::Starting, _) => {
            Finding::warn("starting").remedy("Wait until it answers.", &["cargo xtask up"])
        }
        (ContainerState::Serving, Drift::Image) => Finding::warn("it runs an older image")
            .remedy("Put the new one to use.", &["cargo xtask restart"]),
        (ContainerState::Serving, Drift::Configuration) => {
            Finding::warn("it runs, but .env or the compose file changed since")
                .remedy("Let it have the new settings.", &["cargo xtask restart"])
        }
        (ContainerState::Serving, Drift::None) if restarts > 0 => {
            Finding::warn(format!("healthy, but it crashed and was restarted {restarts} times"))
                .remedy("See why it ended.", &[&show])
                .evidence(logs())
        }
        (ContainerState::Serving, Drift::None) => match container {
            Some(container) if container.health.is_none() => {
                Finding::ok("running; it has no healthcheck")
            }
            _ => Finding::ok("running and healthy"),
        },
    };
    finding.evidence(
        container.map(|c| {
            format!("{} {}, {}, restarts: {restarts}", c.name, report::short(&c.id), c.state)
        }),
    )
}

/// What people ask next about an exit code.
fn meaning(code: i64) -> &'static str {
    match code {
        137 => " (killed, most often for lack of memory)",
        139 => " (segmentation fault)",
        143 => " (somebody stopped it)",
        126 | 127 => " (its command cannot be run)",
        _ => "",
    }
}

/// The published port from here, which the healthcheck inside does not prove.
pub fn health(facts: &Facts) -> Finding {
    let container = match facts.container() {
        Ok(container) => container,
        Err(trouble) => return Finding::unknown(&trouble),
    };
    if container.is_none_or(|container| container.addresses.is_empty()) {
        return Finding::skipped("the service publishes no port");
    }
    let state = |service: &Service| service.situation.container.clone();
    if facts.service().map(state) == Ok(ContainerState::Starting) {
        return Finding::skipped("the service is starting");
    }
    let answer = match facts.health() {
        Ok(answer) => answer,
        Err(trouble) => {
            let endpoint = facts.endpoint().map(String::as_str).unwrap_or_default();
            let remote = http::remote(endpoint).is_some();
            // A port that is bound to the other machine alone is no fault.
            return if remote {
                Finding::unknown(&trouble)
            } else {
                Finding::fail("nothing answers on the published port")
                    .evidence([trouble.says])
                    .remedy(
                        "See what the service listens on, and whether a firewall is in between.",
                        &[&format!("docker compose logs --tail 50 {SERVICE}")],
                    )
            };
        }
    };
    // Whatever else a service says of itself is its own affair.
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or_default();
    let says = if model.is_empty() { String::new() } else { format!(", model: {model}") };
    let found = format!("{} on {}{says}", answer.status, answer.address);
    let advice: Vec<_> =
        body["advice"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let finding = match answer.status {
        200 if model.starts_with("failed") => Finding::warn(&found)
            .found(found)
            .remedy(&advice.join("\n"), &[&format!("docker compose logs --tail 50 {SERVICE}")]),
        200 if advice.is_empty() => Finding::ok(found),
        200 => Finding::warn(&found).found(found).remedy(&advice.join("\n"), &[]),
        _ => Finding::fail(&found)
            .found(found)
            .remedy(&advice.join("\n"), &[&format!("docker compose logs --tail 50 {SERVICE}")]),
    };
    let known = ["model", "device", "torch"]
        .iter()
        .filter_map(|key| body[key].as_str().map(|value| format!("{key}: {value}")));
    finding.expected("200").evidence(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::decide::Situation;
    use crate::docker::Container;
    use crate::doctor::{Status, http::Answer};

    fn service(
        container: ContainerState,
        image: ImageState,
        drift: Drift,
        restarts: u64,
    ) -> Service {
        let image_name = "p-backend:latest".into();
        Service {
            container: Some(Container {
                restarts,
                health: Some("x".into()),
                ..Container::default()
            }),
            image: None,
            situation: Situation { image_name, image, container, drift },
        }
    }

    #[test]
    fn images_and_containers_in_every_state() {
        use {ContainerState as C, Drift as D, ImageState as I, Status as S};
        let stale = |requirements| I::Stale { requirements, changes: vec!["x changed".into()] };
        for (image, container, drift, restarts, statuses, message) in [
            (I::Current, C::Serving, D::None, 0, [S::Ok, S::Ok], "running and healthy"),
            (I::Pulled, C::Serving, D::None, 2, [S::Ok, S::Warn], "restarted 2 times"),
            (stale(true), C::Serving, D::Image, 0, [S::Warn, S::Warn], "older image"),
            (
                stale(false),
                C::Serving,
                D::Configuration,
                0,
                [S::Warn, S::Warn],
                ".env or the compose file",
            ),
            (I::Missing, C::Missing, D::None, 0, [S::Fail, S::Fail], "there is none"),
            (I::Unknown, C::Starting, D::None, 0, [S::Warn, S::Warn], "starting"),
            (I::Current, C::Paused, D::None, 0, [S::Ok, S::Fail], "paused"),
            (I::Current, C::Unhealthy, D::None, 0, [S::Ok, S::Fail], "unhealthy"),
            (
                I::Current,
                C::Stopped { state: "exited".into(), exit_code: 137 },
                D::None,
                0,
                [S::Ok, S::Fail],
                "exited, exit code 137 (killed",
            ),
            (
                I::Current,
                C::CrashLooping { exit_code: Some(3) },
                D::None,
                4,
                [S::Ok, S::Fail],
                "crash-looping, exit code 3, restarted 4 times",
            ),
        ] {
            let facts = Facts::none().with_service(Ok(service(container, image, drift, restarts)));
            let [image, container] = [super::image(&facts), super::container(&facts)];
            assert_eq!([image.status, container.status], statuses, "{message}");
            assert!(container.message.contains(message), "{}", container.message);
            assert!(container.status == S::Ok || container.remedy.is_some());
        }
    }

    #[test]
    fn an_image_that_is_missing_is_that_whatever_else_nobody_can_say() {
        let json = r#"{"name":"p","services":{"backend":{"build":{"context":"/x"}}}}"#;
        let project = crate::docker::Project::parse(json).unwrap();
        let facts = Facts::none().with_image(Ok(None)).with_project(Ok(project));
        let finding = super::image(&facts.with_service(Err("no image is at hand")));
        assert_eq!((finding.status, &*finding.message), (Status::Fail, "not built yet"));
    }

    #[test]
    fn health_is_what_the_published_port_answers() {
        let published =
            Container { addresses: vec!["127.0.0.1:8000".into()], ..Container::default() };
        let with = |answer: Result<(u32, &str), &str>, endpoint: &str| {
            let answer = answer.map(|(status, body)| Answer {
                address: "127.0.0.1:8000".into(),
                status,
                body: body.into(),
            });
            health(
                &Facts::none()
                    .with_container(Ok(Some(published.clone())))
                    .with_endpoint(Ok(endpoint.into()))
                    .with_health(answer),
            )
        };
        let local = "unix:///var/run/docker.sock";
        for (answer, endpoint, status, message) in [
            (
                Ok((200, r#"{"model": "not loaded", "new": 1}"#)),
                local,
                Status::Ok,
                "200 on 127.0.0.1:8000, model: not loaded",
            ),
            (Ok((200, "fine")), local, Status::Ok, "200 on"),
            (
                Ok((200, r#"{"model": "failed: CUDA error", "advice": []}"#)),
                local,
                Status::Warn,
                "200 on 127.0.0.1:8000, model: failed: CUDA error",
            ),
            (Ok((200, r#"{"advice": ["Mount it."]}"#)), local, Status::Warn, "200 on"),
            (Ok((503, "{}")), local, Status::Fail, "503 on"),
            (Err("connection refused"), local, Status::Fail, "nothing answers"),
            (Err("timed out"), "ssh://me@gpu", Status::Error, "could not look: timed out"),
        ] {
            let finding = with(answer, endpoint);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.message.contains(message), "{}", finding.message);
        }
        let none = Facts::none().with_container(Ok(Some(Container::default())));
        assert_eq!(health(&none).status, Status::Skipped);
        let service = service(ContainerState::Starting, ImageState::Current, Drift::None, 0);
        let facts = Facts::none().with_container(Ok(Some(published))).with_service(Ok(service));
        assert_eq!(health(&facts).message, "the service is starting");
    }
}
