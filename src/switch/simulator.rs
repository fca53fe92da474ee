//! A whole telephone network in memory: the engine, a caller, offices, and the wires between them, under a clock that
//! moves only when told to.
//!
//! The phones are a second SIP core and a second media plane; every message and packet is real and passes a network
//! that may lose, double, reorder and delay it. Used by `trunkline simulate` and by the tests. Pure: randomness comes
//! from a seed, so a run repeats exactly.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use media::sdp::{Direction, Local, Session};
use media::{Clip, Digit, Digits, Plane, PlaneConfig, PlayId, SourceRule, Start, StreamConfig, StreamId};
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use sip::{Endpoint, EndpointConfig, Invite, Party, Peer, PeerId, SessionId};

use super::engine::{Engine, Input, Now, Output, Settings, TrunkStatus};
use crate::call::leg::Seat;
use crate::call::record::RecordChange;
use crate::flow::catalogue::Piece;
use crate::units::{Language, TrunkName};

/// How finely media advances; also when phones look at the flow.
const TICK: Duration = Duration::from_millis(10);

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

/// How an office's telephone behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Rings so long, answers, talks so long and hangs up.
    Answers { ring: Duration, talk: Duration },
    /// Answers and never hangs up.
    Stays { ring: Duration },
    /// Refuses with a final status.
    Refuses(u16),
    /// Rings for ever.
    Rings,
    /// Sends sound before it answers, then as `Answers`.
    EarlyMedia { ring: Duration, talk: Duration },
    /// The network swallows the INVITE.
    Vanishes,
}

/// What the caller does.
#[derive(Debug, Clone)]
pub struct CallerPlan {
    pub called: String,
    pub number: String,
    /// Groups of keys. Each is pressed once the flow waits for keys, after a moment of thought.
    pub keys: VecDeque<String>,
    pub thinks: Duration,
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

/// Caller and offices: one SIP core and one media plane for all of them.
struct Phones {
    endpoint: Endpoint,
    plane: Plane,
    lines: BTreeMap<SessionId, Line>,
    caller: Option<SessionId>,
    deadline: Option<Instant>,
    next_port: u16,
    streams: HashMap<SocketAddr, StreamId>,
    addresses: HashMap<StreamId, SocketAddr>,
    voice: Clip,
}

struct Line {
    stream: StreamId,
    local: Local,
    opened: bool,
    /// What an office answers with.
    answer: Vec<u8>,
    conduct: Option<Conduct>,
    answers_at: Option<Instant>,
    hangs_up_at: Option<Instant>,
}

/// Where the parts are. The engine's trunk must be reached at [`trunk_address`].
pub fn trunk_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 11, 1], 5060))
}

/// The engine's own address.
pub fn switch_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 10, 1], 5060))
}

const OUR_PEER: PeerId = PeerId(0);

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
        self.phones.call(self.now, &invite_to, &number);
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
                Output::Trunk(TrunkStatus::Registered { .. } | TrunkStatus::Left { .. }) => {}
                Output::Trunk(TrunkStatus::RegistrationFailed { .. }) => {}
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
        if !self.engine.waits_for_keys() {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(self.now);
        if self.now.saturating_duration_since(since) < self.plan.thinks {
            return;
        }
        if let Some(keys) = self.plan.keys.pop_front() {
            self.waiting_since = None;
            self.phones.press(self.now, caller, &keys);
            self.tell(Happening::Keys(keys));
        }
    }

    fn act_as_offices(&mut self) {
        self.phones.act(self.now);
    }
}

