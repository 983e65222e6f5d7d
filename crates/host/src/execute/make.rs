//! Steps that make something, and settle at once what its maker may settle only then.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::op::{NamespacePath, Place};

use super::{At, Execution, Failure, Inside, Lane};
use crate::apply::StepError;
use crate::netlink::child::{self, Child};
use crate::netlink::link::{self, PortSettings, Veth};
use crate::netlink::message::Requests;
use crate::netlink::{Socket, Subsystem};
use crate::netns::Namespace;
use crate::sysctl::{self, OwnProc, SysctlError};

impl Execution<'_> {
    pub(super) fn create_namespace(&mut self, step: usize, path: &NamespacePath) -> Result<(), StepError> {
        let ipv6 = self.kernel.has_ipv6();
        let variables = self.kernel.variables();
        let (namespace, socket) = Namespace::create(Path::new(&path.0), || prepare_namespace(ipv6, variables))?;
        self.inside.insert(
            path.clone(),
            Inside {
                namespace: namespace.into(),
                socket,
                links: HashMap::new(),
            },
        );
        self.took_effect([step]);
        Ok(())
    }

    pub(super) fn create_bridge(
        &mut self,
        step: usize,
        name: &InterfaceName,
        mac: MacAddress,
        mtu: u32,
    ) -> Result<(), Failure> {
        self.request(step, &Lane::Route(Place::Host), |r| {
            link::create_bridge(r, name, mac, mtu)
        })?;
        self.flush(step)?;
        let ipv6 = self.has_ipv6(mtu);
        if ipv6 {
            // Netlink has no way to set this.
            self.set_new(&format!("net/ipv6/conf/{name}/accept_ra"), "0").at(step)?;
        }
        self.request_on(step, &Place::Host, name, |r, index| {
            link::configure_bridge(r, index, ipv6)
        })
    }

    /// Sets a variable of what was made here. Where the system's procfs is read-only, so that others keep what they have, one
    /// of our own takes it.
    fn set_new(&mut self, key: &str, value: &str) -> Result<(), SysctlError> {
        match sysctl::write(key, value) {
            Err(error) if error.source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                self.kernel.variables().write(key, value)
            }
            written => written,
        }
    }

    pub(super) fn create_ifb(&mut self, step: usize, name: &InterfaceName, mtu: u32) -> Result<(), Failure> {
        self.request(step, &Lane::Route(Place::Host), |r| link::create_ifb(r, name, mtu))?;
        self.flush(step)?;
        let ipv6 = self.has_ipv6(mtu);
        self.request_on(step, &Place::Host, name, |r, index| {
            if ipv6 {
                // In a message of its own and first: it would get an address as soon as it is up.
                link::disable_generated_addresses(r, index);
            }
            link::set_up(r, index)
        })
    }

    /// Creates an interface on a parent straight in a namespace, without IPv6 addresses of the kernel's own.
    pub(super) fn create_child(
        &mut self,
        step: usize,
        (parent, namespace): (&InterfaceName, &NamespacePath),
        (name, id): (&InterfaceName, &InterfaceName),
        mtu: Option<u32>,
        push: impl FnOnce(&mut Requests, &Child<'_>) -> usize,
    ) -> Result<(), Failure> {
        let parent = self.index(&Place::Host, parent).at(step)?;
        let file = self.inside(namespace).at(step)?.namespace.clone();
        let child = Child {
            parent,
            namespace: file.as_fd(),
            id,
            mtu,
        };
        self.request(step, &Lane::Route(Place::Host), |r| push(r, &child))?;
        self.flush(step)?;
        let there = Place::Namespace(namespace.clone());
        let index = self.index(&there, id).at(step)?;
        self.inside(namespace).at(step)?.links.insert(name.clone(), index);
        let ipv6 = self.has_ipv6(mtu.unwrap_or(IPV6_MIN_MTU));
        self.request(step, &Lane::Route(there), |r| child::name(r, index, name, id, ipv6))
    }

    /// Creates a pair of interfaces: one here, a bridge's port if one is named, and its peer in a namespace.
    pub(super) fn create_veth(
        &mut self,
        step: usize,
        (host, port_of): (&InterfaceName, Option<(&InterfaceName, PortSettings)>),
        (namespace, peer): (&NamespacePath, &InterfaceName),
        mac: MacAddress,
        mtu: u32,
    ) -> Result<(), Failure> {
        let (here, there) = (Place::Host, Place::Namespace(namespace.clone()));
        let bridge = port_of.map(|(bridge, _)| self.index(&here, bridge)).transpose();
        let file = self.inside(namespace).at(step)?.namespace.clone();
        let veth = Veth {
            host,
            bridge: bridge.at(step)?,
            namespace: file.as_fd(),
            peer,
            mac,
            mtu,
        };
        self.request(step, &Lane::Route(Place::Host), |r| link::create_veth(r, &veth))?;
        self.flush(step)?;
        let ipv6 = self.has_ipv6(mtu);
        match port_of.map(|(_, settings)| settings) {
            Some(settings) if settings.hairpin || settings.isolated || ipv6 => {
                self.request_on(step, &here, host, |r, port| {
                    link::configure_port(r, port, settings, ipv6)
                })?;
            }
            Some(_) => {}
            None => self.request_on(step, &here, host, |r, port| link::configure_bridge(r, port, ipv6))?,
        }
        if ipv6 {
            self.request_on(step, &there, peer, link::disable_generated_addresses)?;
        }
        Ok(())
    }

    pub(super) fn set_sysctl(&mut self, place: &Place, key: &str, value: &str) -> Result<(), StepError> {
        match place {
            Place::Host => sysctl::write(key, value)?,
            Place::Namespace(path) => {
                let namespace = self.inside(path)?.namespace.clone();
                namespace.run(|| self.kernel.variables().write(key, value))??;
            }
        }
        Ok(())
    }

    /// Whether an interface whose packets have this size in bytes has IPv6.
    fn has_ipv6(&mut self, mtu: u32) -> bool {
        mtu >= IPV6_MIN_MTU && self.kernel.has_ipv6()
    }

    pub(super) fn ignore_routers(&mut self, path: &NamespacePath, link: &InterfaceName) -> Result<(), StepError> {
        if !self.kernel.has_ipv6() {
            return Ok(());
        }
        let key = format!("net/ipv6/conf/{link}/accept_ra");
        let namespace = self.inside(path)?.namespace.clone();
        match namespace.run(|| self.kernel.variables().write(&key, "0"))? {
            // An interface has no IPv6 whose packets are too small for it.
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            written => Ok(written?),
        }
    }
}

/// Runs within a new namespace: deaf to router advertisements, `lo` up. Gives a socket in it.
fn prepare_namespace(ipv6: bool, variables: &mut OwnProc) -> std::io::Result<Socket> {
    if ipv6 {
        let accept_ra = "net/ipv6/conf/default/accept_ra";
        variables.write(accept_ra, "0").map_err(std::io::Error::other)?;
    }
    let mut socket = Socket::open(Subsystem::Route).map_err(std::io::Error::other)?;
    let mut requests = Requests::default();
    link::set_up(&mut requests, LOOPBACK);
    socket.request(requests, |_, _| {}).map_err(std::io::Error::other)?;
    Ok(socket)
}

/// Interfaces have no IPv6 whose packets are smaller (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// The index of `lo` in every namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: u32 = 1;
