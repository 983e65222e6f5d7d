use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::super::create::create;
use super::*;

/// A directory with a plugin called `echo`, a shell script.
fn plugin(script: &str) -> (TempDir, Plugins) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("echo");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("text"), "no program").unwrap();
    let plugins = Plugins::new(vec!["/nonexistent".into(), directory.path().to_owned()]);
    (directory, plugins)
}

#[test]
fn answers_are_handed_on() {
    let (_directory, plugins) = plugin(r#"echo "{\"args\": \"$*\", \"input\": $(cat)}""#);
    let echo = plugins.find("echo").unwrap();
    let request = json!({"container_id": "abc"});
    assert_eq!(
        echo.create(&request).unwrap(),
        json!({"args": "create", "input": request})
    );
    let status = echo.setup("/run/netns/x", &request).unwrap();
    assert_eq!(status, json!({"args": "setup /run/netns/x", "input": request}));
    echo.teardown("/run/netns/x", &request).unwrap();
}

#[test]
fn much_may_be_asked_and_answered() {
    let (_directory, plugins) = plugin("cat");
    let request = json!({"ports": (0..60_000).collect::<Vec<u32>>()});
    assert_eq!(plugins.find("echo").unwrap().create(&request).unwrap(), request);
}

#[test]
fn errors_are_handed_on() {
    for (script, words) in [
        (
            "cat >/dev/null; echo '{\"error\": \"no cable\"}'; exit 3",
            ["exit status: 3", "no cable"],
        ),
        ("exit 1", ["exit status: 1", "no error message"]),
        ("kill -9 $$", ["signal: 9", "no error message"]),
        ("echo hello", ["the answer is no JSON", "echo setup /ns"]),
    ] {
        let (_directory, plugins) = plugin(script);
        let error = plugins.find("echo").unwrap().setup("/ns", &json!({})).unwrap_err();
        for word in words {
            assert!(format!("{error:#}").contains(word), "{script}: {error:#}");
        }
    }
}

#[test]
fn a_driver_without_a_plugin() {
    let (_directory, plugins) = plugin("true");
    for name in ["missing", "text", "../echo", "."] {
        let error = plugins.find(name).err().unwrap().to_string();
        assert!(
            error.contains("not found in plugin directories /nonexistent, "),
            "{error}"
        );
    }
    let error = Plugins::new(Vec::new()).find("missing").err().unwrap().to_string();
    assert!(error.contains("no plugin directory is given"), "{error}");
}

/// Asks for a network of the driver `echo`.
fn create_by(script: &str) -> Result<Value> {
    let (_directory, plugins) = plugin(script);
    let request = json!({
        "network": {
            "name": "net", "id": "ab".repeat(32), "driver": "echo", "dns_enabled": false, "internal": false,
            "ipv6_enabled": false, "options": {"color": "red"}, "subnets": [{"subnet": "10.1.2.0/24"}],
        },
        "used": {"interfaces": [], "names": {}, "subnets": ["10.1.2.0/24"]},
        "options": {"subnet_pools": [], "check_used_subnets": true},
    });
    create(&request, &plugins)
}

#[test]
fn a_network_is_completed_by_its_plugin() {
    let network = create_by("sed 's/red/blue/'").unwrap();
    assert_eq!(network["options"], json!({"color": "blue"}));
    assert_eq!(
        network["subnets"],
        json!([{"gateway": "10.1.2.1", "subnet": "10.1.2.0/24"}])
    );
}

#[test]
fn a_plugin_must_not_make_it_another_network() {
    for (script, what) in [
        ("sed 's/\"net\"/\"other\"/'", "name from \"net\" to \"other\""),
        ("sed 's/abab/cdcd/'", "ID"),
        ("sed 's/\"echo\"/\"bridge\"/'", "driver"),
        ("cat >/dev/null; echo '{}'", "missing field `name`"),
    ] {
        let error = format!("{:#}", create_by(script).unwrap_err());
        assert!(error.contains(what), "{script}: {error}");
    }
}
