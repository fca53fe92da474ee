//! One immutable state of the directory, built from rows, shared by every call until an import swaps it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::import::hours_text;
use super::*;
use crate::units::{State, TargetId, Zip};

/// The directory: targets with offices, ZIP codes with districts, closed days.
#[derive(Debug)]
pub struct Directory {
    targets: Vec<Target>,
    by_id: HashMap<TargetId, u32>,
    /// Representatives by seat.
    seats: HashMap<District, u32>,
    /// The senior senator first.
    senators: HashMap<State, Vec<u32>>,
    /// Ascending.
    zips: Vec<ZipEntry>,
    shares: Vec<ShareRow>,
    zones: Vec<TimeZone>,
    state_zones: HashMap<State, u16>,
    /// First three digits to the state of nearly all ZIP codes that begin so.
    prefixes: HashMap<u16, State>,
    one_seat: BTreeSet<State>,
    vacant: Vec<District>,
    closures: Closures,
    sources: Vec<Source>,
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

/// What a directory holds, for `directory status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub representatives: usize,
    pub delegates: usize,
    pub senators: usize,
    pub capitol_offices: usize,
    pub district_offices: usize,
    pub offices_without_phone: usize,
    pub offices_with_stated_hours: usize,
    pub offices_with_unclear_hours: usize,
    pub zips: usize,
    pub shares: usize,
}

/// A prefix stands for a state when at least this part of its known ZIP codes lies there.
const PREFIX_MAJORITY: f64 = 0.9;

impl Directory {
    /// The directory built into the program, parsed at the first call.
    ///
    /// # Errors
    /// [`BundleError`] if the program was built with a broken table; the tests of this package refuse that.
    pub fn bundled() -> Result<Arc<Directory>, BundleError> {
        static BUNDLED: OnceLock<Result<Arc<Directory>, BundleError>> = OnceLock::new();
        BUNDLED
            .get_or_init(|| Ok(Arc::new(Self::from_dataset(Dataset::bundled()?))))
            .clone()
    }

    /// Builds a snapshot. Rows that refer to nothing (an office of no target) are passed over.
    pub fn from_dataset(dataset: Dataset) -> Self {
        let Dataset {
            targets,
            offices,
            zips,
            mut shares,
            holidays,
            sources,
        } = dataset;
        shares.sort_by_key(|row| row.zip); // stable: the shares of one ZIP code keep their order
        let mut zones = Zones::default();
        let zips = zip_entries(zips, &shares, &mut zones);
        let mut directory = Self {
            state_zones: state_zones(&zips),
            prefixes: prefixes(&zips),
            targets: Vec::with_capacity(targets.len()),
            by_id: HashMap::new(),
            seats: HashMap::new(),
            senators: HashMap::new(),
            one_seat: BTreeSet::new(),
            vacant: Vec::new(),
            closures: Closures::default(),
            zips,
            shares,
            zones: zones.zones,
            sources,
        };
        for row in holidays {
            directory.closures.add(row.date, row.scope, &row.name);
        }
        directory.add_targets(targets, offices);
        directory.settle_seats();
        directory
    }

    fn add_targets(&mut self, rows: Vec<TargetRow>, offices: Vec<OfficeRow>) {
        let mut by_target: HashMap<TargetId, Vec<Office>> = HashMap::new();
        let (capitol, district) = (WeeklyHours::capitol_default(), WeeklyHours::district_default());
        for row in offices {
            let default = if row.kind == OfficeKind::Capitol {
                &capitol
            } else {
                &district
            };
            let target = row.target.clone();
            by_target
                .entry(target)
                .or_default()
                .push(self.office(row, default));
        }
        for row in rows {
            let at = self.targets.len() as u32;
            let mut offices = by_target.remove(&row.id).unwrap_or_default();
            offices.sort_by_key(|office| office.kind);
            self.by_id.insert(row.id.clone(), at);
            match row.seat() {
                Some(seat) => {
                    self.seats.insert(seat, at);
                }
                None => self.senators.entry(row.state).or_default().push(at),
            }
            self.targets.push(target(row, offices));
        }
        for senators in self.senators.values_mut() {
            senators.sort_by_key(|&at| {
                let senator = &self.targets[at as usize];
                (
                    senator.state_rank.is_none(),
                    senator.state_rank,
                    senator.since,
                    at,
                )
            });
        }
    }

