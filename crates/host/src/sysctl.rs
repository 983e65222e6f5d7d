//! Kernel variables under `/proc/sys` (proc_sys(5)). Those of the network are the calling thread's network namespace's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a kernel variable could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} kernel variable {key}: {source}")]
pub struct SysctlError {
    /// What was being done.
    pub doing: &'static str,
    /// In its path form, `net/ipv4/ip_forward`.
    pub key: String,
    /// Why it failed.
    pub source: io::Error,
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

/// Reads the variable `key`, given in its path form; `None` if this kernel has none of that name.
///
/// # Errors
/// [`SysctlError`]
pub fn read(key: &str) -> Result<Option<String>, SysctlError> {
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError {
            doing: "read",
            key: key.to_owned(),
            source,
        }),
    }
}

/// Writes the variable `key`, given in its path form.
///
/// # Errors
/// [`SysctlError`]
pub fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    // Not fs::write: that would ask for the file to be created, which a missing variable answers by "permission
    // denied".
    let written = fs::OpenOptions::new().write(true).open(path(key)).and_then(|mut file| {
        use std::io::Write;
        file.write_all(value.as_bytes())
    });
    written.map_err(|source| SysctlError {
        doing: "write",
        key: key.to_owned(),
        source,
    })
}

/// Whether the kernel has IPv6 at all (`ipv6.disable=1` on its command line takes it away).
pub(crate) fn has_ipv6() -> bool {
    path("net/ipv6").exists()
}
