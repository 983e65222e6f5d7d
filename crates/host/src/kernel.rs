//! The network of the machine that zdocker runs on, reached by netlink.

use std::os::fd::OwnedFd;
use std::slice::Chunks;

use zdocker_net::firewall::Element;
use zdocker_net::installation::Installation;
use zdocker_net::op::HostPort;

use crate::conntrack;
use crate::netlink::{ANSWERS_AT_ONCE, NetlinkError, Socket, Subsystem, route};
use crate::sysctl::{self, OwnProc};

/// The network of the namespace that the calling thread is in when a socket is first needed.
#[derive(Default)]
pub struct Kernel {
    installation: Installation,
    route: Option<Socket>,
    netfilter: Option<Socket>,
    ipv6: Option<bool>,
    proc: OwnProc,
    /// Whether closing the netfilter socket makes the kernel clean up.
    deleted_elements: bool,
}

impl Kernel {
    /// For zdocker's own installation. Opens nothing yet: sockets are opened when first needed, and kept.
    pub fn new() -> Self {
        Kernel::default()
    }

    /// The same for another: its tables are those of all that is done.
    pub fn of(installation: Installation) -> Self {
        Kernel {
            installation,
            ..Kernel::default()
        }
    }

    /// Whose tables these are.
    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The socket by which the tables of the installation are reached.
    pub(crate) fn firewall(&mut self) -> Result<(&mut Socket, &Installation), NetlinkError> {
        let socket = open_once(&mut self.netfilter, Subsystem::Netfilter)?;
        Ok((socket, &self.installation))
    }

    /// The elements in portions that can be added, or deleted, together: one, if the kernel takes all at once.
    pub(crate) fn portions<'e>(&mut self, elements: &'e [Element]) -> Result<Chunks<'e, Element>, NetlinkError> {
        let fits = elements.len() <= ANSWERS_AT_ONCE || self.netfilter()?.takes_any_length();
        Ok(elements.chunks(if fits { elements.len().max(1) } else { ANSWERS_AT_ONCE }))
    }

    pub(crate) fn route(&mut self) -> Result<&mut Socket, NetlinkError> {
        open_once(&mut self.route, Subsystem::Route)
    }

    pub(crate) fn forget_udp(&mut self, ports: &[HostPort]) -> Result<(), NetlinkError> {
        let route = &mut self.route;
        let netfilter = open_once(&mut self.netfilter, Subsystem::Netfilter)?;
        conntrack::forget_udp(netfilter, ports, || route::local(open_once(route, Subsystem::Route)?))
    }

    pub(crate) fn netfilter(&mut self) -> Result<&mut Socket, NetlinkError> {
        open_once(&mut self.netfilter, Subsystem::Netfilter)
    }

    /// The variables of containers' namespaces.
    pub(crate) fn variables(&mut self) -> &mut OwnProc {
        &mut self.proc
    }

    /// Must be called when elements were deleted, or a transaction was refused.
    pub(crate) fn has_deleted_elements(&mut self) {
        self.deleted_elements = true;
    }

    /// What would wait for the kernel's cleaning if it were closed.
    pub(crate) fn take_lingering(&mut self) -> Vec<OwnedFd> {
        let socket = self.netfilter.take().filter(|_| self.deleted_elements);
        let mount = self.proc.take_mount();
        socket.map(OwnedFd::from).into_iter().chain(mount).collect()
    }

    /// Whether the kernel has IPv6 at all.
    pub(crate) fn has_ipv6(&mut self) -> bool {
        *self.ipv6.get_or_insert_with(sysctl::has_ipv6)
    }
}

fn open_once(socket: &mut Option<Socket>, subsystem: Subsystem) -> Result<&mut Socket, NetlinkError> {
    if socket.is_none() {
        *socket = Some(Socket::open(subsystem)?);
    }
    socket.as_mut().ok_or_else(|| NetlinkError::Open {
        subsystem,
        source: std::io::ErrorKind::NotFound.into(),
    })
}
