//! The messages of a running call: the first ones and the last ones, with one copy of the bytes of each.

use std::net::SocketAddr;

use super::{Disguise, LONGEST_KEPT, MOST_BYTES, MOST_MESSAGES, Trace, TracedMessage, redact};
use crate::call::record::{LegNumber, UtcMicros};

/// The first messages are never dropped for later ones: so many, or as many as take half of the bytes.
const HEAD: usize = MOST_MESSAGES / 3;
/// Copies whose times are kept.
const MOST_COPIES: usize = 64;
/// Memory grows in steps of this.
const STEP: usize = 1024;

/// How a message came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub at: UtcMicros,
    pub leg: LegNumber,
    pub sent: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub transport: sip::Transport,
}

impl Arrival {
    fn same_way(&self, other: &Self) -> bool {
        self.sent == other.sent && self.local == other.local && self.remote == other.remote
    }
}

#[derive(Debug)]
struct Entry {
    arrival: Arrival,
    length: u32,
    kept: u32,
}

/// A call's messages while it runs. Memory is bounded by [`MOST_BYTES`] and [`MOST_MESSAGES`].
#[derive(Debug, Default)]
pub struct Ring {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Copies: which entry passed again, and when.
    copies: Vec<(u16, UtcMicros)>,
    /// Entries that stay for good.
    head: usize,
    left_out: u32,
    failed: bool,
}

impl Ring {
    /// Takes a message in; its bytes are kept once, however often they pass.
    pub fn push(&mut self, arrival: Arrival, message: &[u8]) {
        if let Some(entry) = self.find(&arrival, message) {
            if self.copies.len() < MOST_COPIES {
                self.copies.push((entry, arrival.at));
            } else {
                self.left_out = self.left_out.saturating_add(1);
            }
            return;
        }
        self.failed |= is_failure(message);
        let kept = &message[..message.len().min(LONGEST_KEPT)];
        while self.entries.len() >= MOST_MESSAGES || self.bytes.len() + kept.len() > MOST_BYTES {
            self.drop_one();
        }
        if self.entries.len() == self.head
            && self.head < HEAD
            && self.bytes.len() + kept.len() <= MOST_BYTES / 2
        {
            self.head += 1;
        }
        if self.bytes.capacity() - self.bytes.len() < kept.len() {
            self.bytes.reserve_exact(kept.len().max(STEP));
        }
        self.bytes.extend_from_slice(kept);
        self.entries.push(Entry {
            arrival,
            length: u32::try_from(message.len()).unwrap_or(u32::MAX),
            kept: u32::try_from(kept.len()).unwrap_or(0),
        });
    }

    /// Notes that a message passed which is not kept.
    pub fn pass_over(&mut self, message: &[u8]) {
        self.failed |= is_failure(message);
        self.left_out = self.left_out.saturating_add(1);
    }

    /// Bytes of memory in use, near enough.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Whether a request was refused in earnest: a final response of 400 or more that is no challenge and no
    /// consequence of a CANCEL.
    pub fn has_failure(&self) -> bool {
        self.failed
    }

    /// The trace, with what may not be kept taken out.
    pub fn trace(&self, disguise: &Disguise) -> Trace {
        let mut begin = 0;
        let mut messages = Vec::with_capacity(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            let end = begin + entry.kept as usize;
            let of_this = self.copies.iter().filter(|(of, _)| usize::from(*of) == index);
            let Arrival {
                at,
                leg,
                sent,
                local,
                remote,
                transport,
            } = entry.arrival;
            messages.push(TracedMessage {
                at,
                leg,
                sent,
                local,
                remote,
                transport,
                copies: of_this.map(|(_, at)| *at).collect(),
                length: entry.length,
                text: redact::redact(&self.bytes[begin..end], disguise),
            });
            begin = end;
        }
        Trace {
            messages,
            left_out: self.left_out,
            gap_after: self.head,
        }
    }

    /// The entry of the same bytes on the same way. Lengths are compared first, so this is cheap.
    fn find(&self, arrival: &Arrival, message: &[u8]) -> Option<u16> {
        let mut begin = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let end = begin + entry.kept as usize;
            if entry.length as usize == message.len()
                && entry.arrival.same_way(arrival)
                && message.starts_with(&self.bytes[begin..end])
            {
                return u16::try_from(index).ok();
            }
            begin = end;
        }
        None
    }

    /// Makes room: the oldest message behind the head goes, and what is known of its copies.
    fn drop_one(&mut self) {
        let gone = self.head.min(self.entries.len().saturating_sub(1));
        let begin: usize = self.entries[..gone].iter().map(|entry| entry.kept as usize).sum();
        let entry = self.entries.remove(gone);
        self.bytes.drain(begin..begin + entry.kept as usize);
        let before = self.copies.len();
        self.copies.retain(|(of, _)| usize::from(*of) != gone);
        for (of, _) in &mut self.copies {
            *of -= u16::from(usize::from(*of) > gone);
        }
        let dropped = u32::try_from(1 + before - self.copies.len()).unwrap_or(1);
        self.left_out = self.left_out.saturating_add(dropped);
    }
}

