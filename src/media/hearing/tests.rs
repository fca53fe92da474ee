use std::f32::consts::TAU;
use std::path::Path;
use std::time::Instant;

use super::goertzel::power_of;
use super::*;
use crate::codec::Law;

const KEYS: &str = "1234567890*#ABCD";
const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Numbers that repeat exactly.
struct Random(u64);

impl Random {
    /// −1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    White,
    Pink,
}

/// A line on which tones and noise are put.
struct Wire {
    samples: Vec<f32>,
}

impl Wire {
    fn new() -> Self {
        Self { samples: Vec::new() }
    }

    /// Frequencies in Hz, each with its level in dBm0, for so many milliseconds.
    fn tone(mut self, parts: &[(f32, f32)], milliseconds: u32) -> Self {
        let start = self.samples.len();
        let length = milliseconds as usize * 8;
        self.samples.extend((start..start + length).map(|at| {
            let time = at as f32 / 8000.0;
            let sine = |&(frequency, level): &(f32, f32)| {
                (2.0 * power_of(level)).sqrt() * (TAU * ((frequency * time) % 1.0)).sin()
            };
            parts.iter().map(sine).sum::<f32>()
        }));
        self
    }

    fn pause(self, milliseconds: u32) -> Self {
        self.tone(&[], milliseconds)
    }

    fn key(self, key: char, level: f32, twist: f32, off: f32, milliseconds: u32) -> Self {
        let (row, column) = place(key);
        // Twist is high over low; the stronger has the level.
        let (low, high) = (level - twist.max(0.0), level + twist.min(0.0));
        let parts = [(LOW[row] * off, low), (HIGH[column] * off, high)];
        self.tone(&parts, milliseconds)
    }

    fn with(mut self, more: &[f32]) -> Self {
        self.samples.extend_from_slice(more);
        self
    }

    /// Adds noise of a level in dBm0 all over.
    fn noise(mut self, noise: Noise, level: f32, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut poles = [0f32; 3];
        let mut made: Vec<f32> = (0..self.samples.len())
            .map(|_| {
                let white = random.next();
                if noise == Noise::White {
                    return white;
                }
                // Three poles an octave and a half apart fall by some 3 dB an octave.
                poles[0] = 0.997 * poles[0] + white * 0.029;
                poles[1] = 0.963 * poles[1] + white * 0.095;
                poles[2] = 0.57 * poles[2] + white * 0.45;
                poles.iter().sum::<f32>() + white * 0.18
            })
            .collect();
        let scale = (power_of(level) / power(&made)).sqrt();
        made.iter_mut().for_each(|sample| *sample *= scale);
        self.samples
            .iter_mut()
            .zip(&made)
            .for_each(|(sample, noise)| *sample += noise);
        self
    }

    /// As it comes out of µ-law.
    fn coded(&self) -> Vec<i16> {
        let code = |sample: &f32| Law::Mu.decode(Law::Mu.encode(sample.clamp(-32_000.0, 32_000.0) as i16));
        self.samples.iter().map(code).collect()
    }
}

fn place(key: char) -> (usize, usize) {
    let rows = ["123A", "456B", "789C", "*0#D"];
    let row = rows.iter().position(|row| row.contains(key)).unwrap();
    (row, rows[row].find(key).unwrap())
}

/// Hears 20 ms packets, without those that `lost` says.
fn hear(listening: &Listening, samples: &[i16], lost: impl Fn(usize) -> bool) -> Vec<Heard> {
    let mut ears = Ears::new(listening);
    let mut heard = Vec::new();
    for (index, packet) in samples.chunks(160).enumerate() {
        if !lost(index) {
            ears.hear(index as u32 * 160, packet.iter().copied());
            heard.extend(ears.take());
        }
    }
    heard
}

fn keys_only() -> Listening {
    Listening {
        digits: true,
        ..Listening::default()
    }
}

fn line_only() -> Listening {
    Listening {
        tones: Some(ToneDefinition::north_american().into()),
        ..Listening::default()
    }
}

