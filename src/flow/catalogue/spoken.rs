//! Numbers, times, places and titles as recordings, the way each language says them.

use super::{Catalogue, Piece};
use crate::units::{Language, State};

impl Catalogue {
    /// Digits one by one: `94110`, the last four of a number. Other letters are passed over.
    pub fn digits(&self, text: &str) -> Vec<Piece> {
        text.chars()
            .filter(char::is_ascii_digit)
            .map(|digit| fragment(format!("digit-{digit}")))
            .collect()
    }

    /// A number as counted: `twelve`. Digits one by one above 100, which has no recording of its own.
    pub fn number(&self, number: u32) -> Vec<Piece> {
        match number {
            0..=100 => vec![fragment(format!("number-{number}"))],
            _ => self.digits(&number.to_string()),
        }
    }

    /// `first` to `fifty-third`; as a plain number outside that range.
    pub fn ordinal(&self, number: u32) -> Vec<Piece> {
        match number {
            1..=53 => vec![fragment(format!("ordinal-{number}"))],
            _ => self.number(number),
        }
    }

    /// `three offices`.
    pub fn offices(&self, count: u32) -> Vec<Piece> {
        match count {
            1..=20 => vec![fragment(format!("offices-{count}"))],
            _ => [self.number(count), vec![fragment("offices")]].concat(),
        }
    }

    /// `Two more to go.`; nothing for none.
    pub fn calls_left(&self, count: u32) -> Vec<Piece> {
        match count {
            0 => Vec::new(),
            1..=20 => vec![fragment(format!("calls-left-{count}"))],
            _ => vec![fragment("calls-left-many")],
        }
    }

    /// A state's or territory's name.
    pub fn state(&self, state: State) -> Vec<Piece> {
        vec![fragment(format!("state-{state}"))]
    }

    /// `California district fourteen`; the state alone when there is no district; `at large` for district 0.
    pub fn district(&self, state: State, district: Option<u8>) -> Vec<Piece> {
        let mut pieces = self.state(state);
        match district {
            None => {}
            Some(0) => pieces.push(fragment("at-large")),
            Some(number) => {
                pieces.push(fragment("district"));
                pieces.extend(self.number(u32::from(number)));
            }
        }
        pieces
    }

    /// A time of day on the wall clock: `nine thirty a.m.`, `las nueve y media de la mañana`.
    pub fn time(&self, hour: u8, minute: u8) -> Vec<Piece> {
        let (hour, minute) = (hour % 24, minute % 60);
        match (hour, minute) {
            (0, 0) => return vec![fragment("midnight")],
            (12, 0) => return vec![fragment("noon")],
            _ => {}
        }
        let on_the_dial = match hour % 12 {
            0 => 12,
            other => other,
        };
        let mut pieces = vec![fragment(format!("hour-{on_the_dial}"))];
        if minute > 0 {
            pieces.push(fragment(format!("minute-{minute:02}")));
        }
        pieces.push(fragment(self.part_of_day(hour)));
        pieces
    }

    fn part_of_day(&self, hour: u8) -> &'static str {
        match (self.language(), hour) {
            (Language::SPANISH, 19..) => "night",
            (_, 12..) => "pm",
            _ => "am",
        }
    }

    /// A weekday by its number, 1 Monday to 7 Sunday.
    pub fn weekday(&self, from_monday: u8) -> Vec<Piece> {
        const NAMES: [&str; 7] = [
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
        ];
        let name = NAMES.get(usize::from(from_monday).wrapping_sub(1));
        name.map(|name| fragment(format!("weekday-{name}")))
            .into_iter()
            .collect()
    }

    /// A calendar day: `July fourth`, `el cuatro de julio`. Nothing for a day that no month has.
    pub fn date(&self, month: u8, day: u8) -> Vec<Piece> {
        const NAMES: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        let Some(name) = NAMES
            .get(usize::from(month).wrapping_sub(1))
            .filter(|_| (1..=31).contains(&day))
        else {
            return Vec::new();
        };
        let (month, day) = (fragment(format!("month-{name}")), fragment(format!("day-{day}")));
        match self.language() {
            Language::SPANISH => vec![day, month],
            _ => vec![month, day],
        }
    }

    /// The zone of an office by its IANA name, as people there call it: `Eastern time`. Nothing for other zones.
    pub fn zone(&self, iana: &str) -> Vec<Piece> {
        zone_name(iana)
            .map(|name| fragment(format!("zone-{name}")))
            .into_iter()
            .collect()
    }

    /// A title before a name: `senator`, `representative`, `delegate`, `resident-commissioner`, `governor`, ….
    /// `bioguide` selects the form that Spanish needs for a woman.
    pub fn title(&self, title: &str, bioguide: Option<&str>) -> Vec<Piece> {
        let feminine = bioguide.is_some_and(|id| {
            Catalogue::bundled(Language::ENGLISH)
                .feminine
                .contains(&format!("names/{id}"))
        });
        let form = if feminine {
            format!("title-{title}-f")
        } else {
            format!("title-{title}")
        };
        let id = format!("fragments/{form}");
        match self.recording_words(&id) {
            Some(_) => vec![Piece::Recording(id)],
            None => vec![fragment(format!("title-{title}"))],
        }
    }

    /// A member of Congress by bioguide id; nothing when there is no recording of the name.
    pub fn name(&self, bioguide: &str) -> Vec<Piece> {
        let id = format!("names/{bioguide}");
        let known = Catalogue::bundled(Language::ENGLISH)
            .recording_words(&id)
            .is_some();
        known.then_some(Piece::Recording(id)).into_iter().collect()
    }

    /// A city by its name in any spelling; nothing when there is no recording of it.
    pub fn place(&self, city: &str) -> Vec<Piece> {
        let id = format!("places/{}", place_slug(city));
        let known = Catalogue::bundled(Language::ENGLISH)
            .recording_words(&id)
            .is_some();
        known.then_some(Piece::Recording(id)).into_iter().collect()
    }
}

