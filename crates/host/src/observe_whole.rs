//! Looking at all that is compared with the records: a namespace's network, and our tables.

use std::path::Path;

use zdocker_net::mend::{SeenInterface, SeenNamespace, SeenRoute, SeenTables};
use zdocker_net::names::InterfaceName;
use zdocker_net::op::NamespacePath;

use crate::kernel::Kernel;
use crate::netlink::{NetlinkError, Socket, Subsystem, address, link, route, rule, vlan};
use crate::netns::Namespace;
use crate::nft::dump;
use crate::observe::ObserveError;
use crate::sysctl::{OwnProc, SysctlError};

impl Kernel {
    /// Looks at the interfaces of the host and their addresses.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_host(&mut self) -> Result<SeenNamespace, ObserveError> {
        let socket = self.route()?;
        let vlans = vlan::only(socket)?;
        let interface = |link: &link::Link| SeenInterface {
            vlan: vlans.get(&link.index).copied(),
            ..link.interface()
        };
        Ok(SeenNamespace {
            interfaces: link::all(socket)?.iter().map(interface).collect(),
            addresses: addresses(socket)?,
            ..SeenNamespace::default()
        })
    }

    /// Looks at these interfaces of the host only.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_links<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a InterfaceName>,
    ) -> Result<SeenNamespace, ObserveError> {
        let socket = self.route()?;
        let mut seen = SeenNamespace::default();
        let vlans = vlan::only(socket)?;
        for name in names {
            let found = link::find(socket, name)?.map(|link| SeenInterface {
                vlan: vlans.get(&link.index).copied(),
                ..link.interface()
            });
            seen.interfaces.extend(found);
        }
        Ok(seen)
    }

    /// Looks at the network within a namespace, and at these of its kernel variables; `None` if it is gone.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_inside(
        &mut self,
        namespace: &NamespacePath,
        sysctls: &[String],
    ) -> Result<Option<SeenNamespace>, ObserveError> {
        let opened = Namespace::open(Path::new(&namespace.0));
        let variables = self.variables();
        let looked = opened
            .and_then(|namespace| namespace.run(|| (Socket::open(Subsystem::Route), read_all(variables, sysctls))));
        let (socket, values) = match looked {
            // No file, or one that is unmounted and about to be removed.
            Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => return Ok(None),
            looked => looked?,
        };
        let mut socket = socket?;
        let mut seen = inside(&mut socket)?;
        seen.sysctls.extend(values?);
        Ok(Some(seen))
    }

    /// Looks at our tables: whether they are as they are loaded, and at their elements.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_tables(&mut self) -> Result<SeenTables, ObserveError> {
        let reference = Namespace::run_in_new(|| dump::of_fresh_tables(self.installation()))??;
        let (socket, whose) = self.firewall()?;
        if dump::structure(socket, whose)? != reference {
            return Ok(SeenTables::Damaged);
        }
        Ok(match dump::elements(socket, whose)? {
            Some(elements) => SeenTables::Whole(elements),
            None => SeenTables::Damaged,
        })
    }
}

pub(crate) fn read_all(variables: &mut OwnProc, keys: &[String]) -> Result<Vec<(String, String)>, SysctlError> {
    let mut read = |key: &String| Ok(variables.read(key)?.map(|value| (key.clone(), value)));
    keys.iter().filter_map(|key| read(key).transpose()).collect()
}

fn addresses(socket: &mut Socket) -> Result<Vec<(u32, zdocker_net::model::InterfaceAddress)>, NetlinkError> {
    let all = address::all(socket)?;
    Ok(all.into_iter().map(|address| (address.index, address.own)).collect())
}

fn inside(socket: &mut Socket) -> Result<SeenNamespace, NetlinkError> {
    let routes = route::all(socket)?.into_iter().map(|route| SeenRoute {
        kind: route.kind(),
        // Routes that lead nothing on have an interface in IPv6 all the same.
        index: route.index.filter(|_| route.kind().is_unicast()),
        mtu: route.mtu,
        advmss: route.advmss,
        table: route.table,
        destination: route.destination,
        via: route.via,
        metric: route.metric,
    });
    Ok(SeenNamespace {
        routes: routes.collect(),
        interfaces: link::all(socket)?.iter().map(link::Link::interface).collect(),
        addresses: addresses(socket)?,
        rules: rule::ours(socket)?,
        ..SeenNamespace::default()
    })
}
