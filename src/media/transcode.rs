//! From what one stream hears to what another one sends, where their codecs differ; and prompts for codecs in which
//! they are not kept. The listener is on the side of the stream that is heard, the speaker on that of the one that
//! sends; between them pass linear samples, 20 ms at a time.

use std::collections::VecDeque;

use crate::codec::{Codec, Decoder, Encoder, MAX_DECODED, Resampler};
use crate::jitter::{Buffered, JitterBuffer, Taken};
use crate::payload_types::Content;
use crate::rtp::Header;

/// Samples in 20 ms at the highest rate.
pub const MAX_FRAME: usize = 320;
/// Milliseconds of samples that wait to be sent at most.
const MAX_WAITING: usize = 120;
/// How loud the last 20 ms are repeated for each 20 ms in a row that are missing; then silence.
const CONCEALED: [f32; 3] = [0.7, 0.35, 0.1];
/// Comfort noise is never louder than this, in dBov.
const LOUDEST_NOISE: u8 = 40;
/// The longest payload that is kept.
const MAX_PAYLOAD: usize = 1500;

/// Decodes what comes for one stream.
#[derive(Debug)]
pub struct Listener {
    decoder: Decoder,
    buffer: JitterBuffer,
    /// Decoded and not heard yet.
    ready: VecDeque<i16>,
    /// The newest 20 ms decoded.
    last: Vec<i16>,
    /// Frames in a row that were missing.
    missing: usize,
    /// Of the comfort noise that the sender asked for, in dBov.
    noise: Option<u8>,
    random: u32,
}

impl Listener {
    /// None for a codec that was not built in.
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Self {
            decoder: Decoder::new(codec)?,
            buffer: JitterBuffer::new(codec.clock_rate()),
            ready: VecDeque::new(),
            last: vec![0; frame_of(codec)],
            missing: 0,
            noise: None,
            random: 1,
        })
    }

    /// What it decodes.
    pub const fn codec(&self) -> Codec {
        self.decoder.codec()
    }

    /// Takes an accepted packet.
    pub fn hear(&mut self, header: &Header, content: Content, payload: &[u8]) {
        let ticks = match content {
            Content::Audio(codec) if codec == self.codec() => codec.ticks(payload),
            Content::ComfortNoise => 0,
            Content::Audio(_) | Content::Event { .. } => return,
        };
        let is_audio = content != Content::ComfortNoise;
        if payload.len() > MAX_PAYLOAD || (is_audio && ticks == 0) {
            return;
        }
        let packet = Buffered {
            sequence: header.sequence,
            timestamp: header.timestamp,
            ticks,
            payload: payload.to_vec(),
        };
        self.buffer.insert(header.ssrc, packet);
    }

    /// The next 20 ms, at the sample rate of the codec.
    pub fn frame<'a>(&mut self, samples: &'a mut [i16; MAX_FRAME]) -> &'a [i16] {
        let length = frame_of(self.codec());
        let per_tick = f64::from(self.codec().clock_rate()) / f64::from(self.codec().sample_rate());
        let ahead = (self.ready.len() as f64 * per_tick) as u32;
        if self.buffer.begin(ahead) {
            self.leave_out(length);
        }
        // Each step adds something, but for broken packets, of which there are few.
        for _ in 0..64 {
            if self.ready.len() >= length {
                break;
            }
            self.step(length);
        }
        for sample in samples.iter_mut().take(length) {
            *sample = self.ready.pop_front().unwrap_or(0);
        }
        samples.get(..length).unwrap_or_default()
    }

    /// Drops 20 ms of what waits.
    fn leave_out(&mut self, length: usize) {
        for _ in 0..64 {
            if self.ready.len() >= length {
                break;
            }
            self.step(length);
        }
        self.ready.drain(..length.min(self.ready.len()));
    }

    fn step(&mut self, length: usize) {
        match self.buffer.take() {
            Taken::Packet(packet) if packet.ticks == 0 => {
                self.noise = Some(packet.payload.first().map_or(70, |level| level & 0x7f));
            }
            Taken::Packet(packet) => {
                (self.noise, self.missing) = (None, 0);
                let mut decoded = [0; MAX_DECODED];
                let decoded = self.decoder.decode(&packet.payload, &mut decoded);
                self.ready.extend(decoded);
                let newest = decoded.iter().rev().take(length).rev();
                let start = length.saturating_sub(decoded.len());
                for (sample, new) in self.last.iter_mut().skip(start).zip(newest) {
                    *sample = *new;
                }
            }
            Taken::Missing(ticks) => match self.noise {
                Some(_) => self.fill_pause(length),
                None => self.conceal(ticks),
            },
            Taken::Pause => self.fill_pause(length),
        }
    }

    /// Fills in for what is missing: the last 20 ms again, fading.
    fn conceal(&mut self, ticks: u32) {
        let samples =
            u64::from(ticks) * u64::from(self.codec().sample_rate()) / u64::from(self.codec().clock_rate());
        let loudness = CONCEALED.get(self.missing).copied().unwrap_or(0.0);
        self.missing += 1;
        let repeated = self
            .last
            .iter()
            .take(samples as usize)
            .map(|sample| (f32::from(*sample) * loudness) as i16);
        self.ready.extend(repeated);
    }

    fn fill_pause(&mut self, length: usize) {
        let amplitude = match self.noise {
            // Evenly spread, so louder by the root of three at the edge than on average.
            Some(level) => 32_768.0 * 1.73 * 10f32.powf(-f32::from(level.max(LOUDEST_NOISE)) / 20.0),
            None => 0.0,
        };
        for _ in 0..length {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let even = (self.random >> 16) as f32 / 32_768.0 - 1.0;
            self.ready.push_back((even * amplitude) as i16);
        }
    }
}