fn fragment(name: impl AsRef<str>) -> Piece {
    Piece::Recording(format!("fragments/{}", name.as_ref()))
}

/// A city's name as files are named: lower-case letters and digits, anything else one hyphen.
pub fn place_slug(city: &str) -> String {
    let mut slug = String::with_capacity(city.len());
    for letter in city.chars() {
        let letter = match letter.to_ascii_lowercase() {
            'á' | 'à' | 'ä' | 'â' => 'a',
            'é' | 'è' | 'ë' => 'e',
            'í' => 'i',
            'ó' | 'ö' | 'ō' => 'o',
            'ú' | 'ü' => 'u',
            'ñ' | 'Ñ' => 'n',
            other => other,
        };
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            '\'' | '’' | '.' | 'ʻ' => {}
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

fn zone_name(iana: &str) -> Option<&'static str> {
    Some(match iana {
        "America/New_York" | "America/Detroit" | "US/Eastern" => "eastern",
        "America/Chicago" | "America/Menominee" | "US/Central" => "central",
        "America/Denver" | "America/Boise" | "US/Mountain" => "mountain",
        "America/Phoenix" => "arizona",
        "America/Los_Angeles" | "US/Pacific" => "pacific",
        "America/Anchorage" | "America/Juneau" | "America/Sitka" | "America/Nome" | "America/Yakutat" => {
            "alaska"
        }
        "America/Adak" | "Pacific/Honolulu" => "hawaii",
        "America/Puerto_Rico" | "America/St_Thomas" | "America/Virgin" => "atlantic",
        "Pacific/Pago_Pago" => "samoa",
        "Pacific/Guam" | "Pacific/Saipan" => "chamorro",
        _ if iana.starts_with("America/Indiana/Knox") || iana.starts_with("America/Indiana/Tell_City") => {
            "central"
        }
        _ if iana.starts_with("America/North_Dakota/") => "central",
        _ if iana.starts_with("America/Indiana/") || iana.starts_with("America/Kentucky/") => "eastern",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(language: Language, pieces: impl Fn(&Catalogue) -> Vec<Piece>) -> String {
        let catalogue = Catalogue::bundled(language);
        catalogue.text(&pieces(catalogue))
    }

    #[test]
    fn times_are_said_as_each_language_says_them() {
        for (hour, minute, english, spanish) in [
            (9, 0, "nine a.m.", "las nueve de la mañana"),
            (9, 30, "nine thirty a.m.", "las nueve y media de la mañana"),
            (17, 30, "five thirty p.m.", "las cinco y media de la tarde"),
            (13, 5, "one oh five p.m.", "la una y cinco de la tarde"),
            (20, 15, "eight fifteen p.m.", "las ocho y cuarto de la noche"),
            (12, 0, "noon", "las doce del mediodía"),
            (0, 0, "midnight", "las doce de la noche"),
            (0, 20, "twelve twenty a.m.", "las doce y veinte de la mañana"),
        ] {
            assert_eq!(said(Language::ENGLISH, |words| words.time(hour, minute)), english);
            assert_eq!(said(Language::SPANISH, |words| words.time(hour, minute)), spanish);
        }
    }

    #[test]
    fn dates_are_said_as_each_language_says_them() {
        assert_eq!(said(Language::ENGLISH, |words| words.date(7, 4)), "July fourth");
        assert_eq!(
            said(Language::SPANISH, |words| words.date(7, 4)),
            "el cuatro de julio"
        );
        assert_eq!(
            said(Language::SPANISH, |words| words.date(1, 1)),
            "el primero de enero"
        );
        assert_eq!(said(Language::ENGLISH, |words| words.date(13, 1)), "");
    }

    #[test]
    fn every_minute_hour_number_and_count_has_words() {
        for language in Catalogue::languages() {
            let catalogue = Catalogue::bundled(language);
            let mut pieces = Vec::new();
            for minute in 0..60 {
                pieces.extend(catalogue.time(minute % 24, minute));
            }
            for number in 0..=100 {
                pieces.extend(catalogue.number(u32::from(number as u8)));
                pieces.extend(catalogue.ordinal(number));
                pieces.extend(catalogue.offices(number));
                pieces.extend(catalogue.calls_left(number));
            }
            for piece in pieces {
                let Piece::Recording(id) = piece else { continue };
                assert!(catalogue.recording_words(&id).is_some(), "{language} {id}");
            }
        }
    }

    #[test]
    fn spanish_title_agrees_with_the_person() {
        assert_eq!(
            said(Language::SPANISH, |words| words
                .title("representative", Some("P000197"))),
            "la representante"
        );
        assert_eq!(
            said(Language::SPANISH, |words| words.title("senator", None)),
            "el senador"
        );
        assert_eq!(
            said(Language::ENGLISH, |words| words.title("senator", Some("W000817"))),
            "Senator"
        );
    }

    #[test]
    fn place_is_found_in_any_spelling() {
        assert_eq!(place_slug("St. Paul"), "st-paul");
        assert_eq!(place_slug("Coeur d'Alene"), "coeur-dalene");
        assert_eq!(place_slug("  WINSTON-SALEM "), "winston-salem");
        assert_eq!(place_slug("Española"), "espanola");
    }

    #[test]
    fn zone_without_a_name_is_not_spoken() {
        assert_eq!(
            said(Language::ENGLISH, |words| words.zone("America/Indiana/Vevay")),
            "Eastern time"
        );
        assert_eq!(said(Language::ENGLISH, |words| words.zone("Europe/Paris")), "");
    }
}
