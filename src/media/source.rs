//! Who may send to a stream, and where it sends: symmetric RTP that learns once and then locks, so that a stranger
//! can neither be heard nor draw audio to himself.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::rtp::{Header, sequence_distance};

/// Consecutive packets from one source, and the milliseconds they span, before it is believed.
const PROBATION_PACKETS: u8 = 4;
const PROBATION_SPAN: u32 = 20;
/// A source that fell silent may move to another address after this long.
const MOVE_AFTER: Duration = Duration::from_secs(2);
/// A candidate that is silent for this many milliseconds gives its place away.
const CANDIDATE_STALE: u32 = 200;
const CANDIDATES: usize = 3;
/// A source at a host that neither the description nor the signalling names is believed only after this long.
const FOREIGN_AFTER: Duration = Duration::from_secs(1);

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
    /// The host that signals for the peer: behind a NAT its sound comes from there too. Any other host than this and
    /// the described one is learned only when none of them was heard for a second.
    pub expected: Option<IpAddr>,
}

impl Default for SourceRule {
    fn default() -> Self {
        Self {
            learn_for: Duration::from_secs(5),
            send_first: true,
            unheard_limit: Some(Duration::from_secs(5)),
            expected: None,
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
    opened: Instant,
    /// When the description in force came.
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
    /// In milliseconds since the source opened, to be small.
    since: u32,
    heard: u32,
}

impl Source {
    /// `described` is the address in the peer's description.
    pub fn new(now: Instant, rule: SourceRule, described: Option<SocketAddr>) -> Self {
        Self {
            rule,
            described,
            opened: now,
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
        let too_early = self.is_foreign(from.ip()) && self.is_foreign_refused(now);
        match &mut self.locked {
            Some(lock) if lock.address == from => {
                (lock.ssrc, lock.sequence, lock.heard) = (header.ssrc, header.sequence, now);
                Verdict::Accepted
            }
            _ if self.described == Some(from) => self.lock(now, from, header),
            Some(lock) if !continues(lock, now, header) => Verdict::Refused,
            None if now.saturating_duration_since(self.since) >= self.rule.learn_for => Verdict::Refused,
            None if too_early => Verdict::Refused,
            _ => self.try_candidate(now, from, header),
        }
    }

    /// Whether nobody named this host.
    fn is_foreign(&self, host: IpAddr) -> bool {
        self.rule.expected != Some(host) && self.described.is_none_or(|described| described.ip() != host)
    }

    /// A host with several addresses may send from another than it names, so a foreign one is learned in the end.
    fn is_foreign_refused(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < FOREIGN_AFTER
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
        let at = now.saturating_duration_since(self.opened).as_millis() as u32;
        let fresh = Candidate {
            address: from,
            ssrc: header.ssrc,
            sequence: header.sequence,
            packets: 1,
            since: at,
            heard: at,
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
            (candidate.sequence, candidate.heard) = (header.sequence, at);
            let believed =
                candidate.packets >= PROBATION_PACKETS && at.wrapping_sub(candidate.since) >= PROBATION_SPAN;
            return if believed {
                self.lock(now, from, header)
            } else {
                Verdict::Refused
            };
        }
        let stale = |slot: &&mut Option<Candidate>| {
            slot.is_none_or(|candidate| at.wrapping_sub(candidate.heard) > CANDIDATE_STALE)
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

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SourceRule = SourceRule {
        learn_for: Duration::from_secs(5),
        send_first: true,
        unheard_limit: Some(Duration::from_secs(5)),
        expected: Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5))),
    };

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn described() -> SocketAddr {
        address("198.51.100.1:4000")
    }

    fn natted() -> SocketAddr {
        address("203.0.113.5:61000")
    }

    fn stranger() -> SocketAddr {
        address("203.0.113.66:5555")
    }

    fn header(sequence: u16, ssrc: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: 0,
            ssrc,
        }
    }

    /// Sends `count` packets 20 ms apart and returns the last verdict and the time after them.
    fn talk(
        source: &mut Source,
        now: Instant,
        from: SocketAddr,
        first: u16,
        count: u16,
        ssrc: u32,
    ) -> (Verdict, Instant) {
        let mut verdict = Verdict::Refused;
        for index in 0..count {
            let at = now + Duration::from_millis(20) * u32::from(index);
            verdict = source.judge(at, from, &header(first.wrapping_add(index), ssrc));
        }
        (verdict, now + Duration::from_millis(20) * u32::from(count))
    }

    #[test]
    fn the_described_address_is_heard_at_once() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        assert_eq!(source.judge(now, described(), &header(1, 7)), Verdict::Locked);
        assert_eq!(source.judge(now, described(), &header(2, 7)), Verdict::Accepted);
    }

