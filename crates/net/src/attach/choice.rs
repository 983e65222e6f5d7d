//! What a user says of a container's place on one network: `--network NAME`, or `--network name=NAME,ip=...,alias=...`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::EndpointSettings;
use crate::names::{InterfaceName, MacAddress, NameError};
use crate::shaping::{Rate, RateError};
use crate::subnet::Family;

/// What a user asks of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// Addresses, at most one of each family; where none is given, a free one is found.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address.
    pub mac: Option<MacAddress>,
    /// All else. What options say of interface and sysctls is read when the interface is known.
    pub settings: EndpointSettings,
}

/// A network and what is asked of the endpoint on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkChoice {
    /// A network's name or identifier, `host`, `none` or `container:NAME`.
    pub network: String,
    /// The endpoint.
    #[serde(default)]
    pub endpoint: EndpointRequest,
}

impl NetworkChoice {
    /// The network `name` with everything left open.
    pub fn plain(name: impl Into<String>) -> Self {
        NetworkChoice {
            network: name.into(),
            endpoint: EndpointRequest::default(),
        }
    }
}

/// Why a text says nothing about a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Not `KEY=VALUE`, or a quote that is not closed.
    #[error("invalid field {0:?}: want KEY=VALUE, in double quotes where it has a comma")]
    Field(String),
    /// A key that there is not.
    #[error(
        "unknown field {0:?}: the fields are name, ip, ip6, alias, mac-address, gw-priority, bandwidth-in, bandwidth-out and \
         driver-opt (for example name=web,ip=10.0.0.5,alias=db)"
    )]
    UnknownField(String),
    /// A field that can only be given once.
    #[error("field {0:?} is given twice")]
    Twice(String),
    /// No network's name.
    #[error("the network's name is missing: want name=NETWORK")]
    NoName,
    /// Not an address of the family.
    #[error("invalid {field} {text:?}: want an {family} address")]
    Address {
        /// The field.
        field: String,
        /// What was given.
        text: String,
        /// What it takes.
        family: Family,
    },
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// See [`RateError`].
    #[error(transparent)]
    Rate(#[from] RateError),
    /// Not a number.
    #[error("invalid gw-priority {0:?}: want a whole number, the highest gives the default route")]
    Priority(String),
}

impl FromStr for NetworkChoice {
    type Err = ChoiceError;

    /// Reads Docker's long form where the text has a `=`, else takes it for a network's name.
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if !text.contains('=') {
            return if text.is_empty() {
                Err(ChoiceError::NoName)
            } else {
                Ok(NetworkChoice::plain(text))
            };
        }
        let mut choice = NetworkChoice::default();
        let mut single: Vec<&str> = Vec::new();
        let fields = split_fields(text)?;
        for field in &fields {
            let (key, value) = field.split_once('=').ok_or_else(|| ChoiceError::Field(field.clone()))?;
            let key = key.trim();
            if !matches!(key, "alias" | "driver-opt") {
                if single.contains(&key) {
                    return Err(ChoiceError::Twice(key.to_owned()));
                }
                single.push(key);
            }
            choice.set(key, value.trim())?;
        }
        if choice.network.is_empty() {
            Err(ChoiceError::NoName)
        } else {
            Ok(choice)
        }
    }
}

impl NetworkChoice {
    fn set(&mut self, key: &str, value: &str) -> Result<(), ChoiceError> {
        let endpoint = &mut self.endpoint;
        match key {
            "name" => value.clone_into(&mut self.network),
            "ip" => endpoint.addresses.push(address(key, value, Family::V4)?),
            "ip6" => endpoint.addresses.push(address(key, value, Family::V6)?),
            "mac-address" => endpoint.mac = Some(value.parse()?),
            "alias" => endpoint.settings.aliases.push(value.to_owned()),
            "gw-priority" => {
                let priority = value.parse().map_err(|_| ChoiceError::Priority(value.to_owned()))?;
                endpoint.settings.gateway_priority = priority;
            }
            "bandwidth-in" => endpoint.settings.bandwidth.receive = Some(rate(value)?),
            "bandwidth-out" => endpoint.settings.bandwidth.send = Some(rate(value)?),
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                endpoint.settings.options.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(ChoiceError::UnknownField(key.to_owned())),
        }
        Ok(())
    }
}

fn rate(text: &str) -> Result<u64, ChoiceError> {
    Ok(text.parse::<Rate>()?.bits())
}

fn address(field: &str, text: &str, family: Family) -> Result<IpAddr, ChoiceError> {
    let parsed = text.parse().ok().filter(|address| Family::of(*address) == family);
    parsed.ok_or_else(|| ChoiceError::Address {
        field: field.to_owned(),
        text: text.to_owned(),
        family,
    })
}

/// Cuts at commas; a field in double quotes may have some (RFC 4180, section 2).
fn split_fields(text: &str) -> Result<Vec<String>, ChoiceError> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    if quoted {
        return Err(ChoiceError::Field(field));
    }
    fields.push(field);
    Ok(fields)
}

/// What an endpoint's options say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EndpointOptions {
    /// The name of the interface within the container.
    pub(super) interface: Option<InterfaceName>,
    /// Kernel variables, the interface's name in them still `IFNAME`.
    sysctls: Vec<(String, String)>,
}

