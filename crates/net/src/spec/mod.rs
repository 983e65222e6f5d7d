//! From what a user asked for to a valid [`Network`]: all validation, and all choices that were left open.
//!
//! Each driver that networks can be created with has a module of its own, for its options and its device; what they
//! have in common is in the others. Names are checked here.

mod bridge;
mod config;
mod error;
mod options;
mod parent;
mod pools;
mod routes;

pub use error::{ParentError, SpecError};
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
    /// Parts of the subnets that addresses are handed out from, at most one of each.
    pub ranges: Vec<String>,
    /// Addresses of the subnets that are never handed out, by names.
    pub reserved: Vec<(String, String)>,
    /// Whether it has an IPv4 subnet although none is given.
    pub ipv4: bool,
    /// Whether it has an IPv6 subnet although none is given.
    pub ipv6: bool,
    /// No way out, and none in.
    pub internal: bool,
    /// Options of the driver.
    pub options: Vec<(String, String)>,
    /// Routes that every endpoint gets: `DESTINATION[,NEIGHBOUR][,METRIC]`.
    pub routes: Vec<String>,
    /// Who manages the addresses; `default` by default.
    pub ipam_driver: Option<String>,
    /// Options of the address management.
    pub ipam_options: Vec<(String, String)>,
    /// Docker's word for networks of a swarm that containers of one's own may be on, as they may be on all of ours.
    pub attachable: bool,
    /// Docker's word for networks that lead to the services of a swarm.
    pub ingress: bool,
    /// How far the network reaches: `local`.
    pub scope: Option<String>,
    /// It is a configuration for other networks, and never real.
    pub config_only: bool,
    /// The network whose configuration it takes.
    pub config_from: Option<String>,
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
    check_scope(request)?;
    if let Some(source) = &request.config_from {
        return config::take_over(request, source, around, birth);
    }
    match request.driver.as_deref().unwrap_or("bridge").parse()? {
        _ if request.config_only => config::create(request, name, birth),
        Driver::Bridge => bridge::create(request, name, around, birth),
        driver @ (Driver::Macvlan | Driver::Ipvlan) => parent::create(driver, request, name, around, birth),
        driver @ (Driver::Host | Driver::None | Driver::Ptp | Driver::Adopted) => Err(refuse_second(driver, request)),
    }
}

fn check_scope(request: &NetworkRequest) -> Result<(), SpecError> {
    if request.ingress {
        return Err(SpecError::Ingress);
    }
    match request.scope.as_deref() {
        None | Some("" | "local") => Ok(()),
        Some(scope) => Err(SpecError::Scope(scope.to_owned())),
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
