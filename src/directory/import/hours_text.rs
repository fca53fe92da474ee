//! Office hours as people write them: read where they have one weekly meaning, flagged where not.

use jiff::civil::Weekday;

use crate::directory::{HoursBasis, OpenSpan, WeeklyHours};

/// What a free text says about hours.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub hours: WeeklyHours,
    pub basis: HoursBasis,
    pub by_appointment: bool,
}

/// Reads a text such as `Mon-Fri 9AM-5:30PM` or `T, Th 9:30am-4:30pm`. Days without times have the times of `default`,
/// times without days its days. A text that names another zone than `zone`, or days of the month, is unclear and gives
/// `default`; so does one that only asks for an appointment, which counts as no hours stated.
pub fn read(text: &str, default: &WeeklyHours, zone: Option<&str>) -> Reading {
    let text = text.to_lowercase();
    let by_appointment = text.contains("appointment");
    let fallback = |basis| Reading {
        hours: default.clone(),
        basis,
        by_appointment,
    };
    let Some(tokens) = tokens(&text, zone) else {
        return fallback(HoursBasis::Unclear);
    };
    if tokens
        .iter()
        .all(|token| matches!(token, Token::Appointment | Token::Also))
    {
        return fallback(HoursBasis::Default);
    }
    match spans(&tokens, default).and_then(|spans| WeeklyHours::new(spans).ok()) {
        Some(hours) => Reading {
            hours,
            basis: HoursBasis::Stated,
            by_appointment,
        },
        None => fallback(HoursBasis::Unclear),
    }
}

/// One word of the text that matters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Day(Weekday),
    /// Two or more days run together: `m-f` needs no token, `weekdays` does.
    WorkingDays,
    Time(Clock),
    /// `-`, `to`, `through`.
    Range,
    /// `,`, `;`, `and`, `/`.
    Also,
    /// Days from here on are by appointment only.
    Appointment,
}

/// A time as written: `9`, `9am`, `5:30pm`, `430pm`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Clock {
    hour: u16,
    minute: u16,
    afternoon: Option<bool>,
}

/// Phrases about visits that leave the hours as they are.
const ASIDES: &[&str] = &[
    "appointments strongly encouraged",
    "please call for an appointment",
    "call to make an appointment",
    "call to schedule appointment",
    "please call ahead",
    "or by appointment",
    "and by appointment",
    "only open",
    "open",
    "from",
    "(",
    ")",
    ".",
];

/// None when a word has no place in weekly hours.
fn tokens(text: &str, zone: Option<&str>) -> Option<Vec<Token>> {
    let mut text = text.to_owned();
    for aside in ASIDES {
        text = text.replace(aside, " ");
    }
    let text = text
        .replace("by appointment only", " @ ")
        .replace("by appointment", " @ ");
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '-' | '–' | '—' => (Some(Token::Range), first.len_utf8()),
            ',' | ';' | '/' | '&' => (Some(Token::Also), 1),
            '@' => (Some(Token::Appointment), 1),
            '0'..='9' => {
                let (clock, length) = clock(rest)?;
                (Some(Token::Time(clock)), length)
            }
            _ => {
                let length = rest
                    .find(|letter: char| !letter.is_alphabetic())
                    .unwrap_or(rest.len());
                (word(&rest[..length], zone)?, length)
            }
        };
        tokens.extend(token);
        if length == 0 {
            return None;
        }
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// None for a word unknown here; `Some(None)` for one that adds nothing.
fn word(word: &str, zone: Option<&str>) -> Option<Option<Token>> {
    let day = |weekday| Some(Some(Token::Day(weekday)));
    match word {
        "m" | "mon" | "monday" | "mondays" => day(Weekday::Monday),
        "t" | "tu" | "tue" | "tues" | "tuesday" | "tuesdays" => day(Weekday::Tuesday),
        "w" | "wed" | "weds" | "wednesday" | "wednesdays" => day(Weekday::Wednesday),
        "th" | "thu" | "thur" | "thurs" | "thursday" | "thursdays" => day(Weekday::Thursday),
        "f" | "fri" | "friday" | "fridays" => day(Weekday::Friday),
        "sat" | "saturday" | "saturdays" => day(Weekday::Saturday),
        "sun" | "sunday" | "sundays" => day(Weekday::Sunday),
        "weekdays" => Some(Some(Token::WorkingDays)),
        "to" | "through" => Some(Some(Token::Range)),
        "and" => Some(Some(Token::Also)),
        "et" | "est" | "edt" | "eastern" => same_zone(zone, &["America/New_York"]),
        "ct" | "cst" | "cdt" | "central" => same_zone(zone, &["America/Chicago"]),
        "mt" | "mst" | "mdt" | "mountain" => same_zone(zone, &["America/Denver", "America/Phoenix"]),
        "pt" | "pst" | "pdt" | "pacific" => same_zone(zone, &["America/Los_Angeles"]),
        _ => None,
    }
}

