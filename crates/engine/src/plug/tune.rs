//! Settings of interfaces in containers of other engines, ours or somebody else's.

use zdocker_host::store::State;
use zdocker_net::firewall::endpoint_elements;
use zdocker_net::model::{Endpoint, Network};
use zdocker_net::names::{Id, InterfaceName};
use zdocker_net::op::{NamespacePath, Op};
use zdocker_net::plan::without;
use zdocker_net::tuning::Tuning;

use crate::engine::Engine;
use crate::error::EngineError;

impl Engine {
    /// How an interface is set, and the values of these kernel variables in its namespace.
    ///
    /// # Errors
    /// [`EngineError::NoInterface`], or when it cannot be looked at.
    pub fn tuning(
        &mut self,
        namespace: &NamespacePath,
        interface: &InterfaceName,
        sysctls: &[String],
    ) -> Result<Tuning, EngineError> {
        let found = self.kernel().observe_tuning(namespace, interface, sysctls)?;
        found.ok_or_else(|| EngineError::NoInterface {
            interface: interface.to_string(),
            namespace: namespace.0.clone(),
        })
    }

    /// Sets an interface of a container. If it is one of ours, its record is changed with it.
    ///
    /// # Errors
    /// [`EngineError`] when a step fails.
    pub fn tune(
        &mut self,
        container: &Id,
        namespace: &NamespacePath,
        interface: &InterfaceName,
        tuning: &Tuning,
    ) -> Result<(), EngineError> {
        let steps = tuning.steps(namespace, interface);
        if self.plugged_at(container, interface)?.is_none() {
            return self.apply(&steps);
        }
        self.hold_plugs(container, |engine| match engine.plugged_at(container, interface)? {
            Some((network, endpoint)) => engine.tune_own(&network, &endpoint, tuning, steps),
            None => Err(EngineError::NotPlugged(interface.to_string())),
        })
    }

    fn tune_own(
        &mut self,
        network: &Network,
        before: &Endpoint,
        tuning: &Tuning,
        steps: Vec<Op>,
    ) -> Result<(), EngineError> {
        let after = tuned(before, tuning);
        let (old, new) = (endpoint_elements(network, before), endpoint_elements(network, &after));
        self.record_tuned(&after)?;
        // What it may bear then it may bear before it does.
        let gained = without(&new, &old);
        let mut plan: Vec<Op> = (!gained.is_empty())
            .then_some(Op::AddElements(gained))
            .into_iter()
            .collect();
        plan.extend(steps);
        if let Err(error) = self.apply(&plan) {
            let recorded = self.record_tuned(before);
            return Err(error.and_then(recorded));
        }
        let lost = without(&old, &new);
        if lost.is_empty() {
            return Ok(());
        }
        self.take_away("what the interface bore before", &[Op::DeleteElements(lost)])
    }

    fn record_tuned(&mut self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let me = self.me;
        self.store
            .write(|records| Ok(records.set_endpoint(endpoint, State::Ready, Some(me))?))
    }
}

/// An endpoint as it is to be after its interface was tuned: that this differs from what it was made like is no damage.
fn tuned(before: &Endpoint, tuning: &Tuning) -> Endpoint {
    let mut after = before.clone();
    after.mac = tuning.mac.unwrap_or(before.mac);
    after.settings.mtu = tuning.mtu.or(before.settings.mtu);
    let is_own = |(key, _): &&(String, String)| key.split('/').any(|word| word == before.interface.as_str());
    for (key, value) in tuning.sysctls.iter().filter(is_own) {
        after.settings.sysctls.retain(|(other, _)| other != key);
        after.settings.sysctls.push((key.clone(), value.clone()));
    }
    after
}
