//! One run through a plan.
//!
//! Steps become requests to one of three kinds of socket. Requests that follow each other to the same socket are sent
//! together; order is never changed. Creating an interface ends its message, because what follows needs the index that
//! the kernel gave it. (By name it could go into the same message, but would then also be done to somebody else's
//! interface of that name when creating ours is refused.)

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use zdocker_net::firewall::Element;
use zdocker_net::model::Route;
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::op::{NamespacePath, Op, Place};

use crate::apply::{StepError, Watch};
use crate::kernel::Kernel;
use crate::netlink::child::{self, Child};
use crate::netlink::link::{PortSettings, Veth};
use crate::netlink::message::Requests;
use crate::netlink::{NetlinkError, Socket, Subsystem, address, link, route, rule, tc, vlan};
use crate::netns::{self, Namespace};
use crate::nft::batch::ALL_TABLES;
use crate::nft::element::Change;
use crate::nft::{batch, element, load, whole};
use crate::sysctl::{self, OwnProc};

/// A step failed.
pub(crate) struct Failure {
    /// Its place in the plan.
    pub(crate) step: usize,
    pub(crate) reason: StepError,
}

/// Where requests go.
#[derive(Clone, PartialEq, Eq)]
enum Lane {
    /// rtnetlink, here or in a namespace.
    Route(Place),
    /// nftables; what is sent together is one transaction.
    Firewall,
}

/// Requests that are not sent yet.
struct Pending {
    lane: Lane,
    requests: Requests,
    /// For each message, the step that it belongs to.
    owners: Vec<usize>,
}

/// A namespace that the plan works in.
struct Inside {
    namespace: Rc<Namespace>,
    socket: Socket,
    links: HashMap<InterfaceName, u32>,
}

