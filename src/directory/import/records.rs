//! Files of nested records: JSON and YAML, one list of objects.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{Place, Problems};
use super::{InputFile, Progress};

/// Whether a file's name says that it holds nested records.
pub(super) fn is_nested(file: &InputFile<'_>) -> bool {
    is_yaml(file) || file.name.to_ascii_lowercase().ends_with(".json")
}

fn is_yaml(file: &InputFile<'_>) -> bool {
    let name = file.name.to_ascii_lowercase();
    name.ends_with(".yaml") || name.ends_with(".yml")
}

/// Calls `each` for every object of the list, and returns how many there were. An object that does not have the shape
/// of `T` is a problem, named by `key`, and the next one is read.
pub(super) fn read<T: DeserializeOwned>(
    file: &InputFile<'_>,
    key: &str,
    problems: &mut Problems,
    progress: Progress<'_>,
    mut each: impl FnMut(T, Place, &mut Problems),
) -> usize {
    let list = match list(file) {
        Ok(list) => list,
        Err(message) => {
            problems.file(file.name, message);
            return 0;
        }
    };
    progress(file.bytes.len() as u64);
    let rows = list.len();
    for (at, value) in list.into_iter().enumerate() {
        let name = value
            .pointer(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let place = Place::Record {
            number: at + 1,
            key: name,
        };
        match serde_json::from_value(value) {
            Ok(record) => each(record, place, problems),
            Err(error) => problems.error(file.name, place, error.to_string()),
        }
    }
    rows
}

fn list(file: &InputFile<'_>) -> Result<Vec<Value>, String> {
    let text = std::str::from_utf8(file.bytes).map_err(|error| format!("is not UTF-8 text: {error}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_yaml(file) {
        serde_saphyr::from_str_with_options(text, yaml_options())
            .map_err(|error| format!("is not a YAML list: {error}"))
    } else {
        serde_json::from_str(text).map_err(|error| format!("is not a JSON list: {error}"))
    }
}

/// The list of members alone has a quarter of a million nodes, where the library's default ends.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 16_000_000 },
    }
}
