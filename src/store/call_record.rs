//! Calls: built up by changes, listed, shown, exported, and closed after a crash.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::StoreError;
use super::sql::{Sql, for_sqlite};
use super::sqlite::SqliteStore;
use super::{call_event, call_trace, leg_record};
use crate::call::disposition::SessionDisposition;
use crate::call::record::{
    CallClosed, CallDetails, CallEvent, CallOpened, CallRecord, CallSummary, EndedBy, EventKind, KeptZip,
    RecordChange, Route, UtcMicros,
};
use crate::units::{CallId, CampaignId, TrunkName};

/// Most calls that one page holds.
const PAGE_LIMIT: u32 = 1000;

/// Calls fetched at once by an export. Each batch is a short read, so that a long export never keeps the
/// write-ahead log from being folded back.
const EXPORT_BATCH: u32 = 256;

/// Call records.
pub trait CallStore {
    /// Applies changes in order, all or none. A change that was applied before, or that concerns a call or leg
    /// already closed, does nothing, so a batch may be repeated; a trace takes the place of an earlier one.
    fn apply(&self, changes: &[RecordChange]) -> Result<(), StoreError>;

    /// Closes the calls and legs that a crash left open as `system_error` and tells how many calls there were.
    /// They end at the last moment something is known of them; `at` is when that was found out.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process serves calls from this database: the calls are its own.
    fn close_open_calls(&self, at: UtcMicros) -> Result<u64, StoreError>;

    /// Calls from the newest to the oldest.
    fn calls(&self, filter: &CallFilter) -> Result<CallPage, StoreError>;

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError>;

    /// Hands over calls with legs and events from the oldest to the newest, until told to stop. `limit` is not
    /// applied. Memory does not grow with the number of calls.
    fn export_calls(
        &self,
        filter: &CallFilter,
        each: &mut dyn FnMut(CallRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// Which calls are wanted. Empty fields want all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFilter {
    /// Started at or after.
    pub since: Option<UtcMicros>,
    /// Started before.
    pub until: Option<UtcMicros>,
    pub campaign: Option<CampaignId>,
    pub disposition: Option<SessionDisposition>,
    /// Go on after this call.
    pub after: Option<Cursor>,
    /// Calls on a page: 50 when `None`, at most 1,000.
    pub limit: Option<u32>,
}

/// Some calls, and where the next ones begin if there are more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPage {
    pub calls: Vec<CallSummary>,
    pub next: Option<Cursor>,
}

/// A place in a list of calls; prints and reads as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    started_at: UtcMicros,
    id: CallId,
}

/// Text that was not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a place in a list of calls")]
pub struct NotACursor(String);

impl Cursor {
    fn of(call: &CallSummary) -> Self {
        Self {
            started_at: call.started_at,
            id: call.id,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.started_at.0, self.id)
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let parts = text
            .split_once('_')
            .and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
        let (started_at, id) = parts.ok_or_else(|| NotACursor(text.to_owned()))?;
        Ok(Self {
            started_at: UtcMicros(started_at),
            id,
        })
    }
}

impl CallStore for SqliteStore {
    fn apply(&self, changes: &[RecordChange]) -> Result<(), StoreError> {
        self.write(|writing| changes.iter().try_for_each(|change| apply(writing, change)))
    }

