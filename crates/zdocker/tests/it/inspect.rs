//! What lists and `inspect` tell, with filters and formats, and how they are refused.

use serde_json::{Value, json};

use crate::harness::{Host, ip};

/// The words of a command's standard output.
#[track_caller]
fn words(host: &Host, args: &[&str]) -> Vec<String> {
    let output = host.zdocker(args).ok();
    output.stdout.split_whitespace().map(str::to_owned).collect()
}

/// The names of the networks that `filters` let through, in alphabetical order.
#[track_caller]
fn networks(host: &Host, filters: &[&str]) -> Vec<String> {
    let mut args = vec!["network", "ls", "--format", "{{.Name}}"];
    args.extend(filters.iter().flat_map(|filter| ["--filter", *filter]));
    let mut names = words(host, &args);
    names.sort();
    names
}

/// The names of the containers that `ps OPTIONS` shows, the newest first.
#[track_caller]
fn containers(host: &Host, options: &str) -> Vec<String> {
    let mut args = vec!["ps", "--format", "{{.Names}}"];
    args.extend(options.split_whitespace());
    words(host, &args)
}

#[track_caller]
fn format(host: &Host, template: &str, name: &str) -> String {
    let output = host.zdocker(&["inspect", "-f", template, name]).ok();
    output.stdout.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn networks_are_filtered() {
    let host = Host::new();
    for create in [
        "--label tier=front web",
        "--label tier=back --label old web-2",
        "--internal db",
    ] {
        host.z(&format!("network create {create}")).ok();
    }
    host.run("a", "--net web");
    let id = host.zdocker(&["network", "ls", "-q", "--no-trunc", "--filter", "name=^db$"]);
    let id = id.ok().text().to_owned();
    assert_eq!(id.len(), 64);
    let cases: &[(&[&str], &[&str])] = &[
        (&["name=web"], &["web", "web-2"]),
        (&["name=^web$", "name=db"], &["db", "web"]),
        (&["driver=null"], &["none"]),
        (&["driver=bridge", "type=custom"], &["db", "web", "web-2"]),
        (&["type=builtin"], &["bridge", "host", "none"]),
        (&["label=tier"], &["web", "web-2"]),
        (&["label=tier=back", "label=old"], &["web-2"]),
        (&["dangling=true"], &["db", "web-2"]),
        (&["dangling=false", "type=custom"], &["web"]),
        (&["scope=local", "name=db"], &["db"]),
        (&["scope=global"], &[]),
        (&[&format!("id={}", &id[..8])], &["db"]),
        (&[" Name = web-2 "], &["web-2"]),
    ];
    for (filters, expected) in cases {
        assert_eq!(networks(&host, filters), *expected, "{filters:?}");
    }
    let refused = |filter: &str| host.zdocker(&["network", "ls", "--filter", filter]);
    refused("nope=1").exits(1).says(&["\"nope\"", "dangling, driver, id"]);
    refused("type=x").exits(1).says(&["builtin or custom"]);
    refused("name").exits(125).says(&["KEY=VALUE"]);
}

#[test]
fn lists_are_written_as_asked() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 --subnet fd00:7::/64 --label b=2 --label a=1 n")
        .ok();
    let id = host.z("network ls -q --filter name=^n$").ok().text().to_owned();
    let row = |format: &str| {
        let output = host.zdocker(&["network", "ls", "--filter", "name=^n$", "--format", format]);
        output.ok().stdout
    };
    assert_eq!(
        row("{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label \"b\"}}"),
        format!("{id} n bridge local true true false a=1,b=2 2\n")
    );
    assert_eq!(
        row("table {{.Name}}\\t{{.Driver | upper}}\\t{{.Subnet}}"),
        "NAME   DRIVER   SUBNET\nn      BRIDGE   10.7.0.0/24,fd00:7::/64\n"
    );
    assert!(row("{{.CreatedAt}}").trim_end().ends_with(" +0000 UTC"));
    let object: Value = serde_json::from_str(&row("json")).unwrap();
    assert_eq!(
        (&object["ID"], &object["IPv6"], &object["Containers"]),
        (&json!(id), &json!("true"), &json!(0))
    );
    // A format says more than -q, as with Docker.
    assert_eq!(
        host.z("network ls -q --filter name=^n$ --format {{.Name}}").ok().stdout,
        "n\n"
    );
    let whole = host.z("network ls --no-trunc --filter name=^n$ --format {{.ID}}").ok();
    assert!(whole.text().len() == 64 && whole.text().starts_with(&id));
    assert_eq!(host.z("network ls -q --filter name=nothing").ok().stdout, "");
    assert_eq!(host.z("network ls --filter name=nothing --format json").ok().stdout, "");

    let refused = |format: &str| host.zdocker(&["network", "ls", "--format", format]);
    refused("{{.Nope}}")
        .exits(1)
        .says(&["line 1, column 3", "\"Nope\"", "ID, Name"]);
    refused("{{if").exits(125).says(&["line 1, column 1", "{{ has no }}"]);
    host.z("network ls --format {{.Name}}")
        .ok()
        .prints(&["bridge\n", "host\n", "none\n"]);
}

