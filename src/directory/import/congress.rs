//! Members of Congress with their Washington offices: `legislators-current` in JSON, YAML or CSV.
//!
//! A file lists who serves now. The last term of a record is the present one, and its end is only expected: an appointed
//! senator's may lie in the past (trap 2 of the data notes). Nobody is left out for a date.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::Deserialize;

use super::problem::{Place, Problems};
use super::table::Table;
use super::{InputFile, Progress, phone, records};
use crate::directory::{Chamber, Dataset, District, OfficeKind, OfficeRow, StateRank, TargetRow, facts};
use crate::units::{OfficeId, PhoneNumber, TargetId, Zip};

const HOUSE_ZIP: &str = "20515";
const SENATE_ZIP: &str = "20510";

#[derive(Deserialize)]
struct Record {
    id: Ids,
    name: Name,
    #[serde(default)]
    terms: Vec<Term>,
}

#[derive(Deserialize)]
struct Ids {
    bioguide: String,
}

#[derive(Deserialize)]
struct Name {
    first: String,
    last: String,
    official_full: Option<String>,
}

#[derive(Deserialize)]
struct Term {
    #[serde(rename = "type")]
    kind: String,
    start: Date,
    end: Option<Date>,
    state: String,
    district: Option<u8>,
    state_rank: Option<StateRank>,
    party: Option<String>,
    caucus: Option<String>,
    phone: Option<String>,
}

/// One member in the words of any of the formats.
struct Member<'a> {
    bioguide: &'a str,
    name: String,
    kind: &'a str,
    state: &'a str,
    district: Option<u8>,
    party: &'a str,
    phone: &'a str,
    /// What the CSV form does not have.
    more: More,
}

#[derive(Default)]
struct More {
    caucus: Option<String>,
    state_rank: Option<StateRank>,
    since: Option<Date>,
    expected_end: Option<Date>,
}

pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut found = Found::default();
    let mut rows = 0;
    for file in files {
        rows += match records::is_nested(file) {
            true => records::read(
                file,
                "/id/bioguide",
                problems,
                progress,
                |record: Record, place, problems| {
                    found.add_record(file.name, &record, place, problems);
                },
            ),
            false => read_table(file, &dataset.targets, &mut found, problems, progress),
        };
    }
    found.check_seats(problems);
    replace(dataset, found, problems);
    rows
}

const COLUMNS: &[&str] = &[
    "bioguide_id",
    "full_name",
    "first_name",
    "last_name",
    "type",
    "state",
    "district",
    "party",
    "phone",
];

/// The CSV form lacks caucus, rank and dates: those of a member who still holds the same seat are kept.
fn read_table(
    file: &InputFile<'_>,
    known: &[TargetRow],
    found: &mut Found,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let known: HashMap<&str, &TargetRow> = known
        .iter()
        .filter_map(|row| Some((row.id.as_str().strip_prefix("us:bioguide:")?, row)))
        .collect();
    let table = Table {
        separator: b',',
        columns: COLUMNS,
    };
    table.read(file, problems, progress, |row, problems| {
        let district = match row.field(6) {
            "" => None,
            text => match District::parse_number(text) {
                Ok(number) => Some(number),
                Err(error) => return problems.error(file.name, row.place(), error.to_string()),
            },
        };
        let (first, last) = (row.field(2), row.field(3));
        let before = known.get(row.field(0)).filter(|before| {
            let chamber = chamber_of(row.field(4));
            Some(before.chamber) == chamber
                && before.state.as_str() == row.field(5)
                && before.district == district
        });
        let more = before.map(|before| More {
            caucus: before.caucus.clone().filter(|_| before.party == row.field(7)),
            state_rank: before.state_rank,
            since: before.since,
            expected_end: before.expected_end,
        });
        let member = Member {
            bioguide: row.field(0),
            name: named(Some(row.field(1)), first, last),
            kind: row.field(4),
            state: row.field(5),
            district,
            party: row.field(7),
            phone: row.field(8),
            more: more.unwrap_or_default(),
        };
        found.add(file.name, member, row.place(), problems);
    })
}

fn named(full: Option<&str>, first: &str, last: &str) -> String {
    match full.map(str::trim) {
        Some(full) if !full.is_empty() => full.to_owned(),
        _ => format!("{first} {last}").trim().to_owned(),
    }
}

fn chamber_of(kind: &str) -> Option<Chamber> {
    match kind {
        "rep" => Some(Chamber::House),
        "sen" => Some(Chamber::Senate),
        _ => None,
    }
}

/// Members so far, with the place each came from.
#[derive(Default)]
struct Found {
    rows: Vec<(TargetRow, Option<PhoneNumber>, String, Place)>,
}

impl Found {
    fn add_record(&mut self, file: &str, record: &Record, place: Place, problems: &mut Problems) {
        let Some(term) = record.terms.last() else {
            return problems.error(file, place, "has no term of office");
        };
        let member = Member {
            bioguide: &record.id.bioguide,
            name: named(
                record.name.official_full.as_deref(),
                &record.name.first,
                &record.name.last,
            ),
            kind: &term.kind,
            state: &term.state,
            district: term.district,
            party: term.party.as_deref().unwrap_or_default(),
            phone: term.phone.as_deref().unwrap_or_default(),
            more: More {
                caucus: term.caucus.clone(),
                state_rank: term.state_rank,
                since: Some(term.start),
                expected_end: term.end,
            },
        };
        self.add(file, member, place, problems);
    }

