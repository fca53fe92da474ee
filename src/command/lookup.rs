//! `trunkline lookup`: who a ZIP code reaches, at which offices, open or closed and until when.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::call::StoreArgs;
use super::directory::named_or_built_in;
use super::output;
use crate::directory::{
    Confidence, Directory, DistrictShare, HoursBasis, Located, Office, OpenState, Rule, Target, ZipKind,
    facts,
};
use crate::units::{State, Zip};

/// Who a ZIP code reaches, at which offices, open or closed and until when. Without a configuration it reads the
/// directory built into the program.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Five digits
    zip: Zip,
    /// The moment to ask about, as 2026-11-25T14:30:00Z or with an offset; now, if not given
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// # Errors
/// When the directory cannot be read or standard output not be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let directory = named_or_built_in(&args.store)?;
    let at = args.at.unwrap_or_else(Timestamp::now);
    let answer = match args.json {
        true => json(&directory, args.zip, at)?,
        false => text(&directory, args.zip, at),
    };
    output::text(&answer)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Answer<'a> {
    zip: Zip,
    kind: ZipKind,
    states: Vec<State>,
    districts: Vec<DistrictShare>,
    targets: Vec<TargetAnswer<'a>>,
    rule: Rule,
    confidence: Confidence,
}

#[derive(Serialize)]
struct TargetAnswer<'a> {
    id: &'a str,
    name: &'a str,
    title: &'static str,
    chamber: &'static str,
    state: State,
    district: Option<u8>,
    party: &'a str,
    offices: Vec<OfficeAnswer<'a>>,
}

#[derive(Serialize)]
struct OfficeAnswer<'a> {
    id: &'a str,
    name: &'a str,
    phone: Option<&'a str>,
    timezone: &'a str,
    open: bool,
    /// When it closes, or next opens, in the office's own offset; null if it does not open within four weeks.
    until: Option<String>,
    kind: &'static str,
    hours: String,
    hours_basis: HoursBasis,
}

/// The answer as product.md's JSON document, with a newline.
fn json(directory: &Directory, zip: Zip, at: Timestamp) -> anyhow::Result<String> {
    let located = directory.locate(zip);
    let targets = directory.targets_of(&located);
    let answer = Answer {
        zip,
        kind: located.kind,
        states: located.states,
        districts: located.districts,
        targets: targets
            .into_iter()
            .map(|target| target_answer(directory, target, zip, at))
            .collect(),
        rule: located.rule,
        confidence: located.confidence,
    };
    Ok(serde_json::to_string(&answer)? + "\n")
}

fn target_answer<'a>(directory: &Directory, target: &'a Target, zip: Zip, at: Timestamp) -> TargetAnswer<'a> {
    TargetAnswer {
        id: target.id.as_str(),
        name: &target.name,
        title: target.title.words(),
        chamber: target.chamber.as_str(),
        state: target.state,
        district: target.district,
        party: &target.party,
        offices: nearest_first(directory, target, zip)
            .map(|office| office_answer(directory, office, at))
            .collect(),
    }
}

fn office_answer<'a>(directory: &Directory, office: &'a Office, at: Timestamp) -> OfficeAnswer<'a> {
    let state = directory.open_state(office, at);
    OfficeAnswer {
        id: office.id.as_str(),
        name: &office.name,
        phone: office.phone.as_ref().map(|phone| phone.as_str()),
        timezone: office.timezone_name(),
        open: state.is_open(),
        until: change(state).map(|change| {
            change
                .to_zoned(office.timezone.clone())
                .strftime("%FT%T%:z")
                .to_string()
        }),
        kind: office.kind.as_str(),
        hours: office.hours.to_string(),
        hours_basis: office.hours_basis,
    }
}

/// Washington, then the offices at home, the nearest to the ZIP code first.
fn nearest_first<'a>(
    directory: &Directory,
    target: &'a Target,
    zip: Zip,
) -> impl Iterator<Item = &'a Office> {
    let at_home = directory
        .nearest_offices(target, zip)
        .into_iter()
        .map(|near| near.office);
    target.capitol_office().into_iter().chain(at_home)
}

fn change(state: OpenState) -> Option<Timestamp> {
    match state {
        OpenState::Open { until } => Some(until),
        OpenState::Closed { opens } => opens,
    }
}

