//! Each verb, in each version, as often and in whatever order a runtime may come to it.

use serde_json::json;

use super::driver::{Call, Runtime};
use super::shapes::addresses;
use super::{VERSIONS, addresses_of, both, both_ours, bridge, interfaces, list, portmap, ports};
use crate::harness::{Snapshot, until};

both!(
    version_is_told,
    a_container_comes_and_goes_in_each_version,
    del_is_done_as_often_as_one_likes,
    del_without_add_is_no_error,
    del_without_a_namespace_frees_the_address,
    del_of_a_namespace_that_is_gone_frees_the_address,
    del_without_the_result_frees_the_address,
    one_container_is_on_a_network_twice,
    loopback_is_brought_up,
);

fn version_is_told(runtime: &Runtime) {
    let names = [
        "bridge",
        "host-local",
        "portmap",
        "loopback",
        "ptp",
        "macvlan",
        "ipvlan",
        "bandwidth",
        "firewall",
        "tuning",
    ];
    for name in names {
        for input in ["{\"cniVersion\":\"1.0.0\"}", ""] {
            let answer = runtime.execute(name, &[("CNI_COMMAND", "VERSION")], input).ok().json();
            let versions = answer["supportedVersions"].as_array().unwrap();
            // The reference firewall came with CHECK.
            let older = VERSIONS[0];
            for version in VERSIONS
                .into_iter()
                .filter(|version| runtime.is_ours() || name != "firewall" || *version != older)
            {
                assert!(versions.contains(&json!(version)), "{name}: {answer:#}");
            }
            assert!(answer["cniVersion"].is_string(), "{name}: {answer:#}");
        }
    }
}

