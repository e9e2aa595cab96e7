//! Whole runs of xtask: against a fake docker ([`machines`], [`failures`],
//! [`doctors`]), against a real engine with a tiny image ([`restarts`],
//! [`builds`], [`decisions`], [`turns`]), and through every fault we know
//! ([`faults`], [`outages`]); and against the real image ([`real`]).
#![cfg(unix)]

mod builds;
mod common;
mod decisions;
mod doctors;
mod engine;
mod failures;
mod fake;
mod faults;
mod machines;
mod matrix;
mod outages;
mod real;
mod restarts;
mod service;
mod turns;
