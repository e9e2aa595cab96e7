//! What an image is made of.

mod dockerignore;
pub mod inputs;
pub mod provenance;
pub mod requirements;
