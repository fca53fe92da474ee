//! The directory as plain rows: what importers make, the store keeps and a snapshot is built from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Chamber, District, OfficeKind, Point, Scope, StateRank, ZipKind};
use crate::units::{OfficeId, PhoneNumber, State, TargetId, Zip};

/// All rows. Order: targets and offices as their file lists them, ZIP codes ascending, the shares of one ZIP code
/// largest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    pub targets: Vec<TargetRow>,
    pub offices: Vec<OfficeRow>,
    pub zips: Vec<ZipRow>,
    pub shares: Vec<ShareRow>,
    pub holidays: Vec<HolidayRow>,
    pub sources: Vec<Source>,
}

/// A member of Congress, without offices.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRow {
    pub id: TargetId,
    pub name: String,
    pub chamber: Chamber,
    pub state: State,
    /// House only; 0 at large.
    pub district: Option<u8>,
    pub party: String,
    pub caucus: Option<String>,
    pub state_rank: Option<StateRank>,
    pub since: Option<Date>,
    pub expected_end: Option<Date>,
}

impl TargetRow {
    pub fn seat(&self) -> Option<District> {
        self.district.map(|number| District {
            state: self.state,
            number,
        })
    }
}

/// An office as its source states it.
#[derive(Debug, Clone, PartialEq)]
pub struct OfficeRow {
    pub id: OfficeId,
    pub target: TargetId,
    pub kind: OfficeKind,
    pub city: String,
    pub state: State,
    pub zip: Option<Zip>,
    pub phone: Option<PhoneNumber>,
    /// Free text, as published.
    pub hours_text: Option<String>,
    pub point: Option<Point>,
}

/// A ZIP code and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct ZipRow {
    pub zip: Zip,
    pub kind: ZipKind,
    pub state: State,
    /// IANA name; none for armed forces mail.
    pub timezone: Option<Arc<str>>,
    pub point: Option<Point>,
}

/// The part of a ZIP code's people who live in one district.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareRow {
    pub zip: Zip,
    pub district: District,
    /// 0 to 1; none where the source lists the district without saying how much of the ZIP code lies in it.
    pub share: Option<f64>,
}

/// A day on which offices are closed beyond the federal rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolidayRow {
    pub date: Date,
    pub scope: Scope,
    pub name: String,
}

/// Where rows came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub kind: SourceKind,
    pub name: String,
    /// The day the facts are from, as told by whoever imported them.
    pub as_of: Date,
    pub licence: String,
    pub rows: usize,
}

/// What a file tells about; also the KIND of `trunkline directory import`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Members of Congress with their Washington offices.
    Congress,
    /// Members' offices at home.
    Offices,
    /// ZIP code, state, kind, time zone and point.
    Zips,
    /// ZIP code to districts, with or without shares.
    ZipDistricts,
    /// The Census Bureau's own relationship file, shares by land area.
    CensusZcta,
    /// Closed days.
    Holidays,
}

impl SourceKind {
    pub const ALL: [SourceKind; 6] = [
        SourceKind::Congress,
        SourceKind::Offices,
        SourceKind::Zips,
        SourceKind::ZipDistricts,
        SourceKind::CensusZcta,
        SourceKind::Holidays,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Congress => "congress",
            SourceKind::Offices => "offices",
            SourceKind::Zips => "zips",
            SourceKind::ZipDistricts => "zip-districts",
            SourceKind::CensusZcta => "census-zcta",
            SourceKind::Holidays => "holidays",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SourceKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a kind of directory file; known are {}", known()))
    }
}

impl Dataset {
    /// Replaces the entry of one kind, keeping the kinds in order.
    pub fn set_source(&mut self, source: Source) {
        self.sources.retain(|old| old.kind != source.kind);
        self.sources.push(source);
        self.sources.sort_by_key(|source| source.kind);
    }
}
