//! What a plug-in says when it is asked wrongly, or for what cannot be: the codes of SPEC.md, "Error".

use std::fs::File;

use serde_json::{Value, json};

use super::driver::{Call, Runtime, environment, outcome};
use super::{both, both_ours, bridge, interfaces, list, portmap};
use crate::harness::{Output, Snapshot};

const INCOMPATIBLE_VERSION: u64 = 1;
const UNSUPPORTED_FIELD: u64 = 2;
const INVALID_ENVIRONMENT: u64 = 4;
const IO: u64 = 5;
const DECODING: u64 = 6;
const INVALID_CONFIG: u64 = 7;
const NOT_AVAILABLE: u64 = 50;

both!(
    a_wrong_environment_has_code_4,
    input_that_cannot_be_read_has_code_5,
    input_that_is_no_configuration_has_codes_6_and_7,
    versions_that_nobody_knows_have_code_1,
);

/// The configuration of a single plug-in.
fn single(version: &str, mut plugin: Value) -> Value {
    plugin["cniVersion"] = version.into();
    plugin["name"] = "net".into();
    plugin
}

/// The code of an execution that must fail. What it prints bears the version of the configuration.
#[track_caller]
fn code(output: &Output) -> u64 {
    match outcome(output) {
        Err(failure) => failure.code,
        Ok(answer) => panic!("this must fail: {output:?}: {answer:?}"),
    }
}

fn a_wrong_environment_has_code_4(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    let config = single("1.0.0", bridge()).to_string();
    let call = Call::new(&sandbox);
    let mut wrong: Vec<(&str, &str, Option<&str>)> = Vec::new();
    for verb in ["ADD", "DEL", "CHECK"] {
        wrong.extend([(verb, "CNI_CONTAINERID", None), (verb, "CNI_IFNAME", None)]);
        wrong.extend(["-a", "a b", "a/b"].map(|id| (verb, "CNI_CONTAINERID", Some(id))));
        if verb != "DEL" {
            wrong.push((verb, "CNI_NETNS", None));
        }
    }
    wrong.extend(["a/b", "a:b", "a b", ".", "..", "sixteen-letters-"].map(|name| ("ADD", "CNI_IFNAME", Some(name))));
    wrong.extend([Some("FROB"), Some("add")].map(|verb| ("ADD", "CNI_COMMAND", verb)));
    if runtime.is_ours() {
        // Without a verb a reference plug-in says in words what it is.
        wrong.push(("ADD", "CNI_COMMAND", None));
    }
    for (verb, name, value) in wrong {
        let mut environment = environment(verb, &call);
        environment.retain(|(other, _)| *other != name);
        environment.extend(value.map(|value| (name, value)));
        let output = runtime.execute("bridge", &environment, &config);
        assert_eq!(
            code(&output),
            INVALID_ENVIRONMENT,
            "{verb} with {name}={value:?}: {output:?}"
        );
        assert_eq!(interfaces(&sandbox.net), [""; 0]);
    }
    before.assert_same(&runtime.host);
}

fn input_that_cannot_be_read_has_code_5(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    for verb in ["ADD", "DEL"] {
        let mut command = runtime
            .host
            .command(runtime.directory().join("bridge").to_str().unwrap(), &[]);
        command.env("CNI_PATH", runtime.directory());
        command.envs(environment(verb, &Call::new(&sandbox)));
        // A directory can be opened, but not read from (read(2), EISDIR).
        command.stdin(File::open("/").unwrap());
        assert_eq!(code(&runtime.host.finish(command, "")), IO);
    }
}

fn input_that_is_no_configuration_has_codes_6_and_7(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    let without = |key: &str| {
        let mut config = single("1.0.0", bridge());
        config.as_object_mut().unwrap().remove(key);
        config.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut config = single("1.0.0", bridge());
        config[key] = value;
        config.to_string()
    };
    for (input, expected) in [
        (String::new(), DECODING),
        ("no JSON".to_owned(), DECODING),
        ("{\"cniVersion\":".to_owned(), DECODING),
        ("[1]".to_owned(), DECODING),
        (with("cniVersion", json!(1)), DECODING),
        (without("name"), INVALID_CONFIG),
        (with("name", json!("")), INVALID_CONFIG),
        (with("name", json!("a b")), INVALID_CONFIG),
        (with("name", json!("-a")), INVALID_CONFIG),
    ] {
        for verb in ["ADD", "DEL"] {
            let output = runtime.execute("bridge", &environment(verb, &Call::new(&sandbox)), &input);
            assert_eq!(code(&output), expected, "{verb}: {input}: {output:?}");
        }
    }
    before.assert_same(&runtime.host);
}

fn versions_that_nobody_knows_have_code_1(runtime: &Runtime) {
    let sandbox = runtime.sandbox("a");
    for version in ["0.0.9", "9.9.9"] {
        for plugin in [bridge(), portmap()] {
            let failed = runtime.single("ADD", &single(version, plugin), &Call::new(&sandbox));
            assert_eq!(failed.unwrap_err().code, INCOMPATIBLE_VERSION);
        }
    }
    // CHECK came with 0.4.0.
    let mut config = single("0.3.1", bridge());
    config["prevResult"] = json!({ "cniVersion": "0.3.1", "dns": {} });
    let failed = runtime.single("CHECK", &config, &Call::new(&sandbox));
    assert_eq!(failed.unwrap_err().code, INCOMPATIBLE_VERSION);
}

