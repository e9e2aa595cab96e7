//! `up`: finds out what is needed and does it.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::act::{Common, act};
use super::setup;
use crate::deploy::decide::Request;

/// Find out what is needed and do it
///
/// Compares sources, image, settings and container, says in one line what is
/// needed and why, does it, and ends when the service answers.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  cargo xtask up --dry-run")]
pub struct Up {
    #[command(flatten)]
    common: Common,
    /// First install Docker if missing (Debian, Ubuntu; as root)
    #[arg(long)]
    setup: bool,
}

impl Up {
    pub fn run(&self, root: &Path) -> Result<()> {
        if self.setup {
            setup::run(root, self.common.dry_run)?;
        }
        act(root, Request::Up, &[], &self.common)
    }
}
