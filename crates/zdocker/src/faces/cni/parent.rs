//! `macvlan` and `ipvlan`: interfaces on one of the host's.

use zdocker_net::model::{Children, Driver, IpvlanFlag, IpvlanMode, MacvlanMode, ParentDevice};

use zdocker_net::names::InterfaceName;

use super::attachment::Design;
use super::bridge::mtu;
use super::error::CniError;
use super::fields::Fields;
use super::ipam::Ipam;
use super::request::{Request, Verb};
use super::result::CniResult;

/// Reads the configuration of `macvlan`.
///
/// # Errors
/// [`CniError`] when it is wrong, or asks for what there is not.
pub(super) fn macvlan(request: &Request) -> Result<Design, CniError> {
    let mut design = design(request, Driver::Macvlan)?;
    design.wish.mac = design.wish.mac.or(request.fields().parsed("mac")?);
    Ok(design)
}

/// Reads the configuration of `ipvlan`.
///
/// # Errors
/// [`CniError`] when it is wrong, or asks for what there is not.
pub(super) fn ipvlan(request: &Request) -> Result<Design, CniError> {
    let mut design = design(request, Driver::Ipvlan)?;
    // What is there by `CHECK` and `DEL` is what came of it.
    if request.verb == Verb::Add
        && let Some(previous) = request.previous()?
    {
        follow(&mut design, request, previous)?;
    }
    Ok(design)
}

/// Has a design take its parent and its addresses from what the plug-ins before it brought about, where it does not say them.
fn follow(design: &mut Design, request: &Request, previous: CniResult) -> Result<(), CniError> {
    let fields = request.fields();
    if let Some(parent) = design.network.parent.as_mut().filter(|parent| parent.is_unchosen()) {
        let [only] = &previous.interfaces[..] else {
            return Err(fields.error("master", "is missing, and prevResult has not one interface alone"));
        };
        parent.name = only.name.parse().map_err(|error| fields.error("prevResult", error))?;
    }
    if matches!(design.ipam, Ipam::None) && !previous.ips.is_empty() {
        design.ipam = Ipam::Previous(previous);
    }
    Ok(())
}

fn design(request: &Request, driver: Driver) -> Result<Design, CniError> {
    let mut design = Design::new(request, driver, None)?;
    // The gateway is somebody else's, and the way out.
    design.is_gateway = true;
    equip(&mut design, request)?;
    Ok(design)
}

/// Gives the network of a design its parent interface.
///
/// # Errors
/// [`CniError`] when the configuration is wrong.
pub(super) fn equip(design: &mut Design, request: &Request) -> Result<(), CniError> {
    let fields = request.fields();
    for (key, reason) in [
        ("linkInContainer", "the parent interface is one of the host's"),
        ("promiscMode", "interfaces take the frames of their own addresses only"),
    ] {
        if fields.flag(key)? {
            return Err(CniError::unsupported(key, reason));
        }
    }
    let children = match design.network.driver {
        Driver::Ipvlan => Children::Ipvlan {
            mode: ipvlan_mode(&fields)?,
            flag: IpvlanFlag::Bridge,
        },
        _ => Children::Macvlan {
            mode: macvlan_mode(&fields)?,
            broadcast_limit: None,
        },
    };
    let master = fields.parsed("master")?;
    design.network.parent = Some(ParentDevice {
        // `lo` has no children: it stands for the interface of the default route.
        name: master.unwrap_or_else(InterfaceName::loopback),
        mtu: mtu(&fields)?,
        children,
        made: None,
    });
    Ok(())
}

fn macvlan_mode(fields: &Fields) -> Result<MacvlanMode, CniError> {
    Ok(match fields.text("mode")?.unwrap_or_default() {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        other => return Err(fields.error("mode", format!("{other:?}: want bridge, private, vepa or passthru"))),
    })
}

fn ipvlan_mode(fields: &Fields) -> Result<IpvlanMode, CniError> {
    Ok(match fields.text("mode")?.unwrap_or_default() {
        "" | "l2" => IpvlanMode::L2,
        "l3" => IpvlanMode::L3,
        "l3s" => IpvlanMode::L3s,
        other => return Err(fields.error("mode", format!("{other:?}: want l2, l3 or l3s"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(reader: fn(&Request) -> Result<Design, CniError>, plugin: Value) -> Result<Design, CniError> {
        let mut config = json!({"cniVersion": "1.0.0", "name": "n", "type": "ipvlan"});
        config
            .as_object_mut()
            .unwrap()
            .extend(plugin.as_object().unwrap().clone());
        let environment = |key: &str| (key != "CNI_ARGS").then(|| "eth0".into());
        reader(&Request::new(Verb::Add, &environment, &config.to_string())?)
    }

    #[test]
    fn macvlan_is_told_its_address_in_each_way() {
        let mac = |plugin: Value| read(macvlan, plugin).unwrap().wish.mac.unwrap().to_string();
        let configured = json!({"mac": "02:00:00:00:00:01"});
        assert_eq!(mac(configured), "02:00:00:00:00:01");
        let both = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:02"}});
        assert_eq!(mac(both), "02:00:00:00:00:02");
    }

    #[test]
    fn ipvlan_follows_the_plug_in_before_it() {
        let previous = json!({"interfaces": [{"name": "ens7"}], "ips": [{"address": "10.1.0.5/24"}]});
        let parent = |design: &Design| design.network.parent.as_ref().unwrap().name.to_string();
        let design = read(ipvlan, json!({"prevResult": previous})).unwrap();
        assert!(matches!(&design.ipam, Ipam::Previous(result) if result.ips.len() == 1));
        assert_eq!(parent(&design), "ens7");
        let ipam = json!({"type": "host-local", "subnet": "10.2.0.0/24"});
        let told = json!({"prevResult": previous, "master": "ens8", "ipam": ipam});
        let design = read(ipvlan, told).unwrap();
        assert!(matches!(design.ipam, Ipam::HostLocal(_)));
        assert_eq!(parent(&design), "ens8");
        let several = json!({"prevResult": {"interfaces": [{"name": "a"}, {"name": "b"}]}});
        assert!(read(ipvlan, several).unwrap_err().message.contains("\"master\""));
    }
}