pub(crate) struct Execution<'a> {
    kernel: &'a mut Kernel,
    ops: &'a [Op],
    watch: Watch<'a>,
    pending: Option<Pending>,
    inside: HashMap<NamespacePath, Inside>,
    /// Indexes of the host's interfaces.
    links: HashMap<InterfaceName, u32>,
    /// The steps that took effect, or may have, in order.
    effects: Vec<usize>,
    /// How many steps were reported, and when the last was.
    reported: usize,
    since: Instant,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(kernel: &'a mut Kernel, ops: &'a [Op], watch: Watch<'a>) -> Self {
        Execution {
            kernel,
            ops,
            watch,
            pending: None,
            inside: HashMap::new(),
            links: HashMap::new(),
            effects: Vec::new(),
            reported: 0,
            since: Instant::now(),
        }
    }

    /// Carries out the plan; gives also the steps that take back what took effect, in the order to run them.
    pub(crate) fn run(mut self) -> (Result<(), Failure>, Vec<Op>) {
        let ops = self.ops;
        let mut result = Ok(());
        for (step, op) in ops.iter().enumerate() {
            result = self.step(step, op);
            if result.is_err() {
                break;
            }
            if self.pending.is_none() {
                self.report(step + 1);
            }
        }
        if result.is_ok() {
            result = self.flush(ops.len());
        }
        let undo = self
            .effects
            .iter()
            .rev()
            .filter_map(|step| ops[*step].inverse())
            .collect();
        (result, undo)
    }

    fn step(&mut self, step: usize, op: &Op) -> Result<(), Failure> {
        let failed = |reason: StepError| Failure { step, reason };
        match op {
            Op::LoadFirewall => {
                self.flush(step)?;
                self.load_firewall().map_err(failed)
            }
            Op::RestoreFirewall(elements) => {
                self.flush(step)?;
                self.kernel.has_deleted_elements();
                let restored = self
                    .kernel
                    .firewall()
                    .and_then(|(socket, whose)| socket.request(load::replace(whose, &ALL_TABLES, elements), |_, _| {}));
                restored.map_err(|error| failed(error.into()))
            }
            Op::UnloadFirewall => {
                self.flush(step)?;
                self.kernel.has_deleted_elements();
                let unloaded = self
                    .kernel
                    .firewall()
                    .and_then(|(socket, whose)| socket.request(load::unload(whose, &ALL_TABLES), |_, _| {}));
                unloaded.map_err(|error| failed(error.into()))
            }
            Op::SetSysctl { place, key, value } => {
                self.flush(step)?;
                self.set_sysctl(place, key, value).map_err(failed)
            }
            Op::CreateBridge { name, mac, mtu } => self.create_bridge(step, name, *mac, *mtu),
            Op::FilterVlans { bridge } => {
                let index = self.index(&Place::Host, bridge).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| vlan::filter(r, index))
            }
            Op::JoinVlan { link, vlan } => {
                let index = self.index(&Place::Host, link).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| vlan::join(r, index, *vlan))
            }
            Op::AnswerVlan { bridge, vlan } => {
                let index = self.index(&Place::Host, bridge).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| vlan::answer(r, index, *vlan))
            }
            Op::JoinVrf { link, vrf } => {
                let index = self.index(&Place::Host, link).map_err(failed)?;
                let vrf = self.index(&Place::Host, vrf).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| link::set_master(r, index, vrf))
            }
            Op::IgnoreRouters { namespace, link } => {
                self.flush(step)?;
                self.ignore_routers(namespace, link).map_err(failed)
            }
            Op::CreateNamespace { path } => {
                self.flush(step)?;
                self.create_namespace(step, path).map_err(failed)
            }
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
                let bridge = bridge.as_ref().map(|bridge| self.index(&Place::Host, bridge));
                let bridge = bridge.transpose().map_err(failed)?;
                let file = self.inside(namespace).map_err(failed)?.namespace.clone();
                self.request(step, &Lane::Route(Place::Host), |r| {
                    link::create_veth(
                        r,
                        &Veth {
                            host,
                            bridge,
                            namespace: file.as_fd(),
                            peer,
                            mac: *mac,
                            mtu: *mtu,
                        },
                    )
                })?;
                let settings = bridge.map(|_| PortSettings {
                    hairpin: *hairpin,
                    isolated: *isolated,
                });
                let ipv6 = self.has_ipv6(*mtu);
                self.configure_veth(step, host, (namespace, peer), settings, ipv6)
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
                let on = self.index(&Place::Host, on).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| {
                    child::create_vlan(r, name, on, *id)
                })?;
                self.flush(step)
            }
            Op::CreateDummy { name } => {
                self.request(step, &Lane::Route(Place::Host), |r| child::create_dummy(r, name))?;
                self.flush(step)
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
                let port = self.index(&Place::Host, link).map_err(failed)?;
                let bridge = self.index(&Place::Host, bridge).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| {
                    link::set_master(r, port, bridge);
                    link::configure_port(r, port, settings, false)
                })
            }
            Op::CreateIfb { name, mtu } => self.create_ifb(step, name, *mtu),
            Op::LimitRate { link, bucket } => {
                let index = self.index(&Place::Host, link).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| tc::limit_rate(r, index, bucket))
            }
            Op::Unlimit { link } => {
                let index = self.index(&Place::Host, link).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| tc::unlimit(r, index))
            }
            Op::EndRedirect { from } => {
                let index = self.index(&Place::Host, from).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| tc::end_redirect(r, index))
            }
            Op::Redirect { from, to } => {
                let from = self.index(&Place::Host, from).map_err(failed)?;
                let to = self.index(&Place::Host, to).map_err(failed)?;
                self.request(step, &Lane::Route(Place::Host), |r| tc::redirect(r, from, to))
            }
            Op::AddAddress {
                place,
                link,
                address,
                prefix,
            } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    address::add(r, index, *address, *prefix)
                })
            }
            Op::DeleteAddress {
                place,
                link,
                address,
                prefix,
            } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    address::delete(r, index, *address, *prefix)
                })
            }
            Op::SetMtu { place, link, mtu } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| link::set_mtu(r, index, *mtu))
            }
            Op::SetMac { place, link, mac } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| link::set_mac(r, index, *mac))
            }
            Op::SetUp { place, link } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| link::set_up(r, index))
            }
            Op::SetDown { place, link } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| link::set_down(r, index))
            }
            Op::SetReception {
                place,
                link,
                frames,
                on,
            } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    link::set_reception(r, index, *frames, *on)
                })
            }
            Op::SetQueueLength { place, link, packets } => {
                let index = self.index(place, link).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    link::set_queue_length(r, index, *packets)
                })
            }
            Op::AddRoute {
                place,
                link,
                route,
                table,
            } => {
                let index = self.way_out(place, link, route).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    route::add(r, route, index, *table)
                })
            }
            Op::DeleteRoute {
                place,
                link,
                route,
                table,
            } => {
                let index = self.way_out(place, link, route).map_err(failed)?;
                self.request(step, &Lane::Route(place.clone()), |r| {
                    route::delete(r, route, index, *table)
                })
            }
            Op::AddRule { place, from, table } => {
                self.request(step, &Lane::Route(place.clone()), |r| rule::add(r, *from, *table))
            }
            Op::DeleteRule { place, from, table } => {
                self.request(step, &Lane::Route(place.clone()), |r| rule::delete(r, *from, *table))
            }
            Op::AddElements(elements) => self.change_elements(step, Change::Add, elements),
            Op::DeleteElements(elements) => {
                self.kernel.has_deleted_elements();
                self.change_elements(step, Change::Delete, elements)
            }
            Op::ForgetUdpFlows { ports } => {
                self.flush(step)?;
                self.kernel.forget_udp(ports).map_err(|error| failed(error.into()))
            }
            Op::DeleteLink { name } => {
                self.links.remove(name);
                self.request(step, &Lane::Route(Place::Host), |r| link::delete(r, name))
            }
            Op::DeleteInside { namespace, link } => {
                let place = Place::Namespace(namespace.clone());
                // It may be known by its other name.
                self.inside(namespace).map_err(failed)?.links.clear();
                self.request(step, &Lane::Route(place), |r| link::delete(r, link))
            }
            Op::DeleteNamespace { path } => {
                self.flush(step)?;
                self.inside.remove(path);
                netns::delete(Path::new(&path.0)).map_err(|error| failed(error.into()))
            }
        }
    }

    /// Adds or deletes elements, in one transaction with the firewall's other requests if they can be sent at once.
    fn change_elements(&mut self, step: usize, change: Change, elements: &[Element]) -> Result<(), Failure> {
        let whose = self.kernel.installation().clone();
        let mut portions = self.kernel.portions(elements).map_err(|error| Failure {
            step,
            reason: error.into(),
        })?;
        if portions.len() > 1 {
            self.flush(step)?;
        }
        portions.try_for_each(|portion| {
            self.request(step, &Lane::Firewall, |r| {
                element::push_all(r, &whose, change, portion);
            })?;
            if portion.len() < elements.len() {
                self.flush(step)
            } else {
                Ok(())
            }
        })
    }

    /// Adds a step's requests to those that wait, after sending those that wait for another socket.
    fn request<T>(&mut self, step: usize, lane: &Lane, push: impl FnOnce(&mut Requests) -> T) -> Result<(), Failure> {
        if self.pending.as_ref().is_some_and(|pending| pending.lane != *lane) {
            self.flush(step)?;
        }
        let pending = self.pending.get_or_insert_with(|| {
            let mut requests = Requests::default();
            if *lane == Lane::Firewall {
                batch::begin(&mut requests);
            }
            Pending {
                lane: lane.clone(),
                requests,
                owners: Vec::new(),
            }
        });
        push(&mut pending.requests);
        pending.owners.resize(pending.requests.count(), step);
        Ok(())
    }

    /// Sends what waits; then all steps before `finished` are done.
    fn flush(&mut self, finished: usize) -> Result<(), Failure> {
        self.send()?;
        self.report(finished);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        let Some(Pending {
            lane,
            mut requests,
            owners,
        }) = self.pending.take()
        else {
            return Ok(());
        };
        if lane == Lane::Firewall {
            batch::end(&mut requests);
        }
        let socket = self.socket(&lane);
        let socket = socket.map_err(|reason| Failure {
            step: owners[0],
            reason,
        })?;
        let refusals = match socket.exchange(requests, |_, _| {}) {
            Ok(mut refusals) => {
                let ops = self.ops;
                refusals.retain(|refusal| {
                    let owner = owners.get(refusal.position).and_then(|step| ops.get(*step));
                    !owner.is_some_and(|op| is_so_already(op, refusal.errno))
                });
                refusals
            }
            Err(error) => {
                // Whether they took effect is not known: taking back what is not there does no harm.
                self.took_effect(owners.iter().copied());
                return Err(Failure {
                    step: owners[0],
                    reason: error.into(),
                });
            }
        };
        let refused = |position: &usize| refusals.iter().any(|refusal| refusal.position == *position);
        let all_or_none = lane == Lane::Firewall && !refusals.is_empty();
        let granted = (0..owners.len()).filter(|position| !all_or_none && !refused(position));
        self.took_effect(granted.map(|position| owners[position]));
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(refusal) => {
                let step = owners[refusal.position.min(owners.len() - 1)];
                let reason = match kind(&self.ops[step]) {
                    // What follows in the namespace is about an interface that was made.
                    Some(kind) if refusal.errno == Errno::EOPNOTSUPP && lane == Lane::Route(Place::Host) => {
                        StepError::NoKind(kind)
                    }
                    _ => NetlinkError::Refused(refusal).into(),
                };
                Err(Failure { step, reason })
            }
        }
    }

    fn took_effect(&mut self, steps: impl IntoIterator<Item = usize>) {
        for step in steps {
            if !self.effects.contains(&step) {
                self.effects.push(step);
            }
        }
    }

    /// Reports the steps up to `finished`, if they were not.
    fn report(&mut self, finished: usize) {
        let steps = &self.ops[self.reported.min(finished)..finished];
        if steps.is_empty() {
            return;
        }
        let share = self.since.elapsed() / steps.len() as u32;
        for op in steps {
            (self.watch)(op, share);
        }
        self.reported = finished;
        self.since = Instant::now();
    }

    fn socket(&mut self, lane: &Lane) -> Result<&mut Socket, StepError> {
        Ok(match lane {
            Lane::Route(Place::Host) => self.kernel.route()?,
            Lane::Route(Place::Namespace(path)) => &mut self.inside(path)?.socket,
            Lane::Firewall => self.kernel.netfilter()?,
        })
    }

    /// The namespace pinned at `path`, opened when first needed.
    fn inside(&mut self, path: &NamespacePath) -> Result<&mut Inside, StepError> {
        if !self.inside.contains_key(path) {
            let namespace = Namespace::open(Path::new(&path.0))?;
            let socket = namespace.run(|| Socket::open(Subsystem::Route))??;
            self.inside.insert(
                path.clone(),
                Inside {
                    namespace: namespace.into(),
                    socket,
                    links: HashMap::new(),
                },
            );
        }
        let missing = || StepError::NoLink(path.0.clone());
        self.inside.get_mut(path).ok_or_else(missing)
    }

    /// The index of an interface, asked for once.
    fn index(&mut self, place: &Place, name: &InterfaceName) -> Result<u32, StepError> {
        let known = match place {
            Place::Host => self.links.get(name),
            Place::Namespace(path) => self.inside(path)?.links.get(name),
        };
        if let Some(index) = known {
            return Ok(*index);
        }
        let socket = self.socket(&Lane::Route(place.clone()))?;
        let found = socket.interface_index(name)?;
        let index = found.ok_or_else(|| StepError::NoLink(name.to_string()))?;
        let links = match place {
            Place::Host => &mut self.links,
            Place::Namespace(path) => &mut self.inside(path)?.links,
        };
        links.insert(name.clone(), index);
        Ok(index)
    }

    /// The index of the interface that a route leaves by; of one that leads nothing on it may be gone.
    fn way_out(&mut self, place: &Place, link: &InterfaceName, route: &Route) -> Result<u32, StepError> {
        if route.kind.is_unicast() {
            self.index(place, link)
        } else {
            Ok(0)
        }
    }

    fn set_sysctl(&mut self, place: &Place, key: &str, value: &str) -> Result<(), StepError> {
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

    fn ignore_routers(&mut self, path: &NamespacePath, link: &InterfaceName) -> Result<(), StepError> {
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

    fn load_firewall(&mut self) -> Result<(), StepError> {
        let (socket, whose) = self.kernel.firewall()?;
        let damaged = whole::damaged_tables(socket, whose)?;
        if damaged.is_empty() {
            return Ok(());
        }
        let mut loaded = socket.request(load::create(whose, &damaged), |_, _| {});
        let cleaning = loaded.is_err();
        if matches!(&loaded, Err(error) if error.refusal() == Some(Errno::EEXIST)) {
            loaded = socket.request(load::replace(whose, &damaged, &[]), |_, _| {});
        }
        // What is refused or replaced the kernel cleans up behind; mostly there is nothing to be replaced.
        if cleaning {
            self.kernel.has_deleted_elements();
        }
        Ok(loaded?)
    }

    fn create_namespace(&mut self, step: usize, path: &NamespacePath) -> Result<(), StepError> {
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

    fn create_bridge(&mut self, step: usize, name: &InterfaceName, mac: MacAddress, mtu: u32) -> Result<(), Failure> {
        let failed = |reason: StepError| Failure { step, reason };
        let here = Lane::Route(Place::Host);
        self.request(step, &here, |r| link::create_bridge(r, name, mac, mtu))?;
        self.flush(step)?;
        let index = self.index(&Place::Host, name).map_err(failed)?;
        let ipv6 = self.has_ipv6(mtu);
        if ipv6 {
            // Netlink has no way to set this.
            let key = format!("net/ipv6/conf/{name}/accept_ra");
            sysctl::write(&key, "0").map_err(|error| failed(error.into()))?;
        }
        self.request(step, &here, |r| link::configure_bridge(r, index, ipv6))
    }

    fn create_ifb(&mut self, step: usize, name: &InterfaceName, mtu: u32) -> Result<(), Failure> {
        let here = Lane::Route(Place::Host);
        self.request(step, &here, |r| link::create_ifb(r, name, mtu))?;
        self.flush(step)?;
        let index = self
            .index(&Place::Host, name)
            .map_err(|reason| Failure { step, reason })?;
        let ipv6 = self.has_ipv6(mtu);
        self.request(step, &here, |r| {
            if ipv6 {
                // In a message of its own and first: it would get an address as soon as it is up.
                link::disable_generated_addresses(r, index);
            }
            link::set_up(r, index)
        })
    }

    /// Creates an interface on a parent straight in a namespace, without IPv6 addresses of the kernel's own.
    fn create_child(
        &mut self,
        step: usize,
        (parent, namespace): (&InterfaceName, &NamespacePath),
        (name, id): (&InterfaceName, &InterfaceName),
        mtu: Option<u32>,
        push: impl FnOnce(&mut Requests, &Child<'_>) -> usize,
    ) -> Result<(), Failure> {
        let failed = |reason: StepError| Failure { step, reason };
        let parent = self.index(&Place::Host, parent).map_err(failed)?;
        let file = self.inside(namespace).map_err(failed)?.namespace.clone();
        let child = Child {
            parent,
            namespace: file.as_fd(),
            id,
            mtu,
        };
        self.request(step, &Lane::Route(Place::Host), |r| push(r, &child))?;
        self.flush(step)?;
        let there = Place::Namespace(namespace.clone());
        let index = self.index(&there, id).map_err(failed)?;
        self.inside(namespace)
            .map_err(failed)?
            .links
            .insert(name.clone(), index);
        let ipv6 = self.has_ipv6(mtu.unwrap_or(IPV6_MIN_MTU));
        self.request(step, &Lane::Route(there), |r| child::name(r, index, name, id, ipv6))
    }

    /// Sends the creation of a veth pair, and adds what can only be set afterwards.
    fn configure_veth(
        &mut self,
        step: usize,
        host: &InterfaceName,
        (namespace, peer): (&NamespacePath, &InterfaceName),
        settings: Option<PortSettings>,
        ipv6: bool,
    ) -> Result<(), Failure> {
        let failed = |reason: StepError| Failure { step, reason };
        let (here, there) = (Place::Host, Place::Namespace(namespace.clone()));
        self.flush(step)?;
        let (port, peer) = (
            self.index(&here, host).map_err(failed)?,
            self.index(&there, peer).map_err(failed)?,
        );
        match settings {
            Some(settings) if settings.hairpin || settings.isolated || ipv6 => {
                self.request(step, &Lane::Route(here), |r| {
                    link::configure_port(r, port, settings, ipv6)
                })?;
            }
            Some(_) => {}
            None => self.request(step, &Lane::Route(here), |r| link::configure_bridge(r, port, ipv6))?,
        }
        if ipv6 {
            self.request(step, &Lane::Route(there), |r| {
                link::disable_generated_addresses(r, peer)
            })?;
        }
        Ok(())
    }
}

/// The kind of the interface that a step creates, where kernels may lack it.
fn kind(op: &Op) -> Option<&'static str> {
    match op {
        Op::CreateMacvlan { .. } => Some("macvlan"),
        Op::CreateIpvlan { .. } => Some("ipvlan"),
        Op::CreateVlan { .. } => Some("vlan"),
        Op::CreateDummy { .. } => Some("dummy"),
        Op::FilterVlans { .. } | Op::JoinVlan { .. } | Op::AnswerVlan { .. } => Some("bridge (with VLANs)"),
        _ => None,
    }
}

/// Whether a refusal says that a step finds what it is to bring about.
fn is_so_already(op: &Op, errno: Errno) -> bool {
    match op {
        Op::AddRule { .. } | Op::AddRoute { .. } => errno == Errno::EEXIST,
        Op::DeleteRoute { .. } => errno == Errno::ESRCH,
        Op::DeleteAddress { .. } => errno == Errno::EADDRNOTAVAIL,
        Op::DeleteRule { .. } => errno == Errno::ENOENT,
        _ => false,
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
