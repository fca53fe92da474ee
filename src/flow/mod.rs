//! See ARCHITECTURE.md.
pub mod catalogue;
