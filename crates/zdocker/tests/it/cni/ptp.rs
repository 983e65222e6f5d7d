//! `ptp`: by real traffic.

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox};
use super::shapes::addresses;
use super::{both, both_ours, default_gateway, interfaces, list, portmap, ports};
use crate::harness::{HOST_V4, OUTSIDE_V4, Proto, Server, Snapshot, does_not_reach, ip, reaches};

both!(
    containers_reach_each_other_and_the_outside,
    ports_are_published,
    it_goes_with_its_container,
);

fn ptp() -> Value {
    json!({
        "type": "ptp",
        "ipMasq": true,
        "mtu": 1400,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "10.77.0.0/24" }], [{ "subnet": "fd00:77::/64" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]
        }
    })
}

/// The address of an `ADD`'s result, IPv4 or IPv6.
fn own(result: &Value, v6: bool) -> std::net::IpAddr {
    addresses(result)
        .into_iter()
        .find(|address| address.is_ipv6() == v6)
        .unwrap()
}

fn containers_reach_each_other_and_the_outside(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([ptp()]));
    let [a, b]: [Sandbox; 2] = ["a", "b"].map(|name| runtime.sandbox(name));
    let [of_a, of_b] = [&a, &b].map(|sandbox| runtime.add(&list, &Call::new(sandbox)));
    assert_eq!(interfaces(&a.net), ["eth0"]);
    assert_eq!(a.net.ip_json(&["link", "show", "dev", "eth0"])[0]["mtu"], 1400);
    assert_eq!(default_gateway(&a.net, "-4").as_deref(), Some("10.77.0.1"));
    assert_eq!(default_gateway(&a.net, "-6").as_deref(), Some("fd00:77::1"));
    assert_eq!(of_a["interfaces"].as_array().unwrap().len(), 2);
    let _server = Server::start(&b.net, "b", 80);
    for v6 in [false, true] {
        let (from, to) = (own(&of_a, v6), own(&of_b, v6));
        let answer = reaches(&a.net, Proto::Tcp, (to, 80));
        assert_eq!((answer.server.as_str(), answer.source), ("b", from));
        assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (to, 80)).server, "b");
    }
    let _outside = Server::start(&runtime.host.outside, "outside", 80);
    let answer = reaches(&a.net, Proto::Tcp, (ip(OUTSIDE_V4), 80));
    assert_eq!((answer.server.as_str(), answer.source), ("outside", ip(HOST_V4)));
    runtime.check(&list, &Call::new(&a)).unwrap();
    a.net.ip("link set eth0 down");
    a.net.ip("addr flush dev eth0");
    assert!(runtime.check(&list, &Call::new(&a)).is_err());
}

fn ports_are_published(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([ptp(), portmap()]));
    let [a, b]: [Sandbox; 2] = ["a", "b"].map(|name| runtime.sandbox(name));
    runtime.add(&list, &Call::new(&a).capabilities(ports(&[(8080, 80)])));
    runtime.add(&list, &Call::new(&b));
    let _server = Server::start(&a.net, "a", 80);
    let answer = reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!((answer.server.as_str(), answer.source), ("a", ip(OUTSIDE_V4)));
    for (net, address) in [
        (&runtime.host.net, HOST_V4),
        (&runtime.host.net, "127.0.0.1"),
        (&b.net, HOST_V4),
        (&a.net, HOST_V4),
    ] {
        assert_eq!(reaches(net, Proto::Tcp, (ip(address), 8080)).server, "a");
    }
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8081));
}

fn it_goes_with_its_container(runtime: &Runtime) {
    let before = Snapshot::take(&runtime.host);
    let list = list("1.0.0", "net", json!([ptp()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    runtime.add(&list, &call);
    runtime.del(&list, &call);
    crate::harness::until("the interface goes", || interfaces(&sandbox.net).is_empty());
    runtime.del(&list, &call);
    runtime.add(&list, &call);
    runtime.end(sandbox);
    runtime.del(&list, &Call::without_namespace("container-a", None));
    runtime.assert_as_before(&before);
}

#[test]
fn addresses_are_needed() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "ptp" });
    let failure = runtime.single("ADD", &config, &Call::new(&sandbox)).unwrap_err();
    assert_eq!(failure.code, 7, "{:?}", failure.printed);
    assert!(interfaces(&sandbox.net).is_empty());
}
