//! The peers an endpoint knows: which of them a request is from, and which of a peer's targets a request goes to.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::digest::Realms;
use crate::message::{Address, Message};
use crate::peer::{Credentials, Peer, PeerId, Transport};
use crate::registration::Binding;
use crate::wire::Path;

/// A target that failed is passed over for so long, while there is another.
const REST: Duration = Duration::from_secs(30);
/// The most that a Retry-After makes of it.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Most targets that rest; the one that is up first makes room.
const MOST_RESTING: usize = 32;

/// A peer with what the endpoint keeps for it.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    pub peer: Peer,
    /// The user part of our Contact: unguessable, so that it also tells whose call comes in.
    pub contact_user: String,
    pub binding: Option<Box<Binding>>,
    /// It is about to be forgotten; others at its addresses come first.
    pub retired: bool,
    /// Route values that the registrar wants on our requests (RFC 3608).
    pub service_route: Vec<String>,
    /// Targets that failed, and until when they are passed over.
    resting: Vec<(SocketAddr, Instant)>,
    /// The realms that it challenges calls for, and registrations: these may be of another company's server.
    pub call_realms: Realms,
    pub register_realms: Realms,
    /// Until then large requests go by UDP, for TCP could not be had.
    pub no_tcp_until: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Peers {
    entries: Vec<PeerEntry>,
}

impl Peers {
    pub fn get(&self, id: PeerId) -> Option<&PeerEntry> {
        self.entries.iter().find(|entry| entry.peer.id == id)
    }

    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut PeerEntry> {
        self.entries.iter_mut().find(|entry| entry.peer.id == id)
    }

    pub fn set(&mut self, peer: Peer, contact_user: String) {
        match self.get_mut(peer.id) {
            Some(entry) => entry.peer = peer,
            None => self.entries.push(PeerEntry {
                peer,
                contact_user,
                binding: None,
                retired: false,
                service_route: Vec::new(),
                resting: Vec::new(),
                call_realms: Realms::default(),
                register_realms: Realms::default(),
                no_tcp_until: None,
            }),
        }
    }

    pub fn remove(&mut self, id: PeerId) {
        self.entries.retain(|entry| entry.peer.id != id);
    }

    /// The peers that may prove themselves by credentials; retired ones last.
    pub fn accepting(&self) -> impl Iterator<Item = (PeerId, &Credentials)> {
        let of = |retired: bool| self.entries.iter().filter(move |entry| entry.retired == retired);
        of(false)
            .chain(of(true))
            .filter_map(|entry| Some((entry.peer.id, entry.peer.accepts.as_ref()?)))
    }

    /// Passes a peer's target over for a while: it was silent, could not be reached, or asked for it.
    pub fn rest(&mut self, now: Instant, peer: PeerId, target: SocketAddr, asked: Option<Duration>) {
        if let Some(entry) = self.get_mut(peer) {
            entry.rest(now, target, asked);
        }
    }

    /// A target was heard: it is used again.
    pub fn wake(&mut self, peer: PeerId, target: SocketAddr) {
        if let Some(entry) = self.get_mut(peer) {
            entry.resting.retain(|(resting, _)| *resting != target);
        }
    }

    pub fn owns(&self, source: IpAddr) -> bool {
        self.entries.iter().any(|entry| entry.peer.owns(source))
    }

    /// Whether an address is where some peer reaches us.
    pub fn is_ours(&self, address: SocketAddr) -> bool {
        let mut peers = self.entries.iter().map(|entry| &entry.peer);
        peers.any(|peer| peer.local == address || peer.public == Some(address))
    }

    /// The peers that are reached by connections to this address.
    pub fn reached_at(&self, remote: SocketAddr, transport: Transport) -> Vec<PeerId> {
        let peers = self.entries.iter().map(|entry| &entry.peer);
        peers
            .filter(|peer| peer.transport == transport && peer.targets.contains(&remote))
            .map(|peer| peer.id)
            .collect()
    }

