//! `zdocker-net`: all that the others do in a chain, in one process; closed to everybody unless it is told otherwise.

use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;
use zdocker_net::model::{Bandwidth, Driver, GatewayMode, Isolation, Ownership};
use zdocker_net::names::InterfaceName;
use zdocker_net::subnet::Family;

use super::attachment::Design;
use super::error::CniError;
use super::fields::Fields;
use super::request::Request;
use super::result::Dns;
use super::{bandwidth, bridge, parent, portmap};

/// The keys that there are; those of the specification first.
const KEYS: [&str; 30] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "args",
    "capabilities",
    "dns",
    "ipMasq",
    "ipam",
    "prevResult",
    "runtimeConfig",
    "bridge",
    "defaultRoute",
    "driver",
    "egressBurst",
    "egressRate",
    "gatewayMode",
    "hostBinding",
    "ingressBurst",
    "ingressRate",
    "internal",
    "isolation",
    "master",
    "mode",
    "mtu",
    "outbound",
    "portIsolation",
    "removeUnused",
    "stateDir",
    "vlan",
];

/// Reads the configuration.
///
/// # Errors
/// [`CniError`] when it is wrong, or asks for what there is not.
pub(super) fn design(request: &Request) -> Result<Design, CniError> {
    let fields = request.fields();
    check_keys(&request.config)?;
    let driver = choice(
        &fields,
        "driver",
        &[
            ("bridge", Driver::Bridge),
            ("macvlan", Driver::Macvlan),
            ("ipvlan", Driver::Ipvlan),
        ],
    )?;
    let driver = driver.unwrap_or(Driver::Bridge);
    let mut design = Design::new(request, driver, Some("host-local"))?;
    let network = &mut design.network;
    network.internal = fields.flag("internal")?;
    design.is_default_gateway = fields.maybe_flag("defaultRoute")?.unwrap_or(!network.internal);
    design.remove_unused = fields.flag("removeUnused")?;
    design.hears_routers = false;
    let runtime = request.runtime()?.object("dns")?;
    if design.dns.is_some() || runtime.is_given() {
        read_dns(design.dns.get_or_insert_default(), &runtime)?;
    }
    design.wish.settings.aliases = request.runtime()?.texts("aliases")?;
    if driver == Driver::Bridge {
        equip(&mut design, request)?;
    } else {
        refuse_bridge_keys(request)?;
        parent::equip(&mut design, request)?;
    }
    Ok(design)
}

/// Gives a design its bridge, and says who reaches whom.
fn equip(design: &mut Design, request: &Request) -> Result<(), CniError> {
    let fields = request.fields();
    let usual = InterfaceName::prefixed("zd-", request.network_id().as_str());
    let usual = usual.map_err(|error| fields.error("bridge", error))?;
    let mut device = bridge::device(&fields, usual.as_str(), Ownership::Kept)?;
    // As the way out of the host, if nothing is said.
    device.mtu = bridge::mtu(&fields)?.unwrap_or(0);
    let network = &mut design.network;
    network.bridge = Some(device);
    network.masquerade = fields.maybe_flag("ipMasq")?.unwrap_or(true);
    let settings = &mut network.settings;
    settings.no_neighbours = fields.flag("portIsolation")?;
    let isolations = [
        ("none", Isolation::None),
        ("normal", Isolation::Normal),
        ("strict", Isolation::Strict),
    ];
    settings.isolation = choice(&fields, "isolation", &isolations)?.unwrap_or_default();
    let modes = [
        ("nat", GatewayMode::Nat),
        ("nat-unprotected", GatewayMode::NatUnprotected),
        ("routed", GatewayMode::Routed),
    ];
    let mode = choice(&fields, "gatewayMode", &modes)?.unwrap_or_default();
    (settings.gateway_mode_v4, settings.gateway_mode_v6) = (mode, mode);
    settings.outbound = outbound(&fields)?;
    let wish = &mut design.wish;
    wish.settings.bandwidth = bandwidth::limits(request)?;
    wish.ports = portmap::published(request)?;
    let binding: Option<IpAddr> = fields.parsed("hostBinding")?;
    for port in &mut wish.ports {
        port.host_ip = port.host_ip.or(binding);
    }
    if network.internal && !wish.ports.is_empty() {
        return Err(CniError::unsupported(
            "portMappings",
            "an internal network publishes no ports",
        ));
    }
    Ok(())
}

/// The host's addresses that packets bear on their way out, at most one of each family.
fn outbound(fields: &Fields) -> Result<Vec<IpAddr>, CniError> {
    let addresses: Vec<IpAddr> = fields.parsed_list("outbound")?;
    let of = |family| {
        addresses
            .iter()
            .filter(|address| Family::of(**address) == family)
            .count()
    };
    if of(Family::V4) > 1 || of(Family::V6) > 1 {
        return Err(fields.error("outbound", "want at most one address of each family"));
    }
    Ok(addresses)
}

