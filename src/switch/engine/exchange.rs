//! What all calls share: the SIP core, timers, streams in stock, trunks, and what is to be put out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::sdp::address::Refusal;
use media::{Clip, SourceRule, Start, StreamId};
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use sip::{Endpoint, Peer, PeerId, SessionId};

use super::call::{Side, Timer};
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
    pub trace: Tracer,
}

/// What is true of a trunk at this moment; its place is the place of the trunk in the settings.
#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    pub resolved: bool,
    pub registered: bool,
    pub leaving: bool,
    pub calls: u32,
    /// Of these, calls that came in and have, or may want, a second leg.
    pub inbound: u32,
    /// When OPTIONS is sent next.
    pub probe_at: Option<Instant>,
    /// What the last OPTIONS was answered with; 408 for nothing.
    pub probed: Option<u16>,
    /// Where it is reached, best first.
    pub targets: Vec<SocketAddr>,
    /// Our address that reaches it.
    pub local: Option<SocketAddr>,
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

impl Exchange {
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut endpoint_seed = [0; 32];
        random.fill_bytes(&mut endpoint_seed);
        let lines = (0..settings.trunks.len())
            .map(|rank| Line {
                rank,
                ..Line::default()
            })
            .collect();
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

    /// A trunk's addresses are known (anew): the SIP core may talk to it, and registers if it is to.
    pub fn set_targets(&mut self, now: Now, name: &TrunkName, targets: Vec<SocketAddr>, local: SocketAddr) {
        let Some(index) = self.trunk_index(name) else {
            return;
        };
        if targets.is_empty() && self.lines[index].resolved {
            return;
        }
        self.lines[index].local = Some(local);
        self.lines[index].targets.clone_from(&targets);
        self.set_peer(index);
        let register = self.settings.trunks[index]
            .register
            .filter(|_| !self.draining && !targets.is_empty());
        let registration = register.map(|expires| self.registration(index, expires));
        let line = &mut self.lines[index];
        let first_time = !line.resolved;
        line.resolved |= !targets.is_empty();
        if first_time && line.resolved {
            line.probe_at = self.settings.trunks[index].options_every.map(|_| now.monotonic);
        }
        if let (Some(registration), true) = (registration, first_time) {
            self.endpoint.register(now.monotonic, registration);
        }
    }

    /// Tells the SIP core a trunk's addresses, once they are known.
    pub fn set_peer(&mut self, index: usize) {
        let (trunk, line) = (&self.settings.trunks[index], &self.lines[index]);
        let Some(local) = line.local else { return };
        self.endpoint.set_peer(Peer {
            networks: trunk.networks.clone(),
            public: trunk.public,
            transport: trunk.transport,
            large_by_tcp: trunk.large_by_tcp,
            credentials: trunk.credentials.clone(),
            ..Peer::new(Self::peer_id(index), local, line.targets.clone())
        });
    }

    fn registration(&mut self, index: usize, expires: Duration) -> sip::Registration {
        self.lines[index].registering = true;
        let trunk = &self.settings.trunks[index];
        let username = trunk
            .credentials
            .as_ref()
            .map_or("", |credentials| credentials.username.as_str());
        sip::Registration {
            peer: Self::peer_id(index),
            registrar: format!("sip:{}", trunk.host),
            aor: format!("sip:{username}@{}", trunk.host),
            expires: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Sends the OPTIONS that are due.
    pub fn probe(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            let Some(every) = self.settings.trunks[index].options_every else {
                continue;
            };
            if self.lines[index].probe_at.is_some_and(|at| at <= now.monotonic) {
                self.lines[index].probe_at = Some(now.monotonic + every);
                self.endpoint.probe(now.monotonic, Self::peer_id(index));
            }
        }
    }

    /// When OPTIONS are due next, or a trunk is to be forgotten.
    pub fn next_probe(&self) -> Option<Instant> {
        let times = self.lines.iter().flat_map(|line| [line.probe_at, line.forget_at]);
        times.flatten().min()
    }

    pub fn on_trunk_event(&mut self, event: sip::Event) {
        if let sip::Event::Probed { peer, status, .. } = event {
            return self.line(peer, |line| line.probed = Some(status));
        }
        let status = match event {
            sip::Event::Registered { peer, expires } => {
                self.line(peer, |line| line.registered = true);
                self.name_of(peer)
                    .map(|trunk| TrunkStatus::Registered { trunk, expires })
            }
            sip::Event::RegistrationFailed {
                peer,
                status,
                retry_in,
            } => {
                self.line(peer, |line| line.registered = false);
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
        let state = |(trunk, line): (&super::Trunk, &Line)| TrunkState {
            name: trunk.name.clone(),
            resolved: line.resolved,
            registered: trunk.register.map(|_| line.registered),
            calls: line.calls,
            answers_options: line.probed.map(|status| status < 500 && status != 408),
        };
        let lines = self.settings.trunks.iter().zip(&self.lines);
        lines
            .filter(|(_, line)| line.retired.is_none())
            .map(state)
            .collect()
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}
