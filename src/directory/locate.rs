//! From a ZIP code to districts: exact rows first, then the ZIP code's state, then what its first digits say.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::snapshot::ZipEntry;
use super::states::Standing;
use super::{Directory, DistrictShare, facts};
use crate::units::{State, Zip};

/// What a ZIP code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZipKind {
    /// People live there.
    Standard,
    /// No residents known: post-office boxes, one building, one business, or not in the table.
    PoBox,
    /// Armed forces or diplomatic mail: the caller votes elsewhere.
    Military,
    /// In a territory with a delegate or resident commissioner.
    Territory,
    /// In a freely associated state: nobody in Congress.
    FreelyAssociated,
    /// Not a ZIP code that the directory can place.
    Unknown,
}

impl ZipKind {
    const ALL: [ZipKind; 6] = [
        ZipKind::Standard,
        ZipKind::PoBox,
        ZipKind::Military,
        ZipKind::Territory,
        ZipKind::FreelyAssociated,
        ZipKind::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ZipKind::Standard => "standard",
            ZipKind::PoBox => "po_box",
            ZipKind::Military => "military",
            ZipKind::Territory => "territory",
            ZipKind::FreelyAssociated => "freely_associated",
            ZipKind::Unknown => "unknown",
        }
    }

    /// The kind of a ZIP code in this state, by whether people live there.
    pub fn in_state(state: State, residents: bool) -> Self {
        match facts(state).map(|facts| facts.standing) {
            Some(Standing::Territory) => ZipKind::Territory,
            Some(Standing::FreelyAssociated) => ZipKind::FreelyAssociated,
            Some(Standing::Military) => ZipKind::Military,
            Some(Standing::State | Standing::Capital) if residents => ZipKind::Standard,
            Some(Standing::State | Standing::Capital) => ZipKind::PoBox,
            None => ZipKind::Unknown,
        }
    }
}

impl fmt::Display for ZipKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ZipKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a kind of ZIP code"))
    }
}

/// Which rule answered (hotline specification, ZIP rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The table has rows for this ZIP code.
    Exact,
    /// The ZIP code is known and its state has one seat, or only its state is known.
    ZipState,
    /// The fixed table of territories and freely associated states.
    TerritoryTable,
    /// The first three digits.
    Prefix,
    /// Armed forces prefixes.
    Military,
    /// Nothing matched.
    Unknown,
}

/// How sure the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Guessed from the first digits, or from a list without shares: say so, or ask.
    Low,
    /// The state is sure, the district is not known.
    Medium,
    High,
}

/// Whom a ZIP code can reach, as far as the directory knows.
#[derive(Debug, Clone)]
pub struct Located {
    pub zip: Zip,
    pub kind: ZipKind,
    /// In the order of the districts, without repeats; one state alone where no district is known.
    pub states: Vec<State>,
    /// Largest share first; every district that the table lists.
    pub districts: Vec<DistrictShare>,
    pub rule: Rule,
    pub confidence: Confidence,
    /// The caller's zone, where the ZIP code has one.
    pub timezone: Option<TimeZone>,
}

/// Overlaps smaller than this are errors of the lines more often than people: not worth a question.
pub const MINIMUM_ASKED_SHARE: f64 = 0.01;

impl Located {
    /// The districts worth asking a caller about: those of at least `minimum_share`, and always the largest.
    pub fn asked(&self, minimum_share: f64) -> Vec<DistrictShare> {
        let worth = |(at, part): &(usize, &DistrictShare)| *at == 0 || part.share >= minimum_share;
        self.districts
            .iter()
            .enumerate()
            .filter(worth)
            .map(|(_, part)| *part)
            .collect()
    }

    /// The states of [`Self::asked`], in its order; the state itself where no district is known.
    pub fn asked_states(&self, minimum_share: f64) -> Vec<State> {
        if self.districts.is_empty() {
            return self.states.clone();
        }
        distinct(self.asked(minimum_share).iter().map(|part| part.state))
    }
}

impl Directory {
    /// Finds the states and districts of a ZIP code. It never fails: what cannot be placed is [`ZipKind::Unknown`].
    pub fn locate(&self, zip: Zip) -> Located {
        let entry = self.zip_entry(zip);
        if is_military(zip) || entry.is_some_and(|entry| entry.kind == ZipKind::Military) {
            return Located {
                confidence: Confidence::High,
                ..nowhere(zip, ZipKind::Military, Rule::Military)
            };
        }
        match entry {
            Some(entry) => self.locate_entry(entry),
            None => self.locate_by_digits(zip),
        }
    }

