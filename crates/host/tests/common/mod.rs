//! What the tests share: a throw-away host, a network with one endpoint, and looking at what the kernel has.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use zdocker_net::firewall::{endpoint_elements, network_elements};
use zdocker_net::model::{
    BridgeDevice, Driver, Endpoint, EndpointSettings, InterfaceAddress, Network, Pool, Route, Settings,
};
use zdocker_net::names::{Id, InterfaceName, MacAddress};
use zdocker_net::op::{HostPort, NamespacePath, Op, Place};
use zdocker_net::ports::PublishedPort;
use zdocker_net::shaping;
use zdocker_net::subnet::{Family, Subnet};

/// Where a test's own files are; nobody else sees them, and they end with it.
const OWN_FILES: &str = "/mnt";

/// An empty directory of the test's own.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(OWN_FILES).unwrap()
}

/// Runs a test on a thread with network and mounts of its own, where `lo` is up. Programs it starts are there too.
pub(crate) fn on_a_host<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let on_thread = || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        // What is pinned in a directory of the machine's would keep it from being removed.
        mount(Some("tmpfs"), OWN_FILES, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        sh("ip link set lo up");
        test()
    };
    thread::scope(|scope| match scope.spawn(on_thread).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs a shell script that must succeed, and gives what it wrote.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-e", "-c", script]).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}: {}\n{out}{err}", output.status);
    out.into_owned()
}

pub(crate) fn json(script: &str) -> Value {
    let text = sh(script);
    if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    }
}

/// `nft -j list ruleset` without handles and versions.
pub(crate) fn ruleset() -> Vec<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("handle");
                object.values_mut().for_each(strip);
            }
            Value::Array(array) => array.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut all = json("nft -j list ruleset");
    strip(&mut all);
    let Value::Array(mut objects) = all["nftables"].take() else {
        panic!("no rules: {all}")
    };
    objects.retain(|object| object.get("metainfo").is_none());
    // Elements come in the order of the kernel's hash tables, which is another each time.
    for object in &mut objects {
        for kind in ["set", "map"] {
            if let Some(Value::Array(list)) = object.get_mut(kind).and_then(|set| set.get_mut("elem")) {
                list.sort_by_key(Value::to_string);
            }
        }
        sort_vmaps(object);
    }
    objects
}

fn sort_vmaps(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(list)) = object.get_mut("set") {
                list.sort_by_key(Value::to_string);
            }
            object.values_mut().for_each(sort_vmaps);
        }
        Value::Array(array) => array.iter_mut().for_each(sort_vmaps),
        _ => {}
    }
}

/// All that a plan can change: interfaces, addresses, routes, the firewall, and the files of `directory`.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) links: BTreeMap<String, String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) routes: Vec<String>,
    pub(crate) ruleset: Vec<Value>,
    pub(crate) files: Vec<PathBuf>,
}

impl State {
    pub(crate) fn see(directory: &Path) -> Self {
        let lines = |script: &str| {
            let mut lines: Vec<String> = sh(script).lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            lines
        };
        let links = json("ip -j link");
        let links = links.as_array().unwrap().iter().map(|link| {
            (
                link["ifname"].as_str().unwrap().to_owned(),
                link["address"].as_str().unwrap_or_default().to_owned(),
            )
        });
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        State {
            links: links.collect(),
            addresses: lines("ip -o addr | cut -d' ' -f2-7"),
            routes: lines("ip route show table all; ip -6 route show table all"),
            ruleset: ruleset(),
            files,
        }
    }
}

pub(crate) fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn id(number: u8) -> Id {
    Id::new([number; 32])
}

