//! Routes that a network gives its endpoints.

use std::net::IpAddr;

use super::SpecError;
use crate::model::{Pool, Route, Settings};
use crate::subnet::{Family, Subnet};

/// Reads `DESTINATION[,NEIGHBOUR][,METRIC]` each; a neighbour must be in one of `pools`.
pub(super) fn read(texts: &[String], pools: &[Pool]) -> Result<Vec<Route>, SpecError> {
    let mut routes: Vec<Route> = Vec::new();
    for text in texts {
        let route = parse(text)?;
        if let Some(via) = route.via {
            check_neighbour(&route, via, pools)?;
        }
        if pools.iter().any(|pool| pool.subnet == route.destination) {
            return Err(SpecError::RouteToItself(route.destination));
        }
        let same = |other: &Route| (other.destination, other.metric) == (route.destination, route.metric);
        if routes.iter().any(same) {
            return Err(SpecError::RouteTwice(route.destination));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// Refuses a default route beside that by the gateway.
pub(super) fn check_default(settings: &Settings) -> Result<(), SpecError> {
    let default_route = settings.routes.iter().find(|route| route.destination.prefix() == 0);
    match default_route {
        Some(route) if !settings.no_default_route => Err(SpecError::RouteIsDefault(route.destination)),
        _ => Ok(()),
    }
}

/// What [`read`] reads.
pub(super) fn text(route: &Route) -> String {
    let mut text = route.destination.to_string();
    if let Some(via) = route.via {
        text += &format!(",{via}");
    }
    if let Some(metric) = route.metric {
        text += &format!(",{metric}");
    }
    text
}

fn parse(text: &str) -> Result<Route, SpecError> {
    let syntax = || SpecError::RouteSyntax(text.to_owned());
    let parts: Vec<&str> = text.split(',').collect();
    let (via, metric) = match parts[1..] {
        [] => (None, None),
        [via, metric] => (Some(via), Some(metric)),
        [either] if either.parse::<IpAddr>().is_ok() => (Some(either), None),
        [either] => (None, Some(either)),
        _ => return Err(syntax()),
    };
    Ok(Route::new(
        parts[0].parse::<Subnet>()?,
        via.map(str::parse).transpose().map_err(|_| syntax())?,
        metric.map(str::parse).transpose().map_err(|_| syntax())?,
    ))
}

fn check_neighbour(route: &Route, via: IpAddr, pools: &[Pool]) -> Result<(), SpecError> {
    if Family::of(via) != route.destination.family() {
        return Err(SpecError::RouteFamilies(route.destination, via));
    }
    if pools.iter().any(|pool| pool.subnet.contains(via)) {
        return Ok(());
    }
    let subnets: Vec<String> = pools.iter().map(|pool| pool.subnet.to_string()).collect();
    Err(SpecError::RouteOutside(via, route.destination, subnets.join(", ")))
}