#[test]
fn network_inspect_counts_addresses_and_takes_templates() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 --subnet fd00:7::/64 --label who=me n")
        .ok();
    let a = host.run("a", "--net n -p 8080:80");
    let inspect = |format: &str| {
        let output = host.zdocker(&["network", "inspect", "-f", format, "n"]);
        output.ok().stdout
    };
    let shown = host.z("network inspect n").ok().json()[0].take();
    assert_eq!(shown["EnableIPv4"], true);
    assert_eq!(
        shown["Status"]["IPAM"]["Subnets"],
        json!({
            // The network's own address, the broadcast address, the gateway and a container.
            "10.7.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 252},
            "fd00:7::/64": {"IPsInUse": 3, "DynamicIPsAvailable": u64::MAX - 2},
        })
    );
    let keys: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys[..5],
        ["Name", "Id", "Created", "Scope", "Driver"],
        "in Docker's order"
    );
    assert_eq!(
        inspect("{{range .IPAM.Config}}{{.Subnet}} via {{.Gateway}}{{.IPRange}};{{end}}"),
        "10.7.0.0/24 via 10.7.0.1;fd00:7::/64 via fd00:7::1;\n"
    );
    assert_eq!(
        inspect("{{range $id, $c := .Containers}}{{$c.Name}} {{slice $id 0 12}} {{$c.IPv4Address}}{{end}}"),
        format!("a {} 10.7.0.2/24\n", &a.id[..12])
    );
    assert_eq!(
        inspect("{{.Labels.who}} {{.Labels.nobody}} {{index .Labels \"nobody\"}}"),
        "me <no value> \n"
    );
    assert_eq!(
        inspect("{{json .IPAM.Config}}"),
        shown["IPAM"]["Config"].to_string() + "\n"
    );
    assert_eq!(
        inspect("{{with index .Status.IPAM.Subnets \"10.7.0.0/24\"}}{{.IPsInUse}}{{end}}"),
        "4\n"
    );
    assert_eq!(inspect("json"), json!([shown]).to_string() + "\n");
    // Beyond Docker.
    let verbose = host.z("network inspect -v n").ok().json()[0].take();
    let container = &verbose["Containers"][&a.id];
    assert_eq!(
        (&container["Interface"], &container["PublishedPorts"]),
        (&json!("eth0"), &json!(["8080:80/tcp"]))
    );
    assert_eq!(verbose["Device"]["Name"], "n");
    host.z("rm -f a").ok();
    assert_eq!(
        inspect("{{len .Containers}} {{(index .Status.IPAM.Subnets \"10.7.0.0/24\").IPsInUse}}"),
        "0 3\n"
    );

    // What there is is shown, what there is not is named.
    let mixed = host
        .z("network inspect -f {{.Name}} n nothing bridge")
        .exits(1)
        .says(&["\"nothing\""]);
    assert_eq!(mixed.stdout, "n\nbridge\n");
    host.zdocker(&["network", "inspect", "-f", "x {{.Nope}}", "n"])
        .exits(1)
        .says(&["line 1, column 5", "\"Nope\"", "IPAM, Internal"]);
    host.z("network inspect -f {{.Name n")
        .exits(125)
        .says(&["{{ has no }}"]);
}