fn keys_in(samples: &[i16], lost: impl Fn(usize) -> bool) -> String {
    hear(&keys_only(), samples, lost)
        .into_iter()
        .map(|heard| match heard.sound {
            Sound::Digit(digit) => char::from(digit),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn sounds_in(wire: &Wire) -> Vec<Sound> {
    let heard = hear(&line_only(), &wire.coded(), |_| false);
    heard.into_iter().map(|heard| heard.sound).collect()
}

fn progress_in(wire: &Wire) -> Vec<Progress> {
    let says = |sound| match sound {
        Sound::Progress { says, .. } => Some(says),
        _ => None,
    };
    sounds_in(wire).into_iter().filter_map(says).collect()
}

/// Level, noise, SNR in dB, factor on frequencies.
fn conditions() -> Vec<(f32, Noise, f32, f32)> {
    let mut all = Vec::new();
    for level in [-10.0, -20.0, -35.0] {
        for noise in [Noise::White, Noise::Pink] {
            for snr in [15.0, 30.0] {
                for off in [0.985, 1.0, 1.015] {
                    all.push((level, noise, snr, off));
                }
            }
        }
    }
    all
}

#[test]
fn every_key_is_told_once_at_any_level_twist_noise_and_frequency_error() {
    for (seed, (level, noise, snr, off)) in conditions().into_iter().enumerate() {
        for twist in [-8.0, -4.0, 0.0, 4.0] {
            for (on, gap) in [(40, 40), (100, 60)] {
                let mut wire = Wire::new().pause(103);
                for key in KEYS.chars() {
                    wire = wire.key(key, level, twist, off, on).pause(gap);
                }
                let wire = wire.pause(100).noise(noise, level - snr, seed as u64);
                let case = format!("{level} dBm0 {noise:?} {snr} dB {off} twist {twist} {on}/{gap}");
                assert_eq!(keys_in(&wire.coded(), |_| false), KEYS, "{case}");
            }
        }
    }
}

#[test]
fn the_same_key_again_after_40_ms_is_another_press_and_a_long_one_is_one() {
    let mut wire = Wire::new().pause(50);
    for start in 0..10 {
        wire = wire.key('5', -20.0, 0.0, 1.0, 45 + start * 3).pause(40 + start);
    }
    let wire = wire.key('7', -20.0, 0.0, 1.0, 9000).pause(60);
    assert_eq!(keys_in(&wire.coded(), |_| false), "55555555557");
}

#[test]
fn lost_packets_neither_split_a_press_nor_join_two() {
    let mut wire = Wire::new().pause(50);
    for key in "0011223344556677889900".chars() {
        wire = wire.key(key, -15.0, 0.0, 1.0, 120).pause(80);
    }
    let samples = wire.pause(100).coded();
    for seed in 0..200 {
        // One packet in ten, never two within 100 ms.
        let mut random = Random(seed);
        let mut last = 0;
        let lost: Vec<bool> = (0..samples.len() / 160 + 1)
            .map(|index| {
                let lose = random.next() > 0.8 && index >= last + 5;
                if lose {
                    last = index;
                }
                lose
            })
            .collect();
        assert_eq!(
            keys_in(&samples, |index| lost[index]),
            "0011223344556677889900",
            "{seed}"
        );
    }
    // Two in a row inside of a press.
    let wire = Wire::new().pause(50).key('8', -15.0, 0.0, 1.0, 200).pause(100);
    for first in 0..14 {
        assert_eq!(
            keys_in(&wire.coded(), |index| (first..first + 2).contains(&index)),
            "8",
            "{first}"
        );
    }
}

#[test]
fn what_is_too_short_too_faint_too_twisted_or_too_far_off_is_no_key() {
    let wire = |level, twist, off, on| {
        Wire::new()
            .pause(60)
            .key('5', level, twist, off, on)
            .pause(100)
            .coded()
    };
    assert_eq!(keys_in(&wire(-20.0, 0.0, 1.0, 23), |_| false), "");
    assert_eq!(keys_in(&wire(-46.0, 0.0, 1.0, 200), |_| false), "");
    assert_eq!(keys_in(&wire(-10.0, 9.0, 1.0, 200), |_| false), "");
    assert_eq!(keys_in(&wire(-10.0, -13.0, 1.0, 200), |_| false), "");
    assert_eq!(keys_in(&wire(-10.0, 0.0, 1.05, 200), |_| false), "");
    let single = Wire::new()
        .tone(&[(770.0, -10.0)], 500)
        .tone(&[(1336.0, -10.0)], 500);
    assert_eq!(keys_in(&single.coded(), |_| false), "");
}

#[test]
fn a_press_that_also_came_as_an_event_is_not_told_again() {
    let samples = Wire::new()
        .pause(40)
        .key('5', -15.0, 0.0, 1.0, 160)
        .pause(200)
        .key('6', -15.0, 0.0, 1.0, 100)
        .coded();
    let mut ears = Ears::new(&keys_only());
    for (index, packet) in samples.chunks(160).enumerate() {
        if (2..10).contains(&index) {
            ears.mute();
        }
        ears.hear(index as u32 * 160, packet.iter().copied());
    }
    let heard: Vec<Sound> = ears.take().into_iter().map(|heard| heard.sound).collect();
    assert_eq!(heard, [Sound::Digit(Digit::try_from('6').unwrap())]);
}

#[test]
fn doubled_and_late_packets_do_not_disturb() {
    let samples = Wire::new()
        .pause(40)
        .key('5', -15.0, 0.0, 1.0, 100)
        .pause(100)
        .coded();
    let mut ears = Ears::new(&keys_only());
    for (index, packet) in samples.chunks(160).enumerate() {
        let timestamp = (index as u32 * 160).wrapping_sub(800);
        ears.hear(timestamp, packet.iter().copied());
        ears.hear(timestamp, packet.iter().copied());
        ears.hear(timestamp.wrapping_sub(320), packet.iter().copied());
    }
    assert_eq!(ears.take().len(), 1);
}

fn cadence(pair: (f32, f32), level: f32, off: f32, jitter: f32, lengths: &[(u32, u32)]) -> Wire {
    let parts = [(pair.0 * off, level), (pair.1 * off, level)];
    let mut wire = Wire::new().pause(333);
    for (index, &(on, pause)) in lengths.iter().enumerate() {
        let stretch = if index % 2 == 0 {
            1.0 + jitter
        } else {
            1.0 - jitter
        };
        wire = wire
            .tone(&parts, (on as f32 * stretch) as u32)
            .pause((pause as f32 * stretch) as u32);
    }
    wire
}

#[test]
fn progress_tones_are_told_once_at_any_level_noise_frequency_error_and_jitter() {
    for (seed, (level, noise, snr, off)) in conditions().into_iter().enumerate() {
        for jitter in [0.0, 0.1] {
            let case = format!("{level} dBm0 {noise:?} {snr} dB {off} {jitter}");
            let noisy = |wire: Wire| wire.noise(noise, level - snr, seed as u64);
            let busy = cadence((480.0, 620.0), level, off, jitter, &[(500, 500); 6]);
            assert_eq!(progress_in(&noisy(busy)), [Progress::Busy], "{case}");
            let reorder = cadence((480.0, 620.0), level, off, jitter, &[(250, 250); 10]);
            assert_eq!(progress_in(&noisy(reorder)), [Progress::Reorder], "{case}");
            let ringback = cadence((440.0, 480.0), level, off, jitter, &[(2000, 4000); 2]);
            assert_eq!(progress_in(&noisy(ringback)), [Progress::Ringback], "{case}");
            let dial = cadence((350.0, 440.0), level, off, 0.0, &[(5000, 100)]);
            assert_eq!(progress_in(&noisy(dial)), [Progress::Dial], "{case}");
        }
    }
}

#[test]
fn a_busy_tone_is_certain_within_two_seconds_and_survives_lost_packets() {
    let samples = cadence((480.0, 620.0), -24.0, 1.0, 0.0, &[(500, 500); 3]).coded();
    for lose in 1..12 {
        let heard = hear(&line_only(), &samples, |index| index % 12 == lose);
        assert_eq!(heard.len(), 1, "{lose}: {heard:?}");
        let Sound::Progress { says, after } = heard[0].sound else {
            panic!("{heard:?}");
        };
        assert_eq!(says, Progress::Busy);
        assert!(after <= Duration::from_secs(2) && heard[0].confidence >= 90);
    }
}

#[test]
fn fax_machines_are_heard() {
    let calling = Wire::new()
        .tone(&[(1100.0, -15.0)], 500)
        .pause(3000)
        .tone(&[(1100.0, -15.0)], 500)
        .pause(200);
    assert_eq!(progress_in(&calling), [Progress::FaxCalling]);
    let answer = Wire::new().pause(500).tone(&[(2100.0, -15.0)], 2900).pause(100);
    assert_eq!(progress_in(&answer), [Progress::FaxAnswer]);
}

#[test]
fn special_information_tones_are_told_with_their_code() {
    use Information::*;
    let codes = [
        (Intercept, (913.8, 274), (1370.6, 274)),
        (Vacant, (985.2, 380), (1370.6, 274)),
        (Reorder, (913.8, 274), (1428.5, 380)),
        (NoCircuit, (985.2, 380), (1428.5, 380)),
        (Reorder, (985.2, 274), (1370.6, 380)),
        (NoCircuit, (913.8, 380), (1370.6, 380)),
    ];
    for (seed, (level, noise, snr, off)) in conditions().into_iter().enumerate() {
        for (code, first, second) in codes {
            let wire = Wire::new()
                .pause(207)
                .tone(&[(first.0 * off, level)], first.1)
                .tone(&[(second.0 * off, level)], second.1)
                .tone(&[(1776.7 * off, level)], 380)
                .pause(400)
                .noise(noise, level - snr, seed as u64);
            let case = format!("{level} dBm0 {noise:?} {snr} dB {off}");
            assert_eq!(sounds_in(&wire), [Sound::Information(code)], "{case}");
        }
    }
    let european = Wire::new()
        .tone(&[(950.0, -20.0)], 330)
        .pause(30)
        .tone(&[(1400.0, -20.0)], 330)
        .pause(30)
        .tone(&[(1800.0, -20.0)], 330)
        .pause(400);
    assert_eq!(sounds_in(&european), [Sound::Information(Unspecified)]);
}

#[test]
fn tones_of_other_countries_are_data() {
    let british = ToneDefinition {
        says: Progress::Ringback,
        frequencies: vec![400.0, 450.0],
        cadence: [400, 200, 400, 2000].map(Duration::from_millis).to_vec(),
    };
    let german = ToneDefinition {
        says: Progress::Busy,
        frequencies: vec![425.0],
        cadence: [480, 480].map(Duration::from_millis).to_vec(),
    };
    let listening = Listening {
        tones: Some([british, german].into()),
        ..Listening::default()
    };
    let rings = cadence(
        (400.0, 450.0),
        -20.0,
        1.0,
        0.0,
        &[(400, 200), (400, 2000), (400, 200), (400, 2000)],
    );
    let busy = cadence((425.0, 425.0), -26.0, 1.0, 0.0, &[(480, 480); 4]);
    for (wire, says) in [(rings, Progress::Ringback), (busy, Progress::Busy)] {
        let heard = hear(&listening, &wire.coded(), |_| false);
        assert!(
            matches!(heard[..], [Heard { sound: Sound::Progress { says: told, .. }, .. }] if told == says),
            "{says:?}: {heard:?}"
        );
    }
}

#[test]
fn definitions_that_cannot_be_heard_are_refused() {
    let tone = |frequencies: &[f32], cadence: &[u64]| ToneDefinition {
        says: Progress::Busy,
        frequencies: frequencies.to_vec(),
        cadence: cadence
            .iter()
            .map(|length| Duration::from_millis(*length))
            .collect(),
    };
    assert!(
        ToneDefinition::north_american()
            .iter()
            .all(|tone| tone.check().is_ok())
    );
    assert_eq!(tone(&[], &[]).check(), Err(ToneError::Frequencies(0)));
    assert!(tone(&[f32::NAN], &[]).check().is_err());
    assert_eq!(tone(&[440.0, 460.0], &[]).check(), Err(ToneError::TooNear));
    assert_eq!(tone(&[425.0], &[500]).check(), Err(ToneError::Cadence));
    assert_eq!(tone(&[425.0], &[50, 50]).check(), Err(ToneError::Cadence));
}

/// The shipped recordings as a telephone carries them, in an order that the seed decides.
fn speech(seconds: usize, seed: u64) -> Vec<f32> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../prompts/en");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ogg"))
        .collect();
    files.sort();
    let clips: Vec<Vec<i16>> = files
        .iter()
        .map(|path| {
            crate::audio_file::decode(&std::fs::read(path).unwrap())
                .unwrap()
                .telephone()
        })
        .collect();
    let mut random = Random(seed);
    let mut samples = Vec::new();
    while samples.len() < seconds * 8000 {
        let pick = ((random.next() + 1.0) / 2.0 * clips.len() as f32) as usize;
        let gain = 10f32.powf((random.next() * 12.0 - 8.0) / 20.0);
        // Spoken at another pitch: every voice from deep to a child's.
        let rate = 1.0 + 0.35 * random.next();
        let clip = &clips[pick.min(clips.len() - 1)];
        let length = (clip.len() as f32 / rate) as usize;
        samples.extend((0..length).map(|at| {
            let place = at as f32 * rate;
            let (index, part) = (place as usize, place.fract());
            let (a, b) = (
                clip.get(index).copied().unwrap_or(0),
                clip.get(index + 1).copied().unwrap_or(0),
            );
            gain * (f32::from(a) * (1.0 - part) + f32::from(b) * part)
        }));
        samples.extend(std::iter::repeat_n(
            0.0,
            ((random.next() + 1.0) * 4000.0) as usize,
        ));
    }
    samples
}

