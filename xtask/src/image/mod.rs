//! What an image is made of.

mod dockerignore;
pub mod inputs;
pub mod provenance;
pub mod requirements;
pub mod sources;

/// The service's name, in the compose file and everywhere else.
pub const SERVICE: &str = "backend";