/// The answer for a person.
fn text(directory: &Directory, zip: Zip, at: Timestamp) -> String {
    let located = directory.locate(zip);
    let mut lines = vec![place(&located)];
    for part in &located.districts {
        let split = located.districts.len() > 1 && located.confidence > Confidence::Low;
        lines.push(district_line(part, split));
    }
    let targets = directory.targets_of(&located);
    for target in targets {
        lines.push(String::new());
        lines.push(target_line(target));
        lines.extend(nearest_first(directory, target, zip).map(|office| office_line(directory, office, at)));
    }
    if let Some(note) = note(&located) {
        lines.extend([String::new(), note.to_owned()]);
    }
    lines.join("\n") + "\n"
}

fn place(located: &Located) -> String {
    let names = |states: &[State]| -> String {
        let name =
            |state: &State| facts(*state).map_or_else(|| state.to_string(), |facts| facts.name.to_owned());
        states.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let zip = located.zip;
    match located.kind {
        ZipKind::Unknown => format!("{zip} is not a ZIP code that the directory knows."),
        ZipKind::Military => format!("{zip} is a ZIP code of the armed forces or an embassy."),
        ZipKind::PoBox => format!(
            "{zip} is in {}; no residents are known there.",
            names(&located.states)
        ),
        _ => format!("{zip} is in {}.", names(&located.states)),
    }
}

fn district_line(part: &DistrictShare, split: bool) -> String {
    let name = match part.district {
        0 => format!("{} at large", part.state),
        number => format!("{}-{number}", part.state),
    };
    let share = if split {
        format!("  {:5.1} % of its people", part.share * 100.0)
    } else {
        String::new()
    };
    let vacant = if part.vacant { "  (the seat is vacant)" } else { "" };
    format!("  district {name}{share}{vacant}")
}

fn target_line(target: &Target) -> String {
    let seat = match target.district {
        None => target.state.to_string(),
        Some(0) => format!("{} at large", target.state),
        Some(number) => format!("{}-{number}", target.state),
    };
    let caucus = target
        .caucus
        .as_ref()
        .map(|caucus| format!(", sits with the {caucus}s"))
        .unwrap_or_default();
    format!(
        "{} {}, {seat} ({}{caucus})",
        target.title.words(),
        target.name,
        target.party
    )
}

fn office_line(directory: &Directory, office: &Office, at: Timestamp) -> String {
    let phone = office
        .phone
        .as_ref()
        .map_or_else(|| "no number".to_owned(), |phone| grouped(phone.as_str()));
    let local = |instant: Timestamp| {
        let now = at.to_zoned(office.timezone.clone());
        let then = instant.to_zoned(office.timezone.clone());
        let format = if now.date() == then.date() {
            "%H:%M %Z"
        } else {
            "%a %-d %b %H:%M %Z"
        };
        then.strftime(format).to_string()
    };
    let state = match directory.open_state(office, at) {
        OpenState::Open { until } => format!("open until {}", local(until)),
        OpenState::Closed { opens: Some(opens) } => format!("closed, opens {}", local(opens)),
        OpenState::Closed { opens: None } => "closed".to_owned(),
    };
    let basis = match (office.hours_basis, office.by_appointment) {
        (HoursBasis::Unclear, _) => "  (hours not clear, usual ones assumed)",
        (_, true) => "  (visits by appointment)",
        _ => "",
    };
    let name: String = office.name.chars().take(22).collect();
    format!("  {name:<22} {phone:<15} {state}{basis}")
}

/// `+1 202-555-0100`
fn grouped(number: &str) -> String {
    match number.strip_prefix("+1") {
        Some(rest) if rest.len() == 10 => format!("+1 {}-{}-{}", &rest[..3], &rest[3..6], &rest[6..]),
        _ => number.to_owned(),
    }
}

fn note(located: &Located) -> Option<&'static str> {
    match (located.kind, located.rule, located.confidence) {
        (ZipKind::Unknown, ..) => {
            Some("Check the five digits. The Postal Service adds and retires a few ZIP codes every month.")
        }
        (ZipKind::Military, ..) => Some("Use the ZIP code of the address where you vote."),
        (ZipKind::FreelyAssociated, ..) => Some("It is a sovereign country and has no member of Congress."),
        (_, Rule::Prefix, _) => {
            Some("The ZIP code is not in the table: its first three digits gave the state.")
        }
        (ZipKind::PoBox, _, Confidence::Medium) => {
            Some("Without residents the ZIP code has no district of its own: only the senators are sure.")
        }
        (_, _, Confidence::Low) => Some("How its people are spread over these districts is not known."),
        _ => None,
    }
}
