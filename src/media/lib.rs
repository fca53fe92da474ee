//! RTP media core: what telephone audio is, and how it travels.
//!
//! Inputs are session descriptions, packets with their arrival time, and commands; outputs are session descriptions,
//! packets to send, and events. RFC 3264, 3550, 3551, 4733, 5761, 8866; ITU-T G.711. Nothing here opens a socket,
//! reads a clock or a file, or draws a random number: the caller brings them.
//!
//! [`Plane`] holds all streams of one thread. [`sdp::Local`] writes and reads the descriptions of one leg; what it
//! agreed goes into a [`StreamConfig`].

pub mod attention;
pub mod audio_file;
mod clip;
pub mod codec;
pub mod digit;
pub mod hearing;
mod jitter;
mod outgoing;
mod payload_types;
mod plane;
mod playout;
mod rtcp;
pub mod rtp;
pub mod sdp;
mod source;
mod statistics;
mod stream;
pub mod tone;
mod transcode;

pub use attention::Attention;
pub use clip::Clip;
pub use codec::{Codec, Law};
pub use digit::{Digit, DigitSet, Digits};
pub use outgoing::Start;
pub use payload_types::{Content, PayloadTypes};
pub use plane::{Command, Event, Forward, Plane, PlaneConfig, StreamId};
pub use playout::PlayId;
pub use source::SourceRule;
pub use statistics::Statistics;
pub use stream::StreamConfig;
