//! All streams of one media thread.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::attention::Attention;
use crate::clip::Clip;
use crate::digit::{DigitSet, Digits};
use crate::hearing::{Heard, Listening};
use crate::payload_types::Content;
use crate::playout::{PlayId, Playout};
use crate::statistics::Statistics;
use crate::stream::{Relay, Stream, StreamConfig};
use crate::transcode::MAX_FRAME;

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
    /// Listens to the peer's audio from now on for this and nothing else; all of it is read meanwhile.
    Listen { stream: StreamId, listening: Listening },
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
    /// Something was heard in the peer's audio. A key is not relayed as tone while it is heard: it is to be sent anew.
    Heard { stream: StreamId, heard: Heard },
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
        matches!(
            self,
            Self::DigitPressed { .. } | Self::Heard { .. } | Self::Played { .. }
        )
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
    /// Seats whose wish for attention changed; each is in it once.
    wishes: VecDeque<usize>,
}

#[derive(Debug)]
struct Seat {
    name: StreamId,
    slot: usize,
    /// Not visited yet: time before it opened is not lateness.
    fresh: bool,
    join: Join,
    attention: Attention,
    /// Waits in `wishes`.
    wishes: bool,
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
            wishes: VecDeque::new(),
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
                self.wish(stream, Attention::All);
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
            Command::Listen { stream, listening } => {
                self.wish(stream, Attention::All);
                if let Some(seat) = self.seat(stream) {
                    seat.stream.listen(&listening);
                }
            }
            Command::Echo { stream } => {
                self.part(stream);
                self.wish(stream, Attention::All);
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
        for heard in received.heard {
            self.tell(Event::Heard { stream, heard });
        }
        let relay = received.relay?;
        let (other, withhold) = match join {
            Join::Nowhere => return None,
            Join::Itself => (index, DigitSet::NONE),
            Join::With { seat, withhold } => (seat, withhold),
        };
        if self.is_for_decoding(index, other, relay.content) {
            self.hear(index, other, &relay, packet);
            return None;
        }
        self.forward(now, other, &relay, withhold, packet)
    }

    /// Whether a packet of one seat can reach the other one only through decoder and encoder. Where that was so before
    /// and is no more, it ends.
    fn is_for_decoding(&mut self, index: usize, other: usize, content: Content) -> bool {
        let (Some(Some(from)), Some(Some(to))) = (self.seats.get(index), self.seats.get(other)) else {
            return false;
        };
        match content {
            Content::Audio(codec) if !codec.is_relayed_as(to.stream.codec()) => true,
            Content::Audio(_) => {
                if from.stream.is_decoded() {
                    self.stop_decoding(index, other);
                }
                false
            }
            Content::ComfortNoise => from.stream.is_decoded(),
            Content::Event { .. } => false,
        }
    }

    fn hear(&mut self, index: usize, other: usize, relay: &Relay, packet: &[u8]) {
        if let (Some(Some(seat)), Some(payload)) =
            (self.seats.get_mut(index), packet.get(relay.payload.clone()))
        {
            seat.stream.hear(relay, payload);
        }
        if let Some(Some(seat)) = self.seats.get_mut(other) {
            seat.stream.set_fed(true);
        }
    }

    /// Passes 20 ms from what is decoded of one seat's partner on to it, so many times.
    fn feed(&mut self, index: usize, join: Join, frames: u32) {
        let source = match join {
            Join::Nowhere => return,
            Join::Itself => index,
            Join::With { seat, .. } => seat,
        };
        for _ in 0..frames {
            let mut samples = [0; MAX_FRAME];
            let heard = match self.seats.get_mut(source) {
                Some(Some(seat)) => seat.stream.heard(&mut samples),
                _ => None,
            };
            if let (Some((samples, rate)), Some(Some(seat))) = (heard, self.seats.get_mut(index)) {
                seat.stream.feed(samples, rate);
            }
        }
    }

    fn stop_decoding(&mut self, index: usize, other: usize) {
        if let Some(Some(seat)) = self.seats.get_mut(index) {
            seat.stream.stop_hearing();
        }
        if let Some(Some(seat)) = self.seats.get_mut(other) {
            seat.stream.set_fed(false);
        }
    }

