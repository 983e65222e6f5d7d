//! Containers.

pub mod containers;
pub mod etc_files;
pub mod exec;
pub mod logs;
pub mod oci;
pub mod rootfs;
pub mod runtime;
pub mod shim;
pub mod signals;
pub mod terminal;
