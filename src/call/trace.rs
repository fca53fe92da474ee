//! A call's SIP messages, kept so that a person can see what passed on the wire.
//!
//! In: the messages of a call as they come and go ([`Ring`], bounded). Out: a [`Trace`] without credentials and without
//! anybody's number but our own and the offices' ([`Disguise`]), and its compact form for the store. Nothing here reads
//! a clock or keeps what may not be kept: a ring that is not made into a trace is forgotten.

mod codec;
mod disguise;
mod redact;
mod ring;

use std::net::SocketAddr;

use serde::Deserialize;

use crate::call::record::{LegNumber, UtcMicros};

pub use codec::Undecodable;
pub use disguise::Disguise;
pub use ring::{Arrival, Ring};

/// Messages that one call keeps at most, and the bytes of them.
pub const MOST_MESSAGES: usize = 96;
pub const MOST_BYTES: usize = 64 * 1024;
/// Of one message, so much is kept.
pub const LONGEST_KEPT: usize = 8 * 1024;

/// Whose traces are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    #[default]
    All,
    /// Calls in which something was refused or went wrong.
    Failed,
    None,
}

/// `[trace]` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    pub keep: Keep,
    /// Traces kept of the calls that end within one second; the last half of them is for failed calls.
    pub most_per_second: u32,
    /// Days after which a trace is removed. 1 to 3650.
    #[serde(deserialize_with = "days")]
    pub days: u32,
    /// The most that all kept traces may take, in millions of bytes; the oldest make room.
    pub megabytes: u32,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            keep: Keep::All,
            most_per_second: 20,
            days: 14,
            megabytes: 256,
        }
    }
}

fn days<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let days = u32::deserialize(deserializer)?;
    if (1..=3650).contains(&days) {
        Ok(days)
    } else {
        Err(serde::de::Error::custom(format!("{days} days is not 1 to 3650")))
    }
}

/// The messages of one call, in the order of the first time each was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    pub messages: Vec<TracedMessage>,
    /// Messages that there was no room for, after the first `gap_after` of those here.
    pub left_out: u32,
    pub gap_after: usize,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedMessage {
    pub at: UtcMicros,
    pub leg: LegNumber,
    /// It went out from here.
    pub sent: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub transport: sip::Transport,
    /// When the same bytes passed again, the same way.
    pub copies: Vec<UtcMicros>,
    /// Bytes on the wire.
    pub length: u32,
    /// The message as it may be shown, its Content-Length that of the body here.
    pub text: Vec<u8>,
}

impl TracedMessage {
    /// The source and the destination.
    pub fn path(&self) -> (SocketAddr, SocketAddr) {
        if self.sent {
            (self.local, self.remote)
        } else {
            (self.remote, self.local)
        }
    }
}

impl Trace {
    /// The compact form.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// When the bytes are not a trace, or one of a newer form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        codec::decode(bytes)
    }
}