    fn close_open_calls(&self, at: UtcMicros) -> Result<u64, StoreError> {
        self.claim()?;
        self.write(|writing| {
            let mut statement = writing.prepare_cached(OPEN.sqlite())?;
            let open = statement
                .query_map([], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()?;
            for id in &open {
                leg_record::close_open(writing, id)?;
                writing.prepare_cached(CLOSE_OPEN.sqlite())?.execute(params![
                    id,
                    SessionDisposition::SystemError.as_str(),
                    EndedBy::Server.as_str()
                ])?;
                call_event::insert(
                    writing,
                    id,
                    &CallEvent {
                        at,
                        leg: None,
                        kind: EventKind::Recovered,
                    },
                )?;
            }
            Ok(open.len() as u64)
        })
    }

    fn calls(&self, filter: &CallFilter) -> Result<CallPage, StoreError> {
        let limit = filter.limit.unwrap_or(50).clamp(1, PAGE_LIMIT);
        let mut calls = self.read(|reading| page(reading, filter, Order::NewestFirst, limit + 1))?;
        let more = calls.len() > limit as usize;
        calls.truncate(limit as usize);
        let next = calls.last().filter(|_| more).map(Cursor::of);
        Ok(CallPage { calls, next })
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.read(|reading| {
            let mut statement = reading.prepare_cached(SELECT_ONE.sqlite())?;
            let found = statement.query_row([id.to_string()], summary).optional()?;
            found.map(|summary| record(reading, summary)).transpose()
        })
    }

    fn export_calls(
        &self,
        filter: &CallFilter,
        each: &mut dyn FnMut(CallRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut filter = filter.clone();
        loop {
            let records = self.read(|reading| {
                let calls = page(reading, &filter, Order::OldestFirst, EXPORT_BATCH)?;
                calls
                    .into_iter()
                    .map(|call| record(reading, call))
                    .collect::<Result<Vec<_>, _>>()
            })?;
            let Some(last) = records.last() else { return Ok(()) };
            filter.after = Some(Cursor::of(&last.summary));
            for record in records {
                if each(record).is_break() {
                    return Ok(());
                }
            }
        }
    }
}

fn apply(writing: &Connection, change: &RecordChange) -> Result<(), StoreError> {
    let call = change.call().to_string();
    match change {
        RecordChange::CallOpened(opened) => open(writing, &call, opened),
        RecordChange::CallDetails { details, .. } => note(writing, &call, details),
        RecordChange::CallClosed(closed) => {
            note(writing, &call, &closed.details)?;
            close(writing, &call, closed)
        }
        RecordChange::LegOpened(opened) => leg_record::open(writing, &call, opened),
        RecordChange::LegClosed(closed) => leg_record::close(writing, &call, closed),
        RecordChange::Events { events, .. } => events
            .iter()
            .try_for_each(|event| call_event::insert(writing, &call, event)),
        RecordChange::Traced(kept) => call_trace::put(writing, &call, kept),
    }
}

static OPEN_CALL: Sql = Sql::new(
    "INSERT INTO call_record (id, direction, started_at, number, trunk, campaign, flow, flow_version, caller_hmac,
        sip_call_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
);

fn open(writing: &Connection, call: &str, opened: &CallOpened) -> Result<(), StoreError> {
    let route = &opened.route;
    writing.prepare_cached(OPEN_CALL.sqlite())?.execute(params![
        call,
        opened.direction.as_str(),
        opened.at.0,
        route.number,
        route.trunk.as_ref().map(TrunkName::as_str),
        route.campaign.as_ref().map(CampaignId::as_str),
        route.flow,
        route.flow_version,
        opened.caller.as_ref().map(|hmac| hmac.as_str()),
        opened.sip_call_id,
    ])?;
    Ok(())
}

static NOTE_DETAILS: Sql = Sql::new(
    "UPDATE call_record SET answered_at = COALESCE($2, answered_at), campaign = COALESCE($3, campaign),
        flow = COALESCE($4, flow), flow_version = COALESCE($5, flow_version), language = COALESCE($6, language),
        zip_prefix = COALESCE($7, zip_prefix), zip = COALESCE($8, zip), data_version = COALESCE($9, data_version)
     WHERE id = $1",
);

fn note(writing: &Connection, call: &str, details: &CallDetails) -> Result<(), StoreError> {
    if *details == CallDetails::default() {
        return Ok(());
    }
    let zip = details.zip.as_ref();
    writing.prepare_cached(NOTE_DETAILS.sqlite())?.execute(params![
        call,
        details.answered_at.map(|at| at.0),
        details.campaign.as_ref().map(CampaignId::as_str),
        details.flow,
        details.flow_version,
        details.language.as_ref().map(|language| language.as_str()),
        zip.and_then(|zip| zip.prefix.as_deref()),
        zip.and_then(|zip| zip.full.as_ref()).map(|zip| zip.as_str()),
        details.data_version,
    ])?;
    Ok(())
}

static CLOSE: Sql = Sql::new(
    "UPDATE call_record SET ended_at = $2, disposition = $3, ended_by = $4 WHERE id = $1 AND ended_at IS NULL",
);

fn close(writing: &Connection, call: &str, closed: &CallClosed) -> Result<(), StoreError> {
    writing.prepare_cached(CLOSE.sqlite())?.execute(params![
        call,
        closed.at.0,
        closed.disposition.as_str(),
        closed.ended_by.as_str()
    ])?;
    Ok(())
}

static OPEN: Sql = Sql::new("SELECT id FROM call_record WHERE ended_at IS NULL ORDER BY id");

static CLOSE_OPEN: Sql = Sql::new(
    "UPDATE call_record SET disposition = $2, ended_by = $3, ended_at = (
        SELECT MAX(known.at) FROM (
            SELECT call_record.started_at AS at
            UNION ALL SELECT call_record.answered_at
            UNION ALL SELECT happened_at FROM call_event WHERE call_id = $1
            UNION ALL SELECT started_at FROM leg_record WHERE call_id = $1
            UNION ALL SELECT ended_at FROM leg_record WHERE call_id = $1
        ) AS known)
     WHERE id = $1",
);

const COLUMNS: &str = "id, direction, started_at, answered_at, ended_at, number, trunk, campaign, flow, \
    flow_version, caller_hmac, language, zip_prefix, zip, data_version, disposition, ended_by, sip_call_id";

static SELECT_ONE: Sql = Sql::new(
    "SELECT id, direction, started_at, answered_at, ended_at, number, trunk, campaign, flow,
        flow_version, caller_hmac, language, zip_prefix, zip, data_version, disposition, ended_by, sip_call_id
     FROM call_record WHERE id = $1",
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

fn page(
    reading: &Connection,
    filter: &CallFilter,
    order: Order,
    limit: u32,
) -> Result<Vec<CallSummary>, StoreError> {
    let (beyond, direction) = match order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    };
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut want = |condition: &str, value: Box<dyn ToSql>| {
        values.push(value);
        conditions.push(format!("{condition} ${}", values.len()));
    };
    if let Some(since) = filter.since {
        want("started_at >=", Box::new(since.0));
    }
    if let Some(until) = filter.until {
        want("started_at <", Box::new(until.0));
    }
    if let Some(campaign) = &filter.campaign {
        want("campaign =", Box::new(campaign.as_str().to_owned()));
    }
    if let Some(disposition) = filter.disposition {
        want("disposition =", Box::new(disposition.as_str()));
    }
    if let Some(Cursor { started_at, id }) = filter.after {
        values.extend([Box::new(started_at.0) as Box<dyn ToSql>, Box::new(id.to_string())]);
        let at = values.len();
        conditions.push(format!("(started_at, id) {beyond} (${}, ${at})", at - 1));
    }
    values.push(Box::new(limit));
    let wanted = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    };
    let text = format!(
        "SELECT {COLUMNS} FROM call_record {wanted} ORDER BY started_at {direction}, id {direction} LIMIT ${}",
        values.len()
    );
    let mut statement = reading.prepare_cached(&for_sqlite(&text))?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), summary)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(reading: &Connection, summary: CallSummary) -> Result<CallRecord, StoreError> {
    let call = summary.id.to_string();
    let legs = leg_record::of_call(reading, &call)?;
    let events = call_event::of_call(reading, &call)?;
    Ok(CallRecord {
        summary,
        legs,
        events,
    })
}