    #[test]
    fn another_address_is_learned_after_four_packets_in_a_row_and_only_then_sent_to() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        for sequence in 65_534..=65_536u32 {
            assert_eq!(
                source.judge(now, natted(), &header(sequence as u16, 7)),
                Verdict::Refused
            );
            assert_eq!(source.destination(now), Some(described()));
        }
        let later = now + Duration::from_millis(20);
        assert_eq!(source.judge(later, natted(), &header(1, 7)), Verdict::Locked);
        assert_eq!(source.destination(later), Some(natted()));
    }

    #[test]
    fn a_host_that_nobody_named_is_learned_only_when_no_named_one_is_heard_for_a_second() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let (verdict, after) = talk(&mut source, now, stranger(), 1, 50, 7);
        assert_eq!(verdict, Verdict::Refused);
        // A host that was named is believed meanwhile, and keeps its place.
        for named in [natted(), described()] {
            let mut expected = source.clone();
            assert_eq!(talk(&mut expected, now, named, 1, 5, 9).0, Verdict::Accepted);
            assert_eq!(
                talk(&mut expected, after, stranger(), 51, 10, 7).0,
                Verdict::Refused
            );
        }
        assert_eq!(
            talk(&mut source, after, stranger(), 51, 5, 7).0,
            Verdict::Accepted
        );
    }

    #[test]
    fn a_burst_gaps_and_changing_sources_are_not_believed() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        for sequence in 0..50 {
            assert_eq!(
                source.judge(now, stranger(), &header(sequence, 7)),
                Verdict::Refused,
                "burst"
            );
        }
        for step in 0..50u16 {
            let at = now + Duration::from_millis(20) * u32::from(step);
            assert_eq!(
                source.judge(at, natted(), &header(step * 2, 7)),
                Verdict::Refused,
                "gaps"
            );
            assert_eq!(
                source.judge(at, stranger(), &header(100 + step, u32::from(step))),
                Verdict::Refused,
                "ssrc"
            );
        }
    }

    #[test]
    fn strangers_neither_take_over_a_locked_source_nor_hinder_it() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let (_, mut at) = talk(&mut source, now, described(), 1, 10, 7);
        for sequence in 0..500 {
            at += Duration::from_millis(20);
            // Even with the right SSRC and sequence numbers: the source itself is not silent.
            for ssrc in [7, 8] {
                assert_eq!(
                    source.judge(at, stranger(), &header(11 + sequence, ssrc)),
                    Verdict::Refused
                );
            }
            assert_eq!(
                source.judge(at, described(), &header(11 + sequence, 7)),
                Verdict::Accepted
            );
        }
        assert_eq!(source.destination(at), Some(described()));
    }

    #[test]
    fn a_learner_among_strangers_is_still_learned() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let mut verdict = Verdict::Refused;
        for step in 0..10u16 {
            let at = now + Duration::from_millis(20) * u32::from(step);
            for port in [1, 2] {
                let noise = SocketAddr::new(stranger().ip(), port);
                source.judge(at, noise, &header(step * 7, u32::from(port)));
            }
            verdict = source.judge(at, natted(), &header(step, 7));
        }
        assert_eq!(verdict, Verdict::Accepted);
    }

    #[test]
    fn nothing_is_learned_after_the_window_until_a_new_description() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let late = now + RULE.learn_for;
        assert_eq!(talk(&mut source, late, natted(), 1, 50, 7).0, Verdict::Refused);
        source.update(late, RULE, Some(described()));
        assert_eq!(talk(&mut source, late, natted(), 1, 50, 7).0, Verdict::Accepted);
    }

    #[test]
    fn a_source_that_moved_is_followed_after_silence_if_it_goes_on_where_it_was() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let (_, silent) = talk(&mut source, now, described(), 1, 1000, 7);
        let early = silent + Duration::from_secs(1);
        assert_eq!(
            talk(&mut source, early, natted(), 1050, 40, 7).0,
            Verdict::Refused
        );
        let later = silent + Duration::from_secs(3);
        assert_eq!(
            talk(&mut source, later, stranger(), 1150, 10, 8).0,
            Verdict::Refused,
            "wrong SSRC"
        );
        assert_eq!(
            talk(&mut source, later, stranger(), 30_000, 10, 7).0,
            Verdict::Refused,
            "wrong sequence"
        );
        assert_eq!(
            talk(&mut source, later, natted(), 1150, 10, 7).0,
            Verdict::Accepted
        );
        assert_eq!(source.destination(later), Some(natted()));
    }

    #[test]
    fn a_new_described_address_takes_the_place_of_the_lock_and_the_old_one_does_not() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        talk(&mut source, now, natted(), 1, 10, 7);
        source.update(now, RULE, Some(described()));
        source.update(now, RULE, None);
        assert_eq!(
            source.destination(now),
            Some(natted()),
            "an unchanged description and hold keep the lock"
        );
        source.update(now, RULE, Some(stranger()));
        assert_eq!(source.destination(now), Some(stranger()));
        assert_eq!(source.judge(now, described(), &header(1, 7)), Verdict::Refused);
    }

    #[test]
    fn sending_waits_for_the_first_packet_where_the_rule_says_so() {
        let now = Instant::now();
        let mut source = Source::new(
            now,
            SourceRule {
                send_first: false,
                ..RULE
            },
            Some(described()),
        );
        assert_eq!(source.destination(now), None);
        source.judge(now, described(), &header(1, 7));
        assert_eq!(source.destination(now), Some(described()));
    }

    #[test]
    fn sending_to_an_address_that_stays_dumb_stops() {
        let now = Instant::now();
        let mut source = Source::new(now, RULE, Some(described()));
        let limit = now + Duration::from_secs(5);
        assert!(source.destination(limit - Duration::from_millis(1)).is_some());
        assert!(source.destination(limit).is_none());
        let patient = SourceRule {
            unheard_limit: None,
            ..RULE
        };
        source.update(now, patient, Some(described()));
        assert!(source.destination(limit).is_some());
    }
}
