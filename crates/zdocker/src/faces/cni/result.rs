//! What a plug-in brought about, as it is handed on from plug-in to plug-in (CNI specification, "Success").

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use zdocker_net::model::InterfaceAddress;
use zdocker_net::subnet::{Family, Subnet};

use super::error::{CniError, Code};
use super::fields::Fields;
use super::version::Version;

/// The result of `ADD`, in no version's form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CniResult {
    /// What was made, on the host and in namespaces.
    pub(super) interfaces: Vec<Interface>,
    /// Addresses of interfaces.
    pub(super) ips: Vec<Ip>,
    /// Routes of the container.
    pub(super) routes: Vec<Route>,
    /// How the container resolves names.
    pub(super) dns: Dns,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name.
    pub(super) name: String,
    /// Its Ethernet address; empty if it has none.
    pub(super) mac: String,
    /// In bytes; 0 if nothing is said.
    pub(super) mtu: u64,
    /// The namespace that it is in; empty for the host's.
    pub(super) sandbox: String,
    /// Other keys that the specification knows, as they were given (`socketPath`, `pciID`).
    pub(super) others: Map<String, Value>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ip {
    /// The address and the length of its prefix.
    pub(super) address: InterfaceAddress,
    /// The way out of its subnet.
    pub(super) gateway: Option<IpAddr>,
    /// The interface that has it, by its place among the interfaces.
    pub(super) interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// What is reached.
    pub(super) destination: Subnet,
    /// By which neighbour; by the gateway of the addresses if missing.
    pub(super) gateway: Option<IpAddr>,
    /// Other keys that the specification knows, as they were given (`mtu`, `advmss`, `priority`, `table`, `scope`).
    pub(super) others: Map<String, Value>,
}

/// How names are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dns {
    /// Addresses of name servers.
    pub(super) nameservers: Vec<String>,
    /// The domain of short names.
    pub(super) domain: String,
    /// Where short names are looked for.
    pub(super) search: Vec<String>,
    /// Options of the resolver.
    pub(super) options: Vec<String>,
}

/// Keys of an interface and of a route that came with version 1.1.0.
const INTERFACE_KEYS: [&str; 2] = ["socketPath", "pciID"];
const ROUTE_KEYS: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

impl CniResult {
    /// Reads a result of any version.
    ///
    /// # Errors
    /// [`Code::Decoding`] when it is of none's form.
    pub(super) fn from_json(json: &Value) -> Result<Self, CniError> {
        Self::read(json).map_err(|error| CniError::new(Code::Decoding, format!("cannot read a result: {error}")))
    }

    fn read(json: &Value) -> Result<Self, CniError> {
        let fields = Fields::of(json, "")?;
        let mut result = CniResult {
            dns: Dns::read(&fields.object("dns")?)?,
            ..CniResult::default()
        };
        for (key, family) in [("ip4", Family::V4), ("ip6", Family::V6)] {
            let old = fields.object(key)?;
            if old.value("ip").is_some() {
                result.ips.push(Ip::read(&old, "ip")?);
                for route in old.list("routes")? {
                    let route = Route::read(&Fields::of(route, "routes")?)?;
                    if route.destination.family() != family {
                        return Err(old.error("routes", "want destinations of the same family"));
                    }
                    result.routes.push(route);
                }
            }
        }
        for interface in fields.list("interfaces")? {
            result
                .interfaces
                .push(Interface::read(&Fields::of(interface, "interfaces")?)?);
        }
        for ip in fields.list("ips")? {
            result.ips.push(Ip::read(&Fields::of(ip, "ips")?, "address")?);
        }
        for route in fields.list("routes")? {
            result.routes.push(Route::read(&Fields::of(route, "routes")?)?);
        }
        Ok(result)
    }

