//! See ARCHITECTURE.md.

pub mod media_driver;
pub mod port_pool;
pub mod engine;
