//! Endpoints: containers' places on networks.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Route;
use crate::names::{Id, InterfaceName, MacAddress};
use crate::ports::PublishedPort;
use crate::subnet::Family;

/// An address with the prefix length of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How much an endpoint may send and receive, in bits a second; no limit where missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// What the container receives.
    pub receive: Option<u64>,
    /// What the container sends.
    pub send: Option<u64>,
    /// How many bits may be received at once after a pause; what suits the rate if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_burst: Option<u64>,
    /// How many bits may be sent at once after a pause; what suits the rate if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_burst: Option<u64>,
}

/// Which of those that come by a port of the host get their answers by way of the host, because they are masqueraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Callers {
    /// Those that would not be answered otherwise: neighbours, the container itself, and the host at 127.0.0.1.
    #[default]
    Near,
    /// Nobody.
    None,
    /// Everybody.
    All,
}

/// What a user may choose of an endpoint, beside addresses and ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSettings {
    /// Names of the container on this network, beside its own.
    pub aliases: Vec<String>,
    /// Of a container's networks the one with the highest gives the default route.
    pub gateway_priority: i32,
    /// Kernel variables of the interface, each a path below `/proc/sys` with the interface's name in it, and its value.
    pub sysctls: Vec<(String, String)>,
    /// How much it may send and receive.
    pub bandwidth: Bandwidth,
    /// Ports that another endpoint of the same container publishes: this one does when that one goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<PublishedPort>,
    /// Of the interface within the container, in bytes; the network's if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// On a network of [`Driver::Adopted`], the host's end of somebody else's veth pair, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<InterfaceName>,
    /// On a network of [`Driver::Adopted`], who is masqueraded that comes by a published port.
    pub masquerade: Callers,
    /// The options as the user gave them.
    pub options: BTreeMap<String, String>,
}

impl EndpointSettings {
    /// Whether the user says if the interface listens to router advertisements.
    pub(crate) fn chooses_routers(&self) -> bool {
        self.sysctls.iter().any(|(key, _)| key.ends_with("/accept_ra"))
    }
}

/// One container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Names the endpoint for ever.
    pub id: Id,
    /// The network.
    pub network: Id,
    /// The container.
    pub container: Id,
    /// The interface within the container (`eth0`).
    pub interface: InterfaceName,
    /// The host's end of the veth pair; on networks with a parent interface, which have no such end, another name of
    /// the interface within the container.
    pub host_interface: InterfaceName,
    /// Of the interface within the container.
    pub mac: MacAddress,
    /// IPv4 first; the first of each family is the one that ports lead to.
    pub addresses: Vec<InterfaceAddress>,
    /// The gateways of the default routes; empty where another network gives the way out, or none does.
    pub gateways: Vec<IpAddr>,
    /// Of the default routes; the kernel's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The routing table by which answers leave by this endpoint that came in by it; none where the main one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_table: Option<u32>,
    /// Other routes by this endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// What is published of the container through this endpoint.
    pub ports: Vec<PublishedPort>,
    /// What the user chose.
    #[serde(default)]
    pub settings: EndpointSettings,
    /// Where the container's network namespace is found, if another engine made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

impl Endpoint {
    /// The host's interface that leads to the container.
    pub fn host_end(&self) -> &InterfaceName {
        self.settings.link.as_ref().unwrap_or(&self.host_interface)
    }

    /// The address of `family`, if the endpoint has one.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses
            .iter()
            .map(|a| a.address)
            .find(|a| Family::of(*a) == family)
    }
}
