//! The same with a Podman that an ordinary user runs, in a network namespace of its own behind slirp4netns.

mod alone;
mod scenario;

use std::path::Path;

use super::engine::{self, Podman};
use super::{differences, measure, play_stages, user, with_both};
use crate::compare::{Findings, compare, new_host};
use crate::harness::{NetNs, skipped, until};
use scenario::USERS;

/// What a user needs beyond what root does, with the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/newuidmap", "uidmap"),
    ("/usr/bin/slirp4netns", "slirp4netns"),
    (engine::ROOTLESSPORT, "podman"),
];

#[test]
fn a_users_podman_does_the_same_with_zdocker_as_with_netavark() {
    if !can_run() {
        return;
    }
    let [netavark, zdocker] = with_both(play);
    compare(["netavark", "zdocker"], [&netavark, &zdocker], differences::of_users());
}

/// Whether a user's Podman can run here at all, which netavark has no part in; says why not.
fn can_run() -> bool {
    if !super::is_installed() {
        return false;
    }
    if let Some((path, package)) = NEEDED.iter().find(|(path, _)| !Path::new(path).exists()) {
        skipped(&format!("{path} is not installed (Debian's package {package})"));
        return false;
    }
    let moved_in = user::move_in(&new_host());
    if moved_in.status != 0 {
        let why = moved_in.stderr.trim();
        skipped(&format!("this machine refuses what makes a user known: {why}"));
        return false;
    }
    let tried = Podman::without_image("/bin/false").call("unshare --rootless-netns true");
    if tried.status != 0 {
        let why = tried.stderr.trim();
        skipped(&format!("this machine refuses a user's Podman its namespaces: {why}"));
    }
    tried.status == 0
}

/// Does the scenario with the program `netavark`, and returns what was found after its stages.
fn play(netavark: &str) -> Findings {
    let engine = Podman::of_user(netavark);
    let mut findings = play_stages(&engine, &USERS);
    let own = engine.users_network().unwrap();
    for command in USERS.end {
        engine.call(command).ok();
    }
    findings.extend(measure::what_is_left(&engine));
    findings.extend(what_is_left_of(&engine, &own));
    findings
}

/// What is still in the user's namespace, which we hold, and who still runs for it.
fn what_is_left_of(engine: &Podman, own: &NetNs) -> Findings {
    ended(engine);
    let links = own.ip_json(&["link", "show"]).into_iter();
    let links = links.map(|link| format!("left: user's link {}", link["ifname"].as_str().unwrap()));
    let rules = own.output("nft", &["--stateless", "list", "ruleset"], "");
    let rules = rules
        .lines()
        .map(|line| format!("left: user's firewall {}", line.trim()));
    links.chain(rules).map(|what| (what, "yes".to_owned())).collect()
}

/// Waits until nothing runs for the user's containers any more.
#[track_caller]
fn ended(engine: &Podman) {
    for helper in ["slirp4netns", "rootlessport", "conmon", "aardvark-dns", "netavark"] {
        until(&format!("{helper} has ended"), || engine.processes(helper).is_empty());
    }
}
