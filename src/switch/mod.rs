//! See ARCHITECTURE.md.

pub mod engine;
pub mod media_driver;
pub mod port_pool;
