//! What the tests are made with.

mod command;
mod container;
mod feature;
mod host;
pub(crate) mod kill;
mod netns;
mod outside;
mod pty;
mod selftest;
mod serving;
mod snapshot;
mod traffic;
mod wait;

pub(crate) use command::Output;
pub(crate) use container::{Container, is_id};
pub(crate) use feature::{Feature, has_program, needs};
pub(crate) use host::Host;
pub(crate) use netns::NetNs;
pub(crate) use outside::{HOST_V4, HOST_V6, NEIGHBOUR_V4, OUTSIDE_V4, OUTSIDE_V6, ip};
pub(crate) use pty::Terminal;
pub(crate) use serving::{answers, is_silent, serving};
pub(crate) use snapshot::Snapshot;
pub(crate) use traffic::{Answer, Proto, Server, UdpFlow, does_not_reach, reaches, try_reach};
pub(crate) use wait::{skipped, until, until_some};