/// A bridge network `10.N.0.0/24`, `fd00:N::/64`.
pub(crate) fn network(number: u8) -> Network {
    Network {
        id: id(number),
        name: format!("net{number}").parse().unwrap(),
        driver: Driver::Bridge,
        pools: vec![
            Pool::new(subnet(&format!("10.{number}.0.0/24")), ip(&format!("10.{number}.0.1"))),
            Pool::new(subnet(&format!("fd00:{number}::/64")), ip(&format!("fd00:{number}::1"))),
        ],
        bridge: Some(BridgeDevice::own(name(&format!("br{number}")), mac(number, 1), 1400)),
        parent: None,
        internal: false,
        masquerade: true,
        settings: Settings::default(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        created: 0,
    }
}

pub(crate) fn mac(network: u8, host: u8) -> MacAddress {
    MacAddress::local([2, 0, 0, 0, network, host])
}

/// The endpoint with the address `.host` of a [`network`].
pub(crate) fn endpoint(network: &Network, host: u8, ports: &[&str]) -> Endpoint {
    let number: u8 = network.name.as_str()[3..].parse().unwrap();
    Endpoint {
        id: id(host),
        network: network.id.clone(),
        container: id(host),
        interface: name("eth0"),
        host_interface: name(&format!("zdv{number}x{host}")),
        mac: mac(number, host),
        addresses: network
            .pools
            .iter()
            .map(|pool| InterfaceAddress {
                address: pool.subnet.nth(host.into()).unwrap(),
                prefix: pool.subnet.prefix(),
            })
            .collect(),
        gateways: network.pools.iter().filter_map(|pool| pool.gateway).collect(),
        metric: None,
        reply_table: None,
        routes: Vec::new(),
        settings: EndpointSettings::default(),
        sandbox: None,
        ports: ports.iter().map(|text| published(text)).collect(),
    }
}

fn published(text: &str) -> PublishedPort {
    let request: zdocker_net::ports::PortRequest = text.parse().unwrap();
    let wanted = request.wanted().next().unwrap();
    PublishedPort {
        host_ip: wanted.host_ip,
        host_port: wanted.host_port.unwrap().first(),
        container_port: wanted.container_port,
        protocol: wanted.protocol,
    }
}

/// What makes the host ready for networks; it is never taken back.
pub(crate) fn prepare_host() -> Vec<Op> {
    let on = |key: &str| Op::SetSysctl {
        place: Place::Host,
        key: key.to_owned(),
        value: "1".to_owned(),
    };
    vec![
        on("net/ipv4/ip_forward"),
        on("net/ipv6/conf/all/forwarding"),
        Op::LoadFirewall,
    ]
}

pub(crate) fn create(network: &Network) -> Vec<Op> {
    let bridge = network.bridge.clone().unwrap();
    let mut ops = vec![
        Op::AddElements(network_elements(network)),
        Op::CreateBridge {
            name: bridge.name.clone(),
            mac: bridge.mac,
            mtu: bridge.mtu,
        },
    ];
    let gateways = network
        .pools
        .iter()
        .filter_map(|pool| Some((pool.gateway?, pool.subnet.prefix())));
    let link_local = (IpAddr::V6(bridge.mac.link_local()), 64);
    ops.extend(gateways.chain([link_local]).map(|(address, prefix)| Op::AddAddress {
        place: Place::Host,
        link: bridge.name.clone(),
        address,
        prefix,
    }));
    ops.push(Op::SetUp {
        place: Place::Host,
        link: bridge.name,
    });
    ops
}

pub(crate) fn delete(network: &Network) -> Vec<Op> {
    let bridge = network.bridge.clone().unwrap();
    vec![
        Op::DeleteElements(network_elements(network)),
        Op::DeleteLink { name: bridge.name },
    ]
}

pub(crate) fn namespace_path(directory: &Path, endpoint: &Endpoint) -> NamespacePath {
    NamespacePath(directory.join(endpoint.host_interface.as_str()).display().to_string())
}

fn udp_ports(endpoint: &Endpoint) -> Vec<HostPort> {
    let udp = endpoint
        .ports
        .iter()
        .filter(|port| port.protocol == zdocker_net::ports::Protocol::Udp);
    let host_port = |port: &PublishedPort| HostPort {
        address: port.bound_address(),
        port: port.host_port,
    };
    udp.map(host_port).collect()
}

pub(crate) fn attach(directory: &Path, network: &Network, endpoint: &Endpoint) -> Vec<Op> {
    let path = namespace_path(directory, endpoint);
    let bridge = network.bridge.clone().unwrap();
    let place = Place::Namespace(path.clone());
    let link = endpoint.interface.clone();
    let mut ops = vec![
        Op::CreateNamespace { path: path.clone() },
        Op::AddElements(endpoint_elements(network, endpoint)),
        Op::CreateVeth {
            host: endpoint.host_interface.clone(),
            bridge: Some(bridge.name),
            namespace: path,
            peer: link.clone(),
            mac: endpoint.mac,
            mtu: bridge.mtu,
            hairpin: true,
            isolated: network.settings.no_neighbours,
        },
    ];
    ops.extend(shaping::limit(endpoint, bridge.mtu));
    let link_local = InterfaceAddress {
        address: IpAddr::V6(endpoint.mac.link_local()),
        prefix: 64,
    };
    ops.extend(
        endpoint
            .addresses
            .iter()
            .chain([&link_local])
            .map(|address| Op::AddAddress {
                place: place.clone(),
                link: link.clone(),
                address: address.address,
                prefix: address.prefix,
            }),
    );
    ops.push(Op::SetUp {
        place: place.clone(),
        link: link.clone(),
    });
    ops.extend(endpoint.gateways.iter().map(|gateway| Op::AddRoute {
        place: place.clone(),
        link: link.clone(),
        route: Route::new(Subnet::default_route(Family::of(*gateway)), Some(*gateway), None),
        table: None,
    }));
    ops.push(Op::ForgetUdpFlows {
        ports: udp_ports(endpoint),
    });
    ops
}

pub(crate) fn detach(directory: &Path, network: &Network, endpoint: &Endpoint) -> Vec<Op> {
    vec![
        Op::DeleteElements(endpoint_elements(network, endpoint)),
        Op::ForgetUdpFlows {
            ports: udp_ports(endpoint),
        },
        Op::DeleteNamespace {
            path: namespace_path(directory, endpoint),
        },
    ]
}

/// What takes an endpoint away at once; [`detach`] leaves the interface to the kernel.
pub(crate) fn detach_and_wait(directory: &Path, network: &Network, endpoint: &Endpoint) -> Vec<Op> {
    let mut ops = detach(directory, network, endpoint);
    ops.push(Op::DeleteLink {
        name: endpoint.host_interface.clone(),
    });
    ops.extend(shaping::unlimit(endpoint));
    ops
}
