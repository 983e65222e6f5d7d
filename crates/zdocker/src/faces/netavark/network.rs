//! From a network and what a container wants of it, as Podman writes them, to what the engine is asked for.

use std::net::IpAddr;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use zdocker_net::attach::foreign::{Addresses, ForeignRequest};
use zdocker_net::model::{
    BridgeDevice, Children, Driver, GatewayMode, HostInVlan, InterfaceAddress, IpvlanFlag, IpvlanMode, Isolation,
    LAST_VLAN, MacvlanMode, Network, Ownership, ParentDevice, Pool, Route, RouteKind, Settings,
};
use zdocker_net::names::{Id, InterfaceName, MacAddress};
use zdocker_net::subnet::{Family, Subnet};

use super::input::{Joined, Object};

/// The metric of routes for which none is given, netavark's.
const METRIC: u32 = 100;
/// Of default routes by macvlan and ipvlan networks, which go before those by bridges.
const CHILD_METRIC: u32 = 99;
/// Where containers ask for names.
const DNS_PORT: u16 = 53;

/// What networks are like whose options do not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    /// What bridges have to do with each other.
    pub(super) isolation: Isolation,
    /// Whether there is to be a firewall.
    pub(super) firewall: bool,
    /// Where name servers listen.
    pub(super) dns_port: u16,
    /// Whether the container goes, and need not say its addresses: our records do, where Podman has lost them.
    pub(super) is_leaving: bool,
}

/// A network that the engine is to plug a container into.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As Podman calls it.
    pub(super) name: String,
    /// The network.
    pub(super) network: Network,
    /// What the container wants of it.
    pub(super) request: ForeignRequest,
    /// The container's addresses in the answer.
    pub(super) subnets: Vec<Value>,
    /// Where the network's name server is, if it has one.
    pub(super) name_servers: Option<Vec<IpAddr>>,
}

impl Wanted {
    /// Whether ports of the host can lead to it by addresses of `family`.
    pub(super) fn publishes(&self, family: Family) -> bool {
        let managed = self
            .network
            .bridge
            .as_ref()
            .is_some_and(|bridge| bridge.ownership != Ownership::Foreign);
        managed && !self.network.internal && self.addresses().iter().any(|own| Family::of(*own) == family)
    }

    /// The container's addresses on it, IPv4 first.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        match &self.request.addresses {
            Addresses::Given(addresses) => addresses.iter().map(|own| own.address).collect(),
            Addresses::Leased(_) => Vec::new(),
        }
    }

    /// What `joined` asks for.
    ///
    /// # Errors
    /// What cannot be, or is not supported.
    pub(super) fn read(joined: &Joined, defaults: Defaults) -> anyhow::Result<Self> {
        let Some(network) = &joined.network else {
            bail!("network info for network {} not found", joined.name);
        };
        let known = Object::of("the network", network)?;
        let wish = Object::of("the network's options", &joined.wish)?;
        read(joined, known, wish, defaults).with_context(|| format!("network {}", joined.name))
    }
}

fn read(joined: &Joined, known: Object, wish: Object, defaults: Defaults) -> anyhow::Result<Wanted> {
    let interface = wish.text("interface_name")?;
    if interface.is_empty() {
        bail!("no container interface name given");
    }
    let mut request = ForeignRequest::new(interface.parse()?);
    let ipam = ipam(known, wish, defaults.is_leaving)?;
    let driver: Driver = known.text("driver")?.parse()?;
    let mut network = Network::foreign(id_of(known.text("id")?), known.text("name")?.parse()?, driver, 0);
    network.internal = known.flag("internal")?;
    let default_metric = if driver == Driver::Bridge { METRIC } else { CHILD_METRIC };
    let mut metric = default_metric;
    if let Some(options) = known.object("options")? {
        metric = options.parsed("metric")?.unwrap_or(default_metric);
        network.settings.no_default_route = options.parsed("no_default_route")?.unwrap_or(false);
    }
    network.settings.metric = Some(metric);
    // Of addresses that nobody tells us we cannot say whether they are the container's own.
    network.settings.unguarded = !ipam.is_known;
    request.default_route = !network.internal && !network.settings.no_default_route;
    request.metric = Some(metric);
    request.mac = wish.parsed("static_mac")?;
    match driver {
        Driver::Bridge => bridge(&mut network, known, wish, defaults)?,
        _ => network.parent = Some(parent(driver, known)?),
    }
    request.settings.sysctls = variables(&network, &request.interface, &ipam.addresses);
    let named = known.flag("dns_enabled")?;
    network.settings.name_server_port = (named && defaults.dns_port != DNS_PORT).then_some(defaults.dns_port);
    let name_servers = (driver == Driver::Bridge && named).then(|| ipam.gateways());
    network.pools = ipam.pools;
    request.addresses = Addresses::Given(ipam.addresses);
    request.routes = ipam.routes;
    Ok(Wanted {
        name: joined.name.clone(),
        network,
        request,
        subnets: ipam.answer,
        name_servers,
    })
}

