//! The compact table that is built into the program: the same rows as text, one line per fact, so that a new edition
//! shows as a readable difference.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use super::*;
use crate::units::{OfficeId, PhoneNumber, State, TargetId, Zip};

/// One file of the compact table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    pub name: &'static str,
    pub text: String,
}

/// Why a compact table could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {problem}")]
pub struct BundleError {
    pub file: &'static str,
    pub line: u64,
    pub problem: String,
}

const TARGETS: &str = "targets.csv";
const OFFICES: &str = "offices.csv";
const ZONES: &str = "zones.csv";
const ZIPS: &str = "zips.csv";
const HOLIDAYS: &str = "holidays.csv";
const SOURCES: &str = "sources.csv";

const BUILT_IN: [(&str, &str); 6] = [
    (SOURCES, include_str!("../../config/directory/sources.csv")),
    (TARGETS, include_str!("../../config/directory/targets.csv")),
    (OFFICES, include_str!("../../config/directory/offices.csv")),
    (ZONES, include_str!("../../config/directory/zones.csv")),
    (ZIPS, include_str!("../../config/directory/zips.csv")),
    (HOLIDAYS, include_str!("../../config/directory/holidays.csv")),
];

impl Dataset {
    /// The rows built into the program.
    ///
    /// # Errors
    /// [`BundleError`] if the program was built with a broken table.
    pub fn bundled() -> Result<Self, BundleError> {
        Self::from_bundle(|name| {
            BUILT_IN
                .iter()
                .find(|(known, _)| *known == name)
                .map_or("", |(_, text)| text)
        })
    }

    /// Reads a compact table; `text_of` gives the text of each file by its name.
    ///
    /// # Errors
    /// [`BundleError`] at the first line that does not read.
    pub fn from_bundle<'a>(text_of: impl Fn(&str) -> &'a str) -> Result<Self, BundleError> {
        let mut dataset = Self {
            sources: rows(SOURCES, text_of(SOURCES), read_source)?,
            targets: rows(TARGETS, text_of(TARGETS), read_target)?,
            offices: rows(OFFICES, text_of(OFFICES), read_office)?,
            holidays: rows(HOLIDAYS, text_of(HOLIDAYS), read_holiday)?,
            ..Self::default()
        };
        let zones: HashMap<State, Arc<str>> = rows(ZONES, text_of(ZONES), |row| {
            Ok((row.parsed(0)?, Arc::from(row.text(1))))
        })?
        .into_iter()
        .collect();
        read_zips(text_of(ZIPS), &zones, &mut dataset)?;
        Ok(dataset)
    }

    /// Writes the compact table. Reading it back gives equal rows.
    ///
    /// # Errors
    /// Those of the CSV writer, which in memory do not happen.
    pub fn to_bundle(&self) -> Result<Vec<BundleFile>, csv::Error> {
        let zones = default_zones(&self.zips);
        Ok(vec![
            written(
                SOURCES,
                "kind,name,as_of,licence,rows",
                self.sources.iter().map(source_fields),
            )?,
            written(TARGETS, TARGET_HEADER, self.targets.iter().map(target_fields))?,
            written(OFFICES, OFFICE_HEADER, self.offices.iter().map(office_fields))?,
            written(
                ZONES,
                "state,timezone",
                zones
                    .iter()
                    .map(|(state, zone)| vec![state.to_string(), zone.to_string()]),
            )?,
            BundleFile {
                name: ZIPS,
                text: zip_lines(self, &zones),
            },
            written(
                HOLIDAYS,
                "date,scope,name",
                self.holidays.iter().map(holiday_fields),
            )?,
        ])
    }
}

