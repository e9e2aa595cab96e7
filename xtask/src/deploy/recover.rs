//! Recovers from a failure or a signal, by what the plan says of undoing it.

use std::time::Instant;

use anyhow::Result;

use super::decide::Action;
use super::execute::Run;
use super::operation::{Method, Operation, Phase};
use super::situation::ContainerState;
use crate::error::{self, Failure};
use crate::image::provenance;
use crate::process::{self, Invocation};

const ROLLBACK: &str = "cargo xtask rollback   # back to the image that served before";

/// After the last operation that was begun has failed with `error`. As long as the
/// old container still serves, everything is undone. Afterwards `full` rolls back by
/// itself; other commands leave the new container to its developer and name the way
/// back.
pub(super) fn recover(run: Run, error: anyhow::Error) -> anyhow::Error {
    // The error knows of the signal; another one ends what follows.
    let interrupted = process::take_signal();
    let Some(failed) = run.begun.last().cloned() else { return error };
    let error = if interrupted { error } else { failed.explain(error) };
    match failed.phase {
        Phase::Finish => error,
        Phase::Prepare => {
            if !interrupted && !failed.on_failure.is_empty() {
                run.keep(&failed.on_failure);
            }
            run.quietly(run.undo(|_| true));
            error
        }
        Phase::Swap if failed.method != Method::Await && run.is_untouched() => {
            run.quietly(run.undo(|_| true));
            if run.observation.situation.container != ContainerState::Serving {
                return error;
            }
            Failure::new("nothing was swapped; what served before still does").because(error).into()
        }
        // Asked for again, it goes on where it was.
        Phase::Swap if interrupted && run.action == Action::Rollback => error,
        Phase::Swap => {
            run.quietly(run.undo(|operation| operation.method == Method::Build));
            let what = match failed.method {
                _ if interrupted => "interrupted before the new container answered",
                Method::Await => "the new container does not serve",
                _ => "the new container could not be started",
            };
            run.after_swap(what, error)
        }
    }
}

impl Run<'_> {
    fn after_swap(mut self, what: &str, error: anyhow::Error) -> anyhow::Error {
        if self.action == Action::Rollback {
            return error.context("the previous image does not serve");
        }
        let previous = provenance::previous(&self.observation.project.name);
        if !self.observation.docker.image(&previous).is_ok_and(|image| image.is_some()) {
            return error;
        }
        if self.action != Action::Full || self.recovery.is_empty() {
            return Failure::new(format!("{what}; the image that served before is still there"))
                .hint(ROLLBACK)
                .because(error)
                .into();
        }
        say!("{what}: rolling back to the previous image");
        let failure = match self.roll_back() {
            Ok(()) => Failure::new(format!("{what}; rolled back to the previous image")),
            Err(worse) => {
                warn!("rolling back failed: {worse:#}");
                Failure::new(format!("{what}; rolling back to the previous image failed, too"))
                    .remedy(&error::remedy(&worse))
                    .hint(ROLLBACK)
            }
        };
        failure.because(error).into()
    }

    /// Carries out what the plan has for this.
    fn roll_back(&mut self) -> Result<()> {
        self.action = Action::Rollback;
        self.options.started = Instant::now();
        self.durations = None;
        let recovery = std::mem::take(&mut self.recovery);
        self.carry_out(recovery)
    }

    /// What undoes the operations that were begun and that `which` picks, the last
    /// first.
    fn undo(&self, which: impl Fn(&Operation) -> bool) -> Vec<Invocation> {
        let begun = self.begun.iter().rev().filter(|operation| which(operation));
        begun.flat_map(|operation| operation.undo.clone()).collect()
    }

    /// The failure itself is the one to report.
    fn quietly(&self, commands: Vec<Invocation>) {
        for command in commands {
            let _ = self.observation.docker.quietly(&command);
        }
    }

    /// Whether the old container is there as it was, and no other beside it.
    fn is_untouched(&self) -> bool {
        let Some(before) = &self.observation.container else { return false };
        let project = Some(&*self.observation.project.name);
        // In the middle of a swap there are two.
        let now = self.observation.docker.containers(project);
        let Ok([now]) = now.as_deref() else {
            return false;
        };
        now.id == before.id && (now.is(&before.state.status) || now.is("running"))
    }
}
