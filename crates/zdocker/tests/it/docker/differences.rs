//! In what the two engines differ, and why.

use crate::compare::{ABSENT, Difference, differs};

/// Who may reach whom.
const REACH: &[Difference] = &[
    differs(
        "*: outside -> * at * port 7000*",
        "* saw *",
        "-",
        "Docker before 28 lets the outside in by a container's own address where the port is published; zdocker, as newer \
         Docker, by the host's address only",
    ),
    differs(
        "*: * -> 2001:db8::1 port *",
        "* saw *",
        "-",
        "Docker's relay listens at the host's IPv6 addresses for containers that have none, which hides the client; zdocker \
         publishes such a port by IPv4, and at ::1",
    ),
    differs(
        "*: * -> * port *",
        "host saw 10.22.0.*",
        "-",
        "older Docker gives a container on an internal network a default route, so the host answers at all its addresses; \
         here, at the network's gateway only",
    ),
    differs(
        "*: * -> * port 7100",
        "host saw 203.0.113.1",
        "host saw 10.2*",
        "Docker masquerades what the host sends to itself from a bridge's address",
    ),
    differs(
        "*: * -> * port */udp",
        "-",
        "* saw *",
        "Docker's relay answers a container's UDP from another address of the host than was asked",
    ),
    differs(
        "run: quiet* -> * port 8086",
        "quiet1 saw 10.24.0.1",
        "-",
        "with enable_icc=false a neighbour gets through Docker's relay what it must not have directly",
    ),
    differs(
        "*: * -> * port *",
        "web saw 10.21.0.254",
        "web saw 10.20.0.1",
        "of networks with the same priority Docker takes the one that is first in the alphabet for the default route and for \
         published ports; zdocker the one that the container was plugged into first, so connect does not break flows",
    ),
    differs(
        "*: * -> * port 7100",
        "host saw 10.21.0.50",
        "host saw 10.20.0.10",
        "the same: the default route stays where it was",
    ),
    differs(
        "*: * -> by name *",
        "web 10.21.0.50",
        "web 10.20.0.10",
        "the same: a container's own name has the address of its first network",
    ),
    differs(
        "*: * -> by name application",
        "app *",
        "-",
        "Docker makes --hostname an alias; here, neighbours know a container by its name, its aliases and its identifier",
    ),
    differs(
        "run: old* -> by name old*",
        "-",
        "old*",
        "containers on the default network know each other by name, too",
    ),
    differs(
        "run: six* -> by name six*",
        "six* fd00:23::*",
        "six* 10.23.0.*",
        "a program that takes the first address gets IPv6 from Docker's name server, IPv4 from /etc/hosts",
    ),
    differs(
        "*: * interfaces",
        "*eth1*",
        "eth0 *",
        "Docker numbers interfaces anew; here, a name that is free is taken again, and one that is in use stays",
    ),
];

/// What the lists tell.
const LISTS: &[Difference] = &[
    differs(
        "*: p* *: *:::*",
        "yes",
        ABSENT,
        "as said above Docker publishes at IPv6 addresses for containers that have none; and it writes them without brackets",
    ),
    differs(
        "*: p* six*: *[*]:808*",
        ABSENT,
        "yes",
        "older Docker writes IPv6 addresses without brackets",
    ),
    differs("*: p* six*: *2001:db8::1:8085*", "yes", ABSENT, "the same"),
    differs(
        "*: ps web ports: 0.0.0.0:9000-9001->7000-7001/tcp",
        ABSENT,
        "yes",
        "ports in a row are told as a range",
    ),
    differs(
        "*: ps web ports: 0.0.0.0:900*",
        "yes",
        ABSENT,
        "the same: Docker does so when each has a single address",
    ),
];

