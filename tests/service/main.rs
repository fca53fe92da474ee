//! Trunkline as a service: put in place by the script, kept within bounds by the unit, telling systemd the truth.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it cannot read"
)]

mod far_end;
mod installing;
mod leaving;
mod process;
mod running;
mod tracing;
mod transports;
mod trunk;
mod trunk_names;
mod trunks;
