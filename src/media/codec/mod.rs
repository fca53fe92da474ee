//! Codecs: G.711 in its two laws, and wide-band ones.
//!
//! Inputs are 16-bit linear samples or encoded bytes, outputs the other. RFC 3551 (G.711, G.722), RFC 7587 (Opus).
//! Tables of G.711 are built at compile time; nothing of it allocates.

mod g711;

pub use g711::{a_from_linear, a_from_mu, linear_from_a, linear_from_mu, mu_from_a, mu_from_linear};

/// A codec that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// One of the two laws of G.711.
    G711(Law),
    /// Wide-band audio in 64 kbit/s (ITU-T G.722).
    G722,
    /// Opus, one channel (RFC 6716).
    Opus,
}

impl From<Law> for Codec {
    fn from(law: Law) -> Self {
        Self::G711(law)
    }
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 4] = [Self::G711(Law::Mu), Self::G711(Law::A), Self::G722, Self::Opus];

    /// The RTP payload type that it always has (RFC 3551 §6), or the one under which we offer it.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::G711(law) => law.payload_type(),
            Self::G722 => 9,
            Self::Opus => 111,
        }
    }

    /// Whether its payload type needs no rtpmap.
    pub const fn has_static_payload_type(self) -> bool {
        !matches!(self, Self::Opus)
    }

    /// The encoding name in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::G711(law) => law.name(),
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// RTP ticks a second. That of G.722 is 8000 by an old mistake (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::G711(_) | Self::G722 => CLOCK_RATE,
            Self::Opus => 48_000,
        }
    }

    /// Samples a second of its audio on our side. Opus could do more, but is decoded only for codecs that cannot.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::G711(_) => CLOCK_RATE,
            Self::G722 | Self::Opus => 16_000,
        }
    }

    /// The channels in its rtpmap; that of Opus always says two (RFC 7587 §7).
    pub const fn described_channels(self) -> u8 {
        match self {
            Self::G711(_) | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// Which law of G.711 it is.
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::G711(law) => Some(law),
            Self::G722 | Self::Opus => None,
        }
    }

    /// Whether bytes of this codec can be sent as `other` without decoding: the same, or both G.711.
    pub const fn is_relayed_as(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::G711(_), Self::G711(_)) | (Self::G722, Self::G722) | (Self::Opus, Self::Opus)
        )
    }

    /// RTP ticks of a packet with this payload.
    pub fn ticks(self, payload: &[u8]) -> u32 {
        match self {
            Self::G711(_) | Self::G722 => payload.len() as u32,
            Self::Opus => opus_ticks(payload),
        }
    }
}

/// The duration that an Opus packet declares (RFC 6716 §3.1, §3.2), at most 120 ms; 0 for one that has none.
fn opus_ticks(payload: &[u8]) -> u32 {
    let Some(first) = payload.first() else { return 0 };
    let size = u32::from(first >> 3 & 3);
    let frame = match first >> 3 {
        0..12 => [480, 960, 1920, 2880][size as usize],
        12..16 => 480 << (size & 1),
        _ => 120 << size,
    };
    let frames = match (first & 3, payload.get(1)) {
        (0, _) => 1,
        (1 | 2, _) => 2,
        (_, Some(count)) => u32::from(count & 63),
        (_, None) => 0,
    };
    (frame * frames).min(5760)
}

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
