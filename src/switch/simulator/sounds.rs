//! What a simulated line sounds like where nobody speaks.

use media::{Clip, Law, tone};

/// A sound of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineSound {
    Busy,
    Reorder,
    /// Special information tones: the number is not assigned.
    Vacant,
    /// A greeting of eight seconds and a beep.
    Voicemail,
}

impl LineSound {
    pub(super) fn clip(self) -> Clip {
        match self {
            Self::Busy => tone::busy(),
            Self::Reorder => tone::reorder(),
            Self::Vacant => tone::vacant(),
            Self::Voicemail => voicemail(),
        }
    }

    pub(super) fn repeats(self) -> bool {
        matches!(self, Self::Busy | Self::Reorder)
    }
}

/// Noise in syllables, then the beep that also warns of a limit.
fn voicemail() -> Clip {
    let mut state = 1u32;
    let syllable = |at: usize| if at % 2000 < 1500 { 6000.0 } else { 200.0 };
    let mut samples: Vec<i16> = (0..64_000)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
            (noise * syllable(at)) as i16
        })
        .collect();
    samples.extend([0; 4000]);
    samples.extend(
        tone::warning()
            .bytes(Law::Mu)
            .iter()
            .map(|byte| Law::Mu.decode(*byte)),
    );
    samples.extend([0; 8000]);
    Clip::from_samples(&samples)
}