#[test]
fn prune_takes_filters() {
    let host = Host::new();
    for create in ["--label tmp a", "--label tmp --label keep b", "c"] {
        host.z(&format!("network create {create}")).ok();
    }
    let prune = |filters: &[&str]| {
        let mut args = vec!["network", "prune", "-f"];
        args.extend(filters.iter().flat_map(|filter| ["--filter", *filter]));
        host.zdocker(&args)
    };
    prune(&["until=1h"]).ok();
    prune(&["until=2020-01-01"]).ok();
    assert_eq!(networks(&host, &["type=custom"]), ["a", "b", "c"]);
    let asked = host
        .zdocker_fed(&["network", "prune", "--filter", "label=tmp"], "n\n")
        .ok();
    asked.prints(&["label=tmp"]);
    prune(&["label=tmp", "label!=keep"]).ok().prints(&["a"]);
    assert_eq!(networks(&host, &["type=custom"]), ["b", "c"]);
    prune(&["name=b"]).exits(1).says(&["label, label! and until"]);
    prune(&["until=whenever"]).exits(1).says(&["how long ago"]);
    prune(&["until=0s"]).ok();
    assert_eq!(networks(&host, &["type=custom"]), [""; 0]);
}

#[test]
fn inspect_tells_of_a_container_what_docker_tells() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 --subnet fd00:7::/64 n")
        .ok();
    let a = host.run(
        "a",
        "--net bridge --net n -p 127.0.0.1:8080:80 -v /tmp:/data:ro --dns 9.9.9.9 -u 0 -w /tmp",
    );
    let shown = host.z("inspect a").ok().json()[0].take();
    let second = a.address("eth1", false);
    for (path, expected) in [
        ("/Id", json!(a.id)),
        ("/Name", json!("/a")),
        ("/Path", json!("busybox")),
        ("/Args", json!(["sleep", "infinity"])),
        ("/State/Status", json!("running")),
        ("/State/Running", json!(true)),
        ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
        ("/Config/Hostname", json!(&a.id[..12])),
        ("/Config/User", json!("0")),
        ("/Config/WorkingDir", json!("/tmp")),
        ("/Config/Tty", json!(false)),
        ("/Config/Cmd", json!(["busybox", "sleep", "infinity"])),
        ("/Config/ExposedPorts", json!({"80/tcp": {}})),
        ("/HostConfig/NetworkMode", json!("bridge")),
        ("/HostConfig/Binds", json!(["/tmp:/data:ro"])),
        ("/HostConfig/Dns", json!(["9.9.9.9"])),
        ("/HostConfig/AutoRemove", json!(false)),
        (
            "/HostConfig/PortBindings/80~1tcp",
            json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}]),
        ),
        ("/Mounts/0/Source", json!("/tmp")),
        ("/Mounts/0/Destination", json!("/data")),
        ("/Mounts/0/RW", json!(false)),
        (
            "/NetworkSettings/Ports/80~1tcp",
            json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}]),
        ),
        ("/NetworkSettings/IPAddress", json!(a.v4())),
        ("/NetworkSettings/Networks/bridge/IPAddress", json!(a.v4())),
        ("/NetworkSettings/Networks/bridge/DNSNames", json!(null)),
        ("/NetworkSettings/Networks/n/IPAddress", json!(second)),
        ("/NetworkSettings/Networks/n/IPPrefixLen", json!(24)),
        ("/NetworkSettings/Networks/n/Gateway", json!("10.7.0.1")),
        ("/NetworkSettings/Networks/n/IPv6Gateway", json!("fd00:7::1")),
        (
            "/NetworkSettings/Networks/n/GlobalIPv6Address",
            json!(a.address("eth1", true)),
        ),
        ("/NetworkSettings/Networks/n/GlobalIPv6PrefixLen", json!(64)),
        ("/NetworkSettings/Networks/n/DNSNames", json!(["a", &a.id[..12]])),
    ] {
        assert_eq!(shown.pointer(path), Some(&expected), "{path} in {shown:#}");
    }
    let mac = a.net.ip_json(&["link", "show", "dev", "eth1"])[0]["address"].clone();
    assert_eq!(shown["NetworkSettings"]["Networks"]["n"]["MacAddress"], mac);
    // The paths lead somewhere.
    let sandbox = shown["NetworkSettings"]["SandboxKey"].as_str().unwrap();
    let seen = host.program(
        "nsenter",
        &[&format!("--net={sandbox}"), "ip", "-4", "addr", "show", "eth1"],
    );
    seen.ok().prints(&["10.7.0.2/24"]);
    let hosts = host.program("cat", &[shown["HostsPath"].as_str().unwrap()]).ok();
    hosts.prints(&["10.7.0.2"]);
    assert!(host.program("test", &["-f", shown["LogPath"].as_str().unwrap()]).status == 0);
    assert_eq!(host.z("container inspect a").ok().json()[0], shown);
    assert_eq!(host.z(&format!("inspect {}", &a.id[..6])).ok().json()[0], shown);
}

