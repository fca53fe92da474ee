//! One phone and place of a target.

use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::hours::WeeklyHours;
use super::point::Point;
use crate::units::{OfficeId, PhoneNumber, State, Zip};

/// An office with its hours and time zone settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Office {
    pub id: OfficeId,
    pub kind: OfficeKind,
    /// `Washington` for the capitol, else the city.
    pub name: String,
    pub city: String,
    pub state: State,
    pub zip: Option<Zip>,
    /// None where the source gives no number: such an office cannot be dialled.
    pub phone: Option<PhoneNumber>,
    /// The zone of the office's own place, never of its area code.
    pub timezone: TimeZone,
    pub hours: WeeklyHours,
    pub hours_basis: HoursBasis,
    /// Visits need an appointment; the telephone is still answered in `hours`.
    pub by_appointment: bool,
    pub point: Option<Point>,
}

impl Office {
    /// The IANA name of the zone: `America/New_York`.
    pub fn timezone_name(&self) -> &str {
        self.timezone.iana_name().unwrap_or("UTC")
    }
}

/// Where a target keeps an office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfficeKind {
    Capitol,
    District,
}

impl OfficeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            OfficeKind::Capitol => "capitol",
            OfficeKind::District => "district",
        }
    }
}

impl FromStr for OfficeKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = [OfficeKind::Capitol, OfficeKind::District]
            .into_iter()
            .find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a kind of office: capitol or district"))
    }
}

/// How far an office's hours can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoursBasis {
    /// The office states them.
    Stated,
    /// The office states nothing: the convention for its kind.
    Default,
    /// The office states something that has no one weekly meaning: the convention, flagged.
    Unclear,
}
