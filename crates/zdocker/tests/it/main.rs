//! Tests of the whole program: the real binary, real containers and real traffic.
//!
//! Each test makes a [`harness::Host`] of its own: namespaces that stand for a machine, with an outside world behind it
//! and roots of its own. So nothing of the machine is touched, all tests run side by side, and all that a test made is
//! gone at its end, also when it fails. Needs root, and the programs busybox, ip and nft.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod harness;

mod aftermath;
mod bad_input;
mod clean;
mod cni;
mod concurrent;
mod connect;
mod containers;
mod crash;
mod docker;
mod gateway_modes;
mod inspect;
mod ipvlan;
mod isolation;
mod macvlan;
mod netavark;
mod networks;
mod options;
mod plug_install;
mod podman;
mod publish;
mod publish_forms;
mod publish_update;
mod reach;
mod relay;
mod reload;
mod shaping;
mod start;
mod vlans;
