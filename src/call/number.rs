//! Numbers as trunks and routes write them: patterns, formats, and what may never be dialled.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::units::PhoneNumber;

/// The longest text that is dialled.
const LONGEST: usize = 32;

/// Why text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number pattern: digits, X for any digit, a leading + and a final * are allowed")]
pub struct PatternError(String);

/// A set of numbers: digits stand for themselves, `X` for any digit, a final `*` for any rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let body = text.strip_prefix('+').unwrap_or(text);
        let body = body.strip_suffix('*').unwrap_or(body);
        let valid = text.len() <= LONGEST
            && !text.is_empty()
            && body.bytes().all(|byte| byte.is_ascii_digit() || byte == b'X');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(PatternError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    pub fn matches(&self, number: &str) -> bool {
        let (body, open) = match self.0.strip_suffix('*') {
            Some(body) => (body, true),
            None => (self.0.as_str(), false),
        };
        let long_enough = if open {
            number.len() >= body.len()
        } else {
            number.len() == body.len()
        };
        long_enough
            && body
                .bytes()
                .zip(number.bytes())
                .all(|(wanted, got)| match wanted {
                    b'X' => got.is_ascii_digit(),
                    _ => wanted == got,
                })
            && number.bytes().skip(body.len()).all(|byte| byte.is_ascii_digit())
    }

    /// How closely the pattern names one number: its literal characters. The closest match wins.
    pub fn closeness(&self) -> usize {
        self.0
            .bytes()
            .filter(|&byte| byte != b'X' && byte != b'*')
            .count()
    }

    /// The number, where the pattern names just one.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains(['X', '*'])).then_some(self.0.as_str())
    }
}

/// How a trunk wants numbers written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum NumberFormat {
    /// `+12025550100`
    #[default]
    #[serde(rename = "+E164")]
    PlusE164,
    /// `12025550100`
    #[serde(rename = "E164")]
    E164,
    /// `2025550100`
    #[serde(rename = "national")]
    National,
}

/// Which header tells a trunk the number that those we call are shown, beside From.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityForm {
    /// P-Asserted-Identity (RFC 3325 §9.1).
    #[default]
    Pai,
    /// P-Preferred-Identity (RFC 3325 §9.2).
    Ppi,
    /// Remote-Party-ID (draft-ietf-sip-privacy-04), which never became an RFC.
    Rpid,
    /// From alone.
    From,
}

/// Whose name stands in From.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromUser {
    /// The number shown; the account where none is.
    #[default]
    Number,
    /// The account, always.
    Account,
}

impl IdentityForm {
    /// The header's name and value for a number as the trunk writes it; none where From says it.
    pub fn header(self, number: &str, host: &str, withhold: bool) -> Option<(String, String)> {
        let (name, after) = match (self, withhold) {
            (Self::Pai, _) => ("P-Asserted-Identity", ""),
            (Self::Ppi, _) => ("P-Preferred-Identity", ""),
            (Self::Rpid, false) => ("Remote-Party-ID", ";party=calling;privacy=off;screen=no"),
            (Self::Rpid, true) => ("Remote-Party-ID", ";party=calling;privacy=full;screen=no"),
            (Self::From, _) => return None,
        };
        Some((name.to_owned(), format!("<sip:{number}@{host}>{after}")))
    }
}

impl NumberFormat {
    /// A number of ours as this trunk's headers carry it. National numbers stand in full there.
    pub fn write_own(self, number: &PhoneNumber) -> String {
        let text = number.as_str();
        match self {
            Self::E164 => text.trim_start_matches('+').to_owned(),
            Self::PlusE164 | Self::National => text.to_owned(),
        }
    }

    /// A number as this trunk's request URI carries it.
    pub fn write(self, number: &Dialled) -> String {
        let text = number.as_str();
        match (self, text.strip_prefix('+')) {
            (Self::PlusE164, _) | (_, None) => text.to_owned(),
            (Self::E164, Some(digits)) => digits.to_owned(),
            (Self::National, Some(digits)) => digits.strip_prefix('1').unwrap_or(digits).to_owned(),
        }
    }

    /// A number that a trunk sent, in E.164 where it can be told; else just its digits. A trunk that is known to write
    /// E.164 is believed for the numbers of every country.
    pub fn read_as(format: Option<Self>, text: &str) -> String {
        let digits = text.strip_prefix('+').or(text.strip_prefix("00")).unwrap_or(text);
        match format {
            Some(Self::PlusE164 | Self::E164) => match PhoneNumber::from_str(&format!("+{digits}")) {
                // Ten digits are one of ours without its country.
                Ok(number) if text.starts_with(['+', '0']) || digits.len() != 10 => {
                    number.as_str().to_owned()
                }
                _ => Self::read(text),
            },
            Some(Self::National) | None => Self::read(text),
        }
    }

    /// A number that any trunk sent.
    pub fn read(text: &str) -> String {
        match PhoneNumber::parse_us(text) {
            Ok(number) => number.as_str().to_owned(),
            Err(_) => text
                .chars()
                .filter(|letter| letter.is_ascii_digit())
                .take(LONGEST)
                .collect(),
        }
    }
}

/// Area codes of the North American plan outside the United States and Canada: dialled like domestic numbers, billed
/// as abroad, and a favourite of toll fraud (NANPA's list of country assignments).
const NOT_DOMESTIC: [&str; 21] = [
    "242", "246", "264", "268", "284", "345", "441", "473", "649", "658", "664", "721", "758", "767", "784",
    "809", "829", "849", "868", "869", "876",
];

/// Why a number is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is not made of digits")]
    NotDigits,
    #[error("it is an emergency or service number")]
    Emergency,
    #[error("it is a premium-rate number")]
    Premium,
    #[error("it is in a country that is billed as abroad, and no destination names its area code")]
    Abroad,
    #[error("no trunk lists it among its destinations")]
    NotListed,
}

