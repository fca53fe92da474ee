//! The whole switch in a simulated world: one engine and one media plane, peers that are no better than real ones, a
//! network that loses, doubles, reorders and delays, and an operator who changes things meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use media::{Plane, PlaneConfig, StreamId};
use trunkline::call::leg::Seat;
use trunkline::call::record::RecordChange;
use trunkline::call::trace::Keep;
use trunkline::config::Config;
use trunkline::directory::{Dataset, Directory};
use trunkline::switch::engine::{Engine, Input, Now, Output, Routes, Settings, TraceRules, Trunk};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::TrunkName;

use super::agent::{Agent, Alarm, Stage};
use super::audit::Audit;
use super::chance::Chance;
use super::habits::{Deed, Habits};
use super::message::{Message, response};
use crate::support::{HOTLINE, WEDNESDAY, library};

/// Two frames of sound at once: as much as a media thread sends without skipping any.
const TICK: Duration = Duration::from_millis(40);
/// Outputs after one input; more would be a queue that grows.
const MOST_OUTPUTS: usize = 2_000;

/// What the wires do; chances in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Wires {
    pub lost: u64,
    pub doubled: u64,
    /// A few datagrams take up to this long.
    pub slow: Duration,
}

/// What an operator, or the machine, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Another directory.
    Directory,
    /// The same configuration again.
    Reload,
    /// The second trunk and its number formats go, and come back with the next `Reload`.
    DropTrunk,
    /// No number of ours is left until the next `Reload`.
    DropNumbers,
    /// The addresses of the first trunk change their order.
    Resolve,
    Records(bool),
    /// Whether sockets for streams can be made.
    Ports(bool),
    /// Whether media threads tell totals.
    Totals(bool),
    /// The wall clock jumps by so many seconds.
    Clock(i64),
    /// The connections with the first trunk break, with what was on them.
    Break,
    Drain,
    EndAll,
}

enum Happening {
    Datagram(SocketAddr, SocketAddr, Vec<u8>),
    Alarm(usize, Alarm),
    Operation(Operation),
    StreamsFailed,
}

/// Chooses how the office behaves that an INVITE reaches.
type OfficePlan = Box<dyn FnMut(&mut Chance, &Message) -> Habits>;

