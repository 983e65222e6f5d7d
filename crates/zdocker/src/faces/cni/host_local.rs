//! `host-local`: addresses for the interfaces of other plug-ins. A lease is an endpoint without an interface, on a
//! network that consists of its subnets.

use zdocker_engine::plug::{PlugRequest, UnplugRequest};
use zdocker_net::attach::foreign::{self, Addresses, ForeignRequest};
use zdocker_net::model::{Driver, Network, Pool};
use zdocker_net::names::Id;
use zdocker_net::op::NamespacePath;

use super::error::{CniError, Code};
use super::ipam::{self, host_local};
use super::request::Request;
use super::result::{CniResult, Ip};
use super::{Verbs, attachment, refuse_differences, state};

/// What the plug-in does.
pub(super) const VERBS: Verbs = Verbs {
    add,
    del,
    check,
    gc,
    status,
};

/// How the records call the network of bare leases.
pub(super) fn network_id(request: &Request) -> Id {
    Id::named(&["cni", request.network.as_str(), "host-local"])
}

fn network(request: &Request) -> Network {
    attachment::network(request, network_id(request), Driver::None)
}

fn endpoint_id(request: &Request) -> Result<Id, CniError> {
    Ok(foreign::endpoint_id(
        &request.container_id(),
        &network_id(request),
        request.interface()?,
    ))
}

fn add(request: &Request) -> Result<CniResult, CniError> {
    let leases = host_local::read(request, &request.fields().object("ipam")?)?;
    let mut network = network(request);
    network.pools = leases.pools;
    ipam::settle_gateways(&mut network.pools, false);
    let wish = ForeignRequest {
        addresses: Addresses::Leased(leases.addresses),
        ..ForeignRequest::new(request.interface()?.clone())
    };
    let plugged = state::open(request)?.plug(&PlugRequest {
        container: request.container_id(),
        namespace: NamespacePath(request.netns.clone().unwrap_or_default()),
        endpoints: vec![(network.clone(), wish)],
    })?;
    let addresses = plugged.iter().flat_map(|endpoint| &endpoint.addresses);
    let ips = addresses.map(|own| Ip {
        address: *own,
        gateway: network.pool_of(own.address).and_then(Pool::way_out),
        interface: None,
    });
    Ok(CniResult {
        ips: ips.collect(),
        routes: leases.routes,
        dns: leases.dns,
        ..CniResult::default()
    })
}

fn del(request: &Request) -> Result<(), CniError> {
    let mut engine = state::open(request)?;
    engine.unplug(&UnplugRequest {
        container: request.container_id(),
        namespace: None,
        endpoints: vec![(network(request), ForeignRequest::new(request.interface()?.clone()))],
        remove_unused: false,
    })?;
    // There is no interface that would have to be waited for.
    Ok(engine.finish()?)
}

fn check(request: &Request) -> Result<(), CniError> {
    let id = endpoint_id(request)?;
    let held = state::open(request)?
        .plugged()?
        .into_iter()
        .find(|(_, endpoint)| endpoint.id == id);
    let what = format!("the lease of container {:?}", request.container);
    let Some((_, endpoint)) = held else {
        return refuse_differences(&what, &["it is not recorded".to_owned()]);
    };
    let previous = request.required_previous()?;
    let lacks = endpoint
        .addresses
        .iter()
        .filter(|own| !previous.ips.iter().any(|ip| ip.address == **own));
    let lines: Vec<String> = lacks.map(|own| format!("prevResult does not have {own}")).collect();
    refuse_differences(&what, &lines)
}

fn gc(request: &Request) -> Result<(), CniError> {
    attachment::collect(&mut state::open(request)?, request, &[network_id(request)])
}

fn status(request: &Request) -> Result<(), CniError> {
    host_local::read(request, &request.fields().object("ipam")?)?;
    state::open(request).map_err(|error| CniError::new(Code::NotAvailable, error.message))?;
    Ok(())
}
