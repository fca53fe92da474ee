//! The commands of the `trunkline` program, one file each. Nothing else may use this room: it may use all others.

pub mod backup;
pub mod call;
pub mod demo;
pub mod directory;
pub mod lookup;
