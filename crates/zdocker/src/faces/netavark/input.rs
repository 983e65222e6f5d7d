//! What Podman writes to standard input: JSON, in the forms that netavark reads. Fields that it does not know it
//! ignores.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

/// A container and the networks that it is to be plugged into or unplugged from.
#[derive(Debug)]
pub(super) struct Input {
    /// As Podman calls it.
    pub(super) container: String,
    /// As its user calls it.
    pub(super) name: String,
    /// The networks, in their order.
    pub(super) networks: Vec<Joined>,
    /// What is published, as it was asked for.
    pub(super) ports: Value,
    /// The container's own name servers.
    pub(super) dns_servers: Option<Vec<IpAddr>>,
    /// Whether the networks came as a list, as Podman writes them for netavark 2 and later.
    pub(super) is_list: bool,
}

/// A network and what the container wants of it.
#[derive(Debug)]
pub(super) struct Joined {
    /// The network's name.
    pub(super) name: String,
    /// What the container wants.
    pub(super) wish: Value,
    /// What the network is; nothing if the input does not say.
    pub(super) network: Option<Value>,
}

impl Input {
    /// Reads the input from `file`, or from standard input.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it should be.
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let read = || Input::parse(json(file)?);
        read().context("failed to load network options")
    }

    fn parse(mut value: Value) -> anyhow::Result<Self> {
        let top = Object::of("the input", &value)?;
        let (container, name) = (
            top.text("container_id")?.to_owned(),
            top.text("container_name")?.to_owned(),
        );
        let dns_servers = top.addresses("dns_servers")?;
        let (mut take, missing) = (
            |key: &str| value.get_mut(key).map(Value::take),
            |key: &str| anyhow!("missing field `{key}`"),
        );
        let wishes = take("networks").ok_or_else(|| missing("networks"))?;
        let Some(Value::Object(mut known)) = take("network_info") else {
            return Err(missing("network_info"));
        };
        let ports = take("port_mappings").unwrap_or_default();
        let is_list = wishes.is_array();
        let joined = |name: String, wish: Value| {
            Object::of("the network's options", &wish)?.text("interface_name")?;
            let network = known.remove(&name);
            if let Some(network) = &network {
                check_network(network).with_context(|| format!("network {name}"))?;
            }
            Ok(Joined { name, wish, network })
        };
        Ok(Input {
            container,
            name,
            networks: named(wishes, joined)?,
            ports,
            dns_servers,
            is_list,
        })
    }
}

/// The networks' options by name, of either form.
fn named(
    wishes: Value,
    mut joined: impl FnMut(String, Value) -> anyhow::Result<Joined>,
) -> anyhow::Result<Vec<Joined>> {
    match wishes {
        Value::Object(wishes) => wishes.into_iter().map(|(name, wish)| joined(name, wish)).collect(),
        Value::Array(wishes) => wishes
            .into_iter()
            .map(|wish| {
                let name = Object::of("the network's options", &wish)?.text("name")?.to_owned();
                joined(name, wish)
            })
            .collect(),
        _ => bail!("invalid type of `networks`, expected array of network options or map"),
    }
}

/// Whether the fields are there that every network has.
fn check_network(network: &Value) -> anyhow::Result<()> {
    let network = Object::of("the network", network)?;
    for key in ["dns_enabled", "internal", "ipv6_enabled"] {
        network.flag(key)?;
    }
    for key in ["driver", "id", "name"] {
        network.text(key)?;
    }
    Ok(())
}

