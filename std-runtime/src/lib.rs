//! Secure messaging between nodes: the tokio runtime of the Hyphal protocol.

pub mod address;
pub mod config;
pub mod keyfile;
