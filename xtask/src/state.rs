//! What a machine has that a container engine could leave behind, to be compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::{cgroups, process};

/// Everything found, by kind: links, routes, firewall entries, mounts, processes, control groups.
#[derive(PartialEq)]
pub(crate) struct State {
    found: BTreeMap<&'static str, Vec<String>>,
}

impl State {
    /// Looks around, from inside the namespaces of this process.
    ///
    /// # Errors
    /// When `ip` or `nft` fail or `/proc` cannot be read.
    pub(crate) fn observe() -> Result<Self> {
        let lines = |text: String| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let mut found = BTreeMap::new();
        let links = process::capture(Command::new("ip").args(["-br", "link"]))?;
        found.insert("links", links.lines().map(|line| first_word(line).to_owned()).collect());
        found.insert(
            "routes",
            lines(process::capture(Command::new("ip").args(["-4", "route"]))?),
        );
        found.insert("firewall entries", firewall()?);
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        found.insert(
            "mounts",
            mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(1))
                .map(str::to_owned)
                .collect(),
        );
        found.insert("processes", processes()?);
        found.insert("control groups", control_groups());
        for list in found.values_mut() {
            list.sort();
        }
        Ok(Self { found })
    }

    /// How many there are of each kind, in words.
    pub(crate) fn summary(&self) -> String {
        self.found
            .iter()
            .map(|(kind, list)| format!("{} {kind}", list.len()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What this state has and the other has not, a line each.
    pub(crate) fn beyond(&self, other: &Self) -> Vec<String> {
        let mut extra = Vec::new();
        for (kind, list) in &self.found {
            let mut before = other.found.get(kind).cloned().unwrap_or_default();
            for item in list {
                match before.iter().position(|old| old == item) {
                    Some(place) => drop(before.swap_remove(place)),
                    None => extra.push(format!("{kind}: {item}")),
                }
            }
        }
        extra
    }
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// The command lines of all processes but this one, kernel threads left out.
fn processes() -> Result<Vec<String>> {
    let mut list = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        // A process may end while we look; then it is not there, which is the answer.
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = command.replace('\0', " ").trim().to_owned();
        if !command.is_empty() {
            list.push(command);
        }
    }
    Ok(list)
}

/// What the firewall has: every table, chain and rule, and all that is in sets and maps. Stateless, because counters
/// change without anybody changing the firewall.
fn firewall() -> Result<Vec<String>> {
    let text = process::capture(Command::new("nft").args(["--json", "--stateless", "list", "ruleset"]))?;
    let ruleset: serde_json::Value = serde_json::from_str(&text)?;
    let mut entries = Vec::new();
    for object in ruleset["nftables"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|object| object.as_object())
    {
        for (kind, content) in object {
            for element in content["elem"].as_array().into_iter().flatten() {
                entries.push(format!("{} {}: {element}", content["table"], content["name"]));
            }
            if kind != "metainfo" {
                entries.push(format!(
                    "{kind} {} {} {}",
                    content["table"], content["name"], content["expr"]
                ));
            }
        }
    }
    Ok(entries)
}

/// The control groups of containers.
fn control_groups() -> Vec<String> {
    let groups = cgroups::existing();
    groups
        .iter()
        .filter(|group| cgroups::is_container(&group.0))
        .map(|group| group.0.display().to_string())
        .collect()
}
