//! Which networks are listed, and which are pruned: Docker's filters. Values of one filter are alternatives, but labels
//! must all be there.

use regex_lite::Regex;
use zdocker_net::model::{Driver, Network, UnixNanos};

use super::NetworkView;
use crate::engine::now;
use crate::filter::{FilterError, Given, LabelFilter, any, moment};

const LIST_FILTERS: &str = "dangling, driver, id, label, name, scope and type";
const PRUNE_FILTERS: &str = "label, label! and until";

/// How far every network reaches: this host.
pub const SCOPE: &str = "local";

/// Which networks are listed.
#[derive(Debug, Default)]
pub struct NetworkFilter {
    names: Vec<Regex>,
    ids: Vec<Regex>,
    drivers: Vec<String>,
    scopes: Vec<String>,
    built_in: Vec<bool>,
    labels: Vec<LabelFilter>,
    dangling: Option<bool>,
}

impl NetworkFilter {
    /// The filter of pairs of `KEY` and `VALUE`.
    ///
    /// # Errors
    /// [`FilterError`] when there is no such filter, or it does not take the value.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, FilterError> {
        let mut filter = NetworkFilter::default();
        for (key, value) in pairs {
            let given = Given { key, value };
            match key.as_str() {
                "name" => filter.names.push(given.pattern()?),
                "id" => filter.ids.push(given.pattern()?),
                "driver" => filter.drivers.push(value.clone()),
                "scope" => filter.scopes.push(value.clone()),
                "label" => filter.labels.push(given.label()),
                "type" => filter.built_in.push(match value.as_str() {
                    "builtin" => true,
                    "custom" => false,
                    _ => return Err(given.invalid("builtin or custom")),
                }),
                "dangling" => {
                    let wanted = given.boolean()?;
                    if filter.dangling.replace(wanted).is_some_and(|before| before != wanted) {
                        return Err(FilterError::Twice("dangling"));
                    }
                }
                _ => return Err(given.unknown(LIST_FILTERS)),
            }
        }
        Ok(filter)
    }

    /// Whether the network is listed.
    pub fn admits(&self, view: &NetworkView) -> bool {
        let network = &view.network;
        let built_in = network.is_built_in();
        any(&self.names, |pattern| pattern.is_match(network.name.as_str()))
            && any(&self.ids, |pattern| pattern.is_match(network.id.as_str()))
            && any(&self.drivers, |wanted| is_driver(wanted, network.driver))
            && any(&self.scopes, |wanted| wanted == SCOPE)
            && any(&self.built_in, |wanted| *wanted == built_in)
            && self.labels.iter().all(|label| label.admits(&network.labels))
            && self
                .dangling
                .is_none_or(|wanted| wanted == (!built_in && view.endpoints.is_empty()))
    }
}

/// Docker calls the driver of network `none` by another name.
fn is_driver(wanted: &str, driver: Driver) -> bool {
    wanted.parse::<Driver>().is_ok_and(|wanted| wanted == driver)
}

/// Which of the unused networks are pruned.
#[derive(Debug, Default)]
pub struct PruneFilter {
    labels: Vec<LabelFilter>,
    /// Networks that have all of these are kept.
    spared: Vec<LabelFilter>,
    /// Only networks that were created before are pruned.
    until: Option<UnixNanos>,
}

