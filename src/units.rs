//! Identifiers and numbers that several rooms share: they parse, print and compare, nothing else.
//!
//! Every value that exists is valid: constructors check, fields are private.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why text was not one of the values of this module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("{0:?} is not a ZIP code: five digits are needed")]
    Zip(String),
    #[error("{0:?} is not a telephone number: \"+\", then 4 to 15 digits (E.164) are needed")]
    PhoneNumber(String),
    #[error("{0:?} is not a call id: a UUID is needed")]
    CallId(String),
    #[error("{0:?} is not a state: a two-letter postal abbreviation is needed")]
    State(String),
    #[error("{0:?} is not a language: two lower-case letters are needed")]
    Language(String),
}

macro_rules! text_traits {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

/// A five-digit ZIP code, leading zeros kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zip([u8; 5]);

impl Zip {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("00000")
    }

    /// The first three digits: the sectional centre, which mostly lies in one state.
    pub fn prefix(&self) -> &str {
        &self.as_str()[..3]
    }
}

impl FromStr for Zip {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        match <[u8; 5]>::try_from(text.as_bytes()) {
            Ok(digits) if digits.iter().all(u8::is_ascii_digit) => Ok(Self(digits)),
            _ => Err(UnitError::Zip(text.to_owned())),
        }
    }
}

impl fmt::Display for Zip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Zip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zip({})", self.as_str())
    }
}

text_traits!(Zip);

/// A two-letter postal abbreviation of a state, DC, a territory or a freely associated state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct State([u8; 2]);

impl State {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl FromStr for State {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        match <[u8; 2]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_alphabetic) => {
                Ok(Self(letters.map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(UnitError::State(text.to_owned())),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({})", self.as_str())
    }
}

text_traits!(State);

/// A prompt language as an ISO 639-1 code: `en`, `es`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language([u8; 2]);

impl Language {
    pub const ENGLISH: Language = Language(*b"en");
    pub const SPANISH: Language = Language(*b"es");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("en")
    }
}

impl FromStr for Language {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        match <[u8; 2]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_lowercase) => Ok(Self(letters)),
            _ => Err(UnitError::Language(text.to_owned())),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Language({})", self.as_str())
    }
}

text_traits!(Language);

/// A telephone number in E.164 form: `+` and 4 to 15 digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads what people and trunks write in the United States: ten digits, eleven with a leading 1,
    /// or `+` and an international number; spaces, dots, hyphens and brackets are passed over.
    pub fn parse_us(text: &str) -> Result<Self, UnitError> {
        let refused = || UnitError::PhoneNumber(text.to_owned());
        let mut digits = String::with_capacity(15);
        let mut international = false;
        for (at, letter) in text.trim().chars().enumerate() {
            match letter {
                '0'..='9' if digits.len() < 15 => digits.push(letter),
                '+' if at == 0 => international = true,
                ' ' | '.' | '-' | '(' | ')' | '/' => {}
                _ => return Err(refused()),
            }
        }
        match (international, digits.len()) {
            (true, 4..=15) => Ok(Self(format!("+{digits}"))),
            (false, 10) => Ok(Self(format!("+1{digits}"))),
            (false, 11) if digits.starts_with('1') => Ok(Self(format!("+{digits}"))),
            _ => Err(refused()),
        }
    }

    /// With the leading `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the leading `+`.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }
}

impl FromStr for PhoneNumber {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let valid = text
            .strip_prefix('+')
            .is_some_and(|rest| (4..=15).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit()));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(UnitError::PhoneNumber(text.to_owned()))
        }
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    /// Shows the last two digits only: debug output reaches logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber(…{})", &self.0[self.0.len() - 2..])
    }
}

text_traits!(PhoneNumber);

/// A call's identity, ours: a version 7 UUID (RFC 9562 §5.7), so ids sort by the time the call began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallId(u128);

impl CallId {
    /// Makes an id from the wall clock (milliseconds since 1970) and random bits.
    pub fn new(unix_milliseconds: u64, random: u128) -> Self {
        let time = u128::from(unix_milliseconds & 0xffff_ffff_ffff) << 80;
        let random = random & 0x0000_0000_0000_0fff_3fff_ffff_ffff_ffff;
        Self(time | 0x7000_u128 << 64 | 0x8000_0000_0000_0000 | random)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

impl FromStr for CallId {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refused = || UnitError::CallId(text.to_owned());
        let hyphens = [8, 13, 18, 23];
        let shape = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| {
                if hyphens.contains(&at) {
                    byte == b'-'
                } else {
                    byte.is_ascii_hexdigit()
                }
            });
        if !shape {
            return Err(refused());
        }
        let hex: String = text.chars().filter(|&letter| letter != '-').collect();
        u128::from_str_radix(&hex, 16).map(Self).map_err(|_| refused())
    }
}

text_traits!(CallId);

macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

named_id! {
    /// A target's identity across data refreshes, by source and the source's key: `us:bioguide:P000197`.
    TargetId
}
named_id! {
    /// An office's identity across data refreshes: the target's id, then `/dc` or the source's office id.
    OfficeId
}
named_id! {
    /// A campaign's short name, as configuration and records write it: `congress`.
    CampaignId
}
named_id! {
    /// A trunk's name in the configuration.
    TrunkName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zip_keeps_its_leading_zero() {
        let zip: Zip = "02139".parse().unwrap();
        assert_eq!((zip.to_string().as_str(), zip.prefix()), ("02139", "021"));
    }

    #[test]
    fn zip_of_other_than_five_digits_is_refused() {
        for text in ["", "9411", "941100", "9411o", "９４１１０"] {
            assert_eq!(text.parse::<Zip>(), Err(UnitError::Zip(text.to_owned())));
        }
    }

    #[test]
    fn ways_to_write_one_number_give_one_number() {
        for text in ["2025550100", "12025550100", "+1 202-555-0100", "(202) 555.0100"] {
            assert_eq!(PhoneNumber::parse_us(text).unwrap().as_str(), "+12025550100");
        }
    }

    #[test]
    fn number_with_letters_or_wrong_length_is_refused() {
        for text in [
            "",
            "555-0100",
            "202555010x",
            "1+2025550100",
            "+1",
            "12345678901234567890",
        ] {
            assert!(PhoneNumber::parse_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn number_in_debug_output_shows_two_digits() {
        let number = PhoneNumber::parse_us("2025550173").unwrap();
        assert_eq!(format!("{number:?}"), "PhoneNumber(…73)");
    }

    #[test]
    fn call_id_prints_as_uuid_of_version_seven_and_reads_back() {
        let id = CallId::new(1_700_000_000_000, u128::MAX);
        let text = id.to_string();
        assert_eq!((&text[14..15], &text[19..20]), ("7", "b"));
        assert_eq!(text.parse::<CallId>().unwrap(), id);
    }

    #[test]
    fn call_ids_sort_by_time() {
        assert!(CallId::new(1, u128::MAX) < CallId::new(2, 0));
    }
}
