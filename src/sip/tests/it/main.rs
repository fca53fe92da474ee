//! Whole calls between endpoints, and between an endpoint and scripted peers, under a virtual clock and over a network
//! that may lose, delay and repeat.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines
)]

mod callee_races;
mod caller_races;
mod calls;
mod explorer;
mod failover;
mod faults;
mod misbehaviour;
mod mutation;
mod net;
mod offers;
mod registration;
mod strangers;
mod torture;
