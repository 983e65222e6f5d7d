//! Unplugging. What is at once without effect for everybody is done at once; what the kernel takes its time for, deleting
//! interfaces, is left to a child that nobody waits for.

use std::collections::HashSet;
use std::os::fd::AsRawFd;

use zdocker_host::store::State;
use zdocker_net::attach::foreign::{self, Addresses, ForeignRequest};
use zdocker_net::firewall::Element;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::op::{NamespacePath, Op, Shown};
use zdocker_net::plan;

use super::UnplugRequest;
use super::settle::is_anothers;
use crate::config::Config;
use crate::engine::{Engine, Journal};
use crate::error::EngineError;

/// A container's place on a network.
pub(super) type Plugged = (Network, Endpoint);

impl Engine {
    /// Unplugs a container. What is gone already is no failure, and where the records are lost the request says what may be
    /// there. When this returns, nothing passes by the endpoints any more, and their ports and addresses are free; their
    /// interfaces and unused networks go by [`Engine::finish`], or by a later command.
    ///
    /// # Errors
    /// [`EngineError`] when a part could not be removed; a later command tries again.
    pub fn unplug(&mut self, request: &UnplugRequest) -> Result<(), EngineError> {
        let Leaving { recorded, lost } = self.claim_leaving(request)?;
        self.cut_off(&recorded)?;
        self.store.write(|records| {
            for (_, endpoint) in &recorded {
                records.release_addresses(&endpoint.id)?;
                records.delete_ports(&endpoint.id, &endpoint.ports)?;
                // Free for whoever comes to finish it, who is to leave the ports to those who publish them then.
                let bare = Endpoint {
                    ports: Vec::new(),
                    ..endpoint.clone()
                };
                records.set_endpoint(&bare, State::Removing, None)?;
            }
            Ok::<_, EngineError>(())
        })?;
        if !lost.is_empty() {
            // Nothing keeps others from what is not recorded, so it is not left for later.
            self.take_plugs_away(&lost)?;
        }
        self.let_take_over(&request.container)?;
        let networks = recorded.iter().chain(&lost).map(|(network, _)| network.clone());
        self.unfinished.push(Unfinished {
            networks: networks.filter(|_| request.remove_unused).collect(),
            leaving: recorded,
        });
        Ok(())
    }

    /// Makes us the one that takes all the requested endpoints away, as soon as nobody else is at any of them.
    fn claim_leaving(&mut self, request: &UnplugRequest) -> Result<Leaving, EngineError> {
        let (me, boot, prefix) = (self.me, self.boot.clone(), self.installation.port_prefix().to_owned());
        loop {
            let mut leaving = Leaving::default();
            let busy = self.store.write(|records| {
                for (wanted, wish) in &request.endpoints {
                    let id = foreign::endpoint_id(&request.container, &wanted.id, &wish.interface);
                    match records.endpoint(&id)? {
                        Some(record) if is_anothers(&record, me) => return Ok(Some(record)),
                        Some(mut record) => {
                            if request.namespace.is_some() || record.boot.as_deref() != Some(&boot) {
                                // The path that was plugged in by may lead nowhere by now, or to another container, as
                                // `/proc/PID/ns/net` of a process that ended.
                                record.endpoint.sandbox = request.namespace.as_ref().map(|path| path.0.clone());
                            }
                            let network = records.network(&record.endpoint.network)?;
                            let network = network.map_or_else(|| wanted.clone(), |record| record.network);
                            leaving.recorded.push((network, record.endpoint));
                        }
                        None => leaving.lost.push(as_asked(request, wanted, wish, &prefix)?),
                    }
                }
                for (_, endpoint) in &leaving.recorded {
                    records.set_endpoint_state(&endpoint.id, State::Removing, Some(me))?;
                }
                Ok::<_, EngineError>(None)
            })?;
            match busy {
                None => return Ok(leaving),
                Some(record) => self.wait_for_owner(&record)?,
            };
        }
    }

