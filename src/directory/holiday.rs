//! Days on which offices are closed: federal holidays by rule (5 USC 6103), and closures from files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};

use crate::units::State;

/// A legal public holiday of the United States under 5 USC 6103 as it stands since 2021.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FederalHoliday {
    NewYearsDay,
    MartinLutherKingBirthday,
    WashingtonsBirthday,
    MemorialDay,
    Juneteenth,
    IndependenceDay,
    LaborDay,
    ColumbusDay,
    VeteransDay,
    Thanksgiving,
    Christmas,
}

impl FederalHoliday {
    /// The name in 5 USC 6103(a).
    pub fn name(self) -> &'static str {
        match self {
            Self::NewYearsDay => "New Year's Day",
            Self::MartinLutherKingBirthday => "Birthday of Martin Luther King, Jr.",
            Self::WashingtonsBirthday => "Washington's Birthday",
            Self::MemorialDay => "Memorial Day",
            Self::Juneteenth => "Juneteenth National Independence Day",
            Self::IndependenceDay => "Independence Day",
            Self::LaborDay => "Labor Day",
            Self::ColumbusDay => "Columbus Day",
            Self::VeteransDay => "Veterans Day",
            Self::Thanksgiving => "Thanksgiving Day",
            Self::Christmas => "Christmas Day",
        }
    }
}

/// The holiday that falls on this day or is observed on it: one on a Saturday is observed on the Friday before
/// (5 USC 6103(b)), one on a Sunday on the Monday after (Executive Order 11582).
pub fn federal_holiday(date: Date) -> Option<FederalHoliday> {
    if let Some(holiday) = falls_on(date) {
        return Some(holiday);
    }
    match date.weekday() {
        Weekday::Friday => date.tomorrow().ok().and_then(fixed),
        Weekday::Monday => date.yesterday().ok().and_then(fixed),
        _ => None,
    }
}

fn falls_on(date: Date) -> Option<FederalHoliday> {
    use FederalHoliday::*;
    match (date.month(), date.weekday(), date.day()) {
        (1, Weekday::Monday, 15..=21) => Some(MartinLutherKingBirthday),
        (2, Weekday::Monday, 15..=21) => Some(WashingtonsBirthday),
        (5, Weekday::Monday, 25..=31) => Some(MemorialDay),
        (9, Weekday::Monday, 1..=7) => Some(LaborDay),
        (10, Weekday::Monday, 8..=14) => Some(ColumbusDay),
        (11, Weekday::Thursday, 22..=28) => Some(Thanksgiving),
        _ => fixed(date),
    }
}

fn fixed(date: Date) -> Option<FederalHoliday> {
    use FederalHoliday::*;
    match (date.month(), date.day()) {
        (1, 1) => Some(NewYearsDay),
        (6, 19) => Some(Juneteenth),
        (7, 4) => Some(IndependenceDay),
        (11, 11) => Some(VeteransDay),
        (12, 25) => Some(Christmas),
        _ => None,
    }
}

/// Inauguration Day, a holiday in and around the capital only: 20 January of every fourth year after 1965 (5 USC
/// 6103(c)). One on a Sunday is observed on the Monday after, which is Martin Luther King's birthday already.
fn is_inauguration_day(date: Date) -> bool {
    (date.month(), date.day()) == (1, 20) && date.year() >= 1969 && (date.year() - 1965) % 4 == 0
}

/// Where a closure applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Every office.
    Everywhere,
    /// Offices in one state.
    State(State),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Everywhere => f.write_str("us"),
            Scope::State(state) => state.fmt(f),
        }
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "us" {
            return Ok(Scope::Everywhere);
        }
        let state: Option<State> = text.parse().ok().filter(|&state| super::facts(state).is_some());
        state
            .map(Scope::State)
            .ok_or_else(|| format!("{text:?} is not a scope: \"us\" or a state is needed"))
    }
}

impl TryFrom<String> for Scope {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

/// Closed days by place: the federal rule for any year, and days that files add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closures {
    added: BTreeMap<(Date, Scope), String>,
}

impl Closures {
    pub fn add(&mut self, date: Date, scope: Scope, name: &str) {
        self.added.insert((date, scope), name.to_owned());
    }

    /// Why offices in this state are closed on this day, if they are.
    pub fn closed(&self, date: Date, state: State) -> Option<&str> {
        if let Some(holiday) = federal_holiday(date) {
            return Some(holiday.name());
        }
        if state.as_str() == "DC" && is_inauguration_day(date) {
            return Some("Inauguration Day");
        }
        if self.added.is_empty() {
            return None;
        }
        let everywhere = self.added.get(&(date, Scope::Everywhere));
        everywhere
            .or_else(|| self.added.get(&(date, Scope::State(state))))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn holiday_on_a_weekend_is_observed_on_the_nearest_working_day() {
        let observed = |year, month, day| federal_holiday(date(year, month, day));
        assert_eq!(observed(2026, 7, 3), Some(FederalHoliday::IndependenceDay)); // the 4th is a Saturday
        assert_eq!(observed(2027, 7, 5), Some(FederalHoliday::IndependenceDay)); // the 4th is a Sunday
        assert_eq!(observed(2027, 12, 31), Some(FederalHoliday::NewYearsDay)); // of 2028
        assert_eq!(observed(2026, 7, 6), None);
    }

    #[test]
    fn every_year_has_ten_to_twelve_holidays_on_working_days() {
        for year in 1987..2200 {
            let mut day = date(year, 1, 1);
            let mut names = Vec::new();
            while day.year() == year {
                let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
                names.extend(federal_holiday(day).filter(|_| !weekend));
                day = day.tomorrow().unwrap();
            }
            // New Year's Day on a Saturday is observed in the year before.
            assert!((10..=12).contains(&names.len()), "{year}: {names:?}");
        }
    }

    #[test]
    fn inauguration_day_closes_the_capital_alone() {
        let (capital, ohio) = ("DC".parse().unwrap(), "OH".parse().unwrap());
        let closures = Closures::default();
        for day in [
            date(2033, 1, 20),
            date(2021, 1, 20),
            date(2013, 1, 21),
            date(1985, 1, 21),
        ] {
            assert!(closures.closed(day, capital).is_some(), "{day}");
        }
        assert_eq!(
            closures.closed(date(2033, 1, 20), capital),
            Some("Inauguration Day")
        );
        assert_eq!(closures.closed(date(2033, 1, 20), ohio), None);
        assert_eq!(closures.closed(date(2032, 1, 20), capital), None);
    }

    #[test]
    fn closures_of_one_state_leave_the_others_open() {
        let mut closures = Closures::default();
        let (texas, ohio) = ("TX".parse().unwrap(), "OH".parse().unwrap());
        closures.add(date(2026, 3, 2), Scope::State(texas), "Texas Independence Day");
        assert_eq!(
            closures.closed(date(2026, 3, 2), texas),
            Some("Texas Independence Day")
        );
        assert_eq!(closures.closed(date(2026, 3, 2), ohio), None);
        closures.add(date(2026, 3, 3), Scope::Everywhere, "Day of mourning");
        assert_eq!(closures.closed(date(2026, 3, 3), ohio), Some("Day of mourning"));
    }
}
