//! What all plug-ins have in common that make an interface: each says by its configuration what is to be
//! ([`Design`]); the verbs are the same.

use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use zdocker_engine::Engine;
use zdocker_engine::plug::{PlugRequest, UnplugRequest};
use zdocker_net::attach::foreign::{self, Addresses, ForeignRequest};
use zdocker_net::model::{self, Driver, Endpoint, Network, Pool};
use zdocker_net::names::{Id, InterfaceName, MacAddress};
use zdocker_net::op::NamespacePath;
use zdocker_net::subnet::Family;

use super::error::{CniError, Code};
use super::ipam::{self, Assigned, Ipam, delegate};
use super::request::{Request, Verb};
use super::result::{CniResult, Dns, Interface, Ip, Route};
use super::variables::variables;
use super::{refuse_differences, state};

/// What a plug-in's configuration asks for.
#[derive(Debug)]
pub(super) struct Design {
    /// The network, without its subnets.
    pub(super) network: Network,
    /// The endpoint, without addresses and routes.
    pub(super) wish: ForeignRequest,
    /// Where its addresses come from.
    pub(super) ipam: Ipam,
    /// Whether the gateways of the subnets are the host's own, or the network's way out.
    pub(super) is_gateway: bool,
    /// Whether the gateways become default routes.
    pub(super) is_default_gateway: bool,
    /// Whether the network goes with its last container.
    pub(super) remove_unused: bool,
    /// Whether interfaces to which nobody gives addresses heed the router advertisements of their neighbours.
    pub(super) hears_routers: bool,
    /// How names are resolved, if the configuration says so, be it that nobody resolves them.
    pub(super) dns: Option<Dns>,
}

impl Design {
    /// A design of the request's network, made real by `driver`.
    ///
    /// # Errors
    /// [`CniError`] when the request says not enough.
    pub(super) fn new(request: &Request, driver: Driver, usual_ipam: Option<&str>) -> Result<Self, CniError> {
        // STATUS and GC are about no interface.
        let interface = request.ifname.clone().unwrap_or_else(InterfaceName::loopback);
        let wish = ForeignRequest {
            mac: ipam::asked_mac(request)?,
            ..ForeignRequest::new(interface)
        };
        let dns = request.fields().object("dns")?;
        Ok(Design {
            network: network(request, request.network_id(), driver),
            wish,
            ipam: Ipam::read(request, usual_ipam)?,
            is_gateway: true,
            is_default_gateway: false,
            remove_unused: false,
            hears_routers: true,
            dns: dns.is_given().then(|| Dns::read(&dns)).transpose()?,
        })
    }
}

/// How a plug-in reads its configuration.
pub(super) type Reader = fn(&Request) -> Result<Design, CniError>;

/// A network of a request, called `id` in the records.
pub(super) fn network(request: &Request, id: Id, driver: Driver) -> Network {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Good until the year 2262.
    let mut network = Network::foreign(id, request.network.clone(), driver, since.as_nanos() as i64);
    network.settings.no_default_route = true;
    network
}

/// The Ethernet address that follows from names.
pub(super) fn mac_named(names: &[&str]) -> MacAddress {
    let id = Id::named(names);
    let byte = |number: usize| id.as_str().get(2 * number..2 * number + 2);
    let bytes = std::array::from_fn(|number| byte(number).and_then(|hex| u8::from_str_radix(hex, 16).ok()));
    MacAddress::local(bytes.map(Option::unwrap_or_default))
}

/// Does what is asked; a result comes of `ADD` only.
///
/// # Errors
/// [`CniError`].
pub(super) fn serve(request: &Request, read: Reader) -> Result<Option<CniResult>, CniError> {
    match request.verb {
        Verb::Add => return add(request, read(request)?).map(Some),
        Verb::Del => del(request, read(request))?,
        Verb::Check => check(request, &read(request)?)?,
        Verb::Gc => gc(request, read(request))?,
        Verb::Status => status(request, &read(request)?)?,
        Verb::Version => {}
    }
    Ok(None)
}