#[test]
fn half_an_hour_of_speech_holds_no_key_no_tone_and_no_machine() {
    let wire = Wire::new().with(&speech(30 * 60, 7));
    let listening = Listening {
        digits: true,
        ..line_only()
    };
    let samples = wire.coded();
    assert!(samples.len() >= 30 * 60 * 8000);
    let begun = Instant::now();
    let heard = hear(&listening, &samples, |_| false);
    let frames = samples.len() / 160;
    println!(
        "{} ns per 20 ms of speech, keys and tones together",
        begun.elapsed().as_nanos() / frames as u128
    );
    assert_eq!(heard, []);
}

#[test]
fn a_greeting_with_a_beep_is_a_machine_and_a_beep_alone_or_in_a_talk_is_not() {
    let greeting = speech(8, 3);
    for (level, frequency, length) in [
        (-12.0, 1000.0, 400),
        (-20.0, 440.0, 250),
        (-30.0, 1400.0, 1000),
        (-20.0, 2000.0, 120),
    ] {
        let wire = Wire::new()
            .with(&greeting[..8 * 8000])
            .pause(500)
            .tone(&[(frequency, level)], length)
            .pause(1000);
        let heard = hear(&line_only(), &wire.coded(), |_| false);
        assert!(
            matches!(heard[..], [Heard { sound: Sound::Machine { frequency: told, .. }, confidence, .. }]
                if (f32::from(told) - frequency).abs() <= 0.03 * frequency && confidence > 60),
            "{frequency}: {heard:?}"
        );
    }
    let alone = Wire::new().pause(2000).tone(&[(1000.0, -20.0)], 400).pause(1000);
    assert_eq!(sounds_in(&alone), []);
    let short = Wire::new()
        .with(&greeting[..8000])
        .pause(3000)
        .tone(&[(1400.0, -20.0)], 400)
        .pause(1000);
    assert_eq!(sounds_in(&short), []);
}

