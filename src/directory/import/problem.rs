//! What is wrong with a file, and where.

use std::fmt;

/// One thing wrong, or odd, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub place: Place,
    pub message: String,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File,
    Line(u64),
    /// Counted from 1, with the record's own key where it has one.
    Record {
        number: usize,
        key: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File => write!(f, "{}: {}", self.file, self.message),
            Place::Line(line) => write!(f, "{} line {line}: {}", self.file, self.message),
            Place::Record { number, key } if key.is_empty() => {
                write!(f, "{} record {number}: {}", self.file, self.message)
            }
            Place::Record { number, key } => {
                write!(f, "{} record {number} ({key}): {}", self.file, self.message)
            }
        }
    }
}

/// Every problem of the files of an import.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportError(pub Vec<Problem>);

/// More than this is one mistake repeated: the rest is only counted.
const SHOWN: usize = 200;

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "nothing was imported: {count} problem{}",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in self.0.iter().take(SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        if count > SHOWN {
            write!(f, "\n  and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

/// Collects while a file is read to its end.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Problems {
    pub fn file(&mut self, file: &str, message: impl Into<String>) {
        self.error(file, Place::File, message);
    }

    pub fn error(&mut self, file: &str, place: Place, message: impl Into<String>) {
        self.errors.push(Problem {
            file: file.to_owned(),
            place,
            message: message.into(),
        });
    }

    pub fn notice(&mut self, file: &str, place: Place, message: impl Into<String>) {
        self.notices.push(Problem {
            file: file.to_owned(),
            place,
            message: message.into(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The notices, or all errors.
    pub fn finish(self) -> Result<Vec<Problem>, ImportError> {
        if self.errors.is_empty() {
            Ok(self.notices)
        } else {
            Err(ImportError(self.errors))
        }
    }
}
