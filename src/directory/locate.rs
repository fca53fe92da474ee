//! From a ZIP code to districts: exact rows first, then the ZIP code's state, then what its first digits say.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::states::Standing;
use super::zip_index::ZipEntry;
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
        let entry = self.zips.entry(zip);
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
        let timezone = self.zips.zone(entry.zone).cloned();
        let parts = self.zips.shares_of(entry);
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
        match self.zips.state_of_prefix(zip) {
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
        let timezone = self.zips.state_zone(state).cloned();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Dataset, Point, Source, TargetRow, ZipRow};

    /// `AZ-2 UT-3`: the districts of a ZIP code, largest first; the states where there are none.
    fn answer(zip: &str) -> String {
        let located = located(zip);
        match located.districts.is_empty() {
            true => words(located.states.iter()),
            false => words(
                located
                    .districts
                    .iter()
                    .map(|part| format!("{}-{}", part.state, part.district)),
            ),
        }
    }

    fn asked(zip: &str) -> String {
        let parts = located(zip).asked(MINIMUM_ASKED_SHARE);
        words(
            parts
                .iter()
                .map(|part| format!("{}-{}", part.state, part.district)),
        )
    }

    fn located(zip: &str) -> Located {
        Directory::bundled().unwrap().locate(zip.parse().unwrap())
    }

    fn words(parts: impl Iterator<Item = impl ToString>) -> String {
        parts.map(|part| part.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn worked_cases_of_the_hotline_are_located_by_the_population_table() {
        for (zip, districts, worth_asking) in [
            ("94612", "CA-12", "CA-12"),
            ("54409", "WI-7 WI-8", "WI-7"),
            ("60062", "IL-10 IL-9", "IL-10 IL-9"),
            ("91711", "CA-28 CA-35", "CA-28"),
            ("30165", "GA-14 AL-3", "GA-14"),
            ("86514", "AZ-2 UT-3 NM-3", "AZ-2 UT-3"),
            ("82063", "WY-0 CO-2", "WY-0 CO-2"),
            ("02139", "MA-7 MA-5", "MA-7 MA-5"),
            ("97211", "OR-3", "OR-3"),
            ("99501", "AK-0", "AK-0"),
            ("57717", "SD-0 WY-0 MT-2", "SD-0"),
            ("81120", "CO-3 NM-3", "CO-3 NM-3"),
        ] {
            assert_eq!(
                (answer(zip).as_str(), asked(zip).as_str()),
                (districts, worth_asking),
                "{zip}"
            );
            let located = located(zip);
            assert_eq!(
                (located.kind, located.rule, located.confidence),
                (ZipKind::Standard, Rule::Exact, Confidence::High)
            );
        }
    }

    #[test]
    fn capital_and_territories_have_a_delegate_and_no_senators() {
        for (zip, seat, kind, title) in [
            ("20001", "DC-0", ZipKind::Standard, "Delegate"),
            ("00601", "PR-0", ZipKind::Territory, "Resident Commissioner"),
            ("96799", "AS-0", ZipKind::Territory, "Delegate"),
            ("96910", "GU-0", ZipKind::Territory, "Delegate"),
            ("96950", "MP-0", ZipKind::Territory, "Delegate"),
            ("00802", "VI-0", ZipKind::Territory, "Delegate"),
            ("20500", "DC-0", ZipKind::PoBox, "Delegate"),
        ] {
            let located = located(zip);
            assert_eq!((answer(zip).as_str(), located.kind), (seat, kind), "{zip}");
            let directory = Directory::bundled().unwrap();
            let targets = directory.targets_of(&located);
            assert_eq!(
                targets
                    .iter()
                    .map(|target| target.title.words())
                    .collect::<Vec<_>>(),
                [title],
                "{zip}"
            );
            assert_eq!(located.confidence, Confidence::High, "{zip}");
        }
    }

    #[test]
    fn post_office_box_gives_its_state_alone() {
        let located = located("12345");
        assert_eq!(
            (answer("12345").as_str(), located.kind, located.rule),
            ("NY", ZipKind::PoBox, Rule::ZipState)
        );
        assert_eq!(located.confidence, Confidence::Medium);
        assert_eq!(located.timezone.unwrap().iana_name(), Some("America/New_York"));
    }

    #[test]
    fn unlisted_zip_code_is_placed_by_its_first_digits_and_says_so() {
        let guessed = located("94199");
        assert_eq!(
            (answer("94199").as_str(), guessed.kind, guessed.rule),
            ("CA", ZipKind::PoBox, Rule::Prefix)
        );
        assert_eq!(guessed.confidence, Confidence::Low);
        assert_eq!(answer("59999"), "MT");
        assert_eq!(answer("82699"), "WY-0", "a state with one seat is found whole");
    }

    #[test]
    fn armed_forces_mail_has_no_place_listed_or_not() {
        for zip in ["09012", "09999", "34001", "34099", "96201", "96699"] {
            let located = located(zip);
            assert_eq!(
                (located.kind, located.rule),
                (ZipKind::Military, Rule::Military),
                "{zip}"
            );
            assert!(located.states.is_empty() && located.districts.is_empty() && located.timezone.is_none());
        }
    }

    #[test]
    fn freely_associated_states_reach_nobody() {
        for (zip, state) in [("96941", "FM"), ("96960", "MH"), ("96940", "PW")] {
            let located = located(zip);
            assert_eq!(
                (answer(zip).as_str(), located.kind),
                (state, ZipKind::FreelyAssociated)
            );
            assert!(Directory::bundled().unwrap().targets_of(&located).is_empty());
        }
    }

    #[test]
    fn nonsense_is_unknown_with_empty_lists() {
        for zip in ["00000", "00001", "00499", "21300", "34300"] {
            let located = located(zip);
            assert_eq!(
                (located.kind, located.rule),
                (ZipKind::Unknown, Rule::Unknown),
                "{zip}"
            );
            assert!(located.states.is_empty() && located.districts.is_empty());
        }
    }

    #[test]
    fn vacant_seat_stands_as_a_district_without_a_target() {
        let directory = Directory::bundled().unwrap();
        let located = located("94536"); // Fremont, CA-14
        let vacant: Vec<_> = located
            .districts
            .iter()
            .filter(|part| part.vacant)
            .map(|part| part.district)
            .collect();
        assert_eq!(vacant, [14]);
        assert!(directory.representative("CA".parse().unwrap(), 14).is_none());
        assert_eq!(
            directory.targets_of(&located).len(),
            2 + located.districts.len() - 1
        );
    }

    #[test]
    fn nobody_knows_how_a_zip_code_without_residents_is_split() {
        let located = located("75219"); // control: people live there
        assert_eq!(located.confidence, Confidence::High);
        let directory = Directory::bundled().unwrap();
        let dataset = Dataset::bundled().unwrap();
        let row = dataset.shares.iter().find(|row| row.share.is_none()).unwrap();
        let located = directory.locate(row.zip);
        assert_eq!(located.confidence, Confidence::Low);
        let total: f64 = located.districts.iter().map(|part| part.share).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }

    #[test]
    fn territory_is_found_where_the_district_file_leaves_it_out() {
        let directory = Directory::from_dataset(Dataset {
            sources: Vec::<Source>::new(),
            ..Dataset::default()
        });
        let located = directory.locate("96799".parse().unwrap());
        assert_eq!(
            (located.kind, located.rule),
            (ZipKind::Territory, Rule::TerritoryTable)
        );
        assert_eq!(
            (located.districts[0].district, located.districts[0].vacant),
            (0, true)
        );
        let targets: Vec<TargetRow> = Vec::new();
        let zips = vec![ZipRow {
            zip: "96799".parse().unwrap(),
            kind: ZipKind::Territory,
            state: "AS".parse().unwrap(),
            timezone: Some("Pacific/Pago_Pago".into()),
            point: Point::new(-14.3, -170.7),
        }];
        let listed = Directory::from_dataset(Dataset {
            targets,
            zips,
            ..Dataset::default()
        });
        let located = listed.locate("96799".parse().unwrap());
        assert_eq!((located.rule, located.districts.len()), (Rule::ZipState, 1));
        assert_eq!(located.timezone.unwrap().iana_name(), Some("Pacific/Pago_Pago"));
    }

    #[test]
    fn representative_comes_first_and_the_senior_senator_before_the_junior() {
        let directory = Directory::bundled().unwrap();
        let names = |zip: &str| {
            let located = directory.locate(zip.parse().unwrap());
            words(
                directory
                    .targets_of(&located)
                    .into_iter()
                    .map(|target| format!("{};", target.spoken_title())),
            )
        };
        assert_eq!(
            names("05401"),
            "Representative Becca Balint; Senator Bernard Sanders; Senator Peter Welch;"
        );
        assert_eq!(
            names("60062"),
            "Representative Bradley Scott Schneider; Representative Janice D. Schakowsky; \
             Senator Richard J. Durbin; Senator Tammy Duckworth;"
        );
    }

    proptest::proptest! {
        #[test]
        fn every_five_digits_are_located_without_panic_and_without_doubt_about_kind(number in 0..100_000_u32) {
            let zip: Zip = format!("{number:05}").parse().unwrap();
            let directory = Directory::bundled().unwrap();
            let located = directory.locate(zip);
            let empty = located.states.is_empty() && located.districts.is_empty();
            let nowhere = matches!(located.kind, ZipKind::Unknown | ZipKind::Military);
            proptest::prop_assert_eq!(empty, nowhere);
            proptest::prop_assert!(located.districts.is_sorted_by(|a, b| a.share >= b.share));
            proptest::prop_assert!(located.districts.iter().all(|part| located.states.contains(&part.state)));
            let asked = located.asked(MINIMUM_ASKED_SHARE);
            proptest::prop_assert_eq!(asked.is_empty(), located.districts.is_empty());
        }
    }
}