pub struct World {
    pub engine: Engine,
    pub stage: Stage,
    pub agents: Vec<Agent>,
    pub audit: Audit,
    pub offices: OfficePlan,
    pub wires: Wires,
    /// How SIP travels.
    pub transport: sip::Transport,
    /// Addresses that nothing can be sent to.
    pub dead: BTreeSet<SocketAddr>,
    /// Of everything that went over the wires and into records, when wanted.
    pub log: Option<DefaultHasher>,
    /// RTP that reached peers, when wanted: when, to whom, what.
    pub sound: Option<Vec<(Duration, SocketAddr, Vec<u8>)>>,
    pub changes: Vec<RecordChange>,
    pub begun: Instant,
    plane: Plane,
    wall: Timestamp,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    by_call: HashMap<String, usize>,
    addresses: HashMap<StreamId, SocketAddr>,
    streams: HashMap<SocketAddr, StreamId>,
    made: u32,
    ports_left: bool,
    failed: usize,
    totals_told: bool,
    tick_at: Option<Instant>,
    deadline: Option<Instant>,
    trunks: Vec<Trunk>,
    routes: Routes,
    directories: [Arc<Directory>; 2],
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn switch() -> SocketAddr {
    address("127.0.10.1:5060")
}

/// The first address of the first trunk, where callers come from.
pub fn trunk() -> SocketAddr {
    address("127.0.11.1:5060")
}

const CONFIG: &str = "
[[number]]
pattern = \"+12025550100\"
campaign = \"congress\"
[[number]]
pattern = \"XXXXXXX\"
flow = \"route\"
[[number]]
pattern = \"6XXXXXXX\"
flow = \"collect\"
[[number]]
pattern = \"7XXXXXXX\"
flow = \"echo\"
[prompts]
languages = [\"en\", \"es\"]
[media]
silence_seconds = 30
";

impl World {
    /// A world with two trunks: the first with two addresses, the second one that we register with.
    pub fn new(seed: u64, wires: Wires) -> Self {
        Self::with(seed, wires, |_| ())
    }

    /// `change` may change the trunks before the engine begins.
    pub fn with(seed: u64, wires: Wires, change: impl FnOnce(&mut Vec<Trunk>)) -> Self {
        let (mut settings, routes) = configured();
        let directory = Arc::clone(&settings.directory);
        change(&mut settings.trunks);
        let trunks = settings.trunks.clone();
        let mut chance = Chance::new(seed);
        let begun = Instant::now();
        let mut world = Self {
            engine: Engine::new(settings, chance.fill()),
            stage: Stage {
                now: begun,
                is_reliable: false,
                chance,
                sends: Vec::new(),
                alarms: Vec::new(),
                unreachable: Vec::new(),
            },
            agents: Vec::new(),
            audit: Audit::new(begun),
            offices: Box::new(|_, _| Habits::default()),
            wires,
            transport: sip::Transport::Udp,
            dead: BTreeSet::new(),
            log: None,
            sound: None,
            changes: Vec::new(),
            begun,
            plane: Plane::new(
                begun,
                PlaneConfig {
                    tick: Duration::from_millis(10),
                },
            ),
            wall: WEDNESDAY.parse().unwrap(),
            queue: BTreeMap::new(),
            order: 0,
            by_call: HashMap::new(),
            addresses: HashMap::new(),
            streams: HashMap::new(),
            made: 0,
            ports_left: true,
            failed: 0,
            totals_told: true,
            tick_at: None,
            deadline: None,
            trunks,
            routes,
            directories: [directory, renumbered()],
        };
        world.engine.keep_traces(TraceRules {
            keep: Keep::All,
            most_per_second: 1000,
        });
        world.resolve(false);
        world.pump();
        world
    }

    // What may be arranged.

    /// A caller who dials after so long; tells the agent's number.
    pub fn call(&mut self, after: Duration, called: &str, habits: Habits) -> usize {
        let number = self.agents.len();
        let agent = Agent::caller(number, trunk(), switch(), called, habits);
        self.by_call.insert(agent.call_id.clone(), number);
        self.agents.push(agent);
        self.stage
            .alarms
            .push((self.stage.now + after, number, Alarm::Do(Deed::Dial)));
        self.collect();
        number
    }

    /// Another deed of an agent, after so long.
    pub fn arrange(&mut self, after: Duration, agent: usize, deed: Deed) {
        self.stage
            .alarms
            .push((self.stage.now + after, agent, Alarm::Do(deed)));
        self.collect();
    }

    pub fn operate(&mut self, after: Duration, operation: Operation) {
        let at = self.stage.now + after;
        self.enqueue(at, Happening::Operation(operation));
    }

    /// Bytes from anywhere to anywhere, that arrive after so long.
    pub fn inject(&mut self, after: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let at = self.stage.now + after;
        self.enqueue(at, Happening::Datagram(from, to, bytes.to_vec()));
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.engine.handle_input(self.moment(), input);
        self.pump();
        self.collect();
    }

    pub fn elapsed(&self) -> Duration {
        self.stage.now - self.begun
    }

    pub fn hotline(&mut self, after: Duration, habits: Habits) -> usize {
        self.call(after, HOTLINE, habits)
    }

    // The course of things.

    /// Lets time pass until so long after the beginning.
    pub fn run_until(&mut self, elapsed: Duration) {
        let end = self.begun + elapsed;
        while self.step(end) {}
        self.stage.now = end.max(self.stage.now);
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(self.elapsed() + time);
    }

    /// Runs until no call is left, at most for `limit`, then until every timer of RFC 3261 ran out.
    pub fn settle(&mut self, limit: Duration) {
        let end = self.stage.now + limit;
        while self.engine.calls() > 0 && self.step(end) {}
        let calls = self.engine.calls();
        self.audit
            .require(calls == 0, || format!("{calls} calls never ended"));
        self.run(Duration::from_secs(75));
        for trunk in self.engine.trunks() {
            let (name, calls) = (trunk.name, trunk.calls);
            self.audit
                .require(calls == 0, || format!("the trunk {name:?} counts {calls} calls"));
        }
    }

    /// Takes the trunks away, after which nothing at all may be left; tells what is wrong.
    pub fn end(&mut self, limit: Duration) -> Vec<String> {
        self.settle(limit);
        let nothing = Input::Configure {
            trunks: Vec::new(),
            routes: Routes::default(),
        };
        self.audit.alone = Some(self.stage.now);
        self.input(nothing);
        self.run(Duration::from_secs(200));
        let counters = self.engine.sip_counters();
        self.audit.require(
            (counters.active, counters.sessions, counters.transactions) == (0, 0, 0),
            || format!("the SIP core holds {counters:?}"),
        );
        let idle = self.engine.is_idle();
        self.audit.require(idle, || "the engine is not idle".to_owned());
        let open = self.plane.streams();
        self.audit
            .require(open == 0, || format!("{open} streams are open"));
        let (bound, stock) = (self.addresses.len(), 8);
        self.audit.require(bound <= stock, || {
            format!("{bound} sockets are bound, {stock} are stock")
        });
        self.audit.finish(&self.changes)
    }

    /// The next thing that happens before `end`; tells whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let next = [queued, self.deadline, self.tick_at].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        self.stage.now = next.max(self.stage.now);
        if queued.is_some_and(|at| at <= self.stage.now) {
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        } else if self.deadline.is_some_and(|at| at <= self.stage.now) {
            self.engine.handle_timeout(self.moment());
        } else {
            self.tick();
        }
        self.pump();
        self.collect();
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram(from, to, bytes) => self.arrive(from, to, bytes),
            Happening::Alarm(agent, alarm) => self.agents[agent].on_alarm(&mut self.stage, alarm),
            Happening::Operation(operation) => self.carry_out(operation),
            Happening::StreamsFailed => {
                let failed = std::mem::take(&mut self.failed);
                self.engine
                    .handle_input(self.moment(), Input::StreamsFailed(failed));
            }
        }
    }

