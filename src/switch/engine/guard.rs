//! Keeps strangers from costing much: a token bucket for each source, and bans for those that misbehave.
//!
//! In: the source of each message that is no trunk's, what the SIP core saw it do, and the time. Out: whether the
//! message is looked at, and bans. A trunk's address never gets here; one that we send to in a trunk's call, and one
//! that proved itself a trunk's within a week, are neither limited nor banned. The source of a datagram may be forged,
//! so what datagrams do bans no connection. Every table is bounded: a flood of forged sources pushes out quiet sources,
//! and bans only by others once 16,384 stand. A source is one IPv4 address or one IPv6 /64.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use sip::Sighting;

/// Datagrams a second that a source may send for long, and at once.
const RATE: f64 = 20.0;
const BURST: f64 = 40.0;
/// Points within the window that ban a source.
const LIMIT: u32 = 10;
/// Sightings that make up the limit at the latest: each is worth two points or more.
const MOST_SIGHTINGS: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
const FIRST_BAN: Duration = Duration::from_secs(15 * 60);
const LONGEST_BAN: Duration = Duration::from_secs(24 * 60 * 60);
/// A source that kept quiet for this long after a ban begins with the shortest again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// An address we sent to in a trunk's call may answer freely for this long.
const ACQUAINTED_FOR: Duration = Duration::from_secs(60 * 60);

/// An address that proved itself a trunk's is believed to be one for this long.
const PROVED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Of a banned source a message with credentials is looked at this often: a trunk may be there that has yet to prove
/// itself.
const SPARED_EVERY: Duration = Duration::from_secs(10);

const MOST_SOURCES: usize = 16_384;
const MOST_BANS: usize = 16_384;
const MOST_ACQUAINTED: usize = 4_096;
const MOST_PROVED: usize = 4_096;

/// What the guard has counted since the start, and its bans now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardCounters {
    /// Datagrams dropped because their source sent too many.
    pub throttled: u64,
    /// Datagrams dropped because their source was banned.
    pub banned: u64,
    /// Bans begun.
    pub bans: u64,
}

/// One IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(six) => match six.to_ipv4_mapped() {
                Some(four) => IpAddr::V4(four),
                None => {
                    let prefix = u128::from(six) >> 64 << 64;
                    IpAddr::V6(Ipv6Addr::from(prefix))
                }
            },
        })
    }
}

/// What is known of a source that is not banned.
#[derive(Debug)]
struct Behaviour {
    tokens: f64,
    filled_at: Instant,
    /// Points with their times.
    points: [Option<(Instant, u32)>; MOST_SIGHTINGS],
}

#[derive(Debug, Clone, Copy)]
struct Ban {
    until: Instant,
    length: Duration,
    /// When a message with credentials was looked at all the same.
    spared_at: Option<Instant>,
}

/// A bounded map that forgets what was used longest ago. Once it is full, nothing is allocated any more.
#[derive(Debug)]
struct Recent<V> {
    places: HashMap<Source, usize>,
    slots: Vec<Slot<V>>,
    free: Vec<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
    most: usize,
}

/// One value, between the one used before it and the one used after it.
#[derive(Debug)]
struct Slot<V> {
    source: Source,
    older: Option<usize>,
    newer: Option<usize>,
    value: V,
}

