//! The store from outside: what is written is read back, whatever happens in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines
)] // all of this is tests

mod any_record;
mod backup;
mod commands;
mod crash;
mod files;
mod measure;
mod records;
mod sample;
mod writer;
