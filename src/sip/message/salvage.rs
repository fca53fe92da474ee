//! The refusal of a request that could not be parsed, made from the headers that could (RFC 3261 §8.2, §21.4.1).

use std::net::SocketAddr;

use super::parse::Lines;
use super::value::split_commas;
use super::{Name, ParseError, Via, Writer, is_clean, trim};

/// Most lines looked at.
const MAX_LINES: usize = 256;

/// Builds 400, 505 or 513 for a malformed request. `None` for responses, for ACK, and when there is no Via to answer.
pub fn refusal(bytes: &[u8], error: ParseError, source: SocketAddr) -> Option<Vec<u8>> {
    let status = match error {
        ParseError::Version => 505,
        ParseError::TooLarge { .. } | ParseError::LineTooLong(_) | ParseError::TooMany(_) => 513,
        ParseError::Empty | ParseError::Unterminated => return None,
        _ => 400,
    };
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut lines = Lines {
        rest: &bytes[begin..],
    };
    let start = lines.next()?;
    if start.starts_with(b"SIP/") || start.starts_with(b"ACK ") || !start.contains(&b' ') {
        return None;
    }
    let mut writer = Writer::response(status);
    let (mut has_via, mut seen) = (false, [false; 4]);
    for line in lines.take(MAX_LINES).take_while(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = (Name::from_bytes(trim(&line[..colon])), trim(&line[colon + 1..]));
        if !is_clean(value) || line.len() > super::MAX_LINE {
            continue;
        }
        let (slot, text) = match name {
            Name::Via if !has_via => {
                let top = split_commas(value).next()?;
                Via::parse(top)?;
                has_via = true;
                writer.top_via(top, source);
                continue;
            }
            Name::Via => {
                writer.header("Via", value);
                continue;
            }
            Name::From => (0, "From"),
            Name::To => (1, "To"),
            Name::CallId => (2, "Call-ID"),
            Name::CSeq => (3, "CSeq"),
            _ => continue,
        };
        if !std::mem::replace(&mut seen[slot], true) {
            writer.header(text, value);
        }
    }
    if !has_via {
        return None;
    }
    writer.finish(None, b"").ok()
}