    pub fn moment(&self) -> Now {
        let passed = SignedDuration::try_from(self.elapsed()).unwrap();
        Now {
            monotonic: self.stage.now,
            wall: self.wall.checked_add(passed).unwrap(),
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        self.remember(&bytes);
        if to == switch() {
            let message = Message::new(&bytes);
            let now = self.stage.now;
            let received = sip::Input::Received {
                local: to,
                source: from,
                transport: self.transport,
                bytes: &bytes,
            };
            self.audit.delivered(now, message);
            self.engine.handle_input(self.moment(), Input::Sip(received));
        } else if let Some(&stream) = self.streams.get(&to) {
            let forward = self.plane.receive(self.stage.now, stream, from, &mut bytes);
            if let (Some(forward), Some(_)) = (forward, &self.sound) {
                let relayed = bytes[forward.range].to_vec();
                self.hear(forward.destination, relayed);
            }
        } else {
            self.reach_agent(to, &bytes);
        }
    }

    fn reach_agent(&mut self, to: SocketAddr, bytes: &[u8]) {
        let message = Message::new(bytes);
        if !message.is_sip() {
            return;
        }
        let agent = match self.by_call.get(message.call_id()) {
            Some(agent) => *agent,
            None if message.status().is_none() && message.method() == "INVITE" => {
                self.new_office(to, &message)
            }
            None => return self.reach_registrar(to, &message),
        };
        let agent = &mut self.agents[agent];
        if message.status().is_none() {
            agent.address = to;
        }
        agent.on_message(&mut self.stage, &message);
    }

    fn new_office(&mut self, to: SocketAddr, invite: &Message) -> usize {
        let number = self.agents.len();
        let habits = (self.offices)(&mut self.stage.chance, invite);
        self.agents
            .push(Agent::office(number, to, switch(), invite, habits));
        self.by_call.insert(invite.call_id().to_owned(), number);
        number
    }

    /// What trunks say to REGISTER, OPTIONS and to what belongs to no call.
    fn reach_registrar(&mut self, to: SocketAddr, request: &Message) {
        if request.status().is_some() {
            return;
        }
        let contact = format!("Contact: {};expires=120\r\n", request.header("Contact"));
        let challenge = format!(
            "WWW-Authenticate: Digest realm=\"sim\", nonce=\"r{}\"\r\n",
            self.order
        );
        let kind = self.stage.chance.below(100);
        let unknown = request.header("Authorization").is_empty();
        let (status, lines) = match (request.method(), kind) {
            ("REGISTER", _) if unknown => (401, challenge.as_str()),
            ("REGISTER", 0..10) => (503, "Retry-After: 10\r\n"),
            ("REGISTER", 10..15) => (401, challenge.as_str()),
            ("REGISTER", 15..20) => (423, "Min-Expires: 600\r\n"),
            ("REGISTER" | "OPTIONS", 20..30) => return,
            ("REGISTER", _) => (200, contact.as_str()),
            ("OPTIONS", 0..20) => (404, ""),
            ("OPTIONS", _) => (200, ""),
            ("ACK", _) => return,
            _ => (481, ""),
        };
        let text = response(request, status, "registrar", lines, "");
        self.stage.sends.push((to, switch(), text.into_bytes()));
    }

    fn carry_out(&mut self, operation: Operation) {
        let input = match operation {
            Operation::Directory => {
                self.directories.swap(0, 1);
                Input::Directory(Arc::clone(&self.directories[0]))
            }
            Operation::Reload => self.configuration(self.trunks.clone(), self.routes.clone()),
            Operation::DropTrunk => self.configuration(self.trunks[..1].to_vec(), self.routes.clone()),
            Operation::DropNumbers => self.configuration(self.trunks.clone(), Routes::default()),
            Operation::Resolve => return self.resolve(true),
            Operation::Records(accepted) => Input::RecordsAccepted(accepted),
            Operation::Ports(left) => {
                self.ports_left = left;
                return;
            }
            Operation::Totals(told) => {
                self.totals_told = told;
                return;
            }
            Operation::Clock(seconds) => {
                self.wall = self.wall.checked_add(SignedDuration::from_secs(seconds)).unwrap();
                return;
            }
            Operation::Break => return self.break_connections(),
            Operation::Drain => Input::Drain,
            Operation::EndAll => Input::EndAll,
        };
        self.engine.handle_input(self.moment(), input);
        if matches!(
            operation,
            Operation::Reload | Operation::DropTrunk | Operation::DropNumbers
        ) {
            self.pump();
            self.resolve(false);
        }
    }

    fn break_connections(&mut self) {
        self.queue.retain(|_, happening| match happening {
            Happening::Datagram(from, to, _) => ![*from, *to].contains(&switch()),
            _ => true,
        });
        for remote in [trunk(), address("127.0.11.2:5060")] {
            let transport = self.transport;
            let lost = sip::Input::ConnectionLost {
                peer: None,
                remote,
                transport,
            };
            self.engine.handle_input(self.moment(), Input::Sip(lost));
            self.pump();
        }
    }

    fn configuration(&self, trunks: Vec<Trunk>, routes: Routes) -> Input<'static> {
        Input::Configure { trunks, routes }
    }

