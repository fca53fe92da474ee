//! The directory against the published files it is made from, and its commands as a script sees them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it cannot read"
)]

mod commands;
mod importing;
mod members;
mod published;
mod zips;
