//! One leg's RTP both ways: who is heard, what is sent, and the numbers of both.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::attention::Attention;
use crate::codec::Codec;
use crate::digit::{Arrival, Digit, DigitSet, Digits, EventPayload, Receiver, Sender};
use crate::hearing::{Ears, Heard};
use crate::outgoing::{Incoming, Outgoing, Start};
use crate::payload_types::Content;
use crate::playout::Playout;
use crate::rtcp;
use crate::rtp::{HEADER_BYTES, Packet};
use crate::sdp::Negotiated;
use crate::source::{Source, SourceRule, Verdict};
use crate::statistics::{Reception, Statistics};

mod listening;
mod sending;
mod transcoding;

/// A new source is read whole for so long: many calls are over by then.
const WHOLE_AFTER_START: Duration = Duration::from_secs(1);
/// A peer of whom not even samples come is read whole: it fell silent, moved, or numbers its packets oddly.
const SAMPLES_WITHIN: Duration = Duration::from_secs(2);

/// How a stream behaves. An update may change all but `start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// What offer and answer agreed.
    pub agreed: Negotiated,
    /// How far the peer's addresses are trusted.
    pub source: SourceRule,
    /// Where our numbers start; random.
    pub start: Start,
    /// Tells `Silent` when nothing came for this long although the peer should send. None: never.
    pub silence_after: Option<Duration>,
    /// Whether silence is sent while there is nothing else to send and no bridge.
    pub fill_silence: bool,
}

/// What a received packet means for the rest of the plane.
#[derive(Debug)]
pub struct Received {
    /// The first packet of a source now accepted.
    pub started: bool,
    /// A new press.
    pub pressed: Option<Digit>,
    /// What was heard in the audio.
    pub heard: Vec<Heard>,
    /// What to relay, if the stream is joined with one.
    pub relay: Option<Relay>,
}

/// An accepted packet on its way to another stream.
#[derive(Debug)]
pub struct Relay {
    pub incoming: Incoming,
    pub payload: Range<usize>,
    pub content: Content,
    /// The press this packet belongs to; of audio, the key whose tone it carries.
    pub digit: Option<Digit>,
}

/// One leg's stream.
#[derive(Debug)]
pub struct Stream {
    agreed: Negotiated,
    silence_after: Option<Duration>,
    fill_silence: bool,
    source: Source,
    reception: Reception,
    outgoing: Outgoing,
    presses: Receiver,
    digits: Sender,
    /// What is played. Boxed: most streams play nothing most of the time.
    playout: Option<Box<Playing>>,
    heard: Instant,
    /// When the peer last gave any sign of life, by sound or by a report of its own.
    alive: Instant,
    /// When the source now accepted was first heard; None before that.
    started: Option<Instant>,
    silence_told: bool,
    refused: u64,
    sent: u64,
    skipped: u64,
    /// Frames since the last packet, when a packet holds several.
    frames: u8,
    report: rtcp::Reporter,
    transcoding: Option<Box<transcoding::Transcoding>>,
    /// Listens to the audio, where asked to.
    ears: Option<Box<Ears>>,
}

/// A playout, and when it was asked for.
#[derive(Debug)]
struct Playing {
    playout: Playout,
    asked: Instant,
}

/// What a frame told, besides the packets it sent.
#[derive(Debug, Default)]
pub struct Told {
    /// The playout that ended.
    pub played: Option<crate::playout::PlayId>,
    pub silent: bool,
}

impl Stream {
    pub fn new(now: Instant, config: StreamConfig) -> Self {
        Self {
            source: Source::new(now, config.source, config.agreed.remote),
            reception: Reception::default(),
            outgoing: Outgoing::new(now, config.start, config.agreed.codec.clock_rate()),
            presses: Receiver::default(),
            digits: Sender::default(),
            playout: None,
            heard: now,
            alive: now,
            started: None,
            silence_told: false,
            refused: 0,
            sent: 0,
            skipped: 0,
            frames: 0,
            report: rtcp::Reporter::new(now),
            transcoding: None,
            ears: None,
            agreed: config.agreed,
            silence_after: config.silence_after,
            fill_silence: config.fill_silence,
        }
    }

