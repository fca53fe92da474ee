//! The published files, which lie beside the repository and are not part of it.

use std::path::PathBuf;

use jiff::civil::date;
use trunkline::directory::import::{Import, ImportError, Imported, InputFile};
use trunkline::directory::{Dataset, SourceKind};

/// Where the files are: `$TRUNKLINE_SHARED/data`, else `../shared/data`. None, with a printed line, on a machine that
/// does not have them, as one with nothing but the repository.
///
/// # Panics
/// When they are missing where `$TRUNKLINE_SHARED` says that they are.
pub fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("TRUNKLINE_SHARED").map_or(beside, PathBuf::from);
    let data = shared.join("data");
    if data.join("README.md").exists() {
        return Some(data);
    }
    let promised = std::env::var_os("TRUNKLINE_SHARED").is_some();
    assert!(!promised, "the published files are not at {}", data.display());
    println!("left out: the published files are not at {}", data.display());
    None
}

/// One of the files; none as in [`folder`].
pub fn bytes(path: &str) -> Option<Vec<u8>> {
    let file = folder()?.join(path);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The rows of a CSV file, as maps from column to field.
pub fn rows(path: &str) -> Option<Vec<std::collections::HashMap<String, String>>> {
    let bytes = bytes(path)?;
    Some(
        csv::Reader::from_reader(bytes.as_slice())
            .deserialize()
            .map(Result::unwrap)
            .collect(),
    )
}

/// Imports bytes under a file name.
pub fn import(kind: SourceKind, name: &str, bytes: &[u8], base: &Dataset) -> Result<Imported, ImportError> {
    let files = [InputFile { name, bytes }];
    let import = Import {
        kind,
        files: &files,
        as_of: date(2026, 6, 15),
        licence: "CC0 1.0",
        allow_fewer: true,
    };
    import.run(base, &mut |_| {})
}

/// Imports a published file, which must succeed.
pub fn imported(kind: SourceKind, path: &str, base: &Dataset) -> Option<Imported> {
    let bytes = bytes(path)?;
    Some(import(kind, path, &bytes, base).unwrap_or_else(|error| panic!("{error}")))
}

/// Everything, in the order that `directory bundle` takes, read once for all tests.
pub fn everything() -> Option<Dataset> {
    static EVERYTHING: std::sync::OnceLock<Option<Dataset>> = std::sync::OnceLock::new();
    EVERYTHING.get_or_init(read_everything).clone()
}

fn read_everything() -> Option<Dataset> {
    let mut dataset = Dataset::default();
    for (kind, path) in [
        (SourceKind::Zips, "zip/zips.csv"),
        (SourceKind::ZipDistricts, "zip/zcta_cd119_population.csv"),
        (SourceKind::Congress, "congress/legislators-current.json"),
        (SourceKind::Offices, "congress/legislators-district-offices.json"),
        (SourceKind::Holidays, "calendar/federal_holidays_2026_2028.csv"),
    ] {
        dataset = imported(kind, path, &dataset)?.dataset;
    }
    Some(dataset)
}