/// Podman's identifier where it is of the form of ours; otherwise one that follows from it.
pub(super) fn id_of(text: &str) -> Id {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Id::from(text.to_owned())
    } else {
        Id::named(&["podman", text])
    }
}

fn bridge(network: &mut Network, known: Object, wish: Object, defaults: Defaults) -> anyhow::Result<()> {
    let name = known
        .optional_text("network_interface")?
        .filter(|name| !name.is_empty());
    let name: InterfaceName = name.ok_or_else(|| anyhow!("no bridge interface name given"))?.parse()?;
    // Its Ethernet address follows from its network, so that it is the same each time that it is made.
    let digits = Id::named(&["bridge", network.id.as_str()]);
    let byte = |at: usize| u8::from_str_radix(digits.as_str().get(2 * at..2 * at + 2).unwrap_or_default(), 16);
    let mac = MacAddress::local(std::array::from_fn(|at| byte(at).unwrap_or_default()));
    let mut device = BridgeDevice::own(name, mac, 0);
    device.ownership = Ownership::Shared;
    let mut isolation = defaults.isolation;
    if let Some(options) = known.object("options")? {
        device.ownership = match options.optional_text("mode")? {
            None | Some("" | "managed") => Ownership::Shared,
            Some("unmanaged") => Ownership::Foreign,
            Some(other) => bail!("invalid bridge mode \"{other}\""),
        };
        device.mtu = options.parsed("mtu")?.unwrap_or(0);
        device.vlan = options.parsed("vlan")?.filter(|vlan| *vlan != 0);
        if device.vlan.is_some() {
            network.settings.host_in_vlan = HostInVlan::Wished;
        }
        device.vrf = options.parsed("vrf")?;
        isolation = match options.optional_text("isolate")? {
            None => defaults.isolation,
            Some("false") => Isolation::None,
            Some("true") => Isolation::Tolerant,
            // Netavark's strict networks reach each other's published ports.
            Some("strict") => Isolation::Normal,
            Some(other) => bail!("invalid isolate option \"{other}\""),
        };
        let v4 = options.parsed::<std::net::Ipv4Addr>("outbound_addr4")?.map(IpAddr::V4);
        let v6 = options.parsed::<std::net::Ipv6Addr>("outbound_addr6")?.map(IpAddr::V6);
        network.settings.outbound = v4.into_iter().chain(v6).collect();
    }
    if let Some(number) = device.vlan.filter(|number| !(1..=LAST_VLAN).contains(number)) {
        bail!("invalid VLAN {number}: its number is from 1 to {LAST_VLAN}");
    }
    if let Some(options) = wish.object("options")?
        && options
            .optional_text("host_interface_name")?
            .is_some_and(|name| !name.is_empty())
    {
        bail!("the option host_interface_name is not supported: the host's interfaces are named by zdocker");
    }
    if device.ownership == Ownership::Foreign {
        network.settings.unguarded = true;
    }
    network.masquerade = defaults.firewall && device.ownership != Ownership::Foreign;
    network.settings.isolation = if defaults.firewall { isolation } else { Isolation::None };
    reached_from_outside(&mut network.settings);
    network.bridge = Some(device);
    Ok(())
}

