//! Whole runs of xtask: against a fake docker ([`fake`]), against a real engine
//! with a tiny image ([`engine`]), and through every fault we know ([`faults`]).
#![cfg(unix)]

mod common;
mod engine;
mod fake;
mod faults;
mod service;
