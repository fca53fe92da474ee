//! Weekly opening hours in a place's own time zone, safe across changes of daylight saving time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

/// An office this close to its closing time is better not rung (hotline specification, after hours).
pub const PRE_CLOSE_MARGIN: Duration = Duration::from_secs(10 * 60);

/// How far ahead an opening is looked for. An office that opens once a week and meets a holiday needs 14 days.
const LOOK_AHEAD_DAYS: usize = 28;

const DAY: u16 = 24 * 60;

/// Why spans or text were not weekly hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    #[error("hours must end after they begin and by 24:00: {0}")]
    Span(OpenSpan),
    #[error("hours overlap: {0} and {1}")]
    Overlap(OpenSpan, OpenSpan),
    #[error("{0:?} are not hours: write them as \"mon-fri 09:00-17:00; sat 10:00-12:00\"")]
    Malformed(String),
}

/// One stretch of one weekday, in minutes after midnight, wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenSpan {
    pub weekday: Weekday,
    pub opens_minute: u16,
    /// Exclusive; 1440 is midnight at the end of the day.
    pub closes_minute: u16,
}

impl OpenSpan {
    fn key(self) -> (i8, u16) {
        (self.weekday.to_monday_zero_offset(), self.opens_minute)
    }
}

impl fmt::Display for OpenSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = day_word(self.weekday);
        write!(
            f,
            "{day} {}-{}",
            clock(self.opens_minute),
            clock(self.closes_minute)
        )
    }
}

/// An office's week: any number of spans per day, so that breaks are simply left out. No span at all: never open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeeklyHours(Arc<[OpenSpan]>);

/// Whether an office is open at an instant, and when that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenState {
    /// `until` is the first closed instant; for hours without an end, the end of the 28 days looked ahead.
    Open { until: Timestamp },
    /// `opens` is none if the office does not open within 28 days.
    Closed { opens: Option<Timestamp> },
}

impl OpenState {
    pub fn is_open(self) -> bool {
        matches!(self, OpenState::Open { .. })
    }
}

impl WeeklyHours {
    /// # Errors
    /// [`HoursError`] when a span is empty, ends after 24:00 or overlaps another.
    pub fn new(mut spans: Vec<OpenSpan>) -> Result<Self, HoursError> {
        spans.sort_by_key(|span| span.key());
        for span in &spans {
            if span.opens_minute >= span.closes_minute || span.closes_minute > DAY {
                return Err(HoursError::Span(*span));
            }
        }
        for pair in spans.windows(2) {
            if pair[0].weekday == pair[1].weekday && pair[1].opens_minute < pair[0].closes_minute {
                return Err(HoursError::Overlap(pair[0], pair[1]));
            }
        }
        Ok(Self(spans.into()))
    }

    /// Monday to Friday, 09:00 to 17:30: offices in Washington, by convention.
    pub fn capitol_default() -> Self {
        Self::working_days(9 * 60, 17 * 60 + 30)
    }

    /// Monday to Friday, 09:00 to 17:00: offices at home, by convention.
    pub fn district_default() -> Self {
        Self::working_days(9 * 60, 17 * 60)
    }

    fn working_days(opens_minute: u16, closes_minute: u16) -> Self {
        let span = |weekday| OpenSpan {
            weekday,
            opens_minute,
            closes_minute,
        };
        Self(WORKING_DAYS.map(span).into())
    }

    pub fn spans(&self) -> &[OpenSpan] {
        &self.0
    }

    /// Open or closed at this instant in this zone. Days for which `closed` is true have no hours.
    ///
    /// A wall-clock time that a change of daylight saving time skips counts as the instant of the change's other side;
    /// one that happens twice opens at its first and closes at its second occurrence.
    pub fn open_state(&self, zone: &TimeZone, at: Timestamp, closed: impl Fn(Date) -> bool) -> OpenState {
        let mut open_until = None;
        let mut next_date = Some(zone.to_datetime(at).date());
        for _ in 0..LOOK_AHEAD_DAYS {
            let Some(date) = next_date else { break };
            next_date = date.tomorrow().ok();
            if closed(date) {
                continue;
            }
            for span in self.0.iter().filter(|span| span.weekday == date.weekday()) {
                let Some((opens, closes)) = instants(*span, date, zone) else {
                    continue;
                };
                match open_until {
                    Some(until) if opens <= until => open_until = Some(closes.max(until)),
                    Some(until) => return OpenState::Open { until },
                    None if closes <= at => {}
                    None if opens > at => return OpenState::Closed { opens: Some(opens) },
                    None => open_until = Some(closes),
                }
            }
        }
        match open_until {
            Some(until) => OpenState::Open { until },
            None => OpenState::Closed { opens: None },
        }
    }
}

