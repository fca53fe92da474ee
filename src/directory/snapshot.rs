//! One immutable state of the directory, built from rows, shared by every call until an import swaps it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::import::hours_text;
use super::zip_index::ZipIndex;
use super::*;
use crate::units::{State, TargetId};

/// The directory: targets with offices, ZIP codes with districts, closed days.
#[derive(Debug)]
pub struct Directory {
    targets: Vec<Target>,
    by_id: HashMap<TargetId, u32>,
    /// Representatives by seat.
    seats: HashMap<District, u32>,
    /// The senior senator first.
    senators: HashMap<State, Vec<u32>>,
    pub(super) zips: ZipIndex,
    one_seat: BTreeSet<State>,
    vacant: Vec<District>,
    closures: Closures,
    sources: Vec<Source>,
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
            shares,
            holidays,
            sources,
        } = dataset;
        let mut directory = Self {
            targets: Vec::with_capacity(targets.len()),
            by_id: HashMap::new(),
            seats: HashMap::new(),
            senators: HashMap::new(),
            one_seat: BTreeSet::new(),
            vacant: Vec::new(),
            closures: Closures::default(),
            zips: ZipIndex::new(zips, shares),
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
            point: row.point.or_else(|| self.zips.entry(row.zip?)?.point),
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
            .and_then(|zip| self.zips.entry(zip))
            .filter(|entry| entry.state == row.state);
        if let Some(zone) = own.and_then(|entry| self.zips.zone(entry.zone)) {
            return Some(zone);
        }
        let near = row.point.and_then(|point| {
            let in_state = self
                .zips
                .entries()
                .iter()
                .filter(|entry| entry.state == row.state && entry.zone.is_some());
            let placed = in_state.filter_map(|entry| Some((entry.point?.kilometres_to(point), entry.zone)));
            placed
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .and_then(|(_, zone)| self.zips.zone(zone))
        });
        near.or_else(|| self.zips.state_zone(row.state))
    }

    /// Seats are those that the table of shares or a member names, and one per territory.
    fn settle_seats(&mut self) {
        let mut seats: BTreeSet<District> = self.zips.shares().iter().map(|row| row.district).collect();
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

    /// Seats of the House that nobody holds, by state and number.
    pub fn vacancies(&self) -> &[District] {
        &self.vacant
    }

    /// States with fewer than two senators, once for each empty seat.
    pub fn senate_vacancies(&self) -> Vec<State> {
        let states = states::STATES
            .iter()
            .filter(|facts| facts.standing == Standing::State);
        let parsed = states.filter_map(|facts| facts.code.parse().ok());
        parsed
            .flat_map(|state| (self.senators(state).count()..2).map(move |_| state))
            .collect()
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
            zips: self.zips.entries().len(),
            shares: self.zips.shares().len(),
        }
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
