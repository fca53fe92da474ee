//! ZIP codes with their kind, state, time zone and point (`zips.csv`).
//!
//! City names are not read, and points only for ZIP code areas, whose points are the Census Bureau's. The points of
//! post-office boxes are city centres from GeoNames, under a licence that asks for attribution, and of no use here.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::problem::{Place, Problems};
use super::table::{Table, TableRow};
use super::{InputFile, Progress};
use crate::directory::{Dataset, Point, ZipKind, ZipRow, facts};
use crate::units::Zip;

const COLUMNS: &[&str] = &["zip", "kind", "state", "lat", "lon", "timezone"];

pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut zones = Zones::default();
    let mut found: HashMap<Zip, ZipRow> = HashMap::new();
    let mut rows = 0;
    for file in files {
        rows += Table {
            separator: b',',
            columns: COLUMNS,
        }
        .read(file, problems, progress, |row, problems| {
            match read(row, &mut zones) {
                Err(message) => problems.error(file.name, row.place(), message),
                Ok(zip) => {
                    let name = zip.zip;
                    if found.insert(name, zip).is_some() {
                        problems.error(file.name, row.place(), format!("{name} is listed twice"));
                    }
                }
            }
        });
    }
    let mut only_in_shares = 0;
    for share in &dataset.shares {
        let state = share.district.state;
        found.entry(share.zip).or_insert_with(|| {
            only_in_shares += 1;
            let kind = ZipKind::in_state(state, true);
            ZipRow {
                zip: share.zip,
                kind,
                state,
                timezone: None,
                point: None,
            }
        });
    }
    if only_in_shares > 0 {
        let message = format!("{only_in_shares} ZIP codes with districts are not in the list of ZIP codes");
        problems.notice("ZIP codes", Place::File, message);
    }
    dataset.zips = found.into_values().collect();
    dataset.zips.sort_by_key(|row| row.zip);
    rows
}

fn read(row: &TableRow<'_>, zones: &mut Zones) -> Result<ZipRow, String> {
    let zip = row.field(0).parse().map_err(|error| format!("{error}"))?;
    let code = row.field(2);
    let state = code.parse().ok().filter(|&state| facts(state).is_some());
    let state = state.ok_or_else(|| format!("{code:?} is not a state"))?;
    let residents = match row.field(1) {
        "zcta" => true,
        "other" => false,
        known @ ("military" | "freely_associated") if ZipKind::in_state(state, false).as_str() == known => {
            false
        }
        kind => return Err(format!("{kind:?} is not a kind of ZIP code in {state}")),
    };
    let timezone = match row.field(5) {
        "" => None,
        name => Some(zones.named(name)?),
    };
    let point = if residents {
        point(row.field(3), row.field(4))?
    } else {
        None
    };
    Ok(ZipRow {
        zip,
        kind: ZipKind::in_state(state, residents),
        state,
        timezone,
        point,
    })
}

fn point(latitude: &str, longitude: &str) -> Result<Option<Point>, String> {
    if latitude.is_empty() && longitude.is_empty() {
        return Ok(None);
    }
    let point = latitude.parse().ok().zip(longitude.parse().ok());
    let point = point.and_then(|(latitude, longitude)| Point::new(rounded(latitude), rounded(longitude)));
    point
        .map(Some)
        .ok_or_else(|| format!("no such place: {latitude:?}, {longitude:?}"))
}

/// To a hundredth of a degree, about a kilometre: enough to choose the nearest office.
fn rounded(degrees: f32) -> f32 {
    (degrees * 100.0).round() / 100.0
}

/// One shared text per zone, checked against the time zone database.
#[derive(Default)]
struct Zones(HashMap<String, Arc<str>>);

impl Zones {
    fn named(&mut self, name: &str) -> Result<Arc<str>, String> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        TimeZone::get(name).map_err(|_| format!("{name:?} is not a time zone"))?;
        let shared: Arc<str> = Arc::from(name);
        self.0.insert(name.to_owned(), shared.clone());
        Ok(shared)
    }
}
