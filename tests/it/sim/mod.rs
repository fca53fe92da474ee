//! The whole switch under a simulated clock, network and peers that are no better than real ones.
//!
//! `world` is the simulation, `agent` a peer in one call, `plans` how peers behave at random, `audit` the invariants;
//! `explorer` tries random worlds, `races` the named ones of `sip.md` §6.6. All of it is text and numbers of its own:
//! nothing that is tested judges itself.

mod agent;
mod audit;
mod chance;
mod explorer;
mod message;
mod plans;
mod world;
