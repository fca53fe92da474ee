//! What is true of a trunk at this moment: its addresses, registration, health and load.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Trunk;
use super::rate::Rate;
use super::settings::{TrunkState, registration_trouble};

/// An address that was a trunk's counts as its own for so long: calls that began there go on.
const FORMER_FOR: Duration = Duration::from_secs(24 * 3600);
const MOST_FORMER: usize = 32;
/// Refused calls are told this often.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);
/// The longest that a trunk is left alone because it asked for it.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// The state of a trunk; its place is the place of the trunk in the settings.
#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    pub resolved: bool,
    pub registered: bool,
    /// What the last REGISTER failed with; 408 for no answer.
    pub registration_trouble: Option<u16>,
    pub leaving: bool,
    pub calls: u32,
    /// Of these, calls that came in and have, or may want, a second leg.
    pub inbound: u32,
    /// When OPTIONS is sent next.
    pub probe_at: Option<Instant>,
    /// What the last OPTIONS was answered with; 408 for nothing.
    pub probed: Option<u16>,
    /// OPTIONS that failed in a row.
    pub failures: u32,
    /// Calls dialled of late.
    pub rate: Rate,
    /// Calls of it that were refused were told then.
    pub refusals_told_at: Option<Instant>,
    /// It failed, which was told, and has carried no call since.
    pub failing: bool,
    /// It asked not to be called until then (Retry-After).
    pub rests_until: Option<Instant>,
    /// Where it is reached, best first.
    pub targets: Vec<SocketAddr>,
    /// How calls are spread over these.
    pub shares: Vec<sip::Share>,
    /// Where it is registered with, where that is elsewhere.
    pub registrars: Vec<SocketAddr>,
    /// Addresses that were its own, and until when they count as such; the oldest first.
    pub former: Vec<(IpAddr, Instant)>,
    /// Our address that reaches it.
    pub local: Option<SocketAddr>,
    /// Where it says that it sees us, and since when.
    pub seen_at: Option<(SocketAddr, Instant)>,
    /// When a NAT on the way is reminded of us next.
    pub keep_alive_at: Option<Instant>,
    /// We keep a registration there.
    pub registering: bool,
    /// Its place in the configuration.
    pub rank: usize,
    /// The configuration, by its number, that no longer has this trunk.
    pub retired: Option<u64>,
    /// When it is forgotten; requests that end its last calls are answered by then.
    pub forget_at: Option<Instant>,
    /// Nothing is left of it, and its place is free.
    pub gone: bool,
}

impl Line {
    pub fn ranked(rank: usize) -> Self {
        Self {
            rank,
            ..Self::default()
        }
    }

    /// Whether so many OPTIONS in a row failed that it counts as down.
    pub fn is_down(&self, trunk: &Trunk) -> bool {
        trunk.options_every.is_some() && self.failures >= trunk.options_failures
    }

    /// Takes what an OPTIONS was answered with; tells whether the trunk went down or came up by it.
    pub fn take_probe(&mut self, trunk: &Trunk, status: u16) -> bool {
        let was_down = self.is_down(trunk);
        self.probed = Some(status);
        self.failures = match is_failed_probe(status) {
            true => self.failures.saturating_add(1),
            false => 0,
        };
        was_down != self.is_down(trunk)
    }

    /// The trunk asked not to be called for a while.
    pub fn rest(&mut self, now: Instant, asked: Duration) {
        if !asked.is_zero() {
            self.rests_until = Some(now + asked.min(LONGEST_REST));
        }
    }

    /// Takes new addresses; the old ones count for a day more.
    pub fn take_targets(&mut self, now: Instant, targets: Vec<SocketAddr>, registrars: Vec<SocketAddr>) {
        let old = self.targets.iter().chain(&self.registrars);
        let left: Vec<IpAddr> = old
            .map(SocketAddr::ip)
            .filter(|old| !targets.iter().chain(&registrars).any(|new| new.ip() == *old))
            .collect();
        for address in left {
            self.former.retain(|(former, _)| *former != address);
            if self.former.len() >= MOST_FORMER {
                self.former.remove(0);
            }
            self.former.push((address, now + FORMER_FOR));
        }
        (self.targets, self.registrars) = (targets, registrars);
    }

