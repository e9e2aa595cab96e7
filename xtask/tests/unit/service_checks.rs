//! Tests of `doctor/checks/service`.

use super::*;
use crate::deploy::situation::{Drift, Situation};
use crate::docker::http::Answer;
use crate::docker::{Machine, Project};
use crate::doctor::Trouble;
use crate::doctor::checks::judge;
use crate::doctor::facts::stated::read;

fn service(container: ContainerState, image: ImageState, drift: Drift, restarts: u64) -> Service {
    let image_name = "p-backend:latest".into();
    Service {
        container: read(&format!(
            r#"{{"RestartCount":{restarts},"State":{{"Health":{{"Status":"x"}}}}}}"#
        )),
        image: None,
        situation: Situation {
            image_name,
            image,
            container,
            drift,
            has_previous: false,
            taken_name: None,
        },
    }
}

#[test]
fn images_and_containers_in_every_state() {
    use {ContainerState as C, Drift as D, ImageState as I, Status as S};
    let changes = || vec!["x changed".to_owned()];
    for (image, container, drift, restarts, statuses, message) in [
        (I::Current, C::Serving, D::None, 0, [S::Ok, S::Ok], "running and healthy"),
        (I::Pulled, C::Serving, D::None, 2, [S::Ok, S::Warn], "restarted 2 times"),
        (
            I::RequirementsChanged(changes()),
            C::Serving,
            D::Image,
            0,
            [S::Warn, S::Warn],
            "older image",
        ),
        (
            I::CodeChanged(changes()),
            C::Serving,
            D::Configuration,
            0,
            [S::Warn, S::Warn],
            ".env or the compose configuration changed",
        ),
        (I::Missing, C::Missing, D::None, 0, [S::Fail, S::Fail], "there is no container"),
        (I::Unknown, C::Starting, D::None, 0, [S::Warn, S::Warn], "starting"),
        (I::Current, C::Paused, D::None, 0, [S::Ok, S::Fail], "paused"),
        (I::Current, C::Unhealthy, D::None, 0, [S::Ok, S::Fail], "unhealthy"),
        (
            I::Current,
            C::Stopped { state: "exited".into(), exit_code: 137 },
            D::None,
            0,
            [S::Ok, S::Fail],
            "exited (exit code 137): killed, most often",
        ),
        (
            I::Current,
            C::CrashLooping { exit_code: Some(3) },
            D::None,
            4,
            [S::Ok, S::Fail],
            "crash-looping (exit code 3), restarted 4 times",
        ),
    ] {
        let facts = Facts::none().with_service(Ok(service(container, image, drift, restarts)));
        let facts = facts.with_logs(Ok("a line\n".into()));
        let [image, container] = [super::image, super::container].map(|check| judge(check, &facts));
        assert_eq!([image.status, container.status], statuses, "{message}");
        assert!(container.message.contains(message), "{}", container.message);
        assert!(container.status == S::Ok || container.remedy.is_some());
        // What the service wrote is shown only where it crashed or does not answer.
        let logged = container.evidence.contains(&"log: a line".to_owned());
        assert_eq!(logged, container.status == S::Fail || message.contains("restarted"));
    }
}

#[test]
fn a_missing_image_is_named_even_where_all_else_is_unknown() {
    let json = r#"{"name":"p","services":{"backend":{"build":{"context":"/x"}}}}"#;
    let project = Project::parse(json).unwrap();
    let facts = Facts::none().with_image(Ok(None)).with_project(Ok(project));
    let finding = judge(super::image, &facts.with_service(Err("no image".into())));
    assert_eq!((finding.status, &*finding.message), (Status::Fail, "not built yet"));
}

#[test]
fn health_is_what_the_published_port_answers() {
    let published = || {
        read(
            r#"{"NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}"#,
        )
    };
    let with = |answer: Result<(u32, &str), &str>, endpoint: &str| {
        let answer = answer.map(|(status, body)| Answer {
            address: "127.0.0.1:8000".into(),
            status,
            body: body.into(),
        });
        let facts = Facts::none().with_container(Ok(Some(published())));
        let facts = facts.with_endpoint(Ok(endpoint.into()));
        judge(health, &facts.with_health(answer.map_err(Trouble::from)))
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
        (Err("timed out"), "ssh://me@gpu", Status::Error, "timed out"),
    ] {
        let finding = with(answer, endpoint);
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(finding.message.contains(message), "{}", finding.message);
    }
    let none = Facts::none().with_container(Ok(Some(read("{}"))));
    assert_eq!(judge(health, &none).status, Status::Skipped);
    let service = service(ContainerState::Starting, ImageState::Current, Drift::None, 0);
    let facts = Facts::none().with_container(Ok(Some(published()))).with_service(Ok(service));
    assert_eq!(judge(health, &facts).message, "the service is starting");
}

#[test]
fn a_stopped_container_is_no_fault_where_the_engine_refuses_its_gpu() {
    for (requested, has_card, refusal, status) in [
        (None, true, Some("could not select device driver"), Status::Warn),
        (Some(Device::Gpu), false, Some("could not select device driver"), Status::Warn),
        (None, true, None, Status::Fail),
        (None, false, Some("could not select device driver"), Status::Fail),
    ] {
        let stopped = service(ContainerState::Missing, ImageState::Current, Drift::None, 0);
        let machine = Machine { nvidia_card: has_card, ..Machine::default() };
        let facts = Facts::none()
            .with_service(Ok(stopped))
            .with_requested(Ok(requested))
            .with_engine(Ok(read("{}")))
            .with_machine(Ok(Some(machine)))
            .with_refusal(Ok(refusal.map(str::to_owned)));
        assert_eq!(judge(container, &facts).status, status, "{requested:?} {has_card} {refusal:?}");
    }
}

#[test]
fn every_state_has_its_own_next_step() {
    use ContainerState as C;
    for (state, drift, restarts, step) in [
        (C::Serving, Drift::Image, 0, Some("cargo xtask restart")),
        (C::Serving, Drift::Configuration, 0, Some("cargo xtask restart")),
        (C::Serving, Drift::None, 1, Some("docker compose logs --tail 50 backend")),
        (C::Serving, Drift::None, 0, None),
        (C::Starting, Drift::None, 0, Some("cargo xtask up")),
        (C::Unhealthy, Drift::None, 0, Some("cargo xtask up")),
    ] {
        let service = service(state, ImageState::Current, drift, restarts);
        let finding = judge(container, &Facts::none().with_service(Ok(service)));
        assert_eq!(finding.next_step(), step, "{}", finding.message);
    }
}

#[test]
fn exit_codes_are_explained() {
    for (exit_code, want) in [
        (1, "the container is exited (exit code 1)"),
        (126, "the container is exited (exit code 126): its command cannot be run"),
        (127, "the container is exited (exit code 127): its command cannot be run"),
        (137, "the container is exited (exit code 137): killed, most often for lack of memory"),
        (139, "the container is exited (exit code 139): segmentation fault"),
        (143, "the container is exited (exit code 143): stopped by SIGTERM"),
    ] {
        let state = ContainerState::Stopped { state: "exited".into(), exit_code };
        let service = service(state, ImageState::Current, Drift::None, 0);
        let finding = judge(container, &Facts::none().with_service(Ok(service)));
        assert_eq!(finding.message, want);
    }
}
