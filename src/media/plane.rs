//! All streams of one media thread.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::clip::Clip;
use crate::digit::{DigitSet, Digits};
use crate::playout::{PlayId, Playout};
use crate::statistics::Statistics;
use crate::stream::{Relay, Stream, StreamConfig};

const FRAME: Duration = Duration::from_millis(20);
/// Events kept for a driver that does not fetch them. Digits and ends get more room than what can be done without.
const MAX_EVENTS: usize = 65_536;
const MAX_LESSER_EVENTS: usize = 16_384;

/// Names one stream. Chosen by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// What the control side wants. Commands for unknown streams do nothing.
#[derive(Debug, Clone)]
pub enum Command {
    /// Opens a stream; one already open under the name is closed first.
    Open { stream: StreamId, config: StreamConfig },
    /// Takes up what a new offer and answer agreed; `config.start` is not looked at.
    Update { stream: StreamId, config: StreamConfig },
    /// Plays clips in place of whatever played before (which is then not told as played), and over a bridge.
    Play {
        stream: StreamId,
        play: PlayId,
        clips: Vec<Clip>,
        repeat: bool,
    },
    /// Stops playing, untold.
    Stop { stream: StreamId },
    /// Joins two streams both ways and stops what they play. They leave other bridges first. Presses of `a` that are
    /// in `withhold` are told but not relayed to `b`.
    Bridge {
        a: StreamId,
        b: StreamId,
        withhold: DigitSet,
    },
    /// Parts a stream from the other one, or ends its echo.
    Unbridge { stream: StreamId },
    /// Sends presses to the peer; audio to it pauses while a key is down.
    SendDigits { stream: StreamId, digits: Digits },
    /// Sends back to the peer what it sends.
    Echo { stream: StreamId },
    /// Closes a stream, which tells its statistics.
    Close { stream: StreamId },
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer pressed a key. Told when the press begins.
    DigitPressed { stream: StreamId, digit: char },
    /// A playout came to its end by itself.
    Played { stream: StreamId, play: PlayId },
    /// The first packet of a source now accepted: at the start, and after the peer moved.
    Started { stream: StreamId },
    /// Nothing came for the time configured. Told once for each silence.
    Silent { stream: StreamId },
    /// The stream is closed.
    Closed {
        stream: StreamId,
        statistics: Statistics,
    },
}

impl Event {
    /// Whether a call goes wrong without it; the others may be dropped under overload.
    pub const fn is_vital(&self) -> bool {
        matches!(self, Self::DigitPressed { .. } | Self::Played { .. })
    }
}

/// What to send at once for a received packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The stream from whose socket it goes.
    pub stream: StreamId,
    pub destination: SocketAddr,
    /// Which bytes of the received buffer.
    pub range: Range<usize>,
}

/// How a plane runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneConfig {
    /// How often `tick` is called; 1, 2, 4, 5 or 10 ms. Other values are rounded down to one of these.
    pub tick: Duration,
}

impl Default for PlaneConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(2),
        }
    }
}

/// The streams of one media thread: no sockets, no clock. Feed packets and ticks, fetch events after each.
#[derive(Debug)]
pub struct Plane {
    origin: Instant,
    slot: Duration,
    /// Streams by the part of the 20 ms in which they send, so that sending spreads evenly.
    wheel: Vec<Vec<usize>>,
    /// The number, since `origin`, of the next slot due.
    next: u64,
    names: HashMap<StreamId, usize>,
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    events: VecDeque<Event>,
    dropped: u64,
}

#[derive(Debug)]
struct Seat {
    name: StreamId,
    slot: usize,
    join: Join,
    stream: Stream,
}

/// Where a stream's received packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Nowhere,
    Itself,
    With { seat: usize, withhold: DigitSet },
}

impl Plane {
    pub fn new(now: Instant, config: PlaneConfig) -> Self {
        let milliseconds = [10, 5, 4, 2]
            .into_iter()
            .find(|tick| config.tick >= Duration::from_millis(*tick));
        let slot = Duration::from_millis(milliseconds.unwrap_or(1));
        let slots = (FRAME.as_millis() / slot.as_millis()) as usize;
        Self {
            origin: now,
            slot,
            wheel: vec![Vec::new(); slots],
            next: 0,
            names: HashMap::new(),
            seats: Vec::new(),
            free: Vec::new(),
            events: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Streams now open.
    pub fn streams(&self) -> usize {
        self.names.len()
    }

    /// Events that were dropped because nobody fetched them.
    pub fn dropped_events(&self) -> u64 {
        self.dropped
    }

    /// Carries out a command.
    pub fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Open { stream, config } => self.open(now, stream, config),
            Command::Update { stream, config } => {
                if let Some(seat) = self.seat(stream) {
                    seat.stream.update(now, config);
                }
            }
            Command::Play {
                stream,
                play,
                clips,
                repeat,
            } => {
                if let Some(seat) = self.seat(stream) {
                    seat.stream.play(now, Playout::new(play, clips, repeat));
                }
            }
            Command::Stop { stream } => {
                if let Some(seat) = self.seat(stream) {
                    seat.stream.stop();
                }
            }
            Command::Bridge { a, b, withhold } => self.bridge(a, b, withhold),
            Command::Unbridge { stream } => self.part(stream),
            Command::SendDigits { stream, digits } => {
                if let Some(seat) = self.seat(stream) {
                    seat.stream.send_digits(&digits);
                }
            }
            Command::Echo { stream } => {
                self.part(stream);
                if let Some(seat) = self.seat(stream) {
                    seat.join = Join::Itself;
                }
            }
            Command::Close { stream } => self.close(stream),
        }
    }

