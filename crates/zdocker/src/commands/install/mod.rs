//! Making this program serve other engines, and taking that back: links of their plug-ins' names, and a configuration.

pub(super) mod cni;
pub(super) mod podman;
mod steps;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The file of this program, which links lead to.
fn program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

/// What is at a place where a link should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A link to this program.
    Ours,
    /// A link to a program of our name that is elsewhere, as before this one was installed there.
    OursElsewhere,
    Strange,
}

impl Found {
    fn at(path: &Path, program: &Path) -> Result<Self> {
        let looked = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => fs::read_link(path).map(Some),
            Ok(_) => Ok(None),
            Err(error) if is_missing(&error) => return Ok(Found::Nothing),
            Err(error) => Err(error),
        };
        let target = looked.with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(match target {
            Some(target) if target == program => Found::Ours,
            Some(target) if target.file_name() == Some(OsStr::new("zdocker")) => Found::OursElsewhere,
            _ => Found::Strange,
        })
    }

    fn is_ours(self) -> bool {
        matches!(self, Found::Ours | Found::OursElsewhere)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text of a file; `None` if there is none.
fn text_of(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
