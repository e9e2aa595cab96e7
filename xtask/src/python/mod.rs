//! The probe that runs in the container, and its report.

pub mod report;
