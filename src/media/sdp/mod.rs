//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264).
//!
//! Inputs are bodies of SIP messages, outputs what was agreed and the bodies to send back. Parsing is tolerant of what
//! real trunks send, building is strict. Numbers and counts from the peer are capped; nothing here trusts an address,
//! [`address::refusal`] says which ones must not be sent to.

pub mod address;
mod description;
mod local;
mod parse;

pub use description::{Connection, Direction, Media, RtpMap, Session};
pub use local::{Local, Negotiated};

/// Why a session description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not SDP at all, or cut off before the first line that matters.
    #[error("session description has no v= line")]
    NotSdp,
    /// One line breaks the grammar where we need it.
    #[error("line {line} of the session description is malformed: {what}")]
    Malformed { line: usize, what: &'static str },
    /// More bytes, lines or media than we read.
    #[error("session description exceeds the limit of {limit} {what}")]
    TooLarge { limit: usize, what: &'static str },
    /// No audio over plain RTP in a codec we speak.
    #[error("session description offers no audio we can use")]
    NoCommonAudio,
    /// The answer rejected our audio (port 0) or left it out.
    #[error("session description rejects our audio")]
    AudioRejected,
}
