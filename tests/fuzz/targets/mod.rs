//! What is fuzzed: one function for each kind of bytes that come from outside. Each takes any bytes and asserts what
//! must hold of whatever comes out. cargo-fuzz calls them with bytes of its own making, the test with the corpora.

pub mod codec;
pub mod digest;
pub mod endpoint;
pub mod framing;
pub mod message;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
