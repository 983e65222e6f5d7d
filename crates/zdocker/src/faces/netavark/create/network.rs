//! A network's configuration as Podman has it.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use zdocker_net::subnet::{Family, Subnet};

use super::fields::Fields;

/// A network's configuration.
pub(super) struct Network {
    pub(super) created: Option<Value>,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) driver: String,
    /// The bridge, or the parent of macvlan and ipvlan interfaces.
    pub(super) interface: Option<String>,
    pub(super) dns: bool,
    pub(super) internal: bool,
    pub(super) ipv6: bool,
    pub(super) options: Option<Map<String, Value>>,
    pub(super) ipam: Option<Map<String, Value>>,
    pub(super) pools: Option<Vec<Pool>>,
    routes: Option<Vec<Value>>,
    /// Whom the network's name server asks.
    pub(super) servers: Option<Vec<IpAddr>>,
    labels: Option<Map<String, Value>>,
}

/// A subnet of a network.
pub(super) struct Pool {
    pub(super) subnet: Subnet,
    pub(super) gateway: Option<IpAddr>,
    /// The first and the last address that Podman chooses.
    range: Option<[Option<IpAddr>; 2]>,
}

/// The names of a range's ends.
const ENDS: [&str; 2] = ["start_ip", "end_ip"];

impl Network {
    pub(super) fn read(value: &Value) -> Result<Self> {
        let fields = Fields::of("the network", value)?;
        let pools = fields.list("subnets")?;
        Ok(Network {
            created: fields.get("created").cloned(),
            name: fields.required_text("name")?,
            id: fields.required_text("id")?,
            driver: fields.required_text("driver")?,
            interface: fields.text("network_interface")?.map(str::to_owned),
            dns: fields.flag("dns_enabled")?,
            internal: fields.flag("internal")?,
            ipv6: fields.flag("ipv6_enabled")?,
            options: fields.text_map("options")?,
            ipam: fields.text_map("ipam_options")?,
            pools: pools
                .map(|list| list.iter().map(Pool::read).collect::<Result<_>>())
                .transpose()?,
            routes: fields.list("routes")?.cloned(),
            servers: fields.parsed_list("network_dns_servers")?,
            labels: fields.text_map("labels")?,
        })
    }

    /// The network as Podman keeps it; what is not known is left out.
    pub(super) fn into_json(self) -> Value {
        let mut map = Map::new();
        let text = |text: String| Some(Value::String(text));
        let addresses = |list: Vec<IpAddr>| Value::Array(list.iter().map(|a| a.to_string().into()).collect());
        for (key, value) in [
            ("created", self.created),
            ("dns_enabled", Some(self.dns.into())),
            ("driver", text(self.driver)),
            ("id", text(self.id)),
            ("internal", Some(self.internal.into())),
            ("ipv6_enabled", Some(self.ipv6.into())),
            ("name", text(self.name)),
            ("network_interface", self.interface.map(Value::String)),
            ("options", self.options.map(Value::Object)),
            ("ipam_options", self.ipam.map(Value::Object)),
            (
                "subnets",
                self.pools.map(|pools| pools.iter().map(Pool::to_json).collect()),
            ),
            ("routes", self.routes.map(Value::Array)),
            ("network_dns_servers", self.servers.map(addresses)),
            ("labels", self.labels.map(Value::Object)),
        ] {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        }
        Value::Object(map)
    }

    /// Who hands out addresses, if that is said.
    pub(super) fn ipam_driver(&self) -> Option<&str> {
        let driver = self.ipam.as_ref()?.get("driver")?.as_str()?;
        Some(driver).filter(|driver| !driver.is_empty())
    }

    pub(super) fn set_ipam_driver(&mut self, driver: &str) {
        let ipam = self.ipam.get_or_insert_default();
        ipam.insert("driver".to_owned(), driver.into());
    }

    /// Whether it has a subnet, of `family` if given.
    pub(super) fn has_subnet(&self, family: Option<Family>) -> bool {
        let mut subnets = self.pools.iter().flatten().map(|pool| pool.subnet);
        subnets.any(|subnet| family.is_none_or(|family| subnet.family() == family))
    }

