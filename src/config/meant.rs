//! Which key was meant by one that does not exist.

/// Letters that may be wrong.
const MOST_WRONG: usize = 2;

/// The expected key next to the unknown one that a message of the TOML library names, if one is near.
pub(super) fn of(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    // Names stand between backquotes: every second piece.
    let expected = rest.split('`').skip(1).step_by(2);
    expected
        .map(|key| (distance(unknown, key), key))
        .filter(|(distance, key)| *distance <= MOST_WRONG && *distance < key.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// Letters to change, add, take away or exchange with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let changed = last[column] + usize::from(letter != wanted);
            let mut least = changed.min(last[column + 1] + 1).min(line[column] + 1);
            let exchanged = row > 0 && column > 0 && one[row - 1] == *wanted && other[column - 1] == *letter;
            if exchanged {
                let before: &[usize] = &before;
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_slip_is_told_which_one_was_meant() {
        let message =
            |key: &str| format!("unknown field `{key}`, expected one of `name`, `host`, `username`");
        assert_eq!(of(&message("hots")), Some("host"));
        assert_eq!(of(&message("user_name")), Some("username"));
        assert_eq!(of(&message("hst")), Some("host"));
        assert_eq!(of(&message("colour")), None);
        assert_eq!(of("something else"), None);
    }
}
