//! Members' offices at home: `legislators-district-offices` in JSON, YAML or CSV.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::problem::{Place, Problems};
use super::table::Table;
use super::{InputFile, Progress, congress, phone, records};
use crate::directory::{Dataset, OfficeKind, OfficeRow, Point, facts};
use crate::units::{OfficeId, State, TargetId, Zip};

#[derive(Deserialize)]
struct Record {
    id: Ids,
    #[serde(default)]
    offices: Vec<Nested>,
}

#[derive(Deserialize)]
struct Ids {
    bioguide: String,
}

/// An office as JSON and YAML nest it. A ZIP code may be text, a number that lost its leading zero, or null.
#[derive(Deserialize)]
struct Nested {
    id: String,
    city: String,
    state: String,
    zip: Option<Value>,
    phone: Option<String>,
    hours: Option<String>,
    latitude: Option<f32>,
    longitude: Option<f32>,
}

/// One office in the words of any of the formats.
struct Stated<'a> {
    bioguide: &'a str,
    key: &'a str,
    city: &'a str,
    state: &'a str,
    zip: String,
    phone: &'a str,
    hours: &'a str,
    latitude: Option<f32>,
    longitude: Option<f32>,
}

const COLUMNS: &[&str] = &[
    "bioguide",
    "id",
    "city",
    "state",
    "zip",
    "phone",
    "hours",
    "latitude",
    "longitude",
];

/// An office is hardly ever farther than this from the middle of its own ZIP code.
const FARTHEST_KILOMETRES: f64 = 75.0;
const ALASKA_KILOMETRES: f64 = 400.0;

pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut found = Found::new(dataset);
    let mut rows = 0;
    for file in files {
        match records::is_nested(file) {
            true => {
                records::read(
                    file,
                    "/id/bioguide",
                    problems,
                    progress,
                    |record: Record, place, problems| {
                        rows += record.offices.len();
                        for office in &record.offices {
                            found.add(
                                file.name,
                                &stated(&record.id.bioguide, office),
                                place.clone(),
                                problems,
                            );
                        }
                    },
                );
            }
            false => rows += read_table(file, &mut found, problems, progress),
        }
    }
    let offices = found.rows;
    dataset
        .offices
        .retain(|office| office.kind == OfficeKind::Capitol);
    dataset.offices.extend(offices);
    rows
}

fn stated<'a>(bioguide: &'a str, office: &'a Nested) -> Stated<'a> {
    Stated {
        bioguide,
        key: &office.id,
        city: &office.city,
        state: &office.state,
        zip: match &office.zip {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => format!("{number:0>5}"),
            _ => String::new(),
        },
        phone: office.phone.as_deref().unwrap_or_default(),
        hours: office.hours.as_deref().unwrap_or_default(),
        latitude: office.latitude,
        longitude: office.longitude,
    }
}

fn read_table(
    file: &InputFile<'_>,
    found: &mut Found,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let table = Table {
        separator: b',',
        columns: COLUMNS,
    };
    table.read(file, problems, progress, |row, problems| {
        let mut coordinate = |at: usize| match row.field(at) {
            "" => None,
            text => match text.parse::<f32>() {
                Ok(number) => Some(number),
                Err(_) => {
                    problems.error(file.name, row.place(), format!("{text:?} is not a coordinate"));
                    None
                }
            },
        };
        let (latitude, longitude) = (coordinate(7), coordinate(8));
        let office = Stated {
            bioguide: row.field(0),
            key: row.field(1),
            city: row.field(2),
            state: row.field(3),
            zip: row.field(4).to_owned(),
            phone: row.field(5),
            hours: row.field(6),
            latitude,
            longitude,
        };
        found.add(file.name, &office, row.place(), problems);
    })
}

struct Found {
    rows: Vec<OfficeRow>,
    seen: HashSet<String>,
    /// Empty when no members are loaded: then every office is taken.
    members: HashSet<TargetId>,
    /// Empty when no ZIP codes are loaded: then none is checked.
    zips: HashMap<Zip, (State, Option<Point>)>,
}

impl Found {
    fn new(dataset: &Dataset) -> Self {
        Self {
            rows: Vec::new(),
            seen: HashSet::new(),
            members: dataset.targets.iter().map(|row| row.id.clone()).collect(),
            zips: dataset
                .zips
                .iter()
                .map(|row| (row.zip, (row.state, row.point)))
                .collect(),
        }
    }

