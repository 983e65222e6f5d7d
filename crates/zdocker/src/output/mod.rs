//! What people and programs read: the only place where zdocker writes to its own standard output and error.

pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod ports;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod time;

use std::io::{self, Write};

use zdocker_engine::EngineError;

/// Writes a line to standard output.
///
/// # Errors
/// When nobody reads it, or the disk is full.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Writes a line to standard error. A reader that has gone is no reason to stop.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Asks whether to go on; anything but a yes on standard input is a no.
///
/// # Errors
/// When standard output or input fails.
pub(crate) fn confirm(consequence: &str) -> io::Result<bool> {
    write!(
        io::stdout(),
        "WARNING! {consequence}\nAre you sure you want to continue? [y/N] "
    )?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Writes why something failed.
pub(crate) fn complain(error: &anyhow::Error) {
    // The engine's errors tell their causes themselves.
    let tells_causes = error.is::<EngineError>();
    note(&if tells_causes {
        format!("zdocker: {error}")
    } else {
        format!("zdocker: {error:#}")
    });
}

/// Whether an error only says that nobody reads our output any more.
pub(crate) fn is_unread(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