    /// Lets nothing pass by these endpoints any more.
    fn cut_off(&mut self, leaving: &[Plugged]) -> Result<(), EngineError> {
        let others = self.elements_of_others(leaving)?;
        let mut plan = removal(leaving);
        plan.retain(|op| !is_slow(op));
        for op in &mut plan {
            if let Op::DeleteElements(elements) = op {
                elements.retain(|element| !others.contains(&element.key()));
            }
        }
        self.take_away(&what(leaving), &plan)
    }

    /// The keys of others' elements, where a request without a record may name a port that is another's by now.
    fn elements_of_others(&mut self, leaving: &[Plugged]) -> Result<HashSet<Element>, EngineError> {
        let all_recorded = self.store.read(|records| {
            let mut all = true;
            for (_, endpoint) in leaving {
                all &= records.endpoint(&endpoint.id)?.is_some();
            }
            Ok::<_, EngineError>(all)
        })?;
        if all_recorded {
            return Ok(HashSet::new());
        }
        let gone: HashSet<&Id> = leaving.iter().map(|(_, endpoint)| &endpoint.id).collect();
        let recorded = self.recorded()?;
        Ok(recorded.elements_beside(&gone).map(|element| element.key()).collect())
    }

    /// Takes endpoints wholly away, waiting for the kernel, and forgets them.
    pub(super) fn take_plugs_away(&mut self, leaving: &[Plugged]) -> Result<(), EngineError> {
        self.cut_off(leaving)?;
        self.delete_interfaces(leaving)
    }

    fn delete_interfaces(&mut self, leaving: &[Plugged]) -> Result<(), EngineError> {
        let mut plan = removal(leaving);
        plan.retain(is_slow);
        self.take_away(&what(leaving), &plan)?;
        self.forget_plugs(leaving)
    }

    /// Deletes the containers' ends of pairs whose other ends are not here: a user's Podman was given a new namespace while
    /// somebody still held the old one. To be called before the pairs that are here are deleted.
    pub(super) fn delete_stray_ends(&mut self, leaving: &[Plugged]) -> Result<(), EngineError> {
        let mut strays = Vec::new();
        for plugged in leaving {
            strays.extend(self.stray_end(plugged)?);
        }
        self.take_away(&what(leaving), &strays)
    }

    fn stray_end(&mut self, (network, endpoint): &Plugged) -> Result<Option<Op>, EngineError> {
        let sandbox = endpoint.sandbox.clone().filter(|_| network.has_pairs());
        let Some(namespace) = sandbox.map(NamespacePath) else {
            return Ok(None);
        };
        if self.kernel().observe_link(&endpoint.host_interface)?.is_some() {
            return Ok(None);
        }
        // A path at which no namespace is pinned any more cannot be looked into.
        let seen = self.kernel().observe_tuning(&namespace, &endpoint.interface, &[]);
        if !matches!(seen, Ok(Some(link)) if link.mac == Some(endpoint.mac)) {
            return Ok(None);
        }
        // Whoever has made it since is recorded by now.
        let boot = self.boot.clone();
        let records = self.store.read(|records| records.endpoints_of_boot(&boot))?;
        let is_anothers = records.iter().map(|record| &record.endpoint).any(|other| {
            other.id != endpoint.id && other.interface == endpoint.interface && other.sandbox == endpoint.sandbox
        });
        Ok((!is_anothers).then(|| Op::DeleteInside {
            namespace,
            link: endpoint.interface.clone(),
        }))
    }

    /// Deletes the records of endpoints, with what they hold.
    pub(super) fn forget_plugs(&mut self, gone: &[Plugged]) -> Result<(), EngineError> {
        if gone.is_empty() {
            return Ok(());
        }
        self.store.write(|records| {
            for (_, endpoint) in gone {
                records.delete_ports(&endpoint.id, &endpoint.ports)?;
                records.delete_endpoint(&endpoint.id)?;
            }
            Ok(())
        })
    }