    /// Takes what a new offer and answer agreed. Our numbers go on.
    pub fn update(&mut self, now: Instant, config: StreamConfig) {
        self.source.update(now, config.source, config.agreed.remote);
        (self.heard, self.alive) = (now, now);
        self.started = self.started.map(|_| now);
        self.outgoing
            .set_clock_rate(now, config.agreed.codec.clock_rate());
        self.agreed = config.agreed;
        (self.silence_after, self.fill_silence) = (config.silence_after, config.fill_silence);
    }

    pub fn play(&mut self, now: Instant, playout: Playout) {
        let asked = now;
        self.playout = Some(Box::new(Playing { playout, asked }));
    }

    pub fn stop(&mut self) {
        self.playout = None;
    }

    /// How much must be read while no other stream listens to this one.
    pub fn attention(&self, now: Instant) -> Attention {
        let settled = self
            .started
            .is_some_and(|started| now.saturating_duration_since(started) >= WHOLE_AFTER_START);
        if settled && self.ears.is_none() && now.saturating_duration_since(self.heard) < SAMPLES_WITHIN {
            let mut events = [None; 4];
            for (slot, number) in events.iter_mut().zip(self.agreed.receive.events()) {
                *slot = Some(number);
            }
            Attention::Sample { events }
        } else {
            Attention::All
        }
    }

    /// Takes note of what is read of this stream from now on.
    pub fn attend(&mut self, attention: Attention) {
        self.reception.set_sampled(attention != Attention::All);
    }

    /// Queues presses; those that the peer cannot take are dropped: events without telephone-event, tones without
    /// G.711. Returns how many were.
    pub fn send_digits(&mut self, digits: &Digits) -> usize {
        let possible = match digits.inband {
            true => self.agreed.codec.law().is_some(),
            false => self.agreed.event_payload_type.is_some(),
        };
        match possible {
            true => self.digits.push(digits),
            false => digits.keys.len(),
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            received: self.reception.received(),
            unread: self.reception.unread(),
            lost: self.reception.lost(),
            refused: self.refused,
            jitter: self.reception.jitter(),
            sent: self.sent,
            skipped: self.skipped,
            peer_lost: self.report.peer_lost(),
            round_trip: self.report.round_trip(),
        }
    }

