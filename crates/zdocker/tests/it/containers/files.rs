//! The file system of a container.

use std::fs;
use std::path::Path;

use super::run_sh;
use crate::harness::Host;

#[test]
fn a_container_cannot_write_to_the_host() {
    let host = Host::new();
    let mark = host.scratch().join("written-by-container");
    let mark = mark.to_str().unwrap();
    run_sh(
        &host,
        "--rm",
        &format!("mkdir -p $(dirname {mark}); echo x > {mark}; echo x > /written; cat {mark} /written"),
    )
    .ok()
    .prints(&["x\nx\n"]);
    assert!(!Path::new(mark).exists());
    assert!(!Path::new("/written").exists());
    run_sh(&host, "--rm", "test ! -e /written").ok();
}

#[test]
fn what_a_container_wrote_stays_until_it_is_removed() {
    let host = Host::new();
    host.run("a", "");
    host.zdocker(&["exec", "a", "sh", "-c", "echo kept > /kept; rm /etc/passwd"])
        .ok();
    host.z("exec a cat /kept").ok().prints(&["kept"]);
    assert_ne!(host.z("exec a cat /etc/passwd").status, 0);
    assert!(Path::new("/etc/passwd").exists());
    assert_ne!(
        run_sh(&host, "--rm", "cat /kept").status,
        0,
        "another container does not see it"
    );
}

#[test]
fn kernel_interfaces_of_the_host_are_out_of_reach() {
    let host = Host::new();
    for script in [
        "echo 0 > /proc/sys/kernel/panic",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo x > /sys/kernel/uevent_helper",
        "mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x",
        "echo b > /proc/sysrq-trigger",
        "test -s /proc/kcore && head -c 1 /proc/kcore | grep -q .",
        "mknod /tmp/disk b $(stat -c '%Hd %Ld' /) && head -c 1 /tmp/disk",
        "test -e /dev/vda -o -e /dev/kmsg -o -e /dev/mem",
    ] {
        assert_ne!(run_sh(&host, "--rm", script).status, 0, "{script}");
    }
    let devices = "for d in null zero full random urandom tty; do test -c /dev/$d || exit 1; done;
                   echo x > /dev/null; test -d /dev/shm -a -d /dev/pts; echo x > /dev/shm/x";
    run_sh(&host, "--rm", devices).ok();
}

#[test]
fn zdockers_own_directories_are_hidden() {
    let host = Host::new();
    host.run("other", "");
    for root in [host.root(), host.run_root()] {
        let listing = run_sh(
            &host,
            "--rm",
            &format!("find '{}' -mindepth 1 2>/dev/null", root.display()),
        );
        assert_eq!(listing.stdout, "", "a container sees what is in {}", root.display());
    }
}

#[test]
fn volumes_show_directories_of_the_host() {
    let host = Host::new();
    let directory = host.scratch().join("shared");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("given"), "from the host\n").unwrap();
    let shared = directory.display();
    let script = "cat /data/given; echo back > /data/made";
    run_sh(&host, &format!("--rm -v {shared}:/data"), script)
        .ok()
        .prints(&["from the host"]);
    assert_eq!(fs::read_to_string(directory.join("made")).unwrap(), "back\n");
    let refused = run_sh(
        &host,
        &format!("--rm -v {shared}:/data:ro"),
        "cat /data/given; echo x > /data/refused",
    );
    assert_ne!(refused.status, 0);
    refused.prints(&["from the host"]);
    assert!(!directory.join("refused").exists());
    // A single file, and a place that is not in the root file system.
    let options = format!("--rm -v {shared}/given:/etc/given:ro -v {shared}:/deep/in/the/tree");
    run_sh(&host, &options, "cat /etc/given; ls /deep/in/the/tree")
        .ok()
        .prints(&["from the host", "made"]);
    assert!(!Path::new("/deep").exists());
}

#[test]
fn a_volume_that_is_not_there_is_made() {
    let host = Host::new();
    let made = host.scratch().join("made/on/demand");
    run_sh(&host, &format!("--rm -v {}:/data", made.display()), "echo x > /data/x").ok();
    assert_eq!(fs::read_to_string(made.join("x")).unwrap(), "x\n");
}

#[test]
fn a_directory_of_its_own_can_be_the_root() {
    let host = Host::new();
    let root = host.scratch().join("root with space");
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    let linked = host.program("ldd", &["/usr/bin/busybox"]).stdout;
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&library[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(library, copy).unwrap();
    }
    let root = root.to_str().unwrap();
    let args = [
        "run",
        "--rm",
        "--rootfs",
        root,
        "--",
        "busybox",
        "sh",
        "-c",
        "busybox ls /; echo x > /x; busybox ls /x",
    ];
    let output = host.zdocker(&args).ok();
    assert!(!output.stdout.contains("home"), "{}", output.stdout);
    output.prints(&["bin\n", "/x\n"]);
    assert!(!Path::new(root).join("x").exists());
}

#[test]
fn names_are_resolved_by_files_of_the_containers_own() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 n")
        .ok();
    let files = "cat /etc/hosts; echo; cat /etc/hostname";
    let output = run_sh(&host, "--rm --net n --hostname box", files).ok();
    let words = |name: &str| {
        let is_it = |line: &&str| line.split_whitespace().skip(1).any(|word| word == name);
        output
            .stdout
            .lines()
            .filter(is_it)
            .map(|l| l.split_whitespace().next().unwrap())
            .collect::<Vec<_>>()
    };
    assert!(words("localhost").contains(&"127.0.0.1"), "{}", output.stdout);
    assert!(words("box").contains(&"10.1.0.2"), "{}", output.stdout);
    assert!(output.stdout.ends_with("box\n"), "{}", output.stdout);
    let changed = run_sh(
        &host,
        "--rm --net n",
        "echo '10.9.9.9 mine' >> /etc/hosts; busybox grep mine /etc/hosts",
    )
    .ok();
    changed.prints(&["10.9.9.9 mine"]);
    assert!(!fs::read_to_string("/etc/hosts").unwrap().contains("10.9.9.9"));
}

#[test]
fn name_servers_are_those_asked_for_or_the_hosts() {
    let host = Host::new();
    let cat = "cat /etc/resolv.conf";
    let asked = run_sh(&host, "--rm --dns 192.0.2.53 --dns 2001:db8::53", cat).ok();
    let servers = asked
        .stdout
        .lines()
        .filter(|line| line.starts_with("nameserver"))
        .collect::<Vec<_>>();
    assert_eq!(servers, ["nameserver 192.0.2.53", "nameserver 2001:db8::53"]);
    // The host's servers, without those that only the host itself reaches.
    let file = host.scratch().join("resolv.conf");
    fs::write(
        &file,
        "search example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.77\n",
    )
    .unwrap();
    host.program("mount", &["--bind", file.to_str().unwrap(), "/etc/resolv.conf"])
        .ok();
    let inherited = run_sh(&host, "--rm", cat).ok();
    inherited.prints(&["search example.org", "nameserver 192.0.2.77"]);
    assert!(!run_sh(&host, "--rm", cat).ok().stdout.contains("127.0.0.53"));
    run_sh(&host, "--rm --net host", cat)
        .ok()
        .prints(&["nameserver 127.0.0.53"]);
}
