//! Traces of calls: kept with their records, read one at a time, and removed sooner than they.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::sql::Sql;
use super::sqlite::SqliteStore;
use crate::call::record::{TraceKept, UtcMicros};
use crate::call::trace::Trace;
use crate::units::CallId;

/// Traces removed in one transaction, so that records never wait long.
const REMOVED_AT_ONCE: u32 = 200;

/// Traces of calls.
pub trait TraceStore {
    fn trace(&self, call: CallId) -> Result<Option<Trace>, StoreError>;

    /// Removes traces kept before `before`, then the oldest of those that take more than `most_bytes` together, and
    /// tells how many went.
    fn sweep_traces(&self, before: UtcMicros, most_bytes: u64) -> Result<u64, StoreError>;
}

static PUT: Sql = Sql::new(
    "INSERT INTO call_trace (call_id, kept_at, bytes, trace) VALUES ($1, $2, $3, $4)
     ON CONFLICT (call_id) DO UPDATE SET kept_at = excluded.kept_at, bytes = excluded.bytes, trace = excluded.trace",
);

pub(super) fn put(writing: &Connection, call: &str, kept: &TraceKept) -> Result<(), StoreError> {
    let bytes = i64::try_from(kept.trace.len()).unwrap_or(i64::MAX);
    let values = params![call, kept.at.0, bytes, kept.trace];
    writing.prepare_cached(PUT.sqlite())?.execute(values)?;
    Ok(())
}

static SELECT: Sql = Sql::new("SELECT trace FROM call_trace WHERE call_id = $1");
static BY_TIME: Sql = Sql::new("SELECT kept_at, bytes FROM call_trace ORDER BY kept_at DESC");
static REMOVE: Sql = Sql::new(
    "DELETE FROM call_trace WHERE call_id IN (
        SELECT call_id FROM call_trace WHERE kept_at < $1 ORDER BY kept_at LIMIT $2)",
);

impl TraceStore for SqliteStore {
    fn trace(&self, call: CallId) -> Result<Option<Trace>, StoreError> {
        let found: Option<Vec<u8>> = self.read(|reading| {
            let mut statement = reading.prepare_cached(SELECT.sqlite())?;
            Ok(statement
                .query_row([call.to_string()], |row| row.get(0))
                .optional()?)
        })?;
        let decode = |bytes: Vec<u8>| Trace::decode(&bytes);
        found
            .map(decode)
            .transpose()
            .map_err(|error| StoreError::Unreadable(error.to_string()))
    }

    fn sweep_traces(&self, before: UtcMicros, most_bytes: u64) -> Result<u64, StoreError> {
        let before = before.0.max(self.fits_since(most_bytes)?);
        let mut removed = 0;
        loop {
            let count = self.write(|writing| {
                let mut statement = writing.prepare_cached(REMOVE.sqlite())?;
                Ok(statement.execute(params![before, REMOVED_AT_ONCE])?)
            })?;
            removed += count as u64;
            if count < REMOVED_AT_ONCE as usize {
                return Ok(removed);
            }
        }
    }
}

impl SqliteStore {
    /// The moment since which traces take at most so many bytes.
    fn fits_since(&self, most_bytes: u64) -> Result<i64, StoreError> {
        self.read(|reading| {
            let mut statement = reading.prepare_cached(BY_TIME.sqlite())?;
            let mut rows = statement.query([])?;
            let mut sum = 0_u64;
            while let Some(row) = rows.next()? {
                sum = sum.saturating_add(u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0));
                if sum > most_bytes {
                    return Ok(row.get::<_, i64>(0)?.saturating_add(1));
                }
            }
            Ok(i64::MIN)
        })
    }
}