    /// Whose request this is: whom its connection proved to be, else whose its source address is.
    pub fn sender(&self, path: Path, request_user: &[u8]) -> Option<&PeerEntry> {
        match path.peer {
            Some(id) => self.get(id),
            None => self.find(path.remote, path.transport, request_user),
        }
    }

    /// Finds whose request this is. Of several peers at one address: the one whose Contact user the request names,
    /// then the one with that very port, then the first; one that is retired comes last unless it is named. A peer on
    /// TCP or TLS is not heard over what proves less than it does: a datagram's source may be forged.
    fn find(&self, source: SocketAddr, transport: Transport, request_user: &[u8]) -> Option<&PeerEntry> {
        let mut best: Option<(u8, &PeerEntry)> = None;
        let is_heard = |peer: &Peer| match peer.transport {
            Transport::Udp => true,
            Transport::Tcp => transport.is_reliable(),
            Transport::Tls => transport == Transport::Tls,
        };
        let is_sender = |entry: &&PeerEntry| entry.peer.owns(source.ip()) && is_heard(&entry.peer);
        for entry in self.entries.iter().filter(is_sender) {
            let rank = match () {
                () if entry.contact_user.as_bytes() == request_user => 3,
                () if entry.retired => 0,
                () if entry.peer.targets.contains(&source) => 2,
                () => 1,
            };
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, entry));
            }
        }
        best.map(|(_, entry)| entry)
    }
}

impl PeerEntry {
    fn rest(&mut self, now: Instant, target: SocketAddr, asked: Option<Duration>) {
        let until = now + asked.unwrap_or(REST).clamp(REST, LONGEST_REST);
        self.resting
            .retain(|(resting, until)| *until > now && *resting != target);
        if self.resting.len() >= MOST_RESTING {
            self.resting.remove(0);
        }
        self.resting.push((target, until));
    }

    pub fn is_resting(&self, now: Instant, target: SocketAddr) -> bool {
        self.resting
            .iter()
            .any(|(resting, until)| *resting == target && *until > now)
    }

    /// Whether some target is not passed over.
    pub fn is_awake(&self, now: Instant) -> bool {
        self.peer
            .targets
            .iter()
            .any(|target| !self.is_resting(now, *target))
    }

    /// The best target that was not tried yet. One that rests is taken only where `at_last` and nothing else is left.
    pub fn next_target(&self, now: Instant, tried: &[SocketAddr], at_last: bool) -> Option<SocketAddr> {
        pick(
            &self.peer.targets,
            |target| self.is_resting(now, target),
            tried,
            at_last,
        )
    }

    /// The same for a call: of targets that are equally good one by chance, in proportion to their weights.
    pub fn draw_target(
        &self,
        now: Instant,
        tried: &[SocketAddr],
        at_last: bool,
        random: u64,
    ) -> Option<SocketAddr> {
        let best = self.next_target(now, tried, at_last)?;
        let (targets, shares) = (&self.peer.targets, &self.peer.shares);
        let group = targets.iter().zip(shares).find(|(target, _)| **target == best);
        let (Some((_, group)), true) = (group, targets.len() == shares.len()) else {
            return Some(best);
        };
        let rests = self.is_resting(now, best);
        let equal = targets.iter().zip(shares).filter(|(target, share)| {
            share.group == group.group && !tried.contains(target) && self.is_resting(now, **target) == rests
        });
        let sum: u64 = equal.clone().map(|(_, share)| u64::from(share.weight)).sum();
        let mut left = random.checked_rem(sum).unwrap_or(0);
        for (target, share) in equal {
            match left.checked_sub(u64::from(share.weight)) {
                Some(rest) => left = rest,
                None => return Some(*target),
            }
        }
        Some(best)
    }

    /// The same of the registrar's targets.
    pub fn next_registrar(&self, now: Instant, tried: &[SocketAddr]) -> Option<SocketAddr> {
        pick(
            self.registrars(),
            |target| self.is_resting(now, target),
            tried,
            true,
        )
    }

