//! Telling what the engine does.

use std::time::Duration;

use zdocker_engine::Journal;
use zdocker_net::op::Shown;

use crate::args::{GlobalArgs, LogFormat};
use crate::output;

/// The journal that the command line, or ZDOCKER_LOG, asks for: warnings always, steps where asked.
pub(crate) fn open(global: &GlobalArgs) -> Box<dyn Journal> {
    Box::new(StandardError {
        steps: global.debug || is_asked(),
        format: global.log_format,
    })
}

/// The journal of a face that has no command line of ours.
pub(crate) fn from_environment() -> Box<dyn Journal> {
    Box::new(StandardError {
        steps: is_asked(),
        format: LogFormat::Text,
    })
}

fn is_asked() -> bool {
    std::env::var_os("ZDOCKER_LOG").is_some_and(|value| !matches!(value.to_str(), Some("" | "0" | "off")))
}

struct StandardError {
    /// Whether each step is told as it is done.
    steps: bool,
    format: LogFormat,
}

impl Journal for StandardError {
    fn step(&mut self, step: &Shown<'_>, time: Duration) {
        if self.steps {
            output::note(&match self.format {
                LogFormat::Text => step_text(step, time),
                LogFormat::Json => {
                    let microseconds = time.as_micros() as u64;
                    serde_json::json!({ "step": step.to_string(), "microseconds": microseconds }).to_string()
                }
            });
        }
    }

    fn warn(&mut self, text: &str) {
        output::note(&match self.format {
            LogFormat::Text => format!("zdocker: warning: {text}"),
            LogFormat::Json => serde_json::json!({ "warning": text }).to_string(),
        });
    }
}

fn step_text(step: &Shown<'_>, time: Duration) -> String {
    let command = step.to_string();
    // The lines of a step are carried out as one.
    let mut lines = command.lines();
    let first = format!("{:>8} µs  {}", time.as_micros(), lines.next().unwrap_or_default());
    lines.fold(first, |text, line| format!("{text}\n{:13}{line}", ""))
}
