//! Name and address values: From, To, Contact, Route, P-Asserted-Identity (RFC 3261 §20.10, §25.1).

use super::value::find_outside;
use super::{Params, Uri, lossy, trim, unquote};

/// A display name, a URI and header parameters, as slices of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name as written, quotes included; empty when absent.
    pub display: &'a [u8],
    /// The URI as written, without angle brackets.
    pub uri: &'a [u8],
    /// Parameters of the header, not of the URI.
    pub params: Params<'a>,
}

impl<'a> Address<'a> {
    /// Reads one value. Without angle brackets, parameters belong to the header (RFC 3261 §20.10).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let open = match value.first()? {
            b'"' => {
                let quoted = quoted_length(value)?;
                quoted + value[quoted..].iter().position(|&byte| byte == b'<')?
            }
            _ => match value.iter().position(|&byte| byte == b'<') {
                Some(at) => at,
                None => return Self::parse_bare(value),
            },
        };
        let inner = &value[open + 1..];
        let close = inner.iter().position(|&byte| byte == b'>')?;
        let rest = trim(&inner[close + 1..]);
        if !(rest.is_empty() || rest.starts_with(b";")) {
            return None;
        }
        let display = trim(&value[..open]);
        if display.starts_with(b"\"") && quoted_length(display) != Some(display.len()) {
            return None;
        }
        Some(Self {
            display,
            uri: trim(&inner[..close]),
            params: Params(rest),
        })
    }

    fn parse_bare(value: &'a [u8]) -> Option<Self> {
        let end = find_outside(value, b';').unwrap_or(value.len());
        let uri = trim(&value[..end]);
        // A bracket that was never opened: what stands where is anybody's guess.
        (!uri.is_empty() && !value.contains(&b'>')).then_some(Self {
            display: b"",
            uri,
            params: Params(&value[end..]),
        })
    }

    /// The tag parameter, raw.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The URI split into parts; `None` when it is not a URI.
    pub fn parsed_uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri)
    }

    /// The display name for people: unquoted, lossy; `None` when empty.
    pub fn display_text(&self) -> Option<String> {
        let plain = unquote(self.display);
        (!plain.is_empty()).then(|| lossy(&plain).into_owned())
    }
}

/// Length of the quoted string at the start of `text`, both quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_display_name_cannot_pretend_to_be_the_uri() {
        let address = Address::parse(br#""Doe, J; \"JD\" <sip:x@evil>" <sip:a@h>;tag=1"#).unwrap();
        assert_eq!(address.uri, b"sip:a@h");
        assert_eq!(address.tag(), Some(&b"1"[..]));
        assert_eq!(address.display_text().unwrap(), r#"Doe, J; "JD" <sip:x@evil>"#);
    }

    #[test]
    fn without_brackets_the_parameters_are_the_headers() {
        let address = Address::parse(b"sip:a@h;tag=1").unwrap();
        assert_eq!((address.uri, address.tag()), (&b"sip:a@h"[..], Some(&b"1"[..])));
        let bracketed = Address::parse(b"<sip:a@h;tag=2>").unwrap();
        assert_eq!(bracketed.tag(), None);
        let tel = Address::parse(b"<tel:+15550100>;TAG=x").unwrap();
        assert_eq!((tel.uri, tel.tag()), (&b"tel:+15550100"[..], Some(&b"x"[..])));
        assert_eq!(
            Address::parse(b"Bell, Alexander <sip:a@h>").unwrap().display,
            b"Bell, Alexander"
        );
    }

    #[test]
    fn broken_addresses_are_refused() {
        for text in [
            "",
            "\"open <sip:a@h>",
            "<sip:a@h",
            "<sip:a@h> junk",
            ";tag=1",
            "sip:a@h>;tag=1",
        ] {
            assert_eq!(Address::parse(text.as_bytes()), None, "{text}");
        }
    }
}
