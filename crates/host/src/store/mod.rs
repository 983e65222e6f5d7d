//! The records: one SQLite database under the state root.
//!
//! Every change is one transaction. No transaction is open during kernel work.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::process::ProcessId;

mod containers;
mod endpoints;
mod leases;
mod listing;
mod networks;
mod ports;

pub use containers::{Claim, ContainerRecord, ContainerState, NewContainer};
pub use endpoints::EndpointRecord;
pub use leases::{AddressError, Lease, Usage};
pub use listing::{ListedContainer, ListedNetwork};
pub use networks::NetworkRecord;

/// The version of the schema, kept in SQLite's `user_version`. Each version has its step in [`MIGRATIONS`].
const MIGRATIONS: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("schema_2_start.sql"),
    include_str!("schema_3_unsettled_ports.sql"),
];

/// How long SQLite itself waits for another process. Writers queue at a file lock before, so this is met only while the
/// write-ahead log is recovered after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Pages that the write-ahead log may grow to before it is copied into the database. Every process that opens the
/// records reads the whole log; copying it waits for the disk. A `run` writes about 20 pages.
const LOG_PAGES: u32 = 100;

/// Why the records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or its lock file.
    #[error("cannot open the records in {path}: {source}")]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A newer zdocker wrote them.
    #[error(
        "the records in {path} are of version {found}, and this zdocker knows versions up to {known}: use a newer zdocker"
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest one known here.
        known: usize,
    },
    /// SQLite: a full disk, a damaged file.
    #[error("cannot use the records: {0}")]
    Database(#[from] rusqlite::Error),
    /// A row that this program would not have written.
    #[error("a record of a {what} cannot be read: {source}")]
    Content {
        /// What it is a record of.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// How far the kernel's state and a record agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its owner is making it real.
    Creating,
    /// It is real.
    Ready,
    /// Its owner is taking it away.
    Removing,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Ready => "ready",
            State::Removing => "removing",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "ready" => State::Ready,
            "creating" => State::Creating,
            // The schema allows no other word.
            _ => State::Removing,
        }
    }
}

/// The records, open.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    lock_path: PathBuf,
}

/// The records within a transaction.
#[derive(Debug)]
pub struct Records<'t> {
    transaction: Transaction<'t>,
}

impl Store {
    /// Opens the records under `root`, making them if they are not there yet.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be made, or the database not be read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        private_dir(root).map_err(|source| StoreError::Open {
            path: root.to_owned(),
            source,
        })?;
        let path = root.join("zdocker.db");
        // No mutex: a connection is used by one thread only, as Rust makes sure.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // The last one to close the database would otherwise copy the log into it and wait for the disk.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = {LOG_PAGES};"
        ))?;
        let mut store = Store {
            connection,
            lock_path: root.join("lock"),
        };
        store.migrate(&path)?;
        Ok(store)
    }

    fn migrate(&mut self, path: &Path) -> Result<(), StoreError> {
        let known = MIGRATIONS.len();
        if version(&self.connection)? == known {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&transaction)?;
        let steps = MIGRATIONS.get(found..).ok_or(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known,
        })?;
        for step in steps {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", known as u32)?;
        Ok(transaction.commit()?)
    }

    /// Writers queue here, where the kernel wakes the next one at once; SQLite itself would sleep and try again.
    fn lock(&self) -> Result<Flock<File>, StoreError> {
        let error = |source| StoreError::Open {
            path: self.lock_path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock_path)
            .map_err(error)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| error(errno.into()))
    }

    /// Changes the records: all of what `change` does, or nothing if it fails.
    ///
    /// # Errors
    /// Those of `change`, and [`StoreError`].
    pub fn write<T, E: From<StoreError>>(&mut self, change: impl FnOnce(&Records) -> Result<T, E>) -> Result<T, E> {
        let _lock = self.lock()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::from)?;
        let records = Records { transaction };
        let value = change(&records)?;
        records.transaction.commit().map_err(StoreError::from)?;
        Ok(value)
    }

    /// Does `change` and takes it back: what it gives is what it would give.
    ///
    /// # Errors
    /// Those of `change`, and [`StoreError`].
    pub fn rehearse<T, E: From<StoreError>>(&mut self, change: impl FnOnce(&Records) -> Result<T, E>) -> Result<T, E> {
        let _lock = self.lock()?;
        // A transaction that is not committed is rolled back when it goes.
        self.read(change)
    }

    /// Reads the records as they are at one moment.
    ///
    /// # Errors
    /// Those of `look`, and [`StoreError`].
    pub fn read<T, E: From<StoreError>>(&mut self, look: impl FnOnce(&Records) -> Result<T, E>) -> Result<T, E> {
        let records = Records {
            transaction: self.connection.transaction().map_err(StoreError::from)?,
        };
        look(&records)
    }
}

/// Makes a directory that only root looks into, also if it was there and open to others: containers' secrets are below
/// it.
///
/// # Errors
/// When it cannot be made or closed to others, or is one that is for everybody, such as `/tmp`.
pub fn private_dir(path: &Path) -> io::Result<()> {
    const STICKY: u32 = 0o1000;
    fs::create_dir_all(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & STICKY != 0 {
        return Err(io::Error::other("it is for everybody; name a directory below it"));
    }
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<usize, StoreError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(version as usize)
}

impl Records<'_> {
    /// A fact of this installation by `name`, if it is known.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn known_fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM facts WHERE name = ?1";
        Ok(self.transaction.query_row(query, [name], |row| row.get(0)).optional()?)
    }

    /// A fact of this installation by `name`; made by `make` and kept when it is asked for the first time.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn fact(&self, name: &str, make: impl FnOnce() -> String) -> Result<String, StoreError> {
        if let Some(value) = self.known_fact(name)? {
            return Ok(value);
        }
        let value = make();
        self.transaction
            .execute("INSERT INTO facts (name, value) VALUES (?1, ?2)", [name, &value])?;
        Ok(value)
    }
}

/// The columns `owner_pid` and `owner_start`.
fn owner_columns(owner: Option<ProcessId>) -> (Option<i32>, Option<i64>) {
    // Start times are far below 2^63.
    (owner.map(|o| o.pid), owner.map(|o| o.start_time as i64))
}

fn read_owner(row: &rusqlite::Row, pid: &str, start: &str) -> rusqlite::Result<Option<ProcessId>> {
    let pid: Option<i32> = row.get(pid)?;
    let start: Option<i64> = row.get(start)?;
    Ok(pid.zip(start).map(|(pid, start)| ProcessId {
        pid,
        start_time: start as u64,
    }))
}

fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Content { what, source })
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Content { what, source })
}

/// Whether SQLite refused a row because another one has its unique key.
fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

#[cfg(test)]
mod listing_tests;
#[cfg(test)]
mod tests;
