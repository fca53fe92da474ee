//! How loud a recording is, and how to bring it to the level of prompts.

use std::time::Duration;

/// The level of prompts over their whole length, in dB below full scale.
const PROMPT_RMS_DBFS: f64 = -18.0;
/// The highest peak a prompt may have, in dB below full scale.
const PROMPT_PEAK_DBFS: f64 = -2.0;
/// Silence kept at both ends.
const PROMPT_EDGE: Duration = Duration::from_millis(60);
/// What counts as silence: this far below the loudest moment, in dB.
const SILENCE_BELOW_LOUDEST: f64 = 38.0;
/// No recording is raised by more than this, in dB: what is so faint is noise.
const MAX_GAIN: f64 = 40.0;

/// Measurements of a recording, all of its length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    pub rms_dbfs: f64,
    pub peak_dbfs: f64,
    pub leading_silence: Duration,
    pub trailing_silence: Duration,
}

/// Measures linear samples.
pub fn level(samples: &[i16], rate: u32) -> Level {
    let (leading_silence, trailing_silence) = edge_silence(samples, rate);
    Level {
        rms_dbfs: rms_dbfs(samples),
        peak_dbfs: peak_dbfs(samples),
        leading_silence,
        trailing_silence,
    }
}

/// The level over the whole length in dB below full scale; negative infinity for silence.
pub fn rms_dbfs(samples: &[i16]) -> f64 {
    decibels(rms(samples.iter().map(|sample| unit(*sample))))
}

/// The highest peak in dB below full scale; negative infinity for silence.
pub fn peak_dbfs(samples: &[i16]) -> f64 {
    decibels(
        samples
            .iter()
            .map(|sample| unit(*sample).abs())
            .fold(0.0, f64::max),
    )
}

/// How long it is silent before the first sound and after the last. All of it, and nothing, when there is no sound.
pub fn edge_silence(samples: &[i16], rate: u32) -> (Duration, Duration) {
    let samples: Vec<f32> = samples.iter().map(|sample| unit(*sample) as f32).collect();
    let duration = |count: usize| Duration::from_secs_f64(count as f64 / f64::from(rate.max(1)));
    match sounding(&samples, rate) {
        Some((first, last)) => (duration(first), duration(samples.len() - last)),
        None => (duration(samples.len()), Duration::ZERO),
    }
}

/// Trims silence at both ends, brings the level to that of prompts and holds peaks down without clipping.
/// `None` when there is no sound.
pub fn normalise(samples: &[f32], rate: u32) -> Option<Vec<f32>> {
    let (first, last) = sounding(samples, rate)?;
    let edge = (PROMPT_EDGE.as_secs_f64() * f64::from(rate)) as usize;
    let mut trimmed = samples[first.saturating_sub(edge)..(last + edge).min(samples.len())].to_vec();
    fade(&mut trimmed, rate as usize / 200);
    let goal = 10f64.powf(PROMPT_RMS_DBFS / 20.0);
    let mut gain = 1.0;
    let mut result = trimmed.clone();
    for _ in 0..8 {
        gain *= goal / rms(result.iter().map(|sample| f64::from(*sample))).max(1e-9);
        gain = gain.min(10f64.powf(MAX_GAIN / 20.0));
        result = limit(&trimmed, gain as f32, rate);
    }
    Some(result)
}

/// Holds samples under the ceiling by turning the gain down smoothly from 4 ms before a peak to 4 ms after it.
fn limit(samples: &[f32], gain: f32, rate: u32) -> Vec<f32> {
    let ceiling = 10f64.powf(PROMPT_PEAK_DBFS / 20.0) as f32;
    let reach = (rate as usize / 250).max(1);
    let need = |sample: f32| (ceiling / (sample * gain).abs().max(1e-9)).min(1.0);
    let held: Vec<f32> = (0..samples.len())
        .map(|at| {
            let near = &samples[at.saturating_sub(reach)..(at + reach + 1).min(samples.len())];
            need(near.iter().fold(0.0f32, |most, sample| most.max(sample.abs())))
        })
        .collect();
    (0..samples.len())
        .map(|at| {
            let near = &held[at.saturating_sub(reach)..(at + reach + 1).min(held.len())];
            let smooth = near.iter().sum::<f32>() / near.len() as f32;
            samples[at] * gain * smooth.min(need(samples[at]))
        })
        .collect()
}