    fn resolve(&mut self, turned: bool) {
        let mut first = vec![trunk(), address("127.0.11.2:5060")];
        if turned {
            first.reverse();
        }
        for (name, targets) in [("one", first), ("two", vec![address("127.0.12.1:5060")])] {
            let found = Input::TrunkResolved {
                trunk: TrunkName::new(name),
                targets,
                local: switch(),
            };
            self.engine.handle_input(self.moment(), found);
            self.pump();
        }
    }

    fn tick(&mut self) {
        let now = self.stage.now;
        let keep = self.sound.is_some();
        let mut heard = Vec::new();
        self.plane.tick(now, &mut |_, to, bytes| {
            if keep {
                heard.push((to, bytes.to_vec()));
            }
        });
        for (to, bytes) in heard {
            self.hear(to, bytes);
        }
        self.tick_at = (self.plane.streams() > 0).then_some(now + TICK);
    }

    fn hear(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let at = self.elapsed();
        if let Some(sound) = &mut self.sound {
            sound.push((at, to, bytes));
        }
    }

    /// Lets the engine and its media plane say what they have to say, until neither has anything.
    pub fn pump(&mut self) {
        let mut outputs = 0;
        loop {
            while let Some(event) = self.plane.poll_event() {
                if let media::Event::Closed { stream, .. } = &event {
                    self.free(*stream);
                    if !self.totals_told {
                        continue;
                    }
                }
                self.engine.handle_input(self.moment(), Input::Media(event));
            }
            let output = self.engine.poll_output();
            outputs += 1;
            if let Output::Wait(deadline) = output {
                self.deadline = deadline;
                if self.plane.streams() > 0 && self.tick_at.is_none() {
                    self.tick_at = Some(self.stage.now + TICK);
                }
                break;
            }
            self.put_out(output);
        }
        self.audit.rest();
        self.audit.require(outputs < MOST_OUTPUTS, || {
            format!("{outputs} outputs after one input")
        });
        for peer in std::mem::take(&mut self.stage.unreachable) {
            let unreachable = sip::Input::Unreachable {
                peer: None,
                remote: peer,
                transport: self.transport,
            };
            self.engine.handle_input(self.moment(), Input::Sip(unreachable));
            self.pump();
        }
    }

