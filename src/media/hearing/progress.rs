//! Call progress tones: which there are, as data, and finding them by frequencies and cadence.

use std::time::Duration;

use super::FRAME_MILLISECONDS;
use super::goertzel::{Bank, power, power_of};

/// What a tone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// The far end is busy.
    Busy,
    /// The network could not connect (fast busy).
    Reorder,
    /// The far end rings.
    Ringback,
    /// A line waits for a number.
    Dial,
    /// A fax machine calls (CNG).
    FaxCalling,
    /// A fax machine or modem answered (CED).
    FaxAnswer,
}

/// A call progress tone.
#[derive(Debug, Clone, PartialEq)]
pub struct ToneDefinition {
    pub says: Progress,
    /// One frequency, or two that sound together, in Hz: 300 to 2200.
    pub frequencies: Vec<f32>,
    /// Sound, silence, sound, … and again; empty for a tone without end.
    pub cadence: Vec<Duration>,
}

/// Why a tone cannot be listened for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ToneError {
    #[error("a tone has one or two frequencies, not {0}")]
    Frequencies(usize),
    #[error("{0} Hz is not between 300 and 2200 Hz")]
    Frequency(f32),
    #[error("two frequencies must be at least 40 Hz apart")]
    TooNear,
    #[error("a cadence is pairs of sound and silence, at most 4, each of 100 to 10000 ms")]
    Cadence,
    #[error("more than {0} tones")]
    TooMany(usize),
}

/// Tones that are listened for at most.
pub const MOST_TONES: usize = 16;

/// How long a tone without end sounds before it is believed, and one with a cadence at least.
const CONTINUOUS: u32 = 2000;
const CADENCED: u32 = 1100;
/// The part of 40 ms that the frequencies hold between them, and that the weaker holds of both.
const SHARE: f32 = 0.55;
const WEAKER: f32 = 0.12;
/// How far a single frequency may be off.
const OFF: f32 = 0.03;
const FAINTEST: f32 = -42.0;
/// A pause is quieter than the sound by so much in power (6 dB), but for the edges: so many frames.
const QUIETER: f32 = 0.25;
const STRAY: u8 = 2;

impl ToneDefinition {
    fn new(says: Progress, frequencies: &[f32], cadence: &[u64]) -> Self {
        Self {
            says,
            frequencies: frequencies.to_vec(),
            cadence: cadence
                .iter()
                .map(|length| Duration::from_millis(*length))
                .collect(),
        }
    }

    /// The tones of the North American plan, and those of fax machines (ITU-T T.30).
    pub fn north_american() -> Vec<Self> {
        vec![
            Self::new(Progress::Busy, &[480.0, 620.0], &[500, 500]),
            Self::new(Progress::Reorder, &[480.0, 620.0], &[250, 250]),
            Self::new(Progress::Ringback, &[440.0, 480.0], &[2000, 4000]),
            Self::new(Progress::Dial, &[350.0, 440.0], &[]),
            Self::new(Progress::FaxCalling, &[1100.0], &[500, 3000]),
            Self::new(Progress::FaxAnswer, &[2100.0], &[]),
        ]
    }

    /// Whether it can be listened for.
    ///
    /// # Errors
    /// What is wrong with its frequencies or its cadence.
    pub fn check(&self) -> Result<(), ToneError> {
        if !(1..=2).contains(&self.frequencies.len()) {
            return Err(ToneError::Frequencies(self.frequencies.len()));
        }
        for &frequency in &self.frequencies {
            if !(300.0..=2200.0).contains(&frequency) {
                return Err(ToneError::Frequency(frequency));
            }
        }
        if let [first, second] = self.frequencies[..]
            && (first - second).abs() < 40.0
        {
            return Err(ToneError::TooNear);
        }
        let allowed = Duration::from_millis(100)..=Duration::from_secs(10);
        let pairs = self.cadence.len().is_multiple_of(2) && self.cadence.len() <= 8;
        if !pairs || !self.cadence.iter().all(|length| allowed.contains(length)) {
            return Err(ToneError::Cadence);
        }
        Ok(())
    }
}

/// Listens for all tones of a table.
#[derive(Debug)]
pub(super) struct ProgressEar {
    /// All frequencies that sound in pairs, eight to a bank.
    banks: Vec<Bank>,
    tones: Vec<Tone>,
}

#[derive(Debug)]
struct Tone {
    says: Progress,
    sound: Sound,
    /// In milliseconds.
    cadence: Vec<u32>,
    rhythm: Rhythm,
}

#[derive(Debug, Clone, Copy)]
enum Sound {
    Single(f32),
    /// Places of both in the banks.
    Pair(usize, usize),
}

/// How far a cadence was followed.
#[derive(Debug, Default)]
struct Rhythm {
    sounding: bool,
    /// Of the sound, as last heard.
    power: f32,
    /// Of the sound or pause that lasts, in frames.
    frames: u32,
    stray: u8,
    /// Where in the cadence that is.
    place: usize,
    /// Parts of the cadence that fitted, and their time in milliseconds.
    fitted: u32,
    time: u32,
    told: bool,
}

/// A tone that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub says: Progress,
    /// How long it was listened to, in milliseconds.
    pub time: u32,
    pub confidence: u8,
}

