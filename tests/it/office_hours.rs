//! Offices are rung when they are open, and callers are told when they are not.

use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::EventKind;

use crate::support::Story;

fn at(moment: &str, keys: &[&str]) -> crate::support::Told {
    Story {
        at: moment.to_owned(),
        ..Story::keying(keys)
    }
    .tell()
}

#[test]
fn district_office_is_rung_when_washington_is_closed() {
    // Friday 18:30 in Washington, 15:30 in California.
    let told = at("2026-09-18T22:30:00Z", &["94110"]);
    assert_eq!(told.disposition(), SessionDisposition::CompletedAll);
    let heard = told.heard();
    assert!(heard.contains("The Washington office is closed"), "{heard}");
    assert!(heard.contains("I'll try their San Francisco office"), "{heard}");
    assert!(told.has_event(|kind| matches!(kind, EventKind::FailedOver { .. })));
}

#[test]
fn nobody_is_rung_at_night_and_the_next_opening_is_told() {
    // Saturday noon.
    let told = at("2026-09-19T16:00:00Z", &["94110"]);
    assert_eq!(told.leg_dispositions(), [LegDisposition::ClosedHours; 3]);
    assert_eq!(told.disposition(), SessionDisposition::AfterHoursEnd);
    assert!(told.heard().contains("It opens Monday at"), "{}", told.heard());
}

#[test]
fn federal_holiday_is_closed() {
    // Thanksgiving Day 2026, a Thursday, noon in Washington.
    let told = at("2026-11-26T17:00:00Z", &["94110"]);
    assert_eq!(told.disposition(), SessionDisposition::AfterHoursEnd);
    assert!(told.heard().contains("tomorrow"), "{}", told.heard());
}

#[test]
fn office_opens_by_its_wall_clock_across_the_change_to_daylight_time() {
    // Sunday 8 March 2026, 01:30 in Washington: the clocks change in half an hour.
    let told = at("2026-03-08T06:30:00Z", &["94110"]);
    let opening = told.events().into_iter().find_map(|kind| match kind {
        EventKind::OfficeClosed { opens_at, .. } => opens_at.as_ref().copied(),
        _ => None,
    });
    // Monday 9 March, 09:00 Eastern Daylight Time is 13:00 UTC; Standard Time would give 14:00.
    assert_eq!(opening.unwrap().timestamp().to_string(), "2026-03-09T13:00:00Z");
}

#[test]
fn office_that_closes_within_minutes_is_not_rung() {
    // 17:25 in Washington; the offices close at 17:30.
    let told = at("2026-09-16T21:25:00Z", &["20001"]);
    assert_eq!(told.leg_dispositions(), [LegDisposition::ClosedHours]);
    assert!(
        told.heard().contains("The Washington office is closed"),
        "{}",
        told.heard()
    );
}
