//! One leg's RTP both ways: who is heard, what is sent, and the numbers of both.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::attention::Attention;
use crate::codec::{FRAME_TICKS, Law};
use crate::digit::{Arrival, Digit, DigitSet, Digits, EventPacket, EventPayload, Receiver, Sender};
use crate::outgoing::{Incoming, Outgoing, Start};
use crate::playout::Playout;
use crate::rtcp;
use crate::rtp::{HEADER_BYTES, Packet};
use crate::sdp::Negotiated;
use crate::source::{Source, SourceRule, Verdict};
use crate::statistics::{Reception, Statistics};

/// Comfort noise (RFC 3389), the static payload type.
const COMFORT_NOISE: u8 = 13;
/// The longest packet we build: 60 ms of audio.
const MAX_PACKET: usize = HEADER_BYTES + 3 * FRAME_TICKS;
/// A playout waits this long for a peer whose address is not known yet.
const PLAYOUT_PATIENCE: Duration = Duration::from_secs(2);
/// A new source is read whole for so long: many calls are over by then.
const WHOLE_AFTER_START: Duration = Duration::from_secs(1);
/// A peer of whom not even samples come is read whole: it fell silent, moved, or numbers its packets oddly.
const SAMPLES_WITHIN: Duration = Duration::from_secs(2);

/// Which payload types a peer may send us. The aliases are numbers of the peer's own description that differ from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadTypes {
    pub mu: Option<u8>,
    pub a: Option<u8>,
    pub event: Option<u8>,
    pub mu_alias: Option<u8>,
    pub a_alias: Option<u8>,
    pub event_alias: Option<u8>,
}

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Audio(Law),
    Event,
    ComfortNoise,
}

impl PayloadTypes {
    /// None for a payload type that was not agreed. Our own numbers go before the peer's.
    pub fn content(&self, payload_type: u8) -> Option<Content> {
        let number = Some(payload_type);
        match () {
            () if number == self.mu => Some(Content::Audio(Law::Mu)),
            () if number == self.a => Some(Content::Audio(Law::A)),
            () if number == self.event => Some(Content::Event),
            () if number == self.mu_alias => Some(Content::Audio(Law::Mu)),
            () if number == self.a_alias => Some(Content::Audio(Law::A)),
            () if number == self.event_alias => Some(Content::Event),
            () if payload_type == COMFORT_NOISE => Some(Content::ComfortNoise),
            () => None,
        }
    }
}

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
    /// What to relay, if the stream is joined with one.
    pub relay: Option<Relay>,
}

