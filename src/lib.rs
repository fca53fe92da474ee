//! Trunkline: a self-hosted telephony switch for civic hotlines.
//!
//! A call travels down this list: datagrams enter at `switch`, `sip` makes events of them, `call` and `flow`
//! decide, `directory` and `campaign` say whom and why, `media` carries the sound, `store` keeps what happened.

pub mod units;

pub use {media, sip};

pub mod directory;

pub mod campaign;

pub mod call;

pub mod flow;

pub mod store;

pub mod switch;

pub mod web;

pub mod config;

pub mod command;
