//! What we load by netlink is what `nft` would load.

#![allow(clippy::unwrap_used, reason = "a failure here is the test's")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{endpoint, json, network, on_a_host, ruleset};
use serde_json::Value;
use zdocker_host::Kernel;
use zdocker_net::firewall::{Element, RULESET, endpoint_elements, network_elements};
use zdocker_net::model::{GatewayMode, Isolation, Settings};
use zdocker_net::op::Op;

fn nft(text: &str) {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{text}");
}

fn apply(ops: &[Op]) -> Vec<Op> {
    Kernel::new().apply(ops, &mut |_, _| {}).unwrap()
}

/// Elements of every kind, also at the ends of the address space.
fn elements() -> Vec<Element> {
    let mut network = network(7);
    network.internal = true;
    let mut elements = network_elements(&network);
    network.internal = false;
    elements.extend(
        network_elements(&network)
            .into_iter()
            .filter(|e| matches!(e, Element::Masquerade(_))),
    );
    network.settings.isolation = Isolation::None;
    network.settings.gateway_mode_v4 = GatewayMode::Routed;
    network.settings.gateway_mode_v6 = GatewayMode::NatUnprotected;
    network.settings.outbound = vec![common::ip("2001:db8::7")];
    network.settings.trusted = vec![common::name("eth0")];
    elements.extend(network_elements(&network).into_iter().filter(|element| {
        let special = ["mutual", "routed", "unprotected", "trusted", "snat6"];
        special.contains(&element.set())
    }));
    elements.extend([
        Element::Strict(common::name("br7")),
        Element::Tolerant(common::name("br7")),
        Element::Free(common::name("zdv7")),
        Element::Apart(common::name("br7")),
    ]);
    let open = endpoint_elements(&network, &endpoint(&network, 2, &["8080:80", "8081:80", "53:53/udp"]));
    elements.extend(
        open.into_iter()
            .filter(|element| matches!(element, Element::Open { .. })),
    );
    network.settings = Settings::default();
    let ports = ["8080:80", "53:5353/udp", "192.0.2.1:443:8443", "[2001:db8::1]:443:8443"];
    elements.extend(endpoint_elements(&network, &endpoint(&network, 2, &ports)));
    for text in ["255.255.255.0/24", "0.0.0.0/8", "ffff::/16", "203.0.113.7/32"] {
        let subnet = common::subnet(text);
        let address = subnet.address();
        elements.extend([
            Element::Masquerade(subnet),
            Element::Same(subnet, subnet),
            Element::Outbound { subnet, address },
        ]);
    }
    elements
}

#[test]
fn the_bytes_load_what_the_text_loads() {
    let by_text = on_a_host(|| {
        nft(RULESET);
        ruleset()
    });
    let by_bytes = on_a_host(|| {
        apply(&[Op::LoadFirewall]);
        ruleset()
    });
    assert!(by_text.len() > 40);
    for (text, bytes) in by_text.iter().zip(&by_bytes) {
        assert_eq!(text, bytes);
    }
    assert_eq!(by_text.len(), by_bytes.len());
}

#[test]
fn loading_twice_and_mending_half() {
    on_a_host(|| {
        apply(&[Op::LoadFirewall, Op::LoadFirewall]);
        let whole = ruleset();
        apply(&[Op::LoadFirewall]);
        assert_eq!(ruleset(), whole);
        for table in ["inet", "bridge"] {
            common::sh(&format!("nft delete table {table} zdocker"));
            apply(&[Op::LoadFirewall]);
            let mut mended = ruleset();
            let mut expected = whole.clone();
            for objects in [&mut mended, &mut expected] {
                objects.sort_by_key(ToString::to_string);
            }
            assert_eq!(mended, expected);
        }
    });
}

