//! Netlink: the wire format, a socket, and the requests of rtnetlink. nftables and connection tracking, which use the same
//! socket, have modules of their own ([`crate::nft`], `conntrack`).

pub(crate) mod message;
mod socket;

pub(crate) use socket::{Dump, Socket};
pub use socket::{NetlinkError, Refusal, Subsystem};
