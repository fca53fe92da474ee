//! What happened in calls, one row per event, numbered within its call in the order of arrival.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::sql::Sql;
use crate::call::record::{CallEvent, EventKind, LegNumber, UtcMicros};

static INSERT: Sql = Sql::new(
    "INSERT INTO call_event (call_id, sequence, happened_at, leg, kind, detail)
     VALUES ($1, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM call_event WHERE call_id = $1), $2, $3, $4, $5)",
);

pub(super) fn insert(writing: &Connection, call: &str, event: &CallEvent) -> Result<(), StoreError> {
    let detail = detail(&event.kind)?;
    writing.prepare_cached(INSERT.sqlite())?.execute(params![
        call,
        event.at.0,
        event.leg.map(|leg| leg.0),
        event.kind.name(),
        detail
    ])?;
    Ok(())
}

/// The fields of an event as JSON, its kind among them; an event without fields has none.
fn detail(kind: &EventKind) -> Result<Option<String>, StoreError> {
    let text = serde_json::to_string(kind).map_err(|error| StoreError::Refused(error.to_string()))?;
    let bare = text.len() == r#"{"kind":""}"#.len() + kind.name().len();
    Ok((!bare).then_some(text))
}

static OF_CALL: Sql = Sql::new(
    "SELECT happened_at, leg, kind, detail FROM call_event WHERE call_id = $1 ORDER BY happened_at, sequence",
);

/// The events of a call in the order of time.
pub(super) fn of_call(reading: &Connection, call: &str) -> Result<Vec<CallEvent>, StoreError> {
    let mut statement = reading.prepare_cached(OF_CALL.sqlite())?;
    let rows = statement.query_map([call], event)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn event(row: &Row<'_>) -> rusqlite::Result<CallEvent> {
    let kind = match row.get::<_, Option<String>>(3)? {
        Some(detail) => serde_json::from_str(&detail),
        None => serde_json::from_value(serde_json::json!({ "kind": row.get::<_, String>(2)? })),
    };
    Ok(CallEvent {
        at: UtcMicros(row.get(0)?),
        leg: row.get::<_, Option<u16>>(1)?.map(LegNumber),
        kind: kind
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(error)))?,
    })
}
