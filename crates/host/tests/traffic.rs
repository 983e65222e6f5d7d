//! Real packets: published ports from outside and inside, neighbours, isolation, and flows that were there before.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::*;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage};
use zdocker_host::Kernel;
use zdocker_host::netns::Namespace;
use zdocker_net::firewall::{Element, endpoint_elements};
use zdocker_net::model::{Endpoint, Isolation, Network};
use zdocker_net::op::{HostPort, Op};

/// How long an answer may take that must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one waits for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(200);

fn nothing(_: &Op, _: Duration) {}

/// A host with an outside world behind `up0`: `192.0.2.1` and `2001:db8::1` here, `.2` and `::2` there.
struct World {
    kernel: Kernel,
    directory: tempfile::TempDir,
    outside: Namespace,
}

impl World {
    fn new() -> Self {
        let mut kernel = Kernel::new();
        kernel.apply(&prepare_host(), &mut nothing).unwrap();
        let directory = common::directory();
        let path = directory.path().join("outside");
        Namespace::create(&path, || Ok(())).unwrap();
        let outside = path.display();
        sh(&format!(
            "ip link add up0 type veth peer name up0 netns {outside}
             ip addr add 192.0.2.1/24 dev up0; ip addr add 2001:db8::1/64 dev up0 nodad; ip link set up0 up
             nsenter --net={outside} sh -e -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev up0
                 ip addr add 2001:db8::2/64 dev up0 nodad; ip link set up0 up
                 ip route add 10.0.0.0/8 via 192.0.2.1; ip route add fd00::/16 via 2001:db8::1'"
        ));
        let outside = Namespace::open(&path).unwrap();
        World {
            kernel,
            directory,
            outside,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Plugs an endpoint in that answers TCP at port 80 and UDP at port 53 by its own address.
    fn attach(&mut self, network: &Network, endpoint: &Endpoint) -> Namespace {
        self.kernel
            .apply(&attach(self.directory.path(), network, endpoint), &mut nothing)
            .unwrap();
        let namespace = self.inside(network, endpoint);
        for address in &endpoint.addresses {
            serve(&namespace, address.address.to_string());
        }
        namespace
    }

    fn inside(&self, _: &Network, endpoint: &Endpoint) -> Namespace {
        Namespace::open(Path::new(&namespace_path(self.path(), endpoint).0)).unwrap()
    }
}

/// Answers every connection to port 80 and every packet to port 53 by the address served, and the peer's.
fn serve(namespace: &Namespace, address: String) {
    let ip = ip(&address);
    let (tcp, udp) = namespace
        .run(|| (TcpListener::bind((ip, 80)).unwrap(), UdpSocket::bind((ip, 53)).unwrap()))
        .unwrap();
    let name = address.clone();
    thread::spawn(move || {
        for connection in tcp.incoming() {
            let mut connection = connection.unwrap();
            let peer = connection.peer_addr().unwrap().ip();
            let _ = connection.write_all(format!("{name} {peer}").as_bytes());
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{address} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

fn tcp(to: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to.parse().unwrap(), patience).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Some(text)
}

fn udp_socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.connect(to).unwrap();
    socket
}

fn udp_exchange(socket: &UdpSocket, patience: Duration) -> Option<String> {
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 64];
    socket.send(b"?").ok()?;
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn udp(to: &str, patience: Duration) -> Option<String> {
    udp_exchange(&udp_socket(to.parse().unwrap()), patience)
}

/// Both protocols at a host address; gives who answered and whom it saw.
fn check(namespace: Option<&Namespace>, host: &str, expected: Option<(&str, &str)>) {
    let patience = if expected.is_some() { PATIENCE } else { SILENCE };
    let both = || {
        (
            tcp(&format!("{host}:8080"), patience),
            udp(&format!("{host}:5300"), patience),
        )
    };
    let seen = match namespace {
        Some(namespace) => namespace.run(both).unwrap(),
        None => both(),
    };
    let expected = expected.map(|(server, client)| format!("{server} {client}"));
    assert_eq!(seen, (expected.clone(), expected), "at {host}");
}

const PORTS: [&str; 2] = ["8080:80", "5300:53/udp"];

#[test]
fn published_ports_and_neighbours() {
    on_a_host(|| {
        let mut world = World::new();
        let (seven, eight) = (network(7), network(8));
        for network in [&seven, &eight] {
            world.kernel.apply(&create(network), &mut nothing).unwrap();
        }
        let web = world.attach(&seven, &endpoint(&seven, 2, &PORTS));
        let neighbour = world.attach(&seven, &endpoint(&seven, 3, &[]));
        let other = world.attach(&eight, &endpoint(&eight, 2, &[]));

        // From outside: the client's own address is seen.
        check(Some(&world.outside), "192.0.2.1", Some(("10.7.0.2", "192.0.2.2")));
        check(
            Some(&world.outside),
            "[2001:db8::1]",
            Some(("fd00:7::2", "2001:db8::2")),
        );
        // From this host, at each of its addresses.
        check(None, "127.0.0.1", Some(("10.7.0.2", "10.7.0.1")));
        check(None, "192.0.2.1", Some(("10.7.0.2", "192.0.2.1")));
        check(None, "10.8.0.1", Some(("10.7.0.2", "10.7.0.1")));
        check(None, "[2001:db8::1]", Some(("fd00:7::2", "2001:db8::1")));
        // From the container itself and its neighbour (hairpin), and from another network.
        check(Some(&web), "10.7.0.1", Some(("10.7.0.2", "10.7.0.1")));
        check(Some(&web), "192.0.2.1", Some(("10.7.0.2", "10.7.0.1")));
        check(Some(&web), "[fd00:7::1]", Some(("fd00:7::2", "fd00:7::1")));
        check(Some(&neighbour), "192.0.2.1", Some(("10.7.0.2", "10.7.0.1")));
        check(Some(&neighbour), "[2001:db8::1]", Some(("fd00:7::2", "fd00:7::1")));
        check(Some(&other), "192.0.2.1", Some(("10.7.0.2", "10.7.0.1")));
        check(Some(&other), "[2001:db8::1]", Some(("fd00:7::2", "fd00:7::1")));

        // Neighbours reach each other directly, other networks and the outside do not.
        let direct = |from: &Namespace, to: &str, patience| from.run(|| tcp(to, patience)).unwrap();
        for (to, answer) in [
            ("10.7.0.2:80", "10.7.0.2 10.7.0.3"),
            ("[fd00:7::2]:80", "fd00:7::2 fd00:7::3"),
        ] {
            assert_eq!(direct(&neighbour, to, PATIENCE).as_deref(), Some(answer));
            assert_eq!(direct(&other, to, SILENCE), None);
            assert_eq!(direct(&world.outside, to, SILENCE), None);
        }
        // The way out is masqueraded.
        serve(&world.outside, "192.0.2.2".to_owned());
        serve(&world.outside, "2001:db8::2".to_owned());
        assert_eq!(
            direct(&web, "192.0.2.2:80", PATIENCE).as_deref(),
            Some("192.0.2.2 192.0.2.1")
        );
        assert_eq!(
            direct(&web, "[2001:db8::2]:80", PATIENCE).as_deref(),
            Some("2001:db8::2 2001:db8::1")
        );
    });
}

/// Networks that tolerate others and those that are open reach each other; two that tolerate others do not, and nobody reaches
/// one that is neither.
#[test]
fn open_tolerant_and_other_networks() {
    on_a_host(|| {
        let mut world = World::new();
        let kinds = [
            (4, Isolation::None),
            (5, Isolation::None),
            (6, Isolation::Tolerant),
            (7, Isolation::Tolerant),
            (8, Isolation::Normal),
            (9, Isolation::Strict),
        ];
        let containers = kinds.map(|(number, isolation)| {
            let mut network = network(number);
            network.settings.isolation = isolation;
            world.kernel.apply(&create(&network), &mut nothing).unwrap();
            (number, isolation, world.attach(&network, &endpoint(&network, 2, &[])))
        });
        for (own, from, container) in &containers {
            for (number, to, _) in containers.iter().filter(|(number, ..)| number != own) {
                let open = matches!(
                    (from, to),
                    (Isolation::None, Isolation::None | Isolation::Tolerant) | (Isolation::Tolerant, Isolation::None)
                );
                for (to, own) in [
                    (format!("10.{number}.0.2"), format!("10.{own}.0.2")),
                    (format!("fd00:{number}::2"), format!("fd00:{own}::2")),
                ] {
                    // Each is seen by its own address.
                    let expected = open.then(|| format!("{to} {own}"));
                    let patience = if open { PATIENCE } else { SILENCE };
                    let target = SocketAddr::new(ip(&to), 80).to_string();
                    let answer = container.run(|| tcp(&target, patience)).unwrap();
                    assert_eq!(answer, expected, "{own} {from:?} to {to}");
                }
            }
        }
    });
}

#[test]
fn ports_at_one_address_and_internal_networks() {
    on_a_host(|| {
        let mut world = World::new();
        let (seven, mut eight) = (network(7), network(8));
        eight.internal = true;
        for network in [&seven, &eight] {
            world.kernel.apply(&create(network), &mut nothing).unwrap();
        }
        let ports = [
            "127.0.0.1:8080:80",
            "127.0.0.1:5300:53/udp",
            "[2001:db8::1]:8080:80",
            "[2001:db8::1]:5300:53/udp",
        ];
        world.attach(&seven, &endpoint(&seven, 2, &ports));
        check(None, "127.0.0.1", Some(("10.7.0.2", "10.7.0.1")));
        check(Some(&world.outside), "192.0.2.1", None);
        check(
            Some(&world.outside),
            "[2001:db8::1]",
            Some(("fd00:7::2", "2001:db8::2")),
        );
        check(None, "[fd00:7::1]", None);
        // Nobody outside reaches the host's 127.0.0.1, although bridges route it.
        sh(&format!(
            "nsenter --net={} sh -c 'ip route add table 7 127.0.0.0/8 via 192.0.2.1; ip rule add pref 0 lookup 7
             ip rule add pref 1 lookup local; ip rule del pref 0 lookup local
             echo 1 > /proc/sys/net/ipv4/conf/up0/route_localnet'; echo 1 > /proc/sys/net/ipv4/conf/up0/route_localnet",
            world.path().join("outside").display()
        ));
        let from_outside = || tcp("127.0.0.1:8080", SILENCE);
        assert_eq!(world.outside.run(from_outside).unwrap(), None);

        let inner = world.attach(&eight, &endpoint(&eight, 2, &[]));
        let neighbour = world.attach(&eight, &endpoint(&eight, 3, &[]));
        serve(&world.outside, "192.0.2.2".to_owned());
        assert_eq!(inner.run(|| tcp("192.0.2.2:80", SILENCE)).unwrap(), None);
        assert_eq!(
            inner.run(|| tcp("10.8.0.3:80", PATIENCE)).unwrap().as_deref(),
            Some("10.8.0.3 10.8.0.2")
        );
        drop(neighbour);
    });
}

/// A socket for bare TCP segments.
fn raw_tcp() -> OwnedFd {
    let tcp = SockProtocol::Tcp;
    socket::socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, tcp).unwrap()
}

/// Sends from `from` to `address` a segment that is no part of any flow: its checksum is wrong. Says whether it came.
fn stray_segment_comes(from: &Namespace, to: &Namespace, address: &str) -> bool {
    const LENGTH: u8 = 20 / 4;
    let (sender, receiver) = (from.run(raw_tcp).unwrap(), to.run(raw_tcp).unwrap());
    let mut segment = [0; 20];
    segment[12] = LENGTH << 4;
    let to: SocketAddr = format!("{address}:0").parse().unwrap();
    socket::sendto(
        sender.as_raw_fd(),
        &segment,
        &SockaddrStorage::from(to),
        MsgFlags::empty(),
    )
    .unwrap();
    let mut waiting = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, SILENCE.as_millis() as u16).unwrap() == 1
}

#[test]
fn strays_are_dropped_at_our_bridges_alone() {
    on_a_host(|| {
        let mut world = World::new();
        let path = world.path().join("far");
        let far = path.display();
        Namespace::create(&path, || Ok(())).unwrap();
        sh(&format!(
            "ip link add up1 type veth peer name up1 netns {far}
             ip addr add 198.51.100.1/24 dev up1; ip link set up1 up
             nsenter --net={far} sh -e -c 'ip addr add 198.51.100.2/24 dev up1; ip link set up1 up'
             nsenter --net={} ip route add 198.51.100.0/24 via 192.0.2.1",
            world.path().join("outside").display()
        ));
        let far = Namespace::open(&path).unwrap();
        let network = network(7);
        world.kernel.apply(&create(&network), &mut nothing).unwrap();
        let inside = world.attach(&network, &endpoint(&network, 2, &[]));
        assert!(stray_segment_comes(&world.outside, &far, "198.51.100.2"));
        assert!(!stray_segment_comes(&inside, &far, "198.51.100.2"));
    });
}

/// A port at every address of the host.
fn anywhere(port: u16) -> HostPort {
    HostPort { address: None, port }
}

#[test]
fn flows_elsewhere_are_not_forgotten() {
    on_a_host(|| {
        let mut world = World::new();
        let open = |namespace: Option<&Namespace>, to: &str| {
            let exchange = || {
                let socket = udp_socket(to.parse().unwrap());
                let _ = udp_exchange(&socket, SILENCE);
                socket
            };
            namespace.map_or_else(exchange, |namespace| namespace.run(exchange).unwrap())
        };
        let _servers = ["192.0.2.1:53", "127.0.0.1:53", "[::1]:53"].map(|at| UdpSocket::bind(at).unwrap());
        let _clients = [
            open(None, "192.0.2.2:53"),
            open(None, "[2001:db8::2]:53"),
            open(None, "127.0.0.1:53"),
            open(Some(&world.outside), "192.0.2.1:53"),
        ];
        let tracked = || {
            let flow = |line: &str| line.split("dst=").nth(1)?.split(' ').next().map(str::to_owned);
            let flows = sh("grep -h 'dport=53 ' /proc/thread-self/net/nf_conntrack || true");
            let mut flows: Vec<String> = flows.lines().filter_map(flow).collect();
            flows.sort();
            flows
        };
        let far6 = "2001:0db8:0000:0000:0000:0000:0000:0002";
        assert_eq!(tracked(), ["127.0.0.1", "192.0.2.1", "192.0.2.2", far6]);
        let mut forget = |address: Option<&str>| {
            let address = address.map(ip);
            let ports = vec![HostPort { address, port: 53 }];
            world
                .kernel
                .apply(&[Op::ForgetUdpFlows { ports }], &mut nothing)
                .unwrap();
        };
        forget(Some("127.0.0.1"));
        assert_eq!(tracked(), ["192.0.2.1", "192.0.2.2", far6]);
        forget(None);
        assert_eq!(tracked(), ["192.0.2.2", far6]);
    });
}

#[test]
fn a_udp_flow_follows_its_port() {
    on_a_host(|| {
        let mut world = World::new();
        let network = network(7);
        world.kernel.apply(&create(&network), &mut nothing).unwrap();
        let (first, second) = (endpoint(&network, 2, &PORTS), endpoint(&network, 3, &PORTS));
        let unpublished = |endpoint: &Endpoint| Endpoint {
            ports: Vec::new(),
            ..endpoint.clone()
        };
        world.attach(&network, &unpublished(&first));
        let inside = world.attach(&network, &unpublished(&second));
        let published = |endpoint: &Endpoint| {
            let all = endpoint_elements(&network, endpoint);
            all.into_iter()
                .filter(|element| matches!(element, Element::PublishAny { .. }))
                .collect::<Vec<_>>()
        };
        // Of the outside, of this host at an address of its own and at 127.0.0.1, and of a container.
        let clients = [
            (Some(&world.outside), "192.0.2.1:5300"),
            (Some(&world.outside), "[2001:db8::1]:5300"),
            (None, "192.0.2.1:5300"),
            (None, "127.0.0.1:5300"),
            (Some(&inside), "192.0.2.1:5300"),
        ];
        let clients = clients.map(|(namespace, to)| {
            let open = || udp_socket(to.parse().unwrap());
            namespace.map_or_else(open, |namespace| namespace.run(open).unwrap())
        });
        // A container's own flow to the same port elsewhere.
        let elsewhere = UdpSocket::bind("192.0.2.1:0").unwrap();
        drop(elsewhere);
        let far = world
            .outside
            .run(|| UdpSocket::bind("192.0.2.2:5300").unwrap())
            .unwrap();
        let near = inside.run(|| udp_socket("192.0.2.2:5300".parse().unwrap())).unwrap();
        near.send(b"?").unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let (_, masqueraded) = far.recv_from(&mut [0; 8]).unwrap();

        let forget = Op::ForgetUdpFlows {
            ports: vec![anywhere(5300)],
        };
        for client in &clients {
            assert_eq!(udp_exchange(client, SILENCE), None);
        }
        for endpoint in [&first, &second, &first] {
            let publish = [Op::AddElements(published(endpoint)), forget.clone()];
            let undo = world.kernel.apply(&publish, &mut nothing).unwrap();
            for client in &clients {
                // A refusal (ICMP) of the time without a port may still wait.
                let answer = udp_exchange(client, PATIENCE)
                    .or_else(|| udp_exchange(client, PATIENCE))
                    .unwrap();
                let server = answer.split(' ').next().unwrap();
                assert!(endpoint.addresses.iter().any(|a| a.address == ip(server)), "{answer}");
            }
            assert!(
                world
                    .kernel
                    .remove(&[undo, vec![forget.clone()]].concat(), &mut nothing)
                    .is_empty()
            );
        }
        for client in &clients {
            assert_eq!(udp_exchange(client, SILENCE), None);
        }
        // It was not forgotten: its answer still finds the container.
        far.send_to(b"!", masqueraded).unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        near.recv(&mut [0; 8]).unwrap();

        // The same for more ports than are searched for one by one.
        let many: Vec<HostPort> = (5300..5400).map(anywhere).collect();
        let publish = [
            Op::AddElements(published(&first)),
            Op::ForgetUdpFlows { ports: many.clone() },
        ];
        let undo = world.kernel.apply(&publish, &mut nothing).unwrap();
        let answer = udp_exchange(&clients[0], PATIENCE)
            .or_else(|| udp_exchange(&clients[0], PATIENCE))
            .unwrap();
        assert!(answer.starts_with("10.7.0.2 "), "{answer}");
        assert!(world.kernel.remove(&undo, &mut nothing).is_empty());
        assert!(
            world
                .kernel
                .remove(&[Op::ForgetUdpFlows { ports: many }], &mut nothing)
                .is_empty()
        );
        assert_eq!(udp_exchange(&clients[0], SILENCE), None);
        far.send_to(b"!", masqueraded).unwrap();
        near.recv(&mut [0; 8]).unwrap();
    });
}
