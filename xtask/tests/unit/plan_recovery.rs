//! Plans that go back, and how a dry run prints one.

use super::*;

#[test]
fn what_is_known_already_is_not_recorded_again_and_is_given_back() {
    let seen = serving();
    let name = seen.inputs_name().unwrap();
    let tag = |name: &str| name.rsplit(':').next().unwrap().to_owned();
    let seen =
        seen.named(&tag(&name), "sha256:a").named(&format!("{}.record", tag(&name)), "sha256:r");
    let lines = lines(Action::Fast, &seen);
    assert!(lines.contains(
        &"Tag if SourcesUnchanged: tag TEMPORARY INPUTS / undo tag sha256:a INPUTS".to_owned()
    ));
    assert!(!lines.iter().any(|line| line.contains("import")), "{lines:#?}");
    assert!(lines.contains(&"Prune: image rm previous".to_owned()), "{lines:#?}");
    let stale = "Prune if SourcesChanged: image rm INPUTS INPUTS.record";
    assert!(lines.contains(&stale.to_owned()), "{lines:#?}");
}

#[test]
fn a_rollback_puts_the_previous_image_back() {
    let mut seen = serving().named("previous", "sha256:p").named("failed", "sha256:f");
    let keep =
        "Keep: tag failed TEMPORARY-older && tag sha256:a failed && image rm TEMPORARY-older";
    let back = [
        "Tag: tag previous p-backend:latest / undo tag sha256:a p-backend:latest",
        UP,
        AWAIT,
        "Quiet: image rm previous",
    ];
    let mut want = vec![keep];
    want.extend(back);
    assert_eq!(lines(Action::Rollback, &seen), want);
    // What would refuse the swap is found first.
    seen.project.ports = vec!["0.0.0.0:9".into()];
    assert!(lines(Action::Rollback, &seen)[0].starts_with("Try: "));
    // It was interrupted after it had moved the name.
    seen.project.ports.clear();
    seen.own_names[0].id = "sha256:a".into();
    assert_eq!(lines(Action::Rollback, &seen), back);
    // Nor does its container answer, which Compose would leave as it is.
    seen.situation.container = ContainerState::Unhealthy;
    assert!(lines(Action::Rollback, &seen)[1].contains("--force-recreate"));
}

#[test]
fn full_knows_beforehand_how_it_goes_back() {
    let mut seen = serving().named("failed", "sha256:f");
    seen.service_names.push(("p:stable".into(), None));
    let recovery = |action, seen: &Observation| -> Vec<String> {
        let decision = Decision { action, reasons: vec!["x".into()] };
        let recovery = plan(decision, seen, &[]).recovery;
        recovery.iter().map(|operation| line(operation, &seen.inputs_name())).collect()
    };
    let want = [
        "Keep: tag failed TEMPORARY-older && tag p-backend:latest failed && image rm TEMPORARY-older",
        "Quiet: image rm INPUTS.record && tag sha256:a p-backend:latest && image rm p:stable && image rm INPUTS",
        "Tag: tag previous p-backend:latest / undo tag sha256:a p-backend:latest",
        UP,
        AWAIT,
        "Quiet: image rm previous",
    ];
    assert_eq!(recovery(Action::Full, &seen), want);
    assert_eq!(after_device(Action::Full, &seen).1.len(), want.len());
    // By then it is unpaused, and replaced.
    seen.situation.container = ContainerState::Paused;
    assert_eq!(recovery(Action::Full, &seen), want);
    assert!(recovery(Action::Fast, &seen).is_empty());
    (seen.image, seen.running) = (None, None);
    assert!(recovery(Action::Full, &seen).is_empty(), "nothing served before");
}

#[test]
fn a_dry_run_shows_cause_commands_condition_and_undo() {
    let mut seen = serving();
    seen.situation.drift = Drift::Image;
    seen.running = Some(image("sha256:old", &[]));
    let decision = Decision { action: Action::Restart, reasons: vec!["x".into()] };
    assert_eq!(
        plan(decision, &seen, &[]).to_string(),
        "keep the image that served, for a rollback, if the image is another than before\n  \
           because: the new one may not serve\n  \
           would run: docker tag sha256:old localhost/xtask/p-backend:previous\n  \
           undone by: docker image rm localhost/xtask/p-backend:previous\n\
         start the container\n  \
           because: its image is another\n  \
           would run: docker compose up --detach --no-build backend\n\
         wait until `backend` answers\n  \
           because: the command succeeds once it does\n\
         remove superseded tags; an image goes with its last tag\n  \
           because: the service no longer needs them\n  \
           would run: docker image rm localhost/xtask/p-backend:previous\n"
    );
}
