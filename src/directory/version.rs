//! What a call needs of a directory besides targets: its version, for the record, and where a ZIP code lies.

use super::{Directory, Point};
use crate::units::Zip;

impl Directory {
    /// Names the data by the newest date among its sources, as records keep it: `2026-06-15`.
    pub fn version(&self) -> String {
        let newest = self.sources().iter().map(|source| source.as_of).max();
        newest.map_or_else(|| "none".to_owned(), |date| date.to_string())
    }

    /// The middle of a ZIP code, where it is known.
    pub fn point(&self, zip: Zip) -> Option<Point> {
        self.zip_entry(zip).and_then(|entry| entry.point)
    }
}