impl<V> Recent<V> {
    fn new(most: usize) -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: None,
            newest: None,
            most,
        }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    /// The value of a source, made when there is none; it is now the one used last.
    fn touch(&mut self, source: Source, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.get(&source) {
            Some(&place) => {
                self.unlink(place);
                place
            }
            None => self.add(source, make()),
        };
        self.slots[place].older = self.newest;
        self.slots[place].newer = None;
        match self.newest.replace(place) {
            Some(before) => self.slots[before].newer = Some(place),
            None => self.oldest = Some(place),
        }
        &mut self.slots[place].value
    }

    /// Puts a value into a free slot, or into that of the value used longest ago; it is not linked yet.
    fn add(&mut self, source: Source, value: V) -> usize {
        if self.len() >= self.most
            && let Some(oldest) = self.oldest
        {
            self.remove(self.slots[oldest].source);
        }
        let slot = Slot {
            source,
            older: None,
            newer: None,
            value,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.places.insert(source, place);
        place
    }

    fn get_mut(&mut self, source: Source) -> Option<&mut V> {
        self.places
            .get(&source)
            .map(|place| &mut self.slots[*place].value)
    }

    fn get(&self, source: Source) -> Option<&V> {
        self.places.get(&source).map(|place| &self.slots[*place].value)
    }

    fn remove(&mut self, source: Source) {
        if let Some(place) = self.places.remove(&source) {
            self.unlink(place);
            self.free.push(place);
        }
    }

    fn unlink(&mut self, place: usize) {
        let (older, newer) = (self.slots[place].older, self.slots[place].newer);
        match older {
            Some(older) => self.slots[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.slots[newer].older = older,
            None => self.newest = older,
        }
    }

    /// Forgets those used longest ago that are worth nothing any more; few at a time.
    fn shed(&mut self, is_stale: impl Fn(&V) -> bool) {
        for _ in 0..2 {
            let oldest = self.oldest.map(|place| &self.slots[place]);
            let Some(slot) = oldest.filter(|slot| is_stale(&slot.value)) else {
                return;
            };
            self.remove(slot.source);
        }
    }
}

/// Who may be heard of those that are not trunks.
#[derive(Debug)]
pub(super) struct Guard {
    behaviours: Recent<Behaviour>,
    /// Bans, also those that ended a while ago, for the next one is longer.
    bans: Recent<Ban>,
    acquainted: Recent<Instant>,
    proved: Recent<Instant>,
    counters: GuardCounters,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            behaviours: Recent::new(MOST_SOURCES),
            bans: Recent::new(MOST_BANS),
            acquainted: Recent::new(MOST_ACQUAINTED),
            proved: Recent::new(MOST_PROVED),
            counters: GuardCounters::default(),
        }
    }
}

impl Guard {
    /// Whether a message of a source that is no trunk's is to be looked at. `claims` tells whether it carries
    /// credentials.
    pub fn admits(&mut self, now: Instant, address: IpAddr, claims: impl FnOnce() -> bool) -> bool {
        let source = Source::from(address);
        if self.is_acquainted(now, source) {
            return true;
        }
        if let Some(ban) = self.bans.get_mut(source).filter(|ban| now < ban.until) {
            let is_due = ban.spared_at.is_none_or(|at| now >= at + SPARED_EVERY);
            if is_due && claims() {
                ban.spared_at = Some(now);
                return true;
            }
            self.counters.banned += 1;
            return false;
        }
        let behaviour = self.behaviour(now, source);
        let passed = now.saturating_duration_since(behaviour.filled_at);
        behaviour.tokens = (behaviour.tokens + passed.as_secs_f64() * RATE).min(BURST);
        behaviour.filled_at = now;
        if behaviour.tokens < 1.0 {
            self.counters.throttled += 1;
            return false;
        }
        behaviour.tokens -= 1.0;
        true
    }

    /// Counts what a source did; tells the length of the ban that it earned by it.
    pub fn sighted(&mut self, now: Instant, address: IpAddr, sighting: Sighting) -> Option<Duration> {
        let source = Source::from(address);
        let worth = points(sighting);
        let is_banned = self.bans.get(source).is_some_and(|ban| now < ban.until);
        if worth == 0 || is_banned || self.is_acquainted(now, source) {
            return None;
        }
        let behaviour = self.behaviour(now, source);
        let points = &mut behaviour.points;
        for point in points.iter_mut() {
            *point = point.filter(|(at, _)| now.saturating_duration_since(*at) < WINDOW);
        }
        if let Some(place) = points.iter_mut().find(|place| place.is_none()) {
            *place = Some((now, worth));
        }
        let sum: u32 = points.iter().flatten().map(|(_, points)| points).sum();
        if sum < LIMIT {
            return None;
        }
        self.behaviours.remove(source);
        Some(self.ban(now, source))
    }