#[test]
fn flushed_rules_are_noticed_and_restored_with_the_elements() {
    on_a_host(|| {
        let mut kernel = Kernel::new();
        assert!(!kernel.has_whole_firewall().unwrap());
        let elements = elements();
        let restore = [Op::RestoreFirewall(elements.clone())];
        apply(&restore);
        let sorted = || {
            let mut objects = ruleset();
            objects.sort_by_key(ToString::to_string);
            objects
        };
        let whole = sorted();
        let rules = whole.iter().filter_map(|object| object.get("rule"));
        let chains: Vec<(&str, &str)> = rules
            .map(|rule| (rule["family"].as_str().unwrap(), rule["chain"].as_str().unwrap()))
            .collect();
        assert!(chains.len() > 20);
        for (family, chain) in chains {
            // One rule of several is enough.
            let list = format!("nft -a list chain {family} zdocker {chain}");
            let first = format!("{list} | sed -n 's/.*# handle //p' | sed -n 2p");
            common::sh(&format!("nft delete rule {family} zdocker {chain} handle $({first})"));
            assert!(!kernel.has_whole_firewall().unwrap(), "{family} {chain}");
            apply(&restore);
            assert!(kernel.has_whole_firewall().unwrap(), "{family} {chain}");
            assert_eq!(sorted(), whole);
        }
        common::sh("nft flush table inet zdocker; nft flush table bridge zdocker");
        assert!(!kernel.has_whole_firewall().unwrap());
        apply(&[Op::LoadFirewall]);
        assert!(kernel.has_whole_firewall().unwrap());
        std::fs::write("/mnt/rules", RULESET).unwrap();
        common::sh(
            &restore[0]
                .to_string()
                .replace("zdocker system firewall |", "cat /mnt/rules |"),
        );
        assert_eq!(sorted(), whole);
    });
}

#[test]
fn elements_are_those_of_the_printed_commands() {
    let elements = elements();
    let by_text = on_a_host(|| {
        nft(RULESET);
        common::sh(&Op::AddElements(elements.clone()).to_string());
        ruleset()
    });
    on_a_host(|| {
        let sets = |tables: &[Value]| -> Vec<String> {
            let named = tables.iter().flat_map(|object| [object.get("set"), object.get("map")]);
            named
                .flatten()
                .map(|set| set["name"].as_str().unwrap().to_owned())
                .collect()
        };
        apply(&[Op::LoadFirewall]);
        let empty = ruleset();
        // There is an element of each set.
        for set in sets(&empty) {
            assert!(elements.iter().any(|element| element.set() == set), "{set}");
        }
        let undo = apply(&[Op::AddElements(elements.clone())]);
        for (text, bytes) in by_text.iter().zip(&ruleset()) {
            assert_eq!(text, bytes);
        }
        // The printed command and our own deletion are each the inverse of adding.
        assert_eq!(undo, [Op::DeleteElements(elements.clone())]);
        common::sh(&undo[0].to_string());
        assert_eq!(ruleset(), empty);
        apply(&[Op::AddElements(elements.clone()), Op::DeleteElements(elements.clone())]);
        assert_eq!(ruleset(), empty);
    });
}

#[test]
fn many_elements_go_in_one_transaction() {
    on_a_host(|| {
        let publish = |port: u16| Element::PublishAny {
            protocol: zdocker_net::ports::Protocol::Tcp,
            port,
            to: "[fd00::5]:80".parse().unwrap(),
        };
        let elements: Vec<Element> = (1..=20_000).map(publish).collect();
        let mut kernel = Kernel::new();
        kernel
            .apply(&[Op::LoadFirewall, Op::AddElements(elements.clone())], &mut |_, _| {})
            .unwrap();
        let count = |set: &str| {
            let listed = json(&format!("nft -j list map inet zdocker {set}"));
            listed["nftables"][1]["map"]["elem"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(count("pub6any"), 20_000);

        // One of them leads elsewhere already: none of the others is added.
        let mut more: Vec<Element> = (20_001..=20_100).map(publish).collect();
        more.push(Element::PublishAny {
            protocol: zdocker_net::ports::Protocol::Tcp,
            port: 20_000,
            to: "[fd00::6]:80".parse().unwrap(),
        });
        let error = kernel.apply(&[Op::AddElements(more)], &mut |_, _| {}).unwrap_err();
        // Older kernels say that it is busy.
        let words = ["File exists", "resource busy"];
        assert!(words.iter().any(|words| error.to_string().contains(words)), "{error}");
        assert_eq!(count("pub6any"), 20_000);

        // Some are gone already: the others are deleted.
        let gone = Op::DeleteElements(elements[100..110].to_vec());
        assert!(kernel.remove(&[gone], &mut |_, _| {}).is_empty());
        assert!(
            kernel
                .remove(&[Op::DeleteElements(elements.clone())], &mut |_, _| {})
                .is_empty()
        );
        assert_eq!(count("pub6any"), 0);
        assert!(
            kernel
                .remove(&[Op::DeleteElements(elements)], &mut |_, _| {})
                .is_empty()
        );
    });
}

#[test]
fn elements_of_a_table_that_is_gone_are_gone() {
    on_a_host(|| {
        assert!(
            Kernel::new()
                .remove(&[Op::DeleteElements(elements())], &mut |_, _| {})
                .is_empty()
        )
    });
}
