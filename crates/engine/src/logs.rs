//! A container's log, in Docker's json-file format.

use std::io::{self, Write};

use crate::containers::paths::ContainerPaths;

/// What part of a log to show, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Go on until the container ends.
    pub follow: bool,
}

/// Copies the container's log, what it wrote on standard output to `stdout` and the rest to `stderr`.
///
/// # Errors
/// When the log cannot be read or the output not be written.
pub fn copy(
    _paths: &ContainerPaths,
    _options: LogOptions,
    _stdout: &mut dyn Write,
    _stderr: &mut dyn Write,
) -> io::Result<()> {
    unimplemented!()
}
