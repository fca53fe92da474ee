//! Call control: legs, the bridge between them, dispositions and the record.
//!
//! Inputs: events of the signalling and media cores, wishes of the flow. Outputs: commands to those cores and changes
//! of the call record. Never touches a socket, a clock or a disk.

pub mod book;
pub mod disposition;
pub mod leg;
pub mod number;
pub mod record;
pub mod timers;
pub mod trace;
