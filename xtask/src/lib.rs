//! `cargo xtask`: brings the backend to the current sources and settings.
//!
//! Data flows one way: [`commands`] → [`deploy`] (observe → decide → plan →
//! execute) → [`ui`]. [`docker`] alone builds docker commands, and [`process`]
//! alone starts anything.

/// Prints a line; a closed pipe, as with `| head`, must not stop a swap.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

/// The same to stderr.
macro_rules! warn {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}

pub mod cli;
pub mod commands;
pub mod deploy;
pub mod docker;
pub mod doctor;
pub mod error;
pub mod image;
pub mod process;
pub mod python;
pub mod ui;
