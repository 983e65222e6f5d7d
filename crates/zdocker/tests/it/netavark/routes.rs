//! Static routes that lead by other interfaces of a container.

use serde_json::json;

use crate::harness::{Host, OUTSIDE_V4, Snapshot};

use super::{Caller, Sandbox, error, input, network, with};

/// The container's routes to where the networks' static routes lead.
fn static_routes(sandbox: &Sandbox) -> Vec<String> {
    let mut lines = [sandbox.ip("-4 route show"), sandbox.ip("-6 route show")].concat();
    lines.retain(|line| line.starts_with("10.1.") || line.starts_with("fd00:1:"));
    let word = |line: String| line.replace(" pref medium", "").trim().to_owned();
    lines.into_iter().map(word).collect()
}

#[test]
fn a_neighbour_may_be_on_an_interface_of_somebody_else() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let c = Sandbox::new(&host, "c");
    c.net.ip(
        "link add wan type veth peer name wan2\nlink set wan up\nlink set wan2 up\n\
              addr add 10.77.0.1/24 dev wan\naddr add fd00:77::1/64 dev wan nodad",
    );
    let before = Snapshot::take(&host);
    let routes = json!([
        {"destination": "10.1.0.0/16", "gateway": "10.77.0.9"},
        {"destination": "fd00:1::/32", "gateway": "fd00:77::9", "metric": 7},
    ]);
    let wire = json!({"driver": "macvlan", "network_interface": "eth0", "ipv6_enabled": false,
                      "subnets": [{"subnet": "203.0.113.0/24", "gateway": OUTSIDE_V4}]});
    for own in [json!({}), wire] {
        let wanted = input(77, &[&with(with(network(1), own), json!({ "routes": routes }))]);
        for _ in 0..2 {
            caller.setup(&c, &wanted);
            let expected = [
                "10.1.0.0/16 via 10.77.0.9 dev wan metric 100",
                "fd00:1::/32 via fd00:77::9 dev wan metric 7",
            ];
            assert_eq!(static_routes(&c), expected);
            caller.call(&["firewall-reload"], &json!(null)).ok();
            assert_eq!(static_routes(&c), expected);
            caller.teardown(&c, &wanted);
            assert_eq!(static_routes(&c), [""; 0]);
        }
        before.assert_same(&host);
    }
    // Nobody leads to this one.
    c.net.ip("link del wan");
    let wanted = input(77, &[&with(network(1), json!({ "routes": routes }))]);
    let refused = error(caller.call(&["setup", &c.path], &wanted));
    assert!(refused.contains("10.1.0.0/16"), "{refused}");
    before.assert_same(&host);
}

#[test]
fn a_neighbour_may_be_on_another_network() {
    let host = Host::new();
    let caller = Caller::new(&host);
    let before = Snapshot::take(&host);
    let leading = with(
        network(2),
        json!({"routes": [{"destination": "10.1.0.0/16", "gateway": "10.89.1.7"}]}),
    );
    let mut later = input(2, &[&leading]);
    later["networks"][0]["interface_name"] = json!("eth1");
    let first = input(2, &[&network(1)]);
    // Whichever goes first, the other one's teardown finds what is left.
    for order in [[&first, &later], [&later, &first]] {
        let c = Sandbox::new(&host, "c");
        caller.setup(&c, &first);
        caller.setup(&c, &later);
        assert_eq!(static_routes(&c), ["10.1.0.0/16 via 10.89.1.7 dev eth0 metric 100"]);
        order.iter().for_each(|wanted| caller.teardown(&c, wanted));
        c.is_empty_soon();
        assert_eq!(static_routes(&c), [""; 0]);
        c.unpin(&host);
        before.assert_same(&host);
    }
}
