//! The commands, one file each: its arguments, its help, and what it does. Each
//! fails with a refusal, or with what it could not do.

mod act;
pub mod doctor;
pub mod fast;
pub mod full;
pub mod restart;
pub mod rollback;
mod setup;
pub mod status;
pub mod up;
