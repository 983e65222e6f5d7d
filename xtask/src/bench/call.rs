//! Running a program and timing it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// Seconds after which a measured program is ended, and reported as too slow to measure.
const LIMIT: &str = "30";

/// Long enough without work for the kernel to have forgotten what it had ready, and to have cleaned up.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// How long one thing may be repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command with this input, from its start to its end.
///
/// # Errors
/// When it fails, with what it said.
pub(super) fn timed(command: &mut Command, input: &[u8]) -> Result<(Duration, Vec<u8>)> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| process::not_started(command))?;
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input));
    let output = child.wait_with_output()?;
    let took = start.elapsed();
    if output.status.code() == Some(124) && command.get_program() == "timeout" {
        bail!("it took more than {LIMIT} s");
    }
    process::checked(command, &output)?;
    // Only a program that failed leaves its input unread, and why it failed says more.
    written.context("giving the program its input")?;
    Ok((took, output.stdout))
}

/// The program, to be ended when it is too slow. For calls that take long enough for a further process not to matter.
pub(super) fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", LIMIT, program]);
    command
}

/// Makes a folder, or takes out what is in it.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn empty_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(fs::create_dir_all(folder)?),
    }
}

/// Runs something several times after once that does not count; less often when it takes long altogether.
///
/// # Errors
/// The first error of any of them.
pub(super) fn repeated<T>(count: usize, mut once: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    let start = Instant::now();
    let first = once()?;
    let mut measured = Vec::new();
    while measured.len() < count && start.elapsed() < PATIENCE {
        measured.push(once()?);
    }
    // What is this slow is not changed much by being done for the first time.
    Ok(if measured.is_empty() { vec![first] } else { measured })
}

/// Like [`repeated`], with [`QUIET`] before each time.
///
/// # Errors
/// The first error of any of them.
pub(super) fn repeated_after_quiet<T>(count: usize, mut once: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    repeated(count, || {
        std::thread::sleep(QUIET);
        once()
    })
}
