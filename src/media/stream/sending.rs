//! What a stream sends of its own: prompts, digits, silence and reports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Stream, Told};
use crate::codec::FRAME_TICKS;
use crate::digit::EventPacket;
use crate::rtcp;
use crate::rtp::HEADER_BYTES;
use crate::tone;

/// The longest packet we build: 60 ms of audio.
const MAX_PACKET: usize = HEADER_BYTES + 3 * FRAME_TICKS;
/// A playout waits this long for a peer whose address is not known yet.
const PLAYOUT_PATIENCE: Duration = Duration::from_secs(2);

impl Stream {
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
        let busy =
            self.playout.is_some() || self.digits.is_busy() || (alone && self.fill_silence) || self.is_fed();
        if !busy {
            return told;
        }
        let due = frames.min(2);
        if frames > due {
            self.outgoing
                .skip((frames - due).wrapping_mul(self.agreed.codec.clock_rate() / 50));
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
            if let Some(event) = self.digits.frame(timestamp, self.agreed.event_clock_rate) {
                self.send_event(now, &event, destination, send);
                return;
            }
        }
        if self.is_key_down(now) {
            self.outgoing.pass_event_frame();
            return;
        }
        let filling = (alone && self.fill_silence) || self.is_fed();
        match &self.playout {
            Some(playing)
                if destination.is_none()
                    && now.saturating_duration_since(playing.asked) < PLAYOUT_PATIENCE => {}
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
        let (frames, packets, milliseconds) = match self.agreed.ptime {
            10 => (1, 2, 10),
            40 => (2, 1, 40),
            60 => (3, 1, 60),
            _ => (1, 1, 20),
        };
        let ticks = self.agreed.codec.clock_rate() * milliseconds / 1000;
        self.frames += 1;
        if self.frames < frames {
            return;
        }
        self.frames = 0;
        for _ in 0..packets {
            let mut packet = [0; MAX_PACKET];
            let length = self.fill(milliseconds as usize, &mut packet[HEADER_BYTES..]);
            let packet = &mut packet[..HEADER_BYTES + length];
            let Some(destination) = destination.filter(|_| length > 0) else {
                self.outgoing.pass_audio(now, ticks);
                continue;
            };
            let header = self.outgoing.own_audio(now, self.agreed.payload_type, ticks);
            packet[..HEADER_BYTES].copy_from_slice(&header.bytes());
            send(destination, packet);
            self.count_sent(0..packet.len());
        }
        if let Some(playing) = self.playout.take_if(|playing| playing.playout.is_over()) {
            told.played = Some(playing.playout.play());
        }
    }

    fn send_event(
        &mut self,
        now: Instant,
        event: &EventPacket,
        destination: Option<SocketAddr>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        if let Some((digit, frame)) = event.tone {
            return self.send_key(now, tone::key(digit, frame), destination, send);
        }
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

    /// Sends 20 ms of a key's tone as audio.
    fn send_key(
        &mut self,
        now: Instant,
        samples: [i16; FRAME_TICKS],
        destination: Option<SocketAddr>,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let ticks = FRAME_TICKS as u32;
        let (Some(destination), Some(law)) = (destination, self.agreed.codec.law()) else {
            return self.outgoing.pass_audio(now, ticks);
        };
        let header = self.outgoing.own_audio(now, self.agreed.payload_type, ticks);
        let mut packet = [0; HEADER_BYTES + FRAME_TICKS];
        packet[..HEADER_BYTES].copy_from_slice(&header.bytes());
        for (byte, sample) in packet[HEADER_BYTES..].iter_mut().zip(samples) {
            *byte = law.encode(sample);
        }
        send(destination, &packet);
        self.count_sent(0..packet.len());
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
