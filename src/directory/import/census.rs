//! The Census Bureau's own relationship file of congressional districts and ZIP code areas
//! (`tab20_cd11920_zcta520_natl.txt`): separated by `|`, with a byte-order mark, shares by land area.

use std::collections::BTreeMap;

use super::problem::{Place, Problems};
use super::table::{Table, TableRow};
use super::zip_districts::Parts;
use super::{InputFile, Progress};
use crate::directory::{Dataset, District, ShareRow, SourceKind, facts_by_fips};
use crate::units::Zip;

const COLUMNS: &[&str] = &["GEOID_CD*", "GEOID_ZCTA5_*", "AREALAND_PART"];

struct Part {
    district: District,
    square_metres: u64,
    line: u64,
}

pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut parts = Parts::default();
    let mut rows = 0;
    for file in files {
        let mut areas: BTreeMap<Zip, Vec<Part>> = BTreeMap::new();
        rows += Table {
            separator: b'|',
            columns: COLUMNS,
        }
        .read(file, problems, progress, |row, problems| match read(row) {
            Ok(Some((zip, part))) => areas.entry(zip).or_default().push(part),
            Ok(None) => {}
            Err(message) => problems.error(file.name, row.place(), message),
        });
        for (zip, of_zip) in areas {
            let total: u64 = of_zip.iter().map(|part| part.square_metres).sum();
            for part in of_zip {
                let share = (total > 0).then(|| part.square_metres as f64 / total as f64);
                let row = ShareRow {
                    zip,
                    district: part.district,
                    share,
                };
                parts.add(file.name, row, Place::Line(part.line), problems);
            }
        }
    }
    parts.replace(dataset, problems);
    dataset
        .sources
        .retain(|source| source.kind != SourceKind::ZipDistricts);
    rows
}

/// None for a row without a ZIP code area, and for water that lies in no district (`ZZ`).
fn read(row: &TableRow<'_>) -> Result<Option<(Zip, Part)>, String> {
    let (district, zip) = (row.field(0), row.field(1));
    if zip.is_empty() || district.ends_with("ZZ") {
        return Ok(None);
    }
    let zip = zip.parse().map_err(|error| format!("{error}"))?;
    let malformed = || format!("{district:?} is not a state's federal code and a district");
    let (fips, number) = district.split_at_checked(2).ok_or_else(malformed)?;
    let state = facts_by_fips(fips)
        .and_then(|facts| facts.code.parse().ok())
        .ok_or_else(malformed)?;
    let number = District::parse_number(number).map_err(|_| malformed())?;
    let area = row.field(2);
    let square_metres = area
        .parse()
        .map_err(|_| format!("{area:?} is not an area in square metres"))?;
    Ok(Some((
        zip,
        Part {
            district: District { state, number },
            square_metres,
            line: row.line,
        },
    )))
}
