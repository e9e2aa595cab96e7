//! The plan: what an action consists of in a situation. Pure.

mod names;

use self::names::{promote, tag_or_remove};
use super::decide::{Action, Decision};
use super::device::Device;
use super::observe::Observation;
use super::operation::Phase::{Prepare, Swap};
use super::operation::{Method, Operation, Plan, When};
use super::preflight;
use super::situation::{ContainerState, Drift, ImageState};
use crate::docker::commands::{label_image, remove_images, tag};
use crate::docker::{Python, SERVICE};
use crate::image::provenance;
use crate::image::requirements::{self, PATH};
use crate::process::Invocation;
use crate::python::PROBE;

/// Stands in a plan for the ids of records of the build cache.
const SUPERSEDED_LAYERS: &str = "SUPERSEDED_LAYERS";

/// The plan of a decision. `build_options` are added to a build's command.
pub fn plan(decision: Decision, seen: &Observation, build_options: &[&str]) -> Plan {
    let planner = Planner::new(decision.action, seen);
    let mut recovery = Vec::new();
    let operations = match decision.action {
        Action::None => planner.wait(),
        Action::Restart => planner.restart(),
        Action::Rollback => planner.roll_back(),
        Action::Fast | Action::Full => {
            recovery = planner.recovery();
            let build = planner.build(&decision.reasons.join("; "), build_options);
            build.into_iter().chain(planner.swap()).collect()
        }
    };
    Plan { decision, operations, recovery }
}

/// What follows, and how to go back, once the device is known that a build had to
/// find out.
pub fn after_device(action: Action, seen: &Observation) -> (Vec<Operation>, Vec<Operation>) {
    let planner = Planner::new(action, seen);
    (planner.swap(), planner.recovery())
}

/// Makes the operations of an action from an observation.
struct Planner<'a> {
    action: Action,
    seen: &'a Observation,
    /// Names of images: the one that is built, and the one to roll back to.
    temporary: String,
    previous: String,
}