    /// The result in the form of `version`.
    pub(super) fn to_json(&self, version: Version) -> Value {
        let mut json = Map::new();
        json.insert("cniVersion".to_owned(), version.name().into());
        if version <= Version::V020 {
            for (key, family) in [("ip4", Family::V4), ("ip6", Family::V6)] {
                if let Some(ip) = self.ips.iter().find(|ip| Family::of(ip.address.address) == family) {
                    json.insert(key.to_owned(), self.old_form(ip, family));
                }
            }
        } else {
            let list = |values: Vec<Value>| (!values.is_empty()).then_some(Value::Array(values));
            let interfaces = self
                .interfaces
                .iter()
                .map(|interface| interface.to_json(version))
                .collect();
            let ips = self.ips.iter().map(|ip| ip.to_json(version)).collect();
            let routes = self.routes.iter().map(|route| route.to_json(version)).collect();
            for (key, values) in [("interfaces", interfaces), ("ips", ips), ("routes", routes)] {
                json.extend(list(values).map(|values| (key.to_owned(), values)));
            }
        }
        json.insert("dns".to_owned(), self.dns.to_json());
        Value::Object(json)
    }

    fn old_form(&self, ip: &Ip, family: Family) -> Value {
        let mut json = json!({ "ip": ip.address.to_string() });
        if let Some(gateway) = ip.gateway {
            json["gateway"] = gateway.to_string().into();
        }
        let routes = self.routes.iter().filter(|route| route.destination.family() == family);
        let routes: Vec<Value> = routes.map(|route| route.to_json(Version::V020)).collect();
        if !routes.is_empty() {
            json["routes"] = routes.into();
        }
        json
    }

    /// The place of the interface `name` of the namespace `sandbox` among the interfaces.
    pub(super) fn place_of(&self, name: &str, sandbox: &str) -> Option<usize> {
        self.interfaces
            .iter()
            .position(|interface| interface.name == name && interface.sandbox == sandbox)
    }
}

impl Interface {
    fn read(fields: &Fields) -> Result<Self, CniError> {
        let text = |key| Ok::<_, CniError>(fields.text(key)?.unwrap_or_default().to_owned());
        Ok(Interface {
            name: text("name")?,
            mac: text("mac")?,
            mtu: fields.number("mtu", u32::MAX.into())?.unwrap_or(0),
            sandbox: text("sandbox")?,
            others: others(fields, &INTERFACE_KEYS),
        })
    }

    fn to_json(&self, version: Version) -> Value {
        let mut json = json!({ "name": self.name });
        if !self.mac.is_empty() {
            json["mac"] = self.mac.clone().into();
        }
        if !self.sandbox.is_empty() {
            json["sandbox"] = self.sandbox.clone().into();
        }
        if version >= Version::V110 {
            if self.mtu != 0 {
                json["mtu"] = self.mtu.into();
            }
            add(&mut json, &self.others);
        }
        json
    }
}

impl Ip {
    fn read(fields: &Fields, key: &str) -> Result<Self, CniError> {
        let text = fields.text(key)?.ok_or_else(|| fields.error(key, "is missing"))?;
        let (subnet, host) = Subnet::parse_with_host(text).map_err(|error| fields.error(key, error))?;
        Ok(Ip {
            address: InterfaceAddress {
                address: host.unwrap_or(subnet.address()),
                prefix: subnet.prefix(),
            },
            gateway: fields.parsed("gateway")?,
            interface: fields.number("interface", u32::MAX.into())?.map(|place| place as usize),
        })
    }

    fn to_json(&self, version: Version) -> Value {
        let mut json = json!({ "address": self.address.to_string() });
        if version < Version::V100 {
            let is_v4 = self.address.address.is_ipv4();
            json["version"] = if is_v4 { "4" } else { "6" }.into();
        }
        if let Some(gateway) = self.gateway {
            json["gateway"] = gateway.to_string().into();
        }
        if let Some(interface) = self.interface {
            json["interface"] = interface.into();
        }
        json
    }
}

impl Route {
    /// A route with nothing else.
    pub(super) fn new(destination: Subnet, gateway: Option<IpAddr>) -> Self {
        Route {
            destination,
            gateway,
            others: Map::new(),
        }
    }

    /// Reads a route of a result or of a configuration.
    ///
    /// # Errors
    /// When it has none's form.
    pub(super) fn read(fields: &Fields) -> Result<Self, CniError> {
        Ok(Route {
            destination: fields.parsed("dst")?.ok_or_else(|| fields.error("dst", "is missing"))?,
            gateway: fields.parsed("gw")?,
            others: others(fields, &ROUTE_KEYS),
        })
    }