    pub fn registrars(&self) -> &[SocketAddr] {
        match self.peer.registrars.is_empty() {
            true => &self.peer.targets,
            false => &self.peer.registrars,
        }
    }

    /// The way to the best target; `None` where there is none at all.
    pub fn best_path(&self, now: Instant) -> Option<Path> {
        self.next_target(now, &[], true)
            .map(|remote| self.path_to(remote))
    }

    /// The way to one of the peer's targets.
    pub fn path_to(&self, remote: SocketAddr) -> Path {
        let (local, transport, advertised) = (self.peer.local, self.peer.transport, self.peer.advertised());
        Path {
            local,
            remote,
            transport,
            advertised,
            peer: Some(self.peer.id),
            connection: None,
        }
    }

    /// The Request-URI and the Route values of a request outside dialogs. A proxy that is a strict router takes the
    /// place of the Request-URI, which becomes the last route (RFC 3261 §12.2.1.1).
    pub fn addressing(&self, uri: &str) -> (String, Vec<String>) {
        let mut routes = self.routes();
        let first = routes.first().and_then(|route| Address::parse(route.as_bytes()));
        let strict = first
            .as_ref()
            .and_then(Address::parsed_uri)
            .filter(|first| !first.is_loose())
            .map(|first| String::from_utf8_lossy(first.text).into_owned());
        match strict {
            None => (uri.to_owned(), routes),
            Some(strict) => {
                routes.remove(0);
                routes.push(format!("<{uri}>"));
                (strict, routes)
            }
        }
    }

    /// Where the peer says that it sees us, when that is not where it is told that we are (RFC 3581 §4). Of a TCP or
    /// TLS connection only the address counts: its port is the connection's, and nobody listens there.
    pub fn seen_elsewhere(&self, response: &Message<'_>) -> Option<SocketAddr> {
        let advertised = self.peer.advertised();
        let by_udp =
            !self.peer.transport.is_reliable() && response.via.transport.eq_ignore_ascii_case(b"UDP");
        let ip = response.via.received().unwrap_or(advertised.ip());
        let port = response
            .via
            .rport()
            .filter(|_| by_udp)
            .unwrap_or(advertised.port());
        let seen = SocketAddr::new(ip, port);
        (seen != advertised).then_some(seen)
    }

    /// Route values of a request outside dialogs: the registrar's, else the configured proxy.
    pub fn routes(&self) -> Vec<String> {
        match self.service_route.is_empty() {
            true => self.peer.route.iter().cloned().collect(),
            false => self.service_route.clone(),
        }
    }

    /// Our Contact URI towards this peer.
    pub fn contact(&self) -> String {
        self.contact_at(self.peer.advertised(), self.peer.transport)
    }

    /// Our Contact URI for a call that came along this way, which need not be the one that we use ourselves.
    pub fn contact_for(&self, path: Path) -> String {
        self.contact_at(self.advertised_for(path), path.transport)
    }

    fn contact_at(&self, advertised: SocketAddr, transport: Transport) -> String {
        let user = &self.contact_user;
        match transport {
            Transport::Udp => format!("sip:{user}@{advertised}"),
            Transport::Tcp => format!("sip:{user}@{advertised};transport=tcp"),
            Transport::Tls => format!("sip:{user}@{advertised};transport=tls"),
        }
    }

    /// What we call ourselves along a way: another transport has another port.
    pub fn advertised_for(&self, path: Path) -> SocketAddr {
        let usual = self.peer.advertised();
        match path.transport == self.peer.transport {
            true => usual,
            false => {
                let public = self.peer.public.map(|address| address.ip());
                SocketAddr::new(public.unwrap_or(path.local.ip()), path.local.port())
            }
        }
    }
}

