//! Encoders and decoders of all codecs behind one type each, so that nobody else names the crates that do the work.

use std::fmt;

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

#[cfg(feature = "opus")]
use super::opus::{OpusDecoder, OpusEncoder};
use super::{Codec, Law};

/// Samples that one packet decodes to at most: 120 ms.
pub const MAX_DECODED: usize = 1920;

/// Makes payloads of one stream.
pub struct Encoder {
    codec: Codec,
    state: EncoderState,
}

enum EncoderState {
    G711(Law),
    G722(Box<G722Encoder>),
    #[cfg(feature = "opus")]
    Opus(OpusEncoder),
}

impl Encoder {
    /// None for a codec that was not built in.
    pub fn new(codec: Codec) -> Option<Self> {
        let state = match codec {
            Codec::G711(law) => EncoderState::G711(law),
            Codec::G722 => EncoderState::G722(Box::new(G722Encoder::new())),
            #[cfg(feature = "opus")]
            Codec::Opus => EncoderState::Opus(OpusEncoder::new()?),
            #[cfg(not(feature = "opus"))]
            Codec::Opus => return None,
        };
        Some(Self { codec, state })
    }

    /// What it encodes to.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Encodes linear samples at the codec's sample rate, 10, 20, 40 or 60 ms of them. Returns how many bytes of
    /// `payload` it filled: none if they do not fit.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        match &mut self.state {
            EncoderState::G711(law) => {
                for (byte, sample) in payload.iter_mut().zip(samples) {
                    *byte = law.encode(*sample);
                }
                samples.len().min(payload.len())
            }
            EncoderState::G722(encoder) => encoder.encode_into(samples, payload).unwrap_or(0),
            #[cfg(feature = "opus")]
            EncoderState::Opus(encoder) => encoder.encode(samples, payload),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Encoder({})", self.codec.name())
    }
}

/// Reads payloads of one stream.
pub struct Decoder {
    codec: Codec,
    state: DecoderState,
}

enum DecoderState {
    G711(Law),
    G722(Box<G722Decoder>),
    #[cfg(feature = "opus")]
    Opus(OpusDecoder),
}

impl Decoder {
    /// None for a codec that was not built in.
    pub fn new(codec: Codec) -> Option<Self> {
        let state = match codec {
            Codec::G711(law) => DecoderState::G711(law),
            Codec::G722 => DecoderState::G722(Box::new(G722Decoder::new())),
            #[cfg(feature = "opus")]
            Codec::Opus => DecoderState::Opus(OpusDecoder::new()?),
            #[cfg(not(feature = "opus"))]
            Codec::Opus => return None,
        };
        Some(Self { codec, state })
    }

    /// What it decodes.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes a payload to linear samples at the codec's sample rate. Returns how many it wrote: at most 120 ms, none
    /// for a payload that is broken.
    pub fn decode<'a>(&mut self, payload: &[u8], samples: &'a mut [i16; MAX_DECODED]) -> &'a [i16] {
        let count = match &mut self.state {
            DecoderState::G711(law) => {
                for (sample, byte) in samples.iter_mut().zip(payload) {
                    *sample = law.decode(*byte);
                }
                payload.len().min(MAX_DECODED)
            }
            DecoderState::G722(decoder) => {
                let payload = payload.get(..MAX_DECODED / 2).unwrap_or(payload);
                decoder.decode_into(payload, samples).unwrap_or(0)
            }
            #[cfg(feature = "opus")]
            DecoderState::Opus(decoder) => decoder.decode(payload, samples),
        };
        samples.get(..count).unwrap_or_default()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Decoder({})", self.codec.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::tests::{built_in, delay_and_match, speech};

    #[test]
    fn every_codec_gives_back_what_it_was_given() {
        for codec in built_in() {
            let rate = codec.sample_rate();
            let given = speech(rate, 4.0);
            for milliseconds in [10, 20, 40, 60] {
                let (mut encoder, mut decoder) = (Encoder::new(codec).unwrap(), Decoder::new(codec).unwrap());
                let mut back = Vec::new();
                for frame in given.chunks_exact(rate as usize * milliseconds / 1000) {
                    let mut payload = [0; 480];
                    let length = encoder.encode(frame, &mut payload);
                    assert!(length > 0, "{codec:?} {milliseconds} ms");
                    let ticks = codec.clock_rate() * milliseconds as u32 / 1000;
                    assert_eq!(codec.ticks(&payload[..length]), ticks, "{codec:?}");
                    let mut samples = [0; MAX_DECODED];
                    let decoded = decoder.decode(&payload[..length], &mut samples);
                    assert_eq!(decoded.len(), frame.len(), "{codec:?} {milliseconds} ms");
                    back.extend_from_slice(decoded);
                }
                let (delay, matched) = delay_and_match(&given, &back, rate as usize / 50);
                // A codec of waveforms is judged by noise, Opus by likeness: it is free to change the phase.
                let (least, lag) = match codec {
                    Codec::G711(_) => (0.999, 0),
                    Codec::G722 => (0.995, 30),
                    Codec::Opus => (0.9, 320),
                };
                assert!(matched.correlation > least, "{codec:?} {matched:?}");
                assert!(matched.level.abs() < 1.0, "{codec:?} {matched:?}");
                assert!(delay <= lag, "{codec:?}: {delay}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_bounded_number_of_samples(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1400), 1..12),
        ) {
            for codec in built_in() {
                let mut decoder = Decoder::new(codec).unwrap();
                for payload in &payloads {
                    let mut samples = [0; MAX_DECODED];
                    prop_assert!(decoder.decode(payload, &mut samples).len() <= MAX_DECODED);
                    prop_assert!(codec.ticks(payload) <= 5760.max(payload.len() as u32));
                }
            }
        }

        #[test]
        fn any_samples_encode_to_a_bounded_payload(
            frames in prop::collection::vec(prop::collection::vec(any::<i16>(), 960), 1..4),
        ) {
            for codec in built_in() {
                let mut encoder = Encoder::new(codec).unwrap();
                for frame in &frames {
                    for samples in frame.chunks_exact(codec.sample_rate() as usize / 50) {
                        let mut payload = [0; 160];
                        prop_assert!((1..=160).contains(&encoder.encode(samples, &mut payload)));
                        // What does not fit is refused, not written past the end.
                        prop_assert!(encoder.encode(samples, &mut payload[..3]) <= 3);
                    }
                }
            }
        }
    }
}
