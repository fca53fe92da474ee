//! What has to have happened.

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
    pub fn print(&self) {
        for (sentence, holds) in &self.list {
            println!("  {} {sentence}", if *holds { "✓" } else { "✗ NOT:" });
        }
    }
}