fn is_failure(message: &[u8]) -> bool {
    let status = message.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
    status.is_some_and(|status| status[0] >= b'4' && ![b"401", b"407", b"487"].iter().any(|s| *s == status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(at: i64) -> Arrival {
        Arrival {
            at: UtcMicros(at),
            leg: LegNumber(0),
            sent: false,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "198.51.100.1:5060".parse().unwrap(),
            transport: sip::Transport::Udp,
        }
    }

    fn message(number: usize, body: usize) -> Vec<u8> {
        format!(
            "OPTIONS sip:h SIP/2.0\r\nCSeq: {number} OPTIONS\r\nUser-Agent: {}\r\n\r\n",
            "x".repeat(body)
        )
        .into_bytes()
    }

    fn numbers(trace: &Trace) -> Vec<usize> {
        let number = |message: &TracedMessage| {
            let text = String::from_utf8(message.text.clone()).unwrap();
            let number = text.split("CSeq: ").nth(1).unwrap();
            number.split(' ').next().unwrap().parse().unwrap()
        };
        trace.messages.iter().map(number).collect()
    }

    #[test]
    fn copies_are_counted_with_their_times_and_their_bytes_kept_once() {
        let mut ring = Ring::default();
        ring.push(arrival(0), &message(1, 5000));
        let memory = ring.memory();
        for at in 1..200 {
            ring.push(arrival(at), &message(1, 5000));
        }
        assert_eq!(ring.memory(), memory);
        // The same bytes the other way are another message.
        ring.push(
            Arrival {
                sent: true,
                ..arrival(300)
            },
            &message(1, 5000),
        );
        let trace = ring.trace(&Disguise::default());
        assert_eq!(trace.messages.len(), 2);
        let copies: Vec<UtcMicros> = (1..=64).map(UtcMicros).collect();
        assert_eq!(trace.messages[0].copies, copies);
        assert_eq!(trace.left_out, 135);
    }

    #[test]
    fn first_and_last_messages_outlive_those_between() {
        let mut ring = Ring::default();
        for number in 0..1000 {
            ring.push(arrival(0), &message(number, 10));
        }
        let trace = ring.trace(&Disguise::default());
        let expected: Vec<usize> = (0..HEAD).chain(1000 - (MOST_MESSAGES - HEAD)..1000).collect();
        assert_eq!(numbers(&trace), expected);
        assert_eq!((trace.left_out, trace.gap_after), (904, HEAD));
    }

    #[test]
    fn long_messages_are_cut_and_never_take_more_than_the_limit() {
        let mut ring = Ring::default();
        for number in 0..500 {
            ring.push(arrival(0), &message(number, number * 37 % 60_000));
            assert!(ring.bytes.len() <= MOST_BYTES);
        }
        assert!(ring.memory() <= MOST_BYTES + LONGEST_KEPT + MOST_MESSAGES * 2 * size_of::<Entry>());
        let trace = ring.trace(&Disguise::default());
        let (first, last) = (trace.messages.first().unwrap(), trace.messages.last().unwrap());
        assert_eq!(numbers(&trace)[..3], [0, 1, 2]);
        assert_eq!(last.length as usize, message(499, 499 * 37).len());
        assert!(last.text.len() <= LONGEST_KEPT + 4 && first.text.len() < 200);
        assert_eq!(trace.left_out as usize + trace.messages.len(), 500);
    }

    #[test]
    fn copies_follow_their_message_when_others_are_dropped() {
        let mut ring = Ring::default();
        for number in 0..MOST_MESSAGES {
            ring.push(arrival(0), &message(number, 10));
        }
        ring.push(arrival(7), &message(HEAD, 10));
        ring.push(arrival(9), &message(MOST_MESSAGES - 1, 10));
        ring.push(arrival(0), &message(5000, 10));
        let trace = ring.trace(&Disguise::default());
        let copied: Vec<_> = trace
            .messages
            .iter()
            .filter(|message| !message.copies.is_empty())
            .collect();
        assert_eq!(copied.len(), 1);
        assert_eq!(copied[0].copies, [UtcMicros(9)]);
        assert!(copied[0].text.starts_with(&message(MOST_MESSAGES - 1, 10)[..40]));
        assert_eq!(trace.left_out, 2);
    }

    #[test]
    fn refusals_count_as_failures_but_challenges_and_cancellations_do_not() {
        let failed = |line: &str| {
            let mut ring = Ring::default();
            ring.push(arrival(0), format!("{line}\r\n\r\n").as_bytes());
            ring.has_failure()
        };
        assert!(failed("SIP/2.0 486 Busy Here") && failed("SIP/2.0 603 Decline"));
        for line in [
            "SIP/2.0 200 OK",
            "SIP/2.0 401 U",
            "SIP/2.0 407 P",
            "SIP/2.0 487 T",
            "BYE sip:a SIP/2.0",
        ] {
            assert!(!failed(line), "{line}");
        }
    }
}
