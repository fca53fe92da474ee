//! The Via value (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use super::uri::{host_address, split_host_port};
use super::{Params, decimal, trim};

/// One Via element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, … as written.
    pub transport: &'a [u8],
    pub host: &'a [u8],
    pub port: Option<u16>,
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one element; `None` unless it is SIP/2.0 with a sent-by.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (protocol, rest) = split_slash(value)?;
        let (version, rest) = split_slash(rest)?;
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return None;
        }
        let space = rest.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
        let (transport, rest) = (&rest[..space], trim(&rest[space..]));
        let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
        let (host, port) = sent_by(trim(&rest[..end]))?;
        let params = Params(&rest[end..]);
        (!transport.is_empty()).then_some(Self {
            transport,
            host,
            port,
            params,
        })
    }

    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the client asked for rport (RFC 3581 §3).
    pub fn wants_rport(&self) -> bool {
        self.params.get("rport").is_some()
    }

    /// The port the peer saw our request come from (RFC 3581 §4).
    pub fn rport(&self) -> Option<u16> {
        self.params
            .get("rport")
            .and_then(decimal)
            .and_then(|port| u16::try_from(port).ok())
    }

    /// The address the peer saw our request come from.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.get("received").and_then(host_address)
    }
}

fn split_slash(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b'/')?;
    Some((trim(&text[..at]), trim(&text[at + 1..])))
}

/// `host [: port]` with whitespace around the colon allowed (RFC 3261 §25.1 COLON).
fn sent_by(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if text.iter().any(u8::is_ascii_whitespace) {
        let colon = text.iter().rposition(|&byte| byte == b':')?;
        let port = decimal(&text[colon + 1..]).and_then(|port| u16::try_from(port).ok())?;
        let (host, None) = split_host_port(trim(&text[..colon]))? else {
            return None;
        };
        return (!host.iter().any(u8::is_ascii_whitespace)).then_some((host, Some(port)));
    }
    split_host_port(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_case_and_ipv6_are_accepted() {
        let via = Via::parse(b"SIP  / 2.0\t/ UDP [2001:db8::9:1]:5070 ;Branch=z9hG4bKx;rport").unwrap();
        assert_eq!((via.host, via.port), (&b"[2001:db8::9:1]"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
        assert!(via.wants_rport() && via.rport().is_none());
        let spaced = Via::parse(b"sip/2.0/udp 192.0.2.1 : 5060;received=198.51.100.7;rport=9").unwrap();
        assert_eq!(spaced.port, Some(5060));
        assert_eq!(spaced.received(), Some("198.51.100.7".parse().unwrap()));
        assert_eq!(spaced.rport(), Some(9));
    }

    #[test]
    fn other_protocols_and_missing_hosts_are_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "XIP/2.0/UDP h",
            "SIP/2.0/UDP :5060",
            "SIP/2.0/UDP h:x",
        ] {
            assert_eq!(Via::parse(text.as_bytes()), None, "{text}");
        }
    }
}