    /// Forgets former addresses and a rest whose time is over; tells whether an address was forgotten.
    pub fn forget(&mut self, now: Instant) -> bool {
        if self.rests_until.is_some_and(|until| until <= now) {
            self.rests_until = None;
        }
        let before = self.former.len();
        self.former.retain(|(_, until)| *until > now);
        before != self.former.len()
    }

    /// When something has to be done for the trunk next.
    pub fn next_due(&self) -> Option<Instant> {
        let former = self.former.first().map(|(_, until)| *until);
        [
            self.probe_at,
            self.forget_at,
            self.rests_until,
            self.keep_alive_at,
            former,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a refused call is told now: one a minute, for a peer decides how many there are.
    pub fn tells_refusal(&mut self, now: Instant) -> bool {
        let tells = self
            .refusals_told_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REFUSALS_EVERY);
        if tells {
            self.refusals_told_at = Some(now);
        }
        tells
    }

    pub fn state(&self, trunk: &Trunk) -> TrunkState {
        TrunkState {
            name: trunk.name.clone(),
            resolved: self.resolved,
            registered: trunk.register.map(|_| self.registered),
            registration_trouble: self.registration_trouble.map(registration_trouble),
            calls: self.calls,
            answers_options: self.probed.map(|status| !is_failed_probe(status)),
            down: self.is_down(trunk),
            resting: self.rests_until.is_some(),
            failing: self.failing,
            addresses: self.targets.clone(),
            seen_at: self.seen_at.map(|(address, _)| address),
        }
    }
}

/// Whether an OPTIONS was answered by nobody (408), or by one that is not to be used: 503, and 502 or 504 of a proxy whose
/// next hop is gone. Any other answer shows that the trunk is there, also that it does not know OPTIONS (405, 501, …).
fn is_failed_probe(status: u16) -> bool {
    matches!(status, 408 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TrunkName;

    fn targets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_trunk_is_down_after_as_many_failures_as_configured_and_up_after_one_answer() {
        let trunk = Trunk {
            options_every: Some(Duration::from_secs(30)),
            ..Trunk::new(TrunkName::new("t"), "t.example")
        };
        let mut line = Line::default();
        assert!(!line.take_probe(&trunk, 408) && !line.take_probe(&trunk, 503));
        assert!(line.take_probe(&trunk, 408) && line.is_down(&trunk));
        assert!(!line.take_probe(&trunk, 408), "told once");
        assert!(line.take_probe(&trunk, 404) && !line.is_down(&trunk));
        for status in [404, 405, 500, 501, 505, 513].repeat(3) {
            assert!(!line.take_probe(&trunk, status), "{status}");
            assert_eq!(line.state(&trunk).answers_options, Some(true), "{status}");
        }
        assert!(!line.take_probe(&trunk, 502) && !line.take_probe(&trunk, 504));
        assert!(line.take_probe(&trunk, 503), "down again");
    }

    #[test]
    fn addresses_that_rotate_count_for_a_day_and_at_most_thirty_two_are_kept() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.take_targets(now, targets(&["192.0.2.1:5060", "192.0.2.2:5060"]), Vec::new());
        line.take_targets(now, targets(&["192.0.2.2:5060"]), Vec::new());
        assert_eq!(line.former.len(), 1);
        for last in 3..200u8 {
            line.take_targets(now, vec![SocketAddr::from(([192, 0, 2, last], 5060))], Vec::new());
        }
        assert_eq!(line.former.len(), 32);
        assert!(!line.forget(now + FORMER_FOR - Duration::from_secs(1)));
        assert!(line.forget(now + FORMER_FOR) && line.former.is_empty());
    }

    #[test]
    fn a_trunk_that_asks_for_an_hour_is_left_alone_for_five_minutes() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.rest(now, Duration::ZERO);
        assert_eq!(line.rests_until, None);
        line.rest(now, Duration::from_secs(3600));
        assert_eq!(line.next_due(), Some(now + LONGEST_REST));
        line.forget(now + LONGEST_REST);
        assert_eq!(line.rests_until, None);
    }
}
