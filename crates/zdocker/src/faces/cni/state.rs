//! Where the records are.

use std::path::PathBuf;

use zdocker_engine::Engine;
use zdocker_engine::config::Config;

use super::error::CniError;
use super::request::Request;

/// The directory of the records if nobody says another.
const DIRECTORY: &str = "/var/lib/cni/zdocker";

/// The environment variable that says another.
const VARIABLE: &str = "ZDOCKER_CNI_DIR";

/// The directory of the records: the configuration's `stateDir`, or that of the environment. All plug-ins of a list
/// must be told the same.
fn directory(request: &Request) -> Result<PathBuf, CniError> {
    let given = request.fields().text("stateDir")?.map(PathBuf::from);
    let given = given.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    let directory = given.unwrap_or_else(|| PathBuf::from(DIRECTORY));
    if directory.is_absolute() {
        Ok(directory)
    } else {
        Err(CniError::config(
            "stateDir",
            format!("{} is no absolute path", directory.display()),
        ))
    }
}

/// Opens the records.
///
/// # Errors
/// [`CniError`] when they cannot be used.
pub(super) fn open(request: &Request) -> Result<Engine, CniError> {
    let journal = crate::journal::from_environment();
    Ok(Engine::open_foreign(
        "cni",
        directory(request)?,
        Config::default(),
        journal,
    )?)
}