    fn put_out(&mut self, output: Output) {
        match output {
            Output::Transmit {
                local,
                destination,
                bytes,
                ..
            } => {
                self.remember(&bytes);
                let now = self.stage.now;
                self.audit.sent(now, Message::new(&bytes));
                if self.dead.contains(&destination) {
                    return self.stage.unreachable.push(destination);
                }
                self.fly(local, destination, bytes);
            }
            Output::Media { command, .. } => self.plane.command(self.stage.now, command),
            Output::Discard(stream) => self.free(stream),
            Output::NeedStreams(count) if !self.ports_left => {
                // The driver tells it with its next heartbeat.
                self.failed += count;
                if self.failed == count {
                    let at = self.stage.now + Duration::from_secs(1);
                    self.enqueue(at, Happening::StreamsFailed);
                }
            }
            Output::NeedStreams(count) => (0..count).for_each(|_| self.make_stream()),
            Output::Records(changes) => {
                if self.log.is_some() {
                    self.remember(format!("{changes:?}").as_bytes());
                }
                let now = self.stage.now;
                changes.iter().for_each(|change| self.audit.record(now, change));
                self.changes.extend(changes);
            }
            _ => {}
        }
    }

    fn make_stream(&mut self) {
        self.made += 1;
        let stream = StreamId(self.made);
        let port = 10_000 + u16::try_from(self.made % 20_000).unwrap() * 2;
        let address = SocketAddr::new(switch().ip(), port);
        self.addresses.insert(stream, address);
        self.streams.insert(address, stream);
        let seat = Seat { stream, address };
        self.engine.handle_input(self.moment(), Input::StreamReady(seat));
    }

    fn free(&mut self, stream: StreamId) {
        let address = self.addresses.remove(&stream);
        self.audit
            .require(address.is_some(), || format!("{stream:?} was given back twice"));
        if let Some(address) = address {
            self.streams.remove(&address);
        }
    }

    /// Takes up what agents sent and want.
    fn collect(&mut self) {
        for (from, to, bytes) in std::mem::take(&mut self.stage.sends) {
            self.fly(from, to, bytes);
        }
        for (at, agent, alarm) in std::mem::take(&mut self.stage.alarms) {
            self.enqueue(at, Happening::Alarm(agent, alarm));
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if self.transport.is_reliable() && [from, to].contains(&switch()) {
            // Nothing is lost or overtaken on a connection, unless it breaks.
            let at = self.stage.now + Duration::from_millis(15);
            return self.enqueue(at, Happening::Datagram(from, to, bytes));
        }
        if self.stage.chance.hits(self.wires.lost) {
            return;
        }
        let copies = 1 + u8::from(self.stage.chance.hits(self.wires.doubled));
        for _ in 0..copies {
            let mut delay = self.stage.chance.between(5, 30);
            if self.wires.slow > Duration::ZERO && self.stage.chance.hits(60) {
                let slowest = u64::try_from(self.wires.slow.as_millis()).unwrap();
                delay += self.stage.chance.between(0, slowest);
            }
            let at = self.stage.now + delay;
            self.enqueue(at, Happening::Datagram(from, to, bytes.clone()));
        }
    }

    fn enqueue(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    fn remember(&mut self, bytes: &[u8]) {
        let at = self.stage.now - self.begun;
        if let Some(log) = &mut self.log {
            (at, bytes).hash(log);
        }
    }
}

/// What the engine begins with.
fn configured() -> (Settings, Routes) {
    let config = Config::parse(CONFIG, "sim.toml".as_ref()).unwrap();
    let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
    let directory = Directory::bundled().unwrap();
    let mut settings = simulation_settings(
        &config,
        routes.clone(),
        directory,
        library(),
        &TrunkName::new("one"),
    );
    let mut second = settings.trunks[0].clone();
    settings.trunks[0].options_every = Some(Duration::from_secs(60));
    settings.trunks[0].credentials = Some(credentials("one"));
    second.name = TrunkName::new("two");
    second.host = "two.invalid".to_owned();
    second.register = Some(Duration::from_secs(300));
    second.credentials = Some(credentials("two"));
    settings.trunks.push(second);
    (settings, routes)
}

/// The number of every office in the other directory.
pub const RENUMBERED: &str = "+12025550177";

/// The directory with another number for every office.
fn renumbered() -> Arc<Directory> {
    static OTHER: OnceLock<Arc<Directory>> = OnceLock::new();
    let make = || {
        let mut dataset = Dataset::bundled().unwrap();
        for office in &mut dataset.offices {
            office.phone = Some(RENUMBERED.parse().unwrap());
        }
        Arc::new(Directory::from_dataset(dataset))
    };
    Arc::clone(OTHER.get_or_init(make))
}

fn credentials(name: &str) -> sip::Credentials {
    sip::Credentials {
        username: name.to_owned(),
        password: "secret".to_owned(),
        realm: None,
    }
}
