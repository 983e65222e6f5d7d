//! `bandwidth`: what the kernel was told, of our interfaces and of others'. How much then passes, other tests measure.

use serde_json::{Value, json};

use super::driver::{Call, Runtime, execution_config};
use super::{bridge, list};
use crate::harness::until;

fn chain() -> Value {
    let limits = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    list("1.0.0", "net", json!([bridge(), limits]))
}

fn limits() -> Value {
    json!({ "bandwidth": {
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000
    } })
}

/// The host's queues: device, kind, and how many thousands of bytes pass at once. The kernel counts them as time.
fn queues(runtime: &Runtime) -> Vec<(String, String, u64)> {
    let shown = runtime.host.net.output("tc", &["-json", "qdisc", "show"], "");
    let all: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let limited = all
        .iter()
        .filter(|queue| queue["kind"] == "tbf" || queue["kind"] == "ingress");
    let mut queues: Vec<_> = limited
        .map(|queue| {
            let text = |key: &str| queue[key].as_str().unwrap().to_owned();
            (
                text("dev"),
                text("kind"),
                (queue["options"]["burst"].as_u64().unwrap_or(0) + 500) / 1000,
            )
        })
        .collect();
    queues.sort();
    queues
}

fn ifbs(runtime: &Runtime) -> usize {
    runtime.host.net.ip_json(&["link", "show", "type", "ifb"]).len()
}

/// The host's end of the container's pair.
fn pair(runtime: &Runtime) -> String {
    let links = runtime.host.net.ip_json(&["link", "show", "type", "veth"]);
    let ours = links.iter().find(|link| link["master"] == "cni0");
    ours.unwrap()["ifname"].as_str().unwrap().to_owned()
}

fn is_kept_and_taken_back(runtime: &Runtime) {
    let list = chain();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox).capabilities(limits());
    let result = runtime.add(&list, &call);
    let (pair, all) = (pair(runtime), queues(runtime));
    let of_pair: Vec<(&str, u64)> = all
        .iter()
        .filter(|(device, ..)| *device == pair)
        .map(|(_, kind, burst)| (kind.as_str(), *burst))
        .collect();
    assert_eq!(of_pair, [("ingress", 0), ("tbf", 100)], "{all:?}");
    let others: Vec<_> = all.iter().filter(|(device, ..)| *device != pair).collect();
    assert!(matches!(others[..], [(_, kind, 200)] if kind == "tbf"), "{all:?}");
    let second = |verb: &str| {
        let config = execution_config(&list, &list["plugins"][1], &call, Some(&result));
        runtime.single(verb, &config, &call)
    };
    second("CHECK").unwrap();
    runtime
        .host
        .net
        .output("tc", &["qdisc", "delete", "dev", &pair, "root"], "");
    assert_eq!(second("CHECK").unwrap_err().code, 101);
    second("DEL").unwrap();
    until("no limit is left", || queues(runtime).is_empty() && ifbs(runtime) == 0);
    second("DEL").unwrap();
    second("ADD").unwrap();
    assert_eq!((queues(runtime).len(), ifbs(runtime)), (3, 1));
    second("CHECK").unwrap();
    runtime.end(sandbox);
    runtime.del(&list, &Call::without_namespace("container-a", None));
    until("no limit is left", || queues(runtime).is_empty() && ifbs(runtime) == 0);
}

/// As containerd and CRI-O ask, who know rates alone.
#[test]
fn a_burst_may_be_as_good_as_endless() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    for (rate, burst) in [
        (100_000_u64, (1_u64 << 31) - 1),
        (1_000_000, u64::from(u32::MAX)),
        (10_000_000_000, u64::from(u32::MAX)),
    ] {
        let limits = json!({ "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst });
        let call = Call::new(&sandbox).capabilities(json!({ "bandwidth": limits }));
        runtime.add(&chain(), &call);
        assert_eq!(queues(&runtime).len(), 3, "{rate} {burst}");
        runtime.check(&chain(), &call).unwrap();
        runtime.del(&chain(), &call);
        until("no limit is left", || queues(&runtime).is_empty());
    }
}

#[test]
fn of_ours() {
    is_kept_and_taken_back(&Runtime::ours());
}

#[test]
fn of_somebody_elses() {
    if let Some(runtime) = Runtime::mixed() {
        is_kept_and_taken_back(&runtime);
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let call = Call::new(&sandbox);
    let result = runtime.add(&list("1.0.0", "net", json!([bridge()])), &call);
    for (limits, code) in [
        (json!({ "ingressRate": 1_000_000 }), 7),
        (json!({ "egressBurst": 1_000_000 }), 7),
        (json!({ "ingressRate": -1 }), 7),
        (json!({ "ingressRate": 7, "ingressBurst": 8 }), 7),
        (
            json!({ "ingressRate": 1_000_000, "ingressBurst": 8, "unshapedSubnets": ["10.0.0.0/8"] }),
            2,
        ),
    ] {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "prevResult": result.clone()
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(limits.as_object().unwrap().clone());
        let failure = runtime.single("ADD", &config, &call).unwrap_err();
        assert_eq!(failure.code, code, "{limits}: {:?}", failure.printed);
    }
    assert!(queues(&runtime).is_empty());
    let plain = json!({ "cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "prevResult": result.clone() });
    assert_eq!(runtime.single("ADD", &plain, &call).unwrap().unwrap(), result);
}