fn fade(samples: &mut [f32], length: usize) {
    let length = length.min(samples.len() / 4);
    let end = samples.len();
    for at in 0..length {
        let gain = at as f32 / length as f32;
        samples[at] *= gain;
        samples[end - 1 - at] *= gain;
    }
}

/// First and one past the last sample that sounds, by steps of 5 ms.
fn sounding(samples: &[f32], rate: u32) -> Option<(usize, usize)> {
    let step = (rate as usize / 200).max(1);
    let levels: Vec<f64> = samples
        .chunks(step)
        .map(|chunk| rms(chunk.iter().map(|sample| f64::from(*sample))))
        .collect();
    let loudest = levels.iter().copied().fold(0.0, f64::max);
    if loudest < 1e-4 {
        return None;
    }
    let threshold = loudest * 10f64.powf(-SILENCE_BELOW_LOUDEST / 20.0);
    let first = levels.iter().position(|level| *level > threshold)?;
    let last = levels.iter().rposition(|level| *level > threshold)?;
    Some((first * step, ((last + 1) * step).min(samples.len())))
}

fn rms(samples: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = samples.len().max(1) as f64;
    (samples.map(|sample| sample * sample).sum::<f64>() / count).sqrt()
}

fn unit(sample: i16) -> f64 {
    f64::from(sample) / 32_768.0
}

fn decibels(value: f64) -> f64 {
    20.0 * value.log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio_file::to_linear;

    const RATE: u32 = 8000;

    fn speech_like(milliseconds: usize, height: f32) -> Vec<f32> {
        (0..milliseconds * 8)
            .map(|at| {
                let time = at as f32 / 8000.0;
                let syllables = 0.5 + 0.5 * (time * 25.0).sin();
                let burst = if at % 400 < 8 { 4.0 } else { 1.0 };
                height * burst * syllables * (time * 2000.0).sin()
            })
            .collect()
    }

    fn with_silence(before: usize, sound: Vec<f32>, after: usize) -> Vec<f32> {
        [vec![0.0; before * 8], sound, vec![0.0; after * 8]].concat()
    }

    #[test]
    fn full_scale_square_is_at_zero_decibels() {
        let square: Vec<i16> = (0..800)
            .map(|at| if at % 2 == 0 { i16::MIN } else { i16::MAX })
            .collect();
        assert!(rms_dbfs(&square).abs() < 0.01 && peak_dbfs(&square).abs() < 0.01);
        assert_eq!(rms_dbfs(&[0; 80]), f64::NEG_INFINITY);
    }

    #[test]
    fn silence_at_both_ends_is_measured() {
        let samples = to_linear(&with_silence(300, speech_like(1000, 0.1), 90));
        let (before, after) = edge_silence(&samples, RATE);
        assert!(before.as_millis().abs_diff(300) <= 10, "{before:?}");
        assert!(after.as_millis().abs_diff(90) <= 25, "{after:?}");
    }

    #[test]
    fn faint_and_loud_recordings_come_to_the_same_level_without_clipping() {
        for height in [0.004, 0.05, 0.24] {
            let samples = normalise(&with_silence(400, speech_like(2000, height), 700), RATE).unwrap();
            let level = level(&to_linear(&samples), RATE);
            assert!((-19.0..=-17.0).contains(&level.rms_dbfs), "{height}: {level:?}");
            assert!(level.peak_dbfs <= -1.9, "{height}: {level:?}");
            assert!(
                level.leading_silence.as_millis() <= 80 && level.trailing_silence.as_millis() <= 80,
                "{level:?}"
            );
        }
    }

    #[test]
    fn silence_cannot_be_brought_up() {
        assert_eq!(normalise(&[0.0; 8000], RATE), None);
        assert_eq!(normalise(&[], RATE), None);
    }
}
