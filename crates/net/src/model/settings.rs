//! What a network is told beside its addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Route;
use crate::names::InterfaceName;
use crate::subnet::Family;

/// How packets get from outside to the containers of a network and back, in one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// By published ports of the host; on their way out packets bear an address of the host.
    #[default]
    Nat,
    /// As [`GatewayMode::Nat`], and at all ports of the container's own address.
    NatUnprotected,
    /// At the published ports of the container's own address; nothing is translated either way.
    Routed,
    /// Not at all, and the bridge has no address: not even the host is reached.
    Isolated,
}

impl GatewayMode {
    /// Whether ports of the host lead to containers, and packets on their way out bear its address.
    pub fn translates(self) -> bool {
        matches!(self, GatewayMode::Nat | GatewayMode::NatUnprotected)
    }
}

/// What a network's containers and those of other networks have to do with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Networks that both have this reach each other, and those that have [`Isolation::Tolerant`].
    None,
    /// Networks that have [`Isolation::None`] reach it and are reached by it, others that have this are not.
    Tolerant,
    /// Published ports only.
    #[default]
    Normal,
    /// Nothing, neither way.
    Strict,
}

/// Who is kept from the containers of a network by what was plugged in behind it (the CNI plug-in `firewall`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ingress {
    /// Nobody.
    #[default]
    Open,
    /// Containers of other networks that have this, too.
    SameBridge,
    /// Those, and its own containers each from the other.
    Isolated,
}

impl Ingress {
    /// serde asks by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_open(&self) -> bool {
        *self == Ingress::Open
    }
}

/// Whether the host is the gateway of a network in a VLAN of a bridge; it is in one VLAN of each bridge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostInVlan {
    /// It must be: the network is refused where the host is in another VLAN.
    #[default]
    Required,
    /// It is, unless it is in another VLAN.
    Wished,
    /// It is in another one: somebody else is the gateway.
    Elsewhere,
}

impl HostInVlan {
    /// serde asks by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_required(&self) -> bool {
        *self == HostInVlan::Required
    }
}

/// Of a network that is but a configuration for others: the families for which it leaves the subnet to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigOnly {
    /// Whether there is to be an IPv4 subnet although none is given.
    pub ipv4: bool,
    /// Whether there is to be an IPv6 subnet although none is given.
    pub ipv6: bool,
}

/// What a network is told beside its addresses: what it gives its endpoints, and who reaches whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How the names of its interfaces within containers begin; `eth` if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// Of the veth pairs of a network without a bridge, in bytes; 1500 if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// It gives no default route.
    pub no_default_route: bool,
    /// Of the default routes that it gives; the kernel's default if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Routes that every endpoint gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// How containers are reached by IPv4.
    pub gateway_mode_v4: GatewayMode,
    /// How containers are reached by IPv6.
    pub gateway_mode_v6: GatewayMode,
    /// Who is kept out beside, as somebody says who does not decide about the network itself.
    #[serde(skip_serializing_if = "Ingress::is_open")]
    pub ingress: Ingress,
    /// What it has to do with other networks.
    pub isolation: Isolation,
    /// Its containers do not reach each other (Docker's `enable_icc=false`).
    pub no_neighbours: bool,
    /// No frame leaves by the port that it came in by, so no container reaches its own published ports.
    pub no_hairpin: bool,
    /// Frames may leave by the port that they came in by, also where nothing is published: somebody else leads a
    /// container's packets back to it, as Kubernetes does for its services.
    pub hairpin: bool,
    /// Gateways that it has no more are taken from its bridge even if containers still have addresses of their subnets.
    pub force_address: bool,
    /// The bridge gets no IPv4 address; somebody else gives it one.
    pub inhibit_v4: bool,
    /// Whether the host is the gateway of its VLAN.
    #[serde(skip_serializing_if = "HostInVlan::is_required")]
    pub host_in_vlan: HostInVlan,
    /// Where ports are published for which no address of the host is given; at every address if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_binding: Option<IpAddr>,
    /// The addresses of the host that packets bear on their way out, at most one of each family; where one is missing,
    /// that of the interface that they leave by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<IpAddr>,
    /// Interfaces of the host from which published ports are reached by the containers' own addresses, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<InterfaceName>,
    /// Somebody else hands out its addresses, container by container: the pools that it has stay when others come.
    pub pools_grow: bool,
    /// Where a name server listens at the gateways that containers ask at port 53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_server_port: Option<u16>,
    /// Its containers' frames may bear any addresses, as where somebody else hands out addresses that we do not know.
    pub unguarded: bool,
    /// Accepted from the user, who sees it again (Docker's `--attachable`).
    pub attachable: bool,
    /// Options of the address management, as the user gave them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// It is a configuration only: never real, and nobody is plugged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_only: Option<ConfigOnly>,
    /// The name of the network whose configuration it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_from: Option<String>,
}

impl Settings {
    /// How containers are reached by `family`.
    pub fn gateway_mode(&self, family: Family) -> GatewayMode {
        match family {
            Family::V4 => self.gateway_mode_v4,
            Family::V6 => self.gateway_mode_v6,
        }
    }

    /// The address of `family` that packets bear on their way out.
    pub fn outbound(&self, family: Family) -> Option<IpAddr> {
        self.outbound
            .iter()
            .copied()
            .find(|address| Family::of(*address) == family)
    }

    /// What it has to do with other networks, all in all.
    pub fn isolation(&self) -> Isolation {
        match (self.ingress, self.isolation) {
            (Ingress::SameBridge | Ingress::Isolated, Isolation::None) => Isolation::Tolerant,
            (_, isolation) => isolation,
        }
    }

    /// Whether its containers do not reach each other, all in all.
    pub fn keeps_apart(&self) -> bool {
        self.no_neighbours || self.ingress == Ingress::Isolated
    }

    /// Whether the bridge gets its gateway address of `family`.
    pub fn has_gateway_address(&self, family: Family) -> bool {
        self.gateway_mode(family) != GatewayMode::Isolated
            && !(self.inhibit_v4 && family == Family::V4)
            && self.host_in_vlan != HostInVlan::Elsewhere
    }
}
