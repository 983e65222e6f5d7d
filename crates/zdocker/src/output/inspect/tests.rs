//! What is shown of things that are made of their records: as old ones have them, and with all that a user can choose.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use zdocker_engine::containers::ContainerView;
use zdocker_engine::containers::paths::ContainerPaths;
use zdocker_engine::networks::NetworkView;
use zdocker_host::process::ProcessId;
use zdocker_host::store::{ContainerRecord, ContainerState};
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::Id;
use zdocker_net::usage::Usage;

use super::*;

const CONTAINER: &str = "cccccccccccccccccccccccccccccccc";

fn network_record(name: &str) -> Network {
    let record = json!({
        "id": format!("{name}-id"),
        "name": name,
        "driver": "bridge",
        "pools": [{
            "subnet": "10.0.0.0/24",
            "gateway": "10.0.0.1",
            "range": "10.0.0.64/26",
            "reserved": {"router": "10.0.0.70"},
        }, {
            "subnet": "fd00::/64",
            "gateway": "fd00::1",
        }],
        "bridge": {"name": "zd0", "mac": "02:42:00:00:00:01", "mtu": 1400},
        "internal": name == "inside",
        "masquerade": true,
        "options": {"mtu": "1400"},
        "labels": {},
        "created": 0,
    });
    serde_json::from_value(record).unwrap()
}

fn endpoint(network: &str, settings: Value) -> Endpoint {
    let record = json!({
        "id": format!("{network}-endpoint"),
        "network": format!("{network}-id"),
        "container": CONTAINER,
        "interface": "eth0",
        "host_interface": "veth0",
        "mac": "02:42:0a:00:00:46",
        "addresses": [{"address": "10.0.0.71", "prefix": 24}, {"address": "fd00::2", "prefix": 64}],
        "gateways": [],
        "ports": [],
        "settings": settings,
    });
    serde_json::from_value(record).unwrap()
}

fn view(endpoints: Vec<Endpoint>) -> ContainerView {
    let spec = json!({
        "id": CONTAINER, "name": "web", "hostname": "web", "args": ["sleep"], "env": [], "cwd": "/", "user": null,
        "mounts": [], "tty": false, "open_stdin": false, "auto_remove": true, "rootfs": {"directory": "/"},
        "runtime": "runc", "dns": [], "namespace": "own",
    });
    let networks = ["inside", "n", "bridge"].map(network_record);
    ContainerView {
        record: ContainerRecord {
            id: Id::from(CONTAINER.to_owned()),
            name: "web".parse().unwrap(),
            spec: String::new(),
            state: ContainerState::Running,
            owner: None,
            boot: None,
            process: Some(ProcessId { pid: 7, start_time: 1 }),
            kept: false,
            created: 0,
            started: Some(1_000_000_000),
            finished: None,
            exit_status: None,
        },
        spec: serde_json::from_value(spec).unwrap(),
        endpoints,
        networks: Arc::new(
            networks
                .map(|network| (network.id.clone(), network))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        ),
    }
}

fn shown(endpoints: Vec<Endpoint>) -> Value {
    let paths = ContainerPaths::new(Path::new("/state"), Path::new("/run"), CONTAINER);
    container(&view(endpoints), &paths, Some("/run/netns/c".into()))
}

#[test]
fn what_was_chosen_for_an_endpoint_is_shown() {
    let settings = json!({
        "aliases": ["www", "web"],
        "gateway_priority": 5,
        "options": {"com.example.x": "y"},
        "bandwidth": {"receive": 1_000_000, "send": null},
    });
    let shown = shown(vec![endpoint("n", settings), endpoint("bridge", json!({}))]);
    let on = &shown["NetworkSettings"]["Networks"]["n"];
    for (field, expected) in [
        ("Aliases", json!(["www", "web"])),
        ("GwPriority", json!(5)),
        ("DriverOpts", json!({"com.example.x": "y"})),
        ("Bandwidth", json!({"Receive": 1_000_000, "Send": null})),
        // Each name once.
        ("DNSNames", json!(["web", "www", "cccccccccccc"])),
        ("Gateway", json!("10.0.0.1")),
        ("EndpointID", json!("n-endpoint")),
    ] {
        assert_eq!(on[field], expected, "{field}");
    }
    let default = &shown["NetworkSettings"]["Networks"]["bridge"];
    assert_eq!(
        (&default["Aliases"], &default["DriverOpts"]),
        (&Value::Null, &Value::Null)
    );
    assert!(default.get("Bandwidth").is_none());
    // The old fields are of the default network, wherever it stands.
    assert_eq!(shown["NetworkSettings"]["EndpointID"], "bridge-endpoint");
    assert_eq!(shown["HostConfig"]["NetworkMode"], "n");
    assert_eq!(shown["HostConfig"]["Runtime"], "runc");
    assert_eq!(shown["State"]["StartedAt"], "1970-01-01T00:00:01.000000000Z");
}

