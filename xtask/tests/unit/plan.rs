//! The table of plans: what each command runs in each situation.

#[path = "plan_recovery.rs"]
mod recovery;

use super::*;
use crate::deploy::observe::fixture::{image, serving};
use crate::error;

/// The operations with their commands, a line each, without what differs from run
/// to run.
fn lines(action: Action, seen: &Observation) -> Vec<String> {
    let decision = Decision { action, reasons: vec!["x".to_owned()] };
    let operations = plan(decision, seen, &[]).operations;
    operations.iter().map(|operation| line(operation, &seen.inputs_name())).collect()
}

fn line(operation: &Operation, inputs_name: &Option<String>) -> String {
    let short = |commands: &[Invocation]| {
        let text: Vec<_> = commands.iter().map(ToString::to_string).collect();
        let text = text.join(" && ").replace(&provenance::temporary("p"), "TEMPORARY");
        let text = text.replace(inputs_name.as_deref().unwrap_or("INPUTS"), "INPUTS");
        let text = text.replace("localhost/xtask/p-backend:", "").replace("docker ", "");
        let words = text.split(' ').filter(|word| !word.starts_with("xtask-"));
        words.collect::<Vec<_>>().join(" ")
    };
    let Operation { method, when, commands, undo, on_failure, .. } = operation;
    let when = match when {
        When::Always => String::new(),
        when => format!(" if {when:?}"),
    };
    let mut line = format!("{method:?}{when}: {}", short(commands));
    if !undo.is_empty() {
        line += &format!(" / undo {}", short(undo));
    }
    if !on_failure.is_empty() {
        line += &format!(" / keep {}", short(on_failure));
    }
    line
}

const AWAIT: &str = "Await: ";
const UP: &str = "Change: compose up --detach --no-build backend";

#[test]
fn nothing_is_done_where_nothing_is_needed() {
    let mut seen = serving();
    assert!(lines(Action::None, &seen).is_empty());
    seen.situation.container = ContainerState::Starting;
    assert_eq!(lines(Action::None, &seen), [AWAIT]);
    let seen = serving().named("building-0", "sha256:x").named("failed", "sha256:y");
    assert_eq!(lines(Action::None, &seen), [AWAIT, "Quiet: image rm building-0"]);
}

#[test]
fn a_restart_starts_or_restarts() {
    let restart = |change: fn(&mut Observation)| {
        let mut seen = serving();
        change(&mut seen);
        lines(Action::Restart, &seen)
    };
    const RESTART: &str = "Change: compose restart --no-deps backend";
    const UNPAUSE: &str = "Change: compose unpause backend";
    let down = ContainerState::Stopped { state: "exited".into(), exit_code: 1 };
    assert_eq!(restart(|_| ()), [RESTART, AWAIT]);
    assert_eq!(
        restart(|s| s.situation.container = ContainerState::Paused),
        [UNPAUSE, RESTART, AWAIT]
    );
    assert_eq!(restart(|s| s.situation.drift = Drift::Configuration), [UP, AWAIT]);
    assert_eq!(restart(|s| s.situation.container = ContainerState::Missing), [UP, AWAIT]);
    let mut seen = serving();
    seen.situation.container = down;
    assert_eq!(lines(Action::Restart, &seen), [UP, AWAIT]);
    // Without an image Compose can start nothing anew.
    let missing = |s: &mut Observation| {
        s.situation.image = ImageState::Missing;
        s.situation.drift = Drift::Configuration;
    };
    assert_eq!(restart(missing), [RESTART, AWAIT]);
    let newer = |s: &mut Observation| {
        s.situation.drift = Drift::Image;
        s.running = Some(image("sha256:old", &[]));
    };
    assert_eq!(
        restart(newer),
        [
            "Tag if Replaces(\"sha256:old\"): tag sha256:old previous / undo image rm previous",
            UP,
            AWAIT,
            "Quiet: image rm previous",
        ]
    );
    let seen = serving().named("previous", "sha256:x").named("building-0", "sha256:y");
    assert_eq!(
        lines(Action::Restart, &seen),
        [RESTART, AWAIT, "Quiet: image rm building-0 previous"]
    );
}

