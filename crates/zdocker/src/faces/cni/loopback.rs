//! `loopback`: sets `lo` of a container up and down.

use zdocker_engine::plug;

use super::error::CniError;
use super::request::Request;
use super::result::{CniResult, Interface, Ip};
use super::{Verbs, refuse_differences};

pub(super) const VERBS: Verbs = Verbs {
    del,
    ..Verbs::stateless(add, check)
};

/// What the kernel shows as its Ethernet address.
const MAC: &str = "00:00:00:00:00:00";

fn add(request: &Request) -> Result<CniResult, CniError> {
    let namespace = request.namespace()?;
    plug::set_loopback(&namespace, true)?;
    if let Some(previous) = request.previous()? {
        return Ok(previous);
    }
    let addresses = plug::loopback(&namespace)?.unwrap_or_default().addresses;
    let ip = |address| Ip {
        address,
        gateway: None,
        interface: Some(0),
    };
    Ok(CniResult {
        interfaces: vec![Interface {
            name: "lo".to_owned(),
            mac: MAC.to_owned(),
            sandbox: namespace.0,
            ..Interface::default()
        }],
        ips: addresses.into_iter().map(ip).collect(),
        ..CniResult::default()
    })
}

fn del(request: &Request) -> Result<(), CniError> {
    let Some(namespace) = &request.netns else {
        return Ok(());
    };
    let namespace = zdocker_net::op::NamespacePath(namespace.clone());
    // One that is gone has no `lo`.
    if plug::loopback(&namespace)?.is_some_and(|lo| lo.up) {
        plug::set_loopback(&namespace, false)?;
    }
    Ok(())
}

fn check(request: &Request) -> Result<(), CniError> {
    let lo = plug::loopback(&request.namespace()?)?.unwrap_or_default();
    let difference = (!lo.up).then(|| "interface lo is down".to_owned());
    refuse_differences("lo", &difference.into_iter().collect::<Vec<_>>())
}
