//! `create`, `start` and `restart`.

use crate::harness::{HOST_V4, Host, Proto, Server, Snapshot, ip, is_id, reaches};

#[test]
fn a_created_container_is_started_later() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let created = host.z("create --name a --net n --ip 10.1.0.5 -p 8080:80 --rootfs / -- busybox sleep infinity");
    assert!(is_id(created.ok().text()));
    host.z("ps -a").ok().prints(&["Created", "a"]);
    host.z("start a").ok();
    host.z("stop -t 0 a").ok();
    let before = Snapshot::take(&host);
    host.z("start a").ok().prints(&["a"]);
    host.z("ps").ok().prints(&["Up", "0.0.0.0:8080->80/tcp"]);
    host.z("start a").ok();
    host.z("stop -t 0 a").ok();
    before.assert_same(&host);
    host.z("ps -a").ok().prints(&["Exited (137)"]);
    host.z("rm a").ok();
}

#[test]
fn what_a_container_wrote_is_there_when_it_is_started_again() {
    let host = Host::new();
    let script = "cat /root/count 2>/dev/null; echo x >> /root/count";
    host.zdocker(&[
        "run", "--name", "a", "--net", "none", "--rootfs", "/", "--", "sh", "-c", script,
    ])
    .ok();
    assert_eq!(host.z("start -a a").ok().text(), "x");
    assert_eq!(host.z("start -a a").ok().text(), "x\nx");
    host.zdocker(&[
        "create", "--name", "b", "-i", "--net", "none", "--rootfs", "/", "--", "busybox", "cat",
    ])
    .ok();
    assert_eq!(
        host.zdocker_fed(&["start", "-a", "-i", "b"], "spoken").ok().text(),
        "spoken"
    );
    assert_eq!(
        host.zdocker_fed(&["start", "-a", "-i", "b"], "again").ok().text(),
        "again"
    );
}

#[test]
fn the_exit_status_is_that_of_the_last_run() {
    let host = Host::new();
    let script = "test -e /root/been && exit 4; touch /root/been; exit 3";
    host.zdocker(&[
        "run", "--name", "a", "--net", "none", "--rootfs", "/", "--", "sh", "-c", script,
    ])
    .exits(3);
    host.z("start -a a").exits(4);
    host.z("ps -a").ok().prints(&["Exited (4)"]);
}

#[test]
fn a_restarted_container_publishes_again() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let a = host.run("a", "--net n --ip 10.1.0.5 -p 8080:7000");
    drop(a);
    host.z("restart -t 0 a").ok();
    let pid = host.zdocker(&["exec", "a", "busybox", "true"]).status;
    assert_eq!(pid, 0);
    let again = host.container("a");
    let _server = Server::start(&again.net, "a", 7000);
    assert_eq!(reaches(&host.outside, Proto::Tcp, (ip(HOST_V4), 8080)).server, "a");
    assert_eq!(again.v4(), ip("10.1.0.5"));
}

#[test]
fn a_start_that_fails_leaves_the_container_as_it_was() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.z("create --name a --net n --ip 10.1.0.5 --rootfs / -- /no/such/program")
        .ok();
    let _other = host.run("other", "--net n --ip 10.1.0.6 -p 8080:80");
    host.z("create --name b --net n --ip 10.1.0.6 --rootfs / -- busybox sleep infinity")
        .ok();
    host.z("create --name c --net n -p 8080:80 --rootfs / -- busybox sleep infinity")
        .ok();
    host.z("create --name d --net gone --rootfs / -- true")
        .exits(1)
        .says(&["gone"]);
    host.z("start a").exits(1);
    let before = Snapshot::take(&host);
    host.z("start a").exits(1).says(&["/no/such/program"]);
    host.z("start b").exits(1).says(&["10.1.0.6", "in use"]);
    host.z("start c").exits(1).says(&["8080", "other"]);
    host.z("start nobody").exits(1).says(&["nobody"]);
    before.assert_same(&host);
    let listed = host.z("ps -a").ok().text().to_owned();
    assert_eq!(listed.matches("Created").count(), 3, "{listed}");
    host.z("rm a b c").ok();
}
