//! `bridge` with VLANs, where the kernel has bridges that tell them apart.

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{both, both_ours, list};
use crate::harness::{Feature, NetNs, Proto, Server, does_not_reach, ip, needs, reaches};

both!(a_vlan_is_kept_from_others);

/// A network of one VLAN of a bridge, with addresses from this one on.
fn network(vlan: u16, first: &str, is_gateway: bool) -> Value {
    let range = json!({ "subnet": "10.88.0.0/24", "rangeStart": first });
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "vlan": vlan, "isGateway": is_gateway,
        "ipam": { "type": "host-local", "ranges": [[range]] }
    });
    list("1.0.0", &format!("vlan{vlan}"), json!([bridge]))
}

fn a_vlan_is_kept_from_others(runtime: &Runtime) {
    if !needs(&[Feature::BridgeVlans]) {
        return;
    }
    let (seven, eight) = (network(7, "10.88.0.10", true), network(8, "10.88.0.20", false));
    let [a, b, c] = ["a", "b", "c"].map(|name| runtime.sandbox(name));
    let own = addresses(&runtime.add(&seven, &Call::new(&a)))[0];
    runtime.add(&seven, &Call::new(&b));
    runtime.add(&eight, &Call::new(&c));
    let _servers = (
        Server::start(&a.net, "a", 80),
        Server::start(&runtime.host.net, "host", 81),
    );
    assert_eq!(reaches(&b.net, Proto::Tcp, (own, 80)).server, "a");
    assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (own, 80)).server, "a");
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip("10.88.0.1"), 81)).server, "host");
    does_not_reach(&c.net, Proto::Tcp, (own, 80));
    does_not_reach(&c.net, Proto::Tcp, (ip("10.88.0.1"), 81));
    runtime.check(&eight, &Call::new(&c)).unwrap();
    for (list, sandbox) in [(&seven, &a), (&seven, &b), (&eight, &c)] {
        runtime.del(list, &Call::new(sandbox));
    }
}

/// Makes the interface of a VLAN in a container, with this address.
fn add_vlan(net: &NetNs, vlan: u16, address: &str) {
    let name = format!("eth0.{vlan}");
    net.ip(&format!(
        "link add link eth0 name {name} type vlan id {vlan}\naddr add {address}/24 dev {name}\nlink set {name} up"
    ));
}

/// Debian's `bridge` does not know the key yet.
#[test]
fn several_come_with_their_tags() {
    if !needs(&[Feature::BridgeVlans, Feature::Vlan]) {
        return;
    }
    let runtime = Runtime::ours();
    let trunk = json!([{ "id": 7 }, { "minID": 20, "maxID": 22 }]);
    let bridge = json!({ "type": "bridge", "bridge": "cni0", "vlanTrunk": trunk, "preserveDefaultVlan": false });
    let list = list("1.0.0", "trunk", json!([bridge]));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    for (sandbox, host) in [(&a, 1), (&b, 2)] {
        runtime.add(&list, &Call::new(sandbox));
        for vlan in [7, 19, 20, 22] {
            add_vlan(&sandbox.net, vlan, &format!("10.{vlan}.0.{host}"));
        }
        sandbox.net.ip(&format!("addr add 10.1.0.{host}/24 dev eth0"));
    }
    let _server = Server::start(&a.net, "a", 80);
    for vlan in [7, 20, 22] {
        assert_eq!(
            reaches(&b.net, Proto::Tcp, (ip(&format!("10.{vlan}.0.1")), 80)).server,
            "a"
        );
    }
    // Neither those that are not listed, nor frames without a tag.
    for vlan in [19, 1] {
        does_not_reach(&b.net, Proto::Tcp, (ip(&format!("10.{vlan}.0.1")), 80));
    }
    runtime.check(&list, &Call::new(&a)).unwrap();
    runtime.del(&list, &Call::new(&a));
    runtime.del(&list, &Call::new(&b));
}
