//! Whole calls through the engine, with real SIP messages and RTP packets, under a simulated clock and network.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it cannot read"
)]

mod credentials;
mod hearing;
mod hotline;
mod lines;
mod office_hours;
mod reflection;
mod reload;
mod routes;
mod sim;
mod strangers;
mod support;
mod trace;
mod trunk_failover;
mod trunk_recipes;
mod unkind_networks;
mod zip_cases;
