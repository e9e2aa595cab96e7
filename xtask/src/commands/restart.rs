//! `restart`: starts the service anew, with its current settings.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::act::{Common, act};
use crate::deploy::decide::{Action, Request};

/// Restart, or recreate with changed settings; never builds
///
/// Also starts a service that crashed, hangs, or has no container.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example, after editing .env:\n  cargo xtask restart")]
pub struct Restart {
    #[command(flatten)]
    common: Common,
}

impl Restart {
    pub fn run(&self, root: &Path) -> Result<()> {
        act(root, Request::This(Action::Restart), &[], &self.common)
    }
}
