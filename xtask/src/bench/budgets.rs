//! The budgets of the design, and whether this run kept them.

use super::results::{Group, Results};

/// The most that one measured thing may take.
pub(super) struct Budget {
    /// As the design names it.
    pub(super) what: &'static str,
    /// As the design gives it.
    pub(super) limit: &'static str,
    /// In seconds or bytes.
    most: f64,
    group: Group,
    case: &'static str,
    who: &'static str,
}

const MILLISECOND: f64 = 1e-3;
const MEBIBYTE: f64 = 1_048_576.0;

pub(super) const BUDGETS: &[Budget] = &[
    Budget {
        what: "`network create`, whole process",
        limit: "3 ms",
        most: 3.0 * MILLISECOND,
        group: Group::Network,
        case: "network create",
        who: "zdocker",
    },
    Budget {
        what: "`network rm`, whole process",
        limit: "3 ms",
        most: 3.0 * MILLISECOND,
        group: Group::Network,
        case: "network rm",
        who: "zdocker",
    },
    Budget {
        what: "plugin process, attach",
        limit: "3 ms",
        most: 3.0 * MILLISECOND,
        group: Group::Attach,
        case: "attach, one port",
        who: "zdocker, as netavark",
    },
    Budget {
        what: "plugin process, detach",
        limit: "3 ms",
        most: 3.0 * MILLISECOND,
        group: Group::Attach,
        case: "detach, one port",
        who: "zdocker, as netavark",
    },
    Budget {
        what: "`run --rm --net n -p 8080:80 IMAGE true`, whole process",
        limit: "12 ms",
        most: 12.0 * MILLISECOND,
        group: Group::Run,
        case: "run --rm --net n -p 8080:80 IMAGE true",
        who: "zdocker",
    },
    Budget {
        what: "anonymous memory per running container",
        limit: "1 MiB",
        most: MEBIBYTE,
        group: Group::Memory,
        case: "one container with one published port",
        who: "zdocker",
    },
    Budget {
        what: "binary",
        limit: "12 MB",
        most: 12e6,
        group: Group::Size,
        case: "programs, together",
        who: "zdocker",
    },
];

impl Budget {
    /// The measured amount and whether it is within the budget.
    pub(super) fn verdict(&self, results: &Results) -> (String, &'static str) {
        let rows = results
            .rows
            .iter()
            .filter(|row| row.group == self.group && row.who == self.who);
        let found = rows.into_iter().find(|row| row.case == self.case);
        match found.map(|row| (row.outcome.shown(), row.outcome.amount())) {
            Some((shown, Some(amount))) => (shown, if amount <= self.most { "met" } else { "**not met**" }),
            _ => ("not measured".to_owned(), "unknown"),
        }
    }
}