    /// Takes a packet from the wire. What it returns is to be sent before the buffer is used again: the packet was
    /// rewritten in place.
    pub fn receive(
        &mut self,
        now: Instant,
        stream: StreamId,
        source: SocketAddr,
        packet: &mut [u8],
    ) -> Option<Forward> {
        let index = *self.names.get(&stream)?;
        let seat = self.seats.get_mut(index)?.as_mut()?;
        let received = seat.stream.receive(now, source, packet)?;
        let join = seat.join;
        if received.started {
            self.tell(Event::Started { stream });
        }
        if let Some(digit) = received.pressed {
            self.tell(Event::DigitPressed {
                stream,
                digit: digit.into(),
            });
        }
        let relay = received.relay?;
        match join {
            Join::Nowhere => None,
            Join::Itself => self.forward(now, index, &relay, DigitSet::NONE, packet),
            Join::With { seat, withhold } => self.forward(now, seat, &relay, withhold, packet),
        }
    }

    /// Lets time pass: sends what streams play, tells silence. To be called every tick; late and repeated calls are fine.
    pub fn tick(&mut self, now: Instant, send: &mut impl FnMut(StreamId, SocketAddr, &[u8])) {
        let elapsed = now.saturating_duration_since(self.origin).as_nanos();
        let current = (elapsed / self.slot.as_nanos()) as u64;
        let Some(due) = (current + 1).checked_sub(self.next).filter(|due| *due > 0) else {
            return;
        };
        let slots = self.wheel.len() as u64;
        for offset in 0..due.min(slots) {
            let slot = ((self.next + offset) % slots) as usize;
            let frames = (due - offset - 1) / slots + 1;
            self.visit(now, slot, frames.min(u64::from(u32::MAX)) as u32, send);
        }
        self.next = current + 1;
    }

    /// When `tick` has something to do again. None without streams.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let nanos = self.slot.as_nanos() as u64;
        (!self.names.is_empty()).then(|| self.origin + Duration::from_nanos(nanos.saturating_mul(self.next)))
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn open(&mut self, now: Instant, name: StreamId, config: StreamConfig) {
        self.close(name);
        let slot = (0..self.wheel.len())
            .min_by_key(|slot| self.wheel[*slot].len())
            .unwrap_or(0);
        let seat = Seat {
            name,
            slot,
            join: Join::Nowhere,
            stream: Stream::new(now, config),
        };
        let index = self.free.pop().unwrap_or(self.seats.len());
        match self.seats.get_mut(index) {
            Some(empty) => *empty = Some(seat),
            None => self.seats.push(Some(seat)),
        }
        self.wheel[slot].push(index);
        self.names.insert(name, index);
    }

    fn close(&mut self, name: StreamId) {
        self.part(name);
        let Some(index) = self.names.remove(&name) else {
            return;
        };
        let Some(seat) = self.seats.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.wheel[seat.slot].retain(|other| *other != index);
        self.free.push(index);
        self.tell(Event::Closed {
            stream: name,
            statistics: seat.stream.statistics(),
        });
    }

    fn bridge(&mut self, a: StreamId, b: StreamId, withhold: DigitSet) {
        let (Some(&first), Some(&second)) = (self.names.get(&a), self.names.get(&b)) else {
            return;
        };
        if first == second {
            return;
        }
        self.part(a);
        self.part(b);
        for (index, other, withhold) in [(first, second, withhold), (second, first, DigitSet::NONE)] {
            if let Some(Some(seat)) = self.seats.get_mut(index) {
                seat.join = Join::With {
                    seat: other,
                    withhold,
                };
                seat.stream.stop();
            }
        }
    }

    fn part(&mut self, name: StreamId) {
        let Some(seat) = self.seat(name) else { return };
        if let Join::With { seat: other, .. } = std::mem::replace(&mut seat.join, Join::Nowhere)
            && let Some(Some(other)) = self.seats.get_mut(other)
        {
            other.join = Join::Nowhere;
        }
    }

    fn forward(
        &mut self,
        now: Instant,
        index: usize,
        relay: &Relay,
        withhold: DigitSet,
        packet: &mut [u8],
    ) -> Option<Forward> {
        let seat = self.seats.get_mut(index)?.as_mut()?;
        let (destination, range) = seat.stream.relay(now, relay, withhold, packet)?;
        Some(Forward {
            stream: seat.name,
            destination,
            range,
        })
    }

    fn visit(
        &mut self,
        now: Instant,
        slot: usize,
        frames: u32,
        send: &mut impl FnMut(StreamId, SocketAddr, &[u8]),
    ) {
        for position in 0..self.wheel[slot].len() {
            let index = self.wheel[slot][position];
            let Some(Some(seat)) = self.seats.get_mut(index) else {
                continue;
            };
            let (name, alone) = (seat.name, seat.join == Join::Nowhere);
            let told = seat
                .stream
                .live(now, frames, alone, &mut |to, bytes| send(name, to, bytes));
            if let Some(play) = told.played {
                self.tell(Event::Played { stream: name, play });
            }
            if told.silent {
                self.tell(Event::Silent { stream: name });
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let limit = if event.is_vital() {
            MAX_EVENTS
        } else {
            MAX_LESSER_EVENTS
        };
        if self.events.len() < limit {
            self.events.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    fn seat(&mut self, name: StreamId) -> Option<&mut Seat> {
        self.seats.get_mut(*self.names.get(&name)?)?.as_mut()
    }
}
