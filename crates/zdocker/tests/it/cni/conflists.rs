//! Configurations as the field has them, each by the reference plug-ins and by zdocker: what is found then is the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox, version};
use super::{addresses_of, list, port_of, portmap, ports};
use crate::harness::{NetNs, Proto, Server, has_program, ip, reaches, skipped};

/// The programs by which the reference plug-ins set up firewalls, and by which we act as Kubernetes.
const IPTABLES: [&str; 2] = ["iptables", "ip6tables"];

/// What was found, by what it was looked for.
type Findings = BTreeMap<String, Value>;

/// Makes of each function that gives a configuration a test of it.
macro_rules! alike {
    ($($name:ident),* $(,)?) => {
        mod alike {
            $(#[test]
            fn $name() {
                super::is_alike(&super::$name());
            })*
        }
    };
}

alike!(
    containerd,
    cri_o,
    kubeadm,
    flannel,
    podman,
    nerdctl,
    nerdctl_internal,
    macvlan_by_multus,
    without_addresses,
    several_addresses_of_a_family,
);

fn to_everywhere() -> Value {
    json!([{ "dst": "0.0.0.0/0" }])
}

fn containerd() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "promiscMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "10.88.0.0/16" }], [{ "subnet": "2001:4860:4860::/64" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]
        }
    });
    let ports = json!({
        "type": "portmap", "capabilities": { "portMappings": true }, "externalSetMarkChain": "KUBE-MARK-MASQ"
    });
    list("1.0.0", "containerd-net", json!([bridge, ports]))
}

fn cri_o() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": { "type": "host-local", "routes": to_everywhere(), "ranges": [[{ "subnet": "10.85.0.0/16" }]] }
    });
    list("0.3.1", "crio", json!([bridge]))
}

fn kubeadm() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": { "type": "host-local", "subnet": "10.22.0.0/16", "routes": to_everywhere() }
    });
    list("0.2.0", "mynet", json!([bridge]))
}

/// What flannel has `bridge` do, with what K3s puts behind it.
fn flannel() -> Value {
    let bridge = json!({
        "type": "bridge", "hairpinMode": true, "forceAddress": true, "ipMasq": false, "isGateway": true,
        "isDefaultGateway": true, "mtu": 1450,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.42.0.0/24" }]], "routes": [{ "dst": "10.42.0.0/16" }]
        }
    });
    let limits = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    list("1.0.0", "cbr0", json!([bridge, portmap(), limits]))
}

fn podman() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "cni-podman0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "routes": to_everywhere(),
            "ranges": [[{ "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" }]]
        },
        "capabilities": { "ips": true }
    });
    let (firewall, tuning) = (
        json!({ "type": "firewall", "backend": "" }),
        json!({ "type": "tuning", "capabilities": { "mac": true } }),
    );
    list("0.4.0", "podman", json!([bridge, portmap(), firewall, tuning]))
}

fn nerdctl() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "nerdctl0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "routes": to_everywhere(),
            "ranges": [[{ "subnet": "10.4.0.0/24", "gateway": "10.4.0.1" }]]
        }
    });
    let firewall = json!({ "type": "firewall", "ingressPolicy": "same-bridge" });
    list(
        "1.0.0",
        "bridge",
        json!([bridge, portmap(), firewall, { "type": "tuning" }]),
    )
}

fn nerdctl_internal() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "br-1a2b3c4d5e6f", "isGateway": false, "ipMasq": false, "hairpinMode": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.4.1.0/24", "gateway": "10.4.1.1" }]] }
    });
    list("1.0.0", "inside", json!([bridge]))
}

fn macvlan_by_multus() -> Value {
    let macvlan = json!({
        "type": "macvlan", "master": "eth0", "mode": "bridge", "mac": "02:00:00:00:00:77",
        "ipam": {
            "type": "host-local", "subnet": "192.168.1.0/24", "rangeStart": "192.168.1.200",
            "rangeEnd": "192.168.1.216", "routes": to_everywhere(), "gateway": "192.168.1.1"
        }
    });
    list("0.3.1", "macvlan-conf", json!([macvlan]))
}

fn without_addresses() -> Value {
    list(
        "1.0.0",
        "wire",
        json!([{ "type": "bridge", "bridge": "cni0", "ipam": {} }]),
    )
}

fn several_addresses_of_a_family() -> Value {
    let bridge = json!({
        "type": "bridge", "bridge": "cni0",
        "ipam": {
            "type": "host-local", "subnet": "10.3.0.0/24",
            "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24", "gateway": "10.2.0.9" }]],
            "routes": [{ "dst": "10.9.0.0/16", "gw": "10.1.0.7" }, { "dst": "10.10.0.0/16" }]
        }
    });
    list("1.0.0", "sets", json!([bridge]))
}

/// Adds a container by the reference plug-ins and by zdocker, and compares what is found.
#[track_caller]
fn is_alike(list: &Value) {
    let Some(reference) = Runtime::reference() else { return };
    if !IPTABLES.iter().all(|program| has_program(&reference.host, program)) {
        return;
    }
    let (theirs, ours) = (findings(&reference, list), findings(&Runtime::ours(), list));
    for (what, theirs) in &theirs {
        assert_eq!(ours.get(what), Some(theirs), "{what}");
    }
    assert_eq!(ours.len(), theirs.len());
}

