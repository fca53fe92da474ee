//! Keys as tones in the audio (DTMF, ITU-T Q.23 and Q.24).
//!
//! Windows of 12.75 ms, each overlapping half of the one before, are judged alone: two tones of the right groups, near
//! enough in strength, that are nearly all there is. A press is what four windows in a row agree on; it is over once
//! five do not.

use super::goertzel::{Bank, power, power_of};
use crate::digit::Digit;

const WINDOW: usize = 102;
const HOP: usize = WINDOW / 2;
/// The low group, then the high one, in Hz.
const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
/// Keys by row and column.
const KEYS: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];
/// Level of the stronger tone at least, in dBm0.
const FAINTEST: f32 = -41.0;
/// High group over low group, at most and at least: +4 and −8 dB, with what a frequency that is off loses.
const TWIST: std::ops::RangeInclusive<f32> = 0.07..=4.0;
/// A tone is so much stronger than the others of its group: 4 dB, for a strong low tone leaks into the high group.
const STANDS_OUT: f32 = 2.5;
/// The part of all power that is in the two tones. Speech spreads over many.
const SHARE: f32 = 0.62;
/// The high tone's second harmonic, over the tone: a voice has harmonics.
const HARMONIC: f32 = 0.1;
/// Windows in a row that make a press (32 ms).
const PRESSED: u8 = 4;
/// What windows without the tones must add up to before a press is over: two each, one each where packets were lost.
const RELEASED: u8 = 10;

/// Tells keys in audio once each.
#[derive(Debug)]
pub(super) struct DigitEar {
    bank: Bank,
    window: [f32; WINDOW],
    /// Samples since the last window was judged.
    fresh: usize,
    /// Samples until nothing lost is left in the window.
    lost_for: usize,
    /// Samples that are not looked at: the press came another way.
    muted: u32,
    candidate: Option<Digit>,
    hits: u8,
    down: Option<Digit>,
    absent: u8,
}

impl DigitEar {
    pub fn new() -> Self {
        Self {
            bank: Bank::new(FREQUENCIES),
            window: [0.0; WINDOW],
            fresh: 0,
            lost_for: 0,
            muted: 0,
            candidate: None,
            hits: 0,
            down: None,
            absent: 0,
        }
    }

    /// Tells nothing for so many samples.
    pub fn mute(&mut self, samples: u32) {
        self.muted = self.muted.max(samples);
    }

    /// The key that is down now.
    pub fn down(&self) -> Option<Digit> {
        self.down
    }

    /// Takes a sample, or silence in place of a lost one. Returns the key when a press is certain.
    pub fn hear(&mut self, sample: f32, lost: bool) -> Option<Digit> {
        self.muted = self.muted.saturating_sub(1);
        self.lost_for = if lost {
            WINDOW
        } else {
            self.lost_for.saturating_sub(1)
        };
        self.window[WINDOW - HOP + self.fresh] = sample;
        self.fresh += 1;
        if self.fresh < HOP {
            return None;
        }
        let found = self.judge();
        let lost = self.lost_for > 0;
        self.window.copy_within(HOP.., 0);
        self.fresh = 0;
        self.take(found, lost).filter(|_| self.muted == 0)
    }

    fn judge(&self) -> Option<Digit> {
        let all = power(&self.window);
        if all < power_of(FAINTEST) {
            return None;
        }
        let powers = self.bank.powers(&self.window);
        let (row, low) = strongest(&powers[..4])?;
        let (column, high) = strongest(&powers[4..])?;
        let clear =
            low.max(high) >= power_of(FAINTEST) && TWIST.contains(&(high / low)) && low + high >= SHARE * all;
        if !clear || self.has_harmonic(FREQUENCIES[4 + column], high) {
            return None;
        }
        Digit::try_from(KEYS[row][column]).ok()
    }

    fn has_harmonic(&self, frequency: f32, tone: f32) -> bool {
        let around = [-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0, 0.0];
        let powers = Bank::new(around.map(|offset| 2.0 * frequency + offset)).powers(&self.window);
        powers.into_iter().fold(0.0, f32::max) > HARMONIC * tone
    }

    fn take(&mut self, found: Option<Digit>, lost: bool) -> Option<Digit> {
        if self.down.is_some() && found == self.down {
            (self.absent, self.candidate, self.hits) = (0, None, 0);
            return None;
        }
        if self.down.is_some() {
            self.absent += if lost { 1 } else { 2 };
            if self.absent >= RELEASED {
                self.down = None;
            }
        }
        match found {
            Some(_) if found == self.candidate => self.hits += 1,
            Some(_) => (self.candidate, self.hits) = (found, 1),
            None if lost => {}
            None => (self.candidate, self.hits) = (None, 0),
        }
        if self.hits < PRESSED {
            return None;
        }
        (self.down, self.absent, self.candidate, self.hits) = (found, 0, None, 0);
        found
    }
}

/// The strongest of four, if it stands out.
fn strongest(powers: &[f32]) -> Option<(usize, f32)> {
    let (index, most) = powers
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let alone = powers
        .iter()
        .enumerate()
        .all(|(other, power)| other == index || power * STANDS_OUT <= most);
    alone.then_some((index, most))
}
