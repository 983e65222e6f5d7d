//! Telling each step as it is done.

use std::time::Duration;

use zdocker_engine::Journal;
use zdocker_net::op::Op;

use crate::args::{GlobalArgs, LogFormat};
use crate::output;

/// The journal that the command line, or ZDOCKER_LOG, asks for.
pub(crate) fn open(global: &GlobalArgs) -> Journal {
    let asked = std::env::var_os("ZDOCKER_LOG").is_some_and(|value| !matches!(value.to_str(), Some("" | "0" | "off")));
    match global.log_format {
        _ if !(global.debug || asked) => Box::new(|_, _| {}),
        LogFormat::Text => Box::new(|op, time| output::note(&text(op, time))),
        LogFormat::Json => Box::new(|op, time| output::note(&json(op, time))),
    }
}

fn text(op: &Op, time: Duration) -> String {
    let command = op.to_string();
    // The lines of a step are carried out as one.
    let mut lines = command.lines();
    let first = format!("{:>8} µs  {}", time.as_micros(), lines.next().unwrap_or_default());
    lines.fold(first, |text, line| format!("{text}\n{:13}{line}", ""))
}

fn json(op: &Op, time: Duration) -> String {
    serde_json::json!({ "step": op.to_string(), "microseconds": time.as_micros() as u64 }).to_string()
}
