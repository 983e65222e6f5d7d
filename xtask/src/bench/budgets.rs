//! The budgets of the design, and whether this run kept them.

use std::time::Duration;

use super::results::{Group, Results};
use super::{in_process, kernel, stats};

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
    /// What of the kernel it cannot go on without, by the names of its rows.
    kernel: &'static [&'static str],
    /// What the bare system calls took before there was any zdocker, on a machine of the same kind.
    pub(super) system_calls: &'static str,
}

const MILLISECOND: f64 = 1e-3;
const MICROSECOND: f64 = 1e-6;
const MEBIBYTE: f64 = 1_048_576.0;

const ATTACH: &str = "300 µs hot, 550 µs cold";
const PUBLISH: &str = "1 to 33 µs more a port, flat to 10,000";
const DETACH: &str = "15 to 61 µs";

const fn attach(what: &'static str, case: &'static str, system_calls: &'static str) -> Budget {
    Budget {
        what,
        limit: "600 µs",
        most: 600.0 * MICROSECOND,
        group: Group::Attach,
        case,
        who: in_process::KERNEL_ONLY,
        kernel: &[kernel::NAMESPACE, kernel::VETH],
        system_calls,
    }
}

const fn detach(what: &'static str, case: &'static str) -> Budget {
    Budget {
        limit: "100 µs",
        most: 100.0 * MICROSECOND,
        kernel: &[],
        ..attach(what, case, DETACH)
    }
}

const fn network(what: &'static str, case: &'static str, kernel: &'static [&'static str]) -> Budget {
    Budget {
        what,
        limit: "3 ms",
        most: 3.0 * MILLISECOND,
        group: Group::Network,
        case,
        who: "zdocker",
        kernel,
        system_calls: "",
    }
}

const fn run(what: &'static str, case: &'static str, kernel: &'static [&'static str]) -> Budget {
    Budget {
        limit: "12 ms",
        most: 12.0 * MILLISECOND,
        group: Group::Run,
        system_calls: "6 ms for the container alone, no network",
        ..network(what, case, kernel)
    }
}

pub(super) const BUDGETS: &[Budget] = &[
    attach(
        "attach, within the process, namespace included",
        "attach, one port",
        ATTACH,
    ),
    Budget {
        kernel: &[],
        ..attach("the same, many in a row", "attach, one port, many in a row", ATTACH)
    },
    attach("the same at 500 endpoints", "attach, one port, 500 others", ""),
    attach(
        "the same at 1,000 endpoints",
        "attach, one port, 1,000 others on 2 bridges",
        "",
    ),
    attach(
        "the same at 10,000 published ports",
        "attach, one port, 10,000 of another",
        PUBLISH,
    ),
    detach("detach, within the process", "detach, one port"),
    detach(
        "the same at 10,000 published ports",
        "detach, one port, 10,000 of another",
    ),
    network(
        "`network create`, whole process, after 100 ms of quiet",
        "network create, after 100 ms of quiet",
        &[kernel::CREATE_BRIDGE],
    ),
    network(
        "the same, straight after a `network rm`",
        "network create",
        &[kernel::CREATE_BRIDGE],
    ),
    network("`network ls`, whole process", "network ls", &[kernel::START]),
    Budget {
        system_calls: "15.1 ms for RTM_DELLINK",
        ..network(
            "`network rm`, whole process, after 100 ms of quiet",
            "network rm, after 100 ms of quiet",
            &[kernel::DELETE_BRIDGE],
        )
    },
    run(
        "`run --rm --net n -p 8080:80 IMAGE true`, whole process, back to back",
        "run --rm --net n -p 8080:80 IMAGE true",
        &[],
    ),
    run(
        "the same after 100 ms of quiet",
        "run --rm --net n -p 8080:80 IMAGE true, after 100 ms of quiet",
        &[kernel::MOVE],
    ),
    Budget {
        limit: "1 MiB",
        most: MEBIBYTE,
        group: Group::Memory,
        ..network(
            "anonymous memory per running container",
            "one container with one published port",
            &[],
        )
    },
    Budget {
        limit: "12 MB",
        most: 12e6,
        group: Group::Size,
        ..network("binary", "programs, together", &[])
    },
];

impl Budget {
    /// The measured amount and whether it is within the budget.
    pub(super) fn verdict(&self, results: &Results) -> (String, String) {
        let mut rows = results.rows.iter();
        let found = rows.find(|row| row.group == self.group && row.who == self.who && row.case == self.case);
        let Some((shown, amount)) = found.and_then(|row| Some((row.outcome.shown(), row.outcome.amount()?))) else {
            return ("not measured".to_owned(), "unknown".to_owned());
        };
        let verdict = if amount <= self.most {
            "met".to_owned()
        } else {
            format!("**not met**{}", self.excuse(results, amount).unwrap_or_default())
        };
        (shown, verdict)
    }

    /// How much of what was measured is the kernel's, as measured in the same run.
    fn excuse(&self, results: &Results, amount: f64) -> Option<String> {
        let parts = self
            .kernel
            .iter()
            .map(|case| results.amount(Group::Kernel, case, kernel::KERNEL));
        let limit = parts.sum::<Option<f64>>().filter(|limit| *limit > 0.0)?;
        let shown = |seconds: f64| stats::shown(Duration::from_secs_f64(seconds));
        let rest = match amount - limit {
            rest if rest > 0.0 => format!(", and all the rest {}", shown(rest)),
            _ => String::new(),
        };
        Some(format!(
            "; the kernel alone takes {} ({}){rest}",
            shown(limit),
            self.kernel.join("; ")
        ))
    }
}
