//! Two installations on one host: each has its own tables and ports, and what is done to one leaves the other as it is.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::*;
use serde_json::Value;
use zdocker_host::Kernel;
use zdocker_host::netns::Namespace;
use zdocker_net::firewall::{RULESET, endpoint_elements, network_elements};
use zdocker_net::installation::Installation;
use zdocker_net::mend::SeenTables;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::op::Op;

/// How long an answer may take that must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one waits for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(200);

fn nothing(_: &Op, _: Duration) {}

fn other() -> Installation {
    Installation::serving("podman", "/run/containers/networks")
}

/// An installation with a network and an endpoint that publishes a port.
struct Side {
    kernel: Kernel,
    whose: Installation,
    network: Network,
    endpoint: Endpoint,
    /// Address and published port.
    at: SocketAddr,
}

impl Side {
    fn new(whose: Installation, number: u8, directory: &Path) -> Self {
        let port = 8000 + u16::from(number);
        let network = network(number);
        let endpoint = of(&whose, endpoint(&network, 2, &[&format!("{port}:80")]));
        let mut side = Side {
            kernel: Kernel::of(whose.clone()),
            whose,
            network,
            endpoint,
            at: SocketAddr::new(ip("192.0.2.1"), port),
        };
        let (network, endpoint) = (&side.network, &side.endpoint);
        let plan = [prepare_host(), create(network), attach(directory, network, endpoint)].concat();
        side.kernel.apply(&plan, &mut nothing).unwrap();
        serve(&inside(directory, &side.endpoint));
        side
    }

    /// What its tables have, as `nft` sees them.
    fn tables(&self) -> Vec<Value> {
        let mut objects = ruleset();
        objects.retain(|object| object.to_string().contains(&format!("\"{}\"", self.whose.table())));
        objects.sort_by_key(ToString::to_string);
        objects
    }

    fn restore(&mut self) {
        let mut elements = network_elements(&self.network);
        elements.extend(endpoint_elements(&self.network, &self.endpoint));
        self.kernel
            .apply(&[Op::RestoreFirewall(elements)], &mut nothing)
            .unwrap();
    }

    fn is_whole(&mut self) -> bool {
        let whole = matches!(self.kernel.observe_tables().unwrap(), SeenTables::Whole(_));
        assert_eq!(self.kernel.has_whole_firewall().unwrap(), whole);
        whole
    }
}

/// The endpoint with a port that is named as `whose` names them.
fn of(whose: &Installation, mut endpoint: Endpoint) -> Endpoint {
    let rest = endpoint.host_interface.as_str().strip_prefix("zdv").unwrap();
    endpoint.host_interface = name(&format!("{}{rest}", whose.port_prefix()));
    endpoint
}

fn inside(directory: &Path, endpoint: &Endpoint) -> Namespace {
    Namespace::open(Path::new(&namespace_path(directory, endpoint).0)).unwrap()
}

/// Answers every connection to port 80 by the caller's address.
fn serve(namespace: &Namespace) {
    let listener = namespace.run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let peer = connection.peer_addr().unwrap().ip();
            let _ = connection.write_all(peer.to_string().as_bytes());
        }
    });
}

/// By which address the server at `to` sees who calls it from `namespace`; `None` if nothing answers.
fn caller(namespace: &Namespace, to: SocketAddr, patience: Duration) -> Option<String> {
    let call = || {
        let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        Some(text)
    };
    namespace.run(call).unwrap()
}

/// An outside world at `192.0.2.2`, on a wire with the host's `192.0.2.1`.
fn outside(directory: &Path) -> Namespace {
    let path = directory.join("outside");
    let outside = Namespace::create(&path, || Ok(())).unwrap().0;
    sh(&format!(
        "ip link add up0 type veth peer name up0 netns {path}
         ip addr add 192.0.2.1/24 dev up0; ip link set up0 up
         nsenter --net={path} sh -e -c 'ip addr add 192.0.2.2/24 dev up0; ip link set up0 up'",
        path = path.display(),
    ));
    outside
}

#[test]
fn the_command_that_is_shown_loads_what_we_load() {
    let by_command = on_a_host(|| {
        std::fs::write("/mnt/rules", RULESET).unwrap();
        let command = Op::LoadFirewall.shown(&other()).to_string();
        sh(&command.replace("zdocker system firewall", "cat /mnt/rules"));
        ruleset()
    });
    let by_bytes = on_a_host(|| {
        Kernel::of(other()).apply(&[Op::LoadFirewall], &mut nothing).unwrap();
        ruleset()
    });
    assert_eq!(by_command, by_bytes);
    assert!(by_bytes.len() > 40);
    let text = by_bytes.iter().map(Value::to_string).collect::<String>();
    assert!(text.contains(other().table()) && text.contains(other().port_prefix()) && !text.contains("\"zdocker\""));
}

