//! See ARCHITECTURE.md.
pub mod prompt_library;
