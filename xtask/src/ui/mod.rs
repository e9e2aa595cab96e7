//! What the user reads.

pub mod durations;
pub mod report;
