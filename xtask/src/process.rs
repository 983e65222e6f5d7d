//! Running other programs, with errors that name the command.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result, bail};

/// The top folder of the repository.
pub(crate) fn repository() -> &'static Path {
    // Cargo compiles xtask with its own folder, which is one below the top, in this variable.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that started this program, to be run in the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository());
    cargo
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The word in single quotes where a shell would otherwise split or expand it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs the command to its end with this program's own input and output.
///
/// # Errors
/// When it cannot be started, or ends with anything but status 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    if !status.success() {
        bail!("`{}` {}", shown(command), ending(status));
    }
    Ok(())
}

/// Runs the command to its end and returns what it wrote to its standard output.
///
/// # Errors
/// When it cannot be started, or ends with anything but status 0; the error carries what it wrote to standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| not_started(command))?;
    checked(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An error with the command and its last words unless it succeeded.
pub(crate) fn checked(command: &Command, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let words = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    bail!(
        "`{}` {}: {}",
        shown(command),
        ending(output.status),
        String::from_utf8_lossy(words).trim()
    );
}

/// The first line of what the command says, for instance of its version; nothing when it cannot be run.
pub(crate) fn first_line(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref()).args(arguments).output().ok()?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let text = String::from_utf8_lossy(&text);
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Why a command could not be started.
pub(crate) fn not_started(command: &Command) -> String {
    format!("cannot start `{}`", shown(command))
}

/// An ending as words: `ended with status 3`, `was killed by signal 9`.
pub(crate) fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Whether this process runs as root.
///
/// # Errors
/// When `/proc` is not mounted.
pub(crate) fn is_root() -> io::Result<bool> {
    // The owner of /proc/self is the effective user (proc(5)).
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// Refuses to go on without root, saying what it is needed for.
pub(crate) fn require_root(what: &str, why: &str) -> Result<()> {
    if !is_root()? {
        bail!("`cargo xtask {what}` must be run as root: {why}");
    }
    Ok(())
}

/// Builds a package with optimisation and returns the path of its binary, which has the same name.
///
/// # Errors
/// When cargo fails, or does not say where it put the binary.
pub(crate) fn build_release(package: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--package",
        package,
        "--message-format=json-render-diagnostics",
    ]);
    build.stderr(std::process::Stdio::inherit());
    let messages = capture(&mut build)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == package)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where it put the {package} binary"))
}
