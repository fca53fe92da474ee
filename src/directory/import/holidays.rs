//! Closed days: `observed,date,name,scope`, where scope is `us` or a state.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::problem::Problems;
use super::table::{Table, TableRow};
use super::{InputFile, Progress};
use crate::directory::{Dataset, HolidayRow, Scope, federal_holiday};

const COLUMNS: &[&str] = &["observed", "date", "name", "scope"];

/// Keeps the days that the federal rule does not give. A federal holiday that the file observes on another day than
/// the rule is kept too, with a notice.
pub(super) fn import(
    files: &[InputFile<'_>],
    dataset: &mut Dataset,
    problems: &mut Problems,
    progress: Progress<'_>,
) -> usize {
    let mut found: BTreeMap<(Date, Scope), HolidayRow> = BTreeMap::new();
    let mut rows = 0;
    for file in files {
        rows += Table {
            separator: b',',
            columns: COLUMNS,
        }
        .read(file, problems, progress, |row, problems| {
            let (date, row_read) = match read(row) {
                Ok(read) => read,
                Err(message) => return problems.error(file.name, row.place(), message),
            };
            if row_read.scope == Scope::Everywhere && federal_holiday(row_read.date).is_some() {
                return;
            }
            if row_read.scope == Scope::Everywhere && federal_holiday(date).is_some() {
                let message = format!(
                    "{} on {} is not the day that 5 USC 6103 gives",
                    row_read.name, row_read.date
                );
                problems.notice(file.name, row.place(), message);
            }
            let key = (row_read.date, row_read.scope);
            if found.insert(key, row_read).is_some() {
                problems.error(
                    file.name,
                    row.place(),
                    format!("{} is listed twice for {}", key.0, key.1),
                );
            }
        });
    }
    dataset.holidays = found.into_values().collect();
    rows
}

fn read(row: &TableRow<'_>) -> Result<(Date, HolidayRow), String> {
    let date = |at: usize| {
        let text = row.field(at);
        text.parse::<Date>()
            .map_err(|_| format!("{text:?} is not a date: YYYY-MM-DD is needed"))
    };
    let (name, scope) = (row.field(2), row.field(3).parse()?);
    if name.is_empty() {
        return Err("has no name".to_owned());
    }
    Ok((
        date(1)?,
        HolidayRow {
            date: date(0)?,
            scope,
            name: name.to_owned(),
        },
    ))
}
