//! What the commands that change something have in common: observe, decide, plan,
//! and carry the plan out under the project's lock.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use clap::Args;

use crate::deploy::decide::{self, Action, Decision, Request};
use crate::deploy::observe::{Scope, observe};
use crate::deploy::operation::Plan;
use crate::deploy::{self, Observation, Options, device, plan};
use crate::docker::Docker;
use crate::image::sources;
use crate::ui;
use crate::ui::durations::Durations;

/// Arguments of all commands that change something.
#[derive(Args)]
pub struct Common {
    /// Only show the decision and the docker commands
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds the service may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number of seconds, 1 to 86400".to_owned()),
    }
}

/// Carries out a request, or only shows what would be done. `build_options` are
/// added to the command of a build.
/// Fails with a refusal, or when something fails.
pub fn act(root: &Path, request: Request, build_options: &[&str], common: &Common) -> Result<()> {
    let (started, since) = (Instant::now(), SystemTime::now());
    let docker = Docker::new(root.to_owned())?;
    let device = device::requested(root)?;
    let scope = match request {
        Request::Up | Request::This(Action::Restart) => Scope::Plan,
        _ => Scope::PlanWithoutDrift,
    };
    // What is built depends on them, so they come first, and under the lock.
    let fetches = request == Request::Up && sources::missing(root);
    let look = |docker: &Docker| observe(root, docker, scope, device);
    let planned = |seen: &Observation| -> Result<Plan> {
        let decision = decide::decide(request, &seen.situation)?;
        Ok(plan::plan(decision, seen, build_options))
    };
    let durations = Durations::of(root);
    if common.dry_run {
        if fetches {
            say!("would run: {}", sources::fetch_command());
        }
        let seen = look(&docker)?;
        let plan = planned(&seen)?;
        tell(&plan, &seen, &durations);
        if !plan.operations.is_empty() {
            say!("{}", plan.to_string().trim_end());
        }
        return Ok(());
    }
    let seen = if fetches { None } else { Some(look(&docker)) };
    if let Some(Ok(seen)) = &seen
        && let Ok(plan) = planned(seen)
        && plan.operations.is_empty()
    {
        tell(&plan, seen, &durations);
        seen.container.iter().for_each(|container| say!("{}", ui::answers(container)));
        return Ok(());
    }
    let (_lock, seen) = deploy::lock_project(&docker, request.word(), since, seen, |docker| {
        if fetches {
            sources::fetch_if_missing(root)?;
        }
        look(docker)
    })?;
    let plan = planned(&seen)?;
    tell(&plan, &seen, &durations);
    let left_out = decide::image_reason(&seen.situation);
    let left_out = left_out.filter(|_| plan.decision.action == Action::Restart);
    deploy::execute(root, plan, seen, durations, Options { started, timeout: common.timeout })?;
    if let Some(needed) = left_out {
        say!("not in the container: {}", needed.reasons.join("; "));
        say!("hint: cargo xtask {}", needed.action.word());
    }
    Ok(())
}

fn tell(plan: &Plan, seen: &Observation, durations: &Durations) {
    say!("{}", decision_line(&plan.decision, durations));
    if plan.decision.action != Action::None {
        deploy::tell_device(seen);
    }
}

/// The decision in one line, with how long it took last time.
pub fn decision_line(decision: &Decision, durations: &Durations) -> String {
    match durations.last(decision.action.word()) {
        Some(last) => format!("{decision} ({} last time)", ui::spoken(last)),
        None => decision.to_string(),
    }
}