/// A number that may be dialled: checked against what is never dialled and what a trunk allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Dialled(String);

impl Dialled {
    /// Checks a number for one trunk. Only digits and a leading `+` pass, so nothing can be injected into a
    /// request URI; N11 and 988 are never dialled, nor are 900 and 976 numbers.
    pub fn check(text: &str, destinations: &[Pattern]) -> Result<Self, Refused> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if digits.is_empty() || text.len() > LONGEST || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused::NotDigits);
        }
        // However it is written: +1 202 555 0100, 1 202 555 0100, 202 555 0100, +1 911, 1 911, 911.
        let national = digits
            .strip_prefix('1')
            .filter(|rest| matches!(rest.len(), 3 | 10))
            .unwrap_or(digits);
        if matches!(national, "112" | "988" | "999") || (national.len() == 3 && national.ends_with("11")) {
            return Err(Refused::Emergency);
        }
        let ten = national.len() == 10;
        if ten && (national.starts_with("900") || &national[3..6] == "976") {
            return Err(Refused::Premium);
        }
        let area = national.get(..3).filter(|_| ten).unwrap_or_default();
        let named = |pattern: &Pattern| {
            pattern
                .0
                .trim_start_matches('+')
                .trim_start_matches('1')
                .starts_with(area)
        };
        if NOT_DOMESTIC.contains(&area)
            && !destinations
                .iter()
                .any(|pattern| named(pattern) && pattern.matches(text))
        {
            return Err(Refused::Abroad);
        }
        if !destinations.iter().any(|pattern| pattern.matches(text)) {
            return Err(Refused::NotListed);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialled(…{})", &self.0[self.0.len().saturating_sub(2)..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn number_shown_stands_in_the_header_and_form_that_the_trunk_wants() {
        let number = PhoneNumber::parse_us("2025550100").unwrap();
        let shown = |identity: IdentityForm, format: NumberFormat| {
            identity
                .header(&format.write_own(&number), "t.example", false)
                .map(|(name, value)| format!("{name}: {value}"))
        };
        let plus = NumberFormat::PlusE164;
        assert_eq!(
            shown(IdentityForm::Pai, plus).unwrap(),
            "P-Asserted-Identity: <sip:+12025550100@t.example>"
        );
        assert_eq!(
            shown(IdentityForm::Ppi, NumberFormat::E164).unwrap(),
            "P-Preferred-Identity: <sip:12025550100@t.example>"
        );
        assert_eq!(
            shown(IdentityForm::Rpid, NumberFormat::National).unwrap(),
            "Remote-Party-ID: <sip:+12025550100@t.example>;party=calling;privacy=off;screen=no"
        );
        assert_eq!(shown(IdentityForm::From, plus), None);
        let hidden = IdentityForm::Rpid.header("1", "t.example", true);
        assert!(hidden.unwrap().1.contains(";privacy=full;"));
    }

    #[test]
    fn pattern_matches_digit_for_digit() {
        assert!(pattern("+12025550100").matches("+12025550100"));
        assert!(pattern("3XXXXXXX").matches("30000001"));
        assert!(!pattern("3XXXXXXX").matches("3000000"));
        assert!(!pattern("XXXXXXX").matches("000000a"));
        assert!(
            pattern("30*").matches("30") && pattern("30*").matches("30123") && !pattern("30*").matches("31")
        );
    }

    #[test]
    fn pattern_with_other_characters_is_refused() {
        for text in ["", "12a", "*1", "1+2", "sip:1"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn emergency_premium_and_unlisted_numbers_are_refused() {
        let all = [pattern("+1XXXXXXXXXX"), pattern("*"), pattern("XXX")];
        assert_eq!(Dialled::check("911", &all), Err(Refused::Emergency));
        assert_eq!(Dialled::check("+1911", &all), Err(Refused::Emergency));
        assert_eq!(Dialled::check("+19005550100", &all), Err(Refused::Premium));
        assert_eq!(Dialled::check("+12029765000", &all), Err(Refused::Premium));
        assert_eq!(
            Dialled::check("+442079460000", &all[..1]),
            Err(Refused::NotListed)
        );
        assert_eq!(Dialled::check("1;tag=x", &all), Err(Refused::NotDigits));
        assert!(Dialled::check("+12025550100", &all[..1]).is_ok());
    }

    #[test]
    fn trunk_formats_write_the_same_number_their_way() {
        let number = Dialled::check("+12025550100", &[pattern("+1XXXXXXXXXX")]).unwrap();
        assert_eq!(NumberFormat::PlusE164.write(&number), "+12025550100");
        assert_eq!(NumberFormat::E164.write(&number), "12025550100");
        assert_eq!(NumberFormat::National.write(&number), "2025550100");
    }

    #[test]
    fn numbers_from_trunks_come_out_in_one_form() {
        assert_eq!(NumberFormat::read("2025550100"), "+12025550100");
        assert_eq!(NumberFormat::read("+1-202-555-0100"), "+12025550100");
        assert_eq!(NumberFormat::read("0000012"), "0000012");
    }

    #[test]
    fn a_trunk_that_writes_e164_is_believed_for_other_countries() {
        let read = |text| NumberFormat::read_as(Some(NumberFormat::E164), text);
        assert_eq!(read("493012345678"), "+493012345678");
        assert_eq!(read("+493012345678"), "+493012345678");
        assert_eq!(read("00493012345678"), "+493012345678");
        assert_eq!(read("12025550100"), "+12025550100");
        assert_eq!(read("2025550100"), "+12025550100");
        assert_eq!(read("account"), "");
        assert_eq!(NumberFormat::read_as(None, "493012345678"), "493012345678");
    }
}
