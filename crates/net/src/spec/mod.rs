//! From what a user asked for to a valid [`Network`]: all validation, and all choices that were left open.
//!
//! Each driver that networks can be created with has a module of its own, for its options and its device; names are
//! checked here.

mod bridge;
mod error;
mod options;
mod pools;

pub use error::SpecError;
pub use pools::free_subnet;

use crate::model::{BUILT_IN, Driver, Network, UnixNanos};
use crate::names::{Id, MacAddress, Name};
use crate::pools::DefaultPool;
use crate::seen::Seen;

/// A network as a user asks for it, nothing checked yet.
#[derive(Debug, Clone, Default)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// Its driver; bridge by default.
    pub driver: Option<String>,
    /// Subnets, each perhaps with host bits that name the gateway.
    pub subnets: Vec<String>,
    /// Gateways, each in one of the subnets.
    pub gateways: Vec<String>,
    /// Whether it has an IPv4 subnet although none is given.
    pub ipv4: bool,
    /// Whether it has an IPv6 subnet although none is given.
    pub ipv6: bool,
    /// No way out, and none in.
    pub internal: bool,
    /// Options of the driver.
    pub options: Vec<(String, String)>,
    /// Free for users.
    pub labels: Vec<(String, String)>,
}

/// What a new network must get along with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The networks there are.
    pub networks: &'a [Network],
    /// The host.
    pub seen: &'a Seen,
    /// Where subnets come from when none is given.
    pub pools: &'a [DefaultPool],
}

/// What a new network cannot know of itself: chance and time.
#[derive(Debug, Clone)]
pub struct Birth {
    /// Its identifier.
    pub id: Id,
    /// The address of its bridge.
    pub mac: MacAddress,
    /// Now.
    pub now: UnixNanos,
}

/// The network that `request` asks for.
///
/// # Errors
/// [`SpecError`] says what is wrong with the request, or what it collides with.
pub fn create(request: &NetworkRequest, around: &Surroundings, birth: Birth) -> Result<Network, SpecError> {
    let name: Name = request.name.parse()?;
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name.as_str()) {
        return Err(SpecError::BuiltIn(request.name.clone()));
    }
    if around.networks.iter().any(|network| network.name == name) {
        return Err(SpecError::NameTaken(request.name.clone()));
    }
    match request.driver.as_deref().unwrap_or("bridge").parse()? {
        Driver::Bridge => bridge::create(request, name, around, birth),
        driver @ (Driver::Host | Driver::None) => Err(refuse_second(driver, request)),
    }
}

fn refuse_second(driver: Driver, request: &NetworkRequest) -> SpecError {
    if !request.subnets.is_empty() || !request.gateways.is_empty() {
        SpecError::NoSubnets(driver)
    } else if !request.options.is_empty() {
        SpecError::NoOptions(driver)
    } else {
        SpecError::OnlyOne(driver)
    }
}

#[cfg(test)]
mod tests;
