//! Whole runs of xtask: against a fake docker ([`machines`], [`failures`],
//! [`doctors`]), against a real engine with a tiny image ([`restarts`],
//! [`builds`], [`decisions`], [`turns`], [`doctors_engine`]), through every fault
//! we know ([`faults`]), and with the real torch ([`probes`]).
#![cfg(unix)]

mod builds;
mod common;
mod decisions;
mod doctors;
mod doctors_engine;
mod failures;
mod fake;
mod faults;
mod machines;
mod matrix;
mod probes;
mod restarts;
mod service;
mod turns;
