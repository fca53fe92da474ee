//! A trace as bytes: a letter for the form, the paths once, then the messages.
//!
//! Numbers are little-endian. Reading checks every length against what is left, so foreign bytes are an error.

use std::net::SocketAddr;

use sip::Transport;

use super::{Trace, TracedMessage};
use crate::call::record::{LegNumber, UtcMicros};

/// The form of these bytes.
const FORM: &[u8; 4] = b"TRC1";

/// Bytes that are not a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a trace that this version can read")]
pub struct Undecodable;

type Path = (Transport, SocketAddr, SocketAddr);

pub(super) fn encode(trace: &Trace) -> Vec<u8> {
    let mut paths: Vec<Path> = Vec::new();
    let mut bodies = Vec::new();
    for message in &trace.messages {
        let path = (message.transport, message.local, message.remote);
        let index = paths.iter().position(|known| *known == path).unwrap_or_else(|| {
            paths.push(path);
            paths.len() - 1
        });
        put_message(&mut bodies, message, index);
    }
    let mut out = FORM.to_vec();
    out.extend(trace.left_out.to_le_bytes());
    put_count(&mut out, trace.gap_after);
    put_count(&mut out, paths.len());
    for (transport, local, remote) in paths {
        out.push(match transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
        });
        for address in [local, remote] {
            let text = address.to_string();
            put_count(&mut out, text.len());
            out.extend(text.as_bytes());
        }
    }
    put_count(&mut out, trace.messages.len());
    out.extend(bodies);
    out
}

fn put_message(out: &mut Vec<u8>, message: &TracedMessage, path: usize) {
    out.extend(message.at.0.to_le_bytes());
    out.extend(message.leg.0.to_le_bytes());
    out.push(u8::from(message.sent));
    put_count(out, path);
    put_count(out, message.copies.len());
    for copy in &message.copies {
        out.extend(copy.0.to_le_bytes());
    }
    out.extend(message.length.to_le_bytes());
    put_count(out, message.text.len());
    out.extend(&message.text[..message.text.len().min(usize::from(u16::MAX))]);
}

/// Counts are bounded by the ring; one that were not would be cut.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

pub(super) fn decode(bytes: &[u8]) -> Result<Trace, Undecodable> {
    let mut input = Input(bytes);
    if input.take(4)? != FORM {
        return Err(Undecodable);
    }
    let left_out = u32::from_le_bytes(input.array()?);
    let gap_after = input.count()?;
    let mut paths = Vec::new();
    for _ in 0..input.count()? {
        let transport = match input.take(1)? {
            [0] => Transport::Udp,
            [1] => Transport::Tcp,
            [2] => Transport::Tls,
            _ => return Err(Undecodable),
        };
        paths.push((transport, input.address()?, input.address()?));
    }
    let mut messages = Vec::new();
    for _ in 0..input.count()? {
        messages.push(message(&mut input, &paths)?);
    }
    Ok(Trace {
        messages,
        left_out,
        gap_after,
    })
}

fn message(input: &mut Input<'_>, paths: &[Path]) -> Result<TracedMessage, Undecodable> {
    let at = UtcMicros(i64::from_le_bytes(input.array()?));
    let leg = LegNumber(u16::from_le_bytes(input.array()?));
    let sent = input.take(1)? == [1];
    let (transport, local, remote) = *paths.get(input.count()?).ok_or(Undecodable)?;
    let mut copies = Vec::new();
    for _ in 0..input.count()? {
        copies.push(UtcMicros(i64::from_le_bytes(input.array()?)));
    }
    let length = u32::from_le_bytes(input.array()?);
    let text = input.count()?;
    Ok(TracedMessage {
        at,
        leg,
        sent,
        local,
        remote,
        transport,
        copies,
        length,
        text: input.take(text)?.to_vec(),
    })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Undecodable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        self.take(N)?.try_into().map_err(|_| Undecodable)
    }

    fn count(&mut self) -> Result<usize, Undecodable> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }

    fn address(&mut self) -> Result<SocketAddr, Undecodable> {
        let length = self.count()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Undecodable)?;
        text.parse().map_err(|_| Undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Trace {
        let message = |at: i64, sent, remote: &str, transport| TracedMessage {
            at: UtcMicros(at),
            leg: LegNumber(u16::from(sent)),
            sent,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            transport,
            copies: (0..at % 3).map(UtcMicros).collect(),
            length: 7,
            text: b"BYE x\xff\r\n".to_vec(),
        };
        Trace {
            messages: vec![
                message(-5, false, "[2001:db8::1]:5061", Transport::Tls),
                message(1_790_000_000_000_001, true, "198.51.100.7:5060", Transport::Udp),
                message(2, true, "198.51.100.7:5060", Transport::Tcp),
            ],
            left_out: 70_000,
            gap_after: 2,
        }
    }

    #[test]
    fn trace_reads_back_as_it_was() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(&encode(&Trace::default())), Ok(Trace::default()));
    }

    #[test]
    fn cut_and_changed_bytes_are_an_error_and_no_panic() {
        let whole = encode(&sample());
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), Err(Undecodable), "{length}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                // Many changes leave a trace, of something else.
                let _ = decode(&changed);
            }
        }
        assert_eq!(decode(b"TRC2\0\0\0\0\0\0\0\0\0\0"), Err(Undecodable));
    }
}
