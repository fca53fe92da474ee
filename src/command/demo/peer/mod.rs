//! The other side of the line: a trunk, phones and offices that are not ours.
//!
//! Everything here speaks SIP through rsip, RTP through rtp-rs, and G.711, SDP and digest by its own few lines,
//! so that a mistake of our own packages is not met by the same mistake here. It must never use `sip` or
//! `media`. It reads only what our own server and test peers send on loopback.
//!
//! RFC 3261 (user agent, registrar), RFC 3581, RFC 8760 (digest), RFC 3264, RFC 3550, RFC 4733.

mod dialog;
mod digest;
mod exchange;
mod g711;
mod listen;
mod melody;
mod message;
mod registrar;
mod sdp;
mod user_agent;
mod voice;

pub use digest::{Account, Algorithm};
pub use g711::Law;
pub use listen::{Match, find, find_rough, write_wav};
pub use melody::melody;
pub use registrar::{Registrar, Registration};
pub use sdp::{Description, read as read_description, write as write_description};
pub use user_agent::{Arrival, Call, CallEvent, Dial, Invitation, UserAgent};
pub use voice::{DigitStyle, EVENT_TYPE, Heard, Voice};

#[cfg(test)]
mod tests;
