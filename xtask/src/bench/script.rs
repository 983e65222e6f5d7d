//! What a person would type: `ip` and `nft`, one command at a time or as batches.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::call;
use super::plugin::{Endpoint, Plugin};

/// How the commands are given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Each by a process of its own.
    OneByOne,
    /// All for one network namespace by one process.
    Batch,
}

/// The bridge, its address and a firewall with a map of published ports.
pub(super) const CREATE: [&str; 3] = [
    "link add bench0 type bridge",
    "addr add 10.99.0.1/16 dev bench0",
    "link set bench0 up",
];
pub(super) const FIREWALL: &str = "
    table inet bench {
        map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
        chain pre {
            type nat hook prerouting priority dstnat;
            fib daddr type local dnat ip to meta l4proto . th dport map @ports;
        }
        chain post { type nat hook postrouting priority srcnat; ip saddr 10.99.0.0/16 oifname != bench0 masquerade; }
    }";

impl Script {
    /// Runs lines for `ip`, on the host or in a namespace.
    pub(super) fn ip(self, namespace: Option<&str>, lines: &[String]) -> Result<Duration> {
        let place: Vec<&str> = namespace.iter().flat_map(|name| ["-n", name]).collect();
        if self == Self::Batch {
            let mut command = Command::new("ip");
            command.args(&place).args(["-batch", "-"]);
            return Ok(call::timed(&mut command, (lines.join("\n") + "\n").as_bytes())?.0);
        }
        let mut total = Duration::ZERO;
        for line in lines {
            total += call::timed(Command::new("ip").args(&place).args(line.split_whitespace()), b"")?.0;
        }
        Ok(total)
    }

    /// Runs lines for `nft`; all at once in either way, because a line a port would take minutes.
    pub(super) fn nft(lines: &str) -> Result<Duration> {
        Ok(call::timed(Command::new("nft").args(["-f", "-"]), lines.as_bytes())?.0)
    }

    fn elements(verb: &str, endpoint: &Endpoint) -> String {
        let address = endpoint.address();
        let target = |container: &u16| {
            if verb == "add" {
                format!(" : {address} . {container}")
            } else {
                String::new()
            }
        };
        let elements: Vec<_> = endpoint
            .ports
            .iter()
            .map(|(host, container)| format!("tcp . {host}{}", target(container)))
            .collect();
        format!("{verb} element inet bench ports {{ {} }}\n", elements.join(", "))
    }
}

impl Plugin for Script {
    fn name(&self) -> String {
        match self {
            Self::OneByOne => "ip, one by one, and nft",
            Self::Batch => "ip -batch and nft",
        }
        .to_owned()
    }

    fn prepare_host(&self) -> Result<()> {
        self.ip(None, &CREATE.map(str::to_owned))?;
        Self::nft(FIREWALL)?;
        Ok(())
    }

    fn attach(&self, endpoint: &Endpoint) -> Result<Duration> {
        let (namespace, link) = (endpoint.namespace(), format!("v{}", endpoint.number));
        let mut total = self.ip(
            None,
            &[
                format!("link add {link} type veth peer name eth0 netns {namespace}"),
                format!("link set {link} master bench0 up"),
            ],
        )?;
        total += self.ip(
            Some(&namespace),
            &[
                "link set lo up".to_owned(),
                format!("addr add {}/16 dev eth0", endpoint.address()),
                "link set eth0 up".to_owned(),
                "route add default via 10.99.0.1".to_owned(),
            ],
        )?;
        if !endpoint.ports.is_empty() {
            total += Self::nft(&Self::elements("add", endpoint))?;
        }
        Ok(total)
    }

    fn detach(&self, endpoint: &Endpoint) -> Result<Duration> {
        let mut total = self.ip(None, &[format!("link del v{}", endpoint.number)])?;
        if !endpoint.ports.is_empty() {
            total += Self::nft(&Self::elements("delete", endpoint))?;
        }
        Ok(total)
    }
}