#[test]
fn what_is_done_to_one_leaves_the_other() {
    on_a_host(|| {
        let directory = common::directory();
        let path = directory.path();
        let outside = outside(path);
        let mut sides = [Side::new(Installation::OWN, 7, path), Side::new(other(), 8, path)];
        let reached = |side: &Side, patience| caller(&outside, side.at, patience).as_deref() == Some("192.0.2.2");
        for number in [0, 1] {
            let (left, right) = sides.split_at_mut(1);
            let (one, another) = if number == 0 {
                (&mut left[0], &mut right[0])
            } else {
                (&mut right[0], &mut left[0])
            };
            let (before, own, table) = (another.tables(), one.tables(), one.whose.table().to_owned());
            assert!(!before.is_empty() && before.len() == own.len());
            assert!(reached(one, PATIENCE) && reached(another, PATIENCE));

            let mut unharmed = |what: &str| {
                assert_eq!(another.tables(), before, "{what}");
                assert!(another.is_whole(), "{what}");
                assert!(reached(another, PATIENCE), "{what}");
            };
            let damages = [
                "flush chain inet TABLE publish",
                "add rule inet TABLE forward accept",
                "delete table bridge TABLE",
                "delete table inet TABLE",
            ];
            for damage in damages {
                sh(&format!("nft {}", damage.replace("TABLE", &table)));
                assert!(
                    !matches!(one.kernel.observe_tables().unwrap(), SeenTables::Whole(_)),
                    "{damage}"
                );
                unharmed(damage);
                one.restore();
                assert_eq!(one.tables(), own, "{damage}");
                assert!(one.is_whole() && reached(one, PATIENCE), "{damage}");
                unharmed("restored");
            }
            one.kernel.apply(&[Op::UnloadFirewall], &mut nothing).unwrap();
            assert!(one.tables().is_empty() && !reached(one, SILENCE));
            unharmed("unloaded");
            one.restore();
        }
        for side in &mut sides {
            let (network, endpoint) = (&side.network, &side.endpoint);
            let mut plan = detach_and_wait(path, network, endpoint);
            plan.extend(delete(network));
            plan.push(Op::UnloadFirewall);
            let failures = side.kernel.remove(&plan, &mut nothing);
            assert!(failures.is_empty(), "{failures:?}");
        }
        assert!(ruleset().is_empty());
        assert_eq!(sh("ls /sys/class/net | grep -E '^(z|br)' || true"), "");
    });
}

/// Endpoints of two installations on one bridge reach each other, and each is held to its own addresses by its own guard.
#[test]
fn guards_look_at_their_own_ports() {
    on_a_host(|| {
        let directory = common::directory();
        let path = directory.path();
        let own = Side::new(Installation::OWN, 7, path);
        let guest = of(&other(), endpoint(&own.network, 3, &[]));
        let mut kernel = Kernel::of(other());
        let plan = [prepare_host(), attach(path, &own.network, &guest)].concat();
        kernel.apply(&plan, &mut nothing).unwrap();
        let (host, guest_side) = (inside(path, &own.endpoint), inside(path, &guest));
        serve(&guest_side);
        let call = |from: &Namespace, to: &str| caller(from, SocketAddr::new(ip(to), 80), PATIENCE);
        assert_eq!(call(&guest_side, "10.7.0.2").as_deref(), Some("10.7.0.3"));
        assert_eq!(call(&host, "10.7.0.3").as_deref(), Some("10.7.0.2"));

        for (namespace, endpoint) in [(&host, &own.endpoint), (&guest_side, &guest)] {
            let (own, stolen) = (endpoint.addresses[0].address, ip("10.7.0.99"));
            sh(&format!(
                "nsenter --net={} ip addr add {stolen}/24 dev eth0",
                namespace_path(path, endpoint).0
            ));
            let host = UdpSocket::bind("10.7.0.1:0").unwrap();
            host.set_read_timeout(Some(PATIENCE)).unwrap();
            let send = |from| {
                let socket = namespace.run(|| UdpSocket::bind((from, 9)).unwrap()).unwrap();
                socket.send_to(b"?", host.local_addr().unwrap()).unwrap();
            };
            // Of two packets in a row, the first does not arrive.
            send(stolen);
            send(own);
            assert_eq!(host.recv_from(&mut [0]).unwrap().1, SocketAddr::new(own, 9));
        }
    });
}