/// A line and its fields.
struct Row<'a> {
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    fn text(&self, at: usize) -> &str {
        self.record.get(at).unwrap_or_default()
    }

    fn parsed<T: FromStr<Err: Display>>(&self, at: usize) -> Result<T, String> {
        self.text(at)
            .parse()
            .map_err(|error: T::Err| format!("field {}: {error}", at + 1))
    }

    fn optional<T: FromStr<Err: Display>>(&self, at: usize) -> Result<Option<T>, String> {
        if self.text(at).is_empty() {
            Ok(None)
        } else {
            self.parsed(at).map(Some)
        }
    }

    fn owned(&self, at: usize) -> Option<String> {
        Some(self.text(at))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }
}

fn rows<T>(
    file: &'static str,
    text: &str,
    read: impl Fn(&Row<'_>) -> Result<T, String>,
) -> Result<Vec<T>, BundleError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let line_of = |position: Option<&csv::Position>| position.map_or(0, csv::Position::line);
        let record = record.map_err(|error| {
            let line = line_of(error.position());
            BundleError {
                file,
                line,
                problem: error.to_string(),
            }
        })?;
        let line = line_of(record.position());
        rows.push(read(&Row { record: &record }).map_err(|problem| BundleError { file, line, problem })?);
    }
    Ok(rows)
}

fn written(
    name: &'static str,
    header: &str,
    lines: impl Iterator<Item = Vec<String>>,
) -> Result<BundleFile, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header.split(','))?;
    for line in lines {
        writer.write_record(line)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(BundleFile {
        name,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn shown(value: &Option<impl Display>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

const TARGET_HEADER: &str = "id,name,chamber,state,district,party,caucus,state_rank,since,expected_end";

fn target_fields(row: &TargetRow) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.name.clone(),
        row.chamber.as_str().to_owned(),
        row.state.to_string(),
        shown(&row.district),
        row.party.clone(),
        shown(&row.caucus),
        shown(&row.state_rank.map(StateRank::as_str)),
        shown(&row.since),
        shown(&row.expected_end),
    ]
}

fn read_target(row: &Row<'_>) -> Result<TargetRow, String> {
    Ok(TargetRow {
        id: TargetId::new(row.text(0)),
        name: row.text(1).to_owned(),
        chamber: row.parsed(2)?,
        state: row.parsed(3)?,
        district: row.optional(4)?,
        party: row.text(5).to_owned(),
        caucus: row.owned(6),
        state_rank: row.optional(7)?,
        since: row.optional(8)?,
        expected_end: row.optional(9)?,
    })
}

const OFFICE_HEADER: &str = "id,target,kind,city,state,zip,phone,hours_text,latitude,longitude";

fn office_fields(row: &OfficeRow) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.target.to_string(),
        row.kind.as_str().to_owned(),
        row.city.clone(),
        row.state.to_string(),
        shown(&row.zip),
        shown(&row.phone),
        shown(&row.hours_text),
        shown(&row.point.map(Point::latitude)),
        shown(&row.point.map(Point::longitude)),
    ]
}

fn read_office(row: &Row<'_>) -> Result<OfficeRow, String> {
    Ok(OfficeRow {
        id: OfficeId::new(row.text(0)),
        target: TargetId::new(row.text(1)),
        kind: row.parsed(2)?,
        city: row.text(3).to_owned(),
        state: row.parsed(4)?,
        zip: row.optional(5)?,
        phone: row.optional::<PhoneNumber>(6)?,
        hours_text: row.owned(7),
        point: point(row.optional(8)?, row.optional(9)?)?,
    })
}

fn point(latitude: Option<f32>, longitude: Option<f32>) -> Result<Option<Point>, String> {
    match (latitude, longitude) {
        (Some(latitude), Some(longitude)) => match Point::new(latitude, longitude) {
            None => Err(format!("no such place: {latitude}, {longitude}")),
            point => Ok(point),
        },
        (None, None) => Ok(None),
        _ => Err("latitude and longitude come together".to_owned()),
    }
}

fn source_fields(row: &Source) -> Vec<String> {
    let kind = row.kind.to_string();
    vec![
        kind,
        row.name.clone(),
        row.as_of.to_string(),
        row.licence.clone(),
        row.rows.to_string(),
    ]
}