/// None when the zone skips the whole span, or the date is at the end of time.
fn instants(span: OpenSpan, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let at = |minute: u16| {
        let day = if minute == DAY {
            date.tomorrow().ok()?
        } else {
            date
        };
        let time = Time::new((minute % DAY / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
        Some(zone.to_ambiguous_timestamp(day.to_datetime(time)))
    };
    let opens = at(span.opens_minute)?.compatible().ok()?;
    let closes = at(span.closes_minute)?.later().ok()?;
    (opens < closes).then_some((opens, closes))
}

const WORKING_DAYS: [Weekday; 5] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
];

const DAY_WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn day_word(weekday: Weekday) -> &'static str {
    DAY_WORDS[weekday.to_monday_zero_offset() as usize]
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

impl fmt::Display for WeeklyHours {
    /// One form that reads back: `mon-fri 09:00-12:00 13:00-17:00; sat 10:00-12:00`; `closed` for no hours at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("closed");
        }
        let times = |offset: usize| -> Vec<String> {
            let spans = self
                .0
                .iter()
                .filter(|span| span.weekday.to_monday_zero_offset() as usize == offset);
            spans
                .map(|span| format!("{}-{}", clock(span.opens_minute), clock(span.closes_minute)))
                .collect()
        };
        let (mut first, mut groups) = (0, Vec::new());
        while first < 7 {
            let same = times(first);
            let mut last = first;
            while last < 6 && times(last + 1) == same {
                last += 1;
            }
            if !same.is_empty() {
                let days = match first == last {
                    true => DAY_WORDS[first].to_owned(),
                    false => format!("{}-{}", DAY_WORDS[first], DAY_WORDS[last]),
                };
                groups.push(format!("{days} {}", same.join(" ")));
            }
            first = last + 1;
        }
        f.write_str(&groups.join("; "))
    }
}

impl FromStr for WeeklyHours {
    type Err = HoursError;
    fn from_str(text: &str) -> Result<Self, HoursError> {
        let malformed = || HoursError::Malformed(text.to_owned());
        if text == "closed" {
            return Self::new(Vec::new());
        }
        let mut spans = Vec::new();
        for group in text.split(';') {
            let mut words = group.split_whitespace();
            let days = days_from(words.next().unwrap_or_default()).ok_or_else(malformed)?;
            let before = spans.len();
            for times in words {
                let (opens, closes) = times.split_once('-').ok_or_else(malformed)?;
                let opens_minute = minute_from(opens).ok_or_else(malformed)?;
                let closes_minute = minute_from(closes).ok_or_else(malformed)?;
                spans.extend(days.iter().map(|&weekday| OpenSpan {
                    weekday,
                    opens_minute,
                    closes_minute,
                }));
            }
            if spans.len() == before {
                return Err(malformed());
            }
        }
        Self::new(spans)
    }
}

fn days_from(text: &str) -> Option<Vec<Weekday>> {
    let offset = |word: &str| DAY_WORDS.iter().position(|day| *day == word);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (offset(first)?, offset(last)?);
    (first..=last)
        .map(|at| Weekday::from_monday_zero_offset(at as i8).ok())
        .collect::<Option<Vec<_>>>()
        .filter(|days| !days.is_empty())
}