#[test]
fn preflight_comes_before_a_container_is_replaced() {
    let mut seen = serving();
    seen.situation.drift = Drift::Configuration;
    seen.project.ports = vec!["127.0.0.1:8000".into(), "0.0.0.0:9".into()];
    seen.project.gpus = Some("2".into());
    seen.project.needs_started = vec!["log".into()];
    seen.project.needs_healthy = vec!["db".into()];
    assert_eq!(
        lines(Action::Restart, &seen),
        [
            "TryGpus: run --rm --gpus 2 --interactive --name --network none --entrypoint true sha256:a",
            "Try: run --rm --network bridge --publish 0.0.0.0:9:1 --interactive --name --entrypoint true sha256:a",
            "Change: compose up --detach --no-build log && compose up --detach --no-build --wait --wait-timeout 120 db",
            UP,
            AWAIT,
        ]
    );
}

#[test]
fn what_has_to_end_first_is_waited_for_by_a_container_of_the_service() {
    let mut seen = serving();
    seen.situation.drift = Drift::Configuration;
    seen.project.needs_healthy = vec!["db".into()];
    seen.project.needs_completed = vec!["init".into()];
    let run = "Change: compose --file docker-compose.yml --file - run --rm --no-TTY \
               --interactive=false --name --entrypoint true backend / undo rm --force";
    assert_eq!(lines(Action::Restart, &seen), [run, UP, AWAIT]);
}

#[test]
fn fast_builds_tags_swaps_and_prunes() {
    let seen = serving().named("0123456789abcdef-0123456789abcdef", "sha256:a");
    assert_eq!(
        lines(Action::Fast, &seen),
        [
            "Build: compose --file docker-compose.yml --file - --progress plain build backend / undo image rm TEMPORARY",
            "Quiet if BuildIsIdenticalTo(\"sha256:a\"): image rm TEMPORARY && tag sha256:a TEMPORARY",
            "Tag if SourcesUnchanged: tag TEMPORARY INPUTS / undo image rm INPUTS",
            "Tag if Replaces(\"sha256:a\"): tag sha256:a previous / undo image rm previous",
            "Tag: tag TEMPORARY p-backend:latest / undo tag sha256:a p-backend:latest",
            UP,
            "Quiet: image rm TEMPORARY",
            "Quiet if SourcesUnchanged: import --change 'LABEL xtask.record=\"{\\\"files\\\":{},\\\"pins\\\":{\\\"torch\\\":\\\"2.5.1\\\"}}\"' - INPUTS.record / undo image rm INPUTS.record",
            AWAIT,
            "Prune: image rm 0123456789abcdef-0123456789abcdef previous",
            "PruneCache if Replaces(\"sha256:a\"): buildx prune --force --filter id=SUPERSEDED_LAYERS",
        ]
    );
}

#[test]
fn once_the_device_is_known_the_rest_is_planned() {
    let seen = serving();
    let rest: Vec<_> = after_device(Action::Fast, &seen)
        .0
        .iter()
        .map(|operation| line(operation, &seen.inputs_name()))
        .collect();
    assert_eq!(rest, lines(Action::Fast, &seen)[2..]);
}

#[test]
fn an_operation_explains_its_failure() {
    let decision = Decision { action: Action::Full, reasons: vec!["x".into()] };
    let operations = plan(decision, &serving(), &[]).operations;
    let says = |method: fn(&Method) -> bool| {
        let operation = operations.iter().find(|operation| method(&operation.method)).unwrap();
        error::render(&operation.explain(anyhow::anyhow!("cause")))
    };
    assert_eq!(
        says(|method| *method == Method::Build),
        "error: building `backend` failed; what served before still does\n  because: cause\n\n\
         hint: cargo xtask up   # after fixing it\n"
    );
    assert_eq!(
        says(|method| matches!(method, Method::CheckTorch(_))),
        "error: the new image does not pass the check; the old one stays\n  because: cause\n\n\
         hint: cargo xtask full   # after fixing it\n"
    );
    assert_eq!(
        says(|method| *method == Method::Await),
        "error: cause\n\nhint: cargo xtask doctor\n"
    );
}

