//! The running switch: sockets, threads and clocks around [`engine::Engine`], with no decisions of its own.
//!
//! Inputs: the configuration, datagrams, media events, signals of the operator. Outputs: datagrams, audio, records.
//! One task owns the engine; media threads own the streams; the store's writer owns the disk.

pub mod engine;
mod log;
pub mod media_driver;
pub mod port_pool;
pub mod prompt_library;
mod run;
pub mod service_manager;
mod setup;
pub mod simulator;
mod sip_transport;
mod start;
mod trace_retention;
mod trunk_address;

pub use run::{Order, Status, Switch};
pub use setup::{
    Parts, StartError, campaigns_of, flows_of, missing_prompts, plan_of, routes_of, simulation_settings,
    trunks_of,
};
pub use sip_transport::{CertificateDates, Tls, certificate_dates};
