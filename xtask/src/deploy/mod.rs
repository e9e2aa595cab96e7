//! Brings the service to the current sources and settings.

pub mod decide;
pub mod device;
pub mod execute;
pub mod health;
pub mod lock;
pub mod observe;
pub mod plan;
pub mod preflight;
pub mod prune;
pub mod rollback;