/// Why options are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// An option that there is not.
    #[error(
        "unknown option {0:?} of an endpoint: it knows com.docker.network.endpoint.ifname and \
         com.docker.network.endpoint.sysctls"
    )]
    Unknown(String),
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not `net.FAMILY.conf.IFNAME.KEY=VALUE`.
    #[error(
        "invalid sysctl {0:?} of an endpoint: want net.ipv4.conf.IFNAME.NAME=VALUE, or with ipv6, mpls or neigh, and \
         IFNAME as it stands"
    )]
    Sysctl(String),
}

impl EndpointOptions {
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let mut read = EndpointOptions::default();
        for (key, value) in options {
            match key.as_str() {
                "ifname" | "com.docker.network.endpoint.ifname" => read.interface = Some(value.parse()?),
                "sysctls" | "com.docker.network.endpoint.sysctls" => {
                    let all = value.split(',').map(sysctl);
                    read.sysctls = all.collect::<Result<_, _>>()?;
                }
                _ => return Err(OptionError::Unknown(key.clone())),
            }
        }
        Ok(read)
    }

    /// The kernel variables of `interface`, as paths.
    pub(super) fn sysctls_of(&self, interface: &InterfaceName) -> Vec<(String, String)> {
        let named = |(key, value): &(String, String)| (key.replace("IFNAME", interface.as_str()), value.clone());
        self.sysctls.iter().map(named).collect()
    }
}

/// Reads `net.ipv4.conf.IFNAME.log_martians=1`; nothing but an interface's own variables can be set.
fn sysctl(text: &str) -> Result<(String, String), OptionError> {
    let bad = || OptionError::Sysctl(text.to_owned());
    let (key, value) = text.trim().split_once('=').ok_or_else(bad)?;
    let parts: Vec<&str> = key.split(['.', '/']).collect();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match parts[..] {
        [
            "net",
            family @ ("ipv4" | "ipv6" | "mpls"),
            kind @ ("conf" | "neigh"),
            "IFNAME",
            name,
        ] if is_word(name) && !value.is_empty() => Ok((format!("net/{family}/{kind}/IFNAME/{name}"), value.to_owned())),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_short_form_is_a_name() {
        for name in ["web", "host", "container:a b"] {
            assert_eq!(name.parse(), Ok(NetworkChoice::plain(name)));
        }
    }

    #[test]
    fn the_long_form_says_all() {
        let choice: NetworkChoice =
            "name=web,ip=10.0.0.5,ip6=fd00::5,alias=db,alias=store,mac-address=02:00:00:00:00:05,\
                                     gw-priority=-3,driver-opt=a=b=c,\"driver-opt=sysctls=x=1,y=2\""
                .parse()
                .unwrap();
        assert_eq!(choice.network, "web");
        let EndpointRequest {
            addresses,
            mac,
            settings,
        } = choice.endpoint;
        assert_eq!(
            addresses,
            ["10.0.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]
        );
        assert_eq!(mac.unwrap().to_string(), "02:00:00:00:00:05");
        assert_eq!(
            (settings.aliases.join(" "), settings.gateway_priority),
            ("db store".to_owned(), -3)
        );
        let options: Vec<_> = settings.options.iter().map(|(k, v)| format!("{k} {v}")).collect();
        assert_eq!(options, ["a b=c", "sysctls x=1,y=2"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("", "name is missing"),
            ("ip=10.0.0.5", "name is missing"),
            ("name=a,ip=fd00::1", "IPv4"),
            ("name=a,ip6=10.0.0.1", "IPv6"),
            ("name=a,name=b", "twice"),
            ("name=a,color=red", "color"),
            ("name=a,gw-priority=x", "whole number"),
            ("name=a,alias", "KEY=VALUE"),
            ("name=a,\"alias=b", "quotes"),
            ("name=a,mac-address=z", "MAC"),
        ] {
            let message = text.parse::<NetworkChoice>().unwrap_err().to_string();
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }

    #[test]
    fn options_of_an_endpoint() {
        let read = |key: &str, value: &str| EndpointOptions::read(&[(key.to_owned(), value.to_owned())].into());
        let options = read(
            "com.docker.network.endpoint.sysctls",
            "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.gc_stale_time=5",
        );
        assert_eq!(
            options.unwrap().sysctls_of(&"eth3".parse().unwrap()),
            [
                ("net/ipv4/conf/eth3/log_martians".to_owned(), "1".to_owned()),
                ("net/ipv6/neigh/eth3/gc_stale_time".to_owned(), "5".to_owned())
            ]
        );
        assert!(read("ifname", "wan0").unwrap().interface.is_some());
        for (key, value) in [
            ("ifname", "a/b"),
            ("color", "red"),
            ("sysctls", "net.ipv4.ip_forward=1"),
            ("sysctls", "net.ipv4.conf.all.forwarding=1"),
            ("sysctls", "net.ipv4.conf.IFNAME...=1"),
            ("sysctls", "net.ipv4.conf.IFNAME.forwarding"),
        ] {
            assert!(read(key, value).is_err(), "{key}={value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<NetworkChoice>();
            let _ = sysctl(&text);
        }
    }
}
