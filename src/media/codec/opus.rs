//! Opus as a telephone speaks it: one channel, decoded and encoded at 16,000 samples a second.

use opus_rs::{Application, OpusDecoder as Inner, OpusEncoder as InnerEncoder};

use super::Codec;
use super::coder::MAX_DECODED;

/// Bits a second: wide-band speech without audible loss.
const BITRATE: i32 = 28_000;
/// Effort of 10: speech in real time at little cost.
const COMPLEXITY: i32 = 3;

/// Makes Opus packets.
pub(super) struct OpusEncoder(Box<InnerEncoder>);

impl OpusEncoder {
    pub(super) fn new() -> Option<Self> {
        let rate = i32::try_from(Codec::Opus.sample_rate()).ok()?;
        let mut inner = InnerEncoder::new(rate, 1, Application::Voip).ok()?;
        (inner.bitrate_bps, inner.complexity) = (BITRATE, COMPLEXITY);
        Some(Self(Box::new(inner)))
    }

    pub(super) fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        self.0.encode_i16(samples, samples.len(), payload).unwrap_or(0)
    }
}

/// Reads Opus packets; two channels become one.
pub(super) struct OpusDecoder {
    inner: Box<Inner>,
    decoded: Box<[f32; MAX_DECODED]>,
}

impl OpusDecoder {
    pub(super) fn new() -> Option<Self> {
        let rate = i32::try_from(Codec::Opus.sample_rate()).ok()?;
        Some(Self {
            inner: Box::new(Inner::new(rate, 1).ok()?),
            decoded: Box::new([0.0; MAX_DECODED]),
        })
    }

    pub(super) fn decode(&mut self, payload: &[u8], samples: &mut [i16; MAX_DECODED]) -> usize {
        // Without a second byte there is nothing in a packet.
        if payload.len() < 2 {
            return 0;
        }
        let decoded = self
            .inner
            .decode(payload, MAX_DECODED, &mut self.decoded[..])
            .unwrap_or(0)
            .min(MAX_DECODED);
        for (sample, value) in samples.iter_mut().zip(&self.decoded[..decoded]) {
            *sample = (value * 32_768.0) as i16; // saturates
        }
        decoded
    }
}
