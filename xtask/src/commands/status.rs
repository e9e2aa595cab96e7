//! `status`: what `up` would do, and how the container is.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::act::decision_line;
use crate::deploy::decide::{self, Decision};
use crate::deploy::observe::{self, Scope};
use crate::deploy::{Observation, device};
use crate::docker::Docker;
use crate::ui;
use crate::ui::durations::Durations;

/// Say what `up` would do, and how the container is
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  cargo xtask status --json | jq -r .decision"
)]
pub struct Status {
    /// Print one JSON document (the README describes it)
    #[arg(long)]
    pub json: bool,
}

impl Status {
    pub fn run(&self, root: &Path) -> Result<()> {
        let docker = Docker::new(root.to_owned())?;
        let device = device::requested(root)?;
        let observation = observe::observe(root, &docker, Scope::Decision, device)?;
        let decision = decide::needed(&observation.situation);
        if self.json {
            say!("{:#}", document(&observation, &decision));
        } else {
            say!("{}", decision_line(&decision, &Durations::of(root)));
            say!("{}", container_line(&observation));
        }
        Ok(())
    }
}

/// State, health, since when, image age and device, in one line.
fn container_line(observation: &Observation) -> String {
    let container = match &observation.container {
        None => "none".to_owned(),
        Some(c) if c.is("running") => {
            let health = c.health().map(|health| format!(", {health}")).unwrap_or_default();
            let age = ui::age(&c.state.started_at);
            let age = age.map(|age| format!(", up {age}")).unwrap_or_default();
            format!("running{health}{age}")
        }
        Some(c) if c.is("created") => "never started".to_owned(),
        Some(c) => {
            let age = ui::age(&c.state.finished_at);
            let age = age.map(|age| format!(" {age} ago")).unwrap_or_default();
            format!("{}{age} (exit code {})", c.state.status, c.state.exit_code)
        }
    };
    let age = observation.image.as_ref().map(|image| ui::age(&image.created));
    let image = match age {
        None => "none".to_owned(),
        Some(None) => "unknown age".to_owned(),
        Some(Some(age)) => format!("{age} old"),
    };
    format!("container: {container} | image: {image} | device: {}", observation.device.word())
}

/// The document of `status --json`, version 1; the README describes it.
fn document(observation: &Observation, decision: &Decision) -> Value {
    let origin = if observation.known_origin { "known" } else { "unknown" };
    json!({
        "version": 1,
        "decision": decision.action.word(),
        "reasons": decision.reasons,
        "device": observation.device.word(),
        "container": observation.container.as_ref().map(|c| json!({
            "id": c.id,
            "state": c.state.status,
            "health": c.health(),
            "started_at": c.state.started_at,
        })),
        "image": observation.image.as_ref().map(|image| json!({
            "id": image.id, "created": image.created, "origin": origin,
        })),
    })
}
