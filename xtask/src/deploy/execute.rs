//! Carries out operations. What is done is decided by the plan alone; this only runs
//! commands and reads their answers.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::decide::Action;
use super::observe::{self, Observation};
use super::operation::{Method, Operation, Plan, When};
use super::plan;
use super::prune::Prune;
use super::{health, preflight};
use crate::docker::{Container, Image};
use crate::image::provenance;
use crate::image::requirements::{self, Pins};
use crate::process::{self, Invocation};
use crate::python::Report;
use crate::ui;
use crate::ui::durations::Durations;

/// For a script in a container: the first import of torch takes its time.
pub(super) const SCRIPT: Duration = Duration::from_secs(300);

/// How a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When the command started.
    pub started: Instant,
    /// How long the service may take to answer.
    pub timeout: Duration,
}

/// An action under way, and what its operations so far have led to.
pub(super) struct Run<'a> {
    pub root: &'a Path,
    pub action: Action,
    pub options: Options,
    pub observation: Observation,
    /// Operations that were begun, the last of which may have failed.
    pub begun: Vec<Operation>,
    /// The image to run, where it is known.
    pub image: Option<Image>,
    /// The id of the image that the build produced.
    built: Option<String>,
    /// Whether the sources are still those that the plan was made from.
    sources_unchanged: bool,
    /// What the check found installed in the new image.
    packages: Option<Pins>,
    prune: Prune,
    /// None while it rolls back by itself.
    pub durations: Option<Durations>,
    /// How to go back, by the plan.
    pub recovery: Vec<Operation>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        root: &'a Path,
        plan: &Plan,
        observation: Observation,
        options: Options,
        durations: Durations,
    ) -> Run<'a> {
        let action = plan.decision.action;
        Run {
            root,
            action,
            options,
            image: observation.image.clone(),
            observation,
            begun: Vec::new(),
            built: None,
            sources_unchanged: true,
            packages: None,
            prune: Prune::new(Duration::from_secs(if action == Action::Full { 120 } else { 2 })),
            durations: Some(durations),
            recovery: plan.recovery.clone(),
        }
    }

    pub(super) fn carry_out(&mut self, operations: Vec<Operation>) -> Result<()> {
        let mut rest = VecDeque::from(operations);
        while let Some(operation) = rest.pop_front() {
            if !self.applies(&operation.when) {
                continue;
            }
            announce(&operation);
            self.begun.push(operation.clone());
            self.perform(&operation)?;
            if operation.method == Method::FindDevice {
                let (operations, recovery) = plan::after_device(self.action, &self.observation);
                (rest, self.recovery) = (operations.into(), recovery);
            }
        }
        Ok(())
    }

    fn applies(&self, when: &When) -> bool {
        let id = self.image.as_ref().map(|image| &image.id);
        match when {
            When::Always => true,
            When::BuildIsIdenticalTo(old) => id == Some(old) && self.built.as_ref() != Some(old),
            When::Replaces(old) => id != Some(old),
            When::SourcesUnchanged => self.sources_unchanged,
            When::SourcesChanged => !self.sources_unchanged,
        }
    }

    fn perform(&mut self, operation: &Operation) -> Result<()> {
        let docker = self.observation.docker.clone();
        let mut commands = operation.commands.iter();
        match &operation.method {
            Method::Build => {
                commands.try_for_each(|command| docker.run(command))?;
                self.settle()
            }
            Method::CheckTorch(pin) => commands.try_for_each(|command| {
                let report = Report::parse(&docker.output(command, SCRIPT)?);
                report.check(pin.as_deref())?;
                self.packages = Some(report.packages);
                Ok(())
            }),
            Method::FindDevice => {
                let Observation { engine, image, .. } = &self.observation;
                let image = self.image.as_ref().or(image.as_ref());
                let device = observe::find_device(&docker, engine.as_ref(), None, image)?;
                self.observation.docker = device.docker(&docker);
                self.observation.device = device;
                tell_device(&self.observation);
                Ok(())
            }
            Method::TryGpus => commands.try_for_each(|command| match docker.refusal(command)? {
                Some(refusal) => Err(preflight::gpu_failure(&self.observation, refusal)),
                None => Ok(()),
            }),
            Method::Try => commands.try_for_each(|command| match docker.refusal(command)? {
                // Any other trouble is Compose's to report.
                Some(refusal) if refusal.is_known() => Err(refusal.into()),
                _ => Ok(()),
            }),
            Method::Change | Method::Tag => commands.try_for_each(|command| docker.change(command)),
            Method::Quiet => {
                commands.for_each(|command| drop(docker.quietly(command)));
                process::interrupted()
            }
            Method::Keep => {
                self.keep(&operation.commands);
                process::interrupted()
            }
            Method::Await => {
                let before = self.observation.container.as_ref();
                let project = &self.observation.project.name;
                let container = health::wait(&docker, project, before, self.options.timeout)?;
                self.tell(&container);
                Ok(())
            }
            Method::CompareVersions => commands.try_for_each(|command| {
                let old = docker.output(command, SCRIPT).ok();
                let old = old.map(|output| Report::parse(&output).packages);
                say!("package versions: {}", differences(old.as_ref(), self.packages.as_ref()));
                process::interrupted()
            }),
            Method::Prune => {
                let engine = self.observation.engine.as_ref();
                let engine = engine.filter(|_| self.superseded().is_some());
                let counts = engine.is_some_and(|engine| !engine.has_containerd_store());
                self.prune.remove_images(&docker, counts, commands)
            }
            Method::PruneCache => self.prune.remove_cache(&docker),
        }
    }

    /// Finds out what the build produced. Where that runs like the image that served,
    /// that one is kept, so that nothing is swapped for nothing.
    fn settle(&mut self) -> Result<()> {
        let Observation { docker, project, inputs, .. } = &self.observation;
        let temporary = provenance::temporary(&project.name);
        let new = docker.image(&temporary)?.context("the build left no image")?;
        // What was edited during the build is in the image or not.
        let now = docker.adding(None).project()?;
        if now != *project || observe::read_inputs(self.root, &now)? != *inputs {
            say!("the sources changed during the build; afterwards: cargo xtask up");
            self.sources_unchanged = false;
        }
        self.built = Some(new.id.clone());
        self.image = match self.observation.served() {
            Some(old) if old.runs_like(&new) => {
                say!("build produced an identical image");
                Some(old.clone())
            }
            _ => Some(new),
        };
        Ok(())
    }

    /// Gives an image a name for inspection, and says so where that is done.
    pub(super) fn keep(&self, commands: &[Invocation]) {
        let docker = &self.observation.docker;
        if commands.iter().all(|command| docker.quietly(command).is_ok_and(|done| done)) {
            let failed = provenance::failed(&self.observation.project.name);
            let look = format!("docker run --rm -it --entrypoint sh {failed}");
            warn!("the image is kept as {failed}; to look inside: {look}");
        }
    }

    /// The image that served before, unless it is the one that runs now.
    fn superseded(&self) -> Option<&Image> {
        let id = self.image.as_ref().map(|image| &image.id);
        self.observation.served().filter(|before| Some(&before.id) != id)
    }

    /// Says after `full` what became of the image that served before.
    pub(super) fn report(&self) -> Result<()> {
        match self.superseded().filter(|_| self.action == Action::Full) {
            Some(old) if !self.observation.has_healthcheck() => {
                let id = ui::short_id(&old.id);
                say!(
                    "the superseded image {id} stays: without a healthcheck the new one may still fail"
                );
                say!("hint: cargo xtask rollback   # if it does");
                Ok(())
            }
            Some(old) => self.prune.report(&self.observation.docker, old),
            None => Ok(()),
        }
    }

    /// Says that the service answers, and notes how long that took, unless a build
    /// had nothing to do: that says nothing about the next.
    fn tell(&mut self, container: &Container) {
        let answers = ui::answers(container);
        if self.action == Action::None {
            say!("{answers}");
            return;
        }
        let took = self.options.started.elapsed();
        let first = self.observation.image.is_none();
        if !self.action.builds() || first || self.superseded().is_some() {
            self.durations.iter_mut().for_each(|all| all.note(self.action.word(), took));
        }
        say!("{answers}, {} after the start of `{}`", ui::spoken(took), self.action.word());
    }
}

/// Names an operation that takes time or shows docker's output.
fn announce(operation: &Operation) {
    let shown = [Method::Build, Method::Change, Method::CompareVersions];
    if shown.contains(&operation.method) || matches!(operation.method, Method::CheckTorch(_)) {
        say!("==> {}", operation.does);
    }
}

/// Says that the service runs without a GPU, and why.
pub fn tell_device(observation: &Observation) {
    if let (Some(reason), Some(file)) = (observation.device.reason(), observation.docker.added()) {
        say!("{reason}: adding {file}");
    }
}

fn differences(old: Option<&Pins>, new: Option<&Pins>) -> String {
    let (Some(old), Some(new)) = (old.filter(|old| !old.is_empty()), new) else {
        return "one of the images has no Python to ask".to_owned();
    };
    let changes = requirements::changes(old, new);
    if changes.is_empty() { "none changed".to_owned() } else { changes.join(", ") }
}
