//! Whole calls between endpoints, and between an endpoint and scripted peers, under a virtual clock and over a network
//! that may lose, delay and repeat.

mod calls;
mod net;
