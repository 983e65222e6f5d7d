//! GC: what is not among the valid attachments is freed, and what is stays. It came with 1.1.0.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{addresses_of, bridge, dual_bridge, interfaces, list, portmap, ports};
use crate::harness::{HOST_V4, Proto, Server, Snapshot, does_not_reach, ip, reaches, until};

fn published(name: &str) -> Value {
    list("1.1.0", name, json!([dual_bridge(), portmap()]))
}

#[test]
fn what_is_valid_stays_and_the_rest_is_freed() {
    let runtime = Runtime::ours();
    let list = published("net");
    let [kept, stale] = ["kept", "stale"].map(|name| runtime.sandbox(name));
    let call = |sandbox, port| Call::new(sandbox).capabilities(ports(&[(port, 80)]));
    runtime.add(&list, &call(&kept, 8080));
    let freed = addresses(&runtime.add(&list, &call(&stale, 8081)));
    let servers = [("kept", &kept), ("stale", &stale)].map(|(name, sandbox)| Server::start(&sandbox.net, name, 80));
    for (name, port) in [("kept", 8080), ("stale", 8081)] {
        assert_eq!(
            reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), port)).server,
            name
        );
    }

    runtime.gc(&list, &[(&kept.id, "eth0")]).unwrap();
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server,
        "kept"
    );
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8081));
    runtime.check(&list, &call(&kept, 8080)).unwrap();

    // The addresses and the port can be had again.
    let next = runtime.sandbox("next");
    let wanted: Vec<String> = freed.iter().map(ToString::to_string).collect();
    let mut list_with_ips = list.clone();
    list_with_ips["plugins"][0]["capabilities"] = json!({ "ips": true });
    let mut asked = ports(&[(8081, 80)]);
    asked["ips"] = json!(wanted);
    let result = runtime.add(&list_with_ips, &Call::new(&next).capabilities(asked.clone()));
    assert_eq!(addresses(&result), freed);
    let server = Server::start(&next.net, "next", 80);
    assert_eq!(
        reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8081)).server,
        "next"
    );
    drop((server, servers));
    runtime.del(&list_with_ips, &Call::new(&next).capabilities(asked));
    runtime.del(&list, &call(&kept, 8080));
}

#[test]
fn with_nothing_valid_nothing_is_left() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let list = published("net");
    for name in ["a", "b", "c"] {
        let sandbox = runtime.sandbox(name);
        let port = 8000 + u16::from(name.as_bytes()[0]);
        runtime.add(&list, &Call::new(&sandbox).capabilities(ports(&[(port, 80)])));
        // One namespace of the three is still there.
        if name != "b" {
            runtime.end(sandbox);
        }
    }
    runtime.gc(&list, &[]).unwrap();
    let b = runtime.seen("/run/netns/b");
    let b = crate::harness::NetNs::open(b.to_str().unwrap());
    until("no interface is left in the namespace", || interfaces(&b).is_empty());
    drop(b);
    runtime.host.program("ip", &["netns", "del", "b"]).ok();
    before.assert_same(&runtime.host);
    // As often as one likes.
    runtime.gc(&list, &[]).unwrap();
    before.assert_same(&runtime.host);
}

/// Who does not say what stays does not want everything gone.
#[test]
fn without_a_list_nothing_goes() {
    let runtime = Runtime::ours();
    let list = list("1.1.0", "net", json!([bridge()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    runtime.add(&list, &call);
    let mut config = list["plugins"][0].clone();
    config["cniVersion"] = "1.1.0".into();
    config["name"] = "net".into();
    assert_eq!(runtime.single("GC", &config, &call).unwrap_err().code, 7);
    runtime.check(&list, &call).unwrap();
    // The key of the specification's first print.
    config["cni.dev/attachments"] = json!([{ "containerID": sandbox.id, "ifname": "eth0" }]);
    runtime.single("GC", &config, &call).unwrap();
    runtime.check(&list, &call).unwrap();
    runtime.del(&list, &call);
}

#[test]
fn each_interface_counts_for_itself() {
    let runtime = Runtime::ours();
    let list = list("1.1.0", "net", json!([bridge()]));
    let sandbox = runtime.sandbox("a");
    runtime.add(&list, &Call::new(&sandbox));
    runtime.add(&list, &Call::new(&sandbox).interface("net1"));
    runtime.gc(&list, &[(&sandbox.id, "net1")]).unwrap();
    until("the other interface is gone", || interfaces(&sandbox.net) == ["net1"]);
    runtime.check(&list, &Call::new(&sandbox).interface("net1")).unwrap();
    runtime.gc(&list, &[]).unwrap();
}

#[test]
fn other_networks_are_left_alone() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let one = published("one");
    let mut plugin = bridge();
    plugin["bridge"] = json!("cni1");
    plugin["ipam"]["ranges"] = json!([[{ "subnet": "10.89.0.0/24" }]]);
    let two = list("1.1.0", "two", json!([plugin, portmap()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    runtime.add(&two, &call);
    runtime.gc(&one, &[]).unwrap();
    runtime.check(&two, &call).unwrap();
    assert_eq!(addresses_of(&runtime.host.net, "cni1"), ["10.89.0.1/24"]);
    runtime.gc(&two, &[]).unwrap();
    runtime.end(sandbox);
    before.assert_same(&runtime.host);
}

/// Behind a bridge of the reference plug-in, whose addresses GC leaves alone.
#[test]
fn ports_of_anothers_interface_are_freed() {
    let Some(reference) = Runtime::reference_directory() else {
        return;
    };
    let runtime = Runtime::ours();
    symlink(reference.join("bridge"), runtime.directory().join("their-bridge")).unwrap();
    let mut plugin = bridge();
    plugin["type"] = "their-bridge".into();
    let list = list("1.0.0", "net", json!([plugin, portmap()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    runtime.add(&list, &call);
    let server = Server::start(&sandbox.net, "a", 80);
    let outside = || reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server;
    assert_eq!(outside(), "a");
    runtime.check(&list, &call).unwrap();
    let portmap_alone = self::list("1.1.0", "net", json!([portmap()]));
    runtime.gc(&portmap_alone, &[(&sandbox.id, "eth0")]).unwrap();
    assert_eq!(outside(), "a");
    runtime.gc(&portmap_alone, &[]).unwrap();
    does_not_reach(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 8080));
    assert_eq!(addresses_of(&sandbox.net, "eth0").len(), 1, "it is not ours");
    drop(server);
    runtime.del(&list, &call);
    until("the tables are gone", || {
        runtime
            .host
            .net
            .output("nft", &["list", "tables"], "")
            .lines()
            .all(|table| !table.contains("zdocker"))
    });
}
