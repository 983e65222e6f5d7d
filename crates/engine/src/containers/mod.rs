//! What a container is: its specification, where its files are, and who its processes run as.

pub mod paths;
pub mod spec;
pub mod user;
