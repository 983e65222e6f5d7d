//! The engine: the records, the host, and who we are. Every verb of every face is a method of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use zdocker_host::process::{ProcessId, boot_id};
use zdocker_host::store::{Store, private_dir};
use zdocker_host::{Kernel, RemoveFailure};
use zdocker_net::installation::Installation;
use zdocker_net::model::{Endpoint, UnixNanos};
use zdocker_net::names::Id;
use zdocker_net::op::{NamespacePath, Op, Shown};

use crate::config::Config;
use crate::containers::paths::ContainerPaths;
use crate::error::EngineError;
use crate::plug::Unfinished;

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What outlives a boot: records, containers' files.
    pub state: PathBuf,
    /// What is gone after a boot: namespaces, sockets.
    pub run: PathBuf,
}

/// Told of what the engine does, by the face that it is called from.
pub trait Journal {
    /// A step was done, and took `time`.
    fn step(&mut self, step: &Shown<'_>, time: Duration);

    /// Something is wrong that does not keep the verb from being done.
    fn warn(&mut self, text: &str);
}

/// The engine.
pub struct Engine {
    pub(crate) roots: Roots,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) boot: String,
    pub(crate) me: ProcessId,
    pub(crate) installation: Installation,
    /// The other engine that the records serve, if they do.
    pub(crate) served: Option<String>,
    pub(crate) unfinished: Vec<Unfinished>,
    kernel: Kernel,
    pub(crate) journal: Box<dyn Journal>,
}

impl Engine {
    /// Opens the records under `roots`, making them if they are not there yet.
    ///
    /// # Errors
    /// [`EngineError`] when they cannot be used.
    pub fn open(roots: Roots, config: Config, journal: Box<dyn Journal>) -> Result<Self, EngineError> {
        let mut engine = Engine::open_bare(roots, Installation::default(), config, journal)?;
        match engine.read_served()? {
            // For looking at what another engine has us do.
            Some(other) => engine.serve(other),
            None => engine.record_built_ins()?,
        }
        Ok(engine)
    }

    fn serve(&mut self, engine: String) {
        // As whoever records there calls it.
        let directory = std::fs::canonicalize(&self.roots.state).unwrap_or_else(|_| self.roots.state.clone());
        self.installation = Installation::serving(&engine, &directory.to_string_lossy());
        self.kernel = Kernel::of(self.installation.clone());
        self.served = Some(engine);
    }

    /// The same without the networks that are always there.
    pub(crate) fn open_bare(
        roots: Roots,
        installation: Installation,
        config: Config,
        journal: Box<dyn Journal>,
    ) -> Result<Self, EngineError> {
        let proc = || EngineError::io("read", "/proc");
        private_dir(&roots.run).map_err(EngineError::io("create", &roots.run))?;
        Ok(Engine {
            store: Store::open(&roots.state)?,
            boot: boot_id().map_err(proc())?,
            me: ProcessId::own().map_err(proc())?,
            kernel: Kernel::of(installation.clone()),
            installation,
            served: None,
            unfinished: Vec::new(),
            roots,
            config,
            journal,
        })
    }

    /// Where state is kept.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Closes the records. The kernel's sockets are given back, so that they can outlive this.
    pub(crate) fn close(mut self) -> Kernel {
        std::mem::take(&mut self.kernel)
    }

    pub(crate) fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// Carries out a plan; if a step fails, the steps before it are taken back.
    pub(crate) fn apply(&mut self, plan: &[Op]) -> Result<(), EngineError> {
        let (journal, whose) = (&mut self.journal, &self.installation);
        self.kernel
            .apply(plan, &mut |op, time| journal.step(&op.shown(whose), time))?;
        Ok(())
    }

    /// Takes away what `what` names; what is gone already is no failure.
    ///
    /// # Errors
    /// [`EngineError::NotRemoved`] with every step that failed, all others having been done.
    pub(crate) fn take_away(&mut self, what: &str, plan: &[Op]) -> Result<(), EngineError> {
        let (journal, whose) = (&mut self.journal, &self.installation);
        let failures = self
            .kernel
            .remove(plan, &mut |op, time| journal.step(&op.shown(whose), time));
        if failures.is_empty() {
            return Ok(());
        }
        let failures = failures
            .iter()
            .map(RemoveFailure::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        Err(EngineError::NotRemoved {
            what: what.to_owned(),
            failures,
        })
    }

    /// The files of a container.
    pub fn container_paths(&self, id: &str) -> ContainerPaths {
        ContainerPaths::new(&self.roots.state, &self.roots.run, id)
    }

    /// Where the network namespace of a container is pinned.
    pub(crate) fn namespace_path(&self, container: &str) -> NamespacePath {
        NamespacePath(self.namespaces_dir().join(container).to_string_lossy().into_owned())
    }

    /// Where the network namespace of a container with these endpoints is found: where another engine says, or where we
    /// pin it.
    pub(crate) fn namespace_of<'a>(
        &self,
        container: &Id,
        mut endpoints: impl Iterator<Item = &'a Endpoint>,
    ) -> NamespacePath {
        let given = endpoints.find_map(|endpoint| endpoint.sandbox.clone());
        given.map_or_else(|| self.namespace_path(container.as_str()), NamespacePath)
    }

    pub(crate) fn namespaces_dir(&self) -> PathBuf {
        self.roots.run.join("netns")
    }

    /// Makes this process the only one that makes networks real or takes them away. The kernel does both one at a time
    /// anyway; who waits here is woken as soon as the other is done, or dead.
    pub(crate) fn lock_networks(&self) -> Result<Flock<File>, EngineError> {
        // Beside the records that it guards.
        let path = self.roots.state.join("networks.lock");
        let file = open_lock(&path).map_err(EngineError::io("open", &path))?;
        let failed = EngineError::io("lock", path);
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }
}

/// Nobody waits for the kernel to clean up behind us.
impl Drop for Engine {
    fn drop(&mut self) {
        std::mem::take(&mut self.kernel).leave();
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

/// Now.
pub(crate) fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Good until the year 2262.
    since.as_nanos() as UnixNanos
}

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| EngineError::io("read random bytes from", "/dev/urandom")(std::io::Error::other(error)))?;
    Ok(bytes)
}
