//! The report of a run as Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::budgets::{BUDGETS, Budget};
use super::results::{Group, Outcome, Results, Row};
use super::{goals, peers, stats};
use crate::process;

const BUDGETS_HEADING: &str = "| what | budget | measured | | the bare system calls, measured before |";

const HOW_TO_READ: &str = include_str!("how_to_read.md");

/// The whole report.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn markdown(results: &Results, zdocker: &Path) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "# Benchmarks\n")?;
    writeln!(text, "Written by `cargo xtask bench`; do not edit.\n")?;
    for line in machine(results)?.iter().chain(&peers::versions(zdocker)) {
        writeln!(text, "- {line}")?;
    }
    writeln!(text, "\n## How to read this\n\n{}", HOW_TO_READ.trim())?;
    writeln!(text, "\n## Budgets\n\n{BUDGETS_HEADING}\n|---|---|---|---|---|")?;
    for budget in BUDGETS {
        let (measured, verdict) = budget.verdict(results);
        let Budget {
            what,
            limit,
            system_calls,
            ..
        } = budget;
        writeln!(text, "| {what} | {limit} | {measured} | {verdict} | {system_calls} |")?;
    }
    write!(text, "{}", goals::markdown(results))?;
    for group in Group::ALL {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.group == group).collect();
        if !rows.is_empty() {
            write!(text, "\n## {}\n\n{}", group.title(), table(&rows)?)?;
        }
    }
    Ok(text)
}

/// When and on what this was measured.
fn machine(results: &Results) -> Result<Vec<String>> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown");
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let date = process::first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(vec![
        date,
        format!("Linux {}", kernel.trim()),
        format!("{count} × {}", model.trim_start_matches([' ', '\t', ':'])),
        run(results),
    ])
}

/// What kind of run this was, and beside what.
fn run(results: &Results) -> String {
    let kind = if results.quick {
        "quick run with few repetitions"
    } else {
        "full run"
    };
    let minutes = results.elapsed().as_secs_f64() / 60.0;
    let load = results.load_before.unwrap_or_default();
    let busy = if load >= 1.0 {
        "; **the machine was busy with other work, so times are too long: trust the ratios**"
    } else {
        ""
    };
    format!("{kind} of {minutes:.1} minutes; load average of the minute before it: {load}{busy}")
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
                Outcome::Times(_) | Outcome::Bytes(_) | Outcome::Rate(_) => (String::new(), "1".to_owned()),
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
