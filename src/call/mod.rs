//! Call control: legs, bridges, and what is kept of a call.

pub mod disposition;
pub mod record;
