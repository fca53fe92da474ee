//! Was it heard? Finds a piece of known audio in a recording by its normalised correlation.

use std::io;
use std::path::Path;

/// Where known audio was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The sample of the recording at which the known audio begins (8 kHz); before 0 where its quiet start was
    /// cut off.
    pub at: i64,
    /// 1 for the same audio at any level, 0 for unrelated audio.
    pub score: f64,
}

/// Samples in one step of the coarse search: 10 ms.
const STEP: usize = 80;

/// The piece of the known audio that is looked for: long enough to be unmistakable.
const PIECE: usize = 8000;

/// The likeness of the levels below which a place is not looked at closely.
const UNLIKELY: f64 = 0.4;

/// How many coarse candidates are looked at closely.
const CANDIDATES: usize = 6;

/// Finds the best place of `known` in `heard`, by its loudest second. Nothing, where no place is even
/// alike in level, `known` is silent, or `heard` is too short.
pub fn find(heard: &[i16], known: &[i16]) -> Option<Match> {
    let start = loudest(known, PIECE.min(known.len()))?;
    let piece = &known[start..(start + PIECE).min(known.len())];
    find_piece(heard, piece).map(|found| Match {
        at: found.at - start as i64,
        ..found
    })
}

/// As `find`, but for audio that went through another clock, a resampler or a jitter buffer: short pieces are
/// looked for one by one, and the middle score of all is given.
pub fn find_rough(heard: &[i16], known: &[i16]) -> Option<Match> {
    const SHORT: usize = 2400;
    let mut found: Vec<Match> = (0..known.len().saturating_sub(SHORT))
        .step_by(SHORT)
        .filter(|start| power(&known[*start..start + SHORT]) > 200.0)
        .filter_map(|start| {
            let found = find_piece(heard, &known[start..start + SHORT])?;
            Some(Match {
                at: found.at - start as i64,
                ..found
            })
        })
        .collect();
    found.sort_by(|a, b| a.score.total_cmp(&b.score));
    found.get(found.len() / 2).copied()
}

fn find_piece(heard: &[i16], piece: &[i16]) -> Option<Match> {
    if piece.len() < STEP || heard.len() < piece.len() {
        return None;
    }
    let (outline, wanted) = (envelope(heard), envelope(piece));
    let mut coarse: Vec<(usize, f64)> = outline
        .windows(wanted.len())
        .enumerate()
        .map(|(at, window)| (at * STEP, similarity(window, &wanted)))
        .filter(|(_, score)| *score > UNLIKELY)
        .collect();
    coarse.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut best: Option<Match> = None;
    for (centre, _) in coarse.into_iter().take(CANDIDATES) {
        let from = centre.saturating_sub(STEP);
        let to = (centre + STEP).min(heard.len() - piece.len());
        // Every seventh sample tells the right place; all of them tell how alike it is.
        let place = (from..=to)
            .map(|at| (at, thinned(&heard[at..at + piece.len()], piece, 7)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((at, _)) = place.filter(|(_, score)| *score > UNLIKELY) else {
            continue;
        };
        let score = thinned(&heard[at..at + piece.len()], piece, 1);
        if best.is_none_or(|best| score > best.score) {
            best = Some(Match { at: at as i64, score });
        }
    }
    best
}

/// The normalised correlation of every `step`th sample.
fn thinned(a: &[i16], b: &[i16], step: usize) -> f64 {
    let thin = |samples: &[i16]| -> Vec<f32> {
        samples
            .iter()
            .step_by(step)
            .map(|sample| f32::from(*sample))
            .collect()
    };
    similarity(&thin(a), &thin(b))
}

/// The start of the loudest stretch of a given length.
fn loudest(samples: &[i16], length: usize) -> Option<usize> {
    let last = samples.len().checked_sub(length)?;
    let start = (0..=last)
        .step_by(STEP)
        .max_by(|a, b| power(&samples[*a..a + length]).total_cmp(&power(&samples[*b..b + length])))?;
    (length > 0 && power(&samples[start..start + length]) > 20.0).then_some(start)
}

/// The root of the mean square.
fn power(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (sum / samples.len().max(1) as f64).sqrt()
}

/// The level of every step, as a logarithm.
fn envelope(samples: &[i16]) -> Vec<f32> {
    samples
        .chunks_exact(STEP)
        .map(|chunk| (power(chunk) + 10.0).ln() as f32)
        .collect()
}

/// The normalised correlation of two stretches, their means taken away.
fn similarity(a: &[f32], b: &[f32]) -> f64 {
    let count = a.len() as f32;
    let (mean_a, mean_b) = (a.iter().sum::<f32>() / count, b.iter().sum::<f32>() / count);
    let (mut ab, mut aa, mut bb) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let scale = f64::from(aa).sqrt() * f64::from(bb).sqrt();
    if scale < 1e-6 { 0.0 } else { f64::from(ab) / scale }
}

/// Writes 8 kHz mono audio as 16-bit WAV.
///
/// # Errors
/// When the file cannot be written.
pub fn write_wav(path: &Path, samples: &[i16]) -> io::Result<()> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let told = |error: hound::Error| io::Error::other(format!("{}: {error}", path.display()));
    let mut writer = hound::WavWriter::create(path, format).map_err(told)?;
    for sample in samples {
        writer.write_sample(*sample).map_err(told)?;
    }
    writer.finalize().map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::demo::peer::{Law, melody};

    /// A recording with `known` at an odd place, at half level, after G.711 and between other sounds.
    fn recording(known: &[i16], at: usize) -> Vec<i16> {
        let mut heard = melody(99, 2);
        heard.resize(at, 0);
        heard.extend(
            known
                .iter()
                .map(|sample| Law::Mu.decode(Law::Mu.encode(sample / 2))),
        );
        heard.extend(melody(98, 1));
        heard
    }

    #[test]
    fn known_audio_is_found_at_its_place() {
        let known = melody(1, 3);
        let found = find(&recording(&known, 20_123), &known).unwrap();
        assert_eq!(found.at, 20_123);
        assert!(found.score > 0.98, "{found:?}");
    }

    #[test]
    fn other_audio_is_not_taken_for_it() {
        let heard = recording(&melody(1, 3), 20_000);
        assert!(find(&heard, &melody(2, 3)).is_none_or(|found| found.score < 0.5));
        assert!(find_rough(&heard, &melody(2, 3)).is_none_or(|found| found.score < 0.7));
    }

    #[test]
    fn audio_with_a_skip_in_it_is_found_roughly() {
        let known = melody(1, 3);
        let mut heard = recording(&known, 20_000);
        heard.drain(30_000..30_070);
        assert!(find_rough(&heard, &known).unwrap().score > 0.9);
    }

    #[test]
    fn silence_is_nowhere_to_be_found() {
        assert_eq!(find(&melody(1, 2), &[0; 8000]), None);
        assert_eq!(find(&[], &melody(1, 1)), None);
    }
}
