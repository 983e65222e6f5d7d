//! `bridge`: as the reference plug-in of this name, open to the host's neighbours as there.

use zdocker_net::model::{BridgeDevice, Driver, GatewayMode, Isolation, LAST_VLAN, Ownership, Trunk};
use zdocker_net::names::InterfaceName;

use super::attachment::{Design, mac_named};
use super::error::CniError;
use super::fields::Fields;
use super::ipam::Ipam;
use super::request::Request;

/// The bridge if none is named.
const BRIDGE: &str = "cni0";

/// In bytes, if nothing is said: Ethernet's (RFC 894).
const MTU: u32 = 1500;

/// Reads the configuration.
///
/// # Errors
/// [`CniError`] when it is wrong, or asks for what there is not.
pub(super) fn design(request: &Request) -> Result<Design, CniError> {
    let fields = request.fields();
    let mut design = Design::new(request, Driver::Bridge, None)?;
    design.is_default_gateway = fields.flag("isDefaultGateway")?;
    design.is_gateway = fields.flag("isGateway")? || design.is_default_gateway;
    let network = &mut design.network;
    let mut bridge = device(&fields, BRIDGE, Ownership::Kept)?;
    bridge.trunk = trunk(&fields)?;
    if bridge.trunk.is_some() && bridge.vlan.is_some() {
        return Err(fields.error("vlanTrunk", "goes not together with \"vlan\""));
    }
    // What is within frames with tags is not looked at.
    network.settings.unguarded = bridge.trunk.is_some();
    network.bridge = Some(bridge);
    network.masquerade = fields.flag("ipMasq")?;
    let settings = &mut network.settings;
    settings.no_neighbours = fields.flag("portIsolation")?;
    settings.hairpin = fields.flag("hairpinMode")?;
    settings.force_address = fields.flag("forceAddress")?;
    settings.isolation = Isolation::None;
    settings.gateway_mode_v4 = GatewayMode::NatUnprotected;
    settings.gateway_mode_v6 = GatewayMode::NatUnprotected;
    check_others(&fields, &design)?;
    Ok(design)
}

/// The bridge that `fields` describe, called `usual` if they do not name it.
///
/// # Errors
/// [`CniError`] when they are wrong.
pub(super) fn device(fields: &Fields, usual: &str, ownership: Ownership) -> Result<BridgeDevice, CniError> {
    let name: InterfaceName = match fields.parsed("bridge")? {
        Some(name) => name,
        None => usual.parse().map_err(|error| fields.error("bridge", error))?,
    };
    let vlan = fields.number("vlan", LAST_VLAN.into())?.filter(|vlan| *vlan != 0);
    Ok(BridgeDevice {
        mac: mac_named(&["cni", "bridge", name.as_str()]),
        mtu: mtu(fields)?.unwrap_or(MTU),
        ownership,
        vlan: vlan.map(|vlan| vlan as u16),
        trunk: None,
        vrf: None,
        name,
    })
}

/// The VLANs that are led to containers with their tags, if any.
fn trunk(fields: &Fields) -> Result<Option<Trunk>, CniError> {
    let mut vlans = Vec::new();
    for entry in fields.list("vlanTrunk")? {
        let entry = Fields::of(entry, "vlanTrunk")?;
        let number = |key| match entry.number(key, LAST_VLAN.into())? {
            Some(0) => Err(entry.error(key, format!("want a number from 1 to {LAST_VLAN}"))),
            number => Ok(number.map(|number| number as u16)),
        };
        match (number("minID")?, number("maxID")?) {
            (Some(first), Some(last)) if first <= last => vlans.push((first, last)),
            (None, None) => {}
            _ => return Err(entry.error("maxID", "want minID and maxID, the first and the last of a range")),
        }
        vlans.extend(number("id")?.map(|vlan| (vlan, vlan)));
    }
    let native = fields.maybe_flag("preserveDefaultVlan")?.unwrap_or(true);
    let vlans = merged(vlans);
    Ok((!vlans.is_empty()).then_some(Trunk { vlans, native }))
}

/// The same numbers in the fewest ranges.
fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let is_joined = next.0 <= last.1.saturating_add(1);
        if is_joined {
            last.1 = last.1.max(next.1);
        }
        is_joined
    });
    ranges
}

/// The largest packet in bytes, if it is said.
///
/// # Errors
/// [`CniError`] when it is none that an interface can have.
pub(super) fn mtu(fields: &Fields) -> Result<Option<u32>, CniError> {
    /// Least that an IPv4 host must take (RFC 791).
    const LEAST: u64 = 68;
    match fields.number("mtu", 65535)? {
        None | Some(0) => Ok(None),
        Some(mtu) if mtu < LEAST => Err(fields.error("mtu", format!("want at least {LEAST}"))),
        Some(mtu) => Ok(Some(mtu as u32)),
    }
}