impl Planner<'_> {
    fn new(action: Action, seen: &Observation) -> Planner<'_> {
        let name = &seen.project.name;
        let (temporary, previous) = (provenance::temporary(name), provenance::previous(name));
        Planner { action, seen, temporary, previous }
    }

    /// A service that starts is waited for; what killed runs left goes.
    fn wait(&self) -> Vec<Operation> {
        let remove = self.remove(Method::Quiet, self.leftovers());
        let serves = self.seen.situation.container == ContainerState::Serving;
        let answer = Some(self.answer()).filter(|_| !serves || remove.is_some());
        answer.into_iter().chain(remove).collect()
    }

    fn restart(&self) -> Vec<Operation> {
        let Observation { docker, situation, image, running, .. } = self.seen;
        // Without an image Compose can start nothing anew.
        let drifts = situation.drift != Drift::None && situation.image != ImageState::Missing;
        let mut operations = Vec::new();
        let restart = if situation.container.is_down() || drifts {
            if let Some(image) = image.as_ref().or(running.as_ref()) {
                operations.extend(preflight::operations(self.seen, &image.id));
            }
            operations.extend(self.keep_previous().filter(|_| situation.drift == Drift::Image));
            let cause = match situation.drift {
                Drift::None => "no process of it runs",
                Drift::Image => "its image is another",
                Drift::Configuration => "its configuration is another",
            };
            self.start("start the container", cause, docker.up())
        } else {
            let cause = "its image and configuration are the same";
            self.start("restart the container's process", cause, docker.restart())
                .fails(format!("restarting `{SERVICE}` failed"), &[])
        };
        operations.extend(self.unpause());
        operations.extend([restart, self.answer()]);
        operations.extend(self.remove(Method::Quiet, self.leftovers().chain(self.kept_previous())));
        operations
    }

    /// Builds and checks a new image, which nothing uses yet.
    fn build(&self, cause: &str, options: &[&str]) -> Vec<Operation> {
        let Observation { docker, image, device, inputs, .. } = self.seen;
        let (temporary, full) = (&self.temporary, self.action == Action::Full);
        let (cache, no_cache) =
            if full { ("without", &["--no-cache"][..]) } else { ("with", &[][..]) };
        let command = docker.build(temporary, &[no_cache, options].concat());
        let does = format!("build the image {cache} cache, under a temporary tag");
        let mut operations = vec![
            Prepare
                .operation(Method::Build, does, cause, vec![command])
                .undo(vec![remove_images([temporary])])
                .fails(
                    format!("building `{SERVICE}` failed; what served before still does"),
                    &["cargo xtask up   # once it is mended"],
                ),
        ];
        if let Some(image) = image {
            let commands = vec![remove_images([temporary]), tag(&image.id, temporary)];
            let cause = "the container need not be replaced";
            operations.push(
                Prepare
                    .operation(Method::Quiet, "keep the image as it is", cause, commands)
                    .when(When::BuildIsIdenticalTo(image.id.clone())),
            );
        }
        if full {
            let pins = inputs.iter().map(|inputs| requirements::pins(&inputs.requirements));
            let pin = pins.flatten().find_map(|(name, pin)| (name == "torch").then_some(pin));
            let does = match &pin {
                Some(pin) => format!("check that torch {pin} imports in the new image"),
                None => format!("check that torch imports in the new image; {PATH} pins none"),
            };
            let (method, cause) = (Method::CheckTorch(pin), "every package was installed anew");
            let check = Prepare.operation(method, does, cause, vec![self.probe(temporary)]).fails(
                "the new image does not pass the check; the old one stays",
                &["cargo xtask full   # once it is mended"],
            );
            operations
                .push(Operation { on_failure: self.keep_failed(temporary).commands, ..check });
        }
        if *device == Device::Unknown {
            let does = "look for an NVIDIA card in a container of the new image";
            let cause = "no other image is at hand; without a card, docker-compose.cpu.yml is added below and no GPU tried";
            operations.push(Prepare.operation(Method::FindDevice, does, cause, Vec::new()));
        }
        operations
    }

    /// Puts the image under the temporary tag to use.
    fn swap(&self) -> Vec<Operation> {
        let Observation { docker, situation, .. } = self.seen;
        let temporary = &self.temporary;
        let mut operations = preflight::operations(self.seen, temporary);
        operations.extend(self.label());
        operations.extend(self.keep_previous());
        operations.extend(self.keep_nameless());
        operations.push(promote(temporary, &self.seen.service_names));
        operations.extend(self.unpause());
        // Compose counts a hung container as up to date.
        operations.push(match situation.container {
            ContainerState::Unhealthy | ContainerState::CrashLooping { .. } => {
                self.start("replace the container", "it does not answer", docker.recreate())
            }
            _ => self.start(
                "start a container of the image",
                "a running container does not change its image",
                docker.up(),
            ),
        });
        operations.push(Swap.operation(
            Method::Quiet,
            "remove the temporary tag",
            "the image has its own names",
            vec![remove_images([temporary])],
        ));
        operations.extend(self.record());
        let inputs_name = self.seen.inputs_name();
        let record = inputs_name.as_deref().map(provenance::record_name);
        operations.push(self.answer());
        operations.extend(self.remove_superseded(&[inputs_name, record]));
        operations
    }

    /// Names the image after what it is built from.
    fn label(&self) -> Option<Operation> {
        let name = self.seen.inputs_name()?;
        let does = "tag the image with the digest of its inputs";
        let cause = "the next decision compares it with the sources";
        Some(
            Prepare
                .operation(Method::Tag, does, cause, vec![tag(&self.temporary, &name)])
                .undo(vec![tag_or_remove(self.seen.id_of(&name), &name)])
                .when(When::SourcesUnchanged)
                .fails("naming the new image failed; what served before still does", &[]),
        )
    }

    /// Lists what the image is built from, where that is not done yet.
    fn record(&self) -> Option<Operation> {
        let record = provenance::record_name(&self.seen.inputs_name()?);
        let text = provenance::record(self.seen.inputs.as_ref()?);
        let does = "record what the image was built from";
        let cause = "the next decision says what changed since";
        let commands = vec![label_image(&record, provenance::LABEL, &text)];
        self.seen.id_of(&record).is_none().then(|| {
            Swap.operation(Method::Quiet, does, cause, commands)
                .undo(vec![remove_images([&record])])
                .when(When::SourcesUnchanged)
        })
    }

    /// Puts the previous image to use. What serves now, or should, is kept for
    /// inspection.
    fn roll_back(&self) -> Vec<Operation> {
        let mut operations = preflight::operations(self.seen, &self.previous);
        let current = self.seen.image.as_ref().map(|image| &*image.id);
        let failed = current.filter(|id| self.seen.id_of(&self.previous) != Some(*id));
        operations.extend(failed.map(|failed| self.keep_failed(failed)));
        operations.extend(self.put_back(&self.seen.service_names));
        operations
    }

    /// How `full` goes back by itself; empty where nothing served before.
    fn recovery(&self) -> Vec<Operation> {
        if self.action != Action::Full || self.kept_previous().is_none() {
            return Vec::new();
        }
        let names = &self.seen.service_names;
        let promoted = promote(&self.temporary, names);
        let given = [self.record(), Some(promoted), self.label(), self.keep_nameless()];
        let give_back = given.into_iter().flatten().flat_map(|operation| operation.undo).collect();
        let (does, cause) = ("give all names back", "they stood for other images before");
        let give_back = Swap.operation(Method::Quiet, does, cause, give_back);
        let mut operations = vec![self.keep_failed(&self.seen.project.image), give_back];
        // A further name may have stood for another image than the one that served.
        operations.extend(self.put_back(&names[..names.len().min(1)]));
        operations
    }

    fn put_back(&self, names: &[(String, Option<String>)]) -> Vec<Operation> {
        let mut operations = vec![promote(&self.previous, names)];
        operations.extend(self.unpause());
        let (does, up) = ("start a container of the previous image", self.seen.docker.up());
        operations.extend([self.start(does, "it is the one that served", up), self.answer()]);
        let names = self.leftovers().chain([self.previous.clone()]);
        operations.extend(self.remove(Method::Quiet, names));
        operations
    }

    /// Neither restarting nor recreating works on a frozen process.
    fn unpause(&self) -> Option<Operation> {
        let unpause = self.seen.docker.unpause();
        (self.seen.situation.container == ContainerState::Paused).then(|| {
            self.start("unpause the container", "a frozen process cannot end", unpause)
                .fails(format!("restarting `{SERVICE}` failed"), &[])
        })
    }

    fn start(&self, does: &str, cause: &str, command: Invocation) -> Operation {
        let failure = format!("starting `{SERVICE}` failed");
        Swap.operation(Method::Change, does, cause, vec![command]).fails(failure, &[])
    }

    fn answer(&self) -> Operation {
        let does = format!("wait until `{SERVICE}` answers");
        Swap.operation(Method::Await, does, "the command succeeds once it does", Vec::new())
    }

    /// Runs the probe in a throw-away container of an image.
    fn probe(&self, image: &str) -> Invocation {
        let place = Python::Image { image, gpus: None, visible: None };
        self.seen.docker.python(&place, PROBE, &[])
    }
}

#[cfg(test)]
mod tests {
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
             hint: cargo xtask up   # once it is mended\n"
        );
        assert_eq!(
            says(|method| matches!(method, Method::CheckTorch(_))),
            "error: the new image does not pass the check; the old one stays\n  because: cause\n\n\
             hint: cargo xtask full   # once it is mended\n"
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
    fn what_is_known_already_is_not_recorded_again_and_is_given_back() {
        let seen = serving();
        let name = seen.inputs_name().unwrap();
        let tag = |name: &str| name.rsplit(':').next().unwrap().to_owned();
        let seen = seen
            .named(&tag(&name), "sha256:a")
            .named(&format!("{}.record", tag(&name)), "sha256:r");
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
             remove superseded names, and images with their last one\n  \
               because: the service answers without them\n  \
               would run: docker image rm localhost/xtask/p-backend:previous\n"
        );
    }
}
