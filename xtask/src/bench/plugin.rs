//! Attaching and detaching by a program that an engine would call for it: netavark, the CNI plugins, `ip`.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, unshare};

use super::call::repeated;
use super::results::{Group, Results};
use crate::sandbox;

/// A container's place on the measured network: an existing network namespace, an address, ports to publish.
pub(super) struct Endpoint {
    /// Unique among the endpoints of a host.
    pub(super) number: u32,
    /// Pairs of host port and container port, TCP.
    pub(super) ports: Vec<(u16, u16)>,
}

impl Endpoint {
    pub(super) fn new(number: u32, ports: Vec<(u16, u16)>) -> Self {
        Self { number, ports }
    }

    /// The name of its network namespace.
    pub(super) fn namespace(&self) -> String {
        format!("c{}", self.number)
    }

    /// Where the namespace is pinned.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.namespace())
    }

    /// Its address in 10.99.0.0/16, the gateway being 10.99.0.1.
    pub(super) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 0, 2)) + self.number)
    }

    /// An identifier as engines make them: 64 hexadecimal digits.
    pub(super) fn id(&self) -> String {
        format!("{:064x}", 0xabc0_0000_u64 + u64::from(self.number))
    }
}

/// A program that attaches containers to a network.
pub(super) trait Plugin {
    /// Its name and what is special about this way of using it.
    fn name(&self) -> String;
    /// What a host has before the first container comes; not measured.
    fn prepare_host(&self) -> Result<()>;
    /// Attaches and returns how long it took.
    fn attach(&self, endpoint: &Endpoint) -> Result<Duration>;
    /// Detaches and returns how long it took.
    fn detach(&self, endpoint: &Endpoint) -> Result<Duration>;
}

/// What else is on the host, and what is attached. One other container is always there: the first one of a network
/// makes some plugins create the bridge, the last one makes them remove it.
pub(super) struct Case {
    pub(super) words: &'static str,
    /// Ports that another container has published before.
    pub(super) published_by_others: u16,
    /// Other containers on the network.
    pub(super) others: u32,
    /// Ports of the container that is attached and detached.
    pub(super) own_ports: u16,
    pub(super) repetitions: usize,
}

pub(super) const CASES: &[Case] = &[
    Case {
        words: "no port",
        published_by_others: 0,
        others: 1,
        own_ports: 0,
        repetitions: 30,
    },
    Case {
        words: "one port",
        published_by_others: 0,
        others: 1,
        own_ports: 1,
        repetitions: 30,
    },
    Case {
        words: "one port, 100 others",
        published_by_others: 0,
        others: 100,
        own_ports: 1,
        repetitions: 18,
    },
    Case {
        words: "one port, 500 others",
        published_by_others: 0,
        others: 500,
        own_ports: 1,
        repetitions: 18,
    },
    Case {
        words: "one port, 1,000 of another",
        published_by_others: 1_000,
        others: 0,
        own_ports: 1,
        repetitions: 18,
    },
    Case {
        words: "one port, 10,000 of another",
        published_by_others: 10_000,
        others: 0,
        own_ports: 1,
        repetitions: 12,
    },
    Case {
        words: "1,000 ports",
        published_by_others: 0,
        others: 1,
        own_ports: 1_000,
        repetitions: 6,
    },
    Case {
        words: "10,000 ports",
        published_by_others: 0,
        others: 1,
        own_ports: 10_000,
        repetitions: 3,
    },
];

/// Measures every case with every plugin.
pub(super) fn measure(results: &mut Results, plugins: &[Box<dyn Plugin>]) {
    for plugin in plugins {
        // So many ports were too many for it, so as many again need not be tried.
        let mut too_many = u16::MAX;
        for case in CASES {
            let most = case.published_by_others.max(case.own_ports);
            let measured = if most < too_many {
                on_fresh_host(|| measure_case(results, case, plugin.as_ref()))
            } else {
                Err(anyhow!("publishing {too_many} ports took it more than half a minute"))
            };
            if measured.is_err() && most > 1 {
                too_many = too_many.min(most);
            }
            let (attach, detach) = apart(measured);
            results.times(
                Group::Attach,
                &format!("attach, {}", case.words),
                &plugin.name(),
                attach,
            );
            results.times(
                Group::Attach,
                &format!("detach, {}", case.words),
                &plugin.name(),
                detach,
            );
        }
    }
}

/// A result of pairs as two results.
pub(super) fn apart(measured: Result<Vec<(Duration, Duration)>>) -> (Result<Vec<Duration>>, Result<Vec<Duration>>) {
    match measured {
        Ok(pairs) => {
            let (first, second) = pairs.into_iter().unzip();
            (Ok(first), Ok(second))
        }
        Err(error) => {
            let again = anyhow!("{error:#}");
            (Err(error), Err(again))
        }
    }
}

/// The times of attaching and of detaching.
fn measure_case(results: &Results, case: &Case, plugin: &dyn Plugin) -> Result<Vec<(Duration, Duration)>> {
    plugin.prepare_host()?;
    let mut others: Vec<Endpoint> = (1..=case.others)
        .map(|number| Endpoint::new(number, Vec::new()))
        .collect();
    if case.published_by_others > 0 {
        others.push(Endpoint::new(1, ports(10_000, case.published_by_others)));
    }
    let mut attached = Vec::new();
    let measured = attach_all(plugin, &others, &mut attached)
        .context("attaching the other containers")
        .and_then(|()| measure_own(results, case, plugin));
    for other in attached {
        sandbox::ip(&format!("netns del {}", other.namespace()))?;
    }
    measured
}

fn attach_all<'a>(plugin: &dyn Plugin, others: &'a [Endpoint], attached: &mut Vec<&'a Endpoint>) -> Result<()> {
    for other in others {
        sandbox::ip(&format!("netns add {}", other.namespace()))?;
        attached.push(other);
        plugin.attach(other)?;
    }
    Ok(())
}

fn measure_own(results: &Results, case: &Case, plugin: &dyn Plugin) -> Result<Vec<(Duration, Duration)>> {
    let mut number = 1_000;
    repeated(results.repetitions(case.repetitions), || {
        number += 1;
        let endpoint = Endpoint::new(number, ports(30_001, case.own_ports));
        sandbox::ip(&format!("netns add {}", endpoint.namespace()))?;
        let times = plugin
            .attach(&endpoint)
            .and_then(|attach| Ok((attach, plugin.detach(&endpoint)?)));
        sandbox::ip(&format!("netns del {}", endpoint.namespace()))?;
        times
    })
}

/// So many ports from this one on; only every second, so that nobody can take them for a range.
pub(super) fn ports(first: u16, count: u16) -> Vec<(u16, u16)> {
    (0..count).map(|index| (first + 2 * index, 1 + index)).collect()
}

/// Does something on a host of its own, a new network namespace, and comes back.
///
/// # Errors
/// When the kernel refuses the namespace, or what is done fails.
pub(super) fn on_fresh_host<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = File::open("/proc/self/ns/net")?;
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
    let done = sandbox::ip("link set lo up").and_then(|()| work());
    nix::sched::setns(&home, CloneFlags::CLONE_NEWNET).context("going back to the network namespace")?;
    done
}
