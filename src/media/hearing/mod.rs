//! Hearing what is in the audio of a stream: keys as tones, call progress tones, special information tones, answering
//! machines.
//!
//! Inputs are samples at 8 kHz with their RTP timestamps, outputs what was heard, each once, with how sure it is.
//! ITU-T E.180, Q.23, Q.24, T.30; Telcordia GR-506 for the North American tones. No clock: time is counted in samples.
//! What was lost on the way is taken as unknown, not as silence. It must never tell a tone where somebody speaks.

mod digits;
mod goertzel;
mod greeting;
mod information;
mod progress;
mod single;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{CLOCK_RATE, FRAME_TICKS};
use crate::digit::Digit;
use digits::DigitEar;
use goertzel::power;
use greeting::GreetingEar;
pub use information::Information;
use information::InformationEar;
use progress::ProgressEar;
pub use progress::{MOST_TONES, Progress, ToneDefinition, ToneError};
use single::SingleEar;

const FRAME_MILLISECONDS: u32 = 20;
const FRAME_SECONDS: f32 = 0.02;
/// A press that came as an event is not listened for in the audio for so long after (`sip.md` §6.4).
const MUTED: u32 = CLOCK_RATE / 5;
/// More samples than these are not filled up: the sender began anew.
const MOST_LOST: u32 = CLOCK_RATE / 2;

/// What to listen for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listening {
    pub digits: bool,
    /// Call progress tones; with any, also special information tones and answering machines. None: nothing of that.
    pub tones: Option<Arc<[ToneDefinition]>>,
    /// How much sound tones are listened for; digits always. None: all.
    pub tones_for: Option<Duration>,
}

impl Listening {
    /// Whether there is anything to listen for.
    pub fn is_nothing(&self) -> bool {
        !self.digits && self.tones.is_none()
    }
}

/// Something heard in the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub sound: Sound,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Speech before it, since listening began.
    pub speech_before: Duration,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// A key, told once the press is certain.
    Digit(Digit),
    /// A call progress tone, after so much of it.
    Progress { says: Progress, after: Duration },
    /// Special information tones.
    Information(Information),
    /// A greeting in one go, then a beep.
    Machine {
        greeting: Duration,
        beep: Duration,
        /// Of the beep, in Hz.
        frequency: u16,
    },
}

/// Listens to one stream.
#[derive(Debug)]
pub struct Ears {
    /// The timestamp that comes next.
    next: Option<u32>,
    digits: Option<DigitEar>,
    line: Option<LineEar>,
    heard: Vec<Heard>,
}

/// Listens for what a telephone line tells.
#[derive(Debug)]
struct LineEar {
    /// 40 ms, the second half being filled.
    window: [f32; 2 * FRAME_TICKS],
    filled: usize,
    /// Samples of the half being filled that were lost, and whether some of the other half were.
    lost: usize,
    was_lost: bool,
    /// Frames left to listen to.
    frames_left: Option<u32>,
    single: SingleEar,
    progress: ProgressEar,
    information: InformationEar,
    greeting: GreetingEar,
    /// A tone of the table sounded since the last single tone began.
    in_table: bool,
}

impl Ears {
    pub fn new(listening: &Listening) -> Self {
        Self {
            next: None,
            digits: listening.digits.then(DigitEar::new),
            line: listening.tones.as_ref().map(|tones| LineEar {
                window: [0.0; 2 * FRAME_TICKS],
                filled: 0,
                lost: 0,
                was_lost: false,
                frames_left: listening
                    .tones_for
                    .map(|time| (time.as_millis() / u128::from(FRAME_MILLISECONDS)) as u32),
                single: SingleEar::default(),
                progress: ProgressEar::new(tones),
                information: InformationEar::default(),
                greeting: GreetingEar::new(),
                in_table: false,
            }),
            heard: Vec::new(),
        }
    }

    /// Takes the samples of a packet. Those of an earlier time than heard already are not listened to.
    pub fn hear(&mut self, timestamp: u32, samples: impl ExactSizeIterator<Item = i16>) {
        let length = samples.len() as u32;
        let ahead = self.next.map_or(0, |next| timestamp.wrapping_sub(next));
        match ahead {
            1..=MOST_LOST => (0..ahead).for_each(|_| self.sample(0.0, true)),
            // A straggler, or a double: up to half a second behind.
            behind if behind > MOST_LOST.wrapping_neg() => return,
            _ => {}
        }
        self.next = Some(timestamp.wrapping_add(length));
        for sample in samples {
            self.sample(f32::from(sample), false);
        }
    }

    /// A press came as an event: its tone, and what is left of it, is not told again.
    pub fn mute(&mut self) {
        if let Some(digits) = &mut self.digits {
            digits.mute(MUTED);
        }
    }

    /// The key that is heard down now.
    pub fn digit_down(&self) -> Option<Digit> {
        self.digits.as_ref().and_then(DigitEar::down)
    }

    /// Whether there is still something to listen for.
    pub fn is_listening(&self) -> bool {
        self.digits.is_some() || self.line.is_some()
    }

    /// What was heard since this was asked last, oldest first.
    pub fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    fn sample(&mut self, sample: f32, lost: bool) {
        if let Some(digit) = self.digits.as_mut().and_then(|ear| ear.hear(sample, lost)) {
            self.heard.push(Heard {
                sound: Sound::Digit(digit),
                confidence: 100,
                speech_before: Duration::ZERO,
            });
        }
        let Some(line) = &mut self.line else { return };
        line.window[FRAME_TICKS + line.filled] = sample;
        line.filled += 1;
        line.lost += usize::from(lost);
        if line.filled == FRAME_TICKS {
            line.frame(&mut self.heard);
            if line.frames_left == Some(0) {
                self.line = None;
            }
        }
    }
}

impl LineEar {
    fn frame(&mut self, heard: &mut Vec<Heard>) {
        let lost = self.lost > 0 || self.was_lost;
        let single = self.single.hear(&self.window, lost);
        let (found, in_table) = self.progress.hear(&self.window, single.now, lost);
        let ended = single.ended.filter(|_| !self.in_table);
        let new = power(&self.window[FRAME_TICKS..]);
        let tonal = single.now.is_some() || in_table || lost;
        self.in_table = in_table || (self.in_table && single.now.is_some());
        let information = self.information.hear(ended);
        let machine = self.greeting.hear(new, tonal, ended);
        let speech_before = milliseconds(self.greeting.speech());
        let mut tell = |sound, confidence| {
            heard.push(Heard {
                sound,
                confidence,
                speech_before,
            });
        };
        if let Some(found) = found {
            let after = milliseconds(found.time);
            tell(
                Sound::Progress {
                    says: found.says,
                    after,
                },
                found.confidence,
            );
        }
        match information {
            Some(Information::Unspecified) => tell(Sound::Information(Information::Unspecified), 90),
            Some(code) => tell(Sound::Information(code), 97),
            None => {}
        }
        if let Some(machine) = machine {
            let sound = Sound::Machine {
                greeting: milliseconds(machine.greeting),
                beep: milliseconds(machine.beep.length),
                frequency: machine.beep.frequency as u16,
            };
            tell(sound, machine.confidence);
        }
        self.window.copy_within(FRAME_TICKS.., 0);
        (self.filled, self.was_lost, self.lost) = (0, self.lost > 0, 0);
        self.frames_left = self.frames_left.map(|left| left.saturating_sub(1));
    }
}

fn milliseconds(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds))
}
