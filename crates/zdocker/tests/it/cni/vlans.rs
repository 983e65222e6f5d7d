//! `bridge` with VLANs, where the kernel has bridges that tell them apart.

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{both, both_ours, list};
use crate::harness::{Feature, Proto, Server, does_not_reach, ip, needs, reaches};

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