impl ProgressEar {
    /// Definitions that cannot be listened for are left out; see [`ToneDefinition::check`].
    pub fn new(definitions: &[ToneDefinition]) -> Self {
        let mut frequencies: Vec<f32> = Vec::new();
        let mut place = |frequency: f32| {
            let known = frequencies.iter().position(|known| *known == frequency);
            known.unwrap_or_else(|| {
                frequencies.push(frequency);
                frequencies.len() - 1
            })
        };
        let usable = definitions
            .iter()
            .filter(|definition| definition.check().is_ok())
            .take(MOST_TONES);
        let tones = usable
            .filter_map(|definition| {
                let sound = match definition.frequencies[..] {
                    [frequency] => Sound::Single(frequency),
                    [first, second] => Sound::Pair(place(first), place(second)),
                    _ => return None,
                };
                Some(Tone {
                    says: definition.says,
                    sound,
                    cadence: definition
                        .cadence
                        .iter()
                        .map(|length| length.as_millis() as u32)
                        .collect(),
                    rhythm: Rhythm::default(),
                })
            })
            .collect();
        let banks = frequencies
            .chunks(8)
            .map(|chunk| {
                let mut lanes = [1000.0; 8];
                lanes[..chunk.len()].copy_from_slice(chunk);
                Bank::new(lanes)
            })
            .collect();
        Self { banks, tones }
    }

    /// Takes 40 ms of which the second half is new. `single` is the single tone in it. Tells what was found, and whether
    /// any tone of the table sounds now.
    pub fn hear(&mut self, window: &[f32], single: Option<f32>, lost: bool) -> (Option<Found>, bool) {
        let all = power(window);
        let loud = all >= power_of(FAINTEST);
        let powers: Vec<f32> = match loud && !lost {
            true => self.banks.iter().flat_map(|bank| bank.powers(window)).collect(),
            false => Vec::new(),
        };
        let (mut found, mut any) = (None, false);
        for tone in &mut self.tones {
            let sounds = match tone.sound {
                _ if lost => tone.rhythm.sounding,
                Sound::Single(frequency) => {
                    single.is_some_and(|heard| (heard - frequency).abs() <= OFF * frequency)
                }
                Sound::Pair(first, second) => {
                    let (first, second) = (
                        powers.get(first).copied().unwrap_or(0.0),
                        powers.get(second).copied().unwrap_or(0.0),
                    );
                    let both = first + second;
                    loud && both >= SHARE * all && first.min(second) >= WEAKER * both
                }
            };
            any |= sounds;
            if let Some(confidence) = tone
                .rhythm
                .beat(&tone.cadence, sounds, if lost { 0.0 } else { all })
            {
                found = Some(Found {
                    says: tone.says,
                    time: tone.rhythm.time,
                    confidence,
                });
            }
        }
        (found, any)
    }
}

impl Rhythm {
    /// Lives through a frame. Tells how sure the tone is when it first is.
    fn beat(&mut self, cadence: &[u32], sounds: bool, power: f32) -> Option<u8> {
        if sounds != self.sounding {
            self.turn(cadence, sounds);
        }
        self.frames += 1;
        if sounds && power > 0.0 {
            self.power = power;
        }
        if !sounds && power > QUIETER * self.power {
            self.stray = self.stray.saturating_add(1);
            if self.stray > STRAY {
                self.forget();
            }
        }
        let lasted = self.frames * FRAME_MILLISECONDS;
        let longest = cadence.get(self.place).copied().unwrap_or(0);
        if !sounds && lasted > longest + tolerance(longest) {
            self.forget();
        }
        let sure = match cadence {
            [] => {
                self.time = lasted;
                (sounds && lasted >= CONTINUOUS).then_some(90)
            }
            _ => {
                let slow = cadence[0] >= 1000 && self.fitted >= 1;
                let fast = self.fitted >= 3 && self.time >= CADENCED;
                (slow || fast).then(|| 90 + 2 * self.fitted.min(4) as u8)
            }
        };
        match sure {
            Some(confidence) if !self.told => {
                self.told = true;
                Some(confidence)
            }
            _ => None,
        }
    }

    /// Sound became silence, or the other way round.
    fn turn(&mut self, cadence: &[u32], sounds: bool) {
        let lasted = self.frames * FRAME_MILLISECONDS;
        let fits = |place: usize| {
            cadence
                .get(place)
                .is_some_and(|length| lasted.abs_diff(*length) <= tolerance(*length))
        };
        let was_sound = std::mem::replace(&mut self.sounding, sounds);
        (self.frames, self.stray) = (0, 0);
        // A pause of which nothing went before says nothing.
        let expected = self.place.is_multiple_of(2) == was_sound;
        if expected && fits(self.place) {
            self.fitted += 1;
            self.time += lasted;
            self.place = (self.place + 1) % cadence.len();
        } else if was_sound && fits(0) {
            self.forget();
            (self.fitted, self.time, self.place) = (1, lasted, 1);
        } else {
            self.forget();
        }
    }

    /// What was heard does not lead to the tone.
    fn forget(&mut self) {
        (self.place, self.fitted, self.time, self.told) = (0, 0, 0, false);
    }
}

/// How far a sound or pause may be from its length: the offices' clocks, and how finely we look.
fn tolerance(length: u32) -> u32 {
    length * 15 / 100 + 40
}
