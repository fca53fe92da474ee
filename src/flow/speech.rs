//! Titles, names, offices and opening times as recordings.

use jiff::Timestamp;

use super::catalogue::{Catalogue, Piece};
use crate::campaign::select::Choice;
use crate::directory::{Directory, Office, OfficeKind, Target, Title};

/// `Senator Alex Padilla`.
pub fn titled(words: &Catalogue, target: &Target) -> Vec<Piece> {
    [title(words, target), name(words, target)].concat()
}

pub fn title(words: &Catalogue, target: &Target) -> Vec<Piece> {
    words.title(target.title.fragment(), Some(target.key()))
}

/// The name's own recording; where there is none, the seat: `California district twelve`.
pub fn name(words: &Catalogue, target: &Target) -> Vec<Piece> {
    let recorded = words.name(target.key());
    if recorded.is_empty() {
        words.district(target.state, target.district)
    } else {
        recorded
    }
}

/// What a representative is called in a list of choices; the seat itself where it is vacant.
pub fn choice_title(words: &Catalogue, directory: &Directory, choice: &Choice) -> Vec<Piece> {
    let target = choice.target.as_ref().and_then(|id| directory.target(id));
    target.map_or_else(
        || words.district(choice.state, Some(choice.district)),
        |target| title(words, target),
    )
}

pub fn choice_name(words: &Catalogue, directory: &Directory, choice: &Choice) -> Vec<Piece> {
    let target = choice.target.as_ref().and_then(|id| directory.target(id));
    target.map(|target| name(words, target)).unwrap_or_default()
}

/// `a delegate`, `a resident commissioner`.
pub fn a_title(words: &Catalogue, title: Option<Title>) -> Vec<Piece> {
    let fragment = title.map_or("delegate", Title::fragment);
    let id = format!("fragments/a-{fragment}");
    words
        .recording_words(&id)
        .map(|_| Piece::Recording(id.clone()))
        .into_iter()
        .collect()
}

/// What an office is called: Washington, its city, or just the district.
pub fn office(words: &Catalogue, office: &Office) -> Vec<Piece> {
    let place = match office.kind {
        OfficeKind::Capitol => return vec![Piece::recording("fragments/office-washington")],
        OfficeKind::District => words.place(&office.city),
    };
    if place.is_empty() {
        vec![Piece::recording("fragments/office-district")]
    } else {
        place
    }
}

/// When an office opens, in the words of its own clock: the slots `day`, `time` and `zone`.
pub fn opening(
    words: &Catalogue,
    office: &Office,
    opens: Timestamp,
    now: Timestamp,
    slot: &str,
) -> Vec<Piece> {
    let opens = opens.to_zoned(office.timezone.clone());
    let today = now.to_zoned(office.timezone.clone()).date();
    let days = today.until(opens.date()).map_or(i32::MAX, |span| span.get_days());
    match slot {
        "day" => match days {
            0 => vec![Piece::recording("fragments/today")],
            1 => vec![Piece::recording("fragments/tomorrow")],
            2..7 => words.weekday(opens.weekday().to_monday_one_offset().unsigned_abs()),
            _ => words.date(opens.month().unsigned_abs(), opens.day().unsigned_abs()),
        },
        "time" => words.time(opens.hour().unsigned_abs(), opens.minute().unsigned_abs()),
        "zone" => words.zone(office.timezone_name()),
        _ => Vec::new(),
    }
}