    /// Lets time pass: sends what streams play, tells silence. To be called every tick; late and repeated calls are fine.
    pub fn tick(&mut self, now: Instant, send: &mut impl FnMut(StreamId, SocketAddr, &[u8])) {
        let current = self.slot_at(now);
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

    /// A stream of which something else should now be read, and what. The driver that brings it about says so by
    /// [`Plane::attend`]; one that reads everything need not ask.
    pub fn poll_attention(&mut self) -> Option<(StreamId, Attention)> {
        while let Some(index) = self.wishes.pop_front() {
            if let Some(Some(seat)) = self.seats.get_mut(index) {
                seat.wishes = false;
                return Some((seat.name, seat.attention));
            }
        }
        None
    }

    /// Takes note of what is read of a stream from now on, so that what is not read is not counted as lost.
    pub fn attend(&mut self, stream: StreamId, attention: Attention) {
        if let Some(seat) = self.seat(stream) {
            seat.stream.attend(attention);
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The number of the slot that is current.
    fn slot_at(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.origin).as_nanos() / self.slot.as_nanos()) as u64
    }

    fn open(&mut self, now: Instant, name: StreamId, config: StreamConfig) {
        self.close(name);
        if self.names.is_empty() {
            // Nobody ticked meanwhile; nothing was missed.
            self.next = self.next.max(self.slot_at(now) + 1);
        }
        let slot = (0..self.wheel.len())
            .min_by_key(|slot| self.wheel[*slot].len())
            .unwrap_or(0);
        let seat = Seat {
            name,
            slot,
            fresh: true,
            join: Join::Nowhere,
            attention: Attention::All,
            wishes: false,
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
        if seat.wishes {
            self.wishes.retain(|other| *other != index);
        }
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
        // Joined already: only what is withheld changes, and what plays over the bridge goes on.
        if let Some(Some(seat)) = self.seats.get_mut(first)
            && let Join::With {
                seat: other,
                withhold: before,
            } = &mut seat.join
            && *other == second
        {
            *before = withhold;
            return;
        }
        for stream in [a, b] {
            self.part(stream);
            self.wish(stream, Attention::All);
        }
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
        let join = std::mem::replace(&mut seat.join, Join::Nowhere);
        seat.stream.stop_hearing();
        seat.stream.set_fed(false);
        if let Join::With { seat: other, .. } = join
            && let Some(Some(other)) = self.seats.get_mut(other)
        {
            other.join = Join::Nowhere;
            other.stream.stop_hearing();
            other.stream.set_fed(false);
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
            let frames = if std::mem::take(&mut seat.fresh) {
                1
            } else {
                frames
            };
            let (join, fed) = (seat.join, seat.stream.is_fed());
            if fed {
                // Those that are not sent are not heard either; the buffer is kept short by itself.
                self.feed(index, join, frames.min(2));
            }
            let Some(Some(seat)) = self.seats.get_mut(index) else {
                continue;
            };
            let told = seat
                .stream
                .live(now, frames, alone, &mut |to, bytes| send(name, to, bytes));
            if let Some(play) = told.played {
                self.tell(Event::Played { stream: name, play });
            }
            if told.silent {
                self.tell(Event::Silent { stream: name });
            }
            if alone {
                self.wish_for(index, |stream| stream.attention(now));
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

    fn wish(&mut self, name: StreamId, attention: Attention) {
        if let Some(&index) = self.names.get(&name) {
            self.wish_for(index, |_| attention);
        }
    }

    fn wish_for(&mut self, index: usize, wanted: impl FnOnce(&Stream) -> Attention) {
        let Some(Some(seat)) = self.seats.get_mut(index) else {
            return;
        };
        let wanted = wanted(&seat.stream);
        if seat.attention == wanted {
            return;
        }
        seat.attention = wanted;
        if !std::mem::replace(&mut seat.wishes, true) {
            self.wishes.push_back(index);
        }
    }

    fn seat(&mut self, name: StreamId) -> Option<&mut Seat> {
        self.seats.get_mut(*self.names.get(&name)?)?.as_mut()
    }
}

#[cfg(test)]
mod tests;
