//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), kept byte for byte.

use std::net::IpAddr;

use super::Params;

/// A URI split into its parts; nothing is unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole URI as written.
    pub text: &'a [u8],
    /// `sip`, `sips`, `tel`, … as written.
    pub scheme: &'a [u8],
    /// The user part with its parameters, without the password; for `tel:` the number. Empty when absent.
    pub user: &'a [u8],
    /// The host, IPv6 with its brackets. Empty for schemes without one.
    pub host: &'a [u8],
    pub port: Option<u16>,
    /// Parameters behind the host (`;transport=tcp;lr`).
    pub params: Params<'a>,
}

impl<'a> Uri<'a> {
    /// Splits a URI. `None` when it is not one: no scheme, two `@`, a bad port or whitespace inside.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text
            .iter()
            .any(|byte| matches!(byte, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f))
        {
            return None;
        }
        let colon = text.iter().position(|&byte| byte == b':')?;
        let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
        let scheme_is_valid = scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !scheme_is_valid || rest.is_empty() {
            return None;
        }
        if scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
            return Self::parse_sip(text, scheme, rest);
        }
        let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
        Some(Self {
            text,
            scheme,
            user: &rest[..end],
            host: b"",
            port: None,
            params: Params(&rest[end..]),
        })
    }

    fn parse_sip(text: &'a [u8], scheme: &'a [u8], rest: &'a [u8]) -> Option<Self> {
        let (user, after) = match rest.iter().position(|&byte| byte == b'@') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (&rest[..0], rest),
        };
        if after.contains(&b'@') {
            return None;
        }
        let user = &user[..user.iter().position(|&byte| byte == b':').unwrap_or(user.len())];
        let after = &after[..after.iter().position(|&byte| byte == b'?').unwrap_or(after.len())];
        let host_end = after.iter().position(|&byte| byte == b';').unwrap_or(after.len());
        let (host, port) = split_host_port(&after[..host_end])?;
        Some(Self {
            text,
            scheme,
            user,
            host,
            port,
            params: Params(&after[host_end..]),
        })
    }

    /// Returns the host as an address when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        host_address(self.host)
    }

    /// Whether this is a loose-routing Route entry (RFC 3261 §16.12).
    pub fn is_loose(&self) -> bool {
        self.params.get("lr").is_some()
    }

    /// Whether the scheme is `scheme`, in any case.
    pub fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme.as_bytes())
    }

    /// The dialled digits or account: the user up to its own parameters, `%xx` undone, lossy.
    pub fn user_text(&self) -> String {
        let end = self
            .user
            .iter()
            .position(|&byte| byte == b';')
            .unwrap_or(self.user.len());
        String::from_utf8_lossy(&unescape(&self.user[..end])).into_owned()
    }
}

/// Splits `host[:port]`, IPv6 in brackets.
pub(super) fn split_host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match text.first()? {
        b'[' => text.iter().position(|&byte| byte == b']')? + 1,
        _ => text.iter().position(|&byte| byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    if host.is_empty() {
        return None;
    }
    match rest {
        [] => Some((host, None)),
        [b':', digits @ ..] if !digits.is_empty() && digits.len() <= 5 => {
            let port = super::decimal(digits).and_then(|port| u16::try_from(port).ok())?;
            Some((host, Some(port)))
        }
        _ => None,
    }
}

/// Reads a host as an IP address, IPv6 with or without brackets.
pub(super) fn host_address(host: &[u8]) -> Option<IpAddr> {
    let inner = match host {
        [b'[', inner @ .., b']'] => inner,
        plain => plain,
    };
    std::str::from_utf8(inner).ok()?.parse().ok()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_portability_parameters_stay_in_the_user_part() {
        let uri = Uri::parse(b"sip:+15550100;npdi;rn=+15550199@gw.example.com:5070;user=phone?X=1").unwrap();
        assert_eq!(uri.user, b"+15550100;npdi;rn=+15550199");
        assert_eq!(uri.user_text(), "+15550100");
        assert_eq!(uri.host, b"gw.example.com");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.params.get("user"), Some(&b"phone"[..]));
    }

    #[test]
    fn addresses_escapes_and_other_schemes_are_read() {
        let six = Uri::parse(b"sip:[2001:db8::1]:5060;lr").unwrap();
        assert_eq!(
            (six.address(), six.port),
            (Some("2001:db8::1".parse().unwrap()), Some(5060))
        );
        assert!(six.is_loose());
        let escaped = Uri::parse(b"SIP:a%40b;x=1:secret@h_ost").unwrap();
        assert_eq!(
            (escaped.user_text().as_str(), escaped.host),
            ("a@b", &b"h_ost"[..])
        );
        let tel = Uri::parse(b"tel:+1-555-0100;phone-context=example.com").unwrap();
        assert_eq!(tel.user, b"+1-555-0100");
        assert_eq!(
            Uri::parse(b"urn:service:sos").map(|uri| uri.user),
            Some(&b"service:sos"[..])
        );
        assert!(Uri::parse(b"sip:#31#+15550100@h").is_some());
    }

    #[test]
    fn what_is_not_a_uri_is_refused() {
        for text in [
            "",
            "sip:",
            "a@b",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:h:70000",
            "sip:h:",
            "sip:[::1",
            "<sip:a@b>",
            "sip:a@:1",
        ] {
            assert_eq!(Uri::parse(text.as_bytes()), None, "{text}");
        }
    }
}
