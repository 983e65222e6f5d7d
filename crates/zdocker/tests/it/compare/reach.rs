//! Who reaches whom, as a table.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::Findings;
use crate::harness::{NetNs, Proto, ip, try_reach};

/// How long an answer is waited for at first; who gets none asks again, as the machine may be busy.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// More than the second that TCP waits before it sends a lost SYN again.
const PATIENCE: Duration = Duration::from_millis(1300);
/// Questions at a time.
const AT_ONCE: usize = 200;

/// What stands for no answer.
pub(crate) const SILENCE: &str = "-";

/// Somebody who asks.
pub(crate) struct Source<'n> {
    /// What it is called in the table.
    pub(crate) name: &'n str,
    pub(crate) net: &'n NetNs,
    /// Whether its loopback addresses are the host's.
    pub(crate) on_host: bool,
}

impl<'n> Source<'n> {
    /// The host itself.
    pub(crate) fn host(net: &'n NetNs) -> Self {
        Source {
            name: "the host",
            net,
            on_host: true,
        }
    }

    /// The outside world.
    pub(crate) fn outside(net: &'n NetNs) -> Self {
        Source {
            name: "outside",
            net,
            on_host: false,
        }
    }
}

/// Something that may answer.
pub(crate) struct Target {
    /// What it is called in the table: the same for both programs.
    name: String,
    proto: Proto,
    address: SocketAddr,
}

/// Adds a port of an address, which the table calls `name`.
pub(crate) fn add_targets(targets: &mut Vec<Target>, name: String, address: IpAddr, port: u16, protos: &[Proto]) {
    for proto in protos {
        let kind = if *proto == Proto::Tcp { "" } else { "/udp" };
        targets.push(Target {
            name: format!("{name} port {port}{kind}"),
            proto: *proto,
            address: (address, port).into(),
        });
    }
}

/// Who gets an answer where, and who the server believes them to be.
pub(crate) fn reach(stage: &str, sources: &[Source<'_>], targets: &[Target], findings: &mut Findings) {
    let mut questions = Vec::new();
    for source in sources {
        let fits = |target: &&Target| source.on_host || !target.address.ip().is_loopback();
        questions.extend(targets.iter().filter(fits).map(|target| (source, target)));
    }
    let (questions, answers) = (Mutex::new(questions), Mutex::new(findings));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = questions.lock().unwrap().pop();
                    let Some((source, target)) = next else { return };
                    let ask = |patience| try_reach(source.net, target.proto, target.address, patience);
                    let answer = ask(IMPATIENCE).or_else(|_| ask(PATIENCE));
                    let answer = answer.map_or(SILENCE.to_owned(), |a| format!("{} saw {}", a.server, a.source));
                    let key = format!("{stage}: {} -> {}", source.name, target.name);
                    answers.lock().unwrap().insert(key, answer);
                }
            });
        }
    });
}

/// The addresses that a container's interfaces have, but for what every interface has.
pub(crate) fn addresses(net: &NetNs) -> Vec<(String, IpAddr)> {
    let mut found = Vec::new();
    for link in net.ip_json(&["addr", "show", "scope", "global"]) {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            if let Some(local) = address["local"].as_str() {
                found.push((link["ifname"].as_str().unwrap().to_owned(), ip(local)));
            }
        }
    }
    found
}
