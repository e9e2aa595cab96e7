//! `doctor`: names what is broken, and what mends it.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::doctor::{self, Options};

/// Name what is broken, and the command that mends it
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
    /// Mend what is safe to mend inside the repository
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
    /// The exit code: 1 if anything is broken.
    ///
    pub fn run(&self, root: &Path) -> Result<i32> {
        if self.list {
            doctor::list();
            return Ok(0);
        }
        let Doctor { checks, verbose, fix, require_gpu, json, .. } = self;
        doctor::run(
            root,
            &Options {
                checks,
                verbose: *verbose,
                fix: *fix,
                require_gpu: *require_gpu,
                json: *json,
            },
        )
    }
}
