//! Why we call: campaigns and the choice of whom a caller reaches.
//!
//! Inputs: a campaign's plan, a directory snapshot, a located ZIP code. Outputs: questions for the caller and the
//! ordered list of targets. Never dials, never looks at a clock.

pub mod plan;
pub mod select;

pub use plan::Campaign;
pub use select::{Asked, Choice, Resolution};
