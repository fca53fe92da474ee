//! The address that a trunk sees us at, and keeping a NAT's door open (RFC 3581 §4, RFC 5626 §3.5.1).
//!
//! In: where a response says that our request came from. Out: Contact, Via and session descriptions that name it, a new
//! registration, and two line ends every 25 to 30 s. A configured address always wins; a trunk on the open network is
//! not believed when it names a private one. Calls in progress go on as they are.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::RngCore;
use sip::PeerId;

use super::exchange::{Exchange, is_private};
use super::settings::TrunkStatus;
use super::{Now, Output};
use crate::call::leg::Seat;

/// Between two changes that are believed: a trunk that sees us at ever new addresses must not make us register for ever.
const SETTLED: Duration = Duration::from_secs(10);
/// Between two reminders of a NAT: this, and up to 5 s more.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

impl Exchange {
    pub(super) fn on_public_address(&mut self, now: Now, peer: PeerId, seen: SocketAddr) {
        let index = Self::index_of(peer);
        let (Some(trunk), Some(line)) = (self.settings.trunks.get(index), self.lines.get(index)) else {
            return;
        };
        let known = line.seen_at.map(|(address, _)| address);
        let settled = line
            .seen_at
            .is_none_or(|(_, since)| now.monotonic.saturating_duration_since(since) >= SETTLED);
        let near = line.targets.iter().any(|target| is_private(target.ip()));
        let believable = !seen.ip().is_unspecified()
            && !seen.ip().is_multicast()
            && seen.port() != 0
            && (near || !is_private(seen.ip()));
        if trunk.public.is_some() || known == Some(seen) || !settled || !believable {
            return;
        }
        let trunk = trunk.name.clone();
        self.lines[index].seen_at = Some((seen, now.monotonic));
        self.set_peer(index);
        self.guard_door(now, index);
        self.register_again(now, index);
        let status = TrunkStatus::SeenAt { trunk, address: seen };
        self.outputs.push_back(Output::Trunk(status));
    }

    /// Our address as the trunk sees it, where it is not the one we listen on.
    pub(super) fn outside(&self, index: usize) -> Option<SocketAddr> {
        let (trunk, line) = (self.settings.trunks.get(index)?, self.lines.get(index)?);
        let seen = line.seen_at.map(|(address, _)| address);
        trunk
            .public
            .or(seen)
            .filter(|outside| line.local != Some(*outside))
    }

    /// A seat as the trunk is told of it: sound comes to the address that the trunk sees, where ours is a private one.
    pub(super) fn seat_seen_by(&self, index: usize, seat: Seat) -> Seat {
        let learnt = self
            .settings
            .trunks
            .get(index)
            .is_some_and(|trunk| trunk.public.is_none());
        match self.outside(index) {
            Some(outside)
                if learnt && is_private(seat.address.ip()) && outside.is_ipv4() == seat.address.is_ipv4() =>
            {
                Seat {
                    address: SocketAddr::new(outside.ip(), seat.address.port()),
                    ..seat
                }
            }
            _ => seat,
        }
    }

    /// Begins, or stops, to remind a NAT on the way to a trunk. OPTIONS that are sent as often do as well.
    pub(super) fn guard_door(&mut self, now: Now, index: usize) {
        let often = self.settings.trunks[index]
            .options_every
            .is_some_and(|every| every <= KEEP_ALIVE + Duration::from_secs(5));
        let behind = self.outside(index).is_some() && !often;
        let line = &mut self.lines[index];
        match behind && line.resolved && line.retired.is_none() {
            true => _ = line.keep_alive_at.get_or_insert(now.monotonic + KEEP_ALIVE),
            false => line.keep_alive_at = None,
        }
    }

    pub(super) fn keep_doors_open(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            if self.lines[index]
                .keep_alive_at
                .is_some_and(|at| at <= now.monotonic)
            {
                self.endpoint.keep_alive(now.monotonic, Self::peer_id(index));
                let more = Duration::from_millis(u64::from(self.random.next_u32() % 5000));
                self.lines[index].keep_alive_at = Some(now.monotonic + KEEP_ALIVE + more);
            }
        }
    }
}
