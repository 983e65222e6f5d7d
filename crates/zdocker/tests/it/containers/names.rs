//! What a container is called, and where it looks names up.

use super::run_sh;
use crate::harness::Host;

#[test]
fn search_domains_and_options_of_the_resolver() {
    let host = Host::new();
    let cat = "cat /etc/resolv.conf";
    let options =
        "--rm --dns 192.0.2.53 --dns-search a.example --dns-search b.example --dns-option ndots:2 --dns-opt edns0";
    let asked = run_sh(&host, options, cat).ok();
    assert_eq!(
        asked.stdout,
        "search a.example b.example\noptions ndots:2 edns0\nnameserver 192.0.2.53\n"
    );
    // On the host's network as well.
    run_sh(&host, "--rm --net host --dns-search c.example", cat)
        .ok()
        .prints(&["search c.example\n"]);
    for bad in [["--dns-search", "a b"], ["--dns-option", "x\nnameserver 192.0.2.1"]] {
        let args = [&["run"][..], &bad, &["--rootfs", "/", "--", "busybox", "true"]].concat();
        host.zdocker(&args).exits(125).says(&["one word"]);
    }
}

#[test]
fn a_host_name_in_a_domain() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    let script = "busybox hostname; cat /proc/sys/kernel/domainname /etc/hostname /etc/hosts";
    run_sh(&host, "--rm --net n --hostname web --domainname example.org", script)
        .ok()
        .prints(&["web\nexample.org\nweb.example.org\n", "10.1.0.2\tweb.example.org web"]);
    host.zdocker(&["run", "--domainname", "a b", "--rootfs", "/", "--", "busybox", "true"])
        .exits(125)
        .says(&["invalid host name \"a b\""]);
}

#[test]
fn who_shares_a_network_shares_its_names() {
    let host = Host::new();
    host.z("network create --subnet 10.1.0.0/24 n").ok();
    host.run(
        "a",
        "--net n --hostname first --dns 192.0.2.53 --add-host printer:192.0.2.7",
    );
    host.run("beside", "--net container:a");
    host.run("later", "--net n");
    let files = [
        "busybox hostname",
        "cat /etc/hosts",
        "cat /etc/hostname",
        "cat /etc/resolv.conf",
    ];
    let seen = |container: &str| {
        let output = host.zdocker(&["exec", container, "sh", "-c", &files.join("; ")]);
        output.ok().stdout
    };
    assert_eq!(seen("beside"), seen("a"));
    let names = seen("beside");
    for name in [
        "first\n",
        "\tfirst a\n",
        "\tprinter\n",
        "\tlater ",
        "nameserver 192.0.2.53\n",
    ] {
        assert!(names.contains(name), "{name:?}: {names}");
    }
    // They stay when the other is gone.
    host.z("rm -f a").ok();
    host.z("exec beside cat /etc/hostname").ok().prints(&["first"]);
}

#[test]
fn names_of_a_shared_network_are_not_given_twice() {
    let host = Host::new();
    host.run("a", "");
    for option in [
        ["--hostname", "x"],
        ["--domainname", "x"],
        ["--add-host", "x:192.0.2.1"],
        ["--dns", "192.0.2.1"],
        ["--dns-search", "x"],
        ["--dns-option", "x"],
    ] {
        let args = [
            &["run", "--net", "container:a"][..],
            &option,
            &["--rootfs", "/", "--", "busybox", "true"],
        ]
        .concat();
        host.zdocker(&args).exits(125).says(&[option[0], "container:a"]);
    }
}
