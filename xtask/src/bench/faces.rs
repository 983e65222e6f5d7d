//! zdocker called by other engines as their plug-in, beside the plug-ins that they have: whole processes, the same
//! JSON, the same container namespaces in turn.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::cni::{self, Cni};
use super::netavark::Netavark;
use super::peers::{CNI, NETAVARK};
use super::plugin::{Endpoint, Plugin, apart, on_fresh_host, ports};
use super::results::{Group, Results};
use crate::{process, sandbox};

/// Where the links are that the plug-ins are called by.
const LINKS: &str = "/run/zdocker-plugins";

/// How long what a plug-in leaves to a child of its own may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a case may take.
const CASE: Duration = Duration::from_secs(180);

/// What else is on each contestant's host, published and attached by that contestant.
struct Case {
    words: &'static str,
    published: u16,
    others: u32,
    repetitions: usize,
}

const CASES: [Case; 4] = [
    Case {
        words: ALONE,
        published: 0,
        others: 0,
        repetitions: 30,
    },
    Case {
        words: "200 other containers",
        published: 0,
        others: 200,
        repetitions: 18,
    },
    Case {
        words: "1,000 ports of another",
        published: 1_000,
        others: 0,
        repetitions: 12,
    },
    Case {
        words: MANY_PORTS,
        published: 10_000,
        others: 0,
        repetitions: 6,
    },
];

pub(super) const ALONE: &str = "nothing else there";
pub(super) const MANY_PORTS: &str = "10,000 ports of another";
pub(super) const AS_NETAVARK: &str = "zdocker, as netavark";
pub(super) const THEIR_NETAVARK: &str = "netavark";
pub(super) const AS_CHAIN: &str = "zdocker, as bridge + portmap";
pub(super) const AS_ONE: &str = "zdocker-net";
pub(super) const THEIR_CHAIN: &str = "CNI bridge + host-local + portmap";

/// A program in both its verbs.
struct Contestant {
    plugin: Box<dyn Plugin>,
    /// What is measured: `setup` and `teardown`, or `ADD` and `DEL`.
    verbs: (&'static str, &'static str),
    /// It leaves work behind to a process of this program.
    leaves_behind: Option<PathBuf>,
}

/// Measures every case with every contestant.
pub(super) fn measure(results: &mut Results, zdocker: &Path, only: Option<&str>) {
    for family in [netavarks(zdocker), cnis(zdocker)] {
        let contestants = match family {
            Ok(contestants) => contestants,
            Err(error) => {
                results.times(Group::Faces, "calling zdocker as a plug-in", "zdocker", Err(error));
                continue;
            }
        };
        for case in CASES
            .iter()
            .filter(|case| only.is_none_or(|only| case.words.contains(only)))
        {
            let measured = measure_case(results, case, &contestants);
            for (contestant, times) in contestants.iter().zip(measured) {
                let (first, second) = apart(times);
                let (name, (verb, inverse)) = (contestant.plugin.name(), contestant.verbs);
                results.times(Group::Faces, &format!("{verb}, {}", case.words), &name, first);
                results.times(Group::Faces, &format!("{inverse}, {}", case.words), &name, second);
            }
        }
    }
}

/// A link to zdocker of this name.
fn link(zdocker: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(LINKS)?;
    let path = Path::new(LINKS).join(name);
    if !path.exists() {
        symlink(zdocker, &path)?;
    }
    Ok(path)
}

fn netavarks(zdocker: &Path) -> Result<Vec<Contestant>> {
    let contestant = |name: &str, program: &Path, leaves_behind| Contestant {
        plugin: Box::new(Netavark::named(name.to_owned(), program)),
        verbs: ("setup", "teardown"),
        leaves_behind,
    };
    Ok(vec![
        contestant(AS_NETAVARK, &link(zdocker, "netavark")?, Some(zdocker.canonicalize()?)),
        contestant(THEIR_NETAVARK, Path::new(NETAVARK), None),
    ])
}

fn cnis(zdocker: &Path) -> Result<Vec<Contestant>> {
    for name in ["bridge", "host-local", "portmap", cni::ALL_IN_ONE] {
        link(zdocker, name)?;
    }
    let contestant = |name: &str, folder: &str, in_one, leaves_behind| Contestant {
        plugin: Box::new(Cni::named(name, folder.as_ref(), in_one)),
        verbs: ("ADD", "DEL"),
        leaves_behind,
    };
    let ours = zdocker.canonicalize()?;
    Ok(vec![
        contestant(AS_CHAIN, LINKS, false, Some(ours.clone())),
        contestant(AS_ONE, LINKS, true, Some(ours)),
        contestant(THEIR_CHAIN, CNI, false, None),
    ])
}

