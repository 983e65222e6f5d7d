//! The engine: networks and containers, from a request to what the host and the records say.
//!
//! Every face (the command line, and other engines' plug-in interfaces) calls the methods of [`Engine`]; none has logic
//! of its own.

mod cgroup;
mod check;
pub mod config;
pub mod containers;
mod engine;
mod error;
pub mod etc_files;
pub mod exec;
mod filter;
pub mod inspect;
pub mod logs;
pub mod networks;
pub mod oci;
pub mod plug;
mod private;
pub mod reload;
pub mod rootfs;
pub mod runtime;
pub mod sealed;
pub mod shim;
pub mod signals;
pub mod terminal;

#[cfg(test)]
mod test_support;

pub use engine::{Engine, Journal, Roots};
pub use error::EngineError;
pub use filter::FilterError;
