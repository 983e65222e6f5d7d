//! The pure heart of zdocker: what networks and endpoints are, which requests are valid, which addresses are free, and
//! which steps make a network real.
//!
//! Nothing here touches the kernel, files, the clock, threads or the environment. Time and randomness come in as
//! arguments, steps come out as data ([`op::Op`]); `zdocker-host` carries them out.

pub mod attach;
pub mod firewall;
pub mod installation;
pub mod ipam;
pub mod mend;
pub mod model;
pub mod names;
pub mod op;
pub mod plan;
pub mod pools;
pub mod ports;
pub mod publish;
pub mod seen;
pub mod shaping;
pub mod spec;
pub mod subnet;
pub mod tuning;
pub mod usage;
