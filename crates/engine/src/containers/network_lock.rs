//! Only one process at a time changes the network of a container that runs.

use std::fs::File;

use nix::fcntl::{Flock, FlockArg};
use zdocker_host::store::{ContainerRecord, ContainerState};
use zdocker_net::names::Id;

use super::ended::is_alive;
use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// Makes this process the only one that changes the network of a container that runs. Others wait, and are woken as
    /// soon as this one is done, or dead.
    pub(super) fn lock_network_of(&self, container: &Id) -> Result<Flock<File>, EngineError> {
        let paths = self.container_paths(container.as_str());
        let path = paths.state_dir();
        paths.make_state_dir().map_err(EngineError::io("create", &path))?;
        let file = File::open(&path).map_err(EngineError::io("open", &path))?;
        let failed = EngineError::io("lock", path);
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }

    /// As [`Self::lock_network_of`]; `None` if another process is at it, or the container is gone.
    pub(super) fn try_to_lock_network_of(&self, container: &Id) -> Result<Option<Flock<File>>, EngineError> {
        let path = self.container_paths(container.as_str()).state_dir();
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(EngineError::io("open", &path))?,
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(EngineError::io("lock", path)(errno.into())),
        }
    }

    pub(super) fn still_recorded(&mut self, id: &Id) -> Result<ContainerRecord, EngineError> {
        self.store
            .read(|records| records.container(id))?
            .ok_or_else(|| EngineError::NoSuchContainer(id.short().to_owned()))
    }

    /// The container, whose network stays until the lock on it is let go of, unless it has ended: its record may say
    /// later than its network is taken down that it runs no more.
    pub(super) fn still_running(&mut self, id: &Id) -> Result<ContainerRecord, EngineError> {
        let record = self.still_recorded(id)?;
        if record.state == ContainerState::Running && record.process.as_ref().is_some_and(is_alive) {
            Ok(record)
        } else {
            Err(EngineError::NotRunning(record.name.to_string()))
        }
    }
}