fn a_container_comes_and_goes_in_each_version(runtime: &Runtime) {
    let newest = runtime.is_ours().then_some("1.1.0");
    for version in VERSIONS.into_iter().chain(newest) {
        let sandbox = runtime.sandbox("a");
        let list = list(version, "net", json!([bridge()]));
        let before = interfaces(&runtime.host.net).len();
        let result = runtime.add(&list, &Call::new(&sandbox));

        let link = &sandbox.net.ip_json(&["-details", "link", "show", "dev", "eth0"])[0];
        let address = &result["ips"][0];
        let index = usize::try_from(address["interface"].as_u64().unwrap()).unwrap();
        let inside = &result["interfaces"][index];
        assert_eq!(
            (&inside["name"], &inside["mac"]),
            (&json!("eth0"), &link["address"]),
            "{result:#}"
        );
        assert_eq!(inside["sandbox"], sandbox.path, "{result:#}");
        assert_eq!(
            addresses_of(&sandbox.net, "eth0"),
            [address["address"].as_str().unwrap()]
        );
        assert_eq!(address["gateway"], "10.88.0.1", "{result:#}");
        assert!(link["flags"].as_array().unwrap().contains(&json!("UP")), "{link:#}");
        // The bridge and the other end are the host's own.
        for outer in result["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|i| **i != *inside)
        {
            let name = outer["name"].as_str().unwrap();
            let shown = &runtime.host.net.ip_json(&["link", "show", "dev", name])[0];
            assert_eq!(shown["address"], outer["mac"], "{result:#}");
        }
        assert_eq!(addresses_of(&runtime.host.net, "cni0"), ["10.88.0.1/24"]);
        assert_eq!(interfaces(&runtime.host.net).len(), before + 2);

        runtime.del(&list, &Call::new(&sandbox));
        until("the container has no interface any more", || {
            interfaces(&sandbox.net).is_empty()
        });
        runtime.end(sandbox);
        if runtime.is_ours() {
            // Whether a bridge that nobody is on stays is the plug-in's to say; here it is to be as at first.
            runtime.gc(&self::list("1.1.0", "net", json!([bridge()])), &[]).unwrap();
        }
        runtime.host.program("ip", &["link", "del", "dev", "cni0"]);
        until("the host has no interface more", || {
            interfaces(&runtime.host.net) == ["eth0"]
        });
    }
}

/// Whether the network's only address but the gateway's is free: of 10.88.0.0/30 there is one.
fn assert_address_is_free(runtime: &Runtime, list: &serde_json::Value) {
    let other = runtime.sandbox("other");
    let result = runtime.add(list, &Call::new(&other).capabilities(ports(&[(8080, 80)])));
    assert_eq!(addresses(&result), [crate::harness::ip("10.88.0.2")]);
    runtime.del(list, &Call::new(&other).capabilities(ports(&[(8080, 80)])));
    runtime.end(other);
}

/// A network of one address.
fn narrow(version: &str) -> serde_json::Value {
    let mut plugin = bridge();
    plugin["ipam"]["ranges"][0][0]["subnet"] = json!("10.88.0.0/30");
    list(version, "net", json!([plugin, portmap()]))
}

fn del_is_done_as_often_as_one_likes(runtime: &Runtime) {
    for version in VERSIONS {
        let list = narrow(version);
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
        runtime.add(&list, &call);
        for _ in 0..3 {
            runtime.del(&list, &call);
        }
        runtime.end(sandbox);
        assert_address_is_free(runtime, &list);
    }
}

fn del_without_add_is_no_error(runtime: &Runtime) {
    let list = narrow("1.0.0");
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    runtime.del(&list, &Call::new(&sandbox));
    runtime.del(&list, &Call::without_namespace("never-seen", None));
    runtime.del(&list, &Call::without_namespace("never-seen", Some("")));
    runtime.assert_as_before(&before);
    assert_eq!(interfaces(&sandbox.net), [""; 0]);
    // What else has the interface's name is not the plug-in's: a DEL for another container leaves it alone.
    runtime.end(sandbox);
    assert_address_is_free(runtime, &list);
}

fn del_without_a_namespace_frees_the_address(runtime: &Runtime) {
    for (version, namespace) in [
        ("0.3.1", None),
        ("0.4.0", Some("")),
        ("1.0.0", None),
        ("1.0.0", Some("")),
    ] {
        let list = narrow(version);
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
        runtime.add(&list, &call);
        let id = sandbox.id.clone();
        runtime.end(sandbox);
        let call = Call::without_namespace(&id, namespace).capabilities(ports(&[(8080, 80)]));
        runtime.del(&list, &call);
        runtime.del(&list, &call);
        assert_address_is_free(runtime, &list);
    }
}

fn del_of_a_namespace_that_is_gone_frees_the_address(runtime: &Runtime) {
    for version in VERSIONS {
        let list = narrow(version);
        let sandbox = runtime.sandbox("a");
        runtime.add(&list, &Call::new(&sandbox).capabilities(ports(&[(8080, 80)])));
        let (id, path) = (sandbox.id.clone(), sandbox.path.clone());
        runtime.end(sandbox);
        let call = Call::without_namespace(&id, Some(&path)).capabilities(ports(&[(8080, 80)]));
        runtime.del(&list, &call);
        assert_address_is_free(runtime, &list);
    }
}

fn del_without_the_result_frees_the_address(runtime: &Runtime) {
    let list = narrow("1.0.0");
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(ports(&[(8080, 80)]));
    runtime.add(&list, &call);
    runtime.forget(&list, &call);
    runtime.del(&list, &call);
    runtime.end(sandbox);
    assert_address_is_free(runtime, &list);
}

fn one_container_is_on_a_network_twice(runtime: &Runtime) {
    // The reference plug-in masquerades for each container once, whatever it has of interfaces.
    let mut plugin = bridge();
    plugin["ipMasq"] = json!(runtime.is_ours());
    plugin["ipam"]["routes"] = json!([]);
    let list = list("1.0.0", "net", json!([plugin]));
    let sandbox = runtime.sandbox("a");
    let first = runtime.add(&list, &Call::new(&sandbox));
    let second = runtime.add(&list, &Call::new(&sandbox).interface("net1"));
    assert_ne!(addresses(&first), addresses(&second));
    assert_eq!(interfaces(&sandbox.net).len(), 2);
    runtime.del(&list, &Call::new(&sandbox));
    until("the first is gone", || interfaces(&sandbox.net) == ["net1"]);
    runtime.check(&list, &Call::new(&sandbox).interface("net1")).unwrap();
    runtime.del(&list, &Call::new(&sandbox).interface("net1"));
    until("the second is gone", || interfaces(&sandbox.net).is_empty());
}

fn loopback_is_brought_up(runtime: &Runtime) {
    // Before 1.0.0 the reference plug-in's result is not of its version.
    let versions = if runtime.is_ours() { &VERSIONS[..] } else { &["1.0.0"] };
    for version in versions {
        let list = list(version, "lo", json!([{ "type": "loopback" }]));
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).interface("lo");
        let is_up = || {
            sandbox
                .net
                .ip_json(&["link", "show", "dev", "lo", "up"])
                .iter()
                .any(|link| link["ifname"] == "lo")
        };
        assert!(!is_up());
        runtime.add(&list, &call);
        assert!(is_up());
        if *version != "0.3.1" {
            runtime.check(&list, &call).unwrap();
        }
        runtime.del(&list, &call);
        assert!(!is_up());
        runtime.del(&list, &call);
        runtime.end(sandbox);
    }
}

/// Both verbs came with 1.1.0, which the reference plug-ins here do not know.
#[test]
fn version_is_told_in_the_words_of_who_asks() {
    let runtime = Runtime::ours();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let input = json!({ "cniVersion": version }).to_string();
        let answer = runtime
            .execute("zdocker-net", &[("CNI_COMMAND", "VERSION")], &input)
            .ok()
            .json();
        assert_eq!(answer["cniVersion"], version);
        assert!(
            answer["supportedVersions"]
                .as_array()
                .unwrap()
                .contains(&json!("1.1.0")),
            "{answer:#}"
        );
    }
}

#[test]
fn status_is_good_before_and_after() {
    let runtime = Runtime::ours();
    let list = list("1.1.0", "net", json!([bridge(), portmap()]));
    let before = Snapshot::take(&runtime.host);
    runtime.status(&list).unwrap();
    before.assert_same(&runtime.host);
    let sandbox = runtime.sandbox("a");
    runtime.add(&list, &Call::new(&sandbox));
    runtime.status(&list).unwrap();
    runtime.del(&list, &Call::new(&sandbox));
}
