//! Many commands at the same time.

use std::collections::BTreeSet;
use std::thread;

use crate::harness::{Host, Output, Proto, Server, Snapshot, ip, reaches};

/// Runs `zdocker ARGS` for each number below `count`, all at the same time.
fn at_once(host: &Host, count: usize, args: impl Fn(usize) -> String + Sync) -> Vec<Output> {
    thread::scope(|scope| {
        let args = &args;
        let started = (0..count)
            .map(|n| scope.spawn(move || host.z(&args(n))))
            .collect::<Vec<_>>();
        started.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn ten_networks_at_once_have_ten_subnets() {
    let host = Host::new();
    for output in at_once(&host, 10, |n| format!("network create n{n}")) {
        output.ok();
    }
    let names = (0..10).map(|n| format!("n{n}")).collect::<Vec<_>>().join(" ");
    let shown = host.z(&format!("network inspect {names}")).ok().json();
    let subnets = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|network| network["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned());
    assert_eq!(subnets.collect::<BTreeSet<_>>().len(), 10, "{shown:#}");
    for output in at_once(&host, 10, |n| format!("network rm n{n}")) {
        output.ok();
    }
    assert!(host.net.ip_json(&["link", "show", "type", "bridge"]).is_empty());
}

#[test]
fn of_ten_networks_with_one_name_one_is_made() {
    let host = Host::new();
    let outputs = at_once(&host, 10, |_| "network create same".to_owned());
    let (made, refused) = outputs.into_iter().partition::<Vec<_>, _>(|output| output.status == 0);
    assert_eq!(made.len(), 1, "{made:?}");
    for output in refused {
        output.exits(1).says(&["\"same\"", "exists already"]);
    }
    assert_eq!(host.net.ip_json(&["link", "show", "type", "bridge"]).len(), 1);
    assert_eq!(host.z("network inspect same").ok().json()[0]["Id"], made[0].text());
}

#[test]
fn of_ten_containers_with_one_port_one_is_made() {
    let host = Host::new();
    host.z("network create n").ok();
    let outputs = at_once(&host, 10, |n| {
        format!("run -d --name c{n} --net n -p 8080:80 --rootfs / -- busybox sleep infinity")
    });
    let (made, refused) = outputs.into_iter().partition::<Vec<_>, _>(|output| output.status == 0);
    assert_eq!(made.len(), 1, "{made:?}");
    for output in refused {
        output.exits(125).says(&["8080"]);
    }
    assert_eq!(host.z("ps -aq").ok().stdout.lines().count(), 1);
    assert_eq!(
        host.net.ip_json(&["link", "show", "type", "veth"]).len(),
        2,
        "eth0 and one more"
    );
}

#[test]
fn fifty_containers_at_once_have_fifty_addresses() {
    let host = Host::new();
    host.z("network create --subnet 10.50.0.0/24 n").ok();
    let before = Snapshot::take(&host);
    let outputs = at_once(&host, 50, |n| {
        format!(
            "run -d --name c{n} --net n -p {}:80 --rootfs / -- busybox sleep infinity",
            9000 + n
        )
    });
    let ids = outputs
        .into_iter()
        .map(|output| output.ok().text().to_owned())
        .collect::<BTreeSet<_>>();
    assert_eq!(ids.len(), 50);
    let shown = host.z("network inspect n").ok().json();
    let endpoints = shown[0]["Containers"].as_object().unwrap();
    let addresses = endpoints
        .values()
        .map(|endpoint| endpoint["IPv4Address"].as_str().unwrap().to_owned());
    assert_eq!(addresses.collect::<BTreeSet<_>>().len(), 50, "{shown:#}");
    assert_eq!(endpoints.keys().cloned().collect::<BTreeSet<_>>(), ids);
    let last = host.run("one-more", "--net n -p 8999:80");
    let server = Server::start(&last.net, "last", 80);
    assert_eq!(
        reaches(&host.outside, Proto::Tcp, (ip("203.0.113.1"), 8999)).server,
        "last"
    );
    // Whoever holds its network namespace keeps a container's interfaces.
    drop((server, last));
    host.z("rm -f one-more").ok();
    for output in at_once(&host, 50, |n| format!("rm -f c{n}")) {
        output.ok();
    }
    before.assert_same(&host);
}

#[test]
fn one_container_removed_by_many_is_removed_once() {
    let host = Host::new();
    host.z("network create n").ok();
    let before = Snapshot::take(&host);
    host.run("a", "--net n");
    let outputs = at_once(&host, 5, |_| "rm -f a".to_owned());
    assert!(outputs.iter().any(|output| output.status == 0), "{outputs:?}");
    assert!(host.z("ps -aq").ok().text().is_empty());
    before.assert_same(&host);
}

#[test]
fn networks_and_containers_come_and_go_beside_each_other() {
    let host = Host::new();
    host.z("network create n").ok();
    let before = Snapshot::take(&host);
    let outputs = at_once(&host, 12, |n| match n % 3 {
        0 => format!("network create extra{n}"),
        1 => "run --rm --net n --rootfs / -- true".to_owned(),
        _ => format!("run --rm --net n -p {}:80 --rootfs / -- true", 9000 + n),
    });
    for output in outputs {
        output.ok();
    }
    host.z("network rm extra0 extra3 extra6 extra9").ok();
    before.assert_same(&host);
}
