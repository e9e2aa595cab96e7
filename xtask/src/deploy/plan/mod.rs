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
    /// What an image built now is named after its inputs, digested once.
    inputs_name: Option<String>,
}

impl Planner<'_> {
    fn new(action: Action, seen: &Observation) -> Planner<'_> {
        let name = &seen.project.name;
        let (temporary, previous) = (provenance::temporary(name), provenance::previous(name));
        Planner { action, seen, temporary, previous, inputs_name: seen.inputs_name() }
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
        operations
            .extend(self.remove(Method::Quiet, self.leftovers().chain(self.spent_previous())));
        operations
    }

    /// Builds and checks a new image, which nothing uses yet.
    fn build(&self, cause: &str, options: &[&str]) -> Vec<Operation> {
        let Observation { docker, device, inputs, .. } = self.seen;
        let (temporary, full) = (&self.temporary, self.action == Action::Full);
        let (cache, no_cache) =
            if full { ("without", &["--no-cache"][..]) } else { ("with", &[][..]) };
        let command = docker.build(temporary, &[no_cache, options].concat());
        let does = format!("build the image {cache} cache, under a temporary tag");
        let again = "cargo xtask up   # after fixing it";
        let unset = "unset DOCKER_DEFAULT_PLATFORM   # or remove it from .env";
        let (target, hints) = match self.seen.foreign_platform() {
            Some(platform) => {
                (format!(" for {platform}, which the engine is not,"), vec![unset, again])
            }
            None => (String::new(), vec![again]),
        };
        let failure = format!("building `{SERVICE}`{target} failed; what served before still does");
        let build = Prepare.operation(Method::Build, does, cause, vec![command]);
        let build = build.undo(vec![remove_images([temporary])]).fails(failure, &hints);
        let mut operations = vec![build];
        if let Some(served) = self.seen.served() {
            let commands = vec![remove_images([temporary]), tag(&served.id, temporary)];
            let cause = "the container need not be replaced";
            operations.push(
                Prepare
                    .operation(Method::Quiet, "keep the image as it is", cause, commands)
                    .when(When::BuildIsIdenticalTo(served.id.clone())),
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
                &["cargo xtask full   # after fixing it"],
            );
            operations
                .push(Operation { on_failure: self.keep_failed(temporary).commands, ..check });
        }
        if *device == Device::Unknown {
            let does = "look for an NVIDIA card in a container of the new image";
            let cause = "the engine has no other image; without a card, docker-compose.cpu.yml is added below and the GPU check is left out";
            operations.push(Prepare.operation(Method::FindDevice, does, cause, Vec::new()));
        }
        operations
    }

    /// Puts the image under the temporary tag to use.
    fn swap(&self) -> Vec<Operation> {
        let temporary = &self.temporary;
        let mut operations = preflight::operations(self.seen, temporary);
        operations.extend(self.label());
        operations.extend(self.keep_previous());
        operations.extend(self.keep_nameless());
        operations.push(promote(temporary, &self.seen.service_names));
        operations.extend(self.unpause());
        let cause = "a running container does not change its image";
        operations.push(self.replace("start a container of the image", cause));
        operations.push(Swap.operation(
            Method::Quiet,
            "remove the temporary tag",
            "the image has its own names",
            vec![remove_images([temporary])],
        ));
        operations.extend(self.record());
        operations.push(self.answer());
        let record = self.inputs_name.as_deref().map(provenance::record_name);
        operations.extend(self.remove_superseded(&[self.inputs_name.clone(), record]));
        operations
    }

    /// Names the image after what it is built from.
    fn label(&self) -> Option<Operation> {
        let name = self.inputs_name.as_deref()?;
        let does = "tag the image with the digest of its inputs";
        let cause = "the next decision compares it with the sources";
        Some(
            Prepare
                .operation(Method::Tag, does, cause, vec![tag(&self.temporary, name)])
                .undo(vec![tag_or_remove(self.seen.id_of(name), name)])
                .when(When::SourcesUnchanged)
                .fails("naming the new image failed; what served before still does", &[]),
        )
    }

    /// Lists what the image is built from, where that is not done yet.
    fn record(&self) -> Option<Operation> {
        let record = provenance::record_name(self.inputs_name.as_deref()?);
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
        operations.extend(self.put_back(&self.seen.service_names, self.unpause()));
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
        // A further name may have stood for another image than the one that served. A
        // container that was paused was unpaused or replaced before.
        operations.extend(self.put_back(&names[..names.len().min(1)], None));
        operations
    }

    fn put_back(
        &self,
        names: &[(String, Option<String>)],
        frozen: Option<Operation>,
    ) -> Vec<Operation> {
        let (does, cause) =
            ("start a container of the previous image", "it is the one that served");
        let mut operations = vec![promote(&self.previous, names)];
        operations.extend(frozen);
        operations.extend([self.replace(does, cause), self.answer()]);
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

    /// Starts a container of the image that has the service's names now.
    fn replace(&self, does: &str, cause: &str) -> Operation {
        let docker = &self.seen.docker;
        match self.seen.situation.container {
            // Compose counts a hung container as up to date.
            ContainerState::Unhealthy | ContainerState::CrashLooping { .. } => {
                self.start("replace the container", "it does not answer", docker.recreate())
            }
            _ => self.start(does, cause, docker.up()),
        }
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
#[path = "../../../tests/unit/plan.rs"]
mod tests;