    fn add(&mut self, file: &str, office: &Stated<'_>, place: Place, problems: &mut Problems) {
        let row = match checked(office) {
            Ok(row) => row,
            Err(messages) => {
                for message in messages {
                    problems.error(file, place.clone(), format!("office {}: {message}", office.key));
                }
                return;
            }
        };
        if !self.seen.insert(office.key.to_owned()) {
            return problems.error(file, place, format!("office {} is listed twice", office.key));
        }
        if !self.members.is_empty() && !self.members.contains(&row.target) {
            let message = format!(
                "office {} is left out: {} is no member now",
                office.key, office.bioguide
            );
            return problems.notice(file, place, message);
        }
        if let Some(message) = self.odd_zip(&row, office) {
            problems.notice(file, place.clone(), format!("office {}: {message}", office.key));
        }
        if let Some(message) = self.odd_point(&row, office) {
            problems.notice(file, place, format!("office {}: {message}", office.key));
        }
        self.rows.push(row);
    }

    fn odd_point(&self, row: &OfficeRow, office: &Stated<'_>) -> Option<String> {
        if let (None, Some(latitude), Some(longitude)) = (row.point, office.latitude, office.longitude) {
            return Some(format!(
                "no such place: {latitude}, {longitude}; its ZIP code says where it is"
            ));
        }
        let of_zip = self.zips.get(&row.zip?)?.1?;
        let away = of_zip.kilometres_to(row.point?);
        let farthest = if row.state.as_str() == "AK" {
            ALASKA_KILOMETRES
        } else {
            FARTHEST_KILOMETRES
        };
        (away > farthest)
            .then(|| format!("ZIP code and coordinates lie {away:.0} km apart: one of them is wrong"))
    }

    fn odd_zip(&self, row: &OfficeRow, office: &Stated<'_>) -> Option<String> {
        let Some(zip) = row.zip else {
            return Some("has no ZIP code; its place or state gives the time zone".to_owned());
        };
        match self.zips.get(&zip) {
            _ if self.zips.is_empty() => None,
            None => Some(format!("ZIP code {zip} is not known")),
            Some((state, _)) if *state != row.state => {
                Some(format!("ZIP code {zip} is in {state}, not {}", office.state))
            }
            Some(_) => None,
        }
    }
}

fn checked(office: &Stated<'_>) -> Result<OfficeRow, Vec<String>> {
    let mut messages = Vec::new();
    if !congress::is_bioguide(office.bioguide) {
        messages.push(format!("{:?} is not a Bioguide id", office.bioguide));
    }
    if office.key.is_empty() || office.key.len() > 80 || office.key.contains(char::is_whitespace) {
        messages.push("needs an id without spaces, of at most 80 letters".to_owned());
    }
    if office.city.is_empty() {
        messages.push("has no city".to_owned());
    }
    let state = office.state.parse().ok().filter(|&state| facts(state).is_some());
    if state.is_none() {
        messages.push(format!("{:?} is not a state", office.state));
    }
    let phone = phone::read(office.phone)
        .map_err(|message| messages.push(message))
        .ok()
        .flatten();
    let zip = zip(&office.zip)
        .map_err(|message| messages.push(message))
        .ok()
        .flatten();
    let (Some(state), true) = (state, messages.is_empty()) else {
        return Err(messages);
    };
    let target = format!("us:bioguide:{}", office.bioguide);
    Ok(OfficeRow {
        id: OfficeId::new(format!("{target}/{}", office.key)),
        target: TargetId::new(target),
        kind: OfficeKind::District,
        city: office.city.to_owned(),
        state,
        zip,
        phone,
        point: point(office),
        hours_text: Some(office.hours.trim())
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
    })
}

/// Five digits, or five and four: the four are left out.
fn zip(text: &str) -> Result<Option<Zip>, String> {
    let five = match text.split_once('-') {
        Some((five, four)) if four.len() == 4 && four.bytes().all(|byte| byte.is_ascii_digit()) => five,
        _ => text,
    };
    match five {
        "" => Ok(None),
        five => five
            .parse()
            .map(Some)
            .map_err(|_| format!("{text:?} is not a ZIP code")),
    }
}

/// None where a coordinate is missing or impossible (one upstream office lies at latitude 441).
fn point(office: &Stated<'_>) -> Option<Point> {
    Point::new(office.latitude?, office.longitude?)
}
