//! `doctor`: names what is broken, and what fixes it.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::doctor::{self, Facts, Fix, Outcome, Status, print};
use crate::{error, process};

/// Name what is broken, and the command that fixes it
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
What a check needs is checked along with it, and shown only if it broke.
Exits with 1 if anything is broken.

Example:
  cargo xtask doctor gpu --verbose"
)]
pub struct Doctor {
    /// Checks or groups of checks, such as torch or gpu; none: all
    #[arg(value_name = "CHECK")]
    pub checks: Vec<String>,
    /// List the checks
    #[arg(long)]
    pub list: bool,
    /// Show what each finding rests on, and how long it took
    #[arg(short, long)]
    pub verbose: bool,
    /// Fix what is safe to fix inside the repository
    #[arg(long, conflicts_with = "json")]
    pub fix: bool,
    /// Count a machine without an NVIDIA card as broken
    #[arg(long)]
    pub require_gpu: bool,
    /// Print one JSON document (the README describes it)
    #[arg(long)]
    pub json: bool,
}

impl Doctor {
    /// Prints what the checks found for the clone at `root`, for people or as one JSON
    /// document. The exit code: 1 if a check or a fix failed. Changes nothing without
    /// `--fix`.
    /// Fails with exit code 2 for a check that does not exist, and with 130 after Ctrl-C.
    pub fn run(&self, root: &Path) -> Result<i32> {
        if self.list {
            print::list();
            return Ok(0);
        }
        let selection = doctor::select(&self.checks)?;
        let (mut fixed, mut all_fixed) = (Vec::new(), true);
        let outcomes = loop {
            let mut facts = Facts::about(root);
            facts.require_gpu = self.require_gpu;
            facts.fixed.clone_from(&fixed);
            let outcomes = doctor::examine(&selection, &facts, |outcome| {
                if !self.json {
                    print::outcome(outcome, self.verbose);
                }
            });
            process::interrupted()?;
            let Some(fix) = next_fix(&outcomes, &fixed).filter(|_| self.fix) else {
                break outcomes;
            };
            say!("fix: {}", fix.name);
            // Other fixes are tried even if this one fails.
            if let Err(error) = (fix.apply)(root).with_context(|| format!("{} failed", fix.name)) {
                process::interrupted()?;
                warn!("{}", error::render(&error).trim_end());
                all_fixed = false;
            }
            fixed.push(fix);
        };
        let ok = all_fixed && outcomes.iter().all(|o| o.finding.status != Status::Fail);
        if self.json {
            say!("{:#}", print::document(&outcomes, ok));
        } else {
            say!("{}", print::end(&outcomes));
        }
        Ok(i32::from(!ok))
    }
}

/// The first fix that is not applied yet; those of failed checks come first.
fn next_fix(outcomes: &[Outcome], applied: &[Fix]) -> Option<Fix> {
    let mut fixable: Vec<_> = outcomes.iter().filter(|outcome| outcome.shown()).collect();
    fixable.sort_by_key(|outcome| outcome.finding.status != Status::Fail);
    let mut fixes = fixable.iter().filter_map(|outcome| outcome.finding.fix);
    fixes.find(|fix| !applied.contains(fix))
}