fn findings(runtime: &Runtime, list: &Value) -> Findings {
    let sandbox = runtime.sandbox("a");
    act_as_kubernetes(runtime);
    let mut offered = ports(&[(8080, 80)]);
    offered["mac"] = json!("02:11:22:33:44:55");
    let call = Call::new(&sandbox).capabilities(offered);
    let mut found = Findings::new();
    found.insert("result".to_owned(), without_names(runtime.add(list, &call)));
    look_inside(&mut found, &sandbox.net);
    look_at_host(&mut found, &runtime.host.net);
    let port = port_of(runtime, &sandbox);
    found.insert("isolated".to_owned(), port["isolated"].clone());
    look_for_hairpin(&mut found, &list["plugins"][0], runtime, &sandbox);
    // The reference portmap of Debian 12 misses what it never made, and the old forms have no CHECK.
    if runtime.is_ours() && version(list) >= "0.4.0" {
        runtime.check(list, &call).unwrap();
    }
    runtime.del(list, &call);
    found
}

/// Makes the chain that Kubernetes has for others to jump to.
fn act_as_kubernetes(runtime: &Runtime) {
    for program in IPTABLES {
        let script = format!(
            "set -e
             {program} -w -t nat -N KUBE-MARK-MASQ
             {program} -w -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
             {program} -w -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE"
        );
        runtime.host.program("sh", &["-c", &script]).ok();
    }
}

/// Looks at the port of a container whose own frames come back to it, where that is asked for, and at one that did.
fn look_for_hairpin(found: &mut Findings, plugin: &Value, runtime: &Runtime, sandbox: &Sandbox) {
    if plugin["hairpinMode"] != true {
        return;
    }
    assert_eq!(port_of(runtime, sandbox)["hairpin"], true, "hairpin mode of the port");
    if plugin["isGateway"] != true {
        return;
    }
    if runtime.host.program("test", &["-d", "/proc/sys/net/bridge"]).status != 0 {
        return skipped("bridged packets cannot pass iptables here (br_netfilter), so no service is asked for");
    }
    let source = ask_by_service(runtime, sandbox);
    found.insert("source of what comes by a service".to_owned(), source);
}

/// Has the container ask itself by the address of a service that it alone is behind, as kube-proxy makes one where
/// bridged packets pass iptables.
fn ask_by_service(runtime: &Runtime, sandbox: &Sandbox) -> Value {
    let own = addresses_of(&sandbox.net, "eth0")[0]
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let script = format!(
        "set -e
         sysctl -qw net.bridge.bridge-nf-call-iptables=1
         iptables -w -t nat -A PREROUTING -d 10.96.0.1 -p tcp --dport 80 -s {own} -j KUBE-MARK-MASQ
         iptables -w -t nat -A PREROUTING -d 10.96.0.1 -p tcp --dport 80 -j DNAT --to {own}:81"
    );
    runtime.host.program("sh", &["-c", &script]).ok();
    let _server = Server::start(&sandbox.net, "a", 81);
    let answer = reaches(&sandbox.net, Proto::Tcp, (ip("10.96.0.1"), 80));
    answer.source.to_string().into()
}

/// A result without what each plug-in chooses for itself: the names of the host's interfaces, and Ethernet addresses.
fn without_names(mut result: Value) -> Value {
    for (number, interface) in result["interfaces"].as_array_mut().into_iter().flatten().enumerate() {
        if interface.get("sandbox").is_none() && number > 0 {
            interface["name"] = json!("of the host");
        }
        let mac = interface["mac"].as_str().unwrap();
        let is_chosen = !["02:11:22:33:44:55", "02:00:00:00:00:77"].contains(&mac);
        assert_eq!(mac.len(), "02:11:22:33:44:55".len());
        interface
            .as_object_mut()
            .unwrap()
            .retain(|key, _| key != "mac" || !is_chosen);
    }
    // No list is as good as an empty one.
    result.as_object_mut().unwrap().retain(|_, value| *value != json!([]));
    result
}

fn look_inside(found: &mut Findings, net: &NetNs) {
    let link = &net.ip_json(&["link", "show", "dev", "eth0"])[0];
    found.insert("flags".to_owned(), link["flags"].clone());
    found.insert("mtu".to_owned(), link["mtu"].clone());
    found.insert("addresses".to_owned(), addresses_of(net, "eth0").into());
    for family in ["-4", "-6"] {
        found.insert(format!("routes {family}"), routes(net, family));
    }
    for key in [
        "ipv4.conf.eth0.arp_notify",
        "ipv4.conf.eth0.rp_filter",
        "ipv6.conf.eth0.disable_ipv6",
    ] {
        let value = net.output("sysctl", &["-n", &format!("net.{key}")], "");
        found.insert(key.to_owned(), value.trim().into());
    }
}

/// All routes but those to link-local addresses, which ours have with other IPv6 addresses only.
fn routes(net: &NetNs, family: &str) -> Value {
    let all = net.ip_json(&[family, "route", "show"]).into_iter();
    let said = |route: Value| {
        let keys = ["dst", "gateway", "scope", "prefsrc", "metric"];
        let values: Vec<String> = keys.iter().map(|key| format!("{key} {}", route[*key])).collect();
        values.join(", ")
    };
    let lasting = all.filter(|route| route["dst"] != "fe80::/64");
    let mut routes: Vec<String> = lasting.map(said).collect();
    routes.sort();
    routes.into()
}

fn look_at_host(found: &mut Findings, host: &NetNs) {
    for bridge in host.ip_json(&["link", "show", "type", "bridge"]) {
        let name = bridge["ifname"].as_str().unwrap();
        found.insert(format!("addresses of {name}"), addresses_of(host, name).into());
        found.insert(format!("mtu of {name}"), bridge["mtu"].clone());
    }
    for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        found.insert(key.to_owned(), host.output("sysctl", &["-n", key], "").trim().into());
    }
}