#[test]
fn verbs_that_came_with_1_1_0_have_code_1_before() {
    let runtime = Runtime::ours();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let list = list(version, "net", json!([bridge()]));
        assert_eq!(runtime.status(&list).unwrap_err().code, INCOMPATIBLE_VERSION);
        assert_eq!(runtime.gc(&list, &[]).unwrap_err().code, INCOMPATIBLE_VERSION);
    }
}

#[test]
fn a_failure_bears_the_version_of_the_configuration() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let mut config = single(version, bridge());
        config["mtu"] = "many".into();
        let failed = runtime.single("ADD", &config, &Call::new(&sandbox)).unwrap_err();
        assert_eq!(failed.printed["cniVersion"], version, "{failed:?}");
    }
}

/// Configurations of `bridge` in which one key is wrong, by its path.
fn wrong_values() -> Vec<(&'static str, Value)> {
    vec![
        ("/mtu", json!(-1)),
        ("/mtu", json!("many")),
        ("/bridge", json!("a-name-that-is-too-long")),
        ("/bridge", json!(7)),
        ("/isGateway", json!("yes")),
        ("/ipam/ranges/0/0/subnet", json!("10.88.0.0")),
        ("/ipam/ranges/0/0/subnet", json!("10.88.0.0/33")),
        ("/ipam/ranges/0/0/subnet", json!("10.88.0.7/32")),
        ("/ipam/ranges/0/0/rangeStart", json!("10.89.0.1")),
        ("/ipam/ranges/0/0/rangeEnd", json!("fd00::1")),
        ("/ipam/ranges/0/0/gateway", json!("no address")),
        ("/ipam/ranges", json!({})),
        ("/ipam/routes/0/dst", json!("everywhere")),
        ("/ipam/routes/0/gw", json!("10.88.0.0/24")),
        ("/runtimeConfig/mac", json!("no mac")),
        ("/runtimeConfig/ips", json!(["nowhere"])),
    ]
}

#[test]
fn a_key_with_a_wrong_value_has_code_7_and_is_named() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    for (path, value) in wrong_values() {
        let mut config = single("1.0.0", bridge());
        config["ipam"]["ranges"][0][0]["rangeStart"] = json!("10.88.0.10");
        config["ipam"]["ranges"][0][0]["rangeEnd"] = json!("10.88.0.20");
        config["ipam"]["ranges"][0][0]["gateway"] = json!("10.88.0.1");
        config["ipam"]["routes"][0]["gw"] = json!("10.88.0.1");
        config["runtimeConfig"] = json!({ "mac": "02:00:00:00:00:07", "ips": [] });
        let (place, key) = path.rsplit_once('/').unwrap();
        config.pointer_mut(place).unwrap()[key] = value.clone();
        let failed = runtime.single("ADD", &config, &Call::new(&sandbox)).unwrap_err();
        assert_eq!(failed.code, INVALID_CONFIG, "{path} = {value}: {failed:?}");
        let message = failed.printed["msg"].as_str().unwrap();
        let shown = value.as_str().unwrap_or(key);
        assert!(
            message.contains(key) || message.contains(shown),
            "{path} = {value}: {message}"
        );
    }
    before.assert_same(&runtime.host);
}

#[test]
fn what_is_right_but_cannot_be_done_has_code_2() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    for (key, value) in [
        ("disableContainerInterface", json!(true)),
        ("ipam", json!({ "type": "dhcp" })),
    ] {
        let mut config = single("1.0.0", bridge());
        config[key] = value;
        let failed = runtime.single("ADD", &config, &Call::new(&sandbox)).unwrap_err();
        assert_eq!(failed.code, UNSUPPORTED_FIELD, "{failed:?}");
        assert!(failed.printed["msg"].as_str().unwrap().contains(key), "{failed:?}");
    }
    before.assert_same(&runtime.host);
}

#[test]
fn a_file_that_is_no_namespace_has_code_4() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    for path in ["/etc/passwd", "/run/netns/nobody", "/proc/self/ns/net"] {
        let mut environment = environment("ADD", &Call::new(&sandbox));
        environment.retain(|(name, _)| *name != "CNI_NETNS");
        environment.push(("CNI_NETNS", path));
        let output = runtime.execute("bridge", &environment, &single("1.0.0", bridge()).to_string());
        assert_eq!(code(&output), INVALID_ENVIRONMENT, "{path}: {output:?}");
        assert!(output.json()["msg"].as_str().unwrap().contains(path), "{output:?}");
    }
    before.assert_same(&runtime.host);
}

#[test]
fn an_interface_name_that_is_taken_is_refused() {
    let runtime = Runtime::ours();
    let sandbox = runtime.sandbox("a");
    let before = Snapshot::take(&runtime.host);
    sandbox.net.ip("link add eth0 type veth peer name other");
    let list = list("1.1.0", "net", json!([bridge()]));
    let failed = runtime.try_add(&list, &Call::new(&sandbox)).unwrap_err();
    assert!(failed.printed["msg"].as_str().unwrap().contains("eth0"), "{failed:?}");
    assert_eq!(interfaces(&sandbox.net).len(), 2, "what was there stays");
    runtime.del(&list, &Call::new(&sandbox));
    assert_eq!(interfaces(&sandbox.net).len(), 2, "it is not ours");
    runtime.gc(&list, &[]).unwrap();
    before.assert_same(&runtime.host);
}

#[test]
fn records_that_cannot_be_kept_have_code_50_for_status() {
    let runtime = Runtime::ours();
    let mut plugin = bridge();
    plugin["stateDir"] = json!("/proc/nowhere");
    let failed = runtime.status(&list("1.1.0", "net", json!([plugin]))).unwrap_err();
    assert_eq!(failed.code, NOT_AVAILABLE, "{failed:?}");
}