/// Keys that change nothing here, as long as they are what they must be, and those that cannot be done.
fn check_others(fields: &Fields, design: &Design) -> Result<(), CniError> {
    // Addresses are checked by us before they are given; a bridge hears what is for its own addresses.
    for key in ["promiscMode", "enabledad", "preserveDefaultVlan"] {
        fields.flag(key)?;
    }
    if fields.flag("hairpinMode")? && fields.flag("promiscMode")? {
        return Err(fields.error("promiscMode", "cannot be combined with hairpinMode"));
    }
    match fields.text("ipMasqBackend")? {
        None | Some("" | "iptables" | "nftables") => {}
        Some(_) => return Err(fields.error("ipMasqBackend", "want iptables or nftables")),
    }
    if fields.flag("disableContainerInterface")? {
        return Err(CniError::unsupported(
            "disableContainerInterface",
            "containers' interfaces are set up",
        ));
    }
    let unguarded = matches!(design.ipam, Ipam::None) || design.network.settings.unguarded;
    if fields.flag("macspoofchk")? && unguarded {
        return Err(CniError::unsupported(
            "macspoofchk",
            "frames are checked by the addresses that ipam gives, and not those with tags of VLANs",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(plugin: Value) -> Result<Design, CniError> {
        design(&Request::example("1.0.0", "bridge", &plugin)?)
    }

    #[test]
    fn as_the_reference_if_nothing_is_said() {
        let design = read(json!({})).unwrap();
        let bridge = design.network.bridge.unwrap();
        assert_eq!((bridge.name.as_str(), bridge.mtu, bridge.vlan), ("cni0", 1500, None));
        assert!(!design.is_gateway && !design.is_default_gateway && !design.network.masquerade);
        assert!(!design.network.settings.hairpin && !design.network.settings.force_address);
        assert!(matches!(design.ipam, Ipam::None));
    }

    #[test]
    fn what_is_said_counts() {
        let design = read(json!({
            "bridge": "br7", "isDefaultGateway": true, "ipMasq": true, "mtu": 1400, "vlan": 7, "portIsolation": true,
            "hairpinMode": true, "forceAddress": true, "dns": {"nameservers": ["10.0.0.1"]},
            "runtimeConfig": {"mac": "02:00:00:00:00:09"},
            "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}
        }))
        .unwrap();
        let bridge = design.network.bridge.unwrap();
        assert_eq!((bridge.name.as_str(), bridge.mtu, bridge.vlan), ("br7", 1400, Some(7)));
        assert!(design.is_gateway && design.is_default_gateway && design.network.masquerade);
        let settings = &design.network.settings;
        assert!(settings.no_neighbours && settings.hairpin && settings.force_address);
        assert_eq!(design.wish.mac.unwrap().to_string(), "02:00:00:00:00:09");
        assert_eq!(design.dns.unwrap().nameservers, ["10.0.0.1"]);
    }

    #[test]
    fn vlans_with_tags() {
        let trunk = |plugin| read(plugin).unwrap().network.bridge.unwrap().trunk;
        let entries = json!([{"id": 3}, {"minID": 10, "maxID": 20}, {"minID": 30, "maxID": 31, "id": 40}, {}]);
        let vlans = vec![(3, 3), (10, 20), (30, 31), (40, 40)];
        let all = Trunk { vlans, native: true };
        assert_eq!(trunk(json!({"vlanTrunk": entries})), Some(all.clone()));
        let alone = json!({"vlanTrunk": entries, "preserveDefaultVlan": false});
        assert_eq!(trunk(alone), Some(Trunk { native: false, ..all }));
        assert_eq!(trunk(json!({"vlanTrunk": []})), None);
        let overlapping = json!([{"id": 6}, {"minID": 2, "maxID": 5}, {"id": 3}, {"id": 4094}, {"id": 8}]);
        let merged = trunk(json!({"vlanTrunk": overlapping})).unwrap().vlans;
        assert_eq!(merged, [(2, 6), (8, 8), (4094, 4094)]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (plugin, code, words) in [
            (json!({"bridge": "a/b"}), 7, "\"bridge\""),
            (json!({"mtu": 10}), 7, "\"mtu\""),
            (json!({"vlan": 4095}), 7, "\"vlan\""),
            (json!({"isGateway": "yes"}), 7, "\"isGateway\""),
            (json!({"hairpinMode": true, "promiscMode": true}), 7, "\"promiscMode\""),
            (json!({"vlanTrunk": [{"id": 3}], "vlan": 4}), 7, "\"vlanTrunk\""),
            (json!({"vlanTrunk": [{"id": 0}]}), 7, "\"vlanTrunk.id\""),
            (json!({"vlanTrunk": [{"minID": 3}]}), 7, "\"vlanTrunk.maxID\""),
            (
                json!({"vlanTrunk": [{"minID": 3, "maxID": 2}]}),
                7,
                "\"vlanTrunk.maxID\"",
            ),
            (
                json!({"vlanTrunk": [{"id": 3}], "macspoofchk": true}),
                2,
                "\"macspoofchk\"",
            ),
            (
                json!({"disableContainerInterface": true}),
                2,
                "\"disableContainerInterface\"",
            ),
            (json!({"macspoofchk": true}), 2, "\"macspoofchk\""),
            (json!({"ipMasqBackend": "x"}), 7, "\"ipMasqBackend\""),
        ] {
            let error = read(plugin).unwrap_err();
            assert!(
                error.code == code && error.message.contains(words),
                "{words}: {error:?}"
            );
        }
    }
}
