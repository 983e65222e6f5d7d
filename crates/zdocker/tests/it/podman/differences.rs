//! In what netavark 1.4, which is Debian 12's, and zdocker differ as Podman's network stack, and why.

use crate::compare::{ABSENT, Difference, SILENCE, differs};

/// With what only root does.
const ROOTS: &[Difference] = &[
    differs(
        "*: other1 -> * port 8086",
        SILENCE,
        "lone1",
        "isolate=true keeps networks from each other's containers, not from ports that are published for everybody",
    ),
    differs("*: other1 -> * port 8086, by source", SILENCE, "10.24.0.1", "the same"),
    differs(
        "*: outside -> * at 10.22.0.* port *",
        "*",
        SILENCE,
        "netavark lets in who knows the way to an internal network; here nobody",
    ),
    differs(
        "*: wired route -4 default dev eth0",
        "via 203.0.113.2 metric 100",
        "via 203.0.113.2 metric 99",
        "as newer netavark has it: where there is a bridge, too, the default route is macvlan's",
    ),
];

/// Whoever runs Podman.
const ALWAYS: &[Difference] = &[
    differs(
        "*: * -> * at * port *, by source",
        "10.*",
        "10.*",
        "netavark masquerades what goes to another network of the host; here it keeps its source address, and only what leaves \
         the host is masqueraded",
    ),
    differs(
        "*: * route -6 fe80::/64 dev eth*",
        "via - metric 256",
        ABSENT,
        "an interface on a network without IPv6 has no IPv6 address, not even a link-local one",
    ),
    differs(
        "left: *firewall *",
        "yes",
        ABSENT,
        "netavark leaves its chains; zdocker takes its tables away with its last network",
    ),
    differs(
        "left: file */networks/zdocker/*",
        ABSENT,
        "yes",
        "the records, without any container in them, beside Podman's own",
    ),
];

/// In a user's namespace.
const USERS: &[Difference] = &[
    differs(
        "*: * eth* mtu",
        "1500",
        "65520",
        "as newer netavark has it: frames are as large as those of the host's way out, which is slirp4netns here",
    ),
    differs(
        "*: * -> 2001:db8::* port *",
        SILENCE,
        "*",
        "slirp4netns announces the IPv6 way out; zdocker has the kernel heed that when the namespace begins to forward",
    ),
];

/// Those of root's Podman; the first that fits is the one.
pub(super) fn all() -> impl Iterator<Item = &'static Difference> {
    [ALWAYS, ROOTS].into_iter().flatten()
}

/// Those of a user's Podman.
pub(super) fn of_users() -> impl Iterator<Item = &'static Difference> {
    [ALWAYS, USERS].into_iter().flatten()
}
