//! Call progress tones of the North American plan, as clips that repeat cleanly.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::clip::Clip;
use crate::codec::{CLOCK_RATE, FRAME_TICKS};
use crate::digit::Digit;

/// Two seconds of 440 + 480 Hz, four of silence: the far end rings. Repeat it.
pub fn ringback() -> Clip {
    cadence(&[440.0, 480.0], -19.0, 2000, 4000)
}

/// Half a second of 480 + 620 Hz, half a second of silence: the far end is busy. Repeat it.
pub fn busy() -> Clip {
    cadence(&[480.0, 620.0], -24.0, 500, 500)
}

/// The busy tone at double speed: the network could not connect. Repeat it.
pub fn reorder() -> Clip {
    cadence(&[480.0, 620.0], -24.0, 250, 250)
}

/// A short beep over the talk: one minute is left. Play it once.
pub fn warning() -> Clip {
    cadence(&[1400.0], -20.0, 200, 0)
}

/// Special information tones of a number that is not assigned (vacant code), and a second of silence. Play it once.
pub fn vacant() -> Clip {
    let tones = [(985.2, 380, 0), (1370.6, 274, 0), (1776.7, 380, 1000)];
    let samples: Vec<i16> = tones
        .into_iter()
        .flat_map(|(frequency, on, off)| sound(&[frequency], -16.0, on, off))
        .collect();
    Clip::from_samples(&samples)
}

/// The low and the high tone of each key, by its event code (ITU-T Q.23).
const KEYS: [(f64, f64); 16] = [
    (941.0, 1336.0),
    (697.0, 1209.0),
    (697.0, 1336.0),
    (697.0, 1477.0),
    (770.0, 1209.0),
    (770.0, 1336.0),
    (770.0, 1477.0),
    (852.0, 1209.0),
    (852.0, 1336.0),
    (852.0, 1477.0),
    (941.0, 1209.0),
    (941.0, 1477.0),
    (697.0, 1633.0),
    (770.0, 1633.0),
    (852.0, 1633.0),
    (941.0, 1633.0),
];

/// 20 ms of a key as a tone: the frame of this number of a press. Low group −9 dBm0, high group −7 dBm0.
pub fn key(digit: Digit, frame: u16) -> [i16; FRAME_TICKS] {
    let (low, high) = KEYS[usize::from(digit.event() & 15)];
    let sine = |frequency: f64, level: f64, at: usize| {
        let time = at as f64 / f64::from(CLOCK_RATE);
        f64::from(i16::MAX) * 10f64.powf((level - 3.17) / 20.0) * (TAU * frequency * time).sin()
    };
    std::array::from_fn(|index| {
        let at = usize::from(frame) * FRAME_TICKS + index;
        (sine(low, -9.0, at) + sine(high, -7.0, at)).round() as i16
    })
}

/// `level` is that of each frequency in dBm0, where a full-scale sine has 3.17 dBm0 (µ-law, ITU-T G.711).
fn cadence(frequencies: &[f64], level: f64, on: u64, off: u64) -> Clip {
    Clip::from_samples(&sound(frequencies, level, on, off))
}

fn sound(frequencies: &[f64], level: f64, on: u64, off: u64) -> Vec<i16> {
    let amplitude = f64::from(i16::MAX) * 10f64.powf((level - 3.17) / 20.0);
    let (on, off) = (samples(on), samples(off));
    // 5 ms of rise and fall keep the switching from clicking.
    let ramp = samples(5);
    let sample = |index: usize| {
        let envelope = (index.min(on - 1 - index) as f64 / ramp as f64).min(1.0);
        let time = index as f64 / f64::from(CLOCK_RATE);
        let sum: f64 = frequencies
            .iter()
            .map(|frequency| (TAU * frequency * time).sin())
            .sum();
        (amplitude * envelope * sum).round() as i16
    };
    (0..on).map(sample).chain(std::iter::repeat_n(0, off)).collect()
}

fn samples(milliseconds: u64) -> usize {
    (Duration::from_millis(milliseconds).as_millis() as usize) * CLOCK_RATE as usize / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Law;

    fn level(clip: &Clip, frequency: f64, from: usize, to: usize) -> f64 {
        let bytes = &clip.bytes(Law::Mu)[from..to];
        let (mut re, mut im) = (0.0, 0.0);
        for (index, byte) in bytes.iter().enumerate() {
            let angle = TAU * frequency * index as f64 / f64::from(CLOCK_RATE);
            let sample = f64::from(Law::Mu.decode(*byte));
            re += sample * angle.cos();
            im += sample * angle.sin();
        }
        let amplitude = 2.0 * (re * re + im * im).sqrt() / bytes.len() as f64;
        20.0 * (amplitude / f64::from(i16::MAX)).log10() + 3.17
    }

    #[test]
    fn ringback_has_its_two_frequencies_and_cadence() {
        let clip = ringback();
        assert_eq!(clip.duration(), Duration::from_secs(6));
        assert!((level(&clip, 440.0, 800, 8800) + 19.0).abs() < 0.5);
        assert!((level(&clip, 480.0, 800, 8800) + 19.0).abs() < 0.5);
        assert!(level(&clip, 620.0, 800, 8800) < -50.0);
        assert!(
            clip.bytes(Law::Mu)[16_000..]
                .iter()
                .all(|byte| *byte == Law::Mu.silence())
        );
    }

    #[test]
    fn busy_and_reorder_differ_in_cadence_only() {
        assert_eq!(busy().duration(), Duration::from_secs(1));
        assert_eq!(reorder().duration(), Duration::from_millis(500));
        for clip in [busy(), reorder()] {
            assert!((level(&clip, 480.0, 200, 1800) + 24.0).abs() < 0.5);
            assert!((level(&clip, 620.0, 200, 1800) + 24.0).abs() < 0.5);
        }
    }

    #[test]
    fn the_warning_is_one_short_beep() {
        assert_eq!(warning().duration(), Duration::from_millis(200));
        assert!((level(&warning(), 1400.0, 200, 1400) + 20.0).abs() < 0.5);
    }
}
