//! The measurements of one run, printed as they come.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::stats::{self, Summary};

/// What is measured; one table of the report each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Group {
    /// What the kernel itself costs
    Kernel,
    /// Attaching and detaching: zdocker within its process, the others a process each
    Attach,
    /// Called by other engines as their plug-in, whole processes
    Faces,
    /// The same, and looking, with much that is there
    Scale,
    /// Creating and removing a network
    Network,
    /// A whole `run --rm`
    Run,
    /// Many `run`s at once
    Parallel,
    /// Handing out an address
    Ipam,
    /// What passes of a limit
    Bandwidth,
    /// Memory for each running container
    Memory,
    /// Sizes of the programs
    Size,
}

impl Group {
    /// All groups, in the report's order.
    pub(super) const ALL: [Self; 11] = [
        Self::Kernel,
        Self::Attach,
        Self::Faces,
        Self::Scale,
        Self::Network,
        Self::Run,
        Self::Parallel,
        Self::Ipam,
        Self::Bandwidth,
        Self::Memory,
        Self::Size,
    ];

    /// The heading of its table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kernel => "The kernel's limit",
            Self::Attach => "Attaching a container to a network and detaching it",
            Self::Faces => "Called by other engines as their plug-in, whole processes",
            Self::Scale => "With 1,000 endpoints and 10,000 published ports",
            Self::Network => "Creating and removing a network, whole process",
            Self::Run => "A container from start to end, whole process",
            Self::Parallel => "Many containers at once",
            Self::Ipam => "Handing out an address and taking it back",
            Self::Bandwidth => "Bandwidth: what TCP carries of a limit (--bandwidth-in, --bandwidth-out)",
            Self::Memory => "Memory of a running container's own helpers (RssAnon)",
            Self::Size => "Sizes of the programs",
        }
    }
}

/// What passed of a limit, in bits a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// No limit if missing.
    pub(super) asked: Option<u64>,
    pub(super) passed: u64,
}

impl Passed {
    fn shown(self) -> String {
        let passed = self.passed as f64;
        let rate = format!("{} Mbit/s", stats::three_digits(passed / 1e6));
        match self.asked {
            Some(asked) => format!("{rate}, {} %", stats::three_digits(100.0 * passed / asked as f64)),
            None => rate,
        }
    }
}

/// What came of measuring one thing.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Times(Summary),
    Bytes(u64),
    Rate(Passed),
    /// With the reason.
    NotMeasured(String),
}

impl Outcome {
    /// A number to compare by: seconds, bytes or bits a second.
    pub(super) fn amount(&self) -> Option<f64> {
        match self {
            Self::Times(summary) => Some(summary.median.as_secs_f64()),
            Self::Bytes(bytes) => Some(*bytes as f64),
            Self::Rate(rate) => Some(rate.passed as f64),
            Self::NotMeasured(_) => None,
        }
    }

    /// The number with its unit, or why there is none.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Times(summary) => stats::shown(summary.median),
            Self::Bytes(bytes) => match *bytes as f64 {
                large if large >= 1e6 => format!("{} MB", stats::three_digits(large / 1e6)),
                tiny if tiny < 1024.0 => format!("{tiny} B"),
                small => format!("{} KiB", stats::three_digits(small / 1024.0)),
            },
            Self::Rate(rate) => rate.shown(),
            Self::NotMeasured(why) => format!("not measured: {why}"),
        }
    }
}

/// One measured thing.
pub(super) struct Row {
    pub(super) group: Group,
    /// What was done.
    pub(super) case: String,
    /// By which program.
    pub(super) who: String,
    pub(super) outcome: Outcome,
}

/// The rows so far, and how much is to be measured.
pub(super) struct Results {
    pub(super) rows: Vec<Row>,
    pub(super) quick: bool,
    only: Option<Group>,
    /// The load average of the last minute before the first measurement.
    pub(super) load_before: Option<f64>,
    started: Instant,
}

impl Results {
    pub(super) fn new(quick: bool, only: Option<Group>) -> Self {
        Self {
            rows: Vec::new(),
            quick,
            only,
            load_before: load(),
            started: Instant::now(),
        }
    }

    /// How long measuring has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The median of what was measured, in seconds or bytes.
    pub(super) fn amount(&self, group: Group, case: &str, who: &str) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.group == group && row.case == case && row.who == who)?;
        row.outcome.amount()
    }

    pub(super) fn wants(&self, group: Group) -> bool {
        self.only.is_none_or(|only| only == group)
    }

    /// How often to repeat something, given the number for a full run.
    pub(super) fn repetitions(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(6).max(3) } else { full }
    }

    /// Records and prints what was measured; an error becomes the reason why it was not.
    pub(super) fn times(&mut self, group: Group, case: &str, who: &str, measured: Result<Vec<Duration>>) {
        let outcome = match measured.map(|times| Summary::of(&times)) {
            Ok(Some(summary)) => Outcome::Times(summary),
            Ok(None) => Outcome::NotMeasured("no repetition".to_owned()),
            Err(error) => Outcome::NotMeasured(reason(&error)),
        };
        self.add(group, case, who, outcome);
    }

    /// Like [`Results::times`], for a size in bytes.
    pub(super) fn bytes(&mut self, group: Group, case: &str, who: &str, measured: Result<u64>) {
        let outcome = measured.map_or_else(|error| Outcome::NotMeasured(reason(&error)), Outcome::Bytes);
        self.add(group, case, who, outcome);
    }

    /// Like [`Results::times`], for what passed of a limit.
    pub(super) fn rate(&mut self, group: Group, case: &str, who: &str, measured: Result<Passed>) {
        let outcome = measured.map_or_else(|error| Outcome::NotMeasured(reason(&error)), Outcome::Rate);
        self.add(group, case, who, outcome);
    }

    fn add(&mut self, group: Group, case: &str, who: &str, outcome: Outcome) {
        println!("{case:<58} {who:<32} {}", outcome.shown());
        self.rows.push(Row {
            group,
            case: case.to_owned(),
            who: who.to_owned(),
            outcome,
        });
    }
}

/// The load average of the last minute (proc_loadavg(5)).
pub(super) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The error in one line that fits a table.
fn reason(error: &anyhow::Error) -> String {
    let line = format!("{error:#}").replace(['\n', '|'], " ");
    let short: String = line.chars().take(160).collect();
    if short.len() < line.len() {
        format!("{short} ...")
    } else {
        short
    }
}