    /// Does what [`Engine::unplug`] left, and waits for it.
    ///
    /// # Errors
    /// [`EngineError`] when a part could not be removed; a later command tries again.
    pub fn finish(&mut self) -> Result<(), EngineError> {
        for Unfinished { leaving, networks } in std::mem::take(&mut self.unfinished) {
            let leaving = self.claim_plugs(leaving)?;
            self.delete_stray_ends(&leaving)?;
            self.delete_interfaces(&leaving)?;
            self.remove_networks_if_unused(&networks)?;
            // Others may have died before they came to this.
            let left = self.settle_plugs()?.into_iter().map(|(network, _)| network);
            let left: Vec<Network> = left.filter(|_| !networks.is_empty()).collect();
            self.remove_networks_if_unused(&left)?;
        }
        Ok(())
    }

    /// Has a child do what [`Engine::unplug`] left, which nobody waits for. To be called at the end of a process that has one
    /// thread only. Where no child can be made, a later command does it.
    pub fn finish_behind(mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        let unfinished = std::mem::take(&mut self.unfinished);
        let (roots, installation) = (self.roots.clone(), self.installation.clone());
        // The child has the sockets, too: closing ours waits for nothing. SQLite's connections survive no fork, so it is
        // closed before and opened anew.
        let kernel = self.close();
        // SAFETY: this process has one thread, so no lock is held by another one.
        match unsafe { nix::unistd::fork() } {
            Ok(nix::unistd::ForkResult::Child) => {
                detach();
                let journal = Box::new(Unheard);
                if let Ok(mut engine) = Engine::open_bare(roots, installation, Config::default(), journal) {
                    engine.unfinished = unfinished;
                    // Nobody listens; what fails is recorded and tried again by a later command.
                    let _ = engine.finish();
                }
                drop(kernel);
                // SAFETY: the call takes no pointers and does not return.
                unsafe { libc::_exit(0) }
            }
            Ok(nix::unistd::ForkResult::Parent { .. }) | Err(_) => {}
        }
    }
}

/// What [`Engine::unplug`] leaves to be done.
#[derive(Debug)]
pub(crate) struct Unfinished {
    leaving: Vec<Plugged>,
    /// Those that go if nobody is on them any more.
    networks: Vec<Network>,
}

/// What a request names.
#[derive(Default)]
struct Leaving {
    /// Recorded as going, by us.
    recorded: Vec<Plugged>,
    /// Not recorded, as it was asked to be.
    lost: Vec<Plugged>,
}

/// An endpoint that is not recorded, as it was asked to be.
fn as_asked(
    request: &UnplugRequest,
    network: &Network,
    wish: &ForeignRequest,
    port_prefix: &str,
) -> Result<Plugged, EngineError> {
    let addresses = match &wish.addresses {
        Addresses::Given(addresses) => addresses.clone(),
        Addresses::Leased(_) => Vec::new(),
    };
    let mut endpoint = foreign::endpoint(network, &request.container, wish, addresses, port_prefix)?;
    endpoint.sandbox = request.namespace.as_ref().map(|namespace| namespace.0.clone());
    Ok((network.clone(), endpoint))
}

/// A journal that nobody reads.
struct Unheard;

impl Journal for Unheard {
    fn step(&mut self, _: &Shown<'_>, _: std::time::Duration) {}
    fn warn(&mut self, _: &str) {}
}

/// In the child: out of the caller's session, and off its standard streams, whose end it may wait for.
fn detach() {
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        for stream in 0..=2 {
            // SAFETY: the call takes no pointers; the streams are this process's own.
            unsafe { libc::dup2(null.as_raw_fd(), stream) };
        }
    }
}

fn removal(leaving: &[Plugged]) -> Vec<Op> {
    let detach = |(network, endpoint): &Plugged| {
        let namespace = endpoint.sandbox.clone().map(NamespacePath);
        plan::detach_from(network, endpoint, namespace.as_ref())
    };
    leaving.iter().flat_map(detach).collect()
}

/// Whether the kernel takes its time for a step.
fn is_slow(op: &Op) -> bool {
    matches!(op, Op::DeleteLink { .. } | Op::DeleteInside { .. })
}

fn what(leaving: &[Plugged]) -> String {
    let container = leaving.first().map_or("?", |(_, endpoint)| endpoint.container.short());
    format!("the network of container {container}")
}
