//! The directory against the published files it is made from, and its commands as a script sees them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "all of this is tests"
)]

mod commands;
mod importing;
mod members;
mod published;
mod spoiled;
mod zips;
