//! How much passes of what a container may send and receive.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::in_process::Helper;
use super::results::{Group, Passed, Results};

/// Of each transfer, in milliseconds.
const TIME: usize = 3_000;

const MEGABIT: u64 = 1_000_000;

/// In bits a second.
const RATES: [u64; 4] = [MEGABIT, 10 * MEGABIT, 100 * MEGABIT, 1_000 * MEGABIT];

/// The transfers of one call of the helper: with whom, over IPv6 or not, sent or received by the container.
const TRANSFERS: [(&str, bool, bool); 8] = [
    ("neighbour", false, false),
    ("neighbour", false, true),
    ("neighbour", true, false),
    ("neighbour", true, true),
    ("outside", false, false),
    ("outside", false, true),
    ("outside", true, false),
    ("outside", true, true),
];

/// Each rate both ways, with a neighbour and with the outside, and at last what passes without a limit.
pub(super) fn measure(results: &mut Results, helper: &Helper) {
    for rate in RATES.into_iter().map(Some).chain([None]) {
        let mut options = vec![
            "--run=/run/measure".to_owned(),
            format!("--time={}", if results.quick { TIME / 3 } else { TIME }),
            // What Linux has unless it is told otherwise; this machine may have been.
            "--congestion=cubic".to_owned(),
        ];
        options.extend(rate.map(|rate| format!("--rate={rate}")));
        let answer = helper.ask("bandwidth", &options);
        for (peer, ipv6, sends) in TRANSFERS {
            let limit = rate.map_or("no limit".to_owned(), |rate| format!("{} Mbit/s", rate / MEGABIT));
            let case = format!(
                "{limit}, {}, {peer}, {}",
                if sends { "sent" } else { "received" },
                if ipv6 { "IPv6" } else { "IPv4" }
            );
            let passed = passed(&answer, peer, ipv6, sends).map(|passed| Passed { asked: rate, passed });
            results.rate(Group::Bandwidth, &case, "zdocker", passed);
        }
    }
}

/// What passed of one transfer, in bits a second.
fn passed(answer: &Result<Value>, peer: &str, ipv6: bool, sends: bool) -> Result<u64> {
    let answer = answer.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    let mut transfers = answer.as_array().context("the helper gave no transfers")?.iter();
    let found =
        transfers.find(|transfer| transfer["peer"] == peer && transfer["ipv6"] == ipv6 && transfer["sends"] == sends);
    found
        .and_then(|transfer| transfer["rate"].as_u64())
        .context("the helper gave no such transfer")
}