fn add(request: &Request, mut design: Design) -> Result<CniResult, CniError> {
    let namespace = foreign_namespace(request)?;
    let delegate = other_ipam(&design);
    let mut engine = state::open(request)?;
    let ipam = std::mem::replace(&mut design.ipam, Ipam::None);
    let assigned = ipam.acquire(request)?;
    let added = plug(&mut engine, request, design, assigned, namespace);
    match (added, delegate) {
        (Err(error), Some(name)) => {
            let undone = delegate::tell(request, &name, "DEL");
            let also = undone.err().map(|also| format!("; and then: {also}"));
            Err(CniError {
                message: format!("{}{}", error.message, also.unwrap_or_default()),
                ..error
            })
        }
        (added, _) => added,
    }
}

/// The other plug-in that addresses come from.
fn other_ipam(design: &Design) -> Option<String> {
    match &design.ipam {
        Ipam::Other(name) => Some(name.clone()),
        Ipam::None | Ipam::HostLocal(_) | Ipam::Previous(_) => None,
    }
}

fn plug(
    engine: &mut Engine,
    request: &Request,
    design: Design,
    assigned: Assigned,
    namespace: NamespacePath,
) -> Result<CniResult, CniError> {
    let Design {
        mut network, mut wish, ..
    } = design;
    network.pools = assigned.pools;
    network.settings.pools_grow = matches!(assigned.addresses, Addresses::Given(_));
    ipam::settle_gateways(&mut network.pools, design.is_gateway);
    // Addresses that nobody told us are not to be guarded against.
    network.settings.unguarded |= network.pools.is_empty();
    wish.addresses = assigned.addresses;
    wish.settings.sysctls = variables(&network, &wish.interface, design.hears_routers);
    let mut routes = assigned.routes;
    let mut added = match design.is_default_gateway {
        true => ipam::default_routes(&network.pools),
        false => Vec::new(),
    };
    added.retain(|route| routes.iter().all(|other| other.destination != route.destination));
    for route in routes.iter().chain(&added) {
        network.settings.no_default_route &= route.destination.prefix() != 0;
        lead(&mut wish, route)?;
    }
    let plug = PlugRequest {
        container: request.container_id(),
        namespace,
        endpoints: vec![(network.clone(), wish)],
    };
    let endpoint = engine.plug(&plug)?.pop();
    let endpoint = endpoint.ok_or_else(|| CniError::new(Code::Failed, "the engine plugged nothing in"))?;
    for route in &mut added {
        route.gateway = way_out(&network, &endpoint, route.destination.family());
    }
    routes.extend(added);
    result(engine, &network, &endpoint, routes, design.dns.unwrap_or(assigned.dns))
}

/// The gateway of an endpoint's first address of a family.
fn way_out(network: &Network, endpoint: &Endpoint, family: Family) -> Option<IpAddr> {
    let mut own = endpoint.addresses.iter().map(|own| own.address);
    let own = own.find(|address| Family::of(*address) == family)?;
    network.pool_of(own)?.way_out()
}

/// Gives an endpoint a route: by the neighbour that is said, or by the gateway of its address.
fn lead(wish: &mut ForeignRequest, route: &Route) -> Result<(), CniError> {
    /// `RT_SCOPE_LINK` (linux/rtnetlink.h).
    const LINK_SCOPE: u64 = 253;
    let number = |key: &str| match route.others.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| CniError::config(key, "want a number")),
    };
    let size = |key: &str| Ok::<_, CniError>(number(key)?.filter(|size| *size != 0).map(|size| size as u32));
    if number("table")?.is_some_and(|table| table != 0) {
        return Err(CniError::unsupported(
            "table",
            "routes are added to the main routing table only",
        ));
    }
    let on_link = match number("scope")?.unwrap_or(0) {
        0 => false,
        LINK_SCOPE => true,
        _ => return Err(CniError::unsupported("scope", "want 0 (global) or 253 (link)")),
    };
    let mut led = model::Route::new(route.destination, route.gateway, size("priority")?);
    led.mtu = size("mtu")?;
    led.advmss = size("advmss")?;
    if on_link || led.via.is_some() {
        wish.routes.push(led);
    } else {
        wish.routes_by_gateway.push(led);
    }
    Ok(())
}

