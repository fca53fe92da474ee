//! The SQLite database: opened, checked and brought up to date; one connection that writes, a few that read.
//!
//! WAL, so that readers never stop the writer, and `synchronous=FULL`, so that a commit is on the disk when it
//! returns: with NORMAL a power cut could take the last commits, and the group commit of the writer thread makes the
//! price one `fsync` for a whole batch, off the signalling thread.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::StoreUrl;
use super::error::StoreError;
use super::migrate;

/// Marks a database as ours in its header: "TRNK".
const APPLICATION_ID: i32 = 0x5452_4e4b;

/// How long a statement waits for another process's lock.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Reading connections kept for reuse.
const READERS_KEPT: usize = 4;

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// The lock on `PATH.lock` of the one process that serves calls.
    claim: Mutex<Option<File>>,
}

impl SqliteStore {
    /// Opens the database, makes it if there is none, and brings it up to date. The file and a directory made for it
    /// are for their owner alone.
    ///
    /// # Errors
    /// A file that is no database, another program's, damaged, or from a newer trunkline is left as it is.
    pub fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let path = url.path();
        make_directory(path)?;
        owner_only(path).map_err(|error| cannot_open(path, &error.to_string()))?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        identify(&connection, path, true)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
                 PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
            )
            .map_err(|error| opening(path, error))?;
        let now = jiff::Timestamp::now().as_microsecond();
        migrate::run(&mut connection, migrate::MIGRATIONS, now)?;
        Ok(Self::with(path, connection))
    }

    /// Opens a database that exists and is up to date, for reading: nothing is made or changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such file, else as [`SqliteStore::open`].
    pub fn open_existing(url: &StoreUrl) -> Result<Self, StoreError> {
        let path = url.path();
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .or_else(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        identify(&connection, path, false)?;
        let (found, known) = (
            migrate::version(&connection)?,
            migrate::known(migrate::MIGRATIONS),
        );
        match found.cmp(&known) {
            std::cmp::Ordering::Greater => return Err(StoreError::Newer { found, known }),
            std::cmp::Ordering::Less => return Err(StoreError::Older { found, known }),
            std::cmp::Ordering::Equal => {}
        }
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self::with(path, connection))
    }

    fn with(path: &Path, connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(64);
        Self {
            path: path.to_owned(),
            writer: Mutex::new(connection),
            readers: Mutex::new(Vec::new()),
            claim: Mutex::new(None),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes this process the one that serves calls from this database, until it ends or the store is dropped.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process does.
    pub fn claim(&self) -> Result<(), StoreError> {
        let mut claim = lock(&self.claim);
        if claim.is_none() {
            *claim = Some(lock_file(&self.path)?);
        }
        Ok(())
    }

    /// Runs `work` in one transaction that writes; an error undoes it.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.writer);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Runs `work` in one transaction that reads: it sees one moment of the database, whatever is written meanwhile.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = lock(&self.readers).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => reader(&self.path)?,
        };
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        drop(transaction);
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        Ok(result)
    }
}

/// Takes the lock that the serving process holds; it ends with the process, however that ends.
pub(super) fn lock_file(database: &Path) -> Result<File, StoreError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(database.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Makes the directory of a database if there is none, for its owner alone.
pub(super) fn make_directory(database: &Path) -> Result<(), StoreError> {
    let Some(directory) = database.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| cannot_open(database, &format!("cannot make {}: {error}", directory.display())))
}

/// Makes the file if there is none, readable by its owner alone.
pub(super) fn owner_only(path: &Path) -> std::io::Result<()> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| opening(path, error))?;
    connection.busy_timeout(LOCK_WAIT)?;
    // Plans rest on statements alone, not on values bound to them: else every insert would be planned anew.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Checks that a file is a database of ours; with `adopt` an empty one becomes so.
pub(super) fn identify(connection: &Connection, path: &Path, adopt: bool) -> Result<(), StoreError> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let id = read("PRAGMA application_id").map_err(|error| opening(path, error))?;
    let tables = read("SELECT COUNT(*) FROM sqlite_master").map_err(|error| opening(path, error))?;
    match (id, tables) {
        (id, _) if id == i64::from(APPLICATION_ID) => Ok(()),
        (0, 0) if adopt => Ok(connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(|error| opening(path, error))?),
        (0, 0) => Err(StoreError::Missing(path.to_owned())),
        _ => Err(StoreError::Foreign(path.to_owned())),
    }
}

fn opening(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase(path.to_owned()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseCorrupt | ErrorCode::DiskFull) => error.into(),
        _ => cannot_open(path, &error.to_string()),
    }
}

fn cannot_open(path: &Path, reason: &str) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// A lock whose holder panicked is still good: transactions undo themselves.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
