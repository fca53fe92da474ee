//! What has to have happened.

use crate::command::output::say;
/// A list of sentences, each true or not.
#[derive(Debug, Default)]
pub struct Checks {
    list: Vec<(String, bool)>,
}

impl Checks {
    /// Notes whether a sentence holds, and gives it back.
    pub fn that(&mut self, sentence: impl Into<String>, holds: bool) -> bool {
        self.list.push((sentence.into(), holds));
        holds
    }

    pub fn all_hold(&self) -> bool {
        !self.list.is_empty() && self.list.iter().all(|(_, holds)| *holds)
    }

    /// Prints every sentence with its mark.
    pub fn print(&self) -> anyhow::Result<()> {
        for (sentence, holds) in &self.list {
            say!("  {} {sentence}", if *holds { "✓" } else { "✗ NOT:" })?;
        }
        Ok(())
    }
}
