//! Containers that serve, and asking them in every way.

use std::net::IpAddr;

use super::container::Container;
use super::host::Host;
use super::netns::NetNs;
use super::traffic::{Proto, Server, does_not_reach, reaches};

/// Where they serve.
pub(crate) const PORT: u16 = 7000;

/// A container (see [`Host::run`]) with a server of its name at [`PORT`].
pub(crate) fn serving(host: &Host, name: &str, options: &str) -> (Container, Server) {
    let container = host.run(name, options);
    let server = Server::start(&container.net, name, PORT);
    (container, server)
}

/// Checks that the server `name` answers at `target` by TCP and UDP, and that it sees the asker's own address `source`.
#[track_caller]
pub(crate) fn answers(from: &NetNs, source: IpAddr, target: IpAddr, name: &str) {
    for proto in [Proto::Tcp, Proto::Udp] {
        let answer = reaches(from, proto, (target, PORT));
        assert_eq!(
            (answer.server.as_str(), answer.source),
            (name, source),
            "{target} by {proto:?}"
        );
    }
}

/// Checks that nobody answers at `target`.
#[track_caller]
pub(crate) fn is_silent(from: &NetNs, target: IpAddr) {
    for proto in [Proto::Tcp, Proto::Udp] {
        does_not_reach(from, proto, (target, PORT));
    }
}