#[test]
fn full_checks_torch_and_compares_versions() {
    let mut seen = serving().named("failed", "sha256:f");
    let full = lines(Action::Full, &seen);
    assert_eq!(
        full[0],
        "Build: compose --file docker-compose.yml --file - --progress plain build --no-cache backend / undo image rm TEMPORARY"
    );
    assert_eq!(
        full[2],
        "CheckTorch(Some(\"2.5.1\")): run --rm --interactive --name --network none --entrypoint python3 TEMPORARY - / keep tag failed TEMPORARY-older && tag TEMPORARY failed && image rm TEMPORARY-older"
    );
    assert_eq!(
        full[full.len() - 3..],
        [
            "CompareVersions if Replaces(\"sha256:a\"): run --rm --interactive --name --network none --entrypoint python3 sha256:a -",
            "Prune: image rm failed previous",
            "PruneCache if Replaces(\"sha256:a\"): buildx prune --force --filter id=SUPERSEDED_LAYERS",
        ]
    );
    seen.inputs.as_mut().unwrap().requirements = "torch\n".into();
    assert!(lines(Action::Full, &seen)[2].starts_with("CheckTorch(None): "));
    let decision = Decision { action: Action::Full, reasons: vec!["x".into()] };
    let pull = plan(decision, &seen, &["--pull"]).operations[0].commands[0].to_string();
    assert!(pull.ends_with("build --no-cache --pull backend"), "{pull}");
}

#[test]
fn a_build_in_every_other_situation() {
    let has = |change: fn(&mut Observation), want: &str, yes: bool| {
        let mut seen = serving();
        change(&mut seen);
        let lines = lines(Action::Fast, &seen);
        assert_eq!(lines.iter().any(|line| line.contains(want)), yes, "{want}: {lines:#?}");
    };
    // Compose counts a hung container as up to date.
    has(|s| s.situation.container = ContainerState::Unhealthy, "--force-recreate", true);
    let looping = |s: &mut Observation| {
        s.situation.container = ContainerState::CrashLooping { exit_code: None }
    };
    has(looping, "--force-recreate", true);
    has(|s| s.situation.container = ContainerState::Starting, "--force-recreate", false);
    has(|s| s.situation.container = ContainerState::Paused, "unpause", true);
    has(|s| s.device = Device::Unknown, "FindDevice", true);
    has(|_| (), "FindDevice", false);
    // What failed once is not what to come back to.
    let failed = |s: &mut Observation| {
        s.situation.container = ContainerState::Missing;
        s.situation.has_previous = true;
    };
    has(failed, "tag sha256:a previous", false);
    has(failed, "image rm previous", true);
    has(|s| s.situation.container = ContainerState::Missing, "tag sha256:a previous", true);
    let first = |s: &mut Observation| (s.image, s.running) = (None, None);
    has(first, "previous", false);
    has(first, "BuildIsIdenticalTo", false);
    has(first, "PruneCache", false);
    let containerd = |s: &mut Observation| {
        let info = r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#;
        s.engine = Some(serde_json::from_str(info).unwrap());
    };
    has(containerd, "PruneCache", false);
    // An image that was built by hand and never ran loses its only name.
    let by_hand = |s: &mut Observation| s.running = Some(image("sha256:old", &[]));
    has(by_hand, "tag sha256:a TEMPORARY-nameless / undo image rm TEMPORARY-nameless", true);
    has(by_hand, "previous TEMPORARY-nameless", true);
    has(by_hand, "tag sha256:old previous", true);
    has(|_| (), "nameless", false);
    let named = |s: &mut Observation| {
        s.running = Some(image("sha256:old", &[]));
        s.image = Some(image("sha256:a", &["p-backend:latest", "mine:1"]));
    };
    has(named, "nameless", false);
    let tags = |s: &mut Observation| s.service_names.push(("p:stable".into(), None));
    has(
        tags,
        "tag TEMPORARY p:stable / undo tag sha256:a p-backend:latest && image rm p:stable",
        true,
    );
}

#[test]
fn without_a_healthcheck_the_image_that_served_stays_until_the_next_swap() {
    let kept = |seen: &Observation| {
        let mut lines = lines(Action::Fast, seen);
        lines.retain(|line| line.contains("previous") || line.contains("aside"));
        lines
    };
    let mut seen = serving();
    seen.project.healthcheck = None;
    const KEEP: &str =
        "Tag if Replaces(\"sha256:a\"): tag sha256:a previous / undo image rm previous";
    assert_eq!(kept(&seen), [KEEP]);
    // One that was kept before that goes, and comes back where the swap fails.
    let seen = seen.named("previous", "sha256:p");
    assert_eq!(
        kept(&seen),
        [
            "Tag if Replaces(\"sha256:a\"): tag previous TEMPORARY-aside && tag sha256:a previous \
             / undo tag sha256:p previous && image rm TEMPORARY-aside",
            "Prune: image rm TEMPORARY-aside",
        ]
    );
    // What does not serve is not what to go back to.
    let mut seen = seen;
    seen.situation.container = ContainerState::CrashLooping { exit_code: None };
    assert_eq!(kept(&seen), Vec::<String>::new());
}
