//! The effects: what zdocker does to the host, and the records that it keeps.

pub mod process;
pub mod sockets;
pub mod store;
