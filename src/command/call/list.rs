//! `trunkline call list`: one line per call.

use std::io::Write;
use std::process::ExitCode;

use jiff::tz::TimeZone;

use super::ListArgs;
use super::words::{clock, length};
use crate::call::record::CallSummary;
use crate::store::{CallFilter, Store};

pub(super) fn run(
    store: &dyn Store,
    args: &ListArgs,
    zone: &TimeZone,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let filter = CallFilter {
        after: args.after,
        limit: Some(args.limit),
        ..args.wanted.filter()
    };
    let page = store.calls(&filter)?;
    if args.json {
        for call in &page.calls {
            serde_json::to_writer(&mut *out, call)?;
            writeln!(out)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if page.calls.is_empty() {
        let wanted = filter.since.is_some()
            || filter.until.is_some()
            || filter.campaign.is_some()
            || filter.disposition.is_some();
        let words = if wanted {
            "No call fits."
        } else {
            "No calls yet. They appear here from their first ring on."
        };
        writeln!(out, "{words}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "{:<19}  {:>7}  {:<16}  {:<36}  WHAT BECAME OF IT",
        "BEGAN", "LENGTH", "CAMPAIGN", "CALL"
    )?;
    for call in &page.calls {
        line(call, zone, out)?;
    }
    if let Some(next) = page.next {
        writeln!(out, "More: --after {next}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(call: &CallSummary, zone: &TimeZone, out: &mut dyn Write) -> std::io::Result<()> {
    let lasted = call
        .ended_at
        .map_or_else(|| "…".to_owned(), |end| length(end.since(call.started_at)));
    let campaign = call.route.campaign.as_ref().map(|campaign| campaign.as_str());
    let flow = call.route.flow.as_ref().map(|flow| format!("flow {flow}"));
    let led_to = campaign
        .map(str::to_owned)
        .or(flow)
        .unwrap_or_else(|| "-".to_owned());
    let became = call
        .disposition
        .map_or("still going on", |disposition| disposition.words());
    writeln!(
        out,
        "{:<19}  {lasted:>7}  {led_to:<16}  {}  {became}",
        clock(call.started_at, zone),
        call.id
    )
}