impl PruneFilter {
    /// The filter of pairs of `KEY` and `VALUE`.
    ///
    /// # Errors
    /// [`FilterError`] when there is no such filter, or it does not take the value.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, FilterError> {
        let mut filter = PruneFilter::default();
        for (key, value) in pairs {
            let given = Given { key, value };
            match key.as_str() {
                "label" => filter.labels.push(given.label()),
                "label!" => filter.spared.push(given.label()),
                "until" => {
                    let want =
                        "how long ago (10m, 1h30m), a date (2026-01-31, 2026-01-31T12:00:00Z), or seconds since 1970";
                    let until = moment(value, now()).ok_or_else(|| given.invalid(want))?;
                    if filter.until.replace(until).is_some() {
                        return Err(FilterError::Twice("until"));
                    }
                }
                _ => return Err(given.unknown(PRUNE_FILTERS)),
            }
        }
        Ok(filter)
    }

    /// Whether the network, if it is unused, is pruned.
    pub(super) fn admits(&self, network: &Network) -> bool {
        let has = |label: &LabelFilter| label.admits(&network.labels);
        let spared = !self.spared.is_empty() && self.spared.iter().all(has);
        self.labels.iter().all(has) && !spared && self.until.is_none_or(|until| network.created < until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zdocker_net::model::Settings;
    use zdocker_net::names::Id;

    use super::*;

    fn network(number: u8, name: &str, driver: Driver, labels: &[(&str, &str)]) -> NetworkView {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let network = Network {
            id: Id::new([number; 32]),
            name: name.parse().unwrap(),
            driver,
            pools: Vec::new(),
            bridge: None,
            parent: None,
            internal: false,
            masquerade: true,
            settings: Settings::default(),
            options: BTreeMap::new(),
            labels,
            created: i64::from(number) * 1_000_000_000,
        };
        NetworkView {
            network,
            endpoints: Vec::new(),
        }
    }

    fn networks() -> Vec<NetworkView> {
        vec![
            network(1, "bridge", Driver::Bridge, &[]),
            network(2, "none", Driver::None, &[]),
            network(3, "web", Driver::Bridge, &[("tier", "front"), ("who", "me")]),
            network(4, "web-2", Driver::Bridge, &[("tier", "back")]),
            network(5, "db", Driver::Bridge, &[("tier", "")]),
        ]
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let words = text.split_whitespace().map(|word| word.split_once('=').unwrap());
        words.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[track_caller]
    fn lists(filters: &str, expected: &str) {
        let filter = NetworkFilter::parse(&pairs(filters)).unwrap();
        let listed: Vec<_> = networks()
            .iter()
            .filter(|view| filter.admits(view))
            .map(|view| view.network.name.to_string())
            .collect();
        assert_eq!(listed.join(" "), expected, "{filters}");
    }

    #[test]
    fn values_of_a_filter_are_alternatives_and_filters_are_not() {
        lists("", "bridge none web web-2 db");
        lists("name=web", "web web-2");
        lists("name=^web$ name=d", "bridge web db");
        lists("id=0303", "web");
        lists("id=^0505 id=^0202", "none db");
        lists("driver=bridge name=b", "bridge web web-2 db");
        lists("driver=null", "none");
        lists("driver=none driver=bridge", "bridge none web web-2 db");
        lists("driver=macvlan", "");
        lists("scope=local", "bridge none web web-2 db");
        lists("scope=swarm", "");
        lists("type=builtin", "bridge none");
        lists("type=custom", "web web-2 db");
        lists("type=custom type=builtin", "bridge none web web-2 db");
        lists("dangling=true", "web web-2 db");
        lists("dangling=0", "bridge none");
    }

    #[test]
    fn labels_must_all_be_there() {
        lists("label=tier", "web web-2 db");
        lists("label=tier=back", "web-2");
        lists("label=tier=", "db");
        lists("label=tier label=who=me", "web");
        lists("label=tier=back label=who=me", "");
    }

    #[test]
    fn prune_spares() {
        let prunes = |filters: &str, expected: &str| {
            let filter = PruneFilter::parse(&pairs(filters)).unwrap();
            let pruned: Vec<_> = networks()
                .iter()
                .filter(|view| filter.admits(&view.network))
                .map(|view| view.network.name.to_string())
                .collect();
            assert_eq!(pruned.join(" "), expected, "{filters}");
        };
        prunes("until=4", "bridge none web");
        prunes("until=1h", "bridge none web web-2 db");
        prunes("label=tier until=1970-01-01T00:00:05Z", "web web-2");
        prunes("label!=tier", "bridge none");
        prunes("label!=tier=back", "bridge none web db");
        // As with Docker, what has all of the labels is spared.
        prunes("label!=tier label!=who", "bridge none web-2 db");
    }

    #[test]
    fn mistakes_are_named() {
        let list = |text: &str| NetworkFilter::parse(&pairs(text)).unwrap_err().to_string();
        let prune = |text: &str| PruneFilter::parse(&pairs(text)).unwrap_err().to_string();
        for (message, words) in [
            (list("nope=1"), "\"nope\": the filters are dangling, driver"),
            (list("type=x"), "\"type=x\": want builtin or custom"),
            (list("dangling=x"), "want true or false"),
            (list("dangling=1 dangling=0"), "given twice"),
            (list("name=["), "regular expression"),
            (prune("name=x"), "the filters are label, label! and until"),
            (prune("until=x"), "want how long ago"),
            (prune("until=1 until=2"), "given twice"),
        ] {
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }
}
