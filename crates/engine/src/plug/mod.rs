//! Plugging in containers that another engine runs: Podman by netavark's interface, Kubernetes and others by CNI's.
//!
//! The other engine says what a network is and what an endpoint on it is like, makes the namespace, and keeps its own
//! records of both. Ours say what may exist in the kernel, so that it goes again whatever happens.

mod adopt;
mod hold;
mod join;
mod leave;
mod look;
mod loopback;
mod networks;
mod settle;
mod standby;
mod tune;

use std::path::PathBuf;

use zdocker_host::store::private_dir;
use zdocker_net::attach::foreign::ForeignRequest;
use zdocker_net::installation::Installation;
use zdocker_net::model::Network;
use zdocker_net::names::Id;
use zdocker_net::op::NamespacePath;

use crate::config::Config;
use crate::engine::{Engine, Journal, Roots};
use crate::error::EngineError;

pub use adopt::{Adoption, Stranger, adopted_network};
pub(crate) use leave::Unfinished;
pub use loopback::{Loopback, loopback, set_loopback};
pub(crate) use networks::refuse_missing_devices;

/// What a container is to be plugged into.
#[derive(Debug, Clone)]
pub struct PlugRequest {
    /// As the other engine calls it.
    pub container: Id,
    /// Its network namespace.
    pub namespace: NamespacePath,
    /// Networks, and what the endpoint on each is to be like.
    pub endpoints: Vec<(Network, ForeignRequest)>,
}

/// What a container is to be unplugged from.
#[derive(Debug, Clone)]
pub struct UnplugRequest {
    /// As the other engine calls it.
    pub container: Id,
    /// Its network namespace, if it is known; it may be gone.
    pub namespace: Option<NamespacePath>,
    /// Networks, and what the endpoint on each was asked to be like: needed where records are lost.
    pub endpoints: Vec<(Network, ForeignRequest)>,
    /// Networks that nobody is on any more go, too.
    pub remove_unused: bool,
}

/// The name of the fact that says which other engine the records serve.
const SERVED: &str = "serves";

impl Engine {
    /// Opens the records that serve another engine, making them if they are not there yet: `directory` has them, and
    /// says with the engine's name (`podman`, `cni`) which tables and interfaces are theirs.
    ///
    /// # Errors
    /// [`EngineError`] when they cannot be used.
    pub fn open_foreign(
        engine: &'static str,
        directory: PathBuf,
        config: Config,
        journal: Box<dyn Journal>,
    ) -> Result<Self, EngineError> {
        private_dir(&directory).map_err(EngineError::io("create", &directory))?;
        // By whatever links and dots somebody comes there: the same records belong to the same tables.
        let directory = std::fs::canonicalize(&directory).map_err(EngineError::io("find", &directory))?;
        let installation = Installation::serving(engine, &directory.to_string_lossy());
        let roots = Roots {
            state: directory.clone(),
            run: directory,
        };
        let mut opened = Engine::open_bare(roots, installation, config, journal)?;
        opened.record_served(engine)?;
        opened.served = Some(engine.to_owned());
        Ok(opened)
    }

    fn record_served(&mut self, engine: &'static str) -> Result<(), EngineError> {
        if self.read_served()?.is_none() {
            self.store
                .write(|records| Ok::<_, EngineError>(records.fact(SERVED, || engine.to_owned())?))?;
        }
        Ok(())
    }

    /// The engine that these records serve, if it is another one.
    pub(crate) fn read_served(&mut self) -> Result<Option<String>, EngineError> {
        self.store.read(|records| Ok(records.known_fact(SERVED)?))
    }

    /// Refuses what only the engine does that the records serve.
    pub(crate) fn refuse_where_serving(&self, what: &'static str) -> Result<(), EngineError> {
        match &self.served {
            None => Ok(()),
            Some(engine) => Err(EngineError::Serving {
                what,
                engine: engine.clone(),
                directory: self.roots.state.clone(),
            }),
        }
    }
}
