//! G.711: µ-law and A-law (ITU-T G.711, 11/88), by tables made at compile time.

const BIAS: i32 = 0x84;
const CLIP: i32 = 32_635;

const MU_TO_LINEAR: [i16; 256] = decode_table(true);
const A_TO_LINEAR: [i16; 256] = decode_table(false);
static LINEAR_TO_MU: [u8; 16_384] = mu_table();
static LINEAR_TO_A: [u8; 8192] = a_table();
const MU_TO_A: [u8; 256] = conversion_table(true);
const A_TO_MU: [u8; 256] = conversion_table(false);

/// Decodes one µ-law byte.
pub const fn linear_from_mu(byte: u8) -> i16 {
    MU_TO_LINEAR[byte as usize]
}

/// Decodes one A-law byte.
pub const fn linear_from_a(byte: u8) -> i16 {
    A_TO_LINEAR[byte as usize]
}

/// Encodes one sample as µ-law. The two lowest bits do not count: µ-law is defined over 14 bits.
pub fn mu_from_linear(sample: i16) -> u8 {
    LINEAR_TO_MU[(sample as u16 >> 2) as usize]
}

/// Encodes one sample as A-law. The three lowest bits do not count: A-law is defined over 13 bits.
pub fn a_from_linear(sample: i16) -> u8 {
    LINEAR_TO_A[(sample as u16 >> 3) as usize]
}

/// Turns a µ-law byte into the nearest A-law byte.
pub const fn a_from_mu(byte: u8) -> u8 {
    MU_TO_A[byte as usize]
}

/// Turns an A-law byte into the nearest µ-law byte.
pub const fn mu_from_a(byte: u8) -> u8 {
    A_TO_MU[byte as usize]
}

const fn decode_table(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if mu {
            expand_mu(code as u8)
        } else {
            expand_a(code as u8)
        };
        code += 1;
    }
    table
}

const fn expand_mu(byte: u8) -> i16 {
    let code = !byte;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 15) as i32;
    let magnitude = (((mantissa << 3) + BIAS) << exponent) - BIAS;
    if code & 0x80 != 0 {
        -magnitude as i16
    } else {
        magnitude as i16
    }
}

const fn expand_a(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 15) as i32;
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if code & 0x80 != 0 {
        magnitude as i16
    } else {
        -magnitude as i16
    }
}

const fn compress_mu(sample: i32) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -sample) } else { (0, sample) };
    let clipped = if magnitude > CLIP { CLIP } else { magnitude };
    let biased = clipped + BIAS;
    let mut exponent = 7;
    while exponent > 0 && biased & (0x80 << exponent) == 0 {
        exponent -= 1;
    }
    let mantissa = (biased >> (exponent + 3)) & 15;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

const fn compress_a(sample: i32) -> u8 {
    // Negative samples are mirrored by ones' complement so that both signs have the same steps.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let mut exponent = 7;
    while exponent > 0 && magnitude & (0x80 << exponent) == 0 {
        exponent -= 1;
    }
    let mantissa = if exponent == 0 {
        magnitude >> 4
    } else {
        magnitude >> (exponent + 3)
    } & 15;
    (sign | (exponent << 4) as u8 | mantissa as u8) ^ 0x55
}

const fn mu_table() -> [u8; 16_384] {
    let mut table = [0; 16_384];
    let mut index = 0;
    while index < 16_384 {
        table[index] = compress_mu(((index as u16) << 2) as i16 as i32);
        index += 1;
    }
    table
}

const fn a_table() -> [u8; 8192] {
    let mut table = [0; 8192];
    let mut index = 0;
    while index < 8192 {
        table[index] = compress_a(((index as u16) << 3) as i16 as i32);
        index += 1;
    }
    table
}

const fn conversion_table(from_mu: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if from_mu {
            compress_a(expand_mu(code as u8) as i32)
        } else {
            compress_mu(expand_a(code as u8) as i32)
        };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_matches_the_values_of_the_recommendation() {
        assert_eq!(linear_from_mu(0x00), -32_124);
        assert_eq!(linear_from_mu(0x80), 32_124);
        assert_eq!(linear_from_mu(0xff), 0);
        assert_eq!(linear_from_mu(0x7f), 0);
        assert_eq!(linear_from_a(0xd5), 8);
        assert_eq!(linear_from_a(0x55), -8);
        assert_eq!(linear_from_a(0xaa), 32_256);
        assert_eq!(linear_from_a(0x2a), -32_256);
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            // µ-law has two zeros; both decode to 0 and encode to the positive one.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(
                mu_from_linear(linear_from_mu(byte)),
                expected,
                "µ-law byte {byte:#x}"
            );
            assert_eq!(a_from_linear(linear_from_a(byte)), byte, "A-law byte {byte:#x}");
        }
    }

    #[test]
    fn encoding_errs_by_at_most_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let exact = i32::from(sample);
            let limit = 16 + exact.abs() / 24;
            let mu = i32::from(linear_from_mu(mu_from_linear(sample)));
            let a = i32::from(linear_from_a(a_from_linear(sample)));
            let clipped = exact.clamp(-32_635, 32_635);
            assert!((mu - clipped).abs() <= limit, "µ-law {sample} became {mu}");
            assert!((a - exact).abs() <= limit, "A-law {sample} became {a}");
        }
    }

    #[test]
    fn conversion_between_the_laws_stays_within_the_coarser_step() {
        for byte in 0..=255u8 {
            let mu = i32::from(linear_from_mu(byte));
            let converted = i32::from(linear_from_a(a_from_mu(byte)));
            assert!(
                (mu - converted).abs() <= 16 + mu.abs() / 16,
                "µ {byte:#x}: {mu} became {converted}"
            );
            let a = i32::from(linear_from_a(byte));
            let converted = i32::from(linear_from_mu(mu_from_a(byte)));
            assert!(
                (a - converted).abs() <= 16 + a.abs() / 16,
                "A {byte:#x}: {a} became {converted}"
            );
        }
    }
}
