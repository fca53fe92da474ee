//! What an import would change, in words an operator can check.

use std::collections::BTreeMap;
use std::fmt;

use super::{Dataset, OfficeRow, TargetRow};
use crate::units::{OfficeId, TargetId, Zip};

/// One difference between two data sets.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Joined(TargetRow),
    Left(TargetRow),
    /// Another seat or chamber.
    Moved {
        from: TargetRow,
        to: TargetRow,
    },
    Renamed {
        from: TargetRow,
        to: TargetRow,
    },
    PartyChanged {
        from: TargetRow,
        to: TargetRow,
    },
    OfficeOpened(OfficeRow),
    OfficeClosed(OfficeRow),
    NumberChanged {
        from: OfficeRow,
        to: OfficeRow,
    },
    HoursChanged {
        from: OfficeRow,
        to: OfficeRow,
    },
    /// ZIP codes whose districts or shares differ; the first ten are named.
    DistrictsChanged {
        count: usize,
        examples: Vec<Zip>,
    },
}

/// All differences: members first, then offices, then ZIP codes.
pub fn changes(before: &Dataset, after: &Dataset) -> Vec<Change> {
    let mut changes = target_changes(before, after);
    changes.extend(office_changes(before, after));
    changes.extend(district_changes(before, after));
    changes
}

fn target_changes(before: &Dataset, after: &Dataset) -> Vec<Change> {
    let index = |rows: &[TargetRow]| -> BTreeMap<TargetId, TargetRow> {
        rows.iter().map(|row| (row.id.clone(), row.clone())).collect()
    };
    let (old, new) = (index(&before.targets), index(&after.targets));
    let mut changes = Vec::new();
    changes.extend(
        old.iter()
            .filter(|(id, _)| !new.contains_key(*id))
            .map(|(_, row)| Change::Left(row.clone())),
    );
    for (id, to) in new {
        let Some(from) = old.get(&id).cloned() else {
            changes.push(Change::Joined(to));
            continue;
        };
        if (from.chamber, from.state, from.district) != (to.chamber, to.state, to.district) {
            changes.push(Change::Moved {
                from: from.clone(),
                to: to.clone(),
            });
        }
        if from.name != to.name {
            changes.push(Change::Renamed {
                from: from.clone(),
                to: to.clone(),
            });
        }
        if (&from.party, &from.caucus) != (&to.party, &to.caucus) {
            changes.push(Change::PartyChanged { from, to });
        }
    }
    changes
}

fn office_changes(before: &Dataset, after: &Dataset) -> Vec<Change> {
    let index = |rows: &[OfficeRow]| -> BTreeMap<OfficeId, OfficeRow> {
        rows.iter().map(|row| (row.id.clone(), row.clone())).collect()
    };
    let (old, new) = (index(&before.offices), index(&after.offices));
    let closed = old.iter().filter(|(id, _)| !new.contains_key(*id));
    let mut changes: Vec<_> = closed.map(|(_, row)| Change::OfficeClosed(row.clone())).collect();
    for (id, to) in new {
        let Some(from) = old.get(&id).cloned() else {
            changes.push(Change::OfficeOpened(to));
            continue;
        };
        if from.phone != to.phone {
            changes.push(Change::NumberChanged {
                from: from.clone(),
                to: to.clone(),
            });
        }
        if from.hours_text != to.hours_text {
            changes.push(Change::HoursChanged { from, to });
        }
    }
    changes
}

fn district_changes(before: &Dataset, after: &Dataset) -> Option<Change> {
    let index = |dataset: &Dataset| {
        let mut parts: BTreeMap<Zip, Vec<_>> = BTreeMap::new();
        for row in &dataset.shares {
            parts.entry(row.zip).or_default().push((row.district, row.share));
        }
        parts
    };
    let (old, new) = (index(before), index(after));
    let gone = old.keys().filter(|zip| !new.contains_key(*zip));
    let mut differing: Vec<Zip> = gone.copied().collect();
    differing.extend(
        new.iter()
            .filter(|(zip, parts)| old.get(*zip) != Some(*parts))
            .map(|(zip, _)| *zip),
    );
    differing.sort();
    let examples = differing.iter().take(10).copied().collect();
    (!differing.is_empty()).then_some(Change::DistrictsChanged {
        count: differing.len(),
        examples,
    })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Joined(row) => write!(f, "joins: {} ({})", row.name, seat(row)),
            Change::Left(row) => write!(f, "leaves: {} ({})", row.name, seat(row)),
            Change::Moved { from, to } => {
                write!(f, "changes seat: {} ({} to {})", to.name, seat(from), seat(to))
            }
            Change::Renamed { from, to } => {
                write!(f, "changes name: {} to {} ({})", from.name, to.name, seat(to))
            }
            Change::PartyChanged { from, to } => {
                write!(f, "changes party: {} ({} to {})", to.name, party(from), party(to))
            }
            Change::OfficeOpened(row) => write!(f, "new office: {} ({}, {})", row.id, row.city, row.state),
            Change::OfficeClosed(row) => write!(f, "office gone: {} ({}, {})", row.id, row.city, row.state),
            Change::NumberChanged { from, to } => {
                write!(
                    f,
                    "changes number: {} ({} to {})",
                    to.id,
                    number(from),
                    number(to)
                )
            }
            Change::HoursChanged { from, to } => {
                let text =
                    |row: &OfficeRow| row.hours_text.clone().unwrap_or_else(|| "not stated".to_owned());
                write!(f, "changes hours: {} ({} to {})", to.id, text(from), text(to))
            }
            Change::DistrictsChanged { count, examples } => {
                let named: Vec<_> = examples.iter().map(Zip::to_string).collect();
                let more = if *count > named.len() { ", …" } else { "" };
                write!(
                    f,
                    "changes districts or shares of {count} ZIP codes: {}{more}",
                    named.join(", ")
                )
            }
        }
    }
}

fn seat(row: &TargetRow) -> String {
    match row.seat() {
        Some(seat) => format!("House, {seat}"),
        None => format!("Senate, {}", row.state),
    }
}

fn party(row: &TargetRow) -> String {
    match &row.caucus {
        Some(caucus) => format!("{}, caucuses with {caucus}", row.party),
        None => row.party.clone(),
    }
}

fn number(row: &OfficeRow) -> String {
    row.phone
        .as_ref()
        .map_or_else(|| "none".to_owned(), ToString::to_string)
}