/// What came of it.
fn result(
    engine: &mut Engine,
    network: &Network,
    endpoint: &Endpoint,
    routes: Vec<Route>,
    dns: Dns,
) -> Result<CniResult, CniError> {
    let mut interfaces = Vec::new();
    if network.has_pairs() {
        let bridge = network.bridge.iter().map(|bridge| &bridge.name);
        for name in bridge.chain([&endpoint.host_interface]) {
            let mac = engine.address_of_link(name)?;
            interfaces.push(interface(name, mac, Some(network.pair_mtu()), ""));
        }
    }
    let place = interfaces.len();
    let sandbox = endpoint.sandbox.as_deref().unwrap_or_default();
    if network.driver.plugs_in() {
        let mtu = network.has_pairs().then(|| network.pair_mtu());
        let mtu = mtu.or(network.parent.as_ref().and_then(|parent| parent.mtu));
        let mac = match network.has_own_macs() {
            true => Some(endpoint.mac),
            false => engine.parent_mac(endpoint)?,
        };
        interfaces.push(interface(&endpoint.interface, mac, mtu, sandbox));
    }
    let ips = endpoint.addresses.iter().map(|own| Ip {
        address: *own,
        gateway: network.pool_of(own.address).and_then(Pool::way_out),
        interface: network.driver.plugs_in().then_some(place),
    });
    Ok(CniResult {
        ips: ips.collect(),
        interfaces,
        routes,
        dns,
    })
}

fn interface(name: &InterfaceName, mac: Option<MacAddress>, mtu: Option<u32>, sandbox: &str) -> Interface {
    Interface {
        name: name.to_string(),
        mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: mtu.unwrap_or_default().into(),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    }
}

/// The namespace that is to be plugged in, which must be there, and not be this process's own.
///
/// # Errors
/// [`Code::InvalidEnvironment`].
pub(super) fn foreign_namespace(request: &Request) -> Result<NamespacePath, CniError> {
    let namespace = request.namespace()?;
    let refuse = |reason: &str| Err(CniError::environment("CNI_NETNS", format!("{} {reason}", namespace.0)));
    match namespace_identity(Path::new(&namespace.0)) {
        None => refuse("is no network namespace"),
        identity if identity == namespace_identity(Path::new("/proc/self/ns/net")) => {
            refuse("is the namespace that the plug-in itself runs in")
        }
        Some(_) => Ok(namespace),
    }
}

/// What tells a namespace from all others; `None` if there is none.
fn namespace_identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let system = nix::sys::statfs::statfs(path).ok()?;
    if system.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
        return None;
    }
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn del(request: &Request, design: Result<Design, CniError>) -> Result<(), CniError> {
    // What is recorded is taken away whatever the configuration has become.
    let (network, mut wish, delegate, remove_unused) = match design {
        Ok(design) => {
            let delegate = other_ipam(&design);
            (design.network, design.wish, delegate, design.remove_unused)
        }
        Err(_) => {
            let wish = ForeignRequest::new(request.interface()?.clone());
            let delegate = request.fields().object("ipam")?.text("type")?;
            let delegate = delegate.filter(|name| !matches!(*name, "" | "host-local"));
            (
                network(request, request.network_id(), Driver::None),
                wish,
                delegate.map(str::to_owned),
                false,
            )
        }
    };
    wish.addresses = Addresses::Given(previous_addresses(request));
    let namespace = request
        .netns
        .clone()
        .filter(|path| namespace_identity(Path::new(path)).is_some());
    let mut engine = state::open(request)?;
    engine.unplug(&UnplugRequest {
        container: request.container_id(),
        namespace: namespace.map(NamespacePath),
        endpoints: vec![(network, wish)],
        remove_unused,
    })?;
    let told = delegate.map(|name| delegate::tell(request, &name, "DEL"));
    engine.finish_behind();
    told.unwrap_or(Ok(()))
}

/// The addresses that the runtime says the container's interface was given, as far as it says so.
fn previous_addresses(request: &Request) -> Vec<model::InterfaceAddress> {
    let previous = request.previous().ok().flatten().unwrap_or_default();
    own_ips(&previous, request).map(|ip| ip.address).collect()
}

/// The addresses of a result that are of the request's interface, or of none.
fn own_ips<'a>(result: &'a CniResult, request: &Request) -> impl Iterator<Item = &'a Ip> {
    let name = request.ifname.as_ref().map(InterfaceName::as_str).unwrap_or_default();
    let place = result.place_of(name, request.netns.as_deref().unwrap_or_default());
    result
        .ips
        .iter()
        .filter(move |ip| ip.interface.is_none() || ip.interface == place)
}