/// As with netavark, whoever has a route to the containers reaches them, but for those of other networks.
fn reached_from_outside(settings: &mut Settings) {
    settings.gateway_mode_v4 = GatewayMode::NatUnprotected;
    settings.gateway_mode_v6 = GatewayMode::NatUnprotected;
}

fn parent(driver: Driver, known: Object) -> anyhow::Result<ParentDevice> {
    let (mut mode, mut mtu, mut broadcast_limit) = ("", None, None);
    if let Some(options) = known.object("options")? {
        mode = options.optional_text("mode")?.unwrap_or_default();
        mtu = options.parsed("mtu")?.filter(|mtu| *mtu > 0);
        broadcast_limit = options.parsed("bclim")?;
    }
    let children = match driver {
        Driver::Macvlan => Children::Macvlan {
            mode: match mode {
                "" | "bridge" => MacvlanMode::Bridge,
                "private" => MacvlanMode::Private,
                "vepa" => MacvlanMode::Vepa,
                "passthru" => MacvlanMode::Passthru,
                "source" => {
                    bail!("the macvlan mode \"source\" is not supported: use bridge, private, vepa or passthru")
                }
                other => bail!("invalid macvlan mode \"{other}\""),
            },
            broadcast_limit,
        },
        Driver::Ipvlan => Children::Ipvlan {
            mode: match mode {
                "" | "l2" => IpvlanMode::L2,
                "l3" => IpvlanMode::L3,
                "l3s" => IpvlanMode::L3s,
                other => bail!("invalid ipvlan mode \"{other}\""),
            },
            flag: IpvlanFlag::Bridge,
        },
        other => bail!("unknown network driver \"{other}\""),
    };
    let name = known
        .optional_text("network_interface")?
        .filter(|name| !name.is_empty());
    let name = name.map_or_else(|| Ok(ParentDevice::unchosen()), str::parse)?;
    Ok(ParentDevice {
        name,
        mtu,
        children,
        made: None,
    })
}

/// Kernel variables of the interface in the container, as netavark sets them.
fn variables(network: &Network, interface: &InterfaceName, addresses: &[InterfaceAddress]) -> Vec<(String, String)> {
    let managed = network
        .bridge
        .as_ref()
        .map(|bridge| bridge.ownership != Ownership::Foreign);
    let variable =
        |family: &str, name: &str, value: &str| (format!("net/{family}/conf/{interface}/{name}"), value.to_owned());
    let mut variables = Vec::new();
    if managed == Some(true) {
        // Neighbours learn at once who has an address now, and packets may come by another interface than they would
        // leave by.
        variables.push(variable("ipv4", "arp_notify", "1"));
        variables.push(variable("ipv4", "rp_filter", "2"));
    }
    if managed != Some(false) && crate::faces::has_ipv6() {
        variables.push(variable("ipv6", "autoconf", "0"));
        // Behind a bridge of ours nobody else gives himself an address.
        if managed == Some(true) && addresses.iter().any(|own| own.address.is_ipv6()) {
            variables.push(variable("ipv6", "accept_dad", "0"));
        }
    }
    variables
}

/// The addresses of a network and of a container on it.
#[derive(Debug, Default)]
struct Ipam {
    pools: Vec<Pool>,
    /// IPv4 first.
    addresses: Vec<InterfaceAddress>,
    /// The same in the order of the input, for the answer.
    answer: Vec<Value>,
    routes: Vec<Route>,
    /// Whether these are all addresses that the container has.
    is_known: bool,
}

impl Ipam {
    fn gateways(&self) -> Vec<IpAddr> {
        self.pools.iter().filter_map(|pool| pool.gateway).collect()
    }
}

fn ipam(known: Object, wish: Object, is_leaving: bool) -> anyhow::Result<Ipam> {
    let driver = match known.object("ipam_options")? {
        Some(options) => options.optional_text("driver")?,
        None => None,
    };
    match driver {
        None | Some("host-local") => host_local(known, wish, is_leaving),
        Some("none") => Ok(Ipam::default()),
        Some("dhcp") => bail!("the ipam driver dhcp is not supported yet: use host-local, or none"),
        Some(other) => bail!("unsupported ipam driver {other}"),
    }
}