#[test]
fn tones_are_listened_for_no_longer_than_asked() {
    let listening = Listening {
        tones_for: Some(Duration::from_secs(2)),
        ..line_only()
    };
    let wire = Wire::new()
        .pause(1900)
        .with(&cadence((480.0, 620.0), -20.0, 1.0, 0.0, &[(500, 500); 5]).samples);
    let mut ears = Ears::new(&listening);
    for (index, packet) in wire.coded().chunks(160).enumerate() {
        ears.hear(index as u32 * 160, packet.iter().copied());
    }
    assert!(ears.take().is_empty() && !ears.is_listening());
}

#[test]
fn listening_costs_little() {
    let wire = Wire::new().with(&speech(20, 5)).noise(Noise::White, -50.0, 1);
    let samples = wire.coded();
    let both = Listening {
        digits: true,
        ..line_only()
    };
    for (name, listening) in [("keys", keys_only()), ("tones", line_only()), ("both", both)] {
        let best = (0..5)
            .map(|_| {
                let begun = Instant::now();
                hear(&listening, &samples, |_| false);
                begun.elapsed().as_nanos() / (samples.len() / 160) as u128
            })
            .min();
        println!("{name}: {} ns per 20 ms", best.unwrap());
        // Far above what it takes, far below what would be felt.
        assert!(best.unwrap() < 200_000);
    }
}