fn read_source(row: &Row<'_>) -> Result<Source, String> {
    let (name, licence) = (row.text(1).to_owned(), row.text(3).to_owned());
    Ok(Source {
        kind: row.parsed(0)?,
        name,
        as_of: row.parsed(2)?,
        licence,
        rows: row.parsed(4)?,
    })
}

fn holiday_fields(row: &HolidayRow) -> Vec<String> {
    vec![row.date.to_string(), row.scope.to_string(), row.name.clone()]
}

fn read_holiday(row: &Row<'_>) -> Result<HolidayRow, String> {
    Ok(HolidayRow {
        date: row.parsed(0)?,
        scope: row.parsed(1)?,
        name: row.text(2).to_owned(),
    })
}

// zips.csv is the large file, read at every start: plain lines without quoting.

const ZIP_HEADER: &str = "zip,districts,kind,timezone,latitude,longitude";

/// The most common zone of each state, left out of the lines.
fn default_zones(zips: &[ZipRow]) -> BTreeMap<State, Arc<str>> {
    let mut counts: BTreeMap<State, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
    for row in zips {
        if let Some(zone) = &row.timezone {
            *counts
                .entry(row.state)
                .or_default()
                .entry(zone.clone())
                .or_default() += 1;
        }
    }
    let most = |zones: BTreeMap<Arc<str>, usize>| zones.into_iter().max_by_key(|(_, count)| *count);
    counts
        .into_iter()
        .filter_map(|(state, zones)| Some((state, most(zones)?.0)))
        .collect()
}

fn zip_lines(dataset: &Dataset, zones: &BTreeMap<State, Arc<str>>) -> String {
    let mut shares: HashMap<Zip, Vec<&ShareRow>> = HashMap::new();
    for row in &dataset.shares {
        shares.entry(row.zip).or_default().push(row);
    }
    let mut text = format!("{ZIP_HEADER}\n");
    for row in &dataset.zips {
        let parts = shares.get(&row.zip).map(Vec::as_slice).unwrap_or_default();
        let mut words: Vec<String> = parts.iter().map(|part| share_word(part, parts.len())).collect();
        if parts.first().is_none_or(|part| part.district.state != row.state) {
            words.insert(0, row.state.to_string());
        }
        let usual = ZipKind::in_state(row.state, !parts.is_empty());
        let kind = if row.kind == usual { "" } else { row.kind.as_str() };
        let zone = match (&row.timezone, zones.get(&row.state)) {
            (Some(own), Some(common)) if own == common => "",
            (Some(own), _) => own,
            (None, None) => "",
            (None, Some(_)) => "-",
        };
        let coordinate = |value: Option<f32>| value.map(|value| format!("{value}")).unwrap_or_default();
        let (latitude, longitude) = (row.point.map(Point::latitude), row.point.map(Point::longitude));
        let fields = [
            &words.join(" "),
            kind,
            zone,
            &coordinate(latitude),
            &coordinate(longitude),
        ];
        text.push_str(&format!(
            "{},{}\n",
            row.zip,
            fields.join(",").trim_end_matches(',')
        ));
    }
    text
}

/// `CA-12` alone or without a share, `CA-12:0.8` with one.
fn share_word(row: &ShareRow, parts: usize) -> String {
    match row.share {
        Some(1.0) if parts == 1 => row.district.to_string(),
        Some(share) => format!("{}:{share}", row.district),
        None if parts == 1 => format!("{}:", row.district),
        None => row.district.to_string(),
    }
}

fn read_zips(text: &str, zones: &HashMap<State, Arc<str>>, dataset: &mut Dataset) -> Result<(), BundleError> {
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    let lines = text.lines().enumerate().skip(1);
    dataset.zips.reserve(text.len() / 24);
    dataset.shares.reserve(text.len() / 24);
    for (at, line) in lines {
        read_zip(line, zones, &mut names, dataset).map_err(|problem| BundleError {
            file: ZIPS,
            line: at as u64 + 1,
            problem,
        })?;
    }
    Ok(())
}

