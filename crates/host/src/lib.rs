//! The effects: what zdocker does to the host, and the records that it keeps.

pub mod store;
