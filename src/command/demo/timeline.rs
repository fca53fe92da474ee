//! The demo's story, told line by line as it happens.

use crate::command::output::say;
use std::time::Instant;

/// Prints what happens, with the seconds since the start; a quiet one prints nothing.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    start: Instant,
    quiet: bool,
}

impl Timeline {
    pub fn starting_now() -> Self {
        Self {
            start: Instant::now(),
            quiet: false,
        }
    }

    pub fn quiet() -> Self {
        Self {
            start: Instant::now(),
            quiet: true,
        }
    }

    /// Tells what `who` did.
    pub fn tell(&self, who: &str, what: &str) {
        if !self.quiet {
            // The demo goes on for those who do not watch.
            let _ = say!("{:7.2} s  {who:<10}  {what}", self.start.elapsed().as_secs_f64());
        }
    }
}
