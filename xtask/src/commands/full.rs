//! `full`: a build without cache.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::act::{Common, act};
use crate::deploy::decide::{Action, Request};

/// Build without cache, check torch, then swap containers
///
/// Then removes the superseded image, and says which versions changed.
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example, after editing backend/requirements.txt:\n  cargo xtask full"
)]
pub struct Full {
    #[command(flatten)]
    common: Common,
    /// Look for newer base images first
    #[arg(long)]
    pull: bool,
}

impl Full {
    pub fn run(&self, root: &Path) -> Result<()> {
        let options: &[&str] = if self.pull { &["--pull"] } else { &[] };
        act(root, Request::This(Action::Full), options, &self.common)
    }
}
