//! `trunkline call show`: one call as a timeline and a table of its legs.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;

use super::canvas::Screen;
use super::words::{cause, clock, ended_by, event, length, offset, party, who};
use super::{ShowArgs, trace};
use crate::call::record::{CallRecord, Direction, LegRecord, Party};
use crate::store::{CallFilter, Store};
use crate::units::CallId;

/// Fewer characters of an id name no call: those of one day begin alike.
const SHORTEST_BEGINNING: usize = 6;

pub(super) fn run(
    store: &dyn Store,
    args: &ShowArgs,
    zone: &TimeZone,
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let id = find(store, &args.id)?;
    let Some(call) = store.call(id)? else {
        bail!("there is no call {id}")
    };
    if args.ladder || args.full || args.pcap.is_some() {
        return trace::run(store, &call, args, screen, out);
    }
    if args.json {
        serde_json::to_writer(&mut *out, &call)?;
        writeln!(out)?;
    } else {
        heading(&call, zone, out)?;
        timeline(&call, out)?;
        legs(&call, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn find(store: &dyn Store, text: &str) -> anyhow::Result<CallId> {
    if text != "last" {
        return match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => find_beginning(store, text),
        };
    }
    let newest = store.calls(&CallFilter {
        limit: Some(1),
        ..CallFilter::default()
    })?;
    newest
        .calls
        .first()
        .map(|call| call.id)
        .context("there are no calls yet")
}

/// The one call whose id begins so.
fn find_beginning(store: &dyn Store, text: &str) -> anyhow::Result<CallId> {
    let text = text.to_ascii_lowercase();
    let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    if text.len() < SHORTEST_BEGINNING || !text.bytes().all(is_id) {
        bail!(
            "{text} is no call: write the id as `trunkline call list` shows it, its first {SHORTEST_BEGINNING} or more \
             characters, or \"last\""
        );
    }
    let mut filter = CallFilter {
        limit: Some(1000),
        ..CallFilter::default()
    };
    let mut found = None;
    loop {
        let page = store.calls(&filter)?;
        let fitting = page.calls.iter().map(|call| call.id);
        for id in fitting.filter(|id| id.to_string().starts_with(&text)) {
            if let Some(other) = found.replace(id) {
                bail!("{text} begins the ids of several calls, such as {other} and {id}");
            }
        }
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return found.with_context(|| format!("there is no call {text}…")),
        }
    }
}

fn heading(call: &CallRecord, zone: &TimeZone, out: &mut dyn Write) -> std::io::Result<()> {
    let summary = &call.summary;
    let way = match summary.direction {
        Direction::Inbound => "to us",
        Direction::Outbound => "from us",
    };
    let lasted = summary.ended_at.map_or_else(
        || "still going on".to_owned(),
        |end| format!("lasted {}", length(end.since(summary.started_at))),
    );
    let zone_name = zone.iana_name().unwrap_or("local time");
    writeln!(out, "Call {}", summary.id)?;
    writeln!(
        out,
        "  {way}, began {} ({zone_name}), {lasted}",
        clock(summary.started_at, zone)
    )?;
    let route = &summary.route;
    let version = route
        .flow_version
        .map(|version| format!(" version {version}"))
        .unwrap_or_default();
    let facts = [
        ("number", route.number.clone()),
        ("trunk", route.trunk.as_ref().map(ToString::to_string)),
        ("campaign", route.campaign.as_ref().map(ToString::to_string)),
        ("flow", route.flow.as_ref().map(|flow| format!("{flow}{version}"))),
        ("language", summary.language.map(|language| language.to_string())),
        ("ZIP code", zip(call)),
        ("directory", summary.data_version.clone()),
    ];
    let told: Vec<String> = facts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)))
        .collect();
    if !told.is_empty() {
        writeln!(out, "  {}", told.join(", "))?;
    }
    if let Some(disposition) = summary.disposition {
        let by = summary
            .ended_by
            .map(|by| format!(", by {}", ended_by(by)))
            .unwrap_or_default();
        writeln!(
            out,
            "  The call ended: {} ({disposition}){by}",
            disposition.words()
        )?;
    }
    Ok(())
}

fn zip(call: &CallRecord) -> Option<String> {
    let zip = &call.summary.zip;
    zip.full
        .map(|zip| zip.to_string())
        .or_else(|| zip.prefix.as_ref().map(|prefix| format!("{prefix}..")))
}

fn timeline(call: &CallRecord, out: &mut dyn Write) -> std::io::Result<()> {
    if call.events.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat happened")?;
    let names: Vec<String> = call.events.iter().map(|event| who(call, event.leg)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (happened, name) in call.events.iter().zip(&names) {
        let at = offset(happened.at.since(call.summary.started_at));
        writeln!(out, "  {at:>11}  {name:<width$}  {}", event(&happened.kind))?;
    }
    Ok(())
}

fn legs(call: &CallRecord, out: &mut dyn Write) -> std::io::Result<()> {
    if call.legs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nLegs")?;
    let heading = [
        "",
        "WHO",
        "NUMBER",
        "RANG",
        "TALKED",
        "SENT",
        "RECEIVED",
        "LOST",
        "WHAT BECAME OF IT",
    ];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(call.legs.iter().map(row));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    for row in &rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let right = (3..=7).contains(&column);
            line += &if right {
                format!(" {cell:>width$} ")
            } else {
                format!(" {cell:<width$} ")
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(leg: &LegRecord) -> [String; 9] {
    let number = match &leg.party {
        Party::Office {
            number: Some(number), ..
        } => number.to_string(),
        _ => String::new(),
    };
    let Some(end) = &leg.end else {
        let empty = String::new;
        let open = "still open".to_owned();
        return [
            leg.leg.0.to_string(),
            party(leg),
            number,
            empty(),
            empty(),
            empty(),
            empty(),
            empty(),
            open,
        ];
    };
    let ended_at = leg.ended_at.unwrap_or(leg.started_at);
    let rang = end
        .ringing_at
        .map(|at| length(end.answered_at.unwrap_or(ended_at).since(at)));
    let talked = end.answered_at.map(|at| length(ended_at.since(at)));
    let codes = cause(&end.cause);
    let because = if codes.is_empty() {
        codes
    } else {
        format!(", {codes}")
    };
    [
        leg.leg.0.to_string(),
        party(leg),
        number,
        rang.unwrap_or_default(),
        talked.unwrap_or_default(),
        end.media.packets_sent.to_string(),
        end.media.packets_received.to_string(),
        end.media.packets_lost.to_string(),
        format!(
            "{} ({}{because}), by {}",
            end.disposition.words(),
            end.disposition,
            ended_by(end.ended_by)
        ),
    ]
}
