//! What all calls share: the SIP core, timers, streams in stock, trunks, and what is to be put out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use media::sdp::address::Refusal;
use media::{Clip, SourceRule, Start, StreamId};
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use sip::{Endpoint, Peer, PeerId, SessionId};

use super::call::{Side, Timer};
use super::line::Line;
use super::rate::Rate;
use super::reload::Generations;
use super::settings::{Settings, TrunkState, TrunkStatus};
use super::trace::Tracer;
use super::{Now, Output};
use crate::call::leg::Seat;
use crate::call::record::RecordChange;
use crate::call::timers::{CallKey, Timers};
use crate::units::TrunkName;

pub(super) struct Exchange {
    pub settings: Settings,
    pub endpoint: Endpoint,
    pub timers: Timers<Timer>,
    pub sessions: HashMap<SessionId, (CallKey, Side)>,
    pub streams: HashMap<StreamId, (CallKey, Side)>,
    pub outputs: VecDeque<Output>,
    pub changes: Vec<RecordChange>,
    pub sip_deadline: Option<Instant>,
    pub records_accepted: bool,
    pub random: ChaCha12Rng,
    pub next_key: CallKey,
    pub lines: Vec<Line>,
    pub ringback: Clip,
    seats: VecDeque<Seat>,
    seats_asked: usize,
    draining: bool,
    pub generations: Generations,
    /// Calls that came in of late.
    pub incoming: Rate,
    pub over_rate: u64,
    pub trace: Tracer,
}

