//! Audio files: any common file becomes telephone audio.
//!
//! Input: the bytes of a WAV, MP3, Ogg Vorbis or FLAC file, told apart by content, never by name; any rate, mono or
//! stereo. Output: [`Pcm`], and from it 8000 samples a second. Size and duration are bounded before memory is
//! spent; a file that is cut short or damaged in part gives what could be decoded, one that has nothing to play
//! gives an [`AudioError`] that says so.

mod level;
pub(crate) mod resample;

use std::io::{Cursor, Write};
use std::time::Duration;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

pub use level::{Level, edge_silence, level, normalise, peak_dbfs, rms_dbfs};
pub use resample::resample;

/// The rate of telephone audio, in samples a second.
pub const TELEPHONE_RATE: u32 = 8000;
/// The largest file that is looked at, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The longest recording that is decoded.
pub const MAX_DURATION: Duration = Duration::from_secs(600);

/// Sample rates outside this range are taken for damage, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4000..=384_000;
const MAX_CHANNELS: usize = 8;

/// Why a file is not audio that can be played.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    #[error("the file is empty")]
    Empty,
    #[error("the file has {got} bytes; at most {MAX_BYTES} are read")]
    TooLarge { got: usize },
    #[error("this is not a WAV, MP3, Ogg Vorbis or FLAC file")]
    UnknownFormat,
    #[error("the file has no sound track that can be decoded: {0}")]
    NoTrack(String),
    #[error("a sample rate of {0} Hz cannot be right; 4000 to 384000 Hz are read")]
    Rate(u32),
    #[error("the file has {0} channels; at most {MAX_CHANNELS} are read")]
    Channels(usize),
    #[error("the recording is longer than {} minutes", MAX_DURATION.as_secs() / 60)]
    TooLong,
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("the recording is silent from beginning to end")]
    Silent,
}

/// Decoded sound: one channel at the file's own rate, samples from -1.0 to 1.0.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    rate: u32,
    samples: Vec<f32>,
}

impl Pcm {
    pub fn new(rate: u32, samples: Vec<f32>) -> Self {
        Self {
            rate: rate.max(1),
            samples,
        }
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate))
    }

    /// The sound at another rate, without what that rate cannot carry.
    pub fn at_rate(&self, rate: u32) -> Self {
        Self {
            rate,
            samples: resample(&self.samples, self.rate, rate),
        }
    }

    /// The sound as the telephone carries it: 8000 linear samples a second.
    pub fn telephone(&self) -> Vec<i16> {
        to_linear(&resample(&self.samples, self.rate, TELEPHONE_RATE))
    }

    /// The sound trimmed at both ends and brought to the level of prompts.
    ///
    /// Errors: [`AudioError::Silent`] when there is nothing to bring up.
    pub fn normalised(&self) -> Result<Self, AudioError> {
        let samples = normalise(&self.samples, self.rate).ok_or(AudioError::Silent)?;
        Ok(Self {
            rate: self.rate,
            samples,
        })
    }
}

/// Samples from -1.0 to 1.0 as 16-bit linear ones.
pub fn to_linear(samples: &[f32]) -> Vec<i16> {
    samples
        .iter()
        .map(|sample| (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16)
        .collect()
}

/// Decodes a whole file.
pub fn decode(bytes: &[u8]) -> Result<Pcm, AudioError> {
    match bytes.len() {
        0 => return Err(AudioError::Empty),
        got if got > MAX_BYTES => return Err(AudioError::TooLarge { got }),
        _ => {}
    }
    let mut reader = open(bytes)?;
    let (track, mut decoder) = decoder_for(reader.as_ref())?;
    let mut sound = Collected::default();
    let mut damage = None;
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                damage = Some(error.to_string());
                break;
            }
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(decoded) => sound.add(&decoded)?,
            Err(SymphoniaError::DecodeError(fault)) => damage = Some(fault.to_owned()),
            Err(error) => {
                damage = Some(error.to_string());
                break;
            }
        }
    }
    sound.finish(damage)
}

fn open(bytes: &[u8]) -> Result<Box<dyn FormatReader + '_>, AudioError> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), MediaSourceStreamOptions::default());
    symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            source,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| match error {
            SymphoniaError::DecodeError(fault) => AudioError::Damaged(fault.to_owned()),
            SymphoniaError::LimitError(fault) => AudioError::Damaged(fault.to_owned()),
            _ => AudioError::UnknownFormat,
        })
}

fn decoder_for(reader: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), AudioError> {
    let none = || AudioError::NoTrack("it has none".to_owned());
    let track = reader.default_track(TrackType::Audio).ok_or_else(none)?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|codec| codec.audio())
        .ok_or_else(none)?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| AudioError::NoTrack(error.to_string()))?;
    Ok((track.id, decoder))
}

/// Sound decoded so far, channels already mixed into one.
#[derive(Default)]
struct Collected {
    rate: u32,
    samples: Vec<f32>,
    interleaved: Vec<f32>,
}

impl Collected {
    fn add(&mut self, decoded: &symphonia::core::audio::GenericAudioBufferRef<'_>) -> Result<(), AudioError> {
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if !RATES.contains(&rate) || (self.rate != 0 && self.rate != rate) {
            return Err(AudioError::Rate(rate));
        }
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(AudioError::Channels(channels));
        }
        self.rate = rate;
        if self.samples.len() + decoded.frames() > MAX_DURATION.as_secs() as usize * rate as usize {
            return Err(AudioError::TooLong);
        }
        self.interleaved.clear();
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        let frames = self.interleaved.chunks_exact(channels);
        self.samples
            .extend(frames.map(|frame| finite(frame.iter().sum::<f32>() / channels as f32)));
        Ok(())
    }

    fn finish(self, damage: Option<String>) -> Result<Pcm, AudioError> {
        match (self.samples.is_empty(), damage) {
            (true, Some(fault)) => Err(AudioError::Damaged(fault)),
            (true, None) => Err(AudioError::Damaged("it holds no sound".to_owned())),
            (false, _) => Ok(Pcm {
                rate: self.rate,
                samples: self.samples,
            }),
        }
    }
}

/// Floating-point files may hold anything.
fn finite(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

/// The sound as a WAV file: 16 bits, one channel.
pub fn encode_wav(samples: &[i16], rate: u32) -> Result<Vec<u8>, hound::Error> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::with_capacity(samples.len() * 2 + 44));
    let mut writer = hound::WavWriter::new(&mut file, format)?;
    let mut block = writer.get_i16_writer(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    samples.iter().for_each(|sample| block.write_sample(*sample));
    block.flush()?;
    writer.finalize()?;
    file.flush().map_err(hound::Error::IoError)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests;
