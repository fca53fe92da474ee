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
