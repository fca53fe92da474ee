//! Codecs. Telephone audio is 8000 samples a second, one byte each, in one of the two laws of G.711.
//!
//! Inputs are 16-bit linear samples or encoded bytes, outputs the other. Tables are built at compile time;
//! nothing here allocates.

mod g711;

pub use g711::{a_from_linear, a_from_mu, linear_from_a, linear_from_mu, mu_from_a, mu_from_linear};

/// Samples a second of telephone audio, and RTP ticks a second of G.711 (RFC 3551 §4.5.14).
pub const CLOCK_RATE: u32 = 8000;

/// Samples, bytes and RTP ticks in one 20 ms frame of G.711.
pub const FRAME_TICKS: usize = 160;

/// Which of the two laws of ITU-T G.711 bytes are encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, `PCMU`.
    Mu,
    /// A-law, `PCMA`.
    A,
}

impl Law {
    /// The static RTP payload type (RFC 3551 §6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The encoding name in SDP (RFC 3551 §6).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// The byte that decodes to silence.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// Encodes one linear sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => mu_from_linear(sample),
            Self::A => a_from_linear(sample),
        }
    }

    /// Decodes one byte to a linear sample.
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => linear_from_mu(byte),
            Self::A => linear_from_a(byte),
        }
    }

    /// Rewrites bytes of this law into the other law `to`, in place; does nothing when both are the same.
    pub fn convert(self, to: Law, bytes: &mut [u8]) {
        match (self, to) {
            (Self::Mu, Self::A) => bytes.iter_mut().for_each(|byte| *byte = a_from_mu(*byte)),
            (Self::A, Self::Mu) => bytes.iter_mut().for_each(|byte| *byte = mu_from_a(*byte)),
            (Self::Mu, Self::Mu) | (Self::A, Self::A) => {}
        }
    }
}
