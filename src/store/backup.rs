//! Copies of the whole database, taken and brought back while others read.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::StoreUrl;
use super::error::StoreError;
use super::migrate;
use super::sqlite::{self, SqliteStore};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BackupFacts {
    pub bytes: u64,
    pub calls: u64,
    pub version: i64,
}

impl SqliteStore {
    /// Writes a copy of this moment's database to `to`, while calls go on. The file appears complete or not at all,
    /// is on the disk when this returns, and replaces an earlier one of that name.
    pub fn backup(&self, to: &Path) -> Result<BackupFacts, StoreError> {
        let parts = beside(to, "part");
        let copied = sqlite::owner_only(&parts)
            .map_err(StoreError::from)
            .and_then(|()| {
                let source = sqlite::reader(self.path())?;
                copy(&source, &parts)?;
                let facts = inspect(&parts)?;
                File::open(&parts)?.sync_all()?;
                std::fs::rename(&parts, to)?;
                sync_directory(to)?;
                Ok(facts)
            });
        if copied.is_err() {
            // The first error is the one to tell; a part that cannot be removed is replaced by the next backup.
            let _ = std::fs::remove_file(&parts);
        }
        copied
    }
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    pub facts: BackupFacts,
    /// Where the database that was there before is kept.
    pub earlier: Option<PathBuf>,
}

/// Puts a backup in the place of the database at `url`, after checking it whole. What was there, even if damaged, is
/// moved aside with its write-ahead log.
///
/// # Errors
/// [`StoreError::InUse`] while a server uses the database; a damaged, foreign or newer backup changes nothing.
pub fn restore(url: &StoreUrl, from: &Path) -> Result<Restored, StoreError> {
    if !from.exists() {
        return Err(StoreError::Missing(from.to_owned()));
    }
    let facts = inspect(from)?;
    let path = url.path();
    sqlite::make_directory(path)?;
    let _claim = sqlite::lock_file(path)?;
    let parts = beside(path, "part");
    sqlite::owner_only(&parts)?;
    copy(&sqlite::reader(from)?, &parts)?;
    File::open(&parts)?.sync_all()?;
    // The log goes first: a log left beside another database would be played into it.
    let earlier = beside(path, "before-restore");
    move_if_there(&suffixed(path, "-wal"), &suffixed(&earlier, "-wal"))?;
    move_if_there(&suffixed(path, "-shm"), &suffixed(&earlier, "-shm"))?;
    let existed = move_if_there(path, &earlier)?;
    std::fs::rename(&parts, path)?;
    sync_directory(path)?;
    Ok(Restored {
        facts,
        earlier: existed.then_some(earlier),
    })
}

/// Copies a database in one read transaction, so that writers neither wait nor make it start again.
fn copy(source: &Connection, to: &Path) -> Result<(), StoreError> {
    let mut copied = sqlite::connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let backup = Backup::new(source, &mut copied)?;
    match backup.step(-1)? {
        StepResult::Done => {}
        _ => return Err(StoreError::Locked),
    }
    drop(backup);
    // One file is easier to carry than a file and its log; the server goes back to WAL when it opens it.
    copied.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copied.close().map_err(|(_, error)| error.into())
}

/// Checks that a file is a whole database of ours and tells what it holds.
fn inspect(path: &Path) -> Result<BackupFacts, StoreError> {
    let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    sqlite::identify(&connection, path, false)?;
    let (version, known) = (
        migrate::version(&connection)?,
        migrate::known(migrate::MIGRATIONS),
    );
    if version > known {
        return Err(StoreError::Newer {
            found: version,
            known,
        });
    }
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if health != "ok" {
        return Err(StoreError::Damaged(health));
    }
    let calls: i64 = connection.query_row("SELECT COUNT(*) FROM call_record", [], |row| row.get(0))?;
    let bytes = std::fs::metadata(path)?.len();
    Ok(BackupFacts {
        bytes,
        calls: u64::try_from(calls).unwrap_or(0),
        version,
    })
}

/// `trunkline.db` and `part` make `trunkline.db.part`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    suffixed(path, &format!(".{ending}"))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn move_if_there(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A renamed file is safe only when its directory is on the disk.
fn sync_directory(of: &Path) -> Result<(), StoreError> {
    let directory = of
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok(File::open(directory)?.sync_all()?)
}
