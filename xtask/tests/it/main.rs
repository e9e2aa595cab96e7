//! Whole runs of xtask: against a fake docker ([`machines`], [`failures`],
//! [`doctors`], [`cards`], [`doctors_layers`]), against a real engine with a tiny image ([`restarts`],
//! [`clients`], [`builds`], [`cache`], [`decisions`], [`ignore`], [`turns`], [`unproven`], [`swaps`], [`doctors_engine`]), through every fault
//! we know ([`faults`], [`outages`]); with the real torch ([`probes`]), the whole
//! real image ([`real`]) and the service's own tests ([`backend`]).
#![cfg(unix)]

mod backend;
mod builds;
mod cache;
mod cards;
mod clients;
mod common;
mod decisions;
mod doctors;
mod doctors_engine;
mod doctors_layers;
mod engine;
mod failures;
mod fake;
mod faults;
mod ignore;
mod machines;
mod matrix;
mod outages;
mod passes;
mod plans;
mod printed;
mod probes;
mod real;
mod restarts;
mod service;
mod swaps;
mod turns;
mod unproven;
