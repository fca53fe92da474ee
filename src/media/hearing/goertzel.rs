//! How strong a sound is at eight frequencies at once: Goertzel's recurrence in eight lanes.

use std::f32::consts::TAU;

use crate::codec::CLOCK_RATE;

/// Eight frequencies to listen for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bank {
    coefficients: [f32; 8],
}

impl Bank {
    /// `frequencies` in Hz, below 4000.
    pub fn new(frequencies: [f32; 8]) -> Self {
        Self {
            coefficients: frequencies.map(|frequency| 2.0 * (TAU * frequency / CLOCK_RATE as f32).cos()),
        }
    }

    /// The power at each frequency: for a sine that is the only sound, its mean square. Two sines disturb each other
    /// unless they are further apart than `CLOCK_RATE / samples.len()` Hz.
    pub fn powers(&self, samples: &[f32]) -> [f32; 8] {
        let (mut newer, mut older) = ([0f32; 8], [0f32; 8]);
        for &sample in samples {
            let newest: [f32; 8] =
                std::array::from_fn(|lane| sample + self.coefficients[lane] * newer[lane] - older[lane]);
            (older, newer) = (newer, newest);
        }
        let scale = 2.0 / (samples.len() as f32 * samples.len() as f32).max(1.0);
        let mut powers = [0f32; 8];
        for lane in 0..8 {
            let (newer, older) = (newer[lane], older[lane]);
            let squared = newer * newer + older * older - self.coefficients[lane] * newer * older;
            powers[lane] = squared * scale;
        }
        powers
    }
}

/// The mean square of samples.
pub(super) fn power(samples: &[f32]) -> f32 {
    let sum: f32 = samples.iter().map(|sample| sample * sample).sum();
    sum / (samples.len() as f32).max(1.0)
}

/// The mean square of a sound of this level in dBm0: a full-scale sine has 3.17 dBm0 (µ-law, ITU-T G.711).
pub(super) fn power_of(level: f32) -> f32 {
    let full_scale = 32_768.0f32 * 32_768.0 / 2.0;
    full_scale * 10f32.powf((level - 3.17) / 10.0)
}

/// The level in dBm0 of a mean square; −100 for silence.
pub(super) fn level_of(power: f32) -> f32 {
    let full_scale = 32_768.0f32 * 32_768.0 / 2.0;
    (10.0 * (power / full_scale).max(1e-11).log10() + 3.17).max(-100.0)
}
