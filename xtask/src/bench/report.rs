//! The report of a run as Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::budgets::BUDGETS;
use super::results::{Group, Outcome, Results, Row};
use super::{peers, stats};
use crate::process;

/// The whole report.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn markdown(results: &Results, zdocker: &Path) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "# Benchmarks\n")?;
    writeln!(
        text,
        "Written by `cargo xtask bench`; do not edit. {}\n",
        method(results)
    )?;
    for line in machine()?.iter().chain(&peers::versions(zdocker)) {
        writeln!(text, "- {line}")?;
    }
    writeln!(
        text,
        "\n## Budgets\n\n| what | budget | measured | |\n|---|---|---|---|"
    )?;
    for budget in BUDGETS {
        let (measured, verdict) = budget.verdict(results);
        writeln!(text, "| {} | {} | {measured} | {verdict} |", budget.what, budget.limit)?;
    }
    for group in Group::ALL {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.group == group).collect();
        if !rows.is_empty() {
            write!(text, "\n## {}\n\n{}", group.title(), table(&rows)?)?;
        }
    }
    Ok(text)
}

fn method(results: &Results) -> String {
    let run = if results.quick {
        "This was a quick run with few repetitions."
    } else {
        "This was a full run."
    };
    format!(
        "{run} Everything ran side by side on one machine, each contestant in a network namespace of its own that \
         stands for a host. Times are medians with the range that holds the middle eight of ten; the last column says \
         how many times what zdocker needs it is. Attaching is into a network namespace that exists, with one other \
         container on the network unless the row says otherwise; many ports are every second port, so that nobody can \
         publish them as one range. What took more than a minute for one step is not measured."
    )
}

/// When and on what this was measured.
fn machine() -> Result<Vec<String>> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown");
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg")?;
    let date = process::first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(vec![
        date,
        format!("Linux {}", kernel.trim()),
        format!("{count} × {}", model.trim_start_matches([' ', '\t', ':'])),
        format!(
            "load average at the end: {}",
            load.split(' ').next().unwrap_or_default()
        ),
    ])
}

/// The rows with the same case next to each other.
fn table(rows: &[&Row]) -> Result<String> {
    let mut text =
        "| what | who | median | middle eight of ten | runs | × zdocker |\n|---|---|---|---|---|---|\n".to_owned();
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    for case in cases {
        let same: Vec<&&Row> = rows.iter().filter(|row| row.case == case).collect();
        let ours = same
            .iter()
            .find(|row| row.who.starts_with("zdocker"))
            .and_then(|row| row.outcome.amount());
        for row in same {
            let (spread, count) = match &row.outcome {
                Outcome::Times(summary) if summary.count > 1 => {
                    let (low, high) = (stats::shown(summary.tenth), stats::shown(summary.ninetieth));
                    (format!("{low} to {high}"), summary.count.to_string())
                }
                Outcome::Times(_) | Outcome::Bytes(_) => (String::new(), "1".to_owned()),
                Outcome::NotMeasured(_) => (String::new(), String::new()),
            };
            let ratio = ours
                .zip(row.outcome.amount())
                .map(|(ours, this)| stats::three_digits(this / ours));
            let ratio = ratio.unwrap_or_default();
            writeln!(
                text,
                "| {case} | {} | {} | {spread} | {count} | {ratio} |",
                row.who,
                row.outcome.shown()
            )?;
        }
    }
    Ok(text)
}
