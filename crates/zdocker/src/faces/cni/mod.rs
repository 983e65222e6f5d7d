//! Plug-ins of the Container Network Interface, by the names that the reference plug-ins have and by `zdocker-net`.
//!
//! [`request`] and [`result`] are the interface; each plug-in is a module with its [`Verbs`].

mod attachment;
mod bandwidth;
mod bridge;
mod chained;
mod error;
mod fields;
mod firewall;
mod host_local;
mod ipam;
mod loopback;
mod net;
mod parent;
mod pattern;
mod portmap;
mod ptp;
mod request;
mod result;
mod state;
mod tuning;
mod variables;
mod version;

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use error::{CniError, Code};
use request::{Request, Verb};
use result::CniResult;
use version::Version;

/// A plug-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// All in one.
    Net,
    /// veth pairs on a bridge.
    Bridge,
    /// Interfaces with Ethernet addresses of their own on one of the host's.
    Macvlan,
    /// Interfaces that share the Ethernet address of one of the host's.
    Ipvlan,
    /// `lo`.
    Loopback,
    /// A veth pair and nothing else.
    Ptp,
    /// Addresses.
    HostLocal,
    /// Published ports.
    Portmap,
    /// Limits.
    Bandwidth,
    /// Whose packets are let through.
    Firewall,
    /// Settings of an interface.
    Tuning,
}

/// The plug-ins by the names of their programs.
const PLUGINS: [(&str, Plugin); 11] = [
    ("zdocker-net", Plugin::Net),
    ("bridge", Plugin::Bridge),
    ("macvlan", Plugin::Macvlan),
    ("ipvlan", Plugin::Ipvlan),
    ("loopback", Plugin::Loopback),
    ("ptp", Plugin::Ptp),
    ("host-local", Plugin::HostLocal),
    ("portmap", Plugin::Portmap),
    ("bandwidth", Plugin::Bandwidth),
    ("firewall", Plugin::Firewall),
    ("tuning", Plugin::Tuning),
];

/// The names that the plug-ins are called by.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name)
}

impl Plugin {
    /// The one that a program of this name is.
    pub(crate) fn named(name: &str) -> Option<Self> {
        PLUGINS
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, plugin)| *plugin)
    }

    fn kind(self) -> Kind {
        match self {
            Plugin::Net => Kind::Attaching(net::design),
            Plugin::Bridge => Kind::Attaching(bridge::design),
            Plugin::Macvlan => Kind::Attaching(parent::macvlan),
            Plugin::Ipvlan => Kind::Attaching(parent::ipvlan),
            Plugin::HostLocal => Kind::Other(host_local::VERBS),
            Plugin::Loopback => Kind::Other(loopback::VERBS),
            Plugin::Ptp => Kind::Attaching(ptp::design),
            Plugin::Portmap => Kind::Other(portmap::VERBS),
            Plugin::Bandwidth => Kind::Other(bandwidth::VERBS),
            Plugin::Firewall => Kind::Other(firewall::VERBS),
            Plugin::Tuning => Kind::Other(tuning::VERBS),
        }
    }
}

/// How a plug-in does what it does.
#[derive(Clone, Copy)]
enum Kind {
    /// It makes an interface.
    Attaching(attachment::Reader),
    /// Otherwise.
    Other(Verbs),
}

/// What a plug-in does.
#[derive(Clone, Copy)]
struct Verbs {
    add: fn(&Request) -> Result<CniResult, CniError>,
    del: fn(&Request) -> Result<(), CniError>,
    check: fn(&Request) -> Result<(), CniError>,
    gc: fn(&Request) -> Result<(), CniError>,
    status: fn(&Request) -> Result<(), CniError>,
}

impl Verbs {
    /// What a plug-in does that keeps nothing of its own, beside adding and checking.
    const fn stateless(
        add: fn(&Request) -> Result<CniResult, CniError>,
        check: fn(&Request) -> Result<(), CniError>,
    ) -> Self {
        const NOTHING: fn(&Request) -> Result<(), CniError> = |_| Ok(());
        Verbs {
            add,
            del: NOTHING,
            check,
            gc: NOTHING,
            status: NOTHING,
        }
    }
}

/// Does what the environment and the input say.
pub(crate) fn main(plugin: Plugin) -> ExitCode {
    let environment = |key: &str| std::env::var_os(key);
    let mut version = Version::NEWEST;
    let done = request::verb(&environment).and_then(|verb| match verb {
        Verb::Version => Ok(Some(versions())),
        verb => {
            let text = request::input(std::io::stdin().lock())?;
            let request = Request::new(verb, &environment, &text);
            // The answer bears the version that is asked in, also where it is all that can be read.
            let asked = request
                .as_ref()
                .map_or_else(|_| asked(&text), |request| Some(request.version));
            version = asked.unwrap_or(version);
            let request = request?;
            serve(plugin.kind(), &request)
        }
    });
    let (answer, status) = match done {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(answer)) => (answer, ExitCode::SUCCESS),
        Err(error) => (error.to_json(version.name()), ExitCode::FAILURE),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{answer}") {
        Ok(()) => status,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(kind: Kind, request: &Request) -> Result<Option<Value>, CniError> {
    if request.verb == Verb::Check {
        request.required_previous()?;
    }
    let verbs = match kind {
        Kind::Attaching(read) => {
            let result = attachment::serve(request, read)?;
            return Ok(result.map(|result| result.to_json(request.version)));
        }
        Kind::Other(verbs) => verbs,
    };
    match request.verb {
        Verb::Add => return Ok(Some((verbs.add)(request)?.to_json(request.version))),
        Verb::Del => (verbs.del)(request)?,
        Verb::Check => (verbs.check)(request)?,
        Verb::Gc => (verbs.gc)(request)?,
        Verb::Status => (verbs.status)(request)?,
        Verb::Version => return Ok(Some(versions())),
    }
    Ok(None)
}

/// The answer to `VERSION`, in the version that is asked in, if it is known.
fn versions() -> Value {
    let mut asked = String::new();
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        // Who asks in no version gets the newest.
        let _ = input.read_to_string(&mut asked);
    }
    let version = self::asked(&asked).unwrap_or(Version::NEWEST);
    let names: Vec<&str> = Version::names().collect();
    json!({ "cniVersion": version.name(), "supportedVersions": names })
}

/// The version that a configuration is in, if it says so and it is known.
fn asked(config: &str) -> Option<Version> {
    let config: Value = serde_json::from_str(config).ok()?;
    Version::read(Some(config["cniVersion"].as_str()?)).ok()
}

/// Refuses `CHECK` with what differs, a line each, if anything does.
fn refuse_differences(what: &str, lines: &[String]) -> Result<(), CniError> {
    if lines.is_empty() {
        return Ok(());
    }
    Err(CniError {
        details: lines.join("\n"),
        ..CniError::new(
            Code::Differs,
            format!("{what} is not as it was made: {}", lines.join("; ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_of_what_is_no_request_otherwise() {
        for (config, version) in [
            (r#"{"cniVersion": "0.3.1", "name": "a b"}"#, Some(Version::V031)),
            (r#"{"cniVersion": "9.0.0"}"#, None),
            (r#"{"cniVersion": 1}"#, None),
            (r#"{"name": "n"}"#, None),
            ("[]", None),
            ("{", None),
        ] {
            assert_eq!(asked(config), version, "{config}");
        }
    }
}
