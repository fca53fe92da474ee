//! Reads the files that others publish into rows of the directory.
//!
//! Inputs: bytes of files and the present rows. Output: the new rows, or every problem of the files at once; there is
//! no in-between. Notices tell what was understood but looks wrong. It never reads a file itself.

use jiff::civil::Date;

use crate::directory::{Dataset, Source, SourceKind};

mod census;
mod congress;
mod holidays;
pub mod hours_text;
mod offices;
mod phone;
mod problem;
mod records;
mod table;
mod zip_districts;
mod zips;

pub use problem::{ImportError, Place, Problem};

use problem::Problems;

/// A file already read.
#[derive(Debug, Clone, Copy)]
pub struct InputFile<'a> {
    /// Its name tells the format: `.json`, `.yaml`, `.yml`, `.csv`, `.txt`.
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// Files of one kind, and what the operator says about them.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    pub kind: SourceKind,
    pub files: &'a [InputFile<'a>],
    /// The day the facts are from.
    pub as_of: Date,
    pub licence: &'a str,
    /// Takes a file that holds far fewer records than are loaded. Without it such a file is a problem: a download that
    /// broke off is a well-formed table.
    pub allow_fewer: bool,
}

/// What an import made.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    pub dataset: Dataset,
    /// Records read from the files.
    pub rows: usize,
    /// Understood, but worth a look: a member without a number, an office with a ZIP code of another state.
    pub notices: Vec<Problem>,
}

/// Bytes done so far, for a progress bar.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

impl Import<'_> {
    /// Replaces the rows of this kind in `base`.
    ///
    /// # Errors
    /// [`ImportError`] with every problem of the files; `base` is then what it was, because nothing was returned.
    pub fn run(&self, base: &Dataset, progress: Progress<'_>) -> Result<Imported, ImportError> {
        let mut problems = Problems::default();
        let mut dataset = base.clone();
        let (mut earlier_files, mut last) = (0, 0);
        let progress: Progress<'_> = &mut |done| {
            if done < last {
                earlier_files += last;
            }
            last = done;
            progress(earlier_files + done);
        };
        let rows = match self.kind {
            SourceKind::Congress => congress::import(self.files, &mut dataset, &mut problems, progress),
            SourceKind::Offices => offices::import(self.files, &mut dataset, &mut problems, progress),
            SourceKind::Zips => zips::import(self.files, &mut dataset, &mut problems, progress),
            SourceKind::ZipDistricts => {
                zip_districts::import(self.files, &mut dataset, &mut problems, progress)
            }
            SourceKind::CensusZcta => census::import(self.files, &mut dataset, &mut problems, progress),
            SourceKind::Holidays => holidays::import(self.files, &mut dataset, &mut problems, progress),
        };
        if rows == 0 && problems.is_empty() {
            problems.file(
                self.files.first().map_or("no file", |file| file.name),
                "holds no records",
            );
        }
        if let Some(message) = self.shrinks(base, &dataset) {
            problems.file(self.files.first().map_or("no file", |file| file.name), message);
        }
        let notices = problems.finish()?;
        dataset.set_source(Source {
            kind: self.kind,
            name: self
                .files
                .iter()
                .map(|file| file.name)
                .collect::<Vec<_>>()
                .join(" "),
            as_of: self.as_of,
            licence: self.licence.to_owned(),
            rows,
        });
        Ok(Imported {
            dataset,
            rows,
            notices,
        })
    }

    fn shrinks(&self, before: &Dataset, after: &Dataset) -> Option<String> {
        let count = |dataset: &Dataset| match self.kind {
            SourceKind::Congress => dataset.targets.len(),
            SourceKind::Offices => dataset.offices.len(),
            SourceKind::Zips => dataset.zips.len(),
            SourceKind::ZipDistricts | SourceKind::CensusZcta => dataset.shares.len(),
            SourceKind::Holidays => 0,
        };
        let (before, after) = (count(before), count(after));
        let fewer = !self.allow_fewer && after * FEWER_OF < before * FEWER_PARTS;
        fewer.then(|| format!("leaves {after} rows of {before}; if that is right, allow fewer rows"))
    }
}

/// Fewer than four fifths of what was loaded is a broken file rather than a change in the world.
const FEWER_PARTS: usize = 4;
const FEWER_OF: usize = 5;