/// Refuses what interfaces on a parent cannot have: their packets pass none of our rules.
fn refuse_bridge_keys(request: &Request) -> Result<(), CniError> {
    let fields = request.fields();
    let keys = [
        "bridge",
        "gatewayMode",
        "hostBinding",
        "ipMasq",
        "isolation",
        "outbound",
        "portIsolation",
        "vlan",
    ];
    if let Some(key) = keys.into_iter().find(|key| fields.value(key).is_some()) {
        return Err(CniError::unsupported(key, "is for the driver bridge"));
    }
    if !portmap::published(request)?.is_empty() {
        return Err(CniError::unsupported(
            "portMappings",
            "ports are published with the driver bridge only",
        ));
    }
    if bandwidth::limits(request)? != Bandwidth::default() {
        return Err(CniError::unsupported(
            "bandwidth",
            "limits are kept with the driver bridge only",
        ));
    }
    Ok(())
}

/// A word that is mistyped must not leave a network open that is meant to be closed.
fn check_keys(config: &Value) -> Result<(), CniError> {
    let keys = config.as_object().into_iter().flat_map(|object| object.keys());
    let is_known = |key: &str| KEYS.contains(&key) || key.starts_with("cni.dev/");
    match keys.into_iter().find(|key| !is_known(key)) {
        Some(key) => Err(CniError::unsupported(
            key,
            "there is no such key; docs/other-engines.md has all that there are",
        )),
        None => Ok(()),
    }
}

/// What the word of `key` stands for.
fn choice<T: Copy>(fields: &Fields, key: &str, words: &[(&str, T)]) -> Result<Option<T>, CniError> {
    let Some(text) = fields.text(key)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
    let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found
        .map(Some)
        .ok_or_else(|| fields.error(key, format!("{text:?}: want one of {known}")))
}

/// What the runtime says of name resolution goes before the configuration.
fn read_dns(dns: &mut Dns, runtime: &Fields) -> Result<(), CniError> {
    for (key, texts) in [
        ("servers", &mut dns.nameservers),
        ("searches", &mut dns.search),
        ("options", &mut dns.options),
    ] {
        let given = runtime.texts(key)?;
        if !given.is_empty() {
            *texts = given;
        }
    }
    if let Some(bad) = dns.nameservers.iter().find(|server| IpAddr::from_str(server).is_err()) {
        return Err(CniError::config("dns.nameservers", format!("{bad:?} is no address")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(plugin: Value) -> Result<Design, CniError> {
        design(&Request::example("1.1.0", "zdocker-net", &plugin)?)
    }

    #[test]
    fn closed_if_nothing_is_said() {
        let design = read(json!({"ipam": {"subnet": "10.1.0.0/24"}})).unwrap();
        let network = design.network;
        let name = network.bridge.unwrap().name;
        assert!(name.as_str().starts_with("zd-") && name.as_str().len() == 15, "{name}");
        assert!(network.masquerade && design.is_default_gateway && design.is_gateway);
        let settings = network.settings;
        assert_eq!(
            (settings.isolation, settings.gateway_mode_v4),
            (Isolation::Normal, GatewayMode::Nat)
        );
        assert_eq!(settings.gateway_mode_v6, GatewayMode::Nat);
    }

    #[test]
    fn everything_at_once() {
        let design = read(json!({
            "bridge": "br7", "ipMasq": false, "isolation": "strict", "gatewayMode": "routed", "portIsolation": true,
            "hostBinding": "127.0.0.1", "outbound": ["192.0.2.1"], "removeUnused": true, "mtu": 1400,
            "dns": {"domain": "d"},
            "runtimeConfig": {
                "portMappings": [
                    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                    {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"}
                ],
                "bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 100_000},
                "dns": {"servers": ["10.1.0.1"], "searches": ["s"]},
                "aliases": ["web"]
            },
            "ipam": {"subnet": "10.1.0.0/24"}
        }))
        .unwrap();
        let ports: Vec<String> = design.wish.ports.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["127.0.0.1:8080:80/tcp", "192.0.2.1:53:53/udp"]);
        assert_eq!(design.wish.settings.bandwidth.receive, Some(1_000_000));
        assert_eq!(design.wish.settings.aliases, ["web"]);
        let dns = design.dns.unwrap();
        assert_eq!((dns.nameservers[0].as_str(), dns.domain.as_str()), ("10.1.0.1", "d"));
        assert!(design.remove_unused && !design.network.masquerade);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (plugin, code, words) in [
            (json!({"isolations": "strict"}), 2, "\"isolations\""),
            (json!({"isolation": "some"}), 7, "none, normal, strict"),
            (json!({"driver": "host"}), 7, "\"driver\""),
            (
                json!({"driver": "macvlan", "master": "eth0", "ipMasq": true}),
                2,
                "\"ipMasq\"",
            ),
            (json!({"outbound": ["10.0.0.1", "10.0.0.2"]}), 7, "\"outbound\""),
            (json!({"dns": {"nameservers": ["x"]}}), 7, "dns.nameservers"),
            (
                json!({"internal": true, "runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1}]}}),
                2,
                "portMappings",
            ),
        ] {
            let error = read(plugin).unwrap_err();
            assert!(
                error.code == code && error.message.contains(words),
                "{words}: {error:?}"
            );
        }
    }
}