fn host_local(known: Object, wish: Object, is_leaving: bool) -> anyhow::Result<Ipam> {
    let wanted = match wish.addresses("static_ips")? {
        None if !is_leaving => bail!("no static ips provided"),
        wanted => wanted.unwrap_or_default(),
    };
    let mut ipam = Ipam {
        is_known: true,
        ..Ipam::default()
    };
    let subnets = known.list("subnets")?;
    for subnet in subnets.unwrap_or_default() {
        let subnet = Object::of("a subnet", subnet)?;
        let gateway: Option<IpAddr> = subnet.parsed("gateway")?;
        let subnet: Subnet = subnet
            .parsed("subnet")?
            .ok_or_else(|| anyhow!("missing field `subnet`"))?;
        if let Some(other) = ipam.pools.iter().find(|pool| pool.subnet.overlaps(&subnet)) {
            match other.subnet == subnet {
                true => bail!("duplicate subnet defined: {subnet}"),
                false => bail!("overlapping subnets: {} and {subnet}", other.subnet),
            }
        }
        if let Some(gateway) = gateway.filter(|gateway| Family::of(*gateway) != subnet.family()) {
            bail!("gateway {gateway} and subnet {subnet} are not of one family");
        }
        ipam.pools.push(Pool {
            subnet,
            gateway,
            range: None,
            set: 0,
            reserved: Default::default(),
        });
        for address in wanted.iter().filter(|address| subnet.contains(**address)) {
            let own = InterfaceAddress {
                address: *address,
                prefix: subnet.prefix(),
            };
            ipam.answer
                .push(json!({ "gateway": gateway, "ipnet": own.to_string() }));
            ipam.addresses.push(own);
        }
    }
    if subnets.is_some() && ipam.addresses.len() != wanted.len() {
        let (expected, got) = (wanted.len(), ipam.addresses.len());
        bail!("not all static IPs matched a subnet: expected {expected}, got {got}");
    }
    ipam.addresses.sort_by_key(|own| Family::of(own.address));
    for route in known.list("routes")?.unwrap_or_default() {
        let route = static_route(Object::of("a route", route)?, &ipam.addresses)?;
        ipam.routes.push(route);
    }
    Ok(ipam)
}

/// A route of a network, of a container that has these addresses on it.
fn static_route(route: Object, addresses: &[InterfaceAddress]) -> anyhow::Result<Route> {
    let destination: Subnet = route
        .parsed("destination")?
        .ok_or_else(|| anyhow!("missing field `destination`"))?;
    let via: Option<IpAddr> = route.parsed("gateway")?;
    let kind = match route.optional_text("route_type")? {
        None | Some("" | "unicast") => RouteKind::Unicast,
        Some("blackhole") => RouteKind::Blackhole,
        Some("unreachable") => RouteKind::Unreachable,
        Some("prohibit") => RouteKind::Prohibit,
        Some(other) => bail!("invalid route type \"{other}\""),
    };
    match via {
        None if kind == RouteKind::Unicast => bail!("route {destination} requires a gateway for type unicast"),
        Some(_) if kind != RouteKind::Unicast => {
            bail!("route {destination} must not have a gateway: it leads nowhere")
        }
        Some(via) if Family::of(via) != destination.family() => {
            bail!("route {destination} and its gateway {via} are not of one family")
        }
        _ => {}
    }
    let metric = route.optional_number("metric")?.unwrap_or(METRIC);
    let mut made = Route::new(destination, via, Some(metric));
    made.kind = kind;
    let own = |own: &InterfaceAddress| Subnet::containing(own.address, own.prefix);
    let is_on_link = |via: IpAddr| matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    let is_near = |via| is_on_link(via) || addresses.iter().any(|address| own(address).contains(via));
    made.any_link = via.is_some_and(|via| !is_near(via));
    Ok(made)
}
