//! `firewall`: says who is kept from what the plug-in before it made. Nothing needs to be opened: our own tables let
//! pass what our networks let pass.

use zdocker_net::model::Ingress;

use super::chained::{Plugged, plugged};
use super::error::CniError;
use super::request::Request;
use super::result::CniResult;
use super::{Verbs, refuse_differences, state};

pub(super) const VERBS: Verbs = Verbs::stateless(add, check);

fn add(request: &Request) -> Result<CniResult, CniError> {
    let previous = request.required_previous()?;
    check_backend(request)?;
    let ingress = ingress(request)?;
    let mut engine = state::open(request)?;
    match plugged(&mut engine, request)? {
        Plugged::Own(network, _) if network.bridge.is_none() && ingress != Ingress::Open => {
            let reason = format!(
                "is kept on bridges only, and this is a network of driver {}",
                network.driver
            );
            return Err(CniError::unsupported("ingressPolicy", reason));
        }
        Plugged::Own(network, _) if network.settings.ingress != ingress => engine.restrict(&network.id, ingress)?,
        Plugged::Strange(_) if ingress != Ingress::Open => {
            let reason = "is kept for containers only that a plug-in of zdocker was the first to add";
            return Err(CniError::unsupported("ingressPolicy", reason));
        }
        Plugged::Own(..) | Plugged::Strange(_) => {}
    }
    Ok(previous)
}

fn check(request: &Request) -> Result<(), CniError> {
    check_backend(request)?;
    let ingress = ingress(request)?;
    let mut engine = state::open(request)?;
    let Plugged::Own(network, _) = plugged(&mut engine, request)? else {
        return Ok(());
    };
    let mut lines = engine.check_plugged(&request.container_id(), &network.id)?;
    if network.settings.ingress != ingress {
        lines.insert(0, "another ingress policy is recorded".to_owned());
    }
    refuse_differences("the firewall", &lines)
}

fn ingress(request: &Request) -> Result<Ingress, CniError> {
    let fields = request.fields();
    match fields.text("ingressPolicy")?.unwrap_or_default() {
        "" | "open" => Ok(Ingress::Open),
        "same-bridge" => Ok(Ingress::SameBridge),
        "isolated" => Ok(Ingress::Isolated),
        other => Err(fields.error(
            "ingressPolicy",
            format!("{other:?}: want open, same-bridge or isolated"),
        )),
    }
}

fn check_backend(request: &Request) -> Result<(), CniError> {
    let fields = request.fields();
    match fields.text("backend")?.unwrap_or_default() {
        "" | "iptables" | "nftables" => Ok(()),
        "firewalld" => Err(CniError::unsupported(
            "backend",
            "firewalld is not spoken to; leave the key out, and put the bridge into a zone of your own",
        )),
        other => Err(fields.error("backend", format!("{other:?}: want iptables or nftables"))),
    }
}
