//! `lo` in namespaces of other engines. Nothing of it is recorded.

use zdocker_host::Kernel;
use zdocker_net::model::InterfaceAddress;
use zdocker_net::names::InterfaceName;
use zdocker_net::op::{NamespacePath, Op, Place};

use crate::error::EngineError;

/// How `lo` is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loopback {
    /// Whether it is set up.
    pub up: bool,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<InterfaceAddress>,
}

/// Sets `lo` up or down.
///
/// # Errors
/// [`EngineError`] when the namespace cannot be entered.
pub fn set_loopback(namespace: &NamespacePath, up: bool) -> Result<(), EngineError> {
    let (place, link) = (Place::Namespace(namespace.clone()), InterfaceName::loopback());
    let op = if up {
        Op::SetUp { place, link }
    } else {
        Op::SetDown { place, link }
    };
    Kernel::new().apply(&[op], &mut |_, _| {})?;
    Ok(())
}

/// How `lo` is; `None` if the namespace is gone.
///
/// # Errors
/// [`EngineError`] when it cannot be looked at.
pub fn loopback(namespace: &NamespacePath) -> Result<Option<Loopback>, EngineError> {
    let seen = Kernel::new().observe_inside(namespace, &[])?;
    Ok(seen.map(|seen| {
        let lo = seen.interface(&InterfaceName::loopback());
        let own = seen
            .addresses
            .iter()
            .filter(|(index, _)| lo.is_some_and(|lo| lo.index == *index));
        let mut addresses: Vec<InterfaceAddress> = own.map(|(_, address)| *address).collect();
        addresses.sort_by_key(|own| own.address);
        Loopback {
            up: lo.is_some_and(|lo| lo.up),
            addresses,
        }
    }))
}
