//! Steps as the commands that a person would type to do the same.

use std::fmt;
use std::net::IpAddr;

use super::{Frames, HostPort, NamespacePath, Op, Place, RULE_PREFERENCE};
use crate::firewall::{Element, PORT_PREFIX};
use crate::installation::Installation;
use crate::model::{MacvlanMode, Route};
use crate::names::{InterfaceName, MacAddress};
use crate::subnet::Family;

/// Writes the start of a command that is run at `place`.
fn at(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Namespace(path) => format!("nsenter --net={} ", Quoted(&path.0)),
    }
}

/// A word as a shell reads it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}

/// Writes the command that creates an interface on a parent, with `kind` as `ip link` has it.
fn write_child(
    f: &mut fmt::Formatter<'_>,
    (parent, namespace): (&InterfaceName, &NamespacePath),
    (link, id): (&InterfaceName, &InterfaceName),
    mac: Option<MacAddress>,
    mtu: Option<u32>,
    kind: &str,
) -> fmt::Result {
    let path = Quoted(&namespace.0);
    write!(f, "ip link add link {parent} name {id} netns {path}")?;
    if let Some(mac) = mac {
        write!(f, " address {mac}")?;
    }
    if let Some(mtu) = mtu {
        write!(f, " mtu {mtu}")?;
    }
    write!(
        f,
        " type {kind}\n\
         nsenter --net={path} ip link set {id} name {link} addrgenmode none\n\
         nsenter --net={path} ip link property add dev {link} altname {id}"
    )
}

fn verb(route: &Route) -> &'static str {
    if route.beside { "prepend" } else { "replace" }
}

fn write_route(
    f: &mut fmt::Formatter<'_>,
    place: &Place,
    verb: &str,
    link: &InterfaceName,
    route: &Route,
    table: Option<u32>,
) -> fmt::Result {
    write!(f, "{}ip route {verb} ", at(place))?;
    if route.kind.is_unicast() {
        write!(f, "{}", route.destination)?;
        if let Some(via) = route.via {
            write!(f, " via {via}")?;
        }
        if route.is_bound() {
            write!(f, " dev {link}")?;
        }
    } else {
        write!(f, "{} {}", route.kind, route.destination)?;
    }
    for (word, number) in [("metric", route.metric), ("mtu", route.mtu), ("advmss", route.advmss)] {
        if let Some(number) = number {
            write!(f, " {word} {number}")?;
        }
    }
    match table {
        Some(table) => write!(f, " table {table}"),
        None => Ok(()),
    }
}

fn write_rule(f: &mut fmt::Formatter<'_>, place: &Place, verb: &str, from: IpAddr, table: u32) -> fmt::Result {
    let family = if Family::of(from) == Family::V6 { " -6" } else { "" };
    write!(
        f,
        "{}ip{family} rule {verb} from {from} lookup {table} pref {RULE_PREFERENCE}",
        at(place)
    )
}

fn write_elements(f: &mut fmt::Formatter<'_>, whose: &Installation, verb: &str, elements: &[Element]) -> fmt::Result {
    // One command for each set, its elements together.
    let mut sets: Vec<(_, _)> = Vec::new();
    for element in elements {
        let set = (element.table(), element.set());
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    for (number, (table, set)) in sets.iter().enumerate() {
        let members = elements.iter().filter(|e| (e.table(), e.set()) == (*table, *set));
        let members: Vec<String> = members.map(ToString::to_string).collect();
        let line_break = if number == 0 { "" } else { "\n" };
        write!(
            f,
            "{line_break}nft {verb} element {table} {} {set} '{{ {} }}'",
            whose.table(),
            members.join(", ")
        )?;
    }
    Ok(())
}

/// The command that loads the ruleset of `whose`, which that of zdocker's own is made into.
fn write_load(f: &mut fmt::Formatter<'_>, whose: &Installation) -> fmt::Result {
    let table = whose.table();
    f.write_str("zdocker system firewall")?;
    if *whose != Installation::OWN {
        let prefix = whose.port_prefix();
        write!(f, " | sed 's/zdocker/{table}/; s/{PORT_PREFIX}/{prefix}/'")?;
    }
    write!(f, " | nft -f -    # tables inet {table}, bridge {table}")
}

impl Op {
    /// The step as an installation does it: its tables have their own names.
    pub fn shown<'a>(&'a self, whose: &'a Installation) -> Shown<'a> {
        Shown { op: self, whose }
    }
}

impl fmt::Display for Op {
    /// As zdocker's own installation does it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown(&Installation::OWN).fmt(f)
    }
}