    /// Notes that we send to an address in a trunk's call, so that its answers are heard like a trunk's.
    pub fn sent_to(&mut self, now: Instant, address: IpAddr) {
        let until = now + ACQUAINTED_FOR;
        *self.acquainted.touch(Source::from(address), || until) = until;
    }

    /// Notes that a trunk proved to be at an address.
    pub fn proved(&mut self, now: Instant, address: IpAddr) {
        let (source, until) = (Source::from(address), now + PROVED_FOR);
        *self.proved.touch(source, || until) = until;
        self.bans.remove(source);
    }

    /// Whether we lately sent something of a trunk's call there.
    pub fn knows(&self, now: Instant, address: IpAddr) -> bool {
        self.is_acquainted(now, Source::from(address))
    }

    pub fn counters(&self) -> GuardCounters {
        self.counters
    }

    fn is_acquainted(&self, now: Instant, source: Source) -> bool {
        let known = [self.acquainted.get(source), self.proved.get(source)];
        known.into_iter().flatten().any(|until| now < *until)
    }

    fn behaviour(&mut self, now: Instant, source: Source) -> &mut Behaviour {
        self.behaviours
            .shed(|behaviour| now.saturating_duration_since(behaviour.filled_at) >= WINDOW);
        self.behaviours.touch(source, || Behaviour {
            tokens: BURST,
            filled_at: now,
            points: [None; MOST_SIGHTINGS],
        })
    }

    fn ban(&mut self, now: Instant, source: Source) -> Duration {
        self.bans.shed(|ban| now >= ban.until + FORGIVEN_AFTER);
        let length = match self.bans.get(source) {
            Some(last) if now < last.until + FORGIVEN_AFTER => (last.length * 2).min(LONGEST_BAN),
            _ => FIRST_BAN,
        };
        let ban = Ban {
            until: now + length,
            length,
            spared_at: None,
        };
        *self.bans.touch(source, || ban) = ban;
        self.counters.bans += 1;
        length
    }
}

/// The guards of datagrams and of connections.
#[derive(Debug, Default)]
pub(super) struct Guards {
    pub datagrams: Guard,
    pub streams: Guard,
}

impl Guards {
    pub fn of(&mut self, transport: sip::Transport) -> &mut Guard {
        match transport.is_reliable() {
            true => &mut self.streams,
            false => &mut self.datagrams,
        }
    }

    /// See [`Guard::sent_to`].
    pub fn sent_to(&mut self, now: Instant, address: IpAddr) {
        self.datagrams.sent_to(now, address);
        self.streams.sent_to(now, address);
    }

    /// See [`Guard::proved`].
    pub fn proved(&mut self, now: Instant, address: IpAddr) {
        self.datagrams.proved(now, address);
        self.streams.proved(now, address);
    }

    pub fn counters(&self) -> GuardCounters {
        let (one, other) = (self.datagrams.counters(), self.streams.counters());
        GuardCounters {
            throttled: one.throttled + other.throttled,
            banned: one.banned + other.banned,
            bans: one.bans + other.bans,
        }
    }
}

/// Whether a message has a header for credentials, told without parsing it.
pub(super) fn carries_credentials(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"authorization";
    bytes.split(|byte| *byte == b'\n').any(|line| {
        let name = line.get(..NAME.len()).unwrap_or_default();
        name.eq_ignore_ascii_case(NAME)
    })
}

