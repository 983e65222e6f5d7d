//! Netlink: the wire format, a socket, and the requests of rtnetlink. nftables and connection tracking, which use the
//! same socket, have modules of their own ([`crate::nft`], `conntrack`).

pub(crate) mod address;
pub(crate) mod child;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod route;
pub(crate) mod rule;
mod socket;
pub(crate) mod tc;
pub(crate) mod vlan;

pub(crate) use socket::{ANSWERS_AT_ONCE, Dump, Socket};
pub use socket::{NetlinkError, Refusal, Subsystem};
