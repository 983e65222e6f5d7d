//! `bandwidth`: limits what the plug-in before it made.

use zdocker_engine::plug::Adoption;
use zdocker_net::model::Bandwidth;
use zdocker_net::shaping::{RATE_MAX, RATE_MIN};

use super::chained::{Plugged, plugged, stranger};
use super::error::CniError;
use super::fields::Fields;
use super::request::Request;
use super::result::CniResult;
use super::{Verbs, chained, refuse_differences, state};

pub(super) const VERBS: Verbs = Verbs {
    del,
    gc: |request| chained::gc(request, false),
    ..Verbs::stateless(add, check)
};

fn add(request: &Request) -> Result<CniResult, CniError> {
    let previous = request.required_previous()?;
    let bandwidth = limits(request)?;
    if bandwidth == Bandwidth::default() {
        return Ok(previous);
    }
    let mut engine = state::open(request)?;
    match plugged(&mut engine, request)? {
        Plugged::Own(network, endpoint) => {
            if !network.has_pairs() {
                let reason = format!("limits cannot be kept on a network of driver {}", network.driver);
                return Err(CniError::unsupported("bandwidth", reason));
            }
            engine.relimit(&endpoint.id, bandwidth)?;
        }
        Plugged::Strange(_) => engine.adopt(
            &stranger(request, &previous)?,
            &Adoption {
                ports: None,
                bandwidth: Some(bandwidth),
            },
        )?,
    }
    Ok(previous)
}

fn del(request: &Request) -> Result<(), CniError> {
    let mut engine = state::open(request)?;
    match plugged(&mut engine, request)? {
        Plugged::Own(_, endpoint) => {
            if endpoint.settings.bandwidth != Bandwidth::default() {
                engine.relimit(&endpoint.id, Bandwidth::default())?;
            }
        }
        Plugged::Strange(None) => {}
        Plugged::Strange(Some(endpoint)) => engine.release(&endpoint.container, &endpoint.interface, false)?,
    }
    engine.finish_behind();
    Ok(())
}

fn check(request: &Request) -> Result<(), CniError> {
    let wanted = limits(request)?;
    if wanted == Bandwidth::default() {
        return Ok(());
    }
    let mut engine = state::open(request)?;
    let lines = match plugged(&mut engine, request)? {
        Plugged::Own(_, endpoint) | Plugged::Strange(Some(endpoint)) if endpoint.settings.bandwidth == wanted => {
            engine.check_limits(&endpoint)?
        }
        Plugged::Own(..) | Plugged::Strange(_) => vec!["other limits are recorded, or none".to_owned()],
    };
    refuse_differences("the bandwidth", &lines)
}

/// The limits that the runtime wants, or else the configuration.
pub(super) fn limits(request: &Request) -> Result<Bandwidth, CniError> {
    let fields = request.fields();
    for key in ["shapedSubnets", "unshapedSubnets"] {
        if !fields.list(key)?.is_empty() {
            return Err(CniError::unsupported(
                key,
                "limits are kept for all that is sent and received",
            ));
        }
    }
    let runtime = request.runtime()?;
    if runtime.value("bandwidth").is_some() {
        read(&runtime.object("bandwidth")?)
    } else {
        read(&fields)
    }
}

fn read(fields: &Fields) -> Result<Bandwidth, CniError> {
    let (receive, receive_burst) = limit(fields, "ingressRate", "ingressBurst")?;
    let (send, send_burst) = limit(fields, "egressRate", "egressBurst")?;
    Ok(Bandwidth {
        receive,
        send,
        receive_burst,
        send_burst,
    })
}

/// A rate in bits a second and a burst in bits; 0 is no limit.
fn limit(fields: &Fields, rate: &str, burst: &str) -> Result<(Option<u64>, Option<u64>), CniError> {
    let number = |key| Ok::<_, CniError>(fields.number(key, u64::MAX)?.filter(|number| *number > 0));
    match (number(rate)?, number(burst)?) {
        (Some(_), None) => Err(fields.error(burst, format!("is missing, and goes with {rate:?}"))),
        (None, Some(_)) => Err(fields.error(rate, format!("is missing, and goes with {burst:?}"))),
        (Some(bits), _) if !(RATE_MIN..=RATE_MAX).contains(&bits) => Err(fields.error(
            rate,
            format!("{bits}: want bits a second from {RATE_MIN} to {RATE_MAX}"),
        )),
        both => Ok(both),
    }
}
