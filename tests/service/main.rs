//! Trunkline as a service: put in place by the script, kept within bounds by the unit, telling systemd the truth.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

mod installing;
mod process;
mod running;
mod trunk_names;
mod trunks;
