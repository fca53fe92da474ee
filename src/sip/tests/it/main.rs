//! Whole calls between endpoints, and between an endpoint and scripted peers, under a virtual clock and over a network
//! that may lose, delay and repeat.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines
)]

mod allocation;
mod authentication;
mod callee_races;
mod caller_races;
mod calls;
mod conformance;
mod connections;
mod explorer;
mod extensions;
mod failover;
mod faults;
mod late_messages;
mod misbehaviour;
mod mutation;
mod net;
mod offers;
mod races;
mod registration;
mod rfc4475;
mod rfc5118;
mod strangers;
mod torture;
mod trunk_oddities;
