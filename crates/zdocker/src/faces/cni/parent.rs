//! `macvlan` and `ipvlan`: interfaces on one of the host's.

use zdocker_net::model::{Children, Driver, IpvlanFlag, IpvlanMode, MacvlanMode, ParentDevice};

use zdocker_net::names::InterfaceName;

use super::attachment::Design;
use super::bridge::mtu;
use super::error::CniError;
use super::fields::Fields;
use super::request::Request;

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
    design(request, Driver::Ipvlan)
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