impl Exchange {
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut endpoint_seed = [0; 32];
        random.fill_bytes(&mut endpoint_seed);
        let lines = (0..settings.trunks.len()).map(Line::ranked).collect();
        Self {
            endpoint: Endpoint::new(settings.sip.clone(), endpoint_seed),
            settings,
            timers: Timers::default(),
            sessions: HashMap::new(),
            streams: HashMap::new(),
            outputs: VecDeque::new(),
            changes: Vec::new(),
            sip_deadline: None,
            records_accepted: true,
            random,
            next_key: 1,
            lines,
            ringback: media::tone::ringback(),
            seats: VecDeque::new(),
            seats_asked: 0,
            draining: false,
            generations: Generations::default(),
            incoming: Rate::default(),
            over_rate: 0,
            trace: Tracer::default(),
        }
    }

    pub fn add_seat(&mut self, seat: Seat) {
        self.seats_asked = self.seats_asked.saturating_sub(1);
        self.seats.push_back(seat);
    }

    pub fn take_seat(&mut self) -> Option<Seat> {
        self.seats.pop_front()
    }

    /// How many sockets should be made now, so that the stock is full again.
    pub fn seats_wanted(&mut self) -> Option<usize> {
        let wanted = self
            .settings
            .stock
            .saturating_sub(self.seats.len() + self.seats_asked);
        let low = self.seats.len() + self.seats_asked <= self.settings.stock / 2;
        (low && wanted > 0).then(|| {
            self.seats_asked += wanted;
            wanted
        })
    }

    /// Sockets that could not be made will not come.
    pub fn seats_failed(&mut self, count: usize) {
        self.seats_asked = self.seats_asked.saturating_sub(count);
    }

    pub fn media(&mut self, call: CallKey, command: media::Command) {
        self.outputs.push_back(Output::Media { call, command });
    }

    pub fn start(&mut self) -> Start {
        Start {
            ssrc: self.random.next_u32(),
            sequence: self.random.next_u32() as u16,
            timestamp: self.random.next_u32(),
        }
    }

    /// How far an address that a trunk's peer named for its sound is trusted. A trunk that is itself on a private
    /// network may name private addresses, and one on this host those of this host; nothing is sent first to any other
    /// that must not be sent to, nor to where we listen for SIP, and nothing for long to one from which nothing comes.
    pub fn source_rule(
        &self,
        trunk: usize,
        described: Option<SocketAddr>,
        expected: Option<IpAddr>,
    ) -> SourceRule {
        let all = |is: fn(IpAddr) -> bool| {
            self.lines.get(trunk).is_some_and(|line| {
                !line.targets.is_empty() && line.targets.iter().all(|target| is(target.ip()))
            })
        };
        let near = all(is_private);
        let refusal = described.map(media::sdp::address::refusal);
        let allowed = match refusal {
            None => false,
            Some(None) => true,
            Some(Some(Refusal::NotPublic)) => near,
            Some(Some(Refusal::Loopback)) => all(|address| address.is_loopback()),
            Some(Some(_)) => false,
        };
        let is_own = |address| {
            let listening = self.lines.iter().map(|line| line.local);
            let public = self.settings.trunks.iter().map(|trunk| trunk.public);
            listening.chain(public).flatten().any(|own| own == address)
        };
        let allowed = allowed && !described.is_some_and(is_own);
        let default = SourceRule::default();
        SourceRule {
            send_first: allowed,
            unheard_limit: default.unheard_limit.filter(|_| !near),
            expected,
            ..default
        }
    }

    /// A trunk of this name that the configuration has.
    pub fn trunk_index(&self, name: &TrunkName) -> Option<usize> {
        let mut lines = self.settings.trunks.iter().zip(&self.lines);
        lines.position(|(trunk, line)| trunk.name == *name && line.retired.is_none())
    }

    pub fn peer_id(index: usize) -> PeerId {
        PeerId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub fn index_of(peer: PeerId) -> usize {
        peer.0 as usize
    }

    /// Where a trunk's registrars are, where that is not where its calls go.
    pub fn set_registrars(&mut self, now: Now, name: &TrunkName, registrars: Vec<SocketAddr>) {
        let Some(index) = self.trunk_index(name) else {
            return;
        };
        if registrars.is_empty() && self.settings.trunks[index].registrar.is_some() {
            // Not found, which leaves what was found before.
            return;
        }
        let targets = self.lines[index].targets.clone();
        self.lines[index].take_targets(now.monotonic, targets, registrars);
        self.set_peer(index);
        self.follow(now, index);
    }

    /// Registers once it is known where, and again where the registrar moved. Where a registrar of its own was not
    /// found, calls go but REGISTER does not: the account's proof is for the registrar alone.
    fn follow(&mut self, now: Now, index: usize) {
        let (trunk, line) = (&self.settings.trunks[index], &self.lines[index]);
        let places = match trunk.registrar {
            Some(_) => &line.registrars,
            None => &line.targets,
        };
        if line.registering {
            self.endpoint
                .follow_registrar(now.monotonic, Self::peer_id(index));
        } else if line.local.is_some() && !places.is_empty() && !self.draining {
            self.register(now, index);
        }
    }

    /// How calls are spread over the addresses that come next.
    pub fn set_shares(&mut self, name: &TrunkName, shares: Vec<sip::Share>) {
        if let Some(index) = self.trunk_index(name) {
            self.lines[index].shares = shares;
        }
    }

    /// A trunk's addresses are known (anew): the SIP core may talk to it, and registers if it is to.
    pub fn set_targets(&mut self, now: Now, name: &TrunkName, targets: Vec<SocketAddr>, local: SocketAddr) {
        let Some(index) = self.trunk_index(name) else {
            return;
        };
        if targets.is_empty() && self.lines[index].resolved {
            return;
        }
        let line = &mut self.lines[index];
        line.local = Some(local);
        let registrars = std::mem::take(&mut line.registrars);
        line.take_targets(now.monotonic, targets, registrars);
        let first_time = !line.resolved;
        line.resolved |= !line.targets.is_empty();
        let begins = first_time && line.resolved;
        if begins {
            line.probe_at = self.settings.trunks[index].options_every.map(|_| now.monotonic);
        }
        self.set_peer(index);
        self.guard_door(now, index);
        self.follow(now, index);
    }

    /// Tells the SIP core a trunk's addresses, once they are known.
    pub fn set_peer(&mut self, index: usize) {
        let (trunk, line) = (&self.settings.trunks[index], &self.lines[index]);
        let Some(local) = line.local.filter(|_| !line.gone) else {
            return;
        };
        self.endpoint.set_peer(Peer {
            networks: trunk.networks.clone(),
            shares: line.shares.clone(),
            registrars: line.registrars.clone(),
            former: line.former.iter().map(|(address, _)| *address).collect(),
            public: self.outside(index),
            transport: trunk.transport,
            large_by_tcp: trunk.large_by_tcp,
            credentials: trunk.credentials.clone(),
            accepts: trunk.accepts.clone(),
            route: trunk.route.clone(),
            extensions: trunk.extensions,
            ..Peer::new(Self::peer_id(index), local, line.targets.clone())
        });
    }

    fn register(&mut self, now: Now, index: usize) {
        let trunk = &self.settings.trunks[index];
        let Some(expires) = trunk.register else { return };
        let username = trunk
            .credentials
            .as_ref()
            .map_or("", |credentials| credentials.username.as_str());
        let registration = sip::Registration {
            peer: Self::peer_id(index),
            registrar: format!("sip:{}", trunk.registrar.as_ref().unwrap_or(&trunk.host)),
            aor: format!("sip:{username}@{}", trunk.domain()),
            expires: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
        };
        self.lines[index].registering = true;
        self.endpoint.register(now.monotonic, registration);
    }

    /// Registers at once, with what changed; calls go on.
    pub fn register_again(&mut self, now: Now, index: usize) {
        if self.lines[index].registering && !self.draining {
            self.register(now, index);
        }
    }

    /// Does what is due for trunks: OPTIONS, NAT, what is to be forgotten.
    pub fn tend_trunks(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            if self.lines[index].gone {
                continue;
            }
            if self.lines[index].forget(now.monotonic) {
                self.set_peer(index);
            }
            let Some(every) = self.settings.trunks[index].options_every else {
                continue;
            };
            if self.lines[index].probe_at.is_some_and(|at| at <= now.monotonic) {
                self.lines[index].probe_at = Some(now.monotonic + every);
                self.endpoint.probe(now.monotonic, Self::peer_id(index));
            }
        }
        self.keep_doors_open(now);
        self.forget_trunks(now);
    }

    /// When something is due for a trunk next.
    pub fn next_tending(&self) -> Option<Instant> {
        self.lines.iter().filter_map(Line::next_due).min()
    }

    fn on_probed(&mut self, peer: PeerId, status: u16) {
        let index = Self::index_of(peer);
        let (Some(trunk), Some(line)) = (self.settings.trunks.get(index), self.lines.get_mut(index)) else {
            return;
        };
        if line.take_probe(trunk, status) {
            let name = trunk.name.clone();
            let status = match line.is_down(trunk) {
                true => TrunkStatus::Down { trunk: name },
                false => TrunkStatus::Up { trunk: name },
            };
            self.outputs.push_back(Output::Trunk(status));
        }
    }

    pub fn on_trunk_event(&mut self, now: Now, event: sip::Event) {
        let status = match event {
            sip::Event::Probed { peer, status, .. } => return self.on_probed(peer, status),
            sip::Event::PublicAddress { peer, address } => return self.on_public_address(now, peer, address),
            sip::Event::Registered { peer, expires } => {
                self.line(peer, |line| {
                    (line.registered, line.registration_trouble) = (true, None)
                });
                self.name_of(peer)
                    .map(|trunk| TrunkStatus::Registered { trunk, expires })
            }
            sip::Event::RegistrationFailed {
                peer,
                status,
                retry_in,
            } => {
                self.line(peer, |line| {
                    (line.registered, line.registration_trouble) = (false, Some(status));
                });
                self.name_of(peer).map(|trunk| TrunkStatus::RegistrationFailed {
                    trunk,
                    status,
                    retry_in,
                })
            }
            sip::Event::Deregistered { peer } => {
                self.line(peer, |line| {
                    line.registered = false;
                    line.leaving = false;
                });
                self.name_of(peer).map(|trunk| TrunkStatus::Left { trunk })
            }
            sip::Event::ForeignRealm { peer, realm } => self
                .name_of(peer)
                .map(|trunk| TrunkStatus::ForeignRealm { trunk, realm }),
            sip::Event::LargeByUdp { peer } => {
                self.name_of(peer).map(|trunk| TrunkStatus::LargeByUdp { trunk })
            }
            _ => None,
        };
        if let Some(status) = status {
            self.outputs.push_back(Output::Trunk(status));
        }
    }

    fn line(&mut self, peer: PeerId, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.get_mut(Self::index_of(peer)) {
            change(line);
        }
    }

    fn name_of(&self, peer: PeerId) -> Option<TrunkName> {
        self.settings
            .trunks
            .get(Self::index_of(peer))
            .map(|trunk| trunk.name.clone())
    }

    pub fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.endpoint.set_draining(true);
    }

    /// Takes our registrations back. Done once the last call is over: a trunk may refuse those it does not know.
    pub fn leave(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            self.leave_line(now, index);
        }
    }

    /// Takes the registration with one trunk back, if there is one.
    pub fn leave_line(&mut self, now: Now, index: usize) {
        if std::mem::take(&mut self.lines[index].registering) {
            self.lines[index].leaving = true;
            self.endpoint.deregister(now.monotonic, Self::peer_id(index));
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    pub fn trunks_left(&self) -> bool {
        self.lines.iter().all(|line| !line.leaving && !line.registering)
    }

    pub fn trunk_states(&self) -> Vec<TrunkState> {
        let lines = self.settings.trunks.iter().zip(&self.lines);
        lines
            .filter(|(_, line)| line.retired.is_none())
            .map(|(trunk, line)| line.state(trunk))
            .collect()
    }
}

/// Whether an address is one that only its own network reaches.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}
