//! Audio that cannot be taken for any other: a tune of voiced notes, different for each seed.

/// Makes a tune of `seconds` at 8 kHz: notes of 120 to 280 ms between 150 and 900 Hz with two overtones, short
/// rests between them, about -20 dBFS.
pub fn melody(seed: u64, seconds: u32) -> Vec<i16> {
    let wanted = seconds as usize * 8000;
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut samples = Vec::with_capacity(wanted);
    while samples.len() < wanted {
        let pitch = 150.0 + f64::from(next(&mut random) % 750);
        let length = 960 + (next(&mut random) % 1280) as usize;
        let rest = 80 + (next(&mut random) % 400) as usize;
        samples.extend((0..length).map(|at| note(pitch, at, length)));
        samples.extend(std::iter::repeat_n(0, rest));
    }
    samples.truncate(wanted);
    samples
}

fn note(pitch: f64, at: usize, length: usize) -> i16 {
    let phase = std::f64::consts::TAU * pitch * at as f64 / 8000.0;
    let edge = (at.min(length - at) as f64 / 160.0).min(1.0);
    let wave = phase.sin() + 0.5 * (2.0 * phase).sin() + 0.25 * (3.0 * phase).sin();
    (wave * edge * 4000.0) as i16
}

/// One step of a xorshift generator: the tune must be the same in every run.
fn next(state: &mut u64) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_tune_and_another_seed_another() {
        assert_eq!(melody(7, 1), melody(7, 1));
        assert_ne!(melody(7, 1), melody(8, 1));
        assert_eq!(melody(7, 2).len(), 16_000);
    }
}
