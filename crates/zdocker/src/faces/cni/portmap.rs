//! `portmap`: publishes ports of what the plug-in before it made.

use std::collections::HashSet;

use zdocker_engine::plug::Adoption;
use zdocker_net::model::{Callers, Endpoint};
use zdocker_net::ports::{Protocol, PublishedPort};

use super::chained::{Plugged, plugged, stranger};
use super::error::CniError;
use super::fields::Fields;
use super::request::Request;
use super::result::CniResult;
use super::{Verbs, chained, refuse_differences, state};

pub(super) const VERBS: Verbs = Verbs {
    del,
    gc: |request| chained::gc(request, true),
    ..Verbs::stateless(add, check)
};

fn add(request: &Request) -> Result<CniResult, CniError> {
    let previous = request.required_previous()?;
    let (ports, callers) = (published(request)?, callers(request)?);
    if ports.is_empty() {
        return Ok(previous);
    }
    let mut engine = state::open(request)?;
    match plugged(&mut engine, request)? {
        Plugged::Own(network, endpoint) => {
            if !network.has_pairs() {
                let reason = format!("ports cannot be published on a network of driver {}", network.driver);
                return Err(CniError::unsupported("portMappings", reason));
            }
            let mut all = beside(&endpoint, &ports);
            all.extend(ports);
            engine.republish(&endpoint.id, &all)?;
        }
        Plugged::Strange(_) => engine.adopt(
            &stranger(request, &previous)?,
            &Adoption {
                ports: Some((ports, callers)),
                bandwidth: None,
            },
        )?,
    }
    Ok(previous)
}

fn del(request: &Request) -> Result<(), CniError> {
    let mut engine = state::open(request)?;
    match plugged(&mut engine, request)? {
        Plugged::Own(_, endpoint) => {
            // Some runtimes do not say again which they were.
            let ours = published(request).unwrap_or_default();
            let rest = if ours.is_empty() {
                Vec::new()
            } else {
                beside(&endpoint, &ours)
            };
            if rest != endpoint.ports {
                engine.republish(&endpoint.id, &rest)?;
            }
        }
        Plugged::Strange(None) => {}
        Plugged::Strange(Some(endpoint)) => engine.release(&endpoint.container, &endpoint.interface, true)?,
    }
    engine.finish_behind();
    Ok(())
}

fn check(request: &Request) -> Result<(), CniError> {
    let ports = published(request)?;
    if ports.is_empty() {
        return Ok(());
    }
    let mut engine = state::open(request)?;
    let plugged = match plugged(&mut engine, request)? {
        Plugged::Own(_, endpoint) | Plugged::Strange(Some(endpoint)) => Some(endpoint),
        Plugged::Strange(None) => None,
    };
    let recorded = plugged.as_ref().map_or(&[][..], |endpoint| &endpoint.ports);
    let missing = zdocker_net::publish::beside(&ports, recorded).into_iter();
    let mut lines: Vec<String> = missing.map(|port| format!("port {port} is not published")).collect();
    if let Some(endpoint) = &plugged {
        lines.extend(engine.check_plugged(&request.container_id(), &endpoint.network)?);
    }
    refuse_differences("what is published", &lines)
}

/// The ports of an endpoint that are none of `ports`.
fn beside(endpoint: &Endpoint, ports: &[PublishedPort]) -> Vec<PublishedPort> {
    zdocker_net::publish::beside(&endpoint.ports, ports)
}

/// The ports that the runtime wants published, each once.
pub(super) fn published(request: &Request) -> Result<Vec<PublishedPort>, CniError> {
    let (mut ports, mut seen) = (Vec::new(), HashSet::new());
    for mapping in request.runtime()?.list("portMappings")? {
        let port = read(&Fields::of(mapping, "portMappings")?)?;
        if seen.insert(port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

fn read(fields: &Fields) -> Result<PublishedPort, CniError> {
    let port = |key| {
        let number = fields.number(key, u16::MAX.into())?.unwrap_or(0) as u16;
        if number == 0 {
            return Err(fields.error(key, "want a port from 1 to 65535"));
        }
        Ok(number)
    };
    let protocol = fields.text("protocol")?.unwrap_or_default().to_ascii_lowercase();
    Ok(PublishedPort {
        host_ip: fields.parsed("hostIP")?,
        host_port: port("hostPort")?,
        container_port: port("containerPort")?,
        protocol: match protocol.as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => return Err(fields.error("protocol", format!("{other:?}: want tcp, udp or sctp"))),
        },
    })
}

/// Who is masqueraded. Keys that say how the reference plug-in marks packets are read and need nothing to be done.
fn callers(request: &Request) -> Result<Callers, CniError> {
    let fields = request.fields();
    for key in ["conditionsV4", "conditionsV6"] {
        if !fields.list(key)?.is_empty() {
            let reason = "conditions of iptables are not kept: ports are entries of a map; publish at an address \
                          (\"hostIP\") instead";
            return Err(CniError::unsupported(key, reason));
        }
    }
    if fields.number("markMasqBit", 31)?.is_some() && fields.text("externalSetMarkChain")?.is_some() {
        return Err(fields.error("externalSetMarkChain", "goes not together with \"markMasqBit\""));
    }
    if let Some(backend) = fields.text("backend")?
        && !matches!(backend, "" | "iptables" | "nftables")
    {
        return Err(fields.error("backend", format!("{backend:?}: want iptables or nftables")));
    }
    let snat = fields.maybe_flag("snat")?.unwrap_or(true);
    Ok(match (snat, fields.flag("masqAll")?) {
        (false, _) => Callers::None,
        (true, false) => Callers::Near,
        (true, true) => Callers::All,
    })
}
