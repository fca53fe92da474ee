//! `trunkline call export`: every call, streamed.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::ExportArgs;
use crate::call::record::{CallRecord, EndedBy, LegRecord, Party, UtcMicros};
use crate::store::Store;

pub(super) fn run(store: &dyn Store, args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if args.json {
        each(store, args, &mut |call| {
            serde_json::to_writer(&mut *out, call).map_err(std::io::Error::from)?;
            Ok(writeln!(out)?)
        })?;
    } else {
        let mut table = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        table.write_record(COLUMNS.map(|(name, _)| name))?;
        each(store, args, &mut |call| write_lines(call, &mut table))?;
        table.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands every wanted call to `write` and stops at its first error.
fn each(
    store: &dyn Store,
    args: &ExportArgs,
    write: &mut dyn FnMut(&CallRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut written = Ok(());
    store.export_calls(&args.wanted.filter(), &mut |call| {
        written = write(&call);
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    written
}

/// One line per leg other than the caller's; a call without such a leg has one line with empty leg columns.
fn write_lines<W: Write>(call: &CallRecord, table: &mut csv::Writer<W>) -> anyhow::Result<()> {
    let mut dialled = call
        .legs
        .iter()
        .filter(|leg| leg.party != Party::Caller)
        .peekable();
    if dialled.peek().is_none() {
        write_line(call, None, table)?;
    }
    dialled.try_for_each(|leg| write_line(call, Some(leg), table))
}

fn write_line<W: Write>(
    call: &CallRecord,
    leg: Option<&LegRecord>,
    table: &mut csv::Writer<W>,
) -> anyhow::Result<()> {
    let line = Line { call, leg };
    Ok(table.write_record(
        COLUMNS
            .iter()
            .map(|(_, cell)| harmless(cell(&line).unwrap_or_default())),
    )?)
}

struct Line<'a> {
    call: &'a CallRecord,
    leg: Option<&'a LegRecord>,
}

type Cell = fn(&Line<'_>) -> Option<String>;

/// Names and contents of the columns. Names stay; new ones are added at the end.
const COLUMNS: [(&str, Cell); 39] = [
    ("call_id", |line| Some(line.call.summary.id.to_string())),
    ("direction", |line| {
        Some(line.call.summary.direction.as_str().to_owned())
    }),
    ("started_at", |line| time(Some(line.call.summary.started_at))),
    ("answered_at", |line| time(line.call.summary.answered_at)),
    ("ended_at", |line| time(line.call.summary.ended_at)),
    ("number", |line| line.call.summary.route.number.clone()),
    ("trunk", |line| {
        line.call.summary.route.trunk.as_ref().map(ToString::to_string)
    }),
    ("campaign", |line| {
        line.call.summary.route.campaign.as_ref().map(ToString::to_string)
    }),
    ("flow", |line| line.call.summary.route.flow.clone()),
    ("flow_version", |line| text(line.call.summary.route.flow_version)),
    ("caller_hmac", |line| {
        line.call
            .summary
            .caller_hmac
            .as_ref()
            .map(|hmac| hmac.as_str().to_owned())
    }),
    ("language", |line| text(line.call.summary.language)),
    ("zip_prefix", |line| line.call.summary.zip.prefix.clone()),
    ("zip", |line| text(line.call.summary.zip.full)),
    ("data_version", |line| line.call.summary.data_version.clone()),
    ("disposition", |line| text(line.call.summary.disposition)),
    ("ended_by", |line| by(line.call.summary.ended_by)),
    ("leg", |line| text(line.leg.map(|leg| leg.leg.0))),
    ("target", |line| match &line.leg?.party {
        Party::Office { target, .. } => Some(target.to_string()),
        _ => None,
    }),
    ("office", |line| match &line.leg?.party {
        Party::Office { office, .. } => text(office.as_ref()),
        _ => None,
    }),
    ("office_number", |line| match &line.leg?.party {
        Party::Office { number, .. } => text(number.as_ref()),
        _ => None,
    }),
    ("leg_trunk", |line| text(line.leg?.trunk.as_ref())),
    ("choice", |line| Some(line.leg?.choice?.as_str().to_owned())),
    ("attempt", |line| text(line.leg.map(|leg| leg.attempt))),
    ("leg_started_at", |line| time(line.leg.map(|leg| leg.started_at))),
    ("leg_ringing_at", |line| time(line.leg?.end.as_ref()?.ringing_at)),
    ("leg_answered_at", |line| {
        time(line.leg?.end.as_ref()?.answered_at)
    }),
    ("leg_ended_at", |line| time(line.leg?.ended_at)),
    ("talk_seconds", |line| {
        seconds(line.leg?.end.as_ref()?.answered_at, line.leg?.ended_at)
    }),
    ("leg_disposition", |line| {
        text(Some(line.leg?.end.as_ref()?.disposition))
    }),
    ("leg_ended_by", |line| by(Some(line.leg?.end.as_ref()?.ended_by))),
    ("sip_status", |line| {
        text(line.leg?.end.as_ref()?.cause.sip_status)
    }),
    ("q850", |line| text(line.leg?.end.as_ref()?.cause.q850)),
    ("phrase", |line| {
        text(line.leg?.end.as_ref()?.cause.phrase.as_ref())
    }),
    ("evidence", |line| {
        Some(line.leg?.end.as_ref()?.evidence.as_str().to_owned())
    }),
    ("codec", |line| line.leg?.end.as_ref()?.media.codec.clone()),
    ("packets_sent", |line| {
        text(Some(line.leg?.end.as_ref()?.media.packets_sent))
    }),
    ("packets_received", |line| {
        text(Some(line.leg?.end.as_ref()?.media.packets_received))
    }),
    ("packets_lost", |line| {
        text(Some(line.leg?.end.as_ref()?.media.packets_lost))
    }),
];

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn time(at: Option<UtcMicros>) -> Option<String> {
    text(at.map(UtcMicros::timestamp))
}

fn by(by: Option<EndedBy>) -> Option<String> {
    by.map(|by| by.as_str().to_owned())
}

fn seconds(from: Option<UtcMicros>, to: Option<UtcMicros>) -> Option<String> {
    let milliseconds = to?.since(from?).max(0) / 1000;
    Some(format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000))
}

/// Keeps spreadsheets from running a cell as a formula: what begins like one gets an apostrophe in front. A plain
/// number with its sign, such as a telephone number, stays as it is.
fn harmless(cell: String) -> String {
    let number = cell
        .strip_prefix(['+', '-'])
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if !number && cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']) {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_look_like_formulas_are_made_harmless() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("\tx", "'\tx"),
            ("+12025550100", "+12025550100"),
            ("-5", "-5"),
            ("Busy Here", "Busy Here"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell.to_owned()), written);
        }
    }

    #[test]
    fn column_names_are_distinct() {
        let names: std::collections::BTreeSet<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
