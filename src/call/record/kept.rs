//! Personal data as far as it may be kept: callers, ZIP codes, and what carriers write.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::units::{PhoneNumber, Zip};

/// A caller's number as a keyed HMAC-SHA-256 in hexadecimal: tells callers apart, not who they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallerHmac(String);

/// Text that was not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a caller's HMAC is 64 hexadecimal digits")]
pub struct NotAnHmac;

/// Makes the pseudonym of a caller's number under this installation's key (any length; 32 bytes are usual).
pub fn caller_hmac(key: &[u8], number: &PhoneNumber) -> CallerHmac {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length (RFC 2104 §2)")
    };
    mac.update(number.as_str().as_bytes());
    CallerHmac(
        mac.finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

impl CallerHmac {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CallerHmac {
    type Err = NotAnHmac;
    fn from_str(text: &str) -> Result<Self, NotAnHmac> {
        let valid = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnHmac)
        }
    }
}

impl TryFrom<String> for CallerHmac {
    type Error = NotAnHmac;
    fn try_from(text: String) -> Result<Self, NotAnHmac> {
        text.parse()
    }
}

impl From<CallerHmac> for String {
    fn from(hmac: CallerHmac) -> String {
        hmac.0
    }
}

/// How much of a caller's ZIP code is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZipDetail {
    Nothing,
    /// The first three digits: enough for a map by region, shared by tens of thousands of people.
    #[default]
    Prefix,
    Full,
}

/// A caller's ZIP code as far as it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeptZip {
    /// Three digits.
    #[serde(rename = "zip_prefix", default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(rename = "zip", default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Zip>,
}

impl KeptZip {
    pub fn new(zip: Zip, detail: ZipDetail) -> Self {
        Self {
            prefix: (detail != ZipDetail::Nothing).then(|| zip.prefix().to_owned()),
            full: (detail == ZipDetail::Full).then_some(zip),
        }
    }
}

/// Words from the wire, fit to be kept: at most 120 characters, no control characters, and every run of five or
/// more digits masked down to its last two, since carriers write numbers into reason phrases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Phrase(String);

impl Phrase {
    pub fn new(text: &str) -> Self {
        Self(mask_digits(text, 120))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Phrase {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Phrase> for String {
    fn from(phrase: Phrase) -> String {
        phrase.0
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Masks runs of five or more digits; separators that people put into numbers do not end a run.
fn mask_digits(text: &str, limit: usize) -> String {
    let letters: Vec<char> = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(limit)
        .collect();
    let mut kept = String::with_capacity(letters.len());
    let mut at = 0;
    while at < letters.len() {
        let run = digit_run(&letters[at..]);
        let digits = letters[at..at + run]
            .iter()
            .filter(|letter| letter.is_ascii_digit())
            .count();
        if digits >= 5 {
            let last: String = letters[at..at + run]
                .iter()
                .filter(|l| l.is_ascii_digit())
                .skip(digits - 2)
                .collect();
            kept.push('…');
            kept.push_str(&last);
        } else {
            kept.extend(&letters[at..at + run.max(1)]);
        }
        at += run.max(1);
    }
    kept
}

/// The length of the number-like run at the start: digits, with single separators between them.
fn digit_run(letters: &[char]) -> usize {
    let mut end = 0;
    let mut at = 0;
    while at < letters.len() {
        match letters[at] {
            '0'..='9' => end = at + 1,
            ' ' | '-' | '.' | '(' | ')' if at > 0 && at - end < 2 => {}
            _ => break,
        }
        at += 1;
    }
    end
}

/// A peer's SIP Call-ID as kept for talks with the carrier: the caller's digits are taken out of it.
pub fn kept_sip_call_id(text: &str, caller: Option<&PhoneNumber>) -> String {
    let kept: String = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect();
    let Some(digits) = caller.map(PhoneNumber::digits) else {
        return kept;
    };
    let national = if digits.len() == 11 && digits.starts_with('1') {
        &digits[1..]
    } else {
        digits
    };
    kept.replace(national, "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_of_a_number_is_the_standard_one_and_depends_on_the_key() {
        let number: PhoneNumber = "+12025550100".parse().unwrap();
        let hmac = caller_hmac(b"key", &number);
        // printf '+12025550100' | openssl dgst -sha256 -hmac key
        assert_eq!(
            hmac.as_str(),
            "45a673529f50b2c0bb282886b4d7c5534bf895f7c50a19ccba7e25ea6574d25e"
        );
        assert_ne!(caller_hmac(b"other", &number), hmac);
        assert_eq!(hmac.as_str().parse(), Ok(hmac.clone()));
    }

    #[test]
    fn phrase_with_a_number_in_it_keeps_two_digits() {
        for (text, kept) in [
            ("Caller +12025550173 not allowed", "Caller +…73 not allowed"),
            ("Number (202) 555-0173 unknown", "Number (…73 unknown"),
            ("202.555.0173", "…73"),
            ("Busy Here", "Busy Here"),
            ("cause 17 code 1234", "cause 17 code 1234"),
            ("94110", "…10"),
            ("line\r\nbreak", "linebreak"),
        ] {
            assert_eq!(Phrase::new(text).as_str(), kept);
        }
        assert_eq!(Phrase::new(&"x".repeat(500)).as_str().len(), 120);
    }

    #[test]
    fn sip_call_id_is_kept_without_the_callers_digits() {
        let caller: PhoneNumber = "+12025550173".parse().unwrap();
        assert_eq!(
            kept_sip_call_id("12025550173-ab@192.0.2.1", Some(&caller)),
            "1…-ab@192.0.2.1"
        );
        assert_eq!(
            kept_sip_call_id("7f3a@192.0.2.1", Some(&caller)),
            "7f3a@192.0.2.1"
        );
        assert_eq!(kept_sip_call_id("7f3a@192.0.2.1", None), "7f3a@192.0.2.1");
    }

    #[test]
    fn zip_is_kept_as_far_as_allowed() {
        let zip: Zip = "02139".parse().unwrap();
        let json = |detail| serde_json::to_string(&KeptZip::new(zip, detail)).unwrap();
        assert_eq!(json(ZipDetail::Nothing), "{}");
        assert_eq!(json(ZipDetail::default()), r#"{"zip_prefix":"021"}"#);
        assert_eq!(json(ZipDetail::Full), r#"{"zip_prefix":"021","zip":"02139"}"#);
    }
}