/// Encodes what one stream sends.
#[derive(Debug)]
pub struct Speaker {
    encoder: Encoder,
    resampler: Option<Resampler>,
    /// To be sent, at the rate of the codec.
    waiting: Vec<i16>,
}

impl Speaker {
    /// None for a codec that was not built in.
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Self {
            encoder: Encoder::new(codec)?,
            resampler: None,
            waiting: Vec::new(),
        })
    }

    /// What it encodes to.
    pub const fn codec(&self) -> Codec {
        self.encoder.codec()
    }

    /// Takes linear samples at `rate` Hz to be sent. More than can wait pushes out the oldest.
    pub fn push(&mut self, samples: &[i16], rate: u32) {
        let ours = self.codec().sample_rate();
        if self
            .resampler
            .as_ref()
            .is_none_or(|known| known.from() != rate || known.to() != ours)
        {
            self.resampler = Resampler::new(rate, ours);
        }
        if let Some(resampler) = &mut self.resampler {
            resampler.push(samples, &mut self.waiting);
        }
        let most = ours as usize * MAX_WAITING / 1000;
        let excess = self.waiting.len().saturating_sub(most);
        self.waiting.drain(..excess);
    }

    /// Samples that are missing for so many milliseconds, at `rate` Hz.
    pub fn wants(&self, milliseconds: usize, rate: u32) -> usize {
        let ours = self.codec().sample_rate() as usize;
        let missing = (ours * milliseconds / 1000).saturating_sub(self.waiting.len());
        (missing * rate as usize).div_ceil(ours.max(1))
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Encodes the next milliseconds, silence where nothing waits. Returns how many bytes it filled.
    pub fn take(&mut self, milliseconds: usize, payload: &mut [u8]) -> usize {
        let count = self.codec().sample_rate() as usize * milliseconds / 1000;
        if self.waiting.len() < count {
            self.waiting.resize(count, 0);
        }
        let length = self.encoder.encode(&self.waiting[..count], payload);
        self.waiting.drain(..count);
        length
    }
}

/// Samples in 20 ms.
fn frame_of(codec: Codec) -> usize {
    (codec.sample_rate() as usize / 50).min(MAX_FRAME)
}

#[cfg(test)]
mod tests;
