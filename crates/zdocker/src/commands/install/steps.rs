//! What is changed in the file system, step by step.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::output::say;

/// A step. Its `Display` is the command that a person would type to do the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A directory, with those above it.
    MakeDirectory(PathBuf),
    /// To where nothing is, or something that may go.
    Move { from: PathBuf, to: PathBuf },
    /// In the place of what is at `path`, if anything is.
    Link { target: PathBuf, path: PathBuf },
    /// In the place of what is at `path`, if anything is.
    Write { path: PathBuf, text: String },
    /// A file or link.
    Remove(PathBuf),
    /// A directory that has nothing in it.
    RemoveDirectory(PathBuf),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::MakeDirectory(path) => write!(f, "mkdir -p {}", quoted(path)),
            Step::Move { from, to } => write!(f, "mv {} {}", quoted(from), quoted(to)),
            Step::Link { target, path } => write!(f, "ln -sf {} {}", quoted(target), quoted(path)),
            Step::Write { path, text } => write!(f, "cat > {} <<'END'\n{text}END", quoted(path)),
            Step::Remove(path) => write!(f, "rm {}", quoted(path)),
            Step::RemoveDirectory(path) => write!(f, "rmdir {}", quoted(path)),
        }
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl Step {
    fn carry_out(&self) -> io::Result<()> {
        match self {
            Step::MakeDirectory(path) => fs::create_dir_all(path),
            Step::Move { from, to } => fs::rename(from, to),
            Step::Link { target, path } => in_place_of(path, |new| symlink(target, new)),
            Step::Write { path, text } => in_place_of(path, |new| fs::write(new, text)),
            Step::Remove(path) => fs::remove_file(path),
            Step::RemoveDirectory(path) => fs::remove_dir(path),
        }
    }
}

/// Makes something under another name and gives it the name `path` then: who looks meanwhile finds what was there, or
/// all of what is new.
fn in_place_of(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    // Nobody takes a file with this ending for a configuration.
    new.push(".zdocker-new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => make(&new)?,
    }
    fs::rename(&new, path)
}

/// Does the steps and prints each as it is done; or only prints them.
pub(super) fn run(steps: &[Step], dry_run: bool) -> Result<ExitCode> {
    for step in steps {
        if !dry_run {
            let command = step.to_string();
            let headline = command.lines().next().unwrap_or_default();
            step.carry_out().with_context(|| {
                format!(
                    "cannot {headline} (the steps before it stay; the same command goes on, remove takes them back)"
                )
            })?;
        }
        say(&step.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_commands() {
        let path = || PathBuf::from("/a b/c");
        for (step, command) in [
            (Step::MakeDirectory(path()), "mkdir -p '/a b/c'"),
            (
                Step::Link {
                    target: "/usr/bin/zdocker".into(),
                    path: path(),
                },
                "ln -sf /usr/bin/zdocker '/a b/c'",
            ),
            (Step::Remove("/it's".into()), r"rm '/it'\''s'"),
            (
                Step::Write {
                    path: "/f".into(),
                    text: "x = 1\n".to_owned(),
                },
                "cat > /f <<'END'\nx = 1\nEND",
            ),
        ] {
            assert_eq!(step.to_string(), command);
        }
    }
}
