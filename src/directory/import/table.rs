//! Files of lines and columns, read by the names in their first line.

use super::problem::{Place, Problems};
use super::{InputFile, Progress};

/// The format of a table.
pub(super) struct Table<'a> {
    pub separator: u8,
    /// Columns the header must have; a row's fields are asked for by their place in this list. A name that ends in `*`
    /// matches any column that begins with it.
    pub columns: &'a [&'a str],
}

/// One line. Fields are trimmed.
pub(super) struct TableRow<'a> {
    pub line: u64,
    fields: Vec<&'a str>,
}

impl TableRow<'_> {
    pub fn field(&self, at: usize) -> &str {
        self.fields.get(at).copied().unwrap_or_default()
    }

    pub fn place(&self) -> Place {
        Place::Line(self.line)
    }
}

/// The names in the first line, without a byte-order mark.
pub(super) fn header(file: &InputFile<'_>, separator: u8) -> Vec<String> {
    let mut reader = reader(file, separator);
    let names = reader
        .headers()
        .map(|record| record.iter().map(|name| name.trim().to_owned()).collect());
    names.unwrap_or_default()
}

impl Table<'_> {
    /// Calls `each` for every line that is well formed, and returns how many there were. Lines that are not, and columns
    /// that are missing, are problems.
    pub fn read(
        &self,
        file: &InputFile<'_>,
        problems: &mut Problems,
        progress: Progress<'_>,
        mut each: impl FnMut(&TableRow<'_>, &mut Problems),
    ) -> usize {
        let Some(places) = self.places(file, problems) else {
            return 0;
        };
        let (mut reader, mut record) = (reader(file, self.separator), csv::StringRecord::new());
        let mut rows = 0;
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return rows,
                Ok(true) => {
                    rows += 1;
                    let field = |&at: &usize| record.get(at).unwrap_or_default().trim();
                    let line = record.position().map_or(0, csv::Position::line);
                    each(
                        &TableRow {
                            line,
                            fields: places.iter().map(field).collect(),
                        },
                        problems,
                    );
                    if rows % 1024 == 0 {
                        progress(reader.position().byte());
                    }
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    problems.error(file.name, Place::Line(line), reason(error.kind()));
                }
            }
        }
    }

    fn places(&self, file: &InputFile<'_>, problems: &mut Problems) -> Option<Vec<usize>> {
        let names = header(file, self.separator);
        let place = |column: &&str| {
            let matches = |name: &String| match column.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == column,
            };
            names.iter().position(matches)
        };
        let missing: Vec<_> = self
            .columns
            .iter()
            .filter(|column| place(column).is_none())
            .copied()
            .collect();
        if !missing.is_empty() {
            let message = format!("the first line lacks the columns {}", missing.join(", "));
            problems.error(file.name, Place::Line(1), message);
            return None;
        }
        self.columns.iter().map(place).collect()
    }
}

fn reader<'a>(file: &InputFile<'a>, separator: u8) -> csv::Reader<&'a [u8]> {
    let bytes = file.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file.bytes);
    csv::ReaderBuilder::new().delimiter(separator).from_reader(bytes)
}

fn reason(kind: &csv::ErrorKind) -> String {
    match kind {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("has {len} fields where the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("is not UTF-8 text: {err}"),
        other => format!("is not a line of the table: {other:?}"),
    }
}
