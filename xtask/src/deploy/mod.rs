//! Brings the service to the current sources and settings.
//!
//! [`observe`] asks, [`situation`] judges, [`decide`] chooses an action or refuses,
//! [`plan`] turns it into a list of operations, [`execute`] carries that out, and
//! [`recover`] undoes it after a failure. Situation, decide and plan are pure.

pub mod decide;
pub mod device;
mod execute;
mod health;
pub mod lock;
pub mod observe;
pub mod operation;
pub mod plan;
pub mod preflight;
mod prune;
mod recover;
pub mod situation;

use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;

use self::execute::Run;
pub use self::execute::{Options, tell_device};
pub use self::health::wait;
use self::lock::Lock;
pub use self::observe::Observation;
use self::operation::Plan;
use crate::docker::Docker;
use crate::ui::durations::Durations;

/// Takes the lock of the project that was observed since `since`, in `seen` if it
/// was, and returns it with an observation that holds: another one where something
/// may have changed meanwhile. `command` is what others read that wait.
/// Fails when the project can't be observed or locked.
pub fn lock_project(
    docker: &Docker,
    command: &str,
    since: SystemTime,
    seen: Option<Result<Observation>>,
    observe: impl Fn(&Docker) -> Result<Observation>,
) -> Result<(Lock, Observation)> {
    let (engine, project) = match &seen {
        Some(Ok(Observation { engine: Some(engine), project, .. })) => {
            (engine.clone(), project.clone())
        }
        // In the middle of a swap an observation may fail; the lock waits for its end.
        _ => (docker.engine()?, docker.project()?),
    };
    let lock = lock::take(&engine.id, &project.name, command, since)?;
    let mut observation = match seen {
        Some(seen) if lock.unchanged() => seen?,
        _ => observe(docker)?,
    };
    observation.docker = observation.docker.logging_to(lock.file());
    Ok((lock, observation))
}

/// Carries out a plan, and notes how long it took.
/// Fails when an operation fails; what served before the swap then still does, or the
/// error says what does.
pub fn execute(
    root: &Path,
    plan: Plan,
    seen: Observation,
    durations: Durations,
    options: Options,
) -> Result<()> {
    let mut run = Run::new(root, &plan, seen, options, durations);
    match run.carry_out(plan.operations) {
        Ok(()) => run.report(),
        Err(error) => Err(recover::recover(run, error)),
    }
}
