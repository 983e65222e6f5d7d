//! Routes within containers.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// What becomes of packets that take a route (`rtm_type`, linux/rtnetlink.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// They are led on.
    #[default]
    Unicast,
    /// They are dropped without a word.
    Blackhole,
    /// The sender is told that the destination cannot be reached.
    Unreachable,
    /// The sender is told that it may not be reached.
    Prohibit,
}

impl RouteKind {
    /// Whether packets are led on. (serde asks by reference.)
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub fn is_unicast(&self) -> bool {
        *self == RouteKind::Unicast
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
        })
    }
}

/// A route within a container. One that leads nothing on has neither neighbour nor interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What is reached.
    pub destination: Subnet,
    /// By which neighbour; directly on the link if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Of routes to the same destination the one with the lowest is taken; the kernel's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// What becomes of the packets.
    #[serde(default, skip_serializing_if = "RouteKind::is_unicast")]
    pub kind: RouteKind,
    /// Largest packet in bytes that is sent by it; the interface's if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest TCP segment in bytes that is announced by it; what the packet size has room for if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// It is added before others to the same destination of the same metric, which take its place again when it goes,
    /// instead of in their place.
    #[serde(skip)]
    pub beside: bool,
    /// The neighbour may be on any of the container's interfaces, and not only on the endpoint's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_link: bool,
}

impl Route {
    /// A route to `destination` by a neighbour, or directly on the link.
    pub fn new(destination: Subnet, via: Option<IpAddr>, metric: Option<u32>) -> Self {
        Route {
            destination,
            via,
            metric,
            kind: RouteKind::Unicast,
            mtu: None,
            advmss: None,
            beside: false,
            any_link: false,
        }
    }

    /// Whether it leaves by the endpoint's own interface, and goes with it.
    pub fn is_bound(&self) -> bool {
        self.kind.is_unicast() && !self.any_link
    }
}
