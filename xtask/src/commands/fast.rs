//! `fast`: a build with cache.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::act::{Common, act};
use crate::deploy::decide::{Action, Request};

/// Build with cache, then swap containers
///
/// Refuses when requirements.txt differs from what the image was built from.
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example, after editing backend/app.py:\n  cargo xtask fast"
)]
pub struct Fast {
    #[command(flatten)]
    common: Common,
    /// Build although requirements.txt changed
    #[arg(long)]
    force: bool,
}

impl Fast {
    pub fn run(&self, root: &Path) -> Result<()> {
        let request = if self.force { Request::ForcedFast } else { Request::This(Action::Fast) };
        act(root, request, &[], &self.common)
    }
}
