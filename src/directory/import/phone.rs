//! Telephone numbers of files, held to the rules of the North American Numbering Plan.

use crate::units::PhoneNumber;

/// None for an empty field.
///
/// # Errors
/// The reason, when the text is no number that the plan can assign: area code and exchange begin with 2 to 9, and
/// neither ends in 11.
pub(super) fn read(text: &str) -> Result<Option<PhoneNumber>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let number = PhoneNumber::parse_us(text).map_err(|error| error.to_string())?;
    let digits = number.digits();
    let fits = digits.len() == 11 && digits.starts_with('1');
    if !fits || !assignable(&digits[1..4]) || !assignable(&digits[4..7]) {
        return Err(format!(
            "{text:?} is not a number of the North American Numbering Plan"
        ));
    }
    Ok(Some(number))
}

fn assignable(three: &str) -> bool {
    three.starts_with(|first: char| ('2'..='9').contains(&first)) && !three.ends_with("11")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_the_plan_cannot_assign_are_refused() {
        for text in [
            "102-555-0100",
            "202-155-0100",
            "911-555-0100",
            "202-411-0100",
            "+44 20 7946 0000",
            "555-0100",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read(" "), Ok(None));
        assert_eq!(read("202-555-0100").unwrap().unwrap().as_str(), "+12025550100");
    }
}