fn pick(
    targets: &[SocketAddr],
    rests: impl Fn(SocketAddr) -> bool,
    tried: &[SocketAddr],
    at_last: bool,
) -> Option<SocketAddr> {
    let mut untried = targets.iter().copied().filter(|target| !tried.contains(target));
    let first = untried.clone().next();
    untried
        .find(|target| !rests(*target))
        .or(first.filter(|_| at_last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Share;

    fn entry(targets: &[&str]) -> PeerEntry {
        let targets = targets.iter().map(|text| text.parse().unwrap()).collect();
        let mut peers = Peers::default();
        peers.set(
            Peer::new(PeerId(1), "192.0.2.1:5060".parse().unwrap(), targets),
            "k9".to_owned(),
        );
        peers.entries.remove(0)
    }

    #[test]
    fn calls_spread_over_equal_targets_by_weight_and_leave_the_worse_and_the_resting_alone() {
        let texts = ["198.51.100.1:5060", "198.51.100.2:5060", "198.51.100.3:5060"];
        let mut entry = entry(&texts);
        let (now, count) = (Instant::now(), |entry: &PeerEntry, now, at: usize| {
            let drawn = (0..400).map(|random| entry.draw_target(now, &[], true, random));
            drawn.filter(|drawn| *drawn == Some(target(texts[at]))).count()
        });
        assert_eq!(count(&entry, now, 0), 400, "no shares");
        let share = |group, weight| Share { group, weight };
        entry.peer.shares = vec![share(0, 30), share(0, 10), share(1, 99)];
        assert_eq!([0, 1, 2].map(|at| count(&entry, now, at)), [300, 100, 0]);
        entry.rest(now, target(texts[0]), None);
        assert_eq!([0, 1, 2].map(|at| count(&entry, now, at)), [0, 400, 0]);
        entry.rest(now, target(texts[1]), None);
        assert_eq!([0, 1, 2].map(|at| count(&entry, now, at)), [0, 0, 400]);
        let tried = [target(texts[2])];
        assert!(entry.draw_target(now, &tried, false, 7).is_none());
        entry.peer.shares = vec![share(0, 0); 3];
        assert!(entry.draw_target(now, &[], true, 7).is_some());
    }

    fn target(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_failed_target_is_passed_over_for_thirty_seconds_while_there_is_another() {
        let (one, two) = (target("198.51.100.1:5060"), target("198.51.100.2:5060"));
        let mut entry = entry(&["198.51.100.1:5060", "198.51.100.2:5060"]);
        let now = Instant::now();
        assert_eq!(entry.next_target(now, &[], true), Some(one));
        entry.rest(now, one, None);
        assert_eq!(entry.next_target(now, &[], true), Some(two));
        assert_eq!(
            entry.next_target(now, &[two], true),
            Some(one),
            "better than nothing"
        );
        assert_eq!(entry.next_target(now, &[two], false), None);
        entry.rest(now, two, Some(Duration::from_secs(3600)));
        assert!(!entry.is_awake(now));
        assert_eq!(entry.next_target(now, &[], true), Some(one));
        assert_eq!(entry.next_target(now + REST, &[], true), Some(one));
        assert!(entry.is_resting(now + REST, two), "it asked for longer");
        assert!(!entry.is_resting(now + LONGEST_REST, two), "but not for ever");
    }

    #[test]
    fn a_strict_proxy_becomes_the_request_uri() {
        let mut entry = entry(&["198.51.100.1:5060"]);
        entry.peer.route = Some("<sip:proxy.example.com;lr>".to_owned());
        let loose = entry.addressing("sip:1@t.example");
        assert_eq!(
            loose,
            (
                "sip:1@t.example".to_owned(),
                vec!["<sip:proxy.example.com;lr>".to_owned()]
            )
        );
        entry.peer.route = Some("<sip:proxy.example.com>".to_owned());
        let strict = entry.addressing("sip:1@t.example");
        assert_eq!(
            strict,
            (
                "sip:proxy.example.com".to_owned(),
                vec!["<sip:1@t.example>".to_owned()]
            )
        );
    }
}