/// The JSON of `file`, or of standard input.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn json(file: Option<&Path>) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    let read = match file {
        Some(path) => fs::read(path).map(|content| text = content),
        None => std::io::stdin().lock().read_to_end(&mut text).map(drop),
    };
    read.map_err(|error| anyhow!("IO error: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| anyhow!("IO error: {error}"))
}

/// An object of the input. Null is as good as missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// `value` as an object; `what` is what it is.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn of(what: &str, value: &'a Value) -> anyhow::Result<Self> {
        let map = value.as_object();
        map.map(Object)
            .ok_or_else(|| anyhow!("invalid type: {what} must be an object"))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn needed<T>(key: &str, value: Option<T>) -> anyhow::Result<T> {
        value.ok_or_else(|| anyhow!("missing field `{key}`"))
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn optional_text(&self, key: &str) -> anyhow::Result<Option<&'a str>> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong(key, "a string"));
        self.get(key).map(text).transpose()
    }

    /// A text.
    ///
    /// # Errors
    /// When it is missing, or something else.
    pub(super) fn text(&self, key: &str) -> anyhow::Result<&'a str> {
        Self::needed(key, self.optional_text(key)?)
    }

    /// A number of 16 bits.
    ///
    /// # Errors
    /// When it is missing, or something else.
    pub(super) fn number(&self, key: &str) -> anyhow::Result<u16> {
        let value = Self::needed(key, self.get(key))?;
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| wrong(key, "a number from 0 to 65535"))
    }

    /// A number of 32 bits, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn optional_number(&self, key: &str) -> anyhow::Result<Option<u32>> {
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = |value: &Value| number(value).ok_or_else(|| wrong(key, "a number of 32 bits"));
        self.get(key).map(number).transpose()
    }

    /// True or false.
    ///
    /// # Errors
    /// When it is missing, or something else.
    pub(super) fn flag(&self, key: &str) -> anyhow::Result<bool> {
        let value = Self::needed(key, self.get(key))?;
        value.as_bool().ok_or_else(|| wrong(key, "a boolean"))
    }

    /// A list, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn list(&self, key: &str) -> anyhow::Result<Option<&'a [Value]>> {
        let list = |value: &'a Value| value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(key, "a list"));
        self.get(key).map(list).transpose()
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn object(&self, key: &str) -> anyhow::Result<Option<Object<'a>>> {
        self.get(key).map(|value| Object::of(key, value)).transpose()
    }

    /// Addresses, if they are there.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn addresses(&self, key: &str) -> anyhow::Result<Option<Vec<IpAddr>>> {
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let address = |value: &Value| address(value).ok_or_else(|| wrong(key, "a list of IP addresses"));
        let list = self.list(key)?;
        list.map(|list| list.iter().map(address).collect()).transpose()
    }

    /// Texts; none if they are missing.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn texts(&self, key: &str) -> anyhow::Result<Vec<&'a str>> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong(key, "a list of strings"));
        self.list(key)?.unwrap_or_default().iter().map(text).collect()
    }

    /// What is written as text, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn parsed<T>(&self, key: &str) -> anyhow::Result<Option<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| {
            text.parse()
                .map_err(|error| anyhow!("unable to parse \"{key}\": {error}"))
        };
        self.optional_text(key)?.map(parse).transpose()
    }
}

fn wrong(key: &str, expected: &str) -> anyhow::Error {
    anyhow!("invalid type of `{key}`, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn network() -> Value {
        json!({"dns_enabled": false, "driver": "bridge", "id": "1", "internal": false, "ipv6_enabled": false, "name": "n",
               "something_new": 1})
    }

    #[test]
    fn both_forms_of_networks_are_read() {
        let info = json!({"a": network(), "b": network()});
        let list = json!({"container_id": "c", "container_name": "n", "network_info": info, "networks":
            [{"name": "b", "interface_name": "eth0"}, {"name": "a", "interface_name": "eth1"}], "dns_servers": ["1.1.1.1"]});
        let input = Input::parse(list).unwrap();
        assert!(input.is_list);
        assert_eq!(input.dns_servers, Some(vec!["1.1.1.1".parse().unwrap()]));
        let names: Vec<&str> = input.networks.iter().map(|joined| joined.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let map = json!({"container_id": "c", "container_name": "n", "network_info": info,
            "networks": {"a": {"interface_name": "eth0"}, "x": {"interface_name": "eth1"}}, "port_mappings": null});
        let input = Input::parse(map).unwrap();
        assert!(!input.is_list);
        assert!(input.networks[0].network.is_some() && input.networks[1].network.is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let whole = json!({"container_id": "c", "container_name": "n", "network_info": {"a": network()},
            "networks": {"a": {"interface_name": "eth0"}}});
        let without = |path: &[&str], value: Value| {
            let mut changed = whole.clone();
            let (last, front) = path.split_last().unwrap();
            let place = front.iter().fold(&mut changed, |value, key| &mut value[*key]);
            place[*last] = value;
            format!("{:#}", Input::parse(changed).unwrap_err())
        };
        for (path, value, words) in [
            (&["container_id"][..], Value::Null, "missing field `container_id`"),
            (&["networks"], json!(3), "expected array of network options or map"),
            (
                &["networks", "a", "interface_name"],
                Value::Null,
                "missing field `interface_name`",
            ),
            (
                &["network_info", "a", "dns_enabled"],
                json!("yes"),
                "invalid type of `dns_enabled`",
            ),
            (&["network_info", "a", "id"], Value::Null, "missing field `id`"),
            (&["dns_servers"], json!(["x"]), "invalid type of `dns_servers`"),
        ] {
            let error = without(path, value);
            assert!(error.contains(words), "{path:?}: {error}");
        }
    }
}
