//! IVR: flows as data, and their execution on one call.
//!
//! Inputs: a flow, a directory snapshot, the time, and what happens on the call ([`run::Event`]). Outputs: what is
//! to be done ([`run::Action`]), with every decision noted for the call record. Never touches a socket or a clock.

pub mod catalogue;
pub mod definition;
pub mod run;
pub mod speech;
mod step;
pub mod validate;

pub use definition::Flow;
pub use run::{Action, Event, Run, TimerName, World};
