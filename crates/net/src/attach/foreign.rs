//! Endpoints of containers that another engine runs: it decides what they are like, and often which addresses they
//! have.

use std::net::IpAddr;

use super::{AttachError, first_of_each_family, mac_of};
use crate::model::{Endpoint, EndpointSettings, InterfaceAddress, Network, Route};
use crate::names::{Id, InterfaceName, MacAddress};
use crate::ports::PublishedPort;
use crate::subnet::Family;

/// Where the addresses of an endpoint come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// The other engine hands them out: these and no others, which may be none.
    Given(Vec<InterfaceAddress>),
    /// We do: one of each set of the network's pools, those in this list if they are free.
    Leased(Vec<IpAddr>),
}

/// What another engine asks of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRequest {
    /// The interface within the namespace.
    pub interface: InterfaceName,
    /// Its addresses.
    pub addresses: Addresses,
    /// Its Ethernet address; if missing, one that follows from the first IPv4 address, or else from the endpoint's
    /// names.
    pub mac: Option<MacAddress>,
    /// Whether the gateways of its addresses' pools become default routes.
    pub default_route: bool,
    /// Of the default routes; the kernel's default if missing.
    pub metric: Option<u32>,
    /// Other routes.
    pub routes: Vec<Route>,
    /// Routes by the ways out of the pools that its addresses are of.
    pub routes_by_gateway: Vec<Route>,
    /// What is published by it.
    pub ports: Vec<PublishedPort>,
    /// All else.
    pub settings: EndpointSettings,
}

impl ForeignRequest {
    /// An endpoint with this interface that is given nothing else.
    pub fn new(interface: InterfaceName) -> Self {
        ForeignRequest {
            interface,
            addresses: Addresses::Given(Vec::new()),
            mac: None,
            default_route: false,
            metric: None,
            routes: Vec::new(),
            routes_by_gateway: Vec::new(),
            ports: Vec::new(),
            settings: EndpointSettings::default(),
        }
    }
}

/// The identifier of a container's endpoint on a network: it follows from their names, so that it is known also when
/// its record is lost.
pub fn endpoint_id(container: &Id, network: &Id, interface: &InterfaceName) -> Id {
    Id::named(&[container.as_str(), network.as_str(), interface.as_str()])
}

/// The endpoint of `container` on `network` with these addresses. `port_prefix` begins the name of the host's
/// interface.
///
/// # Errors
/// [`AttachError::Name`] never happens with an [`Id`] of our own making.
pub fn endpoint(
    network: &Network,
    container: &Id,
    request: &ForeignRequest,
    addresses: Vec<InterfaceAddress>,
    port_prefix: &str,
) -> Result<Endpoint, AttachError> {
    let id = endpoint_id(container, &network.id, &request.interface);
    let from_names = |byte| u8::from_str_radix(id.as_str().get(2 * byte..2 * byte + 2).unwrap_or_default(), 16);
    let chosen = || MacAddress::local(std::array::from_fn(|byte| from_names(byte).unwrap_or_default()));
    let mac = request.mac.or_else(|| mac_of(&addresses)).unwrap_or_else(chosen);
    let gateways = addresses.iter().filter(|_| request.default_route);
    let gateways = gateways.filter_map(|own| network.pool_of(own.address)?.gateway);
    let way_out = |route: &Route| {
        let mut ways = addresses
            .iter()
            .filter_map(|own| network.pool_of(own.address)?.way_out());
        ways.find(|way| Family::of(*way) == route.destination.family())
    };
    let by_gateway = request.routes_by_gateway.iter().map(|route| Route {
        via: way_out(route),
        ..route.clone()
    });
    let routes: Vec<Route> = request.routes.iter().cloned().chain(by_gateway).collect();
    Ok(Endpoint {
        host_interface: InterfaceName::prefixed(port_prefix, id.as_str())?,
        network: network.id.clone(),
        container: container.clone(),
        interface: request.interface.clone(),
        mac,
        gateways: first_of_each_family(gateways),
        addresses,
        metric: request.metric,
        reply_table: None,
        routes,
        ports: request.ports.clone(),
        settings: request.settings.clone(),
        sandbox: None,
        id,
    })
}