    fn add(&mut self, file: &str, member: Member<'_>, place: Place, problems: &mut Problems) {
        match checked(&member) {
            Err(messages) => messages
                .into_iter()
                .for_each(|message| problems.error(file, place.clone(), message)),
            Ok((row, phone)) => {
                if phone.is_none() {
                    problems.notice(
                        file,
                        place.clone(),
                        format!("{} has no Washington number", row.name),
                    );
                }
                self.rows.push((row, phone, file.to_owned(), place));
            }
        }
    }

    /// One member per seat, two senators per state, each member once.
    fn check_seats(&self, problems: &mut Problems) {
        let (mut ids, mut seats, mut senators) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (row, _, file, place) in &self.rows {
            let mut refuse = |message: String| problems.error(file, place.clone(), message);
            if ids.insert(&row.id, ()).is_some() {
                refuse(format!("{} is listed twice", row.name));
                continue;
            }
            match row.seat() {
                Some(seat) => {
                    if let Some(other) = seats.insert(seat, &row.name) {
                        refuse(format!("{} and {other} both hold the seat {seat}", row.name));
                    }
                }
                None => {
                    let count: &mut u32 = senators.entry(row.state).or_default();
                    *count += 1;
                    if *count > 2 {
                        refuse(format!("{} is a third senator of {}", row.name, row.state));
                    }
                }
            }
        }
    }
}

fn checked(member: &Member<'_>) -> Result<(TargetRow, Option<PhoneNumber>), Vec<String>> {
    let mut messages = Vec::new();
    if !is_bioguide(member.bioguide) {
        messages.push(format!(
            "{:?} is not a Bioguide id: a capital letter and six digits are needed",
            member.bioguide
        ));
    }
    let state = member.state.parse().ok().filter(|&state| facts(state).is_some());
    if state.is_none() {
        messages.push(format!("{:?} is not a state", member.state));
    }
    let chamber = chamber_of(member.kind);
    match (chamber, member.district) {
        (None, _) => messages.push(format!("{:?} is not a kind of term: rep or sen", member.kind)),
        (Some(Chamber::House), None) => messages.push("a representative needs a district".to_owned()),
        (Some(Chamber::House), Some(number)) if number > 97 => {
            messages.push(format!("{number} is not a district"))
        }
        (Some(Chamber::Senate), Some(_)) => messages.push("a senator has no district".to_owned()),
        _ => {}
    }
    if member.name.is_empty() {
        messages.push("has no name".to_owned());
    }
    if member.party.is_empty() {
        messages.push("has no party".to_owned());
    }
    let phone = phone::read(member.phone).unwrap_or_else(|message| {
        messages.push(message);
        None
    });
    let (Some(state), Some(chamber), true) = (state, chamber, messages.is_empty()) else {
        return Err(messages);
    };
    let row = TargetRow {
        id: TargetId::new(format!("us:bioguide:{}", member.bioguide)),
        name: member.name.clone(),
        chamber,
        state,
        district: member.district,
        party: member.party.to_owned(),
        caucus: member.more.caucus.clone(),
        state_rank: member.more.state_rank,
        since: member.more.since,
        expected_end: member.more.expected_end,
    };
    Ok((row, phone))
}

pub(super) fn is_bioguide(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 7 && bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit)
}

/// Puts members and Washington offices in place of the old ones. Offices at home stay with members who stay.
fn replace(dataset: &mut Dataset, found: Found, problems: &mut Problems) {
    let mut offices = Vec::with_capacity(found.rows.len() + dataset.offices.len());
    let mut targets = Vec::with_capacity(found.rows.len());
    let mut from = String::new();
    for (row, phone, file, _) in found.rows {
        offices.extend(capitol_office(&row, phone));
        targets.push(row);
        from = file;
    }
    let serving: HashMap<&TargetId, ()> = targets.iter().map(|row| (&row.id, ())).collect();
    let at_home = dataset
        .offices
        .drain(..)
        .filter(|office| office.kind == OfficeKind::District);
    let (kept, gone): (Vec<_>, Vec<_>) = at_home.partition(|office| serving.contains_key(&office.target));
    for office in gone {
        problems.notice(
            &from,
            Place::File,
            format!("office {} goes with its member", office.id),
        );
    }
    offices.extend(kept);
    dataset.targets = targets;
    dataset.offices = offices;
}

fn capitol_office(row: &TargetRow, phone: Option<PhoneNumber>) -> Option<OfficeRow> {
    let zip = if row.chamber == Chamber::House {
        HOUSE_ZIP
    } else {
        SENATE_ZIP
    };
    Some(OfficeRow {
        id: OfficeId::new(format!("{}/dc", row.id)),
        target: row.id.clone(),
        kind: OfficeKind::Capitol,
        city: "Washington".to_owned(),
        state: "DC".parse().ok()?,
        zip: zip.parse::<Zip>().ok(),
        phone,
        hours_text: None,
        point: None,
    })
}