fn check(request: &Request, design: &Design) -> Result<(), CniError> {
    let previous = request.required_previous()?;
    let mut engine = state::open(request)?;
    let what = format!(
        "interface {} of container {:?}",
        design.wish.interface, request.container
    );
    let id = foreign::endpoint_id(&request.container_id(), &request.network_id(), &design.wish.interface);
    let plugged = engine.plugged()?.into_iter().find(|(_, endpoint)| endpoint.id == id);
    let Some((network, endpoint)) = plugged else {
        return refuse_differences(
            &what,
            &[format!("it is not plugged into network {:?}", request.network.as_str())],
        );
    };
    let mut lines = Vec::new();
    if design.network.driver != network.driver {
        lines.push(format!(
            "it is on a network with driver {}, and the configuration has {}",
            network.driver, design.network.driver
        ));
    }
    let sandbox = request.netns.as_deref().unwrap_or_default();
    if previous.place_of(endpoint.interface.as_str(), sandbox).is_none()
        && request.version > super::version::Version::V020
    {
        lines.push("prevResult does not have it".to_owned());
    }
    lines.extend(other_mac(&previous, &network, &endpoint));
    let lacks = own_ips(&previous, request).filter(|ip| !endpoint.addresses.contains(&ip.address));
    lines.extend(lacks.map(|ip| format!("address {} of prevResult is not its own", ip.address)));
    lines.extend(engine.check_plugged(&request.container_id(), &network.id)?);
    refuse_differences(&what, &lines)?;
    match other_ipam(design) {
        Some(name) => delegate::tell(request, &name, "CHECK"),
        None => Ok(()),
    }
}

/// What differs if a result has the endpoint's interface with another Ethernet address than it was given.
fn other_mac(result: &CniResult, network: &Network, endpoint: &Endpoint) -> Option<String> {
    let place = result.place_of(endpoint.interface.as_str(), endpoint.sandbox.as_deref()?)?;
    let mac = result.interfaces[place].mac.to_ascii_lowercase();
    let differs = network.has_own_macs() && !mac.is_empty() && mac != endpoint.mac.to_string();
    differs.then(|| format!("Ethernet address {mac} of prevResult is not its own"))
}

fn gc(request: &Request, design: Result<Design, CniError>) -> Result<(), CniError> {
    let mut engine = state::open(request)?;
    let collected = collect(
        &mut engine,
        request,
        &[request.network_id(), super::host_local::network_id(request)],
    );
    // The other plug-in is told whatever came of ours.
    let told = match design.ok().as_ref().and_then(other_ipam) {
        Some(name) => delegate::tell(request, &name, "GC"),
        None => Ok(()),
    };
    collected.and(told)
}

/// Takes away what is on `networks` and not among the attachments that the request lists; and those of the networks that
/// nobody is on then.
///
/// # Errors
/// [`CniError`] when a part could not be removed.
pub(super) fn collect(engine: &mut Engine, request: &Request, networks: &[Id]) -> Result<(), CniError> {
    let valid = request.valid_attachments()?;
    let mut collected = Ok(());
    for (network, endpoint) in engine.plugged()? {
        let is_valid = |(container, interface): &(Id, String)| {
            *container == endpoint.container && interface == endpoint.interface.as_str()
        };
        if !networks.contains(&network.id) || valid.iter().any(is_valid) {
            continue;
        }
        // One that cannot be taken away keeps none of the others.
        collected = collected.and(engine.unplug(&UnplugRequest {
            container: endpoint.container,
            namespace: endpoint.sandbox.map(NamespacePath),
            endpoints: vec![(network, ForeignRequest::new(endpoint.interface))],
            remove_unused: false,
        }));
    }
    collected = collected.and(engine.finish());
    Ok(collected.and(engine.remove_unused_of(networks))?)
}

fn status(request: &Request, design: &Design) -> Result<(), CniError> {
    let unavailable = |error: CniError| CniError::new(Code::NotAvailable, error.message);
    state::open(request).map_err(unavailable)?;
    match other_ipam(design) {
        Some(name) => delegate::tell(request, &name, "STATUS"),
        None => Ok(()),
    }
}
