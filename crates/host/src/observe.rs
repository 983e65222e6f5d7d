//! Looking at the host before a plan is made.

use std::collections::HashMap;
use std::path::Path;

use zdocker_net::model::BridgeDevice;
use zdocker_net::names::InterfaceName;
use zdocker_net::op::NamespacePath;
use zdocker_net::seen::{Seen, SeenBridge, SeenLink};
use zdocker_net::tuning::Tuning;

use crate::kernel::Kernel;
use crate::netlink::link::Link;
use crate::netlink::route::Route;
use crate::netlink::{NetlinkError, Socket, Subsystem, address, link, route, tc};
use crate::netns::{Namespace, NamespaceError};
use crate::nft::whole;
use crate::observe_whole::read_all;
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
        let link_of = |route: &Route| Some(&names.get(&route.index?)?.seen);
        let defaults = defaults(&routes);
        let mut of_the_host = defaults.iter().filter(|route| route.in_main_table());
        let egress = of_the_host.next().and_then(|route| link_of(route));
        let is_on = |key| Ok::<_, SysctlError>(sysctl::read(key)?.map(|value| value != "0"));
        Ok(Seen {
            connected: connected.collect(),
            addresses: addresses.iter().map(|address| address.own.address).collect(),
            ports: ports.collect(),
            egress_mtu: egress.map(|link| link.mtu),
            egress: egress.map(|link| link.name.clone()),
            ways_out: defaults
                .iter()
                .filter_map(|route| Some(link_of(route)?.name.clone()))
                .collect(),
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
        let (socket, whose) = self.firewall()?;
        Ok(whole::damaged_tables(socket, whose)?.is_empty())
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

    /// How an interface within a namespace is set, and the values of these kernel variables there; `None` if the
    /// namespace or the interface is gone.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_tuning(
        &mut self,
        namespace: &NamespacePath,
        name: &InterfaceName,
        sysctls: &[String],
    ) -> Result<Option<Tuning>, ObserveError> {
        let namespace = match Namespace::open(Path::new(&namespace.0)) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            namespace => namespace?,
        };
        let variables = self.variables();
        let (socket, values) = namespace.run(|| (Socket::open(Subsystem::Route), read_all(variables, sysctls)))?;
        let link = link::find(&mut socket?, name)?;
        let values = values?;
        Ok(link.map(|link| Tuning {
            mac: link.seen.mac,
            mtu: Some(link.seen.mtu),
            promiscuous: Some(link.takes.0),
            all_multicast: Some(link.takes.1),
            queue_length: link.queue_length,
            sysctls: values,
        }))
    }

    /// Whether what leaves by an interface of the host is limited, and whether what comes in is led elsewhere; neither
    /// if it is gone.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_limits(&mut self, name: &InterfaceName) -> Result<(bool, bool), ObserveError> {
        let socket = self.route()?;
        match socket.interface_index(name)? {
            Some(index) => Ok(tc::limits(socket, index)?),
            None => Ok((false, false)),
        }
    }

    /// Looks at as much as plugging into one bridge depends on.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_bridge(&mut self, bridge: &BridgeDevice) -> Result<SeenBridge, ObserveError> {
        let socket = self.route()?;
        let link = link::find(socket, &bridge.name)?;
        let addresses = match &link {
            Some(link) if bridge.ownership.is_shared() => address::of(socket, link.index)?,
            _ => Vec::new(),
        };
        Ok(SeenBridge {
            link: link.map(|link| link.seen),
            addresses,
            firewall: self.has_whole_firewall()?,
        })
    }
}

/// The default routes that lead on, the best first, IPv4's before IPv6's.
fn defaults(routes: &[Route]) -> Vec<&Route> {
    let defaults = routes.iter().filter(|route| route.destination.prefix() == 0);
    let mut leading: Vec<&Route> = defaults.filter(|route| route.index.is_some()).collect();
    leading.sort_by_key(|route| (route.destination.family(), route.metric));
    leading
}
