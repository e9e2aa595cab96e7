//! `rollback`: back to the image that served before.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::act::{Common, act};
use crate::deploy::decide::{Action, Request};

/// Go back to the image that served before the last swap
///
/// The image that failed is kept under a name of its own, for inspection.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  cargo xtask rollback")]
pub struct Rollback {
    #[command(flatten)]
    common: Common,
}

impl Rollback {
    pub fn run(&self, root: &Path) -> Result<()> {
        act(root, Request::This(Action::Rollback), &[], &self.common)
    }
}
