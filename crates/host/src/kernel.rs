//! The machine's network as we reach it.

use zdocker_net::names::InterfaceName;
use zdocker_net::seen::{Seen, SeenBridge};

use crate::netlink::NetlinkError;
use crate::sysctl::SysctlError;

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The kernel did not answer.
    #[error("cannot look at the host's network: {0}")]
    Netlink(#[from] NetlinkError),
    /// A kernel variable could not be read.
    #[error("cannot look at the host's network: {0}")]
    Sysctl(#[from] SysctlError),
}

/// The network of the namespace that the calling thread was in when this was made.
pub struct Kernel {}

impl Kernel {
    /// Opens nothing yet: sockets are opened when first needed, and kept.
    pub fn new() -> Self {
        Kernel {}
    }

    /// Looks at all that creating networks depends on.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe(&mut self) -> Result<Seen, ObserveError> {
        unimplemented!()
    }

    /// Looks at as much as plugging into one bridge depends on.
    ///
    /// # Errors
    /// [`ObserveError`]
    pub fn observe_bridge(&mut self, bridge: &InterfaceName) -> Result<SeenBridge, ObserveError> {
        let _ = bridge;
        unimplemented!()
    }
}
