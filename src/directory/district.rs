//! Congressional districts: who elects a representative.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::State;

/// Why text was not a district.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistrictError {
    #[error("{0:?} is not a district: a state, a hyphen and a number from 0 to 97 are needed, as in CA-12")]
    Malformed(String),
    #[error("{0:?} is not a district number: 0 to 97, 98 (a delegate), AL or At-Large are known")]
    Number(String),
}

/// One seat of the House. Number 0 is a state's only district, or a delegate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct District {
    pub state: State,
    pub number: u8,
}

impl District {
    /// Reads a district number in the spellings that sources use: `12`, `07`; `0`, `00`, `98`, `AL` and `At-Large`
    /// for a seat at large.
    ///
    /// # Errors
    /// [`DistrictError::Number`] for anything else.
    pub fn parse_number(text: &str) -> Result<u8, DistrictError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("al") || text.eq_ignore_ascii_case("at-large") {
            return Ok(0);
        }
        match text.parse::<u8>() {
            Ok(98) => Ok(0),
            Ok(number @ 0..=97) if text.len() <= 2 => Ok(number),
            _ => Err(DistrictError::Number(text.to_owned())),
        }
    }
}

impl fmt::Display for District {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.state, self.number)
    }
}

impl FromStr for District {
    type Err = DistrictError;
    fn from_str(text: &str) -> Result<Self, DistrictError> {
        let malformed = || DistrictError::Malformed(text.to_owned());
        let (state, number) = text.split_once('-').ok_or_else(malformed)?;
        Ok(Self {
            state: state.parse().map_err(|_| malformed())?,
            number: Self::parse_number(number).map_err(|_| malformed())?,
        })
    }
}

/// A district and the part of a ZIP code's people who live in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DistrictShare {
    pub state: State,
    /// 0 at large.
    pub district: u8,
    /// 0 to 1; equal parts where the source gives none, and the confidence is then low.
    pub share: f64,
    /// Nobody holds the seat.
    pub vacant: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_at_large_all_give_zero() {
        for text in ["0", "00", "98", "AL", "at-large", "At-Large"] {
            assert_eq!(District::parse_number(text), Ok(0), "{text}");
        }
    }

    #[test]
    fn numbers_that_no_state_has_are_refused() {
        for text in ["", "-1", "99", "100", "ZZ", "007", "１"] {
            assert!(District::parse_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn district_prints_and_reads_back() {
        let district: District = "CA-12".parse().unwrap();
        assert_eq!((district.number, district.to_string().as_str()), (12, "CA-12"));
        assert!("CA12".parse::<District>().is_err());
    }
}
