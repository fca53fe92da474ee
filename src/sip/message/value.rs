//! Pieces that header values are made of: lists, parameters, numbers, quoted strings (RFC 3261 §25.1).

use std::borrow::Cow;

use super::Method;

/// Removes spaces, tabs and line ends from both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// Reads an unsigned decimal number of at most 10 digits; `None` for anything else, overflow included.
pub fn decimal(text: &[u8]) -> Option<u32> {
    let text = trim(text);
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Text for people and events: bytes that are not UTF-8 become U+FFFD.
pub fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// Returns where `wanted` first stands outside quoted strings and angle brackets.
pub(super) fn find_outside(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut angled, mut escaped) = (false, false, false);
    for (at, &byte) in text.iter().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            _ if byte == wanted && !angled => return Some(at),
            b'"' => quoted = true,
            b'<' => angled = true,
            b'>' => angled = false,
            _ => {}
        }
    }
    None
}

/// Splits a header value at its top-level commas; empty elements are left out.
pub fn split_commas(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let (element, after) = match find_outside(text, b',') {
                Some(at) => (&text[..at], Some(&text[at + 1..])),
                None => (text, None),
            };
            rest = after;
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

/// Iterates over a comma-separated list of tokens (`Require`, `Supported`, `Allow`).
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|token| !token.is_empty())
}

/// Returns the contents of a quoted string with its escapes undone; other text as it stands.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let text = trim(text);
    let [b'"', inner @ .., b'"'] = text else {
        return Cow::Borrowed(text);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            plain.push(byte);
            escaped = false;
        }
    }
    Cow::Owned(plain)
}

/// Parameters as they follow a value: `;name=value;flag`. Names are case-insensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// Returns the raw value of the first parameter called `name`; empty for a flag.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Iterates over names and raw values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            loop {
                let text = rest?;
                let (part, after) = match find_outside(text, b';') {
                    Some(at) => (&text[..at], Some(&text[at + 1..])),
                    None => (text, None),
                };
                rest = after;
                let part = trim(part);
                if part.is_empty() {
                    continue;
                }
                return Some(match part.iter().position(|&byte| byte == b'=') {
                    Some(at) => (trim(&part[..at]), trim(&part[at + 1..])),
                    None => (part, &part[..0]),
                });
            }
        })
    }
}

/// The CSeq value (RFC 3261 §20.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    pub number: u32,
    pub method: Method,
    /// The method as written, for extension methods.
    pub method_text: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads `number method`; the number must be below 2^31 (RFC 3261 §8.1.1.5).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let at = value.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
        let number = decimal(&value[..at]).filter(|&number| number < 1 << 31)?;
        let method_text = trim(&value[at..]);
        if method_text.is_empty() || method_text.iter().any(u8::is_ascii_whitespace) {
            return None;
        }
        Some(Self {
            number,
            method: Method::from_bytes(method_text),
            method_text,
        })
    }
}

/// The Session-Expires value (RFC 4028 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    pub seconds: u32,
    /// `Some(true)` for `refresher=uac`.
    pub refresher_uac: Option<bool>,
}

impl SessionExpires {
    pub fn parse(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        let seconds = decimal(&value[..end])?;
        let refresher = Params(&value[end..]).get("refresher");
        let refresher_uac = refresher.and_then(|who| match who {
            _ if who.eq_ignore_ascii_case(b"uac") => Some(true),
            _ if who.eq_ignore_ascii_case(b"uas") => Some(false),
            _ => None,
        });
        Some(Self {
            seconds,
            refresher_uac,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_quotes_and_angle_brackets_do_not_split() {
        let value = br#""Doe, J; \"JD\" <x>" <sip:a@h;x=1,2>, <sip:b@h> ,, sip:c@h"#;
        let parts: Vec<_> = split_commas(value).collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], br#""Doe, J; \"JD\" <x>" <sip:a@h;x=1,2>"#);
        assert_eq!(parts[2], b"sip:c@h");
    }

    #[test]
    fn parameters_are_found_in_any_case_and_quoted_values_keep_their_semicolons() {
        let params = Params(br#";TAG=1;lr;note="a;b" ; last = x"#);
        assert_eq!(params.get("tag"), Some(&b"1"[..]));
        assert_eq!(params.get("lr"), Some(&b""[..]));
        assert_eq!(params.get("note"), Some(&br#""a;b""#[..]));
        assert_eq!(params.get("last"), Some(&b"x"[..]));
        assert_eq!(params.get("missing"), None);
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        assert_eq!(decimal(b" 4294967295 "), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(decimal(b"99999999999999999999"), None);
        assert_eq!(CSeq::parse(b"2147483648 INVITE"), None);
        assert_eq!(CSeq::parse(b"0009  INVITE").map(|cseq| cseq.number), Some(9));
    }
}
