//! The OCI runtime specification of a container.

pub mod capabilities;
pub mod seccomp;
pub mod spec;
