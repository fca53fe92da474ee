//! A single steady tone of any frequency: its frequency, level and length.

use std::f32::consts::TAU;

use super::FRAME_SECONDS;
use super::goertzel::{Bank, power, power_of};
use crate::codec::CLOCK_RATE;

/// Below this level, in dBm0, nothing is looked for.
const FAINTEST: f32 = -42.0;
/// The part of a frame's power that a sine must explain by its correlations, before it is looked at closely.
const PURE: f32 = 0.55;
/// The part of 40 ms that one frequency must hold.
const SHARE: f32 = 0.72;
/// Around the estimate, which noise disturbs, and then around the best of these, in Hz.
const COARSE: [f32; 8] = [-105.0, -75.0, -45.0, -15.0, 15.0, 45.0, 75.0, 105.0];
const OFFSETS: [f32; 8] = [-35.0, -25.0, -15.0, -5.0, 5.0, 15.0, 25.0, 35.0];
const STEP: f32 = 10.0;
/// How far two frames of one tone may differ.
const SAME_FREQUENCY: f32 = 0.035;
/// In power: 3 dB.
const SAME_LEVEL: f32 = 2.0;

/// A tone that began and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    /// In Hz.
    pub frequency: f32,
    /// In milliseconds, to some 20.
    pub length: u32,
    pub power: f32,
}

/// Follows single tones frame by frame.
#[derive(Debug, Default)]
pub(super) struct SingleEar {
    current: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    frequencies: f32,
    frames: u32,
    power: f32,
}

impl Run {
    fn frequency(&self) -> f32 {
        self.frequencies / self.frames as f32
    }
}

/// What a frame did to the tone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// The frequency of the single tone in this frame, if there is one.
    pub now: Option<f32>,
    /// A tone that ended before this frame.
    pub ended: Option<Segment>,
}

impl SingleEar {
    /// Takes 40 ms of which the second half is new; `lost` says that it was not received.
    pub fn hear(&mut self, window: &[f32], lost: bool) -> Look {
        if lost {
            // Nobody knows; a tone is thought to go on.
            if let Some(run) = &mut self.current {
                run.frequencies += run.frequency();
                run.frames += 1;
            }
            return Look {
                now: self.current.map(|run| run.frequency()),
                ended: None,
            };
        }
        let found = find(window);
        let ended = match (&mut self.current, found) {
            (Some(run), Some((frequency, power))) if is_same(run, frequency, power) => {
                run.frequencies += frequency;
                run.frames += 1;
                run.power = power;
                None
            }
            _ => {
                let next = found.map(|(frequencies, power)| Run {
                    frequencies,
                    frames: 1,
                    power,
                });
                std::mem::replace(&mut self.current, next)
            }
        };
        Look {
            now: found.map(|(frequency, _)| frequency),
            ended: ended.map(|run| Segment {
                frequency: run.frequency(),
                // Windows half of which was silence did not count.
                length: ((run.frames + 1) as f32 * FRAME_SECONDS * 1000.0) as u32,
                power: run.power,
            }),
        }
    }
}

fn is_same(run: &Run, frequency: f32, power: f32) -> bool {
    let near = (frequency - run.frequency()).abs() <= SAME_FREQUENCY * frequency;
    // The first frame of a tone may be half empty.
    let steady = run.frames == 1 || (power <= SAME_LEVEL * run.power && run.power <= SAME_LEVEL * power);
    near && steady
}

/// The single tone that 40 ms consist of: frequency and power.
fn find(window: &[f32]) -> Option<(f32, f32)> {
    let newest = window.get(window.len() / 2..)?;
    if power(newest) < power_of(FAINTEST) {
        return None;
    }
    let estimate = estimate(newest)?;
    let (coarse, _, _) = strongest(window, estimate, COARSE)?;
    let estimate = estimate + COARSE[coarse];
    let (lane, most, powers) = strongest(window, estimate, OFFSETS)?;
    if most < SHARE * power(window) {
        return None;
    }
    // Between three lanes the powers lie on a parabola, nearly.
    let middle = lane.clamp(1, 6);
    let (left, peak, right) = (powers[middle - 1], powers[middle], powers[middle + 1]);
    let curve = left - 2.0 * peak + right;
    let shift = match curve < 0.0 {
        true => (0.5 * (left - right) / curve).clamp(-1.5, 1.5),
        false => 0.0,
    };
    Some((estimate + OFFSETS[middle] + shift * STEP, most))
}

/// The strongest of eight frequencies around one: its place, its power, all powers.
fn strongest(window: &[f32], around: f32, offsets: [f32; 8]) -> Option<(usize, f32, [f32; 8])> {
    let powers = Bank::new(offsets.map(|offset| around + offset)).powers(window);
    let most = powers.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    most.map(|(lane, power)| (lane, power, powers))
}

/// Pisarenko's estimate for one sine: its power and frequency from two correlations that white noise leaves alone.
fn estimate(samples: &[f32]) -> Option<f32> {
    let correlation = |lag: usize| -> f32 {
        let later = samples.get(lag..).unwrap_or_default();
        let sum: f32 = later.iter().zip(samples).map(|(a, b)| a * b).sum();
        sum / (later.len() as f32).max(1.0)
    };
    let (all, one, two) = (correlation(0), correlation(1), correlation(2));
    let power = (two * two + 8.0 * one * one).sqrt().midpoint(-two);
    if power < PURE * all || power <= one.abs() {
        return None;
    }
    Some((one / power).acos() * CLOCK_RATE as f32 / TAU)
}
