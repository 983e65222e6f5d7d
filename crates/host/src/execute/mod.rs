//! One run through a plan.
//!
//! Steps become requests to one of three kinds of socket. Requests that follow each other to the same socket are sent
//! together; order is never changed. Creating an interface ends its message, because what follows needs the index that
//! the kernel gave it. (By name it could go into the same message, but would then also be done to somebody else's
//! interface of that name when creating ours is refused.)

mod firewall;
mod make;
mod refusal;
mod step;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use zdocker_net::names::InterfaceName;
use zdocker_net::op::{NamespacePath, Op, Place};

use crate::apply::{StepError, Watch};
use crate::kernel::Kernel;
use crate::netlink::message::Requests;
use crate::netlink::{NetlinkError, Socket, Subsystem};
use crate::netns::Namespace;
use crate::nft::batch;

/// A step failed.
pub(crate) struct Failure {
    /// Its place in the plan.
    pub(crate) step: usize,
    pub(crate) reason: StepError,
}

/// Says which step something failed at.
trait At<T> {
    fn at(self, step: usize) -> Result<T, Failure>;
}

impl<T, E: Into<StepError>> At<T> for Result<T, E> {
    fn at(self, step: usize) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step,
            reason: error.into(),
        })
    }
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

    /// Adds a step's requests about an interface.
    fn request_on<T>(
        &mut self,
        step: usize,
        place: &Place,
        link: &InterfaceName,
        push: impl FnOnce(&mut Requests, u32) -> T,
    ) -> Result<(), Failure> {
        let index = self.index(place, link).at(step)?;
        self.request(step, &Lane::Route(place.clone()), |r| push(r, index))
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
        let socket = self.socket(&lane).at(owners[0])?;
        let refusals = match socket.exchange(requests, |_, _| {}) {
            Ok(mut refusals) => {
                let ops = self.ops;
                refusals.retain(|refusal| {
                    let owner = owners.get(refusal.position).and_then(|step| ops.get(*step));
                    !owner.is_some_and(|op| refusal::is_so_already(op, refusal.errno))
                });
                refusals
            }
            Err(error) => {
                // Whether they took effect is not known: taking back what is not there does no harm.
                self.took_effect(owners.iter().copied());
                return Err(error).at(owners[0]);
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
                let reason = match refusal::kind(&self.ops[step]) {
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
}
