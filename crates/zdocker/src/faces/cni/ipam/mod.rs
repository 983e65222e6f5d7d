//! Where addresses come from: nowhere, from our own records, or from another plug-in.

pub(super) mod delegate;
pub(super) mod host_local;

use std::net::IpAddr;

use zdocker_net::attach::foreign::Addresses;
use zdocker_net::model::{Pool, WAY_OUT};
use zdocker_net::names::MacAddress;
use zdocker_net::subnet::{Family, Subnet};

use super::error::CniError;
use super::fields::Fields;
use super::request::Request;
use super::result::{CniResult, Dns, Route};

/// The address management of a configuration (its key `ipam`).
#[derive(Debug)]
pub(super) enum Ipam {
    /// None: interfaces have no addresses, or somebody within the container gives them some.
    None,
    /// Ours.
    HostLocal(Leases),
    /// The plug-in of this name.
    Other(String),
    /// What a plug-in before this one in a list gave.
    Previous(CniResult),
}

/// What is handed out, or was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Leases {
    /// The subnets, each with its gateway.
    pub(super) pools: Vec<Pool>,
    /// Addresses that are asked for; those that were given where another plug-in did it.
    pub(super) addresses: Vec<IpAddr>,
    /// Routes.
    pub(super) routes: Vec<Route>,
    /// What else the address management says.
    pub(super) dns: Dns,
}

/// Addresses for one endpoint, before it is plugged in.
#[derive(Debug)]
pub(super) struct Assigned {
    /// What the network is to know of.
    pub(super) pools: Vec<Pool>,
    /// Where the endpoint's addresses come from.
    pub(super) addresses: Addresses,
    /// Its routes.
    pub(super) routes: Vec<Route>,
    /// How it resolves names.
    pub(super) dns: Dns,
}

impl Ipam {
    /// Reads the address management; `usual` is the one where no type is given.
    ///
    /// # Errors
    /// [`CniError`] when it is wrong.
    pub(super) fn read(request: &Request, usual: Option<&str>) -> Result<Self, CniError> {
        let fields = request.fields().object("ipam")?;
        let name = fields.text("type")?.filter(|name| !name.is_empty());
        Ok(match name.or(usual.filter(|_| fields.is_given())) {
            None => Ipam::None,
            Some("host-local") => Ipam::HostLocal(host_local::read(request, &fields)?),
            Some("dhcp") => {
                let reason = "\"dhcp\" asks by the interface, which is made when its addresses are known";
                return Err(CniError::unsupported("ipam.type", reason));
            }
            Some(name) => Ipam::Other(name.to_owned()),
        })
    }

    /// Has addresses handed out, as far as that is not ours to do when plugging in.
    ///
    /// # Errors
    /// [`CniError`] of the other plug-in.
    pub(super) fn acquire(self, request: &Request) -> Result<Assigned, CniError> {
        Ok(match self {
            Ipam::None => Assigned {
                pools: Vec::new(),
                addresses: Addresses::Given(Vec::new()),
                routes: Vec::new(),
                dns: Dns::default(),
            },
            Ipam::HostLocal(leases) => Assigned {
                pools: leases.pools,
                addresses: Addresses::Leased(leases.addresses),
                routes: leases.routes,
                dns: leases.dns,
            },
            Ipam::Other(name) => given(delegate::add(request, &name)?),
            Ipam::Previous(result) => given(result),
        })
    }
}

/// What another plug-in gave.
fn given(result: CniResult) -> Assigned {
    let mut pools: Vec<Pool> = Vec::new();
    for ip in &result.ips {
        let pool = Pool {
            gateway: ip.gateway,
            ..pool(Subnet::containing(ip.address.address, ip.address.prefix))
        };
        if !pools.iter().any(|other| other.subnet == pool.subnet) {
            pools.push(pool);
        }
    }
    Assigned {
        pools,
        addresses: Addresses::Given(result.ips.iter().map(|ip| ip.address).collect()),
        routes: result.routes,
        dns: result.dns,
    }
}

fn pool(subnet: Subnet) -> Pool {
    Pool {
        subnet,
        gateway: None,
        range: None,
        set: 0,
        reserved: Default::default(),
    }
}

/// What the host is to the containers of a network.
pub(super) fn settle_gateways(pools: &mut [Pool], is_gateway: bool) {
    for pool in pools {
        if is_gateway {
            pool.gateway = pool.gateway.or_else(|| first_address(&pool.subnet));
        } else if let Some(gateway) = pool.gateway.take() {
            pool.reserved.insert(WAY_OUT.to_owned(), gateway);
        }
    }
}

/// The address that is a subnet's gateway if none is given.
fn first_address(subnet: &Subnet) -> Option<IpAddr> {
    subnet.nth(1)
}

/// The Ethernet address that is asked for: by the runtime, or by who started the container.
///
/// # Errors
/// [`CniError`] when it is none.
pub(super) fn asked_mac(request: &Request) -> Result<Option<MacAddress>, CniError> {
    for fields in [request.runtime()?, request.cni_args()?] {
        if let Some(mac) = fields.parsed("mac")? {
            return Ok(Some(mac));
        }
    }
    let asked = request.args.get("MAC").filter(|text| !text.is_empty());
    let read = |text: &String| text.parse().map_err(|error| CniError::environment("CNI_ARGS", error));
    asked.map(read).transpose()
}

/// The addresses that are asked for: by the runtime, and by who started the container.
///
/// # Errors
/// [`CniError`] when one is none.
pub(super) fn asked_addresses(request: &Request) -> Result<Vec<IpAddr>, CniError> {
    // With or without a prefix length.
    let address = |text: &str| text.split('/').next().unwrap_or_default().parse::<IpAddr>();
    let mut asked = Vec::new();
    for text in request.args.get("IP").iter().flat_map(|text| text.split(',')) {
        asked.push(address(text).map_err(|error| CniError::environment("CNI_ARGS", format!("IP={text}: {error}")))?);
    }
    for fields in [request.cni_args()?, request.runtime()?] {
        for text in fields.texts("ips")? {
            asked.push(address(&text).map_err(|error| fields.error("ips", format!("{text:?}: {error}")))?);
        }
    }
    asked.dedup();
    Ok(asked)
}

/// Default routes of the families that there are pools of, by the pools' gateways.
pub(super) fn default_routes(pools: &[Pool]) -> Vec<Route> {
    let has = |family: &Family| pools.iter().any(|pool| pool.subnet.family() == *family);
    let families = [Family::V4, Family::V6].into_iter().filter(has);
    families
        .map(|family| Route::new(Subnet::default_route(family), None))
        .collect()
}

/// The keys of `ipam` or of a range.
type Keys<'a> = Fields<'a>;
