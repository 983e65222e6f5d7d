//! `loopback`.

use serde_json::{Value, json};

use super::driver::{Call, Runtime};
use super::{both, both_ours, list};
use crate::harness::NetNs;

both!(
    lo_goes_up_and_down,
    what_is_before_it_in_a_list_is_passed_on,
    without_a_namespace_nothing_is_left
);

fn loopback(version: &str) -> Value {
    list(version, "lo", json!([{ "type": "loopback" }]))
}

fn is_up(net: &NetNs) -> bool {
    let lo = net.ip_json(&["link", "show", "dev", "lo"]);
    lo[0]["flags"].as_array().unwrap().contains(&json!("UP"))
}

fn lo_goes_up_and_down(runtime: &Runtime) {
    // The reference plug-in has no place for the version of an address, which those before 1.0.0 need.
    let versions = super::VERSIONS.into_iter();
    for version in versions.filter(|version| runtime.is_ours() || *version == "1.0.0") {
        let sandbox = runtime.sandbox("a");
        let call = Call::new(&sandbox).interface("lo");
        let list = loopback(version);
        let result = runtime.add(&list, &call);
        assert!(is_up(&sandbox.net));
        assert_eq!(result["interfaces"][0]["name"], "lo");
        let addresses: Vec<&Value> = result["ips"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ip| &ip["address"])
            .collect();
        assert_eq!(addresses, ["127.0.0.1/8", "::1/128"]);
        if version != "0.3.1" {
            runtime.check(&list, &call).unwrap();
            sandbox.net.ip("link set lo down");
            assert!(runtime.check(&list, &call).is_err());
            sandbox.net.ip("link set lo up");
        }
        runtime.del(&list, &call);
        assert!(!is_up(&sandbox.net));
        runtime.del(&list, &call);
        runtime.end(sandbox);
    }
}

fn what_is_before_it_in_a_list_is_passed_on(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "eth0", "sandbox": sandbox.path.clone() }],
        "dns": {}
    });
    let config = json!({ "cniVersion": "1.0.0", "name": "lo", "type": "loopback", "prevResult": before });
    let call = Call::new(&sandbox).interface("lo");
    assert_eq!(runtime.single("ADD", &config, &call).unwrap().unwrap(), before);
    assert!(is_up(&sandbox.net));
}

fn without_a_namespace_nothing_is_left(runtime: &Runtime) {
    let call = Call::without_namespace("gone", None).interface("lo");
    runtime.del(&loopback("1.0.0"), &call);
}