fn minute_from(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let valid = hour.len() == 2 && minute.len() == 2;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (valid && minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use jiff::civil::{DateTime, date};
    use jiff::{SignedDuration, Span};
    use proptest::prelude::*;

    use super::*;

    /// Every zone of the bundled ZIP codes.
    const ZONES: [&str; 11] = [
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Phoenix",
        "America/Los_Angeles",
        "America/Anchorage",
        "America/Adak",
        "America/Puerto_Rico",
        "Pacific/Honolulu",
        "Pacific/Guam",
        "Pacific/Pago_Pago",
    ];

    #[test]
    fn zones_of_these_tests_are_those_of_the_data() {
        let dataset = crate::directory::Dataset::bundled().unwrap();
        let used: std::collections::BTreeSet<_> = dataset
            .zips
            .iter()
            .filter_map(|row| row.timezone.as_deref())
            .collect();
        assert_eq!(used, ZONES.into_iter().collect());
    }

    #[test]
    fn office_opens_at_nine_closes_at_half_past_five_and_says_so() {
        let hours = WeeklyHours::capitol_default();
        let state = |text: &str| hours.open_state(&zone("America/New_York"), at(text), |_| false);
        let opens = |text: &str| OpenState::Closed {
            opens: Some(at(text)),
        };
        assert_eq!(
            state("2026-06-15T08:59:59-04:00"),
            opens("2026-06-15T09:00:00-04:00")
        );
        assert_eq!(
            state("2026-06-15T09:00:00-04:00"),
            OpenState::Open {
                until: at("2026-06-15T17:30:00-04:00")
            }
        );
        assert_eq!(
            state("2026-06-15T17:29:59-04:00"),
            OpenState::Open {
                until: at("2026-06-15T17:30:00-04:00")
            }
        );
        assert_eq!(
            state("2026-06-15T17:30:00-04:00"),
            opens("2026-06-16T09:00:00-04:00")
        );
        assert_eq!(
            state("2026-06-19T18:00:00-04:00"),
            opens("2026-06-22T09:00:00-04:00")
        ); // Friday to Monday
    }

    #[test]
    fn next_opening_keeps_the_wall_clock_across_changes_of_daylight_saving_time() {
        let hours = WeeklyHours::district_default();
        let state = |text: &str| hours.open_state(&zone("America/Los_Angeles"), at(text), |_| false);
        // Asked on the Friday before each change of 2026.
        let spring = OpenState::Closed {
            opens: Some(at("2026-03-09T09:00:00-07:00")),
        };
        assert_eq!(state("2026-03-06T18:00:00-08:00"), spring);
        let autumn = OpenState::Closed {
            opens: Some(at("2026-11-02T09:00:00-08:00")),
        };
        assert_eq!(state("2026-10-30T18:00:00-07:00"), autumn);
    }

    #[test]
    fn closed_days_are_passed_over_however_many_there_are() {
        let hours: WeeklyHours = "wed 10:00-16:00".parse().unwrap();
        let holiday = |day: Date| day == date(2026, 11, 11) || day == date(2026, 11, 18);
        let state = hours.open_state(&zone("America/Chicago"), at("2026-11-10T12:00:00-06:00"), holiday);
        assert_eq!(
            state,
            OpenState::Closed {
                opens: Some(at("2026-11-25T10:00:00-06:00"))
            }
        );
        let never = hours.open_state(&zone("America/Chicago"), at("2026-11-10T12:00:00-06:00"), |_| {
            true
        });
        assert_eq!(never, OpenState::Closed { opens: None });
    }

    #[test]
    fn midnight_between_open_days_is_no_closing() {
        let hours: WeeklyHours = "mon-sun 00:00-24:00".parse().unwrap();
        let now = at("2026-11-01T00:30:00-04:00");
        let OpenState::Open { until } = hours.open_state(&zone("America/New_York"), now, |_| false) else {
            panic!("an office without closing time is closed");
        };
        assert!(until.duration_since(now) > SignedDuration::from_hours(27 * 24));
        let late: WeeklyHours = "fri 20:00-24:00; sat 00:00-02:00".parse().unwrap();
        let state = late.open_state(&zone("America/New_York"), at("2026-06-19T21:00:00-04:00"), |_| {
            false
        });
        assert_eq!(
            state,
            OpenState::Open {
                until: at("2026-06-20T02:00:00-04:00")
            }
        );
    }

    #[test]
    fn leap_day_and_year_end_are_days_like_others() {
        let hours = WeeklyHours::district_default();
        let state = |text: &str| hours.open_state(&zone("America/New_York"), at(text), |_| false);
        assert_eq!(
            state("2028-02-28T18:00:00-05:00"),
            OpenState::Closed {
                opens: Some(at("2028-02-29T09:00:00-05:00"))
            }
        );
        assert!(state("2028-02-29T12:00:00-05:00").is_open());
        assert_eq!(
            state("2026-12-31T18:00:00-05:00"),
            OpenState::Closed {
                opens: Some(at("2027-01-01T09:00:00-05:00"))
            }
        );
        assert!(
            !hours
                .open_state(&TimeZone::UTC, Timestamp::MAX, |_| false)
                .is_open()
        );
        assert!(
            !hours
                .open_state(&TimeZone::UTC, Timestamp::MIN, |_| true)
                .is_open()
        );
    }

    #[test]
    fn around_every_change_of_daylight_saving_time_the_wall_clock_decides() {
        let all: WeeklyHours = "mon-fri 09:00-17:00; sat-sun 00:15-05:45".parse().unwrap();
        let mut changes = 0;
        for name in ZONES {
            let zone = zone(name);
            let from = at("2025-01-01T00:00:00Z");
            for change in zone
                .following(from)
                .take_while(|change| change.timestamp() < at("2036-01-01T00:00:00Z"))
            {
                changes += 1;
                let mut instant = change.timestamp() - Span::new().hours(60);
                while instant < change.timestamp() + Span::new().hours(60) {
                    check(&all, &zone, instant);
                    instant += Span::new().minutes(13);
                }
            }
        }
        assert_eq!(
            changes,
            6 * 2 * 11,
            "six zones change twice in each of eleven years"
        );
    }

    proptest! {
        #[test]
        fn any_hours_in_any_zone_agree_with_the_wall_clock(
            zone_at in 0..ZONES.len(),
            second in 1_735_689_600_i64..2_082_758_400, // 2025 to 2035
            spans in prop::collection::vec((0_i8..7, 0_u16..1440, 1_u16..600), 0..8),
        ) {
            let spans = spans.into_iter().map(|(day, opens_minute, length)| OpenSpan {
                weekday: Weekday::from_monday_zero_offset(day).unwrap(),
                opens_minute,
                closes_minute: (opens_minute + length).min(1440),
            });
            let mut kept: Vec<OpenSpan> = Vec::new();
            for span in spans {
                if WeeklyHours::new([kept.clone(), vec![span]].concat()).is_ok() {
                    kept.push(span);
                }
            }
            let hours = WeeklyHours::new(kept).unwrap();
            let instant = Timestamp::from_second(second).unwrap();
            check(&hours, &zone(ZONES[zone_at]), instant);
            prop_assert_eq!(hours.to_string().parse(), Ok(hours));
        }

        #[test]
        fn any_text_is_hours_or_an_error(text in "([a-z]{3}|[0-9]{1,4}|[-:; ]|mon-fri 09:00-17:00)*") {
            if let Ok(hours) = text.parse::<WeeklyHours>() {
                prop_assert_eq!(hours.to_string().parse(), Ok(hours));
            }
        }
    }

    #[test]
    fn impossible_hours_are_refused() {
        for text in [
            "",
            "mon",
            "mon 17:00-09:00",
            "mon 09:00-24:01",
            "mon 9:00-17:00",
            "fri-mon 09:00-17:00",
            "day 09:00-10:00",
        ] {
            assert!(text.parse::<WeeklyHours>().is_err(), "{text}");
        }
        let overlap = "mon 09:00-12:00 11:00-17:00".parse::<WeeklyHours>().unwrap_err();
        assert_eq!(
            overlap.to_string(),
            "hours overlap: mon 09:00-12:00 and mon 11:00-17:00"
        );
    }

    /// Open or closed as the wall clock says, and the change told is where it changes.
    fn check(hours: &WeeklyHours, zone: &TimeZone, instant: Timestamp) {
        let state = hours.open_state(zone, instant, |_| false);
        let shown = || format!("{hours} in {} at {instant}: {state:?}", zone.iana_name().unwrap());
        if !repeated(zone, instant) {
            assert_eq!(
                state.is_open(),
                says_wall_clock(hours, zone, instant),
                "{}",
                shown()
            );
        }
        let (change, after) = match state {
            OpenState::Open { until } => (until, false),
            OpenState::Closed { opens: Some(opens) } => (opens, true),
            OpenState::Closed { opens: None } => {
                // Hours that the zone skips every time are no hours.
                assert!(hours.spans().is_empty(), "{}", shown());
                return;
            }
        };
        assert!(change > instant, "{}", shown());
        let looked_ahead = change.duration_since(instant) > SignedDuration::from_hours(27 * 24);
        if !looked_ahead {
            assert_eq!(
                hours.open_state(zone, change, |_| false).is_open(),
                after,
                "{}",
                shown()
            );
        }
        let just_before = change - SignedDuration::from_secs(1);
        assert_eq!(
            hours.open_state(zone, just_before, |_| false).is_open(),
            !after,
            "{}",
            shown()
        );
    }

    fn says_wall_clock(hours: &WeeklyHours, zone: &TimeZone, instant: Timestamp) -> bool {
        let local = zone.to_datetime(instant);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap();
        let inside = |span: &OpenSpan| {
            span.weekday == local.weekday() && (span.opens_minute..span.closes_minute).contains(&minute)
        };
        hours.spans().iter().any(inside)
    }

    /// Whether the local time of this instant happens twice; spans are then open through both.
    fn repeated(zone: &TimeZone, instant: Timestamp) -> bool {
        let local: DateTime = zone.to_datetime(instant);
        zone.to_ambiguous_timestamp(local).is_ambiguous()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
}
