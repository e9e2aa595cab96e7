//! Whole runs of xtask: against a fake docker ([`machines`], [`failures`],
//! [`doctors`]), against a real engine with a tiny image ([`restarts`],
//! [`builds`], [`decisions`], [`turns`]), and through every fault we know
//! ([`faults`]); and the service's own tests ([`backend`]).
#![cfg(unix)]

mod backend;
mod builds;
mod common;
mod decisions;
mod doctors;
mod failures;
mod fake;
mod faults;
mod machines;
mod matrix;
mod restarts;
mod service;
mod turns;