/// An accepted packet on its way to another stream.
#[derive(Debug)]
pub struct Relay {
    pub incoming: Incoming,
    pub payload: Range<usize>,
    pub content: Content,
    /// The press this packet belongs to.
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
    playout: Option<Box<Playout>>,
    /// When the playout was asked for.
    asked: Instant,
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
            outgoing: Outgoing::new(now, config.start),
            presses: Receiver::default(),
            digits: Sender::default(),
            playout: None,
            asked: now,
            heard: now,
            alive: now,
            started: None,
            silence_told: false,
            refused: 0,
            sent: 0,
            skipped: 0,
            frames: 0,
            report: rtcp::Reporter::new(now),
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
        self.agreed = config.agreed;
        (self.silence_after, self.fill_silence) = (config.silence_after, config.fill_silence);
    }

    pub fn play(&mut self, now: Instant, playout: Playout) {
        (self.playout, self.asked) = (Some(Box::new(playout)), now);
    }

    pub fn stop(&mut self) {
        self.playout = None;
    }

    /// How much must be read while no other stream listens to this one.
    pub fn attention(&self, now: Instant) -> Attention {
        let settled = self
            .started
            .is_some_and(|started| now.saturating_duration_since(started) >= WHOLE_AFTER_START);
        if settled && now.saturating_duration_since(self.heard) < SAMPLES_WITHIN {
            let agreed = &self.agreed.receive;
            let events = [agreed.event, agreed.event_alias];
            Attention::Sample { events }
        } else {
            Attention::All
        }
    }

    /// Takes note of what is read of this stream from now on.
    pub fn attend(&mut self, attention: Attention) {
        self.reception.set_sampled(attention != Attention::All);
    }

    /// Queues presses; without telephone-event on the peer's side they are dropped. Returns how many were.
    pub fn send_digits(&mut self, digits: &Digits) -> usize {
        match self.agreed.event_payload_type {
            Some(_) => self.digits.push(digits),
            None => digits.keys.len(),
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
            .count(now, &packet.header, content != Content::Event);
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
            relay: None,
        };
        let (ticks, digit) = match content {
            Content::Audio(_) => {
                self.presses.close();
                (payload.len() as u32, None)
            }
            Content::ComfortNoise => (0, None),
            Content::Event => {
                let Some(event) = EventPayload::parse(payload) else {
                    return received;
                };
                received.pressed = self.presses.receive(Arrival {
                    at: now,
                    ssrc: packet.header.ssrc,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    payload: event,
                });
                (u32::from(event.duration), Digit::from_event(event.event))
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
            Content::Audio(_) => Some(agreed.payload_type),
            Content::Event => agreed
                .event_payload_type
                .filter(|_| !relay.digit.is_some_and(|digit| withhold.contains(digit))),
            Content::ComfortNoise => None,
        };
        let Some(payload_type) = payload_type else {
            self.outgoing.withhold(now, &relay.incoming);
            return None;
        };
        let header = self.outgoing.relay(now, &relay.incoming, payload_type)?;
        let start = relay.payload.start.checked_sub(HEADER_BYTES)?;
        buffer
            .get_mut(start..relay.payload.start)?
            .copy_from_slice(&header.bytes());
        if let Content::Audio(law) = relay.content {
            law.convert(self.agreed.law, buffer.get_mut(relay.payload.clone())?);
        }
        self.count_sent(start..relay.payload.end);
        Some((destination, start..relay.payload.end))
    }

    /// Lives through `frames` of 20 ms that are due: sends what is to be sent, at most two frames at once; the rest is
    /// skipped. `alone` says that no other stream feeds this one.
    pub fn live(
        &mut self,
        now: Instant,
        frames: u32,
        alone: bool,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) -> Told {
        let mut told = Told {
            played: None,
            silent: self.is_newly_silent(now),
        };
        self.send_report(now, send);
        let idle = self.playout.is_none() && !self.digits.is_busy() && !(alone && self.fill_silence);
        if idle {
            return told;
        }
        let due = frames.min(2);
        if frames > due {
            self.outgoing
                .skip((frames - due).wrapping_mul(FRAME_TICKS as u32));
            self.skipped += u64::from(frames - due);
        }
        for _ in 0..due {
            self.frame(now, alone, &mut told, send);
        }
        told
    }

    fn frame(
        &mut self,
        now: Instant,
        alone: bool,
        told: &mut Told,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let destination = self.destination(now);
        if self.digits.is_busy() {
            let timestamp = self.outgoing.own_timestamp(now);
            if let Some(event) = self.digits.frame(timestamp) {
                self.send_event(&event, destination, send);
                return;
            }
        }
        let filling = alone && self.fill_silence;
        match &self.playout {
            Some(_)
                if destination.is_none() && now.saturating_duration_since(self.asked) < PLAYOUT_PATIENCE => {}
            Some(_) => self.send_audio(now, destination, told, send),
            None if filling => self.send_audio(now, destination, told, send),
            // A pause between presses while another stream feeds this one.
            None => {}
        }
    }

    fn send_audio(
        &mut self,
        now: Instant,
        destination: Option<SocketAddr>,
        told: &mut Told,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let (frames, packets, ticks) = match self.agreed.ptime {
            10 => (1, 2, FRAME_TICKS / 2),
            40 => (2, 1, FRAME_TICKS * 2),
            60 => (3, 1, FRAME_TICKS * 3),
            _ => (1, 1, FRAME_TICKS),
        };
        self.frames += 1;
        if self.frames < frames {
            return;
        }
        self.frames = 0;
        for _ in 0..packets {
            let mut packet = [0; MAX_PACKET];
            let packet = &mut packet[..HEADER_BYTES + ticks];
            let law = self.agreed.law;
            match &mut self.playout {
                Some(playout) => playout.fill(law, &mut packet[HEADER_BYTES..]),
                None => packet[HEADER_BYTES..].fill(law.silence()),
            }
            let Some(destination) = destination else {
                self.outgoing.pass_audio(now, ticks as u32);
                continue;
            };
            let header = self
                .outgoing
                .own_audio(now, self.agreed.payload_type, ticks as u32);
            packet[..HEADER_BYTES].copy_from_slice(&header.bytes());
            send(destination, packet);
            self.count_sent(0..packet.len());
        }
        if let Some(playout) = self.playout.take_if(|playout| playout.is_over()) {
            told.played = Some(playout.play());
        }
    }

    fn send_event(
        &mut self,
        event: &EventPacket,
        destination: Option<SocketAddr>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let (Some(destination), Some(payload_type)) = (destination, self.agreed.event_payload_type) else {
            self.outgoing.pass_event_frame();
            return;
        };
        for copy in 0..event.copies {
            let header = self
                .outgoing
                .own_event(event.marker && copy == 0, payload_type, event.timestamp);
            let mut packet = [0; HEADER_BYTES + 4];
            packet[..HEADER_BYTES].copy_from_slice(&header.bytes());
            packet[HEADER_BYTES..].copy_from_slice(&event.payload.bytes());
            send(destination, &packet);
            self.count_sent(0..packet.len());
        }
        self.outgoing.pass_event_frame();
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

    fn send_report(&mut self, now: Instant, send: &mut impl FnMut(SocketAddr, &[u8])) {
        if !self.agreed.rtcp_mux || !self.report.is_due(now) {
            return;
        }
        let Some(destination) = self.destination(now) else {
            return;
        };
        let reception = self.reception.report();
        let timestamp = self.outgoing.timestamp_at(now);
        let mut buffer = [0; rtcp::MAX_REPORT];
        let bytes = self
            .report
            .write(now, self.outgoing.ssrc(), timestamp, reception, &mut buffer);
        send(destination, bytes);
    }
}