impl Phones {
    fn new(now: Instant, seed: [u8; 32]) -> Self {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), seed);
        endpoint.set_peer(Peer::new(OUR_PEER, trunk_address(), vec![switch_address()]));
        let voice: Vec<i16> = (0..8000)
            .map(|at| if at % 20 < 10 { 4000 } else { -4000 })
            .collect();
        Self {
            endpoint,
            plane: Plane::new(now, PlaneConfig { tick: TICK }),
            lines: BTreeMap::new(),
            caller: None,
            deadline: None,
            next_port: 20_000,
            streams: HashMap::new(),
            addresses: HashMap::new(),
            voice: Clip::from_samples(&voice),
        }
    }

    fn is_quiet(&self) -> bool {
        self.lines.is_empty()
    }

    fn new_line(&mut self, conduct: Option<Conduct>) -> Line {
        let port = self.next_port;
        self.next_port = if port > 60_000 { 20_000 } else { port + 2 };
        let address = SocketAddr::new(trunk_address().ip(), port);
        let stream = StreamId(u32::from(port));
        self.streams.insert(address, stream);
        self.addresses.insert(stream, address);
        Line {
            stream,
            local: Local::new(u32::from(port), address, &[media::Law::Mu]),
            opened: false,
            answer: Vec::new(),
            conduct,
            answers_at: None,
            hangs_up_at: None,
        }
    }

    fn call(&mut self, now: Instant, called: &str, number: &str) {
        let mut line = self.new_line(None);
        let host = switch_address().ip();
        let invite = Invite {
            peer: OUR_PEER,
            uri: format!("sip:{called}@{host}"),
            to: format!("sip:{called}@{host}"),
            from: Party::new(format!("sip:{number}@{}", trunk_address().ip())),
            headers: Vec::new(),
            max_forwards: None,
            sdp: line.local.offer(Direction::SendReceive),
        };
        if let Ok(session) = self.endpoint.invite(now, invite) {
            self.lines.insert(session, line);
            self.caller = Some(session);
        }
    }

    fn press(&mut self, now: Instant, session: SessionId, keys: &str) {
        let Some(line) = self.lines.get(&session) else {
            return;
        };
        let keys: Vec<Digit> = keys.chars().filter_map(|key| Digit::try_from(key).ok()).collect();
        let digits = Digits::new(keys);
        self.plane.command(
            now,
            media::Command::SendDigits {
                stream: line.stream,
                digits,
            },
        );
    }

    fn on_event(
        &mut self,
        now: Instant,
        event: sip::Event,
        conducts: &mut VecDeque<Conduct>,
    ) -> Option<Happening> {
        match event {
            sip::Event::Incoming { session, invite, .. } => {
                let conduct = match conducts.len() {
                    0 => Conduct::Rings,
                    1 => conducts[0],
                    _ => conducts.pop_front().unwrap_or(Conduct::Rings),
                };
                self.take_call(now, session, conduct, invite.sdp.as_deref().unwrap_or_default());
            }
            sip::Event::Answered { session, sdp } => self.open(now, session, &sdp),
            sip::Event::Failed { session, .. } => {
                self.end(now, session);
            }
            sip::Event::Ended { session, .. } => {
                let was_caller = self.caller == Some(session);
                self.end(now, session);
                return was_caller.then_some(Happening::CallerHeardEnd);
            }
            _ => {}
        }
        None
    }

    fn take_call(&mut self, now: Instant, session: SessionId, conduct: Conduct, offer: &[u8]) {
        let mut line = self.new_line(Some(conduct));
        let agreed =
            Session::parse(offer).and_then(|offer| line.local.answer(&offer, Direction::SendReceive));
        let Ok((agreed, answer)) = agreed else {
            self.endpoint.reject(now, session, 488, None);
            return;
        };
        line.answer = answer.clone();
        let open = media::Command::Open {
            stream: line.stream,
            config: stream_config(agreed, line.stream),
        };
        match conduct {
            Conduct::Refuses(status) => {
                self.endpoint.reject(now, session, status, None);
                return;
            }
            Conduct::Answers { ring, .. } | Conduct::Stays { ring } => {
                self.endpoint.ring(now, session);
                line.answers_at = Some(now + ring);
            }
            Conduct::EarlyMedia { ring, .. } => {
                self.endpoint.progress(now, session, answer);
                self.plane.command(now, open.clone());
                self.speak(now, line.stream);
                line.opened = true;
                line.answers_at = Some(now + ring);
            }
            Conduct::Rings => self.endpoint.ring(now, session),
            Conduct::Vanishes => {}
        }
        if !line.opened {
            self.plane.command(now, open);
        }
        self.lines.insert(session, line);
    }

    fn speak(&mut self, now: Instant, stream: StreamId) {
        let clips = vec![self.voice.clone()];
        self.plane.command(
            now,
            media::Command::Play {
                stream,
                play: PlayId(1),
                clips,
                repeat: true,
            },
        );
    }

    fn open(&mut self, now: Instant, session: SessionId, answer: &[u8]) {
        let Some(line) = self.lines.get_mut(&session) else {
            return;
        };
        let agreed = Session::parse(answer).and_then(|answer| line.local.accept_answer(&answer));
        if let Ok(agreed) = agreed {
            let stream = line.stream;
            line.opened = true;
            let config = stream_config(agreed, stream);
            self.plane.command(now, media::Command::Open { stream, config });
        }
    }

    fn act(&mut self, now: Instant) {
        let due: Vec<SessionId> = self
            .lines
            .iter()
            .filter(|(_, line)| {
                line.answers_at.is_some_and(|at| at <= now) || line.hangs_up_at.is_some_and(|at| at <= now)
            })
            .map(|(session, _)| *session)
            .collect();
        for session in due {
            let Some(line) = self.lines.get_mut(&session) else {
                continue;
            };
            if line.hangs_up_at.is_some_and(|at| at <= now) {
                self.endpoint.hangup(now, session, None);
                self.end(now, session);
                continue;
            }
            line.answers_at = None;
            line.hangs_up_at = match line.conduct {
                Some(Conduct::Answers { talk, .. } | Conduct::EarlyMedia { talk, .. }) => Some(now + talk),
                _ => None,
            };
            let stream = line.stream;
            let answer = line.answer.clone();
            self.endpoint.answer(now, session, answer);
            self.speak(now, stream);
        }
    }

    fn end(&mut self, now: Instant, session: SessionId) {
        if self.caller == Some(session) {
            self.caller = None;
        }
        let Some(line) = self.lines.remove(&session) else {
            return;
        };
        self.plane
            .command(now, media::Command::Close { stream: line.stream });
        if let Some(address) = self.addresses.remove(&line.stream) {
            self.streams.remove(&address);
        }
    }
}

fn stream_config(agreed: media::sdp::Negotiated, stream: StreamId) -> StreamConfig {
    StreamConfig {
        agreed,
        source: SourceRule {
            unheard_limit: None,
            ..SourceRule::default()
        },
        start: Start {
            ssrc: stream.0,
            sequence: 1,
            timestamp: 0,
        },
        silence_after: None,
        fill_silence: true,
    }
}