#[test]
fn a_network_without_a_way_out_has_no_gateway() {
    let shown = shown(vec![endpoint("inside", json!({}))]);
    let on = &shown["NetworkSettings"]["Networks"]["inside"];
    assert_eq!((&on["Gateway"], &on["IPv6Gateway"]), (&json!(""), &json!("")));
    assert_eq!(shown["NetworkSettings"]["IPAddress"], "");
}

#[test]
fn ranges_and_reserved_addresses_are_shown_where_there_are_any() {
    let record = network_record("n");
    let usages: Vec<_> = record
        .pools
        .iter()
        .map(|pool| (pool.subnet, Usage::of(pool, ["10.0.0.71".parse().unwrap()])))
        .collect();
    let view = NetworkView {
        network: record,
        endpoints: vec![(endpoint("n", json!({"aliases": ["www"]})), "web".to_owned())],
    };
    let value = network(&view, &usages, false);
    assert_eq!(
        value["IPAM"]["Config"],
        json!([
            {
                "Subnet": "10.0.0.0/24",
                "IPRange": "10.0.0.64/26",
                "Gateway": "10.0.0.1",
                "AuxiliaryAddresses": {"router": "10.0.0.70"},
            },
            {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
        ])
    );
    assert_eq!(
        value["Status"]["IPAM"]["Subnets"]["10.0.0.0/24"],
        json!({"IPsInUse": 5, "DynamicIPsAvailable": 62})
    );
    let container = &value["Containers"][CONTAINER];
    assert_eq!(container["IPv4Address"], "10.0.0.71/24");
    assert!(container.get("Aliases").is_none());
    let verbose = network(&view, &usages, true);
    assert_eq!(verbose["Containers"][CONTAINER]["Aliases"], json!(["www"]));
    assert_eq!(
        verbose["Device"],
        json!({"Name": "zd0", "MacAddress": "02:42:00:00:00:01", "Mtu": 1400})
    );

    // Both are there for templates, whether they are left out or not.
    let template = "{{range .IPAM.Config}}[{{.IPRange}} {{.AuxiliaryAddresses}} {{.AuxiliaryAddresses.router}}]{{end}}";
    let text = InspectFormat::parse(template)
        .unwrap()
        .render([value].into_iter())
        .unwrap()
        .unwrap();
    assert_eq!(
        text,
        "[10.0.0.64/26 map[router:10.0.0.70] 10.0.0.70][ map[] <no value>]"
    );
}

#[test]
fn every_format() {
    let values = [json!({"Name": "a", "Labels": {}}), json!({"Name": "b", "Labels": {}})];
    for (format, expected) in [
        (
            "json",
            "[{\"Name\":\"a\",\"Labels\":{}},{\"Name\":\"b\",\"Labels\":{}}]",
        ),
        ("{{.Name}}", "a\nb"),
        ("{{.Name}}\\n", "a\\n\nb\\n"),
    ] {
        let text = InspectFormat::parse(format).unwrap().render(values.clone().into_iter());
        assert_eq!(text.unwrap().as_deref(), Some(expected));
    }
    let indented = InspectFormat::parse("").unwrap();
    let [first, _] = values;
    assert_eq!(
        indented.render([first].into_iter()).unwrap().unwrap(),
        "[\n    {\n        \"Name\": \"a\",\n        \"Labels\": {}\n    }\n]"
    );
    for (format, expected) in [("", Some("[]")), ("json", Some("[]")), ("{{.Name}}", None)] {
        let text = InspectFormat::parse(format).unwrap().render(std::iter::empty());
        assert_eq!(text.unwrap().as_deref(), expected);
    }
}