/// A contestant's network namespace that stands for a host, and the containers that are on it all the while.
struct Host<'a> {
    contestant: &'a Contestant,
    network: File,
    others: Vec<Endpoint>,
}

impl<'a> Host<'a> {
    /// `place` tells the contestants' other containers apart.
    fn new(contestant: &'a Contestant, case: &Case, place: u32) -> Result<Self> {
        let network = on_fresh_host(|| Ok(File::open("/proc/thread-self/ns/net")?))?;
        let mut host = Host {
            contestant,
            network,
            others: Vec::new(),
        };
        let first = 1 + 1_000 * place;
        let prepared = host
            .contestant
            .plugin
            .prepare_host()
            .and_then(|()| (first..first + case.others).try_for_each(|number| host.attach(number, Vec::new())))
            .and_then(|()| host.publish(first + case.others, case.published));
        match prepared.context("attaching the other containers") {
            Ok(()) => Ok(host),
            Err(error) => {
                host.leave()?;
                Err(error)
            }
        }
    }

    fn attach(&mut self, number: u32, ports: Vec<(u16, u16)>) -> Result<()> {
        let endpoint = Endpoint::new(number, ports);
        sandbox::ip(&format!("netns add {}", endpoint.namespace()))?;
        let attached = within(&self.network, || self.contestant.plugin.attach(&endpoint));
        self.others.push(endpoint);
        attached.map(drop)
    }

    /// Publishes so many ports of other containers. What works by a rule a port would take minutes for it: such rules
    /// are loaded as it would have written them.
    fn publish(&mut self, number: u32, count: u16) -> Result<()> {
        let ports = ports(10_000, count);
        let (template, rest) = ports.split_at(ports.len().min(PORTS_IN_A_RULE));
        if template.is_empty() {
            return Ok(());
        }
        self.attach(number, template.to_vec())?;
        let is_by_rules = within(&self.network, || multiply_rules(template, rest))?;
        if is_by_rules || rest.is_empty() {
            return Ok(());
        }
        self.attach(number + 1, rest.to_vec())
    }

    /// Once in and out again. What is left to a child ends before this returns, and is in neither time: whoever called
    /// the plug-in does not wait for it either.
    fn round(&self, endpoint: &Endpoint) -> Result<(Duration, Duration)> {
        within(&self.network, || {
            let before = links()?;
            let plugin = &self.contestant.plugin;
            let times = plugin
                .attach(endpoint)
                .and_then(|attach| Ok((attach, plugin.detach(endpoint)?)))?;
            self.settle(&before)?;
            Ok(times)
        })
    }

    /// Waits until the interface is gone, and with it who takes it away.
    fn settle(&self, before: &BTreeSet<String>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left: Vec<String> = links()?
                .into_iter()
                .filter(|link| link != "bench0" && !before.contains(link))
                .collect();
            let at_work = match &self.contestant.leaves_behind {
                Some(program) => runs(program)?,
                None => false,
            };
            if left.is_empty() && !at_work {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("still there after {PATIENCE:?}: {}", left.join(", "));
            }
            // The kernel tells nobody's children's end to others.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn leave(self) -> Result<()> {
        self.others
            .iter()
            .try_for_each(|other| sandbox::ip(&format!("netns del {}", other.namespace())))
    }
}

