//! Change of sample rate, live: a polyphase filter between rates of which one is a multiple of the other.

use crate::audio_file::resample::{kaiser, sinc};

/// Taps of each phase when going up; going down there are as many for each sample that is dropped. The transition
/// band then is 3400 to 4600 Hz beside telephone audio, 80 dB down after it.
const TAPS: usize = 36;

/// Between two rates, sample by sample.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: u32,
    to: u32,
    /// Going up, one row a phase; going down, one row.
    rows: Vec<Vec<f32>>,
    /// The newest samples, oldest first; one row of them is the past.
    window: Vec<f32>,
    /// Going down: samples to take until the next one is due.
    skip: usize,
}

impl Resampler {
    /// Rates in Hz. None if neither is a whole multiple, up to 6, of the other.
    pub fn new(from: u32, to: u32) -> Option<Self> {
        let (low, high) = (from.min(to), from.max(to));
        let ratio = high.checked_div(low).filter(|ratio| (1..=6).contains(ratio))?;
        if low * ratio != high {
            return None;
        }
        let ratio = ratio as usize;
        let prototype = prototype(ratio);
        let rows = match (from < to, ratio) {
            (_, 1) => Vec::new(),
            // Each phase is a part of the filter; the sample it falls on is as loud as before.
            (true, _) => (0..ratio)
                .map(|phase| {
                    let taps = prototype.iter().skip(phase).step_by(ratio);
                    taps.rev().map(|tap| tap * ratio as f32).collect()
                })
                .collect(),
            (false, _) => vec![prototype],
        };
        let past = rows.first().map_or(0, |row| row.len() - 1);
        Some(Self {
            from,
            to,
            rows,
            window: vec![0.0; past],
            skip: 0,
        })
    }

    /// The rate of what it takes, in Hz.
    pub const fn from(&self) -> u32 {
        self.from
    }

    /// The rate of what it makes, in Hz.
    pub const fn to(&self) -> u32 {
        self.to
    }

    /// Takes samples and adds what they make to `output`.
    pub fn push(&mut self, samples: &[i16], output: &mut Vec<i16>) {
        let Some(length) = self.rows.first().map(Vec::len) else {
            output.extend_from_slice(samples);
            return;
        };
        self.window
            .extend(samples.iter().map(|sample| f32::from(*sample)));
        let step = if self.from > self.to {
            (self.from / self.to) as usize
        } else {
            1
        };
        let mut start = self.skip;
        while let Some(window) = self.window.get(start..start + length) {
            for row in &self.rows {
                output.push(dot(window, row).round() as i16); // saturates
            }
            start += step;
        }
        let used = start.min(self.window.len());
        self.skip = start - used;
        self.window.drain(..used);
    }
}

/// A low-pass filter at half the lower rate, in samples of the higher one.
fn prototype(ratio: usize) -> Vec<f32> {
    let count = TAPS * ratio;
    let centre = (count - 1) as f64 / 2.0;
    let taps: Vec<f64> = (0..count)
        .map(|at| {
            let distance = at as f64 - centre;
            sinc(distance / ratio as f64) * kaiser(distance / (centre + 1.0))
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

/// In eight lanes, so that the compiler can use vector instructions.
fn dot(samples: &[f32], taps: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let ((left, left_rest), (right, right_rest)) = (samples.as_chunks::<8>(), taps.as_chunks::<8>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..8 {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest
        .iter()
        .zip(right_rest)
        .map(|(left, right)| left * right)
        .sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::tone;

    const RATES: [(u32, u32); 6] = [
        (8000, 16_000),
        (16_000, 8000),
        (8000, 48_000),
        (48_000, 8000),
        (16_000, 48_000),
        (48_000, 16_000),
    ];

    fn resampled(from: u32, to: u32, samples: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut output = Vec::new();
        for frame in samples.chunks(from as usize / 50) {
            resampler.push(frame, &mut output);
        }
        output
    }

    /// Root mean square away from the start, in dB of full scale.
    fn level(samples: &[i16]) -> f64 {
        let samples = &samples[samples.len() / 4..];
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        10.0 * (sum / samples.len() as f64 / 32_768f64.powi(2) + 1e-12).log10()
    }

    #[test]
    fn frames_come_out_as_long_as_they_went_in_whatever_the_rates() {
        for (from, to) in RATES {
            let mut resampler = Resampler::new(from, to).unwrap();
            for _ in 0..10 {
                let mut output = Vec::new();
                resampler.push(&vec![100; from as usize / 50], &mut output);
                assert_eq!(output.len(), to as usize / 50, "{from} to {to}");
            }
        }
        assert!(Resampler::new(8000, 44_100).is_none());
        let mut same = Vec::new();
        Resampler::new(8000, 8000).unwrap().push(&[1, 2, 3], &mut same);
        assert_eq!(same, [1, 2, 3]);
    }

    #[test]
    fn tones_in_the_band_keep_their_level_and_those_outside_are_gone() {
        for (from, to) in RATES {
            let half = f64::from(from.min(to)) / 2.0;
            for part in [0.05, 0.25, 0.5, 0.85] {
                let given = tone(part * half, from, 0.5);
                let change = level(&resampled(from, to, &given)) - level(&given);
                assert!(change.abs() < 0.1, "{from} to {to} at {part}: {change} dB");
            }
            if from > to {
                for part in [1.15, 1.5, 1.9] {
                    let given = tone(part * half, from, 0.5);
                    let left = level(&resampled(from, to, &given)) - level(&given);
                    assert!(left < -60.0, "{from} to {to} at {part}: {left} dB");
                }
            }
        }
    }

    #[test]
    fn nothing_appears_above_the_band_when_the_rate_rises() {
        let given = tone(1000.0, 8000, 0.5);
        let up = resampled(8000, 16_000, &given);
        let back = resampled(16_000, 8000, &up);
        assert!((level(&back) - level(&given)).abs() < 0.1);
        // What is left after taking the tone away is 60 dB below it.
        let measured = crate::codec::tests::residue(&up, 1000.0, 16_000);
        assert!(measured < -60.0, "{measured} dB");
    }
}
