//! Keeping others from plugging a container in or out while something about it is changed.

use zdocker_host::store::{EndpointRecord, State};
use zdocker_net::names::Id;

use super::settle::is_anothers;
use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// Whether another engine runs this container.
    pub(crate) fn is_foreign(&mut self, container: &Id) -> Result<bool, EngineError> {
        let endpoints = self.store.read(|records| records.endpoints_of_container(container))?;
        Ok(endpoints.iter().any(|record| record.endpoint.sandbox.is_some()))
    }

    /// Does `work` while nobody else plugs the container's endpoints in or out: whoever wants to waits for our end.
    /// What is being plugged in or out just now is waited for.
    pub(crate) fn hold_plugs<T>(
        &mut self,
        container: &Id,
        work: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        while let Some(busy) = self.take_hold(container)? {
            self.wait_for_owner(&busy)?;
        }
        let done = work(self);
        self.let_go(container)?;
        done
    }

    /// Makes us the one that changes what is plugged in of a container, or gives an endpoint that somebody else is at.
    fn take_hold(&mut self, container: &Id) -> Result<Option<EndpointRecord>, EngineError> {
        let me = self.me;
        self.store.write(|records| {
            let all = records.endpoints_of_container(container)?;
            if let Some(busy) = all.iter().find(|record| is_anothers(record, me)) {
                return Ok(Some(busy.clone()));
            }
            for record in all.iter().filter(|record| record.state == State::Ready) {
                records.set_endpoint_state(&record.endpoint.id, State::Ready, Some(me))?;
            }
            Ok(None)
        })
    }

    /// Lets go of what [`Engine::take_hold`] took, as far as it is still ours.
    fn let_go(&mut self, container: &Id) -> Result<(), EngineError> {
        let me = self.me;
        self.store.write(|records| {
            for record in records.endpoints_of_container(container)? {
                if record.state == State::Ready && record.owner == Some(me) {
                    records.set_endpoint_state(&record.endpoint.id, State::Ready, None)?;
                }
            }
            Ok(())
        })
    }
}
