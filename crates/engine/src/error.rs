//! Why the engine could not do what it was asked.

use std::io;
use std::path::PathBuf;

use zdocker_host::sockets::PortError;
use zdocker_host::store::{AddressError, StoreError};
use zdocker_host::{ApplyError, ObserveError};
use zdocker_net::attach::AttachError;
use zdocker_net::names::NameError;
use zdocker_net::ports::PublishedPort;
use zdocker_net::spec::SpecError;

use crate::config::ConfigError;
use crate::exec::ExecError;
use crate::filter::FilterError;
use crate::oci::spec::BundleError;
use crate::rootfs::RootfsError;
use crate::runtime::RuntimeError;
use crate::shim::ShimError;
use crate::shim::attach::AttachError as StreamError;
use crate::signals::SignalError;

/// What went wrong, to what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it means")]
pub enum EngineError {
    #[error("no network {0:?}; zdocker network ls shows what there is")]
    NoSuchNetwork(String),
    #[error("no container {0:?}; zdocker ps -a shows what there is")]
    NoSuchContainer(String),
    #[error("no container or network {0:?}; zdocker ps -a and zdocker network ls show what there is")]
    NoSuchObject(String),
    #[error("{text:?} is the start of several {what}: {matches}; give more of it")]
    Ambiguous {
        text: String,
        what: &'static str,
        matches: String,
    },
    #[error("network {0:?} is always there and cannot be removed")]
    BuiltIn(String),
    #[error(
        "network {name:?} has {count} attached: {containers}; stop them first (zdocker stop {containers})",
        count = endpoints(*.count)
    )]
    InUse {
        name: String,
        count: usize,
        containers: String,
    },
    #[error(
        "network {0:?} is but a configuration: containers can be on the networks that take it over (--config-from {0})"
    )]
    ConfigOnly(String),
    #[error("the configuration {name:?} is that of {networks}; remove them first (zdocker network rm {networks})")]
    ConfigInUse { name: String, networks: String },
    #[error("network {0:?} is being created or removed by another command; try again")]
    Busy(String),
    #[error(
        "interface {device} exists and is not network {network:?}'s bridge; rename or remove it (ip link delete {device})"
    )]
    NotOurs { device: String, network: String },
    #[error(
        "container {container} has an interface {interface} that is not the one that it was plugged in by; remove it from \
         within the container, or start the container again"
    )]
    NotOursInside { interface: String, container: String },
    #[error(
        "network {network:?} is full: its bridge takes {limit} containers, and has {count}; use a second network, or \
         remove containers"
    )]
    BridgeFull {
        network: String,
        limit: usize,
        count: usize,
    },
    #[error(
        "there is no interface {parent}, which network {network:?} needs as its parent; bring it back (ip link), or \
         remove the network (zdocker network rm {network})"
    )]
    NoParent { parent: String, network: String },
    #[error(
        "network {network:?} has room for one container (mode passthru), and {holder:?} is on it; disconnect it first \
         (zdocker network disconnect {network} {holder})"
    )]
    OnlyOne { network: String, holder: String },
    #[error(
        "container name {name:?} is in use by container {id}; remove it (zdocker rm {name}) or choose another name"
    )]
    NameTaken { name: String, id: String },
    #[error("port {port} of this host is published by container {holder:?} already; stop it, or publish another port")]
    PortTaken { port: String, holder: String },
    #[error("port {0} of this host is published by another container already; stop it, or publish another port")]
    PortPublished(String),
    #[error("container {container} is plugged into network {network:?} already; tear it down first")]
    PluggedAlready { container: String, network: String },
    #[error("container {container} is being plugged in or out by process {pid}; try again when it is done")]
    Plugging { container: String, pid: i32 },
    #[error("container {0} was unplugged by another command while it was plugged in")]
    UnpluggedMeanwhile(String),
    #[error("{what} is up to {engine}, which the records in {directory} serve; leave out --root and --run-root")]
    Serving {
        what: &'static str,
        engine: String,
        directory: PathBuf,
    },
    #[error("there is no interface {interface} in network namespace {namespace}")]
    NoInterface { interface: String, namespace: String },
    #[error(
        "interface {0} of the container is no end of a veth pair whose other end is on this host, so it cannot be limited; \
         leave out the limits"
    )]
    NoPair(String),
    #[error("endpoint {0} is not plugged in")]
    NotPlugged(String),
    #[error(
        "network {network:?} is on bridge {bridge}, which is not there; create it first (ip link add {bridge} type bridge)"
    )]
    NoBridge { bridge: String, network: String },
    #[error(
        "network {network:?} is in VRF {vrf}, which is not there; create it first (ip link add {vrf} type vrf table NUMBER)"
    )]
    NoVrf { vrf: String, network: String },
    #[error(
        "network {network:?} and network {other:?} are different VLANs of one bridge, and the host can be the gateway of one \
         of them only; leave out one's gateway, or use another bridge"
    )]
    OtherVlan { network: String, other: String },
    #[error("network {network:?} has {has} so far, and containers are on it; take them off before it gets another")]
    MadeOtherwise { network: String, has: String },
    #[error("no free port of this host was found for {0}")]
    NoFreePort(String),
    #[error("container {name:?} publishes no port {port}; zdocker port {name} shows what it does")]
    NotPublished { name: String, port: String },
    #[error(
        "container {0:?} has no network that ports could be published through; that takes a bridge network that is not internal"
    )]
    NoWayIn(String),
    #[error("container {name:?} is being created or taken down by process {pid}; try again when it is done")]
    BusyContainer { name: String, pid: i32 },
    #[error("another command has just changed what container {0:?} is to be; try again")]
    ChangedMeanwhile(String),
    #[error("container {container:?} is not on network {network:?}")]
    NotConnected { container: String, network: String },
    #[error(
        "container {container:?} shares the network of the host or of another container, and cannot be on networks of \
         its own"
    )]
    SharedNamespace { container: String },
    #[error("container {0:?} is not running")]
    NotRunning(String),
    #[error("container {0:?} is running; stop it first (zdocker stop {0}), or use zdocker rm -f {0}")]
    Running(String),
    #[error(
        "no IMAGE is given: this version has none yet; give a root file system with --rootfs DIR, for example --rootfs /"
    )]
    NoRootfs,
    #[error("no command is given: name one behind the options, for example zdocker run --rootfs / -- sh")]
    NoCommand,
    #[error("working directory {0:?} must be an absolute path")]
    RelativeWorkdir(PathBuf),
    #[error("invalid environment variable {0:?}: it has no name")]
    BadEnvironment(String),
    #[error(
        "invalid host name {0:?}: use at most 63 letters, digits, hyphens and dots, no part beginning or ending with a hyphen"
    )]
    BadHostname(String),
    #[error("invalid search domain or resolver option {0:?}: it must be one word, for example example.org or ndots:2")]
    BadResolver(String),
    #[error("{what} cannot be combined with --net {mode}")]
    NotWithMode { what: &'static str, mode: String },
    #[error("cannot {action} {path}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the record of container {name:?} cannot be read: {source}")]
    Record { name: String, source: serde_json::Error },
    #[error("cannot carry out {step:?}: {reason}{leftovers}")]
    Apply {
        step: String,
        reason: String,
        leftovers: String,
    },
    #[error("{what} is not wholly removed: {failures}; zdocker system check --repair tries again")]
    NotRemoved { what: String, failures: String },
    #[error("{error}; and then: {also}")]
    AndThen {
        error: Box<EngineError>,
        also: Box<EngineError>,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Sysctl(#[from] zdocker_host::sysctl::SysctlError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Shim(#[from] ShimError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Exec(#[from] ExecError),
}

fn endpoints(count: usize) -> String {
    if count == 1 {
        "1 endpoint".to_owned()
    } else {
        format!("{count} endpoints")
    }
}

impl EngineError {
    /// The exit status of `run` and `exec`, as Docker's: 127 and 126 when the command cannot be run, else 125.
    pub fn exit_status(&self) -> u8 {
        let status = match self {
            EngineError::Runtime(error) | EngineError::Shim(ShimError::Runtime(error)) => error.exit_status(),
            EngineError::Exec(error) => error.exit_status(),
            EngineError::AndThen { error, .. } => return error.exit_status(),
            _ => 125,
        };
        u8::try_from(status).unwrap_or(125)
    }

    /// A port of the host is another container's.
    pub(crate) fn port_published(port: &PublishedPort) -> EngineError {
        EngineError::PortPublished(format!("{}/{}", port.host_port, port.protocol))
    }

    /// This error, and the one of what was done about it, if that failed as well.
    pub(crate) fn and_then<T>(self, done: Result<T, EngineError>) -> EngineError {
        match done {
            Ok(_) => self,
            Err(also) => EngineError::AndThen {
                error: Box::new(self),
                also: Box::new(also),
            },
        }
    }

    /// Whether a record stands in the way that may be of something that is dead by now.
    pub(crate) fn is_of_a_holder(&self) -> bool {
        matches!(
            self,
            EngineError::NameTaken { .. }
                | EngineError::PortTaken { .. }
                | EngineError::NoFreePort(_)
                | EngineError::OnlyOne { .. }
                | EngineError::Address(_)
        )
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> EngineError {
        let path = path.into();
        move |source| EngineError::Io { action, path, source }
    }
}

impl From<ApplyError> for EngineError {
    fn from(error: ApplyError) -> Self {
        let step = error.step.shown(&error.whose).to_string();
        let not_undone: Vec<String> = error
            .not_undone
            .iter()
            .map(|f| f.step.shown(&f.whose).to_string())
            .collect();
        let leftovers = match not_undone.as_slice() {
            [] => String::new(),
            steps => format!(
                "; not taken back: {} (zdocker system check --repair tries again)",
                steps.join(", ")
            ),
        };
        EngineError::Apply {
            step: step.lines().next().unwrap_or_default().to_owned(),
            reason: error.reason.to_string(),
            leftovers,
        }
    }
}
