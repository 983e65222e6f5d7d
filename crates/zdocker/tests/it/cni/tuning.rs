//! `tuning`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox, execution_config};
use super::{addresses_of, both, both_ours, bridge, list};
use crate::harness::{NetNs, Proto, Server, ip, reaches};

both!(
    an_interface_is_set_and_put_back,
    a_new_mac_is_let_through,
    kernel_variables_are_set_and_checked,
    what_is_set_differs_from_nothing_that_was_made,
    the_users_address_comes_before_the_runtimes,
    what_is_wrong_is_refused,
);

fn chain(tuning: Value) -> Value {
    let mut plugin = json!({ "type": "tuning" });
    plugin
        .as_object_mut()
        .unwrap()
        .extend(tuning.as_object().unwrap().clone());
    list("1.0.0", "net", json!([bridge(), plugin]))
}

/// MAC, MTU, whether all frames are taken, all multicast frames, and how long the queue is.
fn settings(net: &NetNs) -> (String, u64, bool, bool, u64) {
    let link = &net.ip_json(&["-d", "link", "show", "dev", "eth0"])[0];
    let has = |flag: &str| link["flags"].as_array().unwrap().contains(&json!(flag));
    (
        link["address"].as_str().unwrap().to_owned(),
        link["mtu"].as_u64().unwrap(),
        has("PROMISC"),
        has("ALLMULTI"),
        link["txqlen"].as_u64().unwrap_or(0),
    )
}

/// Runs one verb of the list's second plug-in alone.
fn second(runtime: &Runtime, verb: &str, list: &Value, sandbox: &Sandbox, result: &Value) {
    let call = Call::new(sandbox);
    let config = execution_config(list, &list["plugins"][1], &call, Some(result));
    runtime
        .single(verb, &config, &call)
        .unwrap_or_else(|e| panic!("{verb}: {e:?}"));
}

