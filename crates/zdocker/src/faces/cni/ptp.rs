//! `ptp`: a veth pair to each container, between whose ends the host routes.

use zdocker_net::model::{Driver, GatewayMode, Isolation};

use super::attachment::Design;
use super::bridge::mtu;
use super::error::CniError;
use super::ipam::Ipam;
use super::request::Request;

/// Reads the configuration.
///
/// # Errors
/// [`CniError`] when it is wrong.
pub(super) fn design(request: &Request) -> Result<Design, CniError> {
    let fields = request.fields();
    let mut design = Design::new(request, Driver::Ptp, None)?;
    if matches!(design.ipam, Ipam::None) {
        return Err(fields.error("ipam", "is missing: without addresses there is nothing to route"));
    }
    design.remove_unused = true;
    let network = &mut design.network;
    network.masquerade = fields.flag("ipMasq")?;
    network.settings.mtu = mtu(&fields)?;
    network.settings.isolation = Isolation::None;
    network.settings.gateway_mode_v4 = GatewayMode::NatUnprotected;
    network.settings.gateway_mode_v6 = GatewayMode::NatUnprotected;
    Ok(design)
}
