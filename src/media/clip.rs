//! Telephone audio ready to send.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{CLOCK_RATE, Law};

/// Audio encoded in both laws, so that sending it is a copy. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Clip {
    mu: Arc<[u8]>,
    a: Arc<[u8]>,
}

impl Clip {
    /// Encodes linear samples, 8000 a second, mono.
    pub fn from_samples(samples: &[i16]) -> Self {
        Self {
            mu: samples.iter().map(|sample| Law::Mu.encode(*sample)).collect(),
            a: samples.iter().map(|sample| Law::A.encode(*sample)).collect(),
        }
    }

    /// Silence of the given length, rounded down to whole samples.
    pub fn silence(duration: Duration) -> Self {
        let samples = (duration.as_micros() * u128::from(CLOCK_RATE) / 1_000_000) as usize;
        Self {
            mu: std::iter::repeat_n(Law::Mu.silence(), samples).collect(),
            a: std::iter::repeat_n(Law::A.silence(), samples).collect(),
        }
    }

    /// The encoded bytes, one per sample.
    pub fn bytes(&self, law: Law) -> &[u8] {
        match law {
            Law::Mu => &self.mu,
            Law::A => &self.a,
        }
    }

    /// How long it sounds.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.mu.len() as u64 * 1_000_000 / u64::from(CLOCK_RATE))
    }
}

/// Clips are equal when they sound the same.
impl PartialEq for Clip {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mu, &other.mu) || self.mu == other.mu
    }
}

impl Eq for Clip {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_lasts_as_long_as_its_samples() {
        assert_eq!(Clip::from_samples(&[0; 8000]).duration(), Duration::from_secs(1));
        assert_eq!(Clip::silence(Duration::from_millis(30)).bytes(Law::A).len(), 240);
    }

    #[test]
    fn both_laws_hold_the_same_sound() {
        let clip = Clip::from_samples(&[0, 1000, -1000, 20_000]);
        for (mu, a) in clip.bytes(Law::Mu).iter().zip(clip.bytes(Law::A)) {
            let (mu, a) = (i32::from(Law::Mu.decode(*mu)), i32::from(Law::A.decode(*a)));
            assert!((mu - a).abs() <= 16 + mu.abs() / 16);
        }
    }
}