    fn locate_entry(&self, entry: &ZipEntry) -> Located {
        let timezone = self.zone(entry.zone).cloned();
        let parts = self.shares_of(entry);
        if parts.is_empty() || entry.kind == ZipKind::FreelyAssociated {
            let confidence = if self.has_one_seat(entry.state) {
                Confidence::High
            } else {
                Confidence::Medium
            };
            let located = self.whole_state(entry.zip, entry.kind, entry.state, Rule::ZipState);
            return Located {
                timezone,
                confidence,
                ..located
            };
        }
        let told = parts.iter().all(|part| part.share.is_some());
        let equal = 1.0 / parts.len() as f64;
        let districts: Vec<_> = parts
            .iter()
            .map(|part| DistrictShare {
                state: part.district.state,
                district: part.district.number,
                share: if told { part.share.unwrap_or(equal) } else { equal },
                vacant: self.seat_holder(part.district).is_none(),
            })
            .collect();
        Located {
            zip: entry.zip,
            kind: entry.kind,
            states: distinct(districts.iter().map(|part| part.state)),
            confidence: if told || parts.len() == 1 {
                Confidence::High
            } else {
                Confidence::Low
            },
            districts,
            rule: Rule::Exact,
            timezone,
        }
    }

    fn locate_by_digits(&self, zip: Zip) -> Located {
        if let Some(state) = territory(zip) {
            let kind = ZipKind::in_state(state, true);
            let located = self.whole_state(zip, kind, state, Rule::TerritoryTable);
            return Located {
                confidence: Confidence::High,
                ..located
            };
        }
        match self.state_of_prefix(zip) {
            Some(state) => self.whole_state(zip, ZipKind::in_state(state, false), state, Rule::Prefix),
            None => nowhere(zip, ZipKind::Unknown, Rule::Unknown),
        }
    }

    /// A state and, where it has only one, its seat.
    fn whole_state(&self, zip: Zip, kind: ZipKind, state: State, rule: Rule) -> Located {
        let seat = self.has_one_seat(state).then(|| DistrictShare {
            state,
            district: 0,
            share: 1.0,
            vacant: self.representative(state, 0).is_none(),
        });
        let timezone = self.state_zone(state).cloned();
        Located {
            states: vec![state],
            districts: seat.into_iter().collect(),
            timezone,
            ..nowhere(zip, kind, rule)
        }
    }
}

fn nowhere(zip: Zip, kind: ZipKind, rule: Rule) -> Located {
    let (states, districts) = (Vec::new(), Vec::new());
    Located {
        zip,
        kind,
        states,
        districts,
        rule,
        confidence: Confidence::Low,
        timezone: None,
    }
}

fn distinct(states: impl Iterator<Item = State>) -> Vec<State> {
    let mut seen = Vec::new();
    for state in states {
        if !seen.contains(&state) {
            seen.push(state);
        }
    }
    seen
}

/// Armed forces and diplomatic mail: 09x, 340 and 962 to 966.
fn is_military(zip: Zip) -> bool {
    let prefix = zip.prefix();
    prefix.starts_with("09") || prefix == "340" || ("962"..="966").contains(&prefix)
}

/// Ranges that the Postal Service gives to territories and freely associated states, which ZIP to district files
/// often leave out.
const TERRITORIES: &[(&str, &str, &str)] = &[
    ("00600", "00799", "PR"),
    ("00800", "00899", "VI"),
    ("00900", "00999", "PR"),
    ("96799", "96799", "AS"),
    ("96910", "96932", "GU"),
    ("96939", "96940", "PW"),
    ("96941", "96944", "FM"),
    ("96950", "96952", "MP"),
    ("96960", "96960", "MH"),
    ("96970", "96970", "MH"),
];

fn territory(zip: Zip) -> Option<State> {
    let inside = |(first, last, _): &&(&str, &str, &str)| (*first..=*last).contains(&zip.as_str());
    TERRITORIES
        .iter()
        .find(inside)
        .and_then(|(_, _, state)| state.parse().ok())
}
