//! ZIP code to districts: the list of districts that touch a ZIP code (`zccd.csv`), or the table of the people who
//! live in each part (`zcta_cd119_population.csv`). The header tells which.

use std::collections::BTreeMap;

use super::problem::{Place, Problems};
use super::table::{self, Table, TableRow};
use super::{InputFile, Progress};
use crate::directory::{Dataset, District, ShareRow, SourceKind, ZipKind, ZipRow, facts_by_fips};
use crate::units::Zip;

const LIST: &[&str] = &["zcta", "state_fips", "state_abbr", "cd"];
const POPULATION: &[&str] = &["zcta", "state_fips", "state", "district", "share"];

pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut parts = Parts::default();
    let mut rows = 0;
    for file in files {
        let population = table::header(file, b',').iter().any(|name| name == "share");
        let columns = if population { POPULATION } else { LIST };
        rows += Table {
            separator: b',',
            columns,
        }
        .read(file, problems, progress, |row, problems| {
            match read(row, population) {
                Ok(share) => parts.add(file.name, share, row.place(), problems),
                Err(message) => problems.error(file.name, row.place(), message),
            }
        });
    }
    parts.replace(dataset, problems);
    dataset
        .sources
        .retain(|source| source.kind != SourceKind::CensusZcta);
    rows
}

fn read(row: &TableRow<'_>, population: bool) -> Result<ShareRow, String> {
    let zip = row.field(0).parse().map_err(|error| format!("{error}"))?;
    let (fips, state) = (row.field(1), row.field(2));
    let known = facts_by_fips(fips).filter(|facts| facts.code == state);
    let Some(Ok(state)) = known.map(|facts| facts.code.parse()) else {
        return Err(format!("{fips:?} is not the federal code of {state:?}"));
    };
    let number = District::parse_number(row.field(3)).map_err(|error| error.to_string())?;
    let share = match (population, row.field(4)) {
        (false, _) | (true, "") => None,
        (true, text) => match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => return Err(format!("{text:?} is not a share between 0 and 1")),
        },
    };
    Ok(ShareRow {
        zip,
        district: District { state, number },
        share,
    })
}

/// Rows by ZIP code, checked together once all are there.
#[derive(Default)]
pub(super) struct Parts {
    rows: BTreeMap<Zip, Vec<(ShareRow, String, Place)>>,
}

impl Parts {
    pub fn add(&mut self, file: &str, row: ShareRow, place: Place, problems: &mut Problems) {
        let parts = self.rows.entry(row.zip).or_default();
        if parts.iter().any(|(other, ..)| other.district == row.district) {
            return problems.error(
                file,
                place,
                format!("{} and {} are listed twice", row.zip, row.district),
            );
        }
        parts.push((row, file.to_owned(), place));
    }

    /// Puts the shares in place of the old ones, largest first, and gives every ZIP code among them a row of its own.
    pub fn replace(self, dataset: &mut Dataset, problems: &mut Problems) {
        dataset.shares.clear();
        let known: std::collections::HashSet<Zip> = dataset.zips.iter().map(|row| row.zip).collect();
        let mut unknown = 0;
        for (zip, parts) in self.rows {
            if let Some(message) = wrong_sum(&parts) {
                let (_, file, place) = &parts[0];
                problems.error(file, place.clone(), format!("ZIP code {zip}: {message}"));
            }
            let first = dataset.shares.len();
            let alone = parts.len() == 1;
            dataset
                .shares
                .extend(parts.into_iter().map(|(row, ..)| match alone {
                    true => ShareRow {
                        share: Some(1.0),
                        ..row
                    },
                    false => row,
                }));
            let descending =
                |a: &ShareRow, b: &ShareRow| b.share.unwrap_or(0.0).total_cmp(&a.share.unwrap_or(0.0));
            dataset.shares[first..].sort_by(descending);
            if !known.contains(&zip) {
                unknown += 1;
                let state = dataset.shares[first].district.state;
                let kind = ZipKind::in_state(state, true);
                dataset.zips.push(ZipRow {
                    zip,
                    kind,
                    state,
                    timezone: None,
                    point: None,
                });
            }
        }
        dataset.zips.sort_by_key(|row| row.zip);
        if unknown > 0 && unknown < dataset.zips.len() {
            let message =
                format!("{unknown} ZIP codes are not in the list of ZIP codes; import the kind zips too");
            problems.notice("ZIP codes", Place::File, message);
        }
    }
}

fn wrong_sum(parts: &[(ShareRow, String, Place)]) -> Option<String> {
    let told = parts.iter().filter(|(row, ..)| row.share.is_some()).count();
    if told == 0 {
        return None;
    }
    if told < parts.len() {
        return Some("some districts have a share and some have none".to_owned());
    }
    let sum: f64 = parts.iter().filter_map(|(row, ..)| row.share).sum();
    ((sum - 1.0).abs() > 0.001).then(|| format!("the shares add up to {sum:.5}, not 1"))
}
