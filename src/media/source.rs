//! Who may send to a stream, and where it sends: symmetric RTP that learns once and then locks, so that a stranger
//! can neither be heard nor draw audio to himself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::rtp::{Header, sequence_distance};

/// Consecutive packets from one source, and the time they span, before it is believed.
const PROBATION_PACKETS: u8 = 4;
const PROBATION_SPAN: Duration = Duration::from_millis(20);
/// A source that fell silent may move to another address after this long.
const MOVE_AFTER: Duration = Duration::from_secs(2);
/// A candidate that skips for this long gives its place away.
const CANDIDATE_STALE: Duration = Duration::from_millis(200);
const CANDIDATES: usize = 3;

/// How far a peer is trusted with addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRule {
    /// How long after a new description another source than the described one may be learned. Zero: never.
    pub learn_for: Duration,
    /// Whether we may send to the described address before anything came from there. The caller judges the address,
    /// see [`crate::sdp::address::refusal`].
    pub send_first: bool,
    /// How long we send to an address from which nothing comes. None: for ever.
    pub unheard_limit: Option<Duration>,
}

impl Default for SourceRule {
    fn default() -> Self {
        Self {
            learn_for: Duration::from_secs(5),
            send_first: true,
            unheard_limit: Some(Duration::from_secs(5)),
        }
    }
}

/// What became of a packet's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first packet of a source now locked.
    Locked,
    Accepted,
    Refused,
}

/// The source of one stream.
#[derive(Debug, Clone)]
pub struct Source {
    rule: SourceRule,
    described: Option<SocketAddr>,
    since: Instant,
    locked: Option<Lock>,
    candidates: [Option<Candidate>; CANDIDATES],
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    heard: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
    since: Instant,
    heard: Instant,
}

impl Source {
    /// `described` is the address in the peer's description.
    pub fn new(now: Instant, rule: SourceRule, described: Option<SocketAddr>) -> Self {
        Self {
            rule,
            described,
            since: now,
            locked: None,
            candidates: [None; CANDIDATES],
        }
    }

    /// Takes a new description. An unchanged address, or none (hold), keeps the lock.
    pub fn update(&mut self, now: Instant, rule: SourceRule, described: Option<SocketAddr>) {
        self.rule = rule;
        self.since = now;
        if described.is_some() && described != self.described {
            self.described = described;
            self.locked = None;
            self.candidates = [None; CANDIDATES];
        }
    }

    /// Where to send now, if anywhere.
    pub fn destination(&self, now: Instant) -> Option<SocketAddr> {
        match self.locked {
            Some(lock) => Some(lock.address),
            None => self
                .described
                .filter(|_| self.rule.send_first && !self.is_unheard(now)),
        }
    }

    /// The SSRC of the locked source.
    pub fn ssrc(&self) -> Option<u32> {
        self.locked.map(|lock| lock.ssrc)
    }

    /// Whether control packets may come from here: the locked host (RTCP has its own port or shares this one).
    pub fn is_locked_to(&self, address: SocketAddr) -> bool {
        self.locked.is_some_and(|lock| lock.address.ip() == address.ip())
    }

    /// Judges a packet with a payload type we know.
    pub fn judge(&mut self, now: Instant, from: SocketAddr, header: &Header) -> Verdict {
        match &mut self.locked {
            Some(lock) if lock.address == from => {
                (lock.ssrc, lock.sequence, lock.heard) = (header.ssrc, header.sequence, now);
                Verdict::Accepted
            }
            _ if self.described == Some(from) => self.lock(now, from, header),
            Some(lock) if !continues(lock, now, header) => Verdict::Refused,
            None if now.saturating_duration_since(self.since) >= self.rule.learn_for => Verdict::Refused,
            _ => self.try_candidate(now, from, header),
        }
    }

    fn is_unheard(&self, now: Instant) -> bool {
        self.rule
            .unheard_limit
            .is_some_and(|limit| now.saturating_duration_since(self.since) >= limit)
    }

    fn lock(&mut self, now: Instant, address: SocketAddr, header: &Header) -> Verdict {
        self.locked = Some(Lock {
            address,
            ssrc: header.ssrc,
            sequence: header.sequence,
            heard: now,
        });
        self.candidates = [None; CANDIDATES];
        Verdict::Locked
    }

    fn try_candidate(&mut self, now: Instant, from: SocketAddr, header: &Header) -> Verdict {
        let fresh = Candidate {
            address: from,
            ssrc: header.ssrc,
            sequence: header.sequence,
            packets: 1,
            since: now,
            heard: now,
        };
        let known = self
            .candidates
            .iter_mut()
            .flatten()
            .find(|candidate| candidate.address == from);
        if let Some(candidate) = known {
            if candidate.ssrc != header.ssrc || header.sequence != candidate.sequence.wrapping_add(1) {
                *candidate = fresh;
                return Verdict::Refused;
            }
            candidate.packets = candidate.packets.saturating_add(1);
            (candidate.sequence, candidate.heard) = (header.sequence, now);
            let believed = candidate.packets >= PROBATION_PACKETS
                && now.saturating_duration_since(candidate.since) >= PROBATION_SPAN;
            return if believed {
                self.lock(now, from, header)
            } else {
                Verdict::Refused
            };
        }
        let stale = |slot: &&mut Option<Candidate>| {
            slot.is_none_or(|candidate| now.saturating_duration_since(candidate.heard) > CANDIDATE_STALE)
        };
        if let Some(slot) = self.candidates.iter_mut().find(stale) {
            *slot = Some(fresh);
        }
        Verdict::Refused
    }
}

/// Whether a packet from elsewhere can be the locked source after its address changed: silence, then the same
/// SSRC going on where it was.
fn continues(lock: &Lock, now: Instant, header: &Header) -> bool {
    let silent = now.saturating_duration_since(lock.heard);
    // 20 ms a packet, with room for 10 ms packets and some more.
    let most = (silent.as_millis() / 10 + 50).min(16_384) as i16;
    silent >= MOVE_AFTER
        && lock.ssrc == header.ssrc
        && (1..=most).contains(&sequence_distance(header.sequence, lock.sequence))
}
