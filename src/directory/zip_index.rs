//! ZIP codes with their places and districts, ready to be found.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Point, ShareRow, ZipKind, ZipRow};
use crate::units::{State, Zip};

/// All ZIP codes of a directory.
#[derive(Debug)]
pub(super) struct ZipIndex {
    /// Ascending.
    entries: Vec<ZipEntry>,
    /// By ZIP code ascending, largest share first.
    shares: Vec<ShareRow>,
    zones: Vec<TimeZone>,
    state_zones: HashMap<State, u16>,
    /// First three digits to the state of nearly all ZIP codes that begin so.
    prefixes: HashMap<u16, State>,
}

/// A ZIP code, its place and its rows in the table of shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct ZipEntry {
    pub zip: Zip,
    pub kind: ZipKind,
    pub state: State,
    pub zone: Option<u16>,
    pub point: Option<Point>,
    first_share: u32,
    share_count: u32,
}

/// A prefix stands for a state when at least this part of its known ZIP codes lies there.
const PREFIX_MAJORITY: f64 = 0.9;

impl ZipIndex {
    pub fn new(rows: Vec<ZipRow>, mut shares: Vec<ShareRow>) -> Self {
        shares.sort_by_key(|row| row.zip); // stable: the shares of one ZIP code keep their order
        let mut zones = Zones::default();
        let entries = joined(rows, &shares, &mut zones);
        Self {
            state_zones: state_zones(&entries),
            prefixes: prefixes(&entries),
            entries,
            shares,
            zones: zones.zones,
        }
    }

    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    pub fn shares(&self) -> &[ShareRow] {
        &self.shares
    }

    pub fn entry(&self, zip: Zip) -> Option<&ZipEntry> {
        self.entries
            .binary_search_by_key(&zip, |entry| entry.zip)
            .ok()
            .map(|at| &self.entries[at])
    }

    /// The known ZIP codes with the same first three digits.
    pub fn entries_of_prefix(&self, zip: Zip) -> &[ZipEntry] {
        let first = self
            .entries
            .partition_point(|entry| entry.zip.prefix() < zip.prefix());
        let length = self.entries[first..].partition_point(|entry| entry.zip.prefix() == zip.prefix());
        &self.entries[first..first + length]
    }

    pub fn shares_of(&self, entry: &ZipEntry) -> &[ShareRow] {
        let first = entry.first_share as usize;
        &self.shares[first..first + entry.share_count as usize]
    }

    pub fn zone(&self, at: Option<u16>) -> Option<&TimeZone> {
        at.and_then(|at| self.zones.get(usize::from(at)))
    }

    pub fn state_zone(&self, state: State) -> Option<&TimeZone> {
        self.zone(self.state_zones.get(&state).copied())
    }

    pub fn state_of_prefix(&self, zip: Zip) -> Option<State> {
        self.prefixes.get(&prefix_number(zip)).copied()
    }
}

/// Zones by name, each looked up once.
#[derive(Default)]
struct Zones {
    zones: Vec<TimeZone>,
    numbers: HashMap<Arc<str>, Option<u16>>,
}

impl Zones {
    fn number(&mut self, name: &Arc<str>) -> Option<u16> {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = TimeZone::get(name).ok().and_then(|zone| {
            self.zones.push(zone);
            u16::try_from(self.zones.len() - 1).ok()
        });
        self.numbers.insert(name.clone(), number);
        number
    }
}

/// Joins ZIP codes and shares, both ascending; a ZIP code that has only shares gets its state from the largest.
fn joined(mut rows: Vec<ZipRow>, shares: &[ShareRow], zones: &mut Zones) -> Vec<ZipEntry> {
    rows.sort_by_key(|row| row.zip);
    rows.dedup_by_key(|row| row.zip);
    let mut rows = rows.into_iter().peekable();
    let mut entries = Vec::with_capacity(rows.len());
    let mut entry = |row: ZipRow, shares: std::ops::Range<usize>| ZipEntry {
        zip: row.zip,
        kind: row.kind,
        state: row.state,
        zone: row.timezone.as_ref().and_then(|name| zones.number(name)),
        point: row.point,
        first_share: shares.start as u32,
        share_count: shares.len() as u32,
    };
    let mut first = 0;
    for group in shares.chunk_by(|a, b| a.zip == b.zip) {
        let (zip, state) = (group[0].zip, group[0].district.state);
        while let Some(row) = rows.next_if(|row| row.zip < zip) {
            entries.push(entry(row, 0..0));
        }
        let row = rows.next_if(|row| row.zip == zip);
        let kind = ZipKind::in_state(state, true);
        let row = row.unwrap_or(ZipRow {
            zip,
            kind,
            state,
            timezone: None,
            point: None,
        });
        entries.push(entry(row, first..first + group.len()));
        first += group.len();
    }
    entries.extend(rows.map(|row| entry(row, 0..0)));
    entries
}

/// The most common zone of each state.
fn state_zones(zips: &[ZipEntry]) -> HashMap<State, u16> {
    let mut counts: Vec<((State, u16), usize)> = Vec::new();
    for (state, zone) in zips.iter().filter_map(|entry| Some((entry.state, entry.zone?))) {
        count(&mut counts, (state, zone));
    }
    counts.sort_by_key(|(_, count)| *count); // the most common comes last and stays
    counts
        .into_iter()
        .map(|((state, zone), _)| (state, zone))
        .collect()
}

/// ZIP codes of armed forces mail have no place and do not count.
fn prefixes(zips: &[ZipEntry]) -> HashMap<u16, State> {
    let by_prefix = zips.chunk_by(|a, b| a.zip.prefix() == b.zip.prefix());
    let sure = by_prefix.filter_map(|group| {
        let mut counts = Vec::new();
        for entry in group.iter().filter(|entry| entry.kind != ZipKind::Military) {
            count(&mut counts, entry.state);
        }
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let (state, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let nearly_all = most as f64 >= PREFIX_MAJORITY * total as f64;
        nearly_all.then_some((prefix_number(group[0].zip), state))
    });
    sure.collect()
}

/// Counts one more of a value; neighbours are alike, so the search from the end is short.
fn count<T: PartialEq>(counts: &mut Vec<(T, usize)>, value: T) {
    match counts.iter_mut().rev().find(|(known, _)| *known == value) {
        Some((_, count)) => *count += 1,
        None => counts.push((value, 1)),
    }
}

fn prefix_number(zip: Zip) -> u16 {
    zip.prefix().parse().unwrap_or_default()
}
