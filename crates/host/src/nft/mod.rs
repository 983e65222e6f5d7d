//! Our firewall in the kernel: loaded once, then only its elements change.

pub(crate) mod batch;
pub(crate) mod dump;
pub(crate) mod element;
mod expr;
pub(crate) mod load;
mod parse;
mod table;
pub(crate) mod whole;
