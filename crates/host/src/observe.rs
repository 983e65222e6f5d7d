//! Looking at the host before a plan is made.

use std::collections::HashMap;
use std::path::Path;

use zdocker_net::names::InterfaceName;
use zdocker_net::seen::{Seen, SeenBridge, SeenLink};

use crate::kernel::Kernel;
use crate::netlink::link::Link;
use crate::netlink::route::Route;
use crate::netlink::{NetlinkError, Socket, Subsystem, address, link, route};
use crate::netns::{Namespace, NamespaceError};
use crate::nft::whole;
use crate::sysctl::{self, SysctlError};

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The kernel did not answer.
    #[error("cannot look at the host's network: {0}")]
    Netlink(#[from] NetlinkError),
    /// A container's namespace could not be entered.
    #[error("cannot look at a container's network: {0}")]
    Namespace(#[from] NamespaceError),
    /// A kernel variable could not be read.
    #[error("cannot look at the host's network: {0}")]
    Sysctl(#[from] SysctlError),
}

impl Kernel {
    /// Looks at all that creating networks depends on.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe(&mut self) -> Result<Seen, ObserveError> {
        let socket = self.route()?;
        let links = link::all(socket)?;
        let addresses = address::all(socket)?;
        let routes = route::all(socket)?;
        let names: HashMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
        let connected = addresses.iter().filter_map(|address| {
            let link = names.get(&address.index)?;
            Some((link.seen.name.clone(), address.subnet))
        });
        let ports = links.iter().filter_map(|link| {
            let bridge = names.get(&link.master?)?;
            Some((link.seen.name.clone(), bridge.seen.name.clone()))
        });
        let is_on = |key| Ok::<_, SysctlError>(sysctl::read(key)?.map(|value| value != "0"));
        Ok(Seen {
            connected: connected.collect(),
            addresses: addresses.iter().map(|address| address.own.address).collect(),
            ports: ports.collect(),
            egress_mtu: egress(&routes)
                .and_then(|index| names.get(&index))
                .map(|link| link.seen.mtu),
            routes: routes
                .iter()
                .map(|route| route.destination)
                .filter(|to| to.prefix() > 0)
                .collect(),
            forwarding_v4: is_on("net/ipv4/ip_forward")?.unwrap_or(false),
            forwarding_v6: is_on("net/ipv6/conf/all/forwarding")?,
            accept_ra: links
                .iter()
                .filter(|l| l.accept_ra == Some(1))
                .map(|l| l.seen.name.clone())
                .collect(),
            firewall: self.has_whole_firewall()?,
            links: links.into_iter().map(|link| link.seen).collect(),
        })
    }

    /// Whether both our tables are loaded, with all their rules.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn has_whole_firewall(&mut self) -> Result<bool, ObserveError> {
        Ok(whole::damaged_tables(self.netfilter()?)?.is_empty())
    }

    /// The interface of the host called `name`, if there is one.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_link(&mut self, name: &InterfaceName) -> Result<Option<SeenLink>, ObserveError> {
        Ok(link::find(self.route()?, name)?.map(|link| link.seen))
    }

    /// Whether the namespace pinned at `path` has an interface called `name`.
    ///
    /// # Errors
    /// [`ObserveError`], also when there is no such namespace.
    pub fn has_inside(&self, path: &Path, name: &InterfaceName) -> Result<bool, ObserveError> {
        let mut socket = Namespace::open(path)?.run(|| Socket::open(Subsystem::Route))??;
        Ok(link::find(&mut socket, name)?.is_some())
    }

    /// Looks at as much as plugging into one bridge depends on.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_bridge(&mut self, bridge: &InterfaceName) -> Result<SeenBridge, ObserveError> {
        Ok(SeenBridge {
            link: link::find(self.route()?, bridge)?.map(|link| link.seen),
            firewall: self.has_whole_firewall()?,
        })
    }
}

/// The interface that the best default route leaves by, IPv4's before IPv6's.
fn egress(routes: &[Route]) -> Option<u32> {
    let defaults = routes
        .iter()
        .filter(|route| route.in_main_table() && route.destination.prefix() == 0);
    let best = defaults.filter(|route| route.index.is_some());
    best.min_by_key(|route| (route.destination.family(), route.metric))
        .and_then(|route| route.index)
}
