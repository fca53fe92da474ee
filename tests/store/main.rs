//! The store from outside: what is written is read back, whatever happens in between.

mod any_record;
mod backup;
mod crash;
mod files;
mod measure;
mod records;
mod sample;
mod writer;
