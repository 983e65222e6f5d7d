//! What each kind of step asks of the kernel.

use std::path::Path;

use zdocker_net::model::Route;
use zdocker_net::names::InterfaceName;
use zdocker_net::op::{Op, Place};

use super::{At, Execution, Failure, Lane};
use crate::netlink::child;
use crate::netlink::link::{self, PortSettings};
use crate::netlink::message::Requests;
use crate::netlink::{address, route, rule, tc, vlan};
use crate::netns;
use crate::nft::element::Change;

const HERE: &Place = &Place::Host;

impl Execution<'_> {
    pub(super) fn step(&mut self, step: usize, op: &Op) -> Result<(), Failure> {
        match op {
            Op::LoadFirewall => self.load_firewall(step),
            Op::RestoreFirewall(elements) => self.restore_firewall(step, elements),
            Op::UnloadFirewall => self.unload_firewall(step),
            Op::AddElements(elements) => self.change_elements(step, Change::Add, elements),
            Op::DeleteElements(elements) => self.change_elements(step, Change::Delete, elements),
            Op::ForgetUdpFlows { ports } => {
                self.flush(step)?;
                self.kernel.forget_udp(ports).at(step)
            }

            Op::SetSysctl { place, key, value } => {
                self.flush(step)?;
                self.set_sysctl(place, key, value).at(step)
            }
            Op::IgnoreRouters { namespace, link } => {
                self.flush(step)?;
                self.ignore_routers(namespace, link).at(step)
            }

            Op::CreateNamespace { path } => {
                self.flush(step)?;
                self.create_namespace(step, path).at(step)
            }
            Op::DeleteNamespace { path } => {
                self.flush(step)?;
                self.inside.remove(path);
                netns::delete(Path::new(&path.0)).at(step)
            }

            Op::CreateBridge { name, mac, mtu } => self.create_bridge(step, name, *mac, *mtu),
            Op::CreateVeth {
                host,
                bridge,
                namespace,
                peer,
                mac,
                mtu,
                hairpin,
                isolated,
            } => {
                let settings = PortSettings {
                    hairpin: *hairpin,
                    isolated: *isolated,
                };
                let port_of = bridge.as_ref().map(|bridge| (bridge, settings));
                self.create_veth(step, (host, port_of), (namespace, peer), *mac, *mtu)
            }
            Op::CreateMacvlan {
                parent,
                namespace,
                link,
                id,
                mac,
                mtu,
                mode,
                broadcast_limit,
            } => self.create_child(step, (parent, namespace), (link, id), *mtu, |r, child| {
                child::create_macvlan(r, child, *mac, *mode, *broadcast_limit)
            }),
            Op::CreateIpvlan {
                parent,
                namespace,
                link,
                id,
                mtu,
                mode,
                flag,
            } => self.create_child(step, (parent, namespace), (link, id), *mtu, |r, child| {
                child::create_ipvlan(r, child, *mode, *flag)
            }),
            Op::CreateVlan { name, on, id } => {
                self.request_on(step, HERE, on, |r, on| child::create_vlan(r, name, on, *id))?;
                self.flush(step)
            }
            Op::CreateDummy { name } => {
                self.request(step, &Lane::Route(Place::Host), |r| child::create_dummy(r, name))?;
                self.flush(step)
            }
            Op::CreateIfb { name, mtu } => self.create_ifb(step, name, *mtu),
            Op::DeleteLink { name } => {
                self.links.remove(name);
                self.request(step, &Lane::Route(Place::Host), |r| link::delete(r, name))
            }
            Op::DeleteInside { namespace, link } => {
                let place = Place::Namespace(namespace.clone());
                // It may be known by its other name.
                self.inside(namespace).at(step)?.links.clear();
                self.request(step, &Lane::Route(place), |r| link::delete(r, link))
            }

            Op::JoinBridge {
                link,
                bridge,
                hairpin,
                isolated,
            } => {
                let settings = PortSettings {
                    hairpin: *hairpin,
                    isolated: *isolated,
                };
                let bridge = self.index(HERE, bridge).at(step)?;
                self.request_on(step, HERE, link, |r, port| {
                    link::set_master(r, port, bridge);
                    link::configure_port(r, port, settings, false)
                })
            }
            Op::JoinVrf { link, vrf } => {
                let vrf = self.index(HERE, vrf).at(step)?;
                self.request_on(step, HERE, link, |r, index| link::set_master(r, index, vrf))
            }
            Op::FilterVlans { bridge } => self.request_on(step, HERE, bridge, vlan::filter),
            Op::JoinVlan { link, vlan } => self.request_on(step, HERE, link, |r, index| vlan::join(r, index, *vlan)),
            Op::JoinTrunk { link, trunk } => {
                self.request_on(step, HERE, link, |r, index| vlan::join_trunk(r, index, trunk))
            }
            Op::AnswerVlan { bridge, vlan } => {
                self.request_on(step, HERE, bridge, |r, index| vlan::answer(r, index, *vlan))
            }

            Op::LimitRate { link, bucket } => {
                self.request_on(step, HERE, link, |r, index| tc::limit_rate(r, index, bucket))
            }
            Op::Unlimit { link } => self.request_on(step, HERE, link, tc::unlimit),
            Op::Redirect { from, to } => {
                let to = self.index(HERE, to).at(step)?;
                self.request_on(step, HERE, from, |r, from| tc::redirect(r, from, to))
            }
            Op::EndRedirect { from } => self.request_on(step, HERE, from, tc::end_redirect),

            Op::SetMtu { place, link, mtu } => {
                self.request_on(step, place, link, |r, index| link::set_mtu(r, index, *mtu))
            }
            Op::SetMac { place, link, mac } => {
                self.request_on(step, place, link, |r, index| link::set_mac(r, index, *mac))
            }
            Op::SetUp { place, link } => self.request_on(step, place, link, link::set_up),
            Op::SetDown { place, link } => self.request_on(step, place, link, link::set_down),
            Op::SetReception {
                place,
                link,
                frames,
                on,
            } => self.request_on(step, place, link, |r, index| {
                link::set_reception(r, index, *frames, *on)
            }),
            Op::SetQueueLength { place, link, packets } => {
                self.request_on(step, place, link, |r, index| link::set_queue_length(r, index, *packets))
            }

            Op::AddAddress {
                place,
                link,
                address,
                prefix,
            } => self.request_on(step, place, link, |r, index| address::add(r, index, *address, *prefix)),
            Op::DeleteAddress {
                place,
                link,
                address,
                prefix,
            } => self.request_on(step, place, link, |r, index| {
                address::delete(r, index, *address, *prefix)
            }),
            Op::AddRoute {
                place,
                link,
                route,
                table,
            } => self.request_route(step, (place, link), route, |r, index| {
                route::add(r, route, index, *table)
            }),
            Op::DeleteRoute {
                place,
                link,
                route,
                table,
            } => self.request_route(step, (place, link), route, |r, index| {
                route::delete(r, route, index, *table)
            }),
            Op::AddRule { place, from, table } => {
                self.request(step, &Lane::Route(place.clone()), |r| rule::add(r, *from, *table))
            }
            Op::DeleteRule { place, from, table } => {
                self.request(step, &Lane::Route(place.clone()), |r| rule::delete(r, *from, *table))
            }
        }
    }

    /// Adds a step's requests about a route, with the index of the interface that it leaves by; of one that is not bound to
    /// it, it may be gone.
    fn request_route<T>(
        &mut self,
        step: usize,
        (place, link): (&Place, &InterfaceName),
        route: &Route,
        push: impl FnOnce(&mut Requests, u32) -> T,
    ) -> Result<(), Failure> {
        if route.is_bound() {
            self.request_on(step, place, link, push)
        } else {
            self.request(step, &Lane::Route(place.clone()), |r| push(r, 0))
        }
    }
}
