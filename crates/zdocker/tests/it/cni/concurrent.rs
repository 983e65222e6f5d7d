//! Many containers at the same time.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use super::driver::{Call, Runtime, Sandbox};
use super::shapes::addresses;
use super::{both, both_ours, bridge, interfaces, list, portmap, ports, with_version};
use crate::harness::{HOST_V4, Proto, Server, Snapshot, ip, reaches, until};

both!(
    twenty_containers_at_once_have_twenty_addresses,
    containers_come_and_go_beside_each_other
);

/// Does `work` for each sandbox at the same time.
fn at_once<'a, T: Send>(sandboxes: &'a [Sandbox], work: impl Fn(u16, &'a Sandbox) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..)
            .zip(sandboxes)
            .map(|(n, sandbox)| scope.spawn(move || work(n, sandbox)))
            .collect();
        started.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

fn call(number: u16, sandbox: &Sandbox) -> Call<'_> {
    Call::new(sandbox).capabilities(ports(&[(9000 + number, 80)]))
}

/// The reference plug-ins fail where several make what they share for the first time; zdocker must not.
fn prepare(runtime: &Runtime, list: &Value) {
    if !runtime.is_ours() {
        let sandbox = runtime.sandbox("first");
        runtime.add(list, &call(99, &sandbox));
        runtime.del(list, &call(99, &sandbox));
        runtime.end(sandbox);
    }
}

fn twenty_containers_at_once_have_twenty_addresses(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([bridge(), portmap()]));
    let before = Snapshot::take(&runtime.host);
    prepare(runtime, &list);
    let sandboxes: Vec<Sandbox> = (0..20).map(|n| runtime.sandbox(&format!("c{n}"))).collect();
    let results = at_once(&sandboxes, |n, sandbox| runtime.add(&list, &call(n, sandbox)));
    let unique: BTreeSet<_> = results.iter().flat_map(addresses).collect();
    assert_eq!(unique.len(), 20, "{unique:?}");
    for (n, sandbox) in (0..).zip(&sandboxes) {
        let name = sandbox.id.as_str();
        let _server = Server::start(&sandbox.net, name, 80);
        assert_eq!(
            reaches(&runtime.host.outside, Proto::Tcp, (ip(HOST_V4), 9000 + n)).server,
            name
        );
        assert_eq!(
            reaches(
                &runtime.host.net,
                Proto::Tcp,
                (addresses(&results[usize::from(n)])[0], 80)
            )
            .server,
            name
        );
        if runtime.is_ours() {
            runtime.check(&list, &call(n, sandbox)).unwrap();
        }
    }
    at_once(&sandboxes, |n, sandbox| runtime.del(&list, &call(n, sandbox)));
    for sandbox in sandboxes {
        until("the interface is gone", || interfaces(&sandbox.net).is_empty());
        runtime.end(sandbox);
    }
    if runtime.is_ours() {
        runtime.gc(&with_version(&list, "1.1.0"), &[]).unwrap();
    }
    runtime.assert_as_before(&before);
}

fn containers_come_and_go_beside_each_other(runtime: &Runtime) {
    let list = list("1.0.0", "net", json!([bridge(), portmap()]));
    let before = Snapshot::take(&runtime.host);
    prepare(runtime, &list);
    let sandboxes: Vec<Sandbox> = (0..8).map(|n| runtime.sandbox(&format!("c{n}"))).collect();
    at_once(&sandboxes, |n, sandbox| {
        let call = call(n, sandbox);
        for _ in 0..3 {
            let result = runtime.add(&list, &call);
            if runtime.is_ours() {
                runtime.check(&list, &call).unwrap();
            }
            let server = Server::start(&sandbox.net, &sandbox.id, 80);
            let answer = reaches(&runtime.host.net, Proto::Tcp, (addresses(&result)[0], 80));
            assert_eq!(answer.server, sandbox.id);
            drop(server);
            runtime.del(&list, &call);
            until("the interface is gone", || interfaces(&sandbox.net).is_empty());
        }
    });
    for sandbox in sandboxes {
        runtime.end(sandbox);
    }
    if runtime.is_ours() {
        runtime.gc(&with_version(&list, "1.1.0"), &[]).unwrap();
    }
    runtime.assert_as_before(&before);
}

#[test]
fn networks_come_and_go_beside_each_other() {
    let runtime = Runtime::ours();
    let before = Snapshot::take(&runtime.host);
    let sandboxes: Vec<Sandbox> = (0..8).map(|n| runtime.sandbox(&format!("c{n}"))).collect();
    at_once(&sandboxes, |n, sandbox| {
        let mut plugin = bridge();
        plugin["bridge"] = json!(format!("cni{n}"));
        plugin["ipam"]["ranges"] = json!([[{ "subnet": format!("10.88.{n}.0/24") }]]);
        let list = list("1.1.0", &format!("net{n}"), json!([plugin, portmap()]));
        for _ in 0..3 {
            runtime.add(&list, &call(n, sandbox));
            runtime.check(&list, &call(n, sandbox)).unwrap();
            runtime.del(&list, &call(n, sandbox));
            runtime.gc(&list, &[]).unwrap();
        }
    });
    for sandbox in sandboxes {
        runtime.end(sandbox);
    }
    before.assert_same(&runtime.host);
}