#[test]
fn inspect_takes_the_templates_of_scripts() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 my-net").ok();
    let a = host.run("a", "--net my-net -p 8080:80");
    for (template, expected) in [
        ("{{.State.Running}} {{.State.ExitCode}}", "true 0"),
        ("{{.ID}}", &a.id),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.7.0.2"),
        ("{{(index .NetworkSettings.Networks \"my-net\").IPAddress}}", "10.7.0.2"),
        (
            "{{range $p, $b := .NetworkSettings.Ports}}{{$p}}->{{(index $b 0).HostPort}}{{end}}",
            "80/tcp->8080",
        ),
        (
            "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
            "8080",
        ),
        ("{{join .Config.Cmd \" \"}}", "busybox sleep infinity"),
        ("{{printf \"%.12s\" .Id}}", &a.id[..12]),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        (
            "{{json .NetworkSettings.Ports}}",
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#,
        ),
    ] {
        assert_eq!(format(&host, template, "a"), expected, "{template}");
    }
    host.zdocker(&[
        "inspect",
        "-f",
        "{{(index (index .NetworkSettings.Ports \"81/tcp\") 0).HostPort}}",
        "a",
    ])
    .exits(1)
    .says(&["index 0 is out of range"]);
    host.z("stop -t 0 a").ok();
    assert_eq!(
        format(&host, "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "a"),
        "exited 137 0"
    );
}

#[test]
fn inspect_finds_containers_before_networks() {
    let host = Host::new();
    host.z("network create same").ok();
    host.z("network create n").ok();
    let a = host.run("same", "");
    let id = |args: &str| host.z(args).ok().text().to_owned();
    assert_eq!(id("inspect -f {{.Id}} same"), a.id);
    assert_eq!(id("inspect --type container -f {{.Id}} same"), a.id);
    assert_eq!(
        id("inspect --type network -f {{.Id}} same"),
        id("network ls -q --no-trunc --filter name=^same$")
    );
    assert_eq!(id("inspect -f {{.Name}} n same"), "n\n/same");
    host.z("inspect --type container n")
        .exits(1)
        .says(&["no container \"n\""]);
    let missing = host
        .z("inspect nothing n")
        .exits(1)
        .says(&["no container or network \"nothing\""]);
    assert_eq!(missing.json()[0]["Name"], "n");
    host.z("inspect --type volume n")
        .exits(125)
        .says(&["container, network"]);
    host.z("inspect").exits(125);
}

#[test]
fn modes_without_an_endpoint_are_told() {
    let host = Host::new();
    let a = host.run("a", "");
    host.run("h", "--net host");
    host.run("n", "--net none");
    host.run("c", "--net container:a");
    let mode = "{{.HostConfig.NetworkMode}} {{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}";
    for (name, expected) in [
        ("a", "bridge bridge".to_owned()),
        ("h", "host host".to_owned()),
        ("n", "none none".to_owned()),
        ("c", format!("container:{} ", a.id)),
    ] {
        assert_eq!(format(&host, mode, name), expected);
    }
    assert_eq!(
        containers(&host, "--filter network=host --filter network=none"),
        ["n", "h"]
    );
}

