//! Whole calls through the engine, with real SIP messages and RTP packets, under a simulated clock and network.

mod hotline;
mod office_hours;
mod routes;
mod support;
mod unkind_networks;
mod zip_cases;