/// What a sighting counts towards a ban. A foreign challenge answers a request of ours, so it is a matter of settings.
fn points(sighting: Sighting) -> u32 {
    match sighting {
        Sighting::Scanner => 10,
        Sighting::StrangerInvite => 5,
        Sighting::Stranger | Sighting::BadCredentials => 3,
        Sighting::Malformed => 2,
        Sighting::Unauthenticated => 1,
        Sighting::ForeignChallenge => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_source_may_send_forty_at_once_and_twenty_a_second() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        let admitted =
            |guard: &mut Guard, now| (0..1000).filter(|_| guard.admits(now, source, || false)).count();
        assert_eq!(admitted(&mut guard, start), 40);
        assert_eq!(admitted(&mut guard, start + Duration::from_secs(1)), 20);
        assert_eq!(admitted(&mut guard, start + Duration::from_millis(1500)), 10);
        assert_eq!(admitted(&mut guard, start + 10 * MINUTE), 40);
        assert_eq!(guard.counters().throttled, 4000 - 110);
        assert!(
            guard.admits(start, address("198.51.100.8"), || false),
            "another source has its own bucket"
        );
    }

    #[test]
    fn two_invites_in_a_minute_ban_and_in_two_minutes_do_not() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        assert_eq!(guard.sighted(start, source, Sighting::StrangerInvite), None);
        assert_eq!(
            guard.sighted(start + MINUTE, source, Sighting::StrangerInvite),
            None
        );
        let last = start + MINUTE + Duration::from_secs(59);
        assert_eq!(
            guard.sighted(last, source, Sighting::StrangerInvite),
            Some(FIRST_BAN)
        );
        assert!(!guard.admits(last + FIRST_BAN - Duration::from_millis(1), source, || false));
        assert!(guard.admits(last + FIRST_BAN, source, || false));
        assert_eq!((guard.counters().banned, guard.counters().bans), (1, 1));
    }

    #[test]
    fn a_scanner_is_banned_at_once_and_five_malformed_messages_ban() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        assert!(
            guard
                .sighted(now, address("198.51.100.1"), Sighting::Scanner)
                .is_some()
        );
        let source = address("198.51.100.2");
        let bans = (0..5).map(|_| guard.sighted(now, source, Sighting::Malformed).is_some());
        assert_eq!(bans.collect::<Vec<_>>(), [false, false, false, false, true]);
        let source = address("198.51.100.3");
        assert!((0..100).all(|_| guard.sighted(now, source, Sighting::ForeignChallenge).is_none()));
    }

    #[test]
    fn four_wrong_passwords_ban_and_a_few_challenges_do_not() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        let bans = (0..4).map(|_| guard.sighted(now, source, Sighting::BadCredentials).is_some());
        assert_eq!(bans.collect::<Vec<_>>(), [false, false, false, true]);
        let source = address("198.51.100.8");
        let bans = (0..10).map(|_| guard.sighted(now, source, Sighting::Unauthenticated).is_some());
        assert_eq!(
            bans.filter(|banned| *banned).count(),
            1,
            "the tenth within a minute"
        );
    }

    #[test]
    fn a_ban_doubles_up_to_a_day_and_is_forgiven_after_a_quiet_day() {
        let (mut guard, mut now) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        let mut lengths = Vec::new();
        for _ in 0..9 {
            let length = guard.sighted(now, source, Sighting::Scanner).unwrap();
            assert_eq!(
                guard.sighted(now, source, Sighting::Scanner),
                None,
                "one ban at a time"
            );
            lengths.push(length.as_secs() / 60);
            now += length;
        }
        assert_eq!(lengths, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        now += FORGIVEN_AFTER;
        assert_eq!(guard.sighted(now, source, Sighting::Scanner), Some(FIRST_BAN));
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_its_ipv4_one() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        guard.sighted(now, address("2001:db8:1:2::1"), Sighting::Scanner);
        assert!(!guard.admits(now, address("2001:db8:1:2:ffff::9"), || false));
        assert!(guard.admits(now, address("2001:db8:1:3::1"), || false));
        guard.sighted(now, address("::ffff:198.51.100.7"), Sighting::Scanner);
        assert!(!guard.admits(now, address("198.51.100.7"), || false));
    }

    #[test]
    fn an_address_of_a_trunks_call_is_neither_limited_nor_banned() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        guard.sent_to(now, source);
        assert_eq!(guard.sighted(now, source, Sighting::Scanner), None);
        assert!((0..1000).all(|_| guard.admits(now, source, || false)));
        let later = now + ACQUAINTED_FOR;
        assert_eq!(
            (0..1000)
                .filter(|_| guard.admits(later, source, || false))
                .count(),
            40
        );
    }

    #[test]
    fn a_banned_source_is_heard_with_credentials_once_in_ten_seconds_and_for_good_once_it_proved_itself() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let source = address("198.51.100.7");
        assert!(guard.sighted(now, source, Sighting::Scanner).is_some());
        let seconds = |count| now + Duration::from_secs(count);
        let heard = (0..30).filter(|second| {
            let admitted = (0..5).filter(|_| guard.admits(seconds(*second), source, || true));
            admitted.count() == 1
        });
        assert_eq!(heard.collect::<Vec<_>>(), [0, 10, 20]);
        assert!(!guard.admits(seconds(40), source, || false));
        guard.proved(seconds(40), source);
        assert!((0..100).all(|_| guard.admits(seconds(40), source, || false)));
        let later = seconds(40) + PROVED_FOR - MINUTE;
        assert_eq!(guard.sighted(later, source, Sighting::Scanner), None);
        assert!(guard.sighted(later + MINUTE, source, Sighting::Scanner).is_some());
        let invite = b"INVITE sip:a SIP/2.0\r\nVia: x\r\nauthorization: Digest a\r\n\r\n";
        assert!(carries_credentials(invite) && !carries_credentials(&invite[..40]));
    }

    #[test]
    fn a_flood_of_forged_sources_keeps_tables_bounded_and_bans_standing() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let banned = address("198.51.100.7");
        guard.sighted(now, banned, Sighting::Scanner);
        for number in 0..100_000u32 {
            let source = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            guard.admits(now, source, || false);
            guard.sighted(now, source, Sighting::Stranger);
            guard.sent_to(now, IpAddr::from((0x0b00_0000 + number).to_be_bytes()));
        }
        assert!(!guard.admits(now, banned, || false));
        assert_eq!(guard.behaviours.len(), MOST_SOURCES);
        assert_eq!(guard.behaviours.slots.len(), MOST_SOURCES);
        assert_eq!(guard.acquainted.len(), MOST_ACQUAINTED);
        for number in 0..100_000u32 {
            guard.sighted(
                now,
                IpAddr::from((0x0c00_0000 + number).to_be_bytes()),
                Sighting::Scanner,
            );
        }
        assert_eq!(guard.bans.len(), MOST_BANS);
    }

    #[test]
    fn sources_that_fell_silent_are_forgotten() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        for number in 0..1000u32 {
            guard.admits(now, IpAddr::from((0x0a00_0000 + number).to_be_bytes()), || false);
        }
        for second in 0..600u64 {
            let later = now + 2 * MINUTE + Duration::from_secs(second);
            guard.admits(later, address("198.51.100.7"), || false);
        }
        assert_eq!(guard.behaviours.len(), 1);
    }

    #[test]
    fn throttled_banned_and_ever_new_sources_cost_no_allocation() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let forged = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        // Until the tables are full they grow.
        for number in 0..40_000 {
            guard.admits(now, forged(number), || false);
            guard.sighted(now, forged(number), Sighting::Stranger);
        }
        let (banned, throttled) = (address("198.51.100.7"), address("198.51.100.8"));
        guard.sighted(now, banned, Sighting::Scanner);
        guard.admits(now, throttled, || false);
        let cost = allocation_counter::measure(|| {
            for number in 0..20_000 {
                assert!(!guard.admits(now, banned, || false));
                guard.admits(now, throttled, || false);
                guard.admits(now, forged(100_000 + number), || false);
                guard.sighted(now, forged(100_000 + number), Sighting::Malformed);
            }
        });
        assert_eq!(cost.count_total, 0);
        assert!(guard.counters().throttled > 19_000 && guard.counters().banned == 20_000);
    }
}
