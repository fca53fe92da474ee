//! The whole switch under a simulated clock, network and peers that are no better than real ones.
//!
//! `world` is the simulation, `agent` a peer in one call, `habits` and `plans` how peers behave, `audit` the invariants;
//! `explorer` tries random worlds, `races` the named ones of `sip.md` §6.6. All of it is text and numbers of its own:
//! nothing that is tested judges itself.

mod agent;
mod audit;
mod chance;
mod explorer;
mod fifty;
mod habits;
mod message;
mod plans;
mod races;
mod races_sound;
mod world;