fn read_zip<'a>(
    line: &'a str,
    zones: &HashMap<State, Arc<str>>,
    names: &mut HashMap<&'a str, Arc<str>>,
    dataset: &mut Dataset,
) -> Result<(), String> {
    let mut fields = line.split(',');
    let mut field = || fields.next().unwrap_or_default();
    let zip: Zip = field().parse().map_err(|error| format!("{error}"))?;
    let (words, kind, zone) = (field(), field(), field());
    let first = dataset.shares.len();
    let mut state = None;
    let alone = !words.contains(' ');
    for word in words.split(' ') {
        if word.len() == 2 {
            state = word.parse().ok();
            continue;
        }
        let row = read_share(zip, word, alone)?;
        state = state.or(Some(row.district.state));
        dataset.shares.push(row);
    }
    let state = state.ok_or("a state is missing")?;
    let kind = match kind {
        "" => ZipKind::in_state(state, dataset.shares.len() > first),
        kind => kind.parse()?,
    };
    let timezone = match zone {
        "" => zones.get(&state).cloned(),
        "-" => None,
        name => Some(names.entry(name).or_insert_with(|| Arc::from(name)).clone()),
    };
    let mut number = || match field() {
        "" => Ok(None),
        text => text
            .parse::<f32>()
            .map(Some)
            .map_err(|_| format!("{text:?} is not a coordinate")),
    };
    let point = point(number()?, number()?)?;
    dataset.zips.push(ZipRow {
        zip,
        kind,
        state,
        timezone,
        point,
    });
    Ok(())
}

fn read_share(zip: Zip, word: &str, alone: bool) -> Result<ShareRow, String> {
    let (district, share) = match word.split_once(':') {
        None => (word, alone.then_some(1.0)),
        Some((district, "")) => (district, None),
        Some((district, share)) => {
            let share: f64 = share.parse().map_err(|_| format!("{share:?} is not a share"))?;
            (district, Some(share))
        }
    };
    let district: District = district.parse().map_err(|error| format!("{error}"))?;
    Ok(ShareRow { zip, district, share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_table_reads_and_writes_back_to_the_same_text() {
        let dataset = Dataset::bundled().unwrap();
        for file in dataset.to_bundle().unwrap() {
            let (_, text) = BUILT_IN.iter().find(|(name, _)| *name == file.name).unwrap();
            assert!(file.text == *text, "{} differs", file.name);
        }
    }

    #[test]
    fn broken_line_is_named() {
        let broken = |name: &str| {
            if name == ZIPS {
                "zip\n94612,CA-12\n9461,CA-12\n"
            } else {
                ""
            }
        };
        let error = Dataset::from_bundle(broken).unwrap_err();
        assert_eq!((error.file, error.line), (ZIPS, 3));
    }

    #[test]
    fn every_shape_of_a_zip_line_survives() {
        let text = "zip,districts,kind,timezone,latitude,longitude\n\
            00601,PR-0\n09012,AE\n12345,NY\n30165,GA-14:0.99878 AL-3:0.00122,,,34.3158,-85.2951\n\
            32401,FL-2,,America/Chicago\n75001,TX-6 TX-30\n80000,CO-1:\n86000,AZ UT-3:0.6 AZ-2:0.4,po_box,-\n";
        let zones = "state,timezone\nAZ,America/Phoenix\nCO,America/Denver\nFL,America/New_York\n\
            GA,America/New_York\nNY,America/New_York\nPR,America/Puerto_Rico\nTX,America/Chicago\n";
        let pick = |name: &str| match name {
            ZIPS => text,
            ZONES => zones,
            _ => "",
        };
        let dataset = Dataset::from_bundle(pick).unwrap();
        assert_eq!(dataset.zips.len(), 8);
        let common = rows(ZONES, zones, |row| Ok((row.parsed(0)?, Arc::from(row.text(1))))).unwrap();
        assert_eq!(zip_lines(&dataset, &common.into_iter().collect()), text);
    }
}