    /// Judges and counts a packet from the wire. None if it is to be ignored.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Received> {
        if crate::rtp::is_rtcp(bytes) {
            self.receive_report(now, from, bytes);
            return None;
        }
        let judged = Packet::parse(bytes).and_then(|packet| {
            let content = self.agreed.receive.content(packet.header.payload_type)?;
            match self.source.judge(now, from, &packet.header) {
                Verdict::Refused => None,
                verdict => Some((packet, content, verdict)),
            }
        });
        let Some((packet, content, verdict)) = judged else {
            self.refused += 1;
            return None;
        };
        (self.heard, self.alive) = (now, now);
        self.silence_told = false;
        self.reception
            .count(now, &packet.header, self.clock_rate_of(content));
        let started = verdict == Verdict::Locked;
        if started {
            self.started = Some(now);
        }
        Some(self.accept(now, packet, content, bytes, started))
    }

    fn accept(
        &mut self,
        now: Instant,
        packet: Packet,
        content: Content,
        bytes: &[u8],
        started: bool,
    ) -> Received {
        let payload = &bytes[packet.payload.clone()];
        let mut received = Received {
            started,
            pressed: None,
            heard: Vec::new(),
            relay: None,
        };
        let (ticks, digit) = match content {
            Content::Audio(codec) => {
                self.presses.close();
                let (heard, digit) = self.listen_to(codec, packet.header.timestamp, payload);
                received.heard = heard;
                (codec.ticks(payload), digit)
            }
            Content::ComfortNoise => (0, None),
            Content::Event { kilohertz } => {
                let Some(event) = EventPayload::parse(payload) else {
                    return received;
                };
                received.pressed = self.presses.receive(Arrival {
                    at: now,
                    ssrc: packet.header.ssrc,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    kilohertz,
                    payload: event,
                });
                self.ears.iter_mut().for_each(|ears| ears.mute());
                let clock_rate = self.agreed.codec.clock_rate();
                let ticks = event.in_clock(u32::from(kilohertz) * 1000, clock_rate).1;
                (ticks, Digit::from_event(event.event))
            }
        };
        let incoming = Incoming {
            header: packet.header,
            ticks,
        };
        received.relay = Some(Relay {
            incoming,
            payload: packet.payload,
            content,
            digit,
        });
        received
    }

    fn clock_rate_of(&self, content: Content) -> Option<u32> {
        match content {
            Content::Audio(codec) => Some(codec.clock_rate()),
            Content::ComfortNoise => Some(self.agreed.codec.clock_rate()),
            Content::Event { .. } => None,
        }
    }

    /// Makes a packet accepted by another stream ours, in place. `withhold` holds the presses to keep from our peer.
    /// Returns where to send which part of the buffer.
    pub fn relay(
        &mut self,
        now: Instant,
        relay: &Relay,
        withhold: DigitSet,
        buffer: &mut [u8],
    ) -> Option<(SocketAddr, Range<usize>)> {
        let Some(destination) = self.destination(now) else {
            self.outgoing.withhold(now, &relay.incoming);
            return None;
        };
        if self.playout.is_some() || self.digits.is_down() {
            return None;
        }
        let agreed = &self.agreed;
        let payload_type = match relay.content {
            // A key's tone is sent again as the peer takes keys; see `Heard`.
            Content::Audio(codec) => codec
                .is_relayed_as(agreed.codec)
                .then_some(agreed.payload_type)
                .filter(|_| relay.digit.is_none()),
            Content::Event { .. } => agreed
                .event_payload_type
                .filter(|_| !relay.digit.is_some_and(|digit| withhold.contains(digit))),
            Content::ComfortNoise => None,
        };
        let Some(payload_type) = payload_type else {
            self.outgoing.withhold(now, &relay.incoming);
            return None;
        };
        let header = match relay.content {
            Content::Event { .. } if self.is_fed() => {
                self.number_key(now, relay, payload_type, buffer.get(relay.payload.clone())?)?
            }
            _ => self.outgoing.relay(now, &relay.incoming, payload_type)?,
        };
        let start = relay.payload.start.checked_sub(HEADER_BYTES)?;
        buffer
            .get_mut(start..relay.payload.start)?
            .copy_from_slice(&header.bytes());
        let payload = buffer.get_mut(relay.payload.clone())?;
        match (relay.content, self.agreed.codec) {
            (Content::Audio(Codec::G711(law)), Codec::G711(ours)) => law.convert(ours, payload),
            (Content::Event { kilohertz }, _) => {
                EventPayload::convert(payload, u32::from(kilohertz) * 1000, self.agreed.event_clock_rate);
            }
            _ => {}
        }
        self.count_sent(start..relay.payload.end);
        Some((destination, start..relay.payload.end))
    }

    fn destination(&self, now: Instant) -> Option<SocketAddr> {
        self.source
            .destination(now)
            .filter(|_| self.agreed.direction.sends())
    }

    fn count_sent(&mut self, range: Range<usize>) {
        self.sent += 1;
        self.report.count_sent(range.len().saturating_sub(HEADER_BYTES));
    }

    fn is_newly_silent(&mut self, now: Instant) -> bool {
        let Some(limit) = self.silence_after else {
            return false;
        };
        let silent = self.agreed.direction.receives()
            && !self.silence_told
            && now.saturating_duration_since(self.alive) >= limit;
        self.silence_told |= silent;
        silent
    }

    fn receive_report(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // A peer that is silent by intent (mute, no packets in pauses) still reports.
        if self.source.is_locked_to(from)
            && self
                .report
                .receive(now, self.outgoing.ssrc(), self.source.ssrc(), bytes)
        {
            self.alive = now;
            self.silence_told = false;
        }
    }
}
