//! A whole telephone network in memory: the engine, a caller, offices, and the wires between them, under a clock that
//! moves only when told to.
//!
//! The phones are a second SIP core and a second media plane; every message and packet is real and passes a network
//! that may lose, double, reorder and delay it. Used by `trunkline simulate` and by the tests. Pure: randomness comes
//! from a seed, so a run repeats exactly.

mod phones;
mod sounds;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use media::{Plane, PlaneConfig, StreamId};
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

pub use phones::Conduct;
use phones::Phones;
pub use sounds::LineSound;

use sip::SessionId;

use super::engine::{Engine, Input, Now, Output, Settings};
use crate::call::leg::Seat;
use crate::call::record::RecordChange;
use crate::flow::catalogue::Piece;
use crate::units::{Language, TrunkName};

/// How finely media advances; also when phones look at the flow.
const TICK: Duration = Duration::from_millis(10);

/// A key and the pause after it.
const KEY_TIME: Duration = Duration::from_millis(200);

/// What the wires do.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    pub delay: Duration,
    /// Added at random, up to this; reorders.
    pub jitter: Duration,
    /// Of a thousand datagrams, so many are lost, or come twice.
    pub lost: u32,
    pub doubled: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            lost: 0,
            doubled: 0,
        }
    }
}

/// What the caller does.
#[derive(Debug, Clone)]
pub struct CallerPlan {
    pub called: String,
    pub number: String,
    /// Groups of keys. Each is pressed once the flow waits for keys, after a moment of thought.
    pub keys: VecDeque<String>,
    pub thinks: Duration,
    /// Keys pressed at times since the call was dialled, whatever is being said.
    pub timed_keys: VecDeque<(Duration, String)>,
    /// Whether keys go by SIP INFO in place of RTP.
    pub by_info: bool,
    /// Whether the telephone knows no telephone-event and sends keys as tones.
    pub inband: bool,
    /// Hangs up this long after dialling, whatever happens.
    pub hangs_up_after: Option<Duration>,
}

/// Something worth telling, with the time since the caller dialled.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The caller hears these recordings.
    Said {
        language: Language,
        pieces: Vec<Piece>,
    },
    Keys(String),
    Record(RecordChange),
    OfficeHeard {
        digit: char,
    },
    CallerHeardEnd,
}

/// The simulated network.
pub struct Simulator {
    pub engine: Engine,
    pub happenings: Vec<(Duration, Happening)>,
    begun: Instant,
    wall: Timestamp,
    now: Instant,
    network: Network,
    random: ChaCha12Rng,
    wires: BinaryHeap<Reverse<(Instant, u64, Wire)>>,
    sent: u64,
    plane: Plane,
    addresses: HashMap<StreamId, SocketAddr>,
    streams: HashMap<SocketAddr, StreamId>,
    next_stream: u32,
    phones: Phones,
    deadline: Option<Instant>,
    waiting_since: Option<Instant>,
    plan: CallerPlan,
    conducts: VecDeque<Conduct>,
}

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wire {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Where the parts are. The engine's trunk must be reached at [`trunk_address`].
pub fn trunk_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 11, 1], 5060))
}

/// The engine's own address.
pub fn switch_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 10, 1], 5060))
}