/// Does something on a host.
fn within<T>(network: &File, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = File::open("/proc/thread-self/ns/net")?;
    setns(network, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
    let done = work();
    setns(&home, CloneFlags::CLONE_NEWNET).context("going back to the network namespace")?;
    done
}

/// The names of the interfaces here.
fn links() -> Result<BTreeSet<String>> {
    let all = nix::net::if_::if_nameindex()?;
    Ok(all
        .iter()
        .map(|link| link.name().to_string_lossy().into_owned())
        .collect())
}

/// Whether a process of this program runs.
fn runs(program: &Path) -> Result<bool> {
    let processes = fs::read_dir("/proc")?.flatten();
    Ok(processes
        .filter_map(|process| fs::read_link(process.path().join("exe")).ok())
        .any(|exe| exe == program))
}

/// As many ports as the CNI plug-in `portmap` puts into one rule.
const PORTS_IN_A_RULE: usize = 15;

/// Where the ports of `template` are published by rules of iptables, adds such rules for `rest`, and says so.
fn multiply_rules(template: &[(u16, u16)], rest: &[(u16, u16)]) -> Result<bool> {
    let saved = process::capture(&mut Command::new("iptables-save"))?;
    let mut restored = String::new();
    let mut found = false;
    for line in saved.lines() {
        match line {
            table if table.starts_with('*') => restored.push_str(&format!("{table}\n")),
            "COMMIT" => restored.push_str("COMMIT\n"),
            rule if rule.starts_with("-A") && rule.contains("--dport") => {
                let of = |ports: &[(u16, u16)]| with_ports(rule, template, ports);
                if of(template).is_some() {
                    found = true;
                    rest.chunks(template.len())
                        .filter_map(of)
                        .for_each(|copy| restored.push_str(&format!("{copy}\n")));
                }
            }
            _ => {}
        }
    }
    if found {
        let mut restore = Command::new("iptables-restore");
        super::call::timed(restore.arg("--noflush"), restored.as_bytes())?;
    }
    Ok(found)
}

/// A rule with these ports in the place of the template's; nothing if it has none of them.
fn with_ports(rule: &str, template: &[(u16, u16)], ports: &[(u16, u16)]) -> Option<String> {
    let mut words: Vec<String> = rule.split(' ').map(str::to_owned).collect();
    let mut is_about = false;
    for at in 1..words.len() {
        let (before, word) = (words[at - 1].clone(), words[at].clone());
        let replaced = |pick: fn(&(u16, u16)) -> u16, text: &str| {
            let position = template.iter().position(|pair| pick(pair).to_string() == text)?;
            ports.get(position).map(|pair| pick(pair).to_string())
        };
        match before.as_str() {
            "--dport" | "--dports" => {
                let list = word.split(',').filter_map(|port| replaced(|pair| pair.0, port));
                let list: Vec<String> = list.collect();
                if !list.is_empty() {
                    is_about = true;
                    words[at] = list.join(",");
                }
            }
            "--to-destination" => {
                if let Some((address, port)) = word.rsplit_once(':') {
                    words[at] = replaced(|pair| pair.1, port).map_or(word.clone(), |port| format!("{address}:{port}"));
                }
            }
            _ => {}
        }
    }
    is_about.then(|| words.join(" "))
}

/// The times of both verbs for each contestant, who take turns.
fn measure_case(results: &Results, case: &Case, contestants: &[Contestant]) -> Vec<Result<Vec<(Duration, Duration)>>> {
    let start = Instant::now();
    let hosts: Vec<Result<Host<'_>>> = contestants
        .iter()
        .zip(0..)
        .map(|(contestant, place)| Host::new(contestant, case, place))
        .collect();
    let mut times: Vec<Result<Vec<(Duration, Duration)>>> = hosts.iter().map(|_| Ok(Vec::new())).collect();
    // The first one finds cold caches, and does not count.
    for number in 0..=results.repetitions(case.repetitions) as u32 {
        if number > 1 && start.elapsed() > CASE {
            break;
        }
        for (host, times) in hosts.iter().zip(&mut times) {
            let (Ok(host), Ok(measured)) = (host, times.as_mut()) else {
                continue;
            };
            match turn(host, number) {
                Ok(both) if number > 0 => measured.push(both),
                Ok(_) => {}
                Err(error) => *times = Err(error),
            }
        }
    }
    let pairs = hosts.into_iter().zip(times);
    pairs
        .map(|(host, times)| host.and_then(|host| host.leave().and(times)))
        .collect()
}

fn turn(host: &Host<'_>, number: u32) -> Result<(Duration, Duration)> {
    let endpoint = Endpoint::new(50_000 + number, ports(30_001, 1));
    sandbox::ip(&format!("netns add {}", endpoint.namespace()))?;
    let times = host.round(&endpoint);
    sandbox::ip(&format!("netns del {}", endpoint.namespace()))?;
    times.map_err(|error| anyhow!("{}: {error:#}", host.contestant.plugin.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_copied_with_other_ports() {
        let (template, ports) = ([(10_000, 1), (10_002, 2)], [(10_004, 3), (10_006, 4)]);
        for (rule, copy) in [
            (
                "-A X -p tcp -m tcp --dport 10002 -j DNAT --to-destination 10.99.0.3:2",
                Some("-A X -p tcp -m tcp --dport 10006 -j DNAT --to-destination 10.99.0.3:4"),
            ),
            (
                "-A Y -p tcp -m multiport --dports 10000,10002 -j X",
                Some("-A Y -p tcp -m multiport --dports 10004,10006 -j X"),
            ),
            ("-A Y -p tcp -m tcp --dport 53 -j ACCEPT", None),
        ] {
            assert_eq!(with_ports(rule, &template, &ports).as_deref(), copy);
        }
    }
}
