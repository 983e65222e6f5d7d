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
    /// `host` and `none` have no addresses of their own.
    #[error("driver \"{0}\" takes no subnet")]
    NoSubnets(Driver),
    /// Two subnets of the network itself.
    #[error("subnets {0} and {1} overlap; leave one out")]
    OverlapsItself(Subnet, Subnet),
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
    /// Not a subnet.
    #[error("invalid range {0:?}: want ADDRESS/PREFIX, for example 192.168.1.128/25")]
    RangeSyntax(String),
    /// No subnet has it.
    #[error("range {0} is in none of the network's subnets ({1})")]
    RangeOutside(Subnet, String),
    /// Two for one subnet.
    #[error("subnet {0} has two ranges, {1} and {2}; give it one that holds both")]
    TwoRanges(Subnet, Subnet, Subnet),
    /// Not an IP address.
    #[error("invalid reserved address {1:?} of {0:?}: want NAME=IP, for example router=192.168.1.254")]
    ReservedSyntax(String, String),
    /// No subnet has it.
    #[error("reserved address {1} of {0:?} is in none of the network's subnets ({2})")]
    ReservedOutside(String, IpAddr, String),
    /// The subnet's own address, or its broadcast address.
    #[error(
        "address {1} need not be reserved for {0:?}: the network's own and the broadcast address of {2} are nobody's"
    )]
    ReservedUnusable(String, IpAddr, Subnet),
    /// By two names.
    #[error("address {1} cannot be reserved for {0:?}: it is that of {2}")]
    ReservedTwice(String, IpAddr, String),
    /// Two of one name.
    #[error("two addresses are reserved for {0:?}, {1} and {2}; give them different names")]
    ReservedNameTwice(String, IpAddr, IpAddr),
    /// Not a route.
    #[error("invalid route {0:?}: want DESTINATION[,NEIGHBOUR][,METRIC], for example 10.20.0.0/16,192.168.1.254")]
    RouteSyntax(String),
    /// Destination and neighbour of different families.
    #[error("route to {0} cannot go by {1}: one is IPv4, the other IPv6")]
    RouteFamilies(Subnet, IpAddr),
    /// The neighbour is not on the network.
    #[error("neighbour {0} of the route to {1} is in none of the network's subnets ({2})")]
    RouteOutside(IpAddr, Subnet, String),
    /// Two to the same destination with the same metric.
    #[error("there are two routes to {0} with the same metric; leave one out")]
    RouteTwice(Subnet),
    /// To a subnet of the network itself.
    #[error("a route to {0} is there anyway: it is a subnet of the network; leave it out")]
    RouteToItself(Subnet),
    /// A default route beside that by the gateway.
    #[error(
        "route to {0} would stand beside the default route by the gateway; turn that off (-o no_default_route=true)"
    )]
    RouteIsDefault(Subnet),
    /// Not ours.
    #[error(
        "cannot use IPAM driver {0:?}: containers need addresses, and the default one hands them out; leave \
         --ipam-driver out"
    )]
    IpamDriver(String),
    /// Swarm's.
    #[error("--ingress is for the services of a swarm, and there is none; leave it out")]
    Ingress,
    /// Swarm's.
    #[error("scope {0:?} needs several hosts that act as one; the networks of this host have scope local")]
    Scope(String),
    /// Isolated from what?
    #[error("gateway mode isolated is for networks with no way out; give --internal, too")]
    IsolatedNotInternal,
    /// An address for traffic that there cannot be.
    #[error("{0} is an {1} address, and the network has none; leave it out, or give the network an {1} subnet")]
    NoSuchFamily(IpAddr, Family),
    /// A configuration has no such thing.
    #[error("{0} is not part of a configuration; give it to the networks that take it over")]
    NotOfConfiguration(&'static str),
    /// What a configuration holds is given beside it.
    #[error("{0} cannot be given with --config-from: it is part of the configuration")]
    NotWithConfiguration(&'static str),
    /// There is none.
    #[error("there is no network {0:?} to take the configuration from; create it first (--config-only)")]
    NoConfiguration(String),
    /// It is a network like others.
    #[error("network {0:?} is no configuration; those are created with --config-only")]
    NotAConfiguration(String),
    /// An option that the driver does not know.
    #[error("unknown option {key:?} of driver \"{driver}\": it knows {known}, and Docker's long names of them")]
    UnknownOption {
        /// The option.
        key: String,
        /// The driver.
        driver: Driver,
        /// What it knows.
        known: String,
    },
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
    /// See [`ParentError`].
    #[error(transparent)]
    Parent(#[from] ParentError),
}

/// Why an interface of the host cannot be the parent of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// There is none.
    #[error(
        "this host has no interface {0} to be the parent; ip link shows what there is, and INTERFACE.NUMBER is a VLAN \
         of one that is there"
    )]
    Missing(InterfaceName),
    /// The number of a VLAN is not 1 to 4094.
    #[error("{0} cannot be a VLAN of {1}: the number behind the dot must be 1 to 4094")]
    VlanNumber(InterfaceName, InterfaceName),
    /// `lo`.
    #[error(
        "{0} cannot be the parent: it leads nowhere but to this host; give the interface that leads to the network"
    )]
    Loopback(InterfaceName),
    /// What comes in by it goes to its bridge.
    #[error("{0} cannot be the parent: it is a port of bridge {1}; give that instead (-o parent={1})")]
    BridgePort(InterfaceName, InterfaceName),
    /// One of our own bridges.
    #[error("{0} cannot be the parent: it is the bridge of network {1:?}; plug containers into that network instead")]
    OwnBridge(InterfaceName, String),
    /// A tunnel or the like.
    #[error("{0} cannot be the parent of a macvlan network: it has no Ethernet addresses; use driver ipvlan")]
    NotEthernet(InterfaceName),
    /// More than the parent takes.
    #[error("an MTU of {mtu} bytes is more than that of the parent {parent}, which is {most}; give at most that")]
    Mtu {
        /// What was asked for, in bytes.
        mtu: u32,
        /// The parent.
        parent: InterfaceName,
        /// Its own, in bytes.
        most: u32,
    },
    /// The kernel has but one kind of interfaces on a parent.
    #[error("{parent} is the parent of network {network:?}, and cannot have {why}; choose another parent")]
    Shared {
        /// The parent.
        parent: InterfaceName,
        /// The network that has it.
        network: String,
        /// What is in the way.
        why: &'static str,
    },
}