    pub(super) fn check_ipam(&self) -> Result<()> {
        match self.ipam_driver() {
            None | Some("host-local") => Ok(()),
            Some("none") => {
                ensure!(
                    !self.has_subnet(None),
                    "network {:?} has the IPAM driver none, which hands out no addresses, and subnets: leave out one of them",
                    self.name
                );
                Ok(())
            }
            Some("dhcp") => bail!(
                "network {:?}: the IPAM driver dhcp is not supported yet; use host-local with a subnet, or none",
                self.name
            ),
            Some(other) => bail!(
                "Unsupported ipam driver: {other} (network {:?}); use host-local or none",
                self.name
            ),
        }
    }

    pub(super) fn check_routes(&self) -> Result<()> {
        for route in self.routes.iter().flatten() {
            check_route(route).with_context(|| format!("static route {route} of network {:?}", self.name))?;
        }
        Ok(())
    }
}

impl Pool {
    /// A whole subnet, without a gateway.
    pub(super) fn new(subnet: Subnet) -> Self {
        Pool {
            subnet,
            gateway: None,
            range: None,
        }
    }

    fn read(value: &Value) -> Result<Self> {
        let fields = Fields::of("a subnet", value)?;
        fields.required("subnet")?;
        let range = match fields.get("lease_range") {
            None => None,
            Some(range) => {
                let range = Fields::of("a lease range", range)?;
                Some([range.parsed(ENDS[0])?, range.parsed(ENDS[1])?])
            }
        };
        Ok(Pool {
            subnet: fields.parsed("subnet")?.context("missing field `subnet`")?,
            gateway: fields.parsed("gateway")?,
            range,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        if let Some(gateway) = self.gateway {
            map.insert("gateway".to_owned(), gateway.to_string().into());
        }
        if let Some(range) = self.range {
            let ends = ENDS.into_iter().zip(range);
            let ends = ends.filter_map(|(key, end)| Some((key.to_owned(), end?.to_string().into())));
            map.insert("lease_range".to_owned(), Value::Object(ends.collect()));
        }
        map.insert("subnet".to_owned(), self.subnet.to_string().into());
        Value::Object(map)
    }

    /// Checks that gateway and range lie in the subnet, and that the range has an address.
    pub(super) fn check(&self) -> Result<()> {
        let subnet = self.subnet;
        if let Some(gateway) = self.gateway {
            ensure!(subnet.contains(gateway), "gateway {gateway} not in subnet {subnet}");
        }
        let ends = self.range.unwrap_or_default();
        for (key, end) in ENDS.iter().zip(ends) {
            if let Some(end) = end {
                ensure!(subnet.contains(end), "lease range {key} {end} not in subnet {subnet}");
            }
        }
        if let [Some(start), Some(end)] = ends {
            ensure!(
                start <= end,
                "lease range of subnet {subnet}: start_ip {start} comes after end_ip {end}"
            );
        }
        Ok(())
    }
}

fn check_route(route: &Value) -> Result<()> {
    let fields = Fields::of("a route", route)?;
    let destination = fields.text("destination")?.context("missing field `destination`")?;
    let (subnet, host) = Subnet::parse_with_host(destination)?;
    ensure!(
        host.is_none(),
        "route destination invalid: {destination} is an address in a subnet; the subnet is {subnet}"
    );
    let gateway: Option<IpAddr> = fields.parsed("gateway")?;
    if let Some(metric) = fields.get("metric") {
        let fits = metric.as_u64().is_some_and(|metric| u32::try_from(metric).is_ok());
        ensure!(fits, "invalid metric {metric}: want a number below 4294967296");
    }
    match fields.text("route_type")?.unwrap_or_default() {
        "" | "unicast" => {
            let gateway = gateway.context("it needs a gateway, as it is of type unicast")?;
            ensure!(
                Family::of(gateway) == subnet.family(),
                "its gateway is of the other address family"
            );
        }
        kind @ ("blackhole" | "unreachable" | "prohibit") => {
            ensure!(gateway.is_none(), "it must not have a gateway, as it is of type {kind}");
        }
        kind => bail!("invalid route type {kind:?}: want unicast, blackhole, unreachable or prohibit"),
    }
    Ok(())
}