    fn office(&self, row: OfficeRow, default: &WeeklyHours) -> Office {
        let timezone = self.office_zone(&row).cloned().unwrap_or(TimeZone::UTC);
        let reading = row
            .hours_text
            .as_deref()
            .map(|text| hours_text::read(text, default, timezone.iana_name()));
        let (hours, hours_basis, by_appointment) = match reading {
            None => (default.clone(), HoursBasis::Default, false),
            Some(reading) => (reading.hours, reading.basis, reading.by_appointment),
        };
        let name = if row.kind == OfficeKind::Capitol {
            "Washington".to_owned()
        } else {
            row.city.clone()
        };
        Office {
            id: row.id,
            kind: row.kind,
            name,
            city: row.city,
            state: row.state,
            point: row.point.or_else(|| self.zip_entry(row.zip?)?.point),
            zip: row.zip,
            phone: row.phone,
            timezone,
            hours,
            hours_basis,
            by_appointment,
        }
    }

    /// The zone of the office's ZIP code; where that is missing or lies in another state, the zone of the nearest ZIP
    /// code of its state, else the zone of most of its state.
    fn office_zone(&self, row: &OfficeRow) -> Option<&TimeZone> {
        let own = row
            .zip
            .and_then(|zip| self.zip_entry(zip))
            .filter(|entry| entry.state == row.state);
        if let Some(zone) = own.and_then(|entry| self.zone(entry.zone)) {
            return Some(zone);
        }
        let near = row.point.and_then(|point| {
            let in_state = self
                .zips
                .iter()
                .filter(|entry| entry.state == row.state && entry.zone.is_some());
            let placed = in_state.filter_map(|entry| Some((entry.point?.kilometres_to(point), entry.zone)));
            placed
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .and_then(|(_, zone)| self.zone(zone))
        });
        near.or_else(|| self.state_zone(row.state))
    }

