//! Tests of `deploy/decide`.

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
        taken_name: None,
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
        (I::Current, stopped("exited"), D::None, "restart: the container is exited (exit code 1)"),
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
            "error: there is no previous image to roll back to\n\n\
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

#[test]
fn a_name_that_another_container_has_is_refused_where_one_is_created() {
    let taken = |image| Situation {
        taken_name: Some("n".into()),
        ..situation(image, ContainerState::Serving, Drift::None)
    };
    for request in [
        Request::This(Action::Fast),
        Request::This(Action::Full),
        Request::This(Action::Restart),
        Request::ForcedFast,
    ] {
        let error = decide(request, &taken(ImageState::Current)).unwrap_err();
        assert_eq!(error.to_string(), "another container has the name `n`");
    }
    assert!(decide(Request::Up, &taken(code())).is_err());
    assert!(decide(Request::Up, &taken(ImageState::Current)).is_ok(), "nothing is created");
}