/// What `inspect` tells of containers.
const CONTAINERS: &[Difference] = &[
    differs(
        "*: inspect * .HostConfig .*",
        "*",
        ABSENT,
        "limits, security, devices and the like, which zdocker has not got",
    ),
    differs(
        "*: inspect * .HostConfig .Runtime",
        "\"runc\"",
        "\"embedded\"",
        "zdocker has one of its own",
    ),
    differs(
        "*: inspect * .HostConfig .NetworkMode",
        "\"default\"",
        "\"bridge\"",
        "older Docker tells the default network from the network bridge",
    ),
    differs(
        "*: inspect side .HostConfig .NetworkMode",
        "\"container:*",
        "\"container:*",
        "the identifier is another one in every run",
    ),
    differs(
        "*: inspect * .HostConfig .NetworkMode",
        "*",
        "\"*",
        "here, the first network that it is on now; Docker's is that of its making",
    ),
    differs(
        "*: inspect vault .HostConfig .PortBindings",
        ABSENT,
        "nothing",
        "nothing can be published on an internal network, and nothing is recorded as if it were",
    ),
    differs("*: inspect vault .Config .ExposedPorts *", "*", ABSENT, "the same"),
    differs(
        "*: inspect * .Config .ExposedPorts",
        ABSENT,
        "nothing",
        "Docker leaves it out where there is none",
    ),
    differs(
        "*: inspect * .Config .Image",
        "*",
        "*",
        "the directory that was given as --rootfs",
    ),
    differs("*: inspect * .Image", "*", "*", "the same"),
    differs(
        "*: inspect * .Config .WorkingDir",
        "\"\"",
        "\"/\"",
        "what it is when nothing is said",
    ),
    differs(
        "*: inspect * .Config .*",
        "*",
        ABSENT,
        "volumes, streams and images, which zdocker has not got",
    ),
    differs("*: inspect * .AppArmorProfile", "*", ABSENT, "zdocker has none"),
    differs("*: inspect * .MountLabel", "*", ABSENT, "zdocker has none"),
    differs("*: inspect * .ProcessLabel", "*", ABSENT, "zdocker has none"),
    differs("*: inspect * .ExecIDs", "*", ABSENT, "zdocker keeps no list of them"),
    differs(
        "*: inspect * .Driver",
        "*",
        "\"overlay\"",
        "how the root file system is made",
    ),
    differs(
        "*: inspect * .GraphDriver .*",
        "*",
        "*",
        "how the root file system is made",
    ),
    differs(
        "*: inspect * .NetworkSettings .SandboxID",
        "*",
        "*",
        "here, of who shares a container's namespace and not of who has the host's; Docker, the other way round",
    ),
    differs("*: inspect * .NetworkSettings .SandboxKey", "*", "*", "the same"),
    differs(
        "*: inspect * .NetworkSettings .Ports *",
        "*",
        ABSENT,
        "as said above Docker publishes at IPv6 addresses for containers that have none",
    ),
    differs(
        "*: inspect * .NetworkSettings .Networks *",
        ABSENT,
        "*",
        "DNSNames, GwPriority: fields of newer Docker; Aliases: null where Docker before 25 has the identifier",
    ),
    differs(
        "*: inspect * .NetworkSettings .Networks * .Aliases [*]",
        "*",
        ABSENT,
        "Docker before 25 lists the identifier and the host name as aliases",
    ),
    differs(
        "*: inspect * .NetworkSettings .Networks .inside .Gateway",
        "\"10.22.0.1\"",
        "\"\"",
        "an internal network is no way out",
    ),
    differs(
        "*: inspect * .NetworkSettings .Networks .* .EndpointID",
        "<id>",
        "\"\"",
        "nothing is plugged in with the networks host and none",
    ),
    differs(
        "*: inspect * .NetworkSettings .*",
        "*",
        ABSENT,
        "fields that Docker itself calls deprecated",
    ),
];

/// What `network inspect` tells.
const NETWORKS: &[Difference] = &[
    differs("*: network inspect * .Status *", ABSENT, "*", "a field of newer Docker"),
    differs(
        "*: network inspect * .EnableIPv4",
        ABSENT,
        "*",
        "a field of newer Docker",
    ),
    differs(
        "*: network inspect * .IPAM .Config [*] .Gateway",
        ABSENT,
        "*",
        "older Docker tells only a gateway that was given",
    ),
    differs(
        "*: network inspect * .Containers .*",
        "*",
        ABSENT,
        "nothing is plugged in with the networks host and none",
    ),
    differs("*: network inspect * .Containers", ABSENT, "nothing", "the same"),
    differs(
        "*: network inspect bridge .Options *",
        "*",
        ABSENT,
        "Docker writes down its daemon's settings as the default network's options",
    ),
    differs("*: network inspect bridge .Options", ABSENT, "nothing", "the same"),
];

/// All of them; the first that fits is the one.
pub(super) fn all() -> impl Iterator<Item = &'static Difference> {
    [REACH, LISTS, CONTAINERS, NETWORKS].into_iter().flatten()
}