    fn to_json(&self, version: Version) -> Value {
        let mut json = json!({ "dst": self.destination.to_string() });
        if let Some(gateway) = self.gateway {
            json["gw"] = gateway.to_string().into();
        }
        if version >= Version::V110 {
            add(&mut json, &self.others);
        }
        json
    }
}

impl Dns {
    /// Reads the `dns` of a result or of a configuration.
    ///
    /// # Errors
    /// When it has not its form.
    pub(super) fn read(fields: &Fields) -> Result<Self, CniError> {
        Ok(Dns {
            nameservers: fields.texts("nameservers")?,
            domain: fields.text("domain")?.unwrap_or_default().to_owned(),
            search: fields.texts("search")?,
            options: fields.texts("options")?,
        })
    }

    fn to_json(&self) -> Value {
        let mut json = Map::new();
        for (key, texts) in [
            ("nameservers", &self.nameservers),
            ("search", &self.search),
            ("options", &self.options),
        ] {
            if !texts.is_empty() {
                json.insert(key.to_owned(), texts.clone().into());
            }
        }
        if !self.domain.is_empty() {
            json.insert("domain".to_owned(), self.domain.clone().into());
        }
        Value::Object(json)
    }
}

fn others(fields: &Fields, keys: &[&str]) -> Map<String, Value> {
    let given = |key: &&str| Some(((*key).to_owned(), fields.value(key)?.clone()));
    keys.iter().filter_map(given).collect()
}

fn add(json: &mut Value, others: &Map<String, Value>) {
    for (key, value) in others {
        json[key.as_str()] = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "cni0", "mac": "02:00:00:00:00:01", "mtu": 1400},
                {"name": "eth0", "sandbox": "/run/netns/a", "pciID": "0000:00:1f.6"}
            ],
            "ips": [
                {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
                {"address": "fd00::5/64"}
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1300}, {"dst": "::/0"}],
            "dns": {"nameservers": ["10.1.0.2"], "domain": "local", "search": ["a"], "options": ["b"]}
        })
    }

    #[test]
    fn reads_what_it_writes_in_every_version() {
        let result = CniResult::from_json(&newest()).unwrap();
        assert_eq!(result.to_json(Version::V110), newest());
        assert_eq!(result.place_of("eth0", "/run/netns/a"), Some(1));
        for version in [Version::V030, Version::V031, Version::V040, Version::V100] {
            let json = result.to_json(version);
            assert_eq!(json["cniVersion"], version.name());
            assert_eq!(json["ips"][0].get("version").is_some(), version < Version::V100);
            assert_eq!(json["interfaces"][0].get("mtu"), None);
            let again = CniResult::from_json(&json).unwrap();
            assert_eq!(again.ips, result.ips);
            assert_eq!((again.interfaces[0].mtu, again.routes.len()), (0, 2));
        }
    }

    #[test]
    fn the_old_form_has_one_address_of_each_family() {
        let result = CniResult::from_json(&newest()).unwrap();
        let old = result.to_json(Version::V020);
        let expected = json!({
            "cniVersion": "0.2.0",
            "ip4": {
                "ip": "10.1.0.5/16",
                "gateway": "10.1.0.1",
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]
            },
            "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "::/0"}]},
            "dns": newest()["dns"]
        });
        assert_eq!(old, expected);
        let again = CniResult::from_json(&old).unwrap();
        assert_eq!((again.ips.len(), again.routes.len(), again.interfaces.len()), (2, 2, 0));
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for json in [
            json!([]),
            json!({"ips": [{"address": "x"}]}),
            json!({"ips": [{}]}),
            json!({"routes": [{"gw": "10.0.0.1"}]}),
            json!({"ip4": {"ip": "10.0.0.1/8", "routes": [{"dst": "::/0"}]}}),
        ] {
            let error = CniResult::from_json(&json).unwrap_err();
            assert!(
                error.code == 6 && error.message.starts_with("cannot read a result: "),
                "{error:?}"
            );
        }
    }
}
