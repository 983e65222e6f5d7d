//! zdocker as CNI plug-ins, seen from a container runtime.
//!
//! What the reference plug-ins can do as well, each test does with them too: in the module `reference` beside `ours`.
//! So a test that asks for something that CNI does not promise fails there.

mod bandwidth;
mod bridge;
mod chain;
mod check;
mod concurrent;
mod conflists;
mod containerd;
pub(crate) mod driver;
mod errors;
mod firewall;
mod gc;
mod host_local;
mod killed;
mod loopback;
mod net;
mod parent;
mod podman;
mod portmap;
mod ptp;
mod runtimes;
mod shapes;
mod tuning;
mod verbs;
mod vlan;

use serde_json::{Value, json};

use self::driver::{Runtime, Sandbox};
use crate::harness::NetNs;

/// Makes of each function that takes a `&Runtime` two tests: one of the reference plug-ins and one of zdocker.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod reference {
            $(#[test]
            fn $name() {
                if let Some(runtime) = crate::cni::driver::Runtime::reference() {
                    super::$name(&runtime);
                }
            })*
        }
        both_ours!($($name),*);
    };
}

/// The tests of zdocker alone.
macro_rules! both_ours {
    ($($name:ident),*) => {
        mod ours {
            $(#[test]
            fn $name() {
                super::$name(&crate::cni::driver::Runtime::ours());
            })*
        }
    };
}

pub(crate) use {both, both_ours};

/// The versions that both know, and have all verbs but those of 1.1.0.
const VERSIONS: [&str; 3] = ["0.3.1", "0.4.0", "1.0.0"];

/// A list of these plug-ins.
fn list(version: &str, name: &str, plugins: Value) -> Value {
    json!({ "cniVersion": version, "name": name, "plugins": plugins })
}

/// The same list in another version.
fn with_version(list: &Value, version: &str) -> Value {
    let mut list = list.clone();
    list["cniVersion"] = version.into();
    list
}

/// A bridge `cni0` that is the containers' gateway and masquerades, with one subnet and a default route.
fn bridge() -> Value {
    json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "10.88.0.0/24" }]],
            "routes": [{ "dst": "0.0.0.0/0" }]
        }
    })
}

/// The same with an IPv6 subnet besides.
fn dual_bridge() -> Value {
    let mut plugin = bridge();
    plugin["ipam"] = json!({
        "type": "host-local",
        "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd00:88::/64" }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]
    });
    plugin
}

/// Published ports for whoever takes them.
fn portmap() -> Value {
    json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true })
}

/// What a runtime asks of [`portmap`]: `(host port, container port)` by TCP.
fn ports(mappings: &[(u16, u16)]) -> Value {
    let mapping =
        |(host, container): &(u16, u16)| json!({ "hostPort": host, "containerPort": container, "protocol": "tcp" });
    json!({ "portMappings": mappings.iter().map(mapping).collect::<Vec<_>>() })
}

/// The interfaces of a namespace by name, without `lo`.
fn interfaces(net: &NetNs) -> Vec<String> {
    let links = net.ip_json(&["link", "show"]).into_iter();
    let names = links.map(|link| link["ifname"].as_str().unwrap().to_owned());
    names.filter(|name| name != "lo").collect()
}

/// The addresses of an interface with their prefix lengths, without link-local ones.
fn addresses_of(net: &NetNs, interface: &str) -> Vec<String> {
    let shown = net.ip_json(&["addr", "show", "dev", interface]);
    let addresses = shown[0]["addr_info"].as_array().unwrap().iter();
    let global = addresses.filter(|address| address["scope"] == "global");
    global
        .map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]))
        .collect()
}

/// What the kernel says of the bridge port that leads to the interface `eth0` of a container; null if none does.
fn port_of(runtime: &Runtime, sandbox: &Sandbox) -> Value {
    let peer = &sandbox.net.ip_json(&["link", "show", "dev", "eth0"])[0]["link_index"];
    let ports = runtime.host.net.ip_json(&["-details", "link", "show", "type", "veth"]);
    let port = ports.iter().find(|port| port["ifindex"] == *peer);
    port.map_or(Value::Null, |port| port["linkinfo"]["info_slave_data"].clone())
}

/// Where the default route of a namespace leads, for IPv4 or IPv6.
fn default_gateway(net: &NetNs, family: &str) -> Option<String> {
    let routes = net.ip_json(&[family, "route", "show", "default"]);
    Some(routes.first()?["gateway"].as_str()?.to_owned())
}