    /// Seats are those that the table of shares or a member names, and one per territory.
    fn settle_seats(&mut self) {
        let mut seats: BTreeSet<District> = self.shares.iter().map(|row| row.district).collect();
        seats.extend(self.seats.keys());
        for state in states::STATES {
            if matches!(state.standing, Standing::Capital | Standing::Territory)
                && let Ok(state) = state.code.parse()
            {
                seats.insert(District { state, number: 0 });
            }
        }
        self.one_seat = seats
            .iter()
            .filter(|seat| seat.number == 0)
            .map(|seat| seat.state)
            .collect();
        self.vacant = seats
            .into_iter()
            .filter(|seat| !self.seats.contains_key(seat))
            .collect();
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub fn target(&self, id: &TargetId) -> Option<&Target> {
        self.by_id.get(id).map(|&at| &self.targets[at as usize])
    }

    /// Who holds a seat of the House; none when it is vacant or does not exist.
    pub fn representative(&self, state: State, district: u8) -> Option<&Target> {
        self.seat_holder(District {
            state,
            number: district,
        })
    }

    pub(super) fn seat_holder(&self, seat: District) -> Option<&Target> {
        self.seats.get(&seat).map(|&at| &self.targets[at as usize])
    }

    /// The senior senator first.
    pub fn senators(&self, state: State) -> impl Iterator<Item = &Target> {
        self.senators
            .get(&state)
            .into_iter()
            .flatten()
            .map(|&at| &self.targets[at as usize])
    }

    /// Everyone a located caller can reach: representatives by share, then the senators of each state, senior first.
    pub fn targets_of(&self, located: &Located) -> Vec<&Target> {
        let districts = located.districts.iter();
        let representatives = districts.filter_map(|part| self.representative(part.state, part.district));
        representatives
            .chain(located.states.iter().flat_map(|&state| self.senators(state)))
            .collect()
    }

    /// Those of one district's callers: the representative, then the senators, senior first.
    pub fn targets_of_district(&self, state: State, district: u8) -> Vec<&Target> {
        self.representative(state, district)
            .into_iter()
            .chain(self.senators(state))
            .collect()
    }

    /// Seats that nobody holds, by state and number.
    pub fn vacancies(&self) -> &[District] {
        &self.vacant
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub fn closures(&self) -> &Closures {
        &self.closures
    }

    /// Whether a state has a single seat, numbered 0.
    pub fn has_one_seat(&self, state: State) -> bool {
        self.one_seat.contains(&state)
    }

    /// Open or closed at an instant: weekly hours less federal holidays and added closures, in the office's own zone.
    pub fn open_state(&self, office: &Office, at: Timestamp) -> OpenState {
        let closed = |date| self.closures.closed(date, office.state).is_some();
        office.hours.open_state(&office.timezone, at, closed)
    }

    /// As [`Self::open_state`], but an office that closes within `margin` counts as closed until it next opens.
    pub fn open_state_before_closing(&self, office: &Office, at: Timestamp, margin: Duration) -> OpenState {
        match self.open_state(office, at) {
            OpenState::Open { until } if until.duration_since(at).unsigned_abs() <= margin => {
                OpenState::Closed {
                    opens: self.next_opening(office, until),
                }
            }
            state => state,
        }
    }

    /// The next instant after `at` at which the office goes from closed to open.
    pub fn next_opening(&self, office: &Office, at: Timestamp) -> Option<Timestamp> {
        match self.open_state(office, at) {
            OpenState::Closed { opens } => opens,
            OpenState::Open { until } => match self.open_state(office, until) {
                OpenState::Closed { opens } => opens,
                OpenState::Open { .. } => None,
            },
        }
    }

    pub fn counts(&self) -> Counts {
        let offices = || self.targets.iter().flat_map(|target| &target.offices);
        let of_kind = |kind| offices().filter(|office| office.kind == kind).count();
        let of_basis = |basis| offices().filter(|office| office.hours_basis == basis).count();
        let titled = |titles: &[Title]| {
            self.targets
                .iter()
                .filter(|target| titles.contains(&target.title))
                .count()
        };
        Counts {
            representatives: titled(&[Title::Representative]),
            delegates: titled(&[Title::Delegate, Title::ResidentCommissioner]),
            senators: titled(&[Title::Senator]),
            capitol_offices: of_kind(OfficeKind::Capitol),
            district_offices: of_kind(OfficeKind::District),
            offices_without_phone: offices().filter(|office| office.phone.is_none()).count(),
            offices_with_stated_hours: of_basis(HoursBasis::Stated),
            offices_with_unclear_hours: of_basis(HoursBasis::Unclear),
            zips: self.zips.len(),
            shares: self.shares.len(),
        }
    }

    pub(super) fn zip_entry(&self, zip: Zip) -> Option<&ZipEntry> {
        self.zips
            .binary_search_by_key(&zip, |entry| entry.zip)
            .ok()
            .map(|at| &self.zips[at])
    }

    /// The known ZIP codes with the same first three digits.
    pub(super) fn zips_of_prefix(&self, zip: Zip) -> &[ZipEntry] {
        let first = self
            .zips
            .partition_point(|entry| entry.zip.prefix() < zip.prefix());
        let length = self.zips[first..].partition_point(|entry| entry.zip.prefix() == zip.prefix());
        &self.zips[first..first + length]
    }

    pub(super) fn shares_of(&self, entry: &ZipEntry) -> &[ShareRow] {
        let first = entry.first_share as usize;
        &self.shares[first..first + entry.share_count as usize]
    }

    pub(super) fn zone(&self, at: Option<u16>) -> Option<&TimeZone> {
        at.and_then(|at| self.zones.get(usize::from(at)))
    }

    pub(super) fn state_zone(&self, state: State) -> Option<&TimeZone> {
        self.zone(self.state_zones.get(&state).copied())
    }

    pub(super) fn state_of_prefix(&self, zip: Zip) -> Option<State> {
        self.prefixes.get(&prefix_number(zip)).copied()
    }
}

fn target(row: TargetRow, offices: Vec<Office>) -> Target {
    Target {
        title: Title::of(row.chamber, row.state),
        id: row.id,
        name: row.name,
        chamber: row.chamber,
        state: row.state,
        district: row.district,
        party: row.party,
        caucus: row.caucus,
        state_rank: row.state_rank,
        since: row.since,
        expected_end: row.expected_end,
        offices,
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
fn zip_entries(mut rows: Vec<ZipRow>, shares: &[ShareRow], zones: &mut Zones) -> Vec<ZipEntry> {
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
    let zoned = zips.iter().filter_map(|entry| Some((entry.state, entry.zone?)));
    most_common(zoned)
        .into_iter()
        .map(|(state, (zone, _))| (state, zone))
        .collect()
}

fn prefixes(zips: &[ZipEntry]) -> HashMap<u16, State> {
    let placed = zips.iter().filter(|entry| entry.kind != ZipKind::Military);
    let common = most_common(placed.map(|entry| (prefix_number(entry.zip), entry.state)));
    let sure = common
        .into_iter()
        .filter(|(_, (_, part))| *part >= PREFIX_MAJORITY);
    sure.map(|(prefix, (state, _))| (prefix, state)).collect()
}

/// For each key its most common value, and the part of the key's occurrences that have it.
fn most_common<K, V>(pairs: impl Iterator<Item = (K, V)>) -> HashMap<K, (V, f64)>
where
    K: Copy + Eq + std::hash::Hash,
    V: Copy + Ord + std::hash::Hash,
{
    let mut counts: HashMap<K, HashMap<V, usize>> = HashMap::new();
    for (key, value) in pairs {
        *counts.entry(key).or_default().entry(value).or_default() += 1;
    }
    let winner = |counts: HashMap<V, usize>| {
        let total: usize = counts.values().sum();
        let most = counts
            .into_iter()
            .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        most.map(|(value, count)| (value, count as f64 / total as f64))
    };
    counts
        .into_iter()
        .filter_map(|(key, counts)| Some((key, winner(counts)?)))
        .collect()
}

fn prefix_number(zip: Zip) -> u16 {
    zip.prefix().parse().unwrap_or_default()
}
