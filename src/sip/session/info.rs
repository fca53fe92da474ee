//! Digits by SIP INFO (RFC 6086; application/dtmf-relay and application/dtmf as peers send them).

use std::time::{Duration, Instant};

use super::{Session, State};
use crate::event::Event;
use crate::message::{Message, Name, decimal, trim};
use crate::wire::{Path, Purpose, Wire};

/// The duration of a digit that names none.
const USUAL: Duration = Duration::from_millis(160);
const LONGEST: Duration = Duration::from_secs(10);

impl Session {
    pub(super) fn on_info(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        let content_type = request.header(Name::ContentType).unwrap_or_default();
        let (kind, _) = crate::body::split_type(content_type);
        let digit = match () {
            () if kind.eq_ignore_ascii_case(b"application/dtmf-relay") => parse_relay(request.body),
            () if kind.eq_ignore_ascii_case(b"application/dtmf") => {
                parse_key(request.body).map(|digit| (digit, USUAL))
            }
            () if request.body.is_empty() => {
                return self.answer_request(wire, now, request, path, 200, b"");
            }
            () => {
                let lines = b"Accept: application/dtmf-relay, application/dtmf\r\n";
                return self.answer_request(wire, now, request, path, 415, lines);
            }
        };
        let status = if digit.is_some() { 200 } else { 400 };
        self.answer_request(wire, now, request, path, status, b"");
        if let Some((digit, duration)) = digit {
            self.tell(
                wire,
                Event::DigitPressed {
                    session: self.id,
                    digit,
                    duration,
                },
            );
        }
    }

    pub fn send_digit(&mut self, wire: &mut Wire, now: Instant, digit: char, duration: Duration) {
        if self.state != State::Confirmed || parse_key(digit.to_string().as_bytes()).is_none() {
            return;
        }
        let body = format!(
            "Signal={digit}\r\nDuration={}\r\n",
            duration.min(LONGEST).as_millis()
        );
        let body = ("application/dtmf-relay", body.as_bytes());
        self.send_in(wire, now, self.current, Purpose::Info, &[], body);
    }
}

/// `Signal=5` and `Duration=160` (milliseconds), one a line.
fn parse_relay(body: &[u8]) -> Option<(char, Duration)> {
    let (mut digit, mut duration) = (None, USUAL);
    for line in body.split(|byte| matches!(byte, b'\r' | b'\n')).take(8) {
        let Some(at) = line.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (name, value) = (trim(&line[..at]), trim(&line[at + 1..]));
        if name.eq_ignore_ascii_case(b"Signal") {
            digit = parse_key(value);
        } else if name.eq_ignore_ascii_case(b"Duration")
            && let Some(milliseconds) = decimal(value)
        {
            duration = Duration::from_millis(u64::from(milliseconds)).min(LONGEST);
        }
    }
    digit.map(|digit| (digit, duration))
}

/// One key, or its event number of RFC 4733 (10 for `*`, 11 for `#`).
fn parse_key(text: &[u8]) -> Option<char> {
    match trim(text) {
        b"10" => Some('*'),
        b"11" => Some('#'),
        [key @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] => Some(char::from(*key)),
        [key @ b'a'..=b'd'] => Some(char::from(key.to_ascii_uppercase())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_every_form_that_peers_send() {
        assert_eq!(
            parse_relay(b"Signal=5\r\nDuration=250\r\n"),
            Some(('5', Duration::from_millis(250)))
        );
        assert_eq!(
            parse_relay(b"Signal= 11\nDuration = 99999999\n"),
            Some(('#', LONGEST))
        );
        assert_eq!(parse_relay(b"signal=*"), Some(('*', USUAL)));
        assert_eq!(parse_relay(b"Duration=100\r\n"), None);
        assert_eq!(parse_key(b" d\r\n"), Some('D'));
        assert_eq!(parse_key(b"55"), None);
        assert_eq!(parse_key(b"!"), None);
    }
}
