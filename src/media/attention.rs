//! How much of what comes for a stream has to be read. While nobody listens to a stream, its audio would be read only
//! to be thrown away: a socket filter keeps it in the kernel, and what passes shows that the peer still speaks.

/// Of this many audio packets one is read while nobody listens: one in 640 ms at 20 ms a packet.
pub const SAMPLE: u16 = 32;

/// What to let through of the packets that come for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attention {
    #[default]
    All,
    /// Telephone events under these payload types, RTCP, whatever is no RTP (STUN), and of the rest the packets for
    /// which [`is_sampled`] holds.
    Sample { events: [Option<u8>; 4] },
}

/// Whether the audio packet of this sequence number is read while nobody listens.
pub const fn is_sampled(sequence: u16) -> bool {
    sequence.is_multiple_of(SAMPLE)
}

/// How many sampled sequence numbers lie strictly between `earlier` and the one that is `distance` after it.
pub(crate) fn sampled_between(earlier: u16, distance: u16) -> u16 {
    // 65,536 is a multiple of SAMPLE, so that a wrap does not matter.
    let last = u32::from(earlier) + u32::from(distance).saturating_sub(1);
    (last / u32::from(SAMPLE) - u32::from(earlier / SAMPLE)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_between_are_those_that_counting_one_by_one_finds() {
        for earlier in [0u16, 1, 31, 32, 33, 65_503, 65_504, 65_535] {
            for distance in 1..200u16 {
                let counted = (1..distance)
                    .filter(|step| is_sampled(earlier.wrapping_add(*step)))
                    .count();
                assert_eq!(
                    usize::from(sampled_between(earlier, distance)),
                    counted,
                    "{earlier}+{distance}"
                );
            }
        }
    }
}