fn same_zone(zone: Option<&str>, named: &[&str]) -> Option<Option<Token>> {
    zone.is_some_and(|zone| named.contains(&zone)).then_some(None)
}

fn clock(text: &str) -> Option<(Clock, usize)> {
    let digits = |text: &str| {
        text.find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let mut length = digits(text);
    let (hour, minute) = match (length, text[length..].strip_prefix(':')) {
        (1 | 2, Some(rest)) => {
            let minutes = digits(rest);
            if minutes != 2 {
                return None;
            }
            let hour = &text[..length];
            length += 1 + minutes;
            (hour, &rest[..minutes])
        }
        (1 | 2, None) => (&text[..length], "0"),
        (3 | 4, None) => text[..length].split_at(length - 2), // 430pm
        _ => return None,
    };
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let after = text[length..].trim_start();
    let skipped = text[length..].len() - after.len();
    let half = ["a m", "am", "p m", "pm"].iter().find(|half| {
        let ends = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphabetic());
        after.strip_prefix(**half).is_some_and(ends)
    });
    if let Some(half) = half {
        length += skipped + half.len();
    }
    let valid = minute < 60 && (1..=12).contains(&hour);
    valid.then_some((
        Clock {
            hour,
            minute,
            afternoon: half.map(|half| half.starts_with('p')),
        },
        length,
    ))
}

/// Groups the tokens into days and times: `days times`, `times days`, days alone or times alone.
fn spans(tokens: &[Token], default: &WeeklyHours) -> Option<Vec<OpenSpan>> {
    let mut spans = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        rest = trimmed(rest);
        let (mut days, mut after) = take_days(rest)?;
        let times;
        (times, after) = take_times(trimmed_times(after))?;
        if days.is_empty() {
            (days, after) = take_days(trimmed(after))?;
        }
        if days.is_empty() && times.is_empty() {
            return None;
        }
        let (after, only_appointment) = take_appointment(after);
        if !(only_appointment && times.is_empty()) {
            add(&mut spans, &days, &times, default);
        }
        rest = trimmed(after);
    }
    (!spans.is_empty()).then_some(spans)
}

fn add(spans: &mut Vec<OpenSpan>, days: &[Weekday], times: &[(u16, u16)], default: &WeeklyHours) {
    let usual = default.spans();
    let usual_days = || usual.iter().map(|span| span.weekday).collect::<Vec<_>>();
    let usual_times = || usual.first().map(|span| (span.opens_minute, span.closes_minute));
    let days = if days.is_empty() {
        usual_days()
    } else {
        days.to_vec()
    };
    let times = if times.is_empty() {
        usual_times().into_iter().collect()
    } else {
        times.to_vec()
    };
    for weekday in days {
        spans.extend(times.iter().map(|&(opens_minute, closes_minute)| OpenSpan {
            weekday,
            opens_minute,
            closes_minute,
        }));
    }
}

fn trimmed(mut tokens: &[Token]) -> &[Token] {
    while let [Token::Also, rest @ ..] = tokens {
        tokens = rest;
    }
    tokens
}

/// Between days and times a comma, a semicolon or nothing.
fn trimmed_times(tokens: &[Token]) -> &[Token] {
    match tokens {
        [Token::Also, rest @ ..] if matches!(rest.first(), Some(Token::Time(_))) => rest,
        _ => tokens,
    }
}

fn take_appointment(tokens: &[Token]) -> (&[Token], bool) {
    match trimmed(tokens) {
        [Token::Appointment, rest @ ..] => (rest, true),
        _ => (tokens, false),
    }
}

fn take_days(mut tokens: &[Token]) -> Option<(Vec<Weekday>, &[Token])> {
    let mut days = Vec::new();
    loop {
        match tokens {
            [Token::Day(first), Token::Range, Token::Day(last), rest @ ..] => {
                let (first, last) = (first.to_monday_zero_offset(), last.to_monday_zero_offset());
                if first >= last {
                    return None;
                }
                days.extend((first..=last).filter_map(|at| Weekday::from_monday_zero_offset(at).ok()));
                tokens = rest;
            }
            [Token::Day(day), rest @ ..] => {
                days.push(*day);
                tokens = rest;
            }
            [Token::WorkingDays, rest @ ..] => {
                days.extend((0..5).filter_map(|at| Weekday::from_monday_zero_offset(at).ok()));
                tokens = rest;
            }
            [Token::Also, rest @ ..] if !days.is_empty() && starts_with_day(trimmed(rest)) => {
                tokens = trimmed(rest)
            }
            _ => return Some((days, tokens)),
        }
    }
}

fn starts_with_day(tokens: &[Token]) -> bool {
    matches!(tokens.first(), Some(Token::Day(_) | Token::WorkingDays))
}

/// Opening and closing in minutes after midnight, and the tokens after them.
type Times<'a> = (Vec<(u16, u16)>, &'a [Token]);

