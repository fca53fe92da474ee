//! The worked cases of the hotline's ZIP rules.

use trunkline::call::disposition::SessionDisposition;
use trunkline::directory::Directory;
use trunkline::flow::catalogue::Catalogue;
use trunkline::units::Language;

use crate::support::{Story, Told};

fn call(keys: &[&str]) -> Told {
    let told = Story::keying(keys).tell();
    assert!(told.ended);
    told
}

/// The key that chooses this district when its ZIP code is asked about.
fn key_of(zip: &str, state: &str, district: u8) -> String {
    let directory = Directory::bundled().unwrap();
    let located = directory.locate(zip.parse().unwrap());
    let in_state: Vec<_> = located
        .asked(0.02)
        .into_iter()
        .filter(|part| part.state.as_str() == state)
        .collect();
    let at = in_state
        .iter()
        .position(|part| part.district == district)
        .unwrap();
    (at + 1).to_string()
}

fn representative(state: &str, district: u8) -> String {
    let directory = Directory::bundled().unwrap();
    directory
        .representative(state.parse().unwrap(), district)
        .unwrap()
        .key()
        .to_owned()
}

#[test]
fn zip_in_one_district_asks_nothing() {
    let told = call(&["94612"]);
    assert_eq!(told.targets()[0], representative("CA", 12));
    assert!(!told.heard().contains("more than one representative"));
}

#[test]
fn split_zip_asks_by_name_and_the_key_decides() {
    for (zip, state, district) in [
        ("60062", "IL", 10),
        ("60062", "IL", 9),
        ("02139", "MA", 5),
        ("02139", "MA", 7),
    ] {
        let told = call(&[zip, &key_of(zip, state, district)]);
        assert!(told.heard().contains("more than one representative"), "{zip}");
        assert_eq!(told.targets()[0], representative(state, district), "{zip}");
        assert_eq!(told.targets().len(), 3, "{zip}");
    }
}

#[test]
fn names_of_a_split_zip_come_likeliest_first() {
    let directory = Directory::bundled().unwrap();
    let heard = call(&["60062", "9"]).heard();
    let name = |district| {
        let target = directory.representative("IL".parse().unwrap(), district).unwrap();
        let id = format!("names/{}", target.key());
        Catalogue::bundled(Language::ENGLISH)
            .recording_words(&id)
            .unwrap()
            .to_owned()
    };
    let position = |district| heard.find(&name(district)).unwrap();
    // Most people of 60062 live in the tenth district; the fifth, which the tract-level file lists, has none of them.
    assert!(position(10) < position(9));
    assert!(!heard.contains(&name(5)));
}

#[test]
fn overlap_that_hardly_anybody_lives_in_is_not_asked_about() {
    for (zip, state, district) in [("54409", "WI", 7), ("91711", "CA", 28), ("30165", "GA", 14)] {
        let told = call(&[zip]);
        assert!(!told.heard().contains("more than one"), "{zip}: {}", told.heard());
        assert_eq!(told.targets()[0], representative(state, district), "{zip}");
    }
}

#[test]
fn state_chosen_by_key_decides_representative_and_senators() {
    for (key, state, district) in [("1", "WY", 0), ("2", "CO", 2)] {
        let told = call(&["82063", key]);
        assert!(told.heard().contains("more than one state"), "{}", told.heard());
        assert_eq!(told.targets()[0], representative(state, district));
    }
}

#[test]
fn caller_who_is_not_sure_reaches_the_senators_only() {
    let told = call(&["60062", "9"]);
    assert!(told.heard().contains("I'll connect you to your senators"));
    assert_eq!(told.targets().len(), 2);
}

#[test]
fn unanswered_choice_is_asked_three_times_and_then_not_guessed() {
    let told = call(&["60062"]);
    assert_eq!(told.heard().matches("more than one representative").count(), 3);
    assert_eq!(told.targets().len(), 2);
}

#[test]
fn zip_in_two_states_asks_the_state_first() {
    let told = call(&["86514", "1", "9"]);
    assert!(told.heard().contains("more than one state"), "{}", told.heard());
}

#[test]
fn at_large_state_has_one_representative_and_no_question() {
    for (zip, state) in [("99501", "AK"), ("82001", "WY")] {
        let told = call(&[zip]);
        assert_eq!(told.targets()[0], representative(state, 0), "{zip}");
        assert_eq!(told.targets().len(), 3);
    }
}

#[test]
fn capital_and_territories_have_a_delegate_and_no_senators() {
    for (zip, state, words) in [
        ("20001", "DC", "no voting senators"),
        (
            "00601",
            "PR",
            "a resident commissioner in the House but no senators",
        ),
        ("96799", "AS", "a delegate in the House but no senators"),
        ("20500", "DC", "no voting senators"),
    ] {
        let told = call(&[zip]);
        assert!(told.heard().contains(words), "{zip}: {}", told.heard());
        assert_eq!(told.targets(), [representative(state, 0)], "{zip}");
    }
}

#[test]
fn business_zip_without_residents_reaches_the_senators_and_says_so() {
    let told = call(&["12345"]);
    assert!(
        told.heard().contains("but not the exact district"),
        "{}",
        told.heard()
    );
    assert_eq!(told.targets().len(), 2);
}

#[test]
fn military_zip_asks_for_the_zip_where_the_caller_votes() {
    let told = call(&["09012", "94110"]);
    assert!(
        told.heard()
            .contains("Enter the ZIP code of the address where you vote")
    );
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
}

#[test]
fn unknown_zip_is_asked_again_three_times_at_most() {
    let told = call(&["00000", "00001", "00002"]);
    assert_eq!(told.disposition(), SessionDisposition::InvalidZipExhausted);
    assert!(told.legs().is_empty());
}

#[test]
fn freely_associated_state_has_nobody_to_call() {
    let told = call(&["96941"]);
    assert_eq!(told.disposition(), SessionDisposition::OutsideArea);
    assert!(told.heard().contains("isn't calling offices in your area"));
}

#[test]
fn vacant_seat_is_announced_and_recorded() {
    let directory = Directory::bundled().unwrap();
    let vacant = directory.vacancies()[0];
    let zip = (501..99_951)
        .map(|number| format!("{number:05}"))
        .find(|zip| {
            let located = directory.locate(zip.parse().unwrap());
            located.districts.len() == 1
                && located.districts[0].state == vacant.state
                && located.districts[0].district == vacant.number
        })
        .unwrap();
    let told = call(&[&zip]);
    assert!(told.heard().contains("is vacant right now"), "{}", told.heard());
    assert_eq!(told.targets()[0], "vacant");
    assert_eq!(told.targets().len(), 3);
}

#[test]
fn zips_that_start_with_zero_or_nine_are_digits_not_menu_keys() {
    for zip in ["02139", "97211"] {
        let told = call(&[zip, "1"]);
        assert!(told.targets().len() >= 2, "{zip}");
    }
}