fn an_interface_is_set_and_put_back(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let plain = list("1.0.0", "net", json!([bridge()]));
    runtime.add(&plain, &call);
    runtime.del(&plain, &call);
    let list = chain(json!({
        "mac": "c2:b0:57:49:47:f1", "mtu": 1300, "promisc": true, "allmulti": true, "dataDir": "/run/tuned"
    }));
    let result = runtime.add(&list, &call);
    let (mac, mtu, promiscuous, all_multicast, _) = settings(&sandbox.net);
    assert_eq!(
        (mac.as_str(), mtu, promiscuous, all_multicast),
        ("c2:b0:57:49:47:f1", 1300, true, true)
    );
    let own = result["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["name"] == "eth0");
    assert_eq!(own.unwrap()["mac"], "c2:b0:57:49:47:f1");
    assert!(runtime.seen("/run/tuned/container-a_eth0.json").exists());
    second(runtime, "CHECK", &list, &sandbox, &result);
    second(runtime, "DEL", &list, &sandbox, &result);
    let (mac, mtu, promiscuous, all_multicast, _) = settings(&sandbox.net);
    assert_ne!(mac, "c2:b0:57:49:47:f1");
    assert_eq!((mtu, promiscuous, all_multicast), (1500, false, false));
    assert!(!runtime.seen("/run/tuned/container-a_eth0.json").exists());
    second(runtime, "DEL", &list, &sandbox, &result);
    runtime.del(&list, &call);
    runtime.del(&list, &Call::without_namespace("container-a", None));
}

/// Frames are guarded by their addresses: those of the new one must pass.
fn a_new_mac_is_let_through(runtime: &Runtime) {
    let list = chain(json!({ "mac": "c2:b0:57:49:47:f1" }));
    let [a, b] = ["a", "b"].map(|name| runtime.sandbox(name));
    let plain = super::list("1.0.0", "net", json!([bridge()]));
    runtime.add(&plain, &Call::new(&b));
    runtime.add(&list, &Call::new(&a));
    let _server = Server::start(&a.net, "a", 80);
    let own = addresses_of(&a.net, "eth0")[0].split('/').next().unwrap().to_owned();
    assert_eq!(reaches(&runtime.host.net, Proto::Tcp, (ip(&own), 80)).server, "a");
    assert_eq!(reaches(&b.net, Proto::Tcp, (ip(&own), 80)).server, "a");
    runtime.check(&list, &Call::new(&a)).unwrap();
}

fn kernel_variables_are_set_and_checked(runtime: &Runtime) {
    let list = chain(json!({ "sysctl": { "net.ipv4.conf.eth0.arp_filter": "1", "net.core.somaxconn": "500" } }));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    runtime.add(&list, &call);
    let read = |key: &str| sandbox.net.output("sysctl", &["-n", key], "").trim().to_owned();
    assert_eq!(
        (read("net.ipv4.conf.eth0.arp_filter"), read("net.core.somaxconn")),
        ("1".to_owned(), "500".to_owned())
    );
    runtime.check(&list, &call).unwrap();
    sandbox.net.output("sysctl", &["-w", "net.core.somaxconn=501"], "");
    let failure = runtime.check(&list, &call).unwrap_err();
    assert!(failure.code >= 100, "{failure:?}");
}

/// The plug-in that made the interface set the same variables before.
fn what_is_set_differs_from_nothing_that_was_made(runtime: &Runtime) {
    let variables = [
        ("net.ipv6.conf.eth0.accept_ra", "2"),
        ("net.ipv4.conf.eth0.arp_notify", "0"),
        ("net.ipv6.conf.eth0.disable_ipv6", "1"),
    ];
    let list = chain(json!({ "sysctl": variables.into_iter().collect::<BTreeMap<_, _>>() }));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    runtime.add(&list, &call);
    runtime.check(&list, &call).unwrap();
    for (key, value) in variables {
        assert_eq!(sandbox.net.output("sysctl", &["-n", key], "").trim(), value, "{key}");
    }
    runtime.del(&list, &call);
}

fn the_users_address_comes_before_the_runtimes(runtime: &Runtime) {
    let [configured, of_arguments, of_runtime, of_user] =
        [1, 2, 3, 4].map(|number| format!("02:00:00:00:00:0{number}"));
    let mut list = chain(json!({ "mac": configured, "capabilities": { "mac": true } }));
    let sandbox = runtime.sandbox("a");
    let arguments = format!("IgnoreUnknown=1;MAC={of_arguments}");
    let (plain, with_arguments) = (Call::new(&sandbox), Call::new(&sandbox).args(&arguments));
    let all = with_arguments.clone().capabilities(json!({ "mac": of_runtime }));
    let check = |list: &Value, call: &Call, expected: &str| {
        runtime.add(list, call);
        assert_eq!(settings(&sandbox.net).0, expected);
        runtime.del(list, call);
    };
    // The bridge would take them, too.
    check(&list, &plain, &configured);
    check(&list, &with_arguments, &of_arguments);
    check(&list, &all, &of_runtime);
    list["plugins"][1]["args"] = json!({ "cni": { "mac": of_user } });
    check(&list, &all, &of_user);
}

fn what_is_wrong_is_refused(runtime: &Runtime) {
    let plain = list("1.0.0", "net", json!([bridge()]));
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.add(&plain, &call);
    for tuning in [
        json!({ "sysctl": { "kernel.hostname": "x" } }),
        json!({ "sysctl": { "net/../kernel/hostname": "x" } }),
        json!({ "sysctl": { "net.core.nothing": "1" } }),
        json!({ "mac": "c2:b0" }),
        json!({ "promisc": "yes" }),
    ] {
        let list = chain(tuning);
        let config = execution_config(&list, &list["plugins"][1], &call, Some(&result));
        runtime.single("ADD", &config, &call).unwrap_err();
        let mut alone = config;
        alone.as_object_mut().unwrap().remove("prevResult");
        runtime.single("ADD", &alone, &call).unwrap_err();
    }
}

#[test]
fn the_runtime_and_the_user_may_say_what() {
    let runtime = Runtime::ours();
    let mut list = chain(json!({ "capabilities": { "mac": true }, "txQLen": 77, "mac": "02:00:00:00:00:01" }));
    list["plugins"][1]["sysctl"] = json!({ "net/ipv4/conf/IFNAME/arp_filter": "1" });
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(json!({ "mac": "02:00:00:00:00:02" }));
    runtime.add(&list, &call);
    let (mac, _, _, _, queue) = settings(&sandbox.net);
    assert_eq!((mac.as_str(), queue), ("02:00:00:00:00:02", 77));
    assert_eq!(
        sandbox
            .net
            .output("sysctl", &["-n", "net.ipv4.conf.eth0.arp_filter"], "")
            .trim(),
        "1"
    );
    runtime.check(&list, &call).unwrap();
    runtime.del(&list, &call);
}

#[test]
fn the_administrator_says_which_variables() {
    let runtime = Runtime::ours();
    runtime
        .host
        .program("mount", &["-t", "tmpfs", "tmpfs", "/etc/cni"])
        .ok();
    let directory = runtime.seen("/etc/cni/tuning");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("allowlist.conf"), "^net\\.core\\.[a-z]+$\n").unwrap();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    runtime.add(&chain(json!({ "sysctl": { "net.core.somaxconn": "500" } })), &call);
    runtime.del(&chain(json!({})), &call);
    let forbidden = chain(json!({ "sysctl": { "net.ipv4.ip_forward": "1" } }));
    let failure = runtime.try_add(&forbidden, &call).unwrap_err();
    assert_eq!(failure.code, 7, "{failure:?}");
    runtime.del(&forbidden, &call);
}