#[test]
fn containers_are_filtered() {
    let host = Host::new();
    host.z("network create n").ok();
    let a = host.run("a", "--net n -p 8080:80 -v /tmp:/data");
    host.run("b", "--net bridge --net n -p 9000:53/udp");
    host.z("run --name ended --rootfs / -- sh -c true").ok();
    host.z("run --name failed --rootfs / -- sh -c false").exits(1);
    let network = host.z("network ls -q --filter name=^n$").ok().text().to_owned();
    for (options, expected) in [
        ("", &["b", "a"][..]),
        ("-a", &["failed", "ended", "b", "a"]),
        ("-l", &["failed"]),
        ("-n 3", &["failed", "ended", "b"]),
        ("-n -1", &["b", "a"]),
        ("--last 1 --filter status=running", &["b"]),
        ("-a --filter name=^/a$", &["a"]),
        ("-a -f name=a", &["failed", "a"]),
        (&format!("--filter id={}", &a.id[..5]), &["a"]),
        ("--filter status=exited", &["failed", "ended"]),
        (
            "--filter status=exited --filter status=running",
            &["failed", "ended", "b", "a"],
        ),
        ("--filter status=paused", &[]),
        ("-a --filter exited=1", &["failed"]),
        ("-a --filter exited=0 --filter exited=1", &["failed", "ended"]),
        ("--filter exited=0", &[]),
        ("--filter network=n", &["b", "a"]),
        ("--filter network=bridge", &["b"]),
        (&format!("--filter network={network}"), &["b", "a"]),
        ("--filter publish=8080", &["a"]),
        ("--filter publish=8000-9999/udp", &["b"]),
        ("--filter publish=53/udp", &[]),
        ("--filter expose=53/udp --filter expose=80/tcp", &["b", "a"]),
        ("--filter volume=/data", &["a"]),
        ("--filter volume=/tmp", &["a"]),
        ("-a --filter before=ended", &["b", "a"]),
        ("-a --filter since=b", &["failed", "ended"]),
        ("-a --filter since=a --filter before=failed", &["ended", "b"]),
    ] {
        assert_eq!(containers(&host, options), expected, "{options}");
    }
    for (filter, words) in [
        ("label=x", "the filters are before, exited"),
        ("status=up", "want created, restarting"),
        ("exited=x", "an exit status"),
        ("publish=x", "a port or a range"),
        ("publish=9-8", "a port or a range"),
        ("before=nobody", "\"nobody\""),
        ("id=(", "regular expression"),
    ] {
        host.z(&format!("ps --filter {filter}")).exits(1).says(&[words]);
    }
}

#[test]
fn ps_is_written_as_asked() {
    let host = Host::new();
    host.z("network create --subnet 10.7.0.0/24 n").ok();
    let a = host.run("a", "--net n --net bridge -p 8080:80");
    assert_eq!(
        host.zdocker(&[
            "ps",
            "--format",
            "{{.ID}} {{.Names}} {{.State}} {{.Networks}} {{.Ports}}"
        ])
        .ok()
        .stdout,
        format!("{} a running n,bridge 0.0.0.0:8080->80/tcp\n", &a.id[..12])
    );
    let object = host.z("ps --no-trunc --format json").ok().json();
    assert_eq!((&object["ID"], &object["Networks"]), (&json!(a.id), &json!("n,bridge")));
    assert_eq!(host.z("container ls -q").ok().stdout, host.z("ps -q").ok().stdout);
    let table = host
        .zdocker(&["ps", "--format", "table {{.Names}}\\t{{.Status}}"])
        .ok()
        .stdout;
    assert!(table.starts_with("NAMES   STATUS\na       Up "), "{table}");
    host.z("ps --format {{.Nope}}").exits(1).says(&["\"Nope\"", "Networks"]);
    assert_eq!(a.address("eth0", false), ip("10.7.0.2"));
}