/// A step that an installation does, as a command.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    op: &'a Op,
    whose: &'a Installation,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, own) = (self.whose, self.whose.table());
        match self.op {
            Op::LoadFirewall => write_load(f, whose),
            Op::UnloadFirewall => write!(f, "nft delete table inet {own}; nft delete table bridge {own}"),
            Op::RestoreFirewall(elements) => {
                for family in ["inet", "bridge"] {
                    writeln!(f, "nft 'add table {family} {own}; delete table {family} {own}'")?;
                }
                write_load(f, whose)?;
                writeln!(f)?;
                write_elements(f, whose, "add", elements)
            }
            Op::SetSysctl { place, key, value } => {
                write!(f, "{}sysctl -w {}", at(place), Quoted(&format!("{key}={value}")))
            }
            Op::CreateBridge { name, mac, mtu } => write!(
                f,
                "ip link add {name} address {mac} mtu {mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 ip link set {name} addrgenmode none\n\
                 sysctl -w net/ipv6/conf/{name}/accept_ra=0 net/ipv4/conf/{name}/route_localnet=1"
            ),
            Op::FilterVlans { bridge } => write!(f, "ip link set {bridge} type bridge vlan_filtering 1"),
            Op::JoinVlan { link, vlan } => write!(
                f,
                "bridge vlan delete dev {link} vid 1-4094\nbridge vlan add dev {link} vid {vlan} pvid untagged"
            ),
            Op::JoinTrunk { link, trunk } => {
                if !trunk.native {
                    writeln!(f, "bridge vlan delete dev {link} vid 1-4094")?;
                }
                let added = trunk.vlans.iter().map(|(first, last)| match first == last {
                    true => format!("bridge vlan add dev {link} vid {first}"),
                    false => format!("bridge vlan add dev {link} vid {first}-{last}"),
                });
                f.write_str(&added.collect::<Vec<_>>().join("\n"))
            }
            Op::AnswerVlan { bridge, vlan } => {
                write!(f, "bridge vlan add dev {bridge} vid {vlan} pvid untagged self")
            }
            Op::JoinVrf { link, vrf } => write!(f, "ip link set {link} master {vrf}"),
            Op::IgnoreRouters { namespace, link } => write!(
                f,
                "nsenter --net={} sysctl -w net/ipv6/conf/{link}/accept_ra=0",
                Quoted(&namespace.0)
            ),
            Op::CreateNamespace { path } => {
                let path = Quoted(&path.0);
                write!(
                    f,
                    "touch {path} && unshare --net={path} sysctl -w net/ipv6/conf/default/accept_ra=0\n\
                     nsenter --net={path} ip link set lo up"
                )
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
                let path = Quoted(&namespace.0);
                let master = bridge
                    .as_ref()
                    .map_or_else(String::new, |bridge| format!(" master {bridge}"));
                write!(
                    f,
                    "ip link add {host} address {} mtu {mtu} numtxqueues 1 numrxqueues 1{master} up type veth \
                     peer name {peer} address {mac} mtu {mtu} numtxqueues 1 numrxqueues 1 netns {path}\n\
                     ip link set {host} addrgenmode none\n\
                     nsenter --net={path} ip link set {peer} addrgenmode none",
                    mac.of_host_end()
                )?;
                if bridge.is_none() {
                    write!(f, "\nsysctl -w net/ipv4/conf/{host}/route_localnet=1")?;
                } else if *hairpin || *isolated {
                    write!(f, "\nbridge link set dev {host}")?;
                }
                if *hairpin {
                    f.write_str(" hairpin on")?;
                }
                if *isolated {
                    f.write_str(" isolated on")?;
                }
                Ok(())
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
            } => {
                let limit = broadcast_limit.map_or_else(String::new, |limit| format!(" bclim {limit}"));
                let kind = format!("macvlan mode {mode}{limit}");
                // In mode passthru the kernel gives it the parent's.
                let mac = (*mode != MacvlanMode::Passthru).then_some(*mac);
                write_child(f, (parent, namespace), (link, id), mac, *mtu, &kind)
            }
            Op::CreateIpvlan {
                parent,
                namespace,
                link,
                id,
                mtu,
                mode,
                flag,
            } => {
                let kind = format!("ipvlan mode {mode} {flag}");
                write_child(f, (parent, namespace), (link, id), None, *mtu, &kind)
            }
            Op::CreateVlan { name, on, id } => write!(f, "ip link add link {on} name {name} type vlan id {id}"),
            Op::CreateDummy { name } => write!(f, "ip link add {name} type dummy"),
            Op::JoinBridge {
                link,
                bridge,
                hairpin,
                isolated,
            } => {
                let word = |on: &bool| if *on { "on" } else { "off" };
                write!(
                    f,
                    "ip link set {link} master {bridge}\nbridge link set dev {link} hairpin {} isolated {}",
                    word(hairpin),
                    word(isolated)
                )
            }
            Op::CreateIfb { name, mtu } => write!(
                f,
                "ip link add {name} mtu {mtu} type ifb\nip link set {name} addrgenmode none\nip link set {name} up"
            ),
            Op::LimitRate { link, bucket } => write!(
                f,
                "tc qdisc add dev {link} root tbf rate {}bit burst {} limit {}",
                8 * u128::from(bucket.rate),
                bucket.burst,
                bucket.limit
            ),
            Op::Redirect { from, to } => write!(
                f,
                "tc qdisc add dev {from} ingress\n\
                 tc filter add dev {from} ingress protocol all prio 1 u32 match u32 0 0 \
                 action mirred egress redirect dev {to}"
            ),
            Op::AddAddress {
                place,
                link,
                address,
                prefix,
            } => {
                let more = match Family::of(*address) {
                    Family::V4 if *prefix < 31 => " brd +",
                    Family::V4 => "",
                    Family::V6 => " nodad",
                };
                write!(f, "{}ip address add {address}/{prefix} dev {link}{more}", at(place))
            }
            Op::DeleteAddress {
                place,
                link,
                address,
                prefix,
            } => write!(f, "{}ip address delete {address}/{prefix} dev {link}", at(place)),
            Op::SetUp { place, link } => write!(f, "{}ip link set {link} up", at(place)),
            Op::Unlimit { link } => write!(f, "tc qdisc delete dev {link} root"),
            Op::EndRedirect { from } => write!(f, "tc qdisc delete dev {from} ingress"),
            Op::SetDown { place, link } => write!(f, "{}ip link set {link} down", at(place)),
            Op::SetReception {
                place,
                link,
                frames,
                on,
            } => {
                let (frames, word) = (
                    match frames {
                        Frames::All => "promisc",
                        Frames::Multicast => "allmulticast",
                    },
                    if *on { "on" } else { "off" },
                );
                write!(f, "{}ip link set dev {link} {frames} {word}", at(place))
            }
            Op::SetQueueLength { place, link, packets } => {
                write!(f, "{}ip link set dev {link} txqueuelen {packets}", at(place))
            }
            Op::SetMtu { place, link, mtu } => write!(f, "{}ip link set dev {link} mtu {mtu}", at(place)),
            Op::SetMac { place, link, mac } => write!(f, "{}ip link set dev {link} address {mac}", at(place)),
            Op::AddRoute {
                place,
                link,
                route,
                table,
            } => write_route(f, place, verb(route), link, route, *table),
            Op::DeleteRoute {
                place,
                link,
                route,
                table,
            } => write_route(f, place, "delete", link, route, *table),
            Op::AddRule { place, from, table } => write_rule(f, place, "add", *from, *table),
            Op::DeleteRule { place, from, table } => write_rule(f, place, "delete", *from, *table),
            Op::AddElements(elements) => write_elements(f, whose, "add", elements),
            Op::DeleteElements(elements) => write_elements(f, whose, "delete", elements),
            Op::ForgetUdpFlows { ports } => {
                for (number, HostPort { address, port }) in ports.iter().enumerate() {
                    let line_break = if number == 0 { "" } else { "\n" };
                    write!(f, "{line_break}conntrack -D -p udp --orig-port-dst {port}")?;
                    match address {
                        Some(address) => write!(f, " --orig-dst {address}")?,
                        None => write!(f, "    # where --orig-dst is this host's")?,
                    }
                }
                Ok(())
            }
            Op::DeleteLink { name } => write!(f, "ip link delete {name}"),
            Op::DeleteInside { namespace, link } => {
                write!(f, "nsenter --net={} ip link delete {link}", Quoted(&namespace.0))
            }
            Op::DeleteNamespace { path } => write!(f, "umount {0} && rm {0}", Quoted(&path.0)),
        }
    }
}
