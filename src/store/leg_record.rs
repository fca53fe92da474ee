//! The legs of calls.

use rusqlite::{Connection, Row, params};

use super::call_record::{needed, parsed};
use super::error::StoreError;
use super::sql::Sql;
use crate::call::disposition::LegDisposition;
use crate::call::record::{
    Cause, Choice, EndedBy, EvidenceSource, LegClosed, LegNumber, LegOpened, LegOutcome, LegRecord,
    MediaSummary, Party, Phrase, UtcMicros,
};
use crate::units::{OfficeId, PhoneNumber, TargetId, TrunkName};

static OPEN: Sql = Sql::new(
    "INSERT INTO leg_record (call_id, leg, direction, party, target_id, office_id, number, trunk, choice, attempt,
        caller_id_policy, started_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (call_id, leg) DO NOTHING",
);

pub(super) fn open(writing: &Connection, call: &str, opened: &LegOpened) -> Result<(), StoreError> {
    let (party, target, office, number) = match &opened.party {
        Party::Caller => ("caller", None, None, None),
        Party::Route => ("route", None, None, None),
        Party::Office {
            target,
            office,
            number,
        } => ("office", Some(target), office.as_ref(), number.as_ref()),
    };
    writing.prepare_cached(OPEN.sqlite())?.execute(params![
        call,
        opened.leg.0,
        opened.direction.as_str(),
        party,
        target.map(TargetId::as_str),
        office.map(OfficeId::as_str),
        number.map(PhoneNumber::as_str),
        opened.trunk.as_ref().map(TrunkName::as_str),
        opened.choice.map(Choice::as_str),
        opened.attempt,
        opened.caller_id_policy,
        opened.at.0,
    ])?;
    Ok(())
}

static CLOSE: Sql = Sql::new(
    "UPDATE leg_record SET ringing_at = $3, answered_at = $4, ended_at = $5, disposition = $6, ended_by = $7,
        sip_status = $8, q850 = $9, phrase = $10, evidence = $11, confidence = $12, codec = $13,
        packets_sent = $14, packets_received = $15, packets_lost = $16, jitter_microseconds = $17
     WHERE call_id = $1 AND leg = $2 AND ended_at IS NULL",
);

pub(super) fn close(writing: &Connection, call: &str, closed: &LegClosed) -> Result<(), StoreError> {
    let (cause, media) = (&closed.cause, &closed.media);
    writing.prepare_cached(CLOSE.sqlite())?.execute(params![
        call,
        closed.leg.0,
        closed.ringing_at.map(|at| at.0),
        closed.answered_at.map(|at| at.0),
        closed.at.0,
        closed.disposition.as_str(),
        closed.ended_by.as_str(),
        cause.sip_status,
        cause.q850,
        cause.phrase.as_ref().map(Phrase::as_str),
        closed.evidence.as_str(),
        closed.confidence,
        media.codec,
        count(media.packets_sent),
        count(media.packets_received),
        count(media.packets_lost),
        media.jitter_microseconds,
    ])?;
    Ok(())
}

fn count(packets: u64) -> i64 {
    i64::try_from(packets).unwrap_or(i64::MAX)
}

/// A leg that a crash left open ends with the last event of its call; its ringing and answer are in its events.
static CLOSE_OPEN: Sql = Sql::new(
    "UPDATE leg_record SET disposition = $1, ended_by = $2, evidence = $3, confidence = 100,
        packets_sent = 0, packets_received = 0, packets_lost = 0, jitter_microseconds = 0,
        ended_at = COALESCE((SELECT MAX(happened_at) FROM call_event WHERE call_event.call_id = leg_record.call_id
            AND happened_at >= leg_record.started_at), started_at),
        ringing_at = (SELECT MIN(happened_at) FROM call_event WHERE call_event.call_id = leg_record.call_id
            AND call_event.leg = leg_record.leg AND kind = 'ringing'),
        answered_at = (SELECT MIN(happened_at) FROM call_event WHERE call_event.call_id = leg_record.call_id
            AND call_event.leg = leg_record.leg AND kind = 'answered')
     WHERE call_id = $4 AND ended_at IS NULL",
);

pub(super) fn close_open(writing: &Connection, call: &str) -> Result<(), StoreError> {
    writing.prepare_cached(CLOSE_OPEN.sqlite())?.execute(params![
        LegDisposition::SystemError.as_str(),
        EndedBy::Server.as_str(),
        EvidenceSource::Signal.as_str(),
        call,
    ])?;
    Ok(())
}

static OF_CALL: Sql = Sql::new(
    "SELECT leg, direction, party, target_id, office_id, number, trunk, choice, attempt, caller_id_policy,
        started_at, ringing_at, answered_at, ended_at, disposition, ended_by, sip_status, q850, phrase, evidence,
        confidence, codec, packets_sent, packets_received, packets_lost, jitter_microseconds
     FROM leg_record WHERE call_id = $1 ORDER BY leg",
);

/// The legs of a call, first to last.
pub(super) fn of_call(reading: &Connection, call: &str) -> Result<Vec<LegRecord>, StoreError> {
    let mut statement = reading.prepare_cached(OF_CALL.sqlite())?;
    let rows = statement.query_map([call], leg)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn leg(row: &Row<'_>) -> rusqlite::Result<LegRecord> {
    let ended_at = row.get::<_, Option<i64>>("ended_at")?.map(UtcMicros);
    Ok(LegRecord {
        leg: LegNumber(row.get("leg")?),
        direction: needed(row, "direction")?,
        party: party(row)?,
        trunk: row.get::<_, Option<String>>("trunk")?.map(TrunkName::new),
        choice: parsed(row, "choice")?,
        attempt: row.get("attempt")?,
        caller_id_policy: row.get("caller_id_policy")?,
        started_at: UtcMicros(row.get("started_at")?),
        ended_at,
        end: ended_at.map(|_| outcome(row)).transpose()?,
    })
}

fn party(row: &Row<'_>) -> rusqlite::Result<Party> {
    let target = row.get::<_, Option<String>>("target_id")?.map(TargetId::new);
    Ok(match (row.get::<_, String>("party")?.as_str(), target) {
        ("office", Some(target)) => Party::Office {
            target,
            office: row.get::<_, Option<String>>("office_id")?.map(OfficeId::new),
            number: parsed(row, "number")?,
        },
        ("caller", _) => Party::Caller,
        _ => Party::Route,
    })
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<LegOutcome> {
    Ok(LegOutcome {
        ringing_at: row.get::<_, Option<i64>>("ringing_at")?.map(UtcMicros),
        answered_at: row.get::<_, Option<i64>>("answered_at")?.map(UtcMicros),
        disposition: needed(row, "disposition")?,
        ended_by: needed(row, "ended_by")?,
        cause: Cause {
            sip_status: row.get("sip_status")?,
            q850: row.get("q850")?,
            phrase: row.get::<_, Option<String>>("phrase")?.map(Phrase::from),
        },
        evidence: needed(row, "evidence")?,
        confidence: row.get("confidence")?,
        media: MediaSummary {
            codec: row.get("codec")?,
            packets_sent: packets(row, "packets_sent")?,
            packets_received: packets(row, "packets_received")?,
            packets_lost: packets(row, "packets_lost")?,
            jitter_microseconds: row.get("jitter_microseconds")?,
        },
    })
}

fn packets(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
