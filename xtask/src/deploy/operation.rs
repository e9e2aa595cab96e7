//! An operation: one entry of a plan, with everything there is to know about it.

use std::fmt;

use super::decide::Decision;
use crate::error::{Failure, Remedy};
use crate::process::Invocation;

/// What is to be done, in order. A dry run prints it, [`super::execute`] carries it
/// out, and [`super::recover`] undoes it.
#[derive(Debug)]
pub struct Plan {
    pub decision: Decision,
    pub operations: Vec<Operation>,
    /// How to go back by itself where the new container does not serve; empty where
    /// that is left to the user.
    pub recovery: Vec<Operation>,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Operation {
    /// In the user's words, such as "build the image".
    pub does: String,
    /// Why it is part of the plan.
    pub cause: String,
    pub method: Method,
    pub phase: Phase,
    pub when: When,
    pub commands: Vec<Invocation>,
    /// What undoes it, as long as the old container still serves.
    pub undo: Vec<Invocation>,
    /// What keeps its result for inspection where it fails.
    pub on_failure: Vec<Invocation>,
    /// What to say where it fails, before the cause.
    pub failure: Option<(String, Remedy)>,
}

/// How the commands of an operation are run, and their answers read.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Shown; Ctrl-C ends it. Leaves a new image under the temporary tag.
    Build,
    /// Runs the probe, whose torch has to be this pin; none: any.
    CheckTorch(Option<String>),
    /// Looks for an NVIDIA card with the new image, then plans the rest anew.
    FindDevice,
    /// Starts a throw-away container with the GPUs that the service asks for.
    TryGpus,
    /// Starts a throw-away container; fails only for a known cause.
    Try,
    /// Shown, and never stopped halfway.
    Change,
    /// The same, too short to be announced.
    Tag,
    /// Not shown, and it may fail.
    Quiet,
    /// The same; says under which name the image is kept.
    Keep,
    /// Waits until the service answers.
    Await,
    /// Says which packages changed since the image that served.
    CompareVersions,
    /// Removes superseded images.
    Prune,
    /// Removes what these images alone held of the build cache.
    PruneCache,
}

/// How far the swap of containers has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The old container serves; everything can be undone.
    Prepare,
    /// The new container takes its place.
    Swap,
    /// The new container answers.
    Finish,
}

/// On what an operation depends that only the build tells.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    Always,
    /// The build produced an image that runs like this one but has another id.
    BuildIsIdenticalTo(String),
    /// The image to run is another than this one.
    Replaces(String),
    /// The sources did not change while they were built.
    SourcesUnchanged,
    SourcesChanged,
}

impl Phase {
    /// An operation of this phase.
    pub fn operation(
        self,
        method: Method,
        does: impl Into<String>,
        cause: impl Into<String>,
        commands: Vec<Invocation>,
    ) -> Operation {
        Operation {
            does: does.into(),
            cause: cause.into(),
            method,
            phase: self,
            when: When::Always,
            commands,
            undo: Vec::new(),
            on_failure: Vec::new(),
            failure: None,
        }
    }
}

impl Operation {
    pub fn when(self, when: When) -> Operation {
        Operation { when, ..self }
    }

    pub fn undo(self, undo: Vec<Invocation>) -> Operation {
        Operation { undo, ..self }
    }

    /// What to say, and what fixes it, where it fails.
    pub fn fails(self, message: impl Into<String>, commands: &[&str]) -> Operation {
        Operation { failure: Some((message.into(), Remedy::new("", commands))), ..self }
    }

    /// An error of this operation, in its own words.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.failure {
            Some((message, remedy)) => Failure::new(message).remedy(remedy).because(error).into(),
            None => error,
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            When::Always => "",
            When::BuildIsIdenticalTo(_) => ", if the build produces an identical image",
            When::Replaces(_) => ", if the image is another than before",
            When::SourcesUnchanged => ", unless the sources change during the build",
            When::SourcesChanged => ", if the sources change during the build",
        })
    }
}

impl fmt::Display for Plan {
    /// What a dry run prints beneath the decision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations.iter().try_for_each(|operation| operation.show(f, "would run"))?;
        if !self.recovery.is_empty() {
            writeln!(f, "if the new container does not serve:")?;
        }
        self.recovery.iter().try_for_each(|operation| operation.show(f, "then"))
    }
}

impl Operation {
    fn show(&self, f: &mut fmt::Formatter<'_>, would: &str) -> fmt::Result {
        let Operation { does, cause, when, commands, undo, on_failure, .. } = self;
        writeln!(f, "{does}{when}\n  because: {cause}")?;
        for command in commands {
            write!(f, "  {would}: {command}")?;
            match command.stdin_is {
                "" => writeln!(f)?,
                stdin => writeln!(f, "   # stdin: {stdin}")?,
            }
        }
        for (label, commands) in [("undone by", undo), ("if it fails", on_failure)] {
            for command in commands {
                writeln!(f, "  {label}: {command}")?;
            }
        }
        Ok(())
    }
}
