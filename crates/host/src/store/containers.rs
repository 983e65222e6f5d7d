//! Containers' records. What a container was asked to be is kept as the text that the engine makes of it.

use rusqlite::{OptionalExtension, Row, params};
use zdocker_net::model::UnixNanos;
use zdocker_net::names::{Id, Name};

use crate::process::ProcessId;

use super::{Records, State, StoreError, owner_columns, read_owner};

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Its owner is setting it up.
    Creating,
    /// It runs, or did when somebody looked last.
    Running,
    /// It ended and is kept.
    Exited,
    /// Its owner is removing it.
    Removing,
}

impl ContainerState {
    /// The word for the state, as Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerState::Creating => "creating",
            ContainerState::Running => "running",
            ContainerState::Exited => "exited",
            ContainerState::Removing => "removing",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "creating" => ContainerState::Creating,
            "running" => ContainerState::Running,
            "exited" => ContainerState::Exited,
            // The schema allows no other word.
            _ => ContainerState::Removing,
        }
    }
}

/// A container's record.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRecord {
    /// Names the container for ever.
    pub id: Id,
    /// Names it for people.
    pub name: Name,
    /// What it was asked to be.
    pub spec: String,
    /// What it is doing.
    pub state: ContainerState,
    /// Who is at it: the command that creates or removes it, while it runs its shim.
    pub owner: Option<ProcessId>,
    /// The boot in which it was started last.
    pub boot: Option<String>,
    /// Its first process, while it runs.
    pub process: Option<ProcessId>,
    /// Whether it outlives a start that fails.
    pub kept: bool,
    /// When it was created.
    pub created: UnixNanos,
    /// When it was started last.
    pub started: Option<UnixNanos>,
    /// When it ended last.
    pub finished: Option<UnixNanos>,
    /// The exit status of its last run.
    pub exit_status: Option<i32>,
}

/// Who takes a container down.
#[derive(Debug)]
pub enum Claim {
    /// Whoever asked; the record as it was.
    Ours(Box<ContainerRecord>),
    /// Somebody else, or nobody any more; the record as it is.
    Held(Box<ContainerRecord>),
    /// Nobody: it is gone.
    Gone,
}

/// A container that is not recorded yet.
#[derive(Debug, Clone, Copy)]
pub struct NewContainer<'a> {
    /// Names the container for ever.
    pub id: &'a Id,
    /// What it is called.
    pub name: &'a Name,
    /// What it was asked to be.
    pub spec: &'a str,
    /// The container whose network namespace it shares.
    pub joins: Option<&'a Id>,
    /// Now.
    pub created: UnixNanos,
}

const SELECT: &str =
    "SELECT id, name, spec, state, owner_pid, owner_start, boot, pid, pid_start, kept, created, started, finished,
                      exit_status FROM containers";

/// A row; `None` where the name is none, which is never written.
fn record(row: &Row) -> rusqlite::Result<Option<ContainerRecord>> {
    let name: String = row.get("name")?;
    let Ok(name) = name.parse() else { return Ok(None) };
    Ok(Some(ContainerRecord {
        id: Id::from(row.get::<_, String>("id")?),
        name,
        spec: row.get("spec")?,
        state: ContainerState::read(&row.get::<_, String>("state")?),
        owner: read_owner(row, "owner_pid", "owner_start")?,
        boot: row.get("boot")?,
        process: read_owner(row, "pid", "pid_start")?,
        kept: row.get("kept")?,
        created: row.get("created")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        exit_status: row.get("exit_status")?,
    }))
}