fn take_times(mut tokens: &[Token]) -> Option<Times<'_>> {
    let mut times = Vec::new();
    loop {
        match tokens {
            [Token::Time(opens), Token::Range, Token::Time(closes), rest @ ..] => {
                times.push(minutes(*opens, *closes)?);
                tokens = rest;
            }
            [Token::Time(_), ..] => return None,
            [Token::Also, rest @ ..] if !times.is_empty() && matches!(rest.first(), Some(Token::Time(_))) => {
                tokens = rest;
            }
            _ => return Some((times, tokens)),
        }
    }
}

/// An opening without am or pm takes the half day that puts it before its closing, at most twelve hours before. A
/// closing without am or pm says nothing certain.
fn minutes(opens: Clock, closes: Clock) -> Option<(u16, u16)> {
    let minute =
        |clock: Clock, afternoon: bool| clock.hour % 12 * 60 + clock.minute + if afternoon { 720 } else { 0 };
    let closes_minute = minute(closes, closes.afternoon?);
    let opens_minute = match opens.afternoon {
        Some(afternoon) => minute(opens, afternoon),
        None => {
            let candidates = [minute(opens, true), minute(opens, false)];
            candidates.into_iter().find(|&opens| opens < closes_minute)?
        }
    };
    (opens_minute < closes_minute).then_some((opens_minute, closes_minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours_of(text: &str) -> Reading {
        read(text, &WeeklyHours::district_default(), Some("America/Chicago"))
    }

    #[test]
    fn common_spellings_have_one_weekly_meaning() {
        for (text, hours) in [
            ("Monday through Friday, 9 a.m. to 5 p.m.", "mon-fri 09:00-17:00"),
            ("8:30am - 5:30pm (M-F)", "mon-fri 08:30-17:30"),
            ("M-F 8:30am-430pm", "mon-fri 08:30-16:30"),
            ("Mon–Fri, 9am–5pm", "mon-fri 09:00-17:00"),
            ("Monday-Friday; 8:00am – 5:00pm CT", "mon-fri 08:00-17:00"),
            (
                "M,W,F 9AM-5PM",
                "mon 09:00-17:00; wed 09:00-17:00; fri 09:00-17:00",
            ),
            ("T, Th 9:30am-4:30pm", "tue 09:30-16:30; thu 09:30-16:30"),
            (
                "Tuesday 10:00AM-12:00PM and Thursday 2:00PM-4:00PM",
                "tue 10:00-12:00; thu 14:00-16:00",
            ),
            ("9AM-1PM and 2:30PM-5PM", "mon-fri 09:00-13:00 14:30-17:00"),
            (
                "Only open Tuesdays and Thursdays",
                "tue 09:00-17:00; thu 09:00-17:00",
            ),
            ("8:30 - 5pm", "mon-fri 08:30-17:00"),
            ("12-4pm, weekdays", "mon-fri 12:00-16:00"),
        ] {
            let reading = hours_of(text);
            assert_eq!(
                (reading.hours.to_string().as_str(), reading.basis),
                (hours, HoursBasis::Stated),
                "{text}"
            );
        }
    }

    #[test]
    fn days_by_appointment_only_are_left_closed() {
        let reading = hours_of("Monday-Wednesday 9:00AM-5:00PM, Thursday and Friday by appointment only");
        assert_eq!(reading.hours.to_string(), "mon-wed 09:00-17:00");
        assert!(reading.by_appointment);
    }

    #[test]
    fn asking_for_an_appointment_says_nothing_about_the_telephone() {
        for text in [
            "By appointment only.",
            "Call to schedule appointment",
            "Open by appointment only",
        ] {
            let reading = hours_of(text);
            assert_eq!(
                (reading.basis, reading.by_appointment),
                (HoursBasis::Default, true),
                "{text}"
            );
            assert_eq!(reading.hours, WeeklyHours::district_default());
        }
    }

    #[test]
    fn texts_without_one_weekly_meaning_are_flagged() {
        for text in [
            "2nd and 4th Mondays 10:00AM–4:00PM",
            "First Friday of every month 9:00AM - 1:00PM",
            "9am-5pm ET", // the office is in Chicago's zone
            "9-5",        // of which half of the day?
            "Mon-Fri 9am",
            "5pm-9am",
            "Fri-Mon 9am-5pm",
            "13:00-17:00 in summer",
            "Mon-Fri 9am-5pm, Fri 9am-1pm", // which on Friday?
            "call 555-0100",
            "9:7am-5pm",
            "９am-5pm",
        ] {
            assert_eq!(hours_of(text).basis, HoursBasis::Unclear, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_into_valid_hours(text in "([0-9]{1,4}|[:,;&/ .()-]|am|pm|mon|tue|th|fri|to|and|by appointment only|[a-zé–])*") {
            let reading = hours_of(&text);
            proptest::prop_assert_eq!(reading.hours.to_string().parse(), Ok(reading.hours));
        }
    }
}
