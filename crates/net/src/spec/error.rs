//! Why requests for networks are refused.

use std::net::IpAddr;

use crate::model::{Driver, UnknownDriver};
use crate::names::{InterfaceName, NameError};
use crate::subnet::{Family, Subnet, SubnetError};

/// Why a network cannot be created as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// See [`SubnetError`].
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    /// See [`UnknownDriver`].
    #[error(transparent)]
    Driver(#[from] UnknownDriver),
    /// Another network has the name.
    #[error("network {0:?} exists already (zdocker network inspect {0}); choose another name or remove it first")]
    NameTaken(String),
    /// The networks that are always there have their names for themselves.
    #[error("network {0:?} is always there and cannot be created")]
    BuiltIn(String),
    /// Docker, too, has one `host` and one `none` network only.
    #[error("a network with driver \"{0}\" is always there and cannot be created a second time; use --net {0}")]
    OnlyOne(Driver),
    /// Subnets and gateways are for bridges.
    #[error("driver \"{0}\" takes no subnet")]
    NoSubnets(Driver),
    /// Two subnets of one family.
    #[error("subnets {0} and {1} are both {family}: a network has one subnet of each family", family = .0.family())]
    TwoOfAFamily(Subnet, Subnet),
    /// Neither family is wanted.
    #[error("the network would have no subnet: leave --ipv4=false out, or give --ipv6 or --subnet")]
    NoFamily,
    /// No room for a gateway and a container.
    #[error("subnet {0} is too small: it has no room for a gateway and a container")]
    TooSmall(Subnet),
    /// Loopback, multicast and the like.
    #[error("subnet {0} cannot be used for a network: it has addresses that are {1}")]
    Reserved(Subnet, &'static str),
    /// Another network's.
    #[error("subnet {0} overlaps {1} of network {2:?}; choose another subnet, or none and a free one is found")]
    OverlapsNetwork(Subnet, Subnet, String),
    /// The host's own.
    #[error(
        "subnet {0} overlaps {1} of this host's interface {2}; choose another subnet, or none and a free one is found"
    )]
    OverlapsHost(Subnet, Subnet, InterfaceName),
    /// Hosts that are reached by a route would be cut off.
    #[error(
        "subnet {0} would hide what this host reaches by its route to {1}; choose another subnet, or none and a free \
         one is found"
    )]
    HidesRoute(Subnet, Subnet),
    /// Nothing is left of the default pools.
    #[error(
        "no free {0} subnet is left in the default pools; give one with --subnet, or remove networks (zdocker network prune)"
    )]
    PoolsExhausted(Family),
    /// Not an IP address.
    #[error("invalid gateway {0:?}: want an IP address")]
    GatewaySyntax(String),
    /// No subnet has it.
    #[error("gateway {0} is in none of the network's subnets ({1})")]
    GatewayOutside(IpAddr, String),
    /// The subnet's own address, or its broadcast address.
    #[error("gateway {0} cannot be used: it is the network's own or the broadcast address of {1}")]
    GatewayUnusable(IpAddr, Subnet),
    /// Two for one subnet.
    #[error("subnet {0} has two gateways, {1} and {2}")]
    TwoGateways(Subnet, IpAddr, IpAddr),
    /// An option that the driver does not know.
    #[error(
        "unknown option {0:?} of the bridge driver: it knows bridge, mtu and masquerade, and Docker's long names of them"
    )]
    UnknownOption(String),
    /// `host` and `none` have none.
    #[error("driver \"{0}\" takes no options")]
    NoOptions(Driver),
    /// A value that the option does not take.
    #[error("invalid value {value:?} of option {key:?}: want {want}")]
    OptionValue {
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What is taken.
        want: &'static str,
    },
    /// The named bridge device is there, and not ours to use.
    #[error(
        "interface {0} exists already and is not ours; choose another name (-o bridge=NAME), or remove it (ip link delete {0})"
    )]
    DeviceExists(InterfaceName),
    /// The named bridge device is another network's.
    #[error("interface {0} is the bridge of network {1:?}; choose another name (-o bridge=NAME)")]
    DeviceTaken(InterfaceName, String),
}
