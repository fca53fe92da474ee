//! Change of sample rate, offline: a windowed-sinc filter with one set of taps per phase.

use std::f64::consts::PI;

/// Zero crossings of the filter on each side: the transition band is about a tenth of the lower rate's half.
const CROSSINGS: f64 = 24.0;
/// Where the filter begins to fall, as a part of half the lower rate.
const CUTOFF: f64 = 0.94;
/// Shape of the Kaiser window: 80 dB below in the stop band.
const BETA: f64 = 7.9;
/// The most phases that get a table of their own; rates that share less are rounded to this grid.
const MAX_PHASES: u64 = 1024;

/// Samples at `source` Hz as samples at `target` Hz, of the same duration, in step with it (no delay). What lies
/// above half the lower rate is removed, so nothing folds back.
pub fn resample(samples: &[f32], source: u32, target: u32) -> Vec<f32> {
    let (source, target) = (u64::from(source.max(1)), u64::from(target.max(1)));
    if source == target || samples.is_empty() {
        return samples.to_vec();
    }
    let shared = gcd(source, target);
    let phases = (target / shared).min(MAX_PHASES);
    let taps = Taps::new(source as f64, target as f64, phases);
    let count = (samples.len() as u64 * target).div_ceil(source);
    (0..count)
        .map(|at| {
            let position = at * source; // in units of 1 / target of a source sample
            let (whole, part) = (position / target, position % target);
            taps.apply(samples, whole as usize, (part * phases / target) as usize)
        })
        .collect()
}

struct Taps {
    /// Taps on each side of the centre.
    half: usize,
    /// One row of `2 * half + 1` taps per phase.
    rows: Vec<Vec<f32>>,
}

impl Taps {
    fn new(source: f64, target: f64, phases: u64) -> Self {
        let cutoff = CUTOFF * (target / source).min(1.0);
        let half = (CROSSINGS / cutoff).ceil();
        let rows = (0..phases)
            .map(|phase| row(half, phase as f64 / phases as f64, cutoff))
            .collect();
        Self {
            half: half as usize,
            rows,
        }
    }

    fn apply(&self, samples: &[f32], centre: usize, phase: usize) -> f32 {
        let row = &self.rows[phase];
        let skipped = self.half.saturating_sub(centre);
        let first = centre.saturating_sub(self.half);
        let last = (centre + self.half + 1).min(samples.len());
        if first >= last {
            return 0.0;
        }
        dot(&samples[first..last], &row[skipped..])
    }
}

/// The taps for an output sample that lies `part` of a source sample after the centre.
fn row(half: f64, part: f64, cutoff: f64) -> Vec<f32> {
    let count = half as i64;
    let taps: Vec<f64> = (-count..=count)
        .map(|at| {
            let distance = at as f64 - part;
            sinc(distance * cutoff) * kaiser(distance / (half + 1.0))
        })
        .collect();
    let sum: f64 = taps.iter().sum(); // brought to one, so that no phase is louder than another
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

/// In eight lanes, so that the compiler can use vector instructions.
fn dot(samples: &[f32], taps: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (left, left_rest) = samples.as_chunks::<8>();
    let (right, _) = taps.as_chunks::<8>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..8 {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    let done = left.len() * 8;
    let rest: f32 = left_rest
        .iter()
        .zip(&taps[done..])
        .map(|(left, right)| left * right)
        .sum();
    lanes.iter().sum::<f32>() + rest
}

pub(crate) fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window for 80 dB, from -1 to 1.
pub(crate) fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        0.0
    } else {
        bessel(BETA * (1.0 - x * x).sqrt()) / bessel(BETA)
    }
}

/// The modified Bessel function of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for step in 1..40 {
        term *= (x / 2.0 / f64::from(step)).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let count = (seconds * f64::from(rate)) as usize;
        (0..count)
            .map(|at| (0.5 * (2.0 * PI * hertz * at as f64 / f64::from(rate)).sin()) as f32)
            .collect()
    }

    /// Largest difference in the middle, away from the ends.
    fn difference(left: &[f32], right: &[f32]) -> f32 {
        let edge = left.len() / 10;
        left.iter()
            .zip(right)
            .skip(edge)
            .take(left.len() - 2 * edge)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn tone_within_the_band_comes_through_unchanged_and_in_step() {
        for rate in [11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 7_000] {
            let telephone = resample(&tone(1000.0, rate, 0.5), rate, 8000);
            assert_eq!(telephone.len(), 4000, "{rate}");
            assert!(difference(&telephone, &tone(1000.0, 8000, 0.5)) < 0.003, "{rate}");
        }
    }

    #[test]
    fn tone_above_the_band_does_not_fold_back() {
        for rate in [16_000, 44_100, 48_000] {
            let telephone = resample(&tone(5000.0, rate, 0.5), rate, 8000);
            let loudest = telephone[400..3600]
                .iter()
                .fold(0.0f32, |most, sample| most.max(sample.abs()));
            assert!(loudest < 0.5 * 10f32.powf(-60.0 / 20.0), "{rate}: {loudest}");
        }
    }

    #[test]
    fn constant_stays_constant_in_every_phase() {
        let telephone = resample(&vec![0.25; 44_100], 44_100, 8000);
        assert!(
            telephone[200..7800]
                .iter()
                .all(|sample| (sample - 0.25).abs() < 1e-4)
        );
    }

    #[test]
    fn rates_that_share_nothing_are_still_bounded_work() {
        assert_eq!(resample(&tone(440.0, 44_101, 0.1), 44_101, 8009).len(), 801);
    }

    #[test]
    fn nothing_stays_nothing_and_one_sample_stays_one() {
        assert!(resample(&[], 44_100, 8000).is_empty());
        assert_eq!(resample(&[1.0], 44_100, 8000).len(), 1);
    }
}
