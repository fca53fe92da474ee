//! G.711 by its formulas (ITU-T G.711), apart from the tables of our media package on purpose: the other side
//! of the line must not share a mistake with ours.

/// The two companding laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// PCMU, RTP payload type 0.
    Mu,
    /// PCMA, RTP payload type 8.
    A,
}

impl Law {
    /// The static RTP payload type (RFC 3551 §6).
    pub fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    pub fn of_payload_type(payload_type: u8) -> Option<Law> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        }
    }

    /// The encoding name of SDP.
    pub fn name(self) -> &'static str {
        match self {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        }
    }

    /// The byte for silence.
    pub fn silence(self) -> u8 {
        self.encode(0)
    }

    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => encode_mu(sample),
            Law::A => encode_a(sample),
        }
    }

    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Law::Mu => decode_mu(byte),
            Law::A => decode_a(byte),
        }
    }
}

fn encode_mu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let segment = (31 - magnitude.leading_zeros() as i32 - 7).clamp(0, 7);
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !((sign | segment << 4 | step) as u8)
}

fn decode_mu(byte: u8) -> i16 {
    let byte = i32::from(!byte);
    let magnitude = (((byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    let value = magnitude - 132;
    (if byte & 0x80 == 0 { value } else { -value }) as i16
}

fn encode_a(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 {
        (0x80, i32::from(sample))
    } else {
        (0, !i32::from(sample))
    };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = 31 - magnitude.leading_zeros() as i32 - 7;
        segment << 4 | (magnitude >> (segment + 3)) & 0x0f
    };
    (sign | code) as u8 ^ 0x55
}

fn decode_a(byte: u8) -> i16 {
    let byte = i32::from(byte ^ 0x55);
    let (segment, step) = ((byte >> 4) & 7, byte & 0x0f);
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 264) << (segment - 1),
    };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_after_decoding_and_encoding() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=255_u8 {
                let again = law.encode(law.decode(byte));
                let negative_zero = law == Law::Mu && byte == 0x7f; // -0 has no sample of its own
                assert!(
                    again == byte || negative_zero,
                    "{law:?} {byte:#04x} became {again:#04x}"
                );
            }
        }
    }

    #[test]
    fn codes_stand_for_the_values_of_the_recommendation() {
        assert_eq!(
            [0x80, 0x00, 0xff].map(|byte| Law::Mu.decode(byte)),
            [32_124, -32_124, 0]
        );
        assert_eq!(
            [0xaa, 0x2a, 0xd5].map(|byte| Law::A.decode(byte)),
            [32_256, -32_256, 8]
        );
    }

    #[test]
    fn the_loudest_samples_do_not_wrap() {
        for law in [Law::Mu, Law::A] {
            assert!(law.decode(law.encode(i16::MAX)) > 32_000);
            assert!(law.decode(law.encode(i16::MIN)) < -32_000);
        }
    }
}
