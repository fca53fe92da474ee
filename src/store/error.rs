//! Why the store could not do what was asked.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the store could not do what was asked. Texts name the fix where there is one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0:?} is not a store: write \"sqlite:PATH\"")]
    Url(String),
    #[error("{0:?}: this version of trunkline keeps its records in SQLite only; write \"sqlite:PATH\"")]
    NoPostgres(String),
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    #[error("cannot open the database {}: {reason}", .path.display())]
    Open { path: PathBuf, reason: String },
    #[error("{} is not a database; move it away, or restore a backup", .0.display())]
    NotADatabase(PathBuf),
    #[error("{} is a database of another program; name another file", .0.display())]
    Foreign(PathBuf),
    #[error(
        "the database is from a newer trunkline (version {found}; this one knows {known}): use the newer program"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "the database is from an older trunkline (version {found}; this one needs {known}): \
         start the server once to bring it up to date"
    )]
    Older { found: i64, known: i64 },
    #[error("migration {version} ({name}) failed: {reason}")]
    Migration {
        version: i64,
        name: &'static str,
        reason: String,
    },
    #[error("another trunkline is using the database {}", .0.display())]
    InUse(PathBuf),
    #[error("the database is locked by another program")]
    Locked,
    #[error("the disk is full")]
    Full,
    #[error("the database is damaged ({0}): restore a backup")]
    Damaged(String),
    #[error("reading or writing failed: {0}")]
    Io(String),
    #[error("a stored value cannot be read: {0}")]
    Unreadable(String),
    #[error("no random bytes from the system: {0}")]
    Random(String),
    #[error("the database refused: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same may succeed later, so that nothing must be given up.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Locked | Self::Full | Self::Damaged(_) | Self::Io(_) | Self::Open { .. }
        )
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        let reason = error.to_string();
        match &error {
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => {
                Self::Unreadable(reason)
            }
            _ => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
                Some(ErrorCode::DiskFull) => Self::Full,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(reason),
                Some(
                    ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::SchemaChanged
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted,
                ) => Self::Io(reason),
                _ => Self::Refused(reason),
            },
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            Self::Full
        } else {
            Self::Io(error.to_string())
        }
    }
}
