//! How many times faster than others zdocker is to be as their plug-in, and whether it was in this run.

use super::faces::{ALONE, AS_CHAIN, AS_NETAVARK, AS_ONE, MANY_PORTS, THEIR_CHAIN, THEIR_NETAVARK};
use super::results::{Group, Results};
use super::stats;

/// What takes longer is so many times what takes less.
struct Goal {
    what: &'static str,
    verbs: &'static [&'static str],
    /// Case and contestant.
    longer: (&'static str, &'static str),
    less: (&'static str, &'static str),
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    /// The same within this.
    AtMost(f64),
}

/// The noise of a machine that has other things to do.
const FLAT: Bound = Bound::AtMost(1.5);

const GOALS: [Goal; 7] = [
    Goal {
        what: "`netavark setup`, nothing else there",
        verbs: &["setup"],
        longer: (ALONE, THEIR_NETAVARK),
        less: (ALONE, AS_NETAVARK),
        bound: Bound::AtLeast(10.0),
    },
    Goal {
        what: "`netavark teardown`, nothing else there",
        verbs: &["teardown"],
        longer: (ALONE, THEIR_NETAVARK),
        less: (ALONE, AS_NETAVARK),
        bound: Bound::AtLeast(30.0),
    },
    Goal {
        what: "`netavark setup`, 10,000 ports there",
        verbs: &["setup"],
        longer: (MANY_PORTS, THEIR_NETAVARK),
        less: (MANY_PORTS, AS_NETAVARK),
        bound: Bound::AtLeast(200.0),
    },
    Goal {
        what: "the same of zdocker, beside nothing there",
        verbs: &["setup"],
        longer: (MANY_PORTS, AS_NETAVARK),
        less: (ALONE, AS_NETAVARK),
        bound: FLAT,
    },
    Goal {
        what: "CNI ADD and DEL by bridge and portmap, nothing else there",
        verbs: &["ADD", "DEL"],
        longer: (ALONE, THEIR_CHAIN),
        less: (ALONE, AS_CHAIN),
        bound: Bound::AtLeast(10.0),
    },
    Goal {
        what: "CNI ADD and DEL by zdocker-net, nothing else there",
        verbs: &["ADD", "DEL"],
        longer: (ALONE, THEIR_CHAIN),
        less: (ALONE, AS_ONE),
        bound: Bound::AtLeast(10.0),
    },
    Goal {
        what: "the same of zdocker with 10,000 ports there, beside nothing there",
        verbs: &["ADD", "DEL"],
        longer: (MANY_PORTS, AS_ONE),
        less: (ALONE, AS_ONE),
        bound: FLAT,
    },
];

impl Goal {
    /// How many times longer it took; nothing if one of them was not measured.
    fn ratio(&self, results: &Results) -> Option<f64> {
        let total = |(case, who): (&str, &str)| {
            let verbs = self.verbs.iter();
            let medians = verbs.map(|verb| results.amount(Group::Faces, &format!("{verb}, {case}"), who));
            medians.sum::<Option<f64>>()
        };
        Some(total(self.longer)? / total(self.less)?)
    }

    fn line(&self, results: &Results) -> String {
        let (goal, is_met): (String, fn(f64, f64) -> bool) = match self.bound {
            Bound::AtLeast(least) => (format!("at least {least} times"), |ratio, least| ratio >= least),
            Bound::AtMost(most) => (format!("flat: at most {most} times"), |ratio, most| ratio <= most),
        };
        let (Bound::AtLeast(limit) | Bound::AtMost(limit)) = self.bound;
        let (measured, verdict) = match self.ratio(results) {
            Some(ratio) if is_met(ratio, limit) => (format!("{} times", stats::three_digits(ratio)), "met"),
            Some(ratio) => (format!("{} times", stats::three_digits(ratio)), "**not met**"),
            None => ("not measured".to_owned(), "unknown"),
        };
        format!("| {} | {goal} | {measured} | {verdict} |\n", self.what)
    }
}

/// The goals as a chapter of the report; nothing where nothing of them was measured.
pub(super) fn markdown(results: &Results) -> String {
    if results.rows.iter().all(|row| row.group != Group::Faces) {
        return String::new();
    }
    let lines: String = GOALS.iter().map(|goal| goal.line(results)).collect();
    format!("\n## Goals as a plug-in\n\n| what | goal: times faster | measured | |\n|---|---|---|---|\n{lines}")
}
