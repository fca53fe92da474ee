//! The version of a directory, as call records name it.

use super::Directory;

impl Directory {
    /// Names the data by the newest date among its sources, as records keep it: `2026-06-15`.
    pub fn version(&self) -> String {
        let newest = self.sources().iter().map(|source| source.as_of).max();
        newest.map_or_else(|| "none".to_owned(), |date| date.to_string())
    }
}