fn summary(row: &Row<'_>) -> rusqlite::Result<CallSummary> {
    Ok(CallSummary {
        id: needed(row, "id")?,
        direction: needed(row, "direction")?,
        started_at: UtcMicros(row.get("started_at")?),
        answered_at: row.get::<_, Option<i64>>("answered_at")?.map(UtcMicros),
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(UtcMicros),
        route: Route {
            number: row.get("number")?,
            trunk: row.get::<_, Option<String>>("trunk")?.map(TrunkName::new),
            campaign: row.get::<_, Option<String>>("campaign")?.map(CampaignId::new),
            flow: row.get("flow")?,
            flow_version: row.get("flow_version")?,
        },
        caller_hmac: parsed(row, "caller_hmac")?,
        language: parsed(row, "language")?,
        zip: KeptZip {
            prefix: row.get("zip_prefix")?,
            full: parsed(row, "zip")?,
        },
        data_version: row.get("data_version")?,
        disposition: parsed(row, "disposition")?,
        ended_by: parsed(row, "ended_by")?,
        sip_call_id: row.get("sip_call_id")?,
    })
}

/// A column that may be NULL, read by the type's own reader.
pub(super) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    let index = row.as_ref().column_index(column)?;
    let unreadable = |error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error));
    text.parse().map(Some).map_err(unreadable)
}

/// A column that is never NULL, read by the type's own reader.
pub(super) fn needed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    parsed(row, column)?.ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(
            row.as_ref().column_index(column).unwrap_or(0),
            column.to_owned(),
            Type::Null,
        )
    })
}