impl Simulator {
    /// `settings` must have one trunk, named `trunk`, of which no registration is wanted.
    pub fn new(
        settings: Settings,
        trunk: TrunkName,
        begun: Instant,
        wall: Timestamp,
        network: Network,
        seed: u64,
    ) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let mut engine_seed = [0; 32];
        random.fill_bytes(&mut engine_seed);
        let mut phones_seed = [0; 32];
        random.fill_bytes(&mut phones_seed);
        let mut engine = Engine::new(settings, engine_seed);
        let found = Input::TrunkResolved {
            trunk,
            targets: vec![trunk_address()],
            local: switch_address(),
        };
        engine.handle_input(
            Now {
                monotonic: begun,
                wall,
            },
            found,
        );
        let config = PlaneConfig { tick: TICK };
        let plan = CallerPlan {
            called: String::new(),
            number: String::new(),
            keys: VecDeque::new(),
            thinks: Duration::ZERO,
            timed_keys: VecDeque::new(),
            by_info: false,
            inband: false,
            hangs_up_after: None,
        };
        let mut simulator = Self {
            engine,
            happenings: Vec::new(),
            begun,
            wall,
            now: begun,
            network,
            random,
            wires: BinaryHeap::new(),
            sent: 0,
            plane: Plane::new(begun, config),
            addresses: HashMap::new(),
            streams: HashMap::new(),
            next_stream: 1,
            phones: Phones::new(begun, phones_seed),
            deadline: None,
            waiting_since: None,
            plan,
            conducts: VecDeque::new(),
        };
        simulator.pump();
        simulator
    }

    /// The caller dials; offices behave in turn as `conducts` says, the last one again and again.
    pub fn dial(&mut self, plan: CallerPlan, conducts: VecDeque<Conduct>) {
        self.conducts = conducts;
        let invite_to = plan.called.clone();
        let number = plan.number.clone();
        self.plan = plan;
        self.begun = self.now;
        let inband = self.plan.inband;
        self.phones.call(self.now, &invite_to, &number, inband);
        self.pump();
    }

    fn moment(&self) -> Now {
        let passed = self.now.saturating_duration_since(self.begun);
        let wall = self.wall.checked_add(passed).unwrap_or(self.wall);
        Now {
            monotonic: self.now,
            wall,
        }
    }

    /// Time since the caller dialled.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.begun)
    }

    /// Runs until no call is left or `limit` has passed since the caller dialled; tells whether all calls ended.
    pub fn run(&mut self, limit: Duration) -> bool {
        let end = self.begun + limit;
        while self.now < end {
            self.step();
            if self.engine.calls() == 0 && self.phones.is_quiet() {
                return true;
            }
        }
        false
    }

    /// Moves time to the next thing that happens, at most one tick.
    pub fn step(&mut self) {
        let tick = self.now + TICK;
        let wire = self.wires.peek().map(|Reverse((at, ..))| *at);
        let next = [Some(tick), wire, self.deadline, self.phones.deadline]
            .into_iter()
            .flatten()
            .min();
        self.now = next.unwrap_or(tick).max(self.now);
        self.deliver();
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.moment());
        }
        if self.phones.deadline.is_some_and(|at| at <= self.now) {
            self.phones.endpoint.handle_timeout(self.now);
        }
        self.tick_media();
        self.act_as_caller();
        self.act_as_offices();
        self.pump();
    }

    fn deliver(&mut self) {
        while let Some(Reverse((at, ..))) = self.wires.peek() {
            if *at > self.now {
                return;
            }
            let Some(Reverse((_, _, wire))) = self.wires.pop() else {
                return;
            };
            self.arrive(wire);
            self.pump();
        }
    }

    fn arrive(&mut self, wire: Wire) {
        let Wire { from, to, mut bytes } = wire;
        let transport = sip::Transport::Udp;
        if to == switch_address() {
            let received = sip::Input::Received {
                local: to,
                source: from,
                transport,
                bytes: &bytes,
            };
            self.engine.handle_input(self.moment(), Input::Sip(received));
        } else if to == trunk_address() {
            let received = sip::Input::Received {
                local: to,
                source: from,
                transport,
                bytes: &bytes,
            };
            self.phones.endpoint.handle_input(self.now, received);
        } else if let Some(&stream) = self.streams.get(&to) {
            if let Some(forward) = self.plane.receive(self.now, stream, from, &mut bytes) {
                let source = self.addresses.get(&forward.stream).copied();
                let relayed = bytes.get(forward.range).map(<[u8]>::to_vec);
                if let (Some(source), Some(relayed)) = (source, relayed) {
                    self.send(source, forward.destination, relayed);
                }
            }
        } else if let Some(&stream) = self.phones.streams.get(&to) {
            // Phones do not relay: what comes back is only heard.
            let _ = self.phones.plane.receive(self.now, stream, from, &mut bytes);
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if self.random.next_u32() % 1000 < self.network.lost {
            return;
        }
        let copies = if self.random.next_u32() % 1000 < self.network.doubled {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let jitter = u64::try_from(self.network.jitter.as_micros()).unwrap_or(0);
            let extra = if jitter == 0 {
                0
            } else {
                u64::from(self.random.next_u32()) % jitter
            };
            let at = self.now + self.network.delay + Duration::from_micros(extra);
            self.sent += 1;
            self.wires.push(Reverse((
                at,
                self.sent,
                Wire {
                    from,
                    to,
                    bytes: bytes.clone(),
                },
            )));
        }
    }

    fn tick_media(&mut self) {
        let mut out = Vec::new();
        self.plane.tick(self.now, &mut |stream, to, bytes| {
            out.push((stream, to, bytes.to_vec()))
        });
        for (stream, to, bytes) in out {
            if let Some(&from) = self.addresses.get(&stream) {
                self.send(from, to, bytes);
            }
        }
        let mut out = Vec::new();
        self.phones.plane.tick(self.now, &mut |stream, to, bytes| {
            out.push((stream, to, bytes.to_vec()))
        });
        for (stream, to, bytes) in out {
            if let Some(&from) = self.phones.addresses.get(&stream) {
                self.send(from, to, bytes);
            }
        }
    }

    /// Lets everybody say what they have to say, until nobody has anything.
    fn pump(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(event) = self.plane.poll_event() {
                quiet = false;
                self.engine.handle_input(self.moment(), Input::Media(event));
            }
            quiet &= self.pump_engine();
            quiet &= self.pump_phones();
            if quiet {
                return;
            }
        }
    }

    fn pump_engine(&mut self) -> bool {
        let mut quiet = true;
        loop {
            match self.engine.poll_output() {
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return quiet;
                }
                Output::Transmit {
                    local,
                    destination,
                    bytes,
                    ..
                } => self.send(local, destination, bytes),
                Output::Media { command, .. } => {
                    self.plane.command(self.now, command);
                }
                Output::Discard(stream) => {
                    if let Some(address) = self.addresses.remove(&stream) {
                        self.streams.remove(&address);
                    }
                }
                Output::NeedStreams(count) => self.make_streams(count),
                Output::Records(changes) => {
                    for change in changes {
                        self.tell(Happening::Record(change));
                    }
                }
                Output::Said { language, pieces } => self.tell(Happening::Said { language, pieces }),
                Output::Trunk(_)
                | Output::Sighting { .. }
                | Output::Banned { .. }
                | Output::Proved { .. } => {}
            }
            quiet = false;
        }
    }

    fn make_streams(&mut self, count: usize) {
        for _ in 0..count {
            let stream = StreamId(self.next_stream);
            let port = 10_000 + u16::try_from(self.next_stream % 20_000).unwrap_or(0) * 2;
            self.next_stream += 1;
            let address = SocketAddr::new(switch_address().ip(), port);
            self.addresses.insert(stream, address);
            self.streams.insert(address, stream);
            self.engine
                .handle_input(self.moment(), Input::StreamReady(Seat { stream, address }));
        }
    }

    fn pump_phones(&mut self) -> bool {
        let mut quiet = true;
        while let Some(event) = self.phones.plane.poll_event() {
            quiet = false;
            if let media::Event::DigitPressed { digit, .. } = event {
                self.tell(Happening::OfficeHeard { digit });
            }
        }
        loop {
            match self.phones.endpoint.poll_output() {
                sip::Output::Wait(deadline) => {
                    self.phones.deadline = deadline;
                    return quiet;
                }
                sip::Output::Transmit {
                    local,
                    destination,
                    bytes,
                    ..
                } => self.send(local, destination, bytes),
                sip::Output::Event(event) => {
                    if let Some(ended) = self.phones.on_event(self.now, event, &mut self.conducts) {
                        self.tell(ended);
                    }
                }
                _ => return quiet,
            }
            quiet = false;
        }
    }

    fn tell(&mut self, happening: Happening) {
        self.happenings.push((self.elapsed(), happening));
    }

    fn act_as_caller(&mut self) {
        let Some(caller) = self.phones.caller else { return };
        if self
            .plan
            .hangs_up_after
            .is_some_and(|after| self.elapsed() >= after)
        {
            self.phones.endpoint.hangup(self.now, caller, None);
            self.phones.end(self.now, caller);
            return;
        }
        let elapsed = self.elapsed();
        if let Some((_, keys)) = self.plan.timed_keys.pop_front_if(|(at, _)| *at <= elapsed) {
            self.press(caller, keys);
        }
        if !self.engine.waits_for_keys() {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(self.now);
        if self.now.saturating_duration_since(since) < self.plan.thinks {
            return;
        }
        if let Some(keys) = self.plan.keys.pop_front() {
            // The next group is thought about once the last key of this one is up.
            let pressing = KEY_TIME * u32::try_from(keys.len()).unwrap_or(u32::MAX);
            self.waiting_since = Some(self.now + pressing);
            self.press(caller, keys);
        }
    }

    fn press(&mut self, caller: SessionId, keys: String) {
        let (by_info, inband) = (self.plan.by_info, self.plan.inband);
        self.phones.press(self.now, caller, &keys, by_info, inband);
        self.tell(Happening::Keys(keys));
    }

    fn act_as_offices(&mut self) {
        self.phones.act(self.now);
    }
}
