//! The probe that runs in a container, and its report.

mod report;

pub use self::report::{Driver, Report, Torch, Unmet, Visible, exit_meaning};

/// The probe: one Python file, standard library plus torch, read from stdin.
pub const PROBE: &str = include_str!("probe.py");