impl Records<'_> {
    fn select_containers(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<ContainerRecord>, StoreError> {
        let mut statement = self.transaction.prepare_cached(&format!("{SELECT} {condition}"))?;
        let rows = statement.query_map(values, record)?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// Every container, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn containers(&self) -> Result<Vec<ContainerRecord>, StoreError> {
        self.select_containers("ORDER BY created DESC", [])
    }

    /// The containers that run, or that some process is, or was, creating or removing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unsettled_containers(&self) -> Result<Vec<ContainerRecord>, StoreError> {
        self.select_containers("WHERE state <> 'exited'", [])
    }

    /// The containers that some process is, or was, creating or removing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn half_done_containers(&self) -> Result<Vec<ContainerRecord>, StoreError> {
        self.select_containers("WHERE state <> 'exited' AND state IN ('creating', 'removing')", [])
    }

    /// The container with this identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container(&self, id: &Id) -> Result<Option<ContainerRecord>, StoreError> {
        Ok(self.select_containers("WHERE id = ?1", [id.as_str()])?.pop())
    }

    /// The containers that `text` may mean: the one with this name or identifier, else all whose identifier starts with
    /// it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_containers(&self, text: &str) -> Result<Vec<ContainerRecord>, StoreError> {
        let exact = self.select_containers("WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1", [text])?;
        if !exact.is_empty() || text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(exact);
        }
        self.select_containers("WHERE id GLOB ?1 || '*'", [text])
    }

    /// Records a container that `owner` is about to set up in the boot `boot`. `false` if its name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn insert_container(&self, new: &NewContainer, owner: ProcessId, boot: &str) -> Result<bool, StoreError> {
        let taken = "SELECT 1 FROM containers WHERE name = ?1";
        if self
            .transaction
            .query_row(taken, [new.name.as_str()], |_| Ok(()))
            .optional()?
            .is_some()
        {
            return Ok(false);
        }
        let (pid, start) = owner_columns(Some(owner));
        self.transaction.execute(
            "INSERT INTO containers (id, name, spec, state, owner_pid, owner_start, boot, created, joins)
             VALUES (?1, ?2, ?3, 'creating', ?4, ?5, ?6, ?7, ?8)",
            params![
                new.id.as_str(),
                new.name.as_str(),
                new.spec,
                pid,
                start,
                boot,
                new.created,
                new.joins.map(Id::as_str)
            ],
        )?;
        Ok(true)
    }

    /// Records that a container is set up, to be started later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_created(&self, id: &Id) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE containers SET state = 'exited', kept = 1, owner_pid = NULL, owner_start = NULL, boot = NULL
             WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }

    /// Records that `owner` is about to start a container again, in the boot `boot`, as `spec` says, which was made of
    /// `before`. `false` if somebody else is at it or has changed what it is to be, or it runs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn restart_container(
        &self,
        id: &Id,
        (before, spec): (&str, &str),
        joins: Option<&Id>,
        owner: ProcessId,
        boot: &str,
    ) -> Result<bool, StoreError> {
        let (pid, start) = owner_columns(Some(owner));
        let changed = self.transaction.execute(
            "UPDATE containers SET state = 'creating', kept = 1, spec = ?2, joins = ?3, owner_pid = ?4, owner_start = ?5,
                                   boot = ?6
             WHERE id = ?1 AND state = 'exited' AND spec = ?7",
            params![id.as_str(), spec, joins.map(Id::as_str), pid, start, boot, before],
        )?;
        Ok(changed == 1)
    }

    /// Records that a container was not started after all: it is as it was before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_not_started(&self, id: &Id) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE containers SET state = 'exited', owner_pid = NULL, owner_start = NULL, pid = NULL, pid_start = NULL
             WHERE id = ?1",
            [id.as_str()],
        )?;
        Ok(())
    }

    /// Changes what a container is asked to be.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_container_spec(&self, id: &Id, spec: &str) -> Result<(), StoreError> {
        self.transaction
            .execute("UPDATE containers SET spec = ?2 WHERE id = ?1", [id.as_str(), spec])?;
        Ok(())
    }

    /// Whether a container that runs shares the network namespace of `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_joined(&self, id: &Id) -> Result<bool, StoreError> {
        let query = "SELECT 1 FROM containers WHERE joins = ?1 AND state IN ('creating', 'running')";
        Ok(self
            .transaction
            .query_row(query, [id.as_str()], |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Says who is at a container, and at what.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_container_state(
        &self,
        id: &Id,
        state: ContainerState,
        owner: Option<ProcessId>,
    ) -> Result<(), StoreError> {
        let (pid, start) = owner_columns(owner);
        self.transaction.execute(
            "UPDATE containers SET state = ?2, owner_pid = ?3, owner_start = ?4 WHERE id = ?1",
            params![id.as_str(), state.as_str(), pid, start],
        )?;
        Ok(())
    }

    /// Makes `me` the one that takes a container down, if its record, as it is at this moment, `may_be` taken. What its
    /// endpoints hold stays theirs until they are deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn claim_container(
        &self,
        id: &Id,
        me: ProcessId,
        may_be: impl FnOnce(&ContainerRecord) -> bool,
    ) -> Result<Claim, StoreError> {
        let Some(record) = self.container(id)? else {
            return Ok(Claim::Gone);
        };
        if !may_be(&record) {
            return Ok(Claim::Held(Box::new(record)));
        }
        self.set_container_state(id, record.state, Some(me))?;
        self.set_endpoints_state(id, State::Removing, Some(me))?;
        Ok(Claim::Ours(Box::new(record)))
    }

    /// Records that a container's first process runs under `shim`, unless it has ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_started(
        &self,
        id: &Id,
        process: ProcessId,
        shim: ProcessId,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        let ((pid, pid_start), (shim, shim_start)) = (owner_columns(Some(process)), owner_columns(Some(shim)));
        self.transaction.execute(
            "UPDATE containers SET state = 'running', pid = ?2, pid_start = ?3, owner_pid = ?4, owner_start = ?5,
                                   started = ?6
             WHERE id = ?1 AND state = 'creating'",
            params![id.as_str(), pid, pid_start, shim, shim_start, now],
        )?;
        Ok(())
    }

    /// Records how a container ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn container_exited(&self, id: &Id, exit_status: i32, now: UnixNanos) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE containers SET state = 'exited', owner_pid = NULL, owner_start = NULL, pid = NULL, pid_start = NULL,
                                   finished = ?3, exit_status = ?2, started = coalesce(started, ?3)
             WHERE id = ?1",
            params![id.as_str(), exit_status, now],
        )?;
        Ok(())
    }

    /// Forgets a container.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete_container(&self, id: &Id) -> Result<(), StoreError> {
        self.transaction
            .execute("DELETE FROM containers WHERE id = ?1", [id.as_str()])?;
        Ok(())
    }
}
