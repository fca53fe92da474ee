//! Ladders that no ordinary call has.

use super::*;
use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::call::record::{
    CallSummary, Cause, Direction, EndedBy, EvidenceSource, KeptZip, LegOutcome, LegRecord, MediaSummary,
    Party, Route,
};
use crate::units::{CallId, OfficeId, TargetId, TrunkName};

const SECOND: i64 = 1_000_000;

fn leg(number: u16, office: Option<&str>) -> LegRecord {
    let party = match office {
        None => Party::Caller,
        Some(office) => Party::Office {
            target: TargetId::new("us:x"),
            office: Some(OfficeId::new(office)),
            number: None,
        },
    };
    LegRecord {
        leg: LegNumber(number),
        direction: Direction::Inbound,
        party,
        trunk: Some(TrunkName::new("carrier")),
        choice: None,
        attempt: 1,
        caller_id_policy: None,
        started_at: UtcMicros(0),
        ended_at: Some(UtcMicros(SECOND)),
        end: office.map(|_| LegOutcome {
            ringing_at: None,
            answered_at: None,
            disposition: LegDisposition::Busy,
            ended_by: EndedBy::Trunk,
            cause: Cause {
                sip_status: Some(486),
                ..Cause::default()
            },
            evidence: EvidenceSource::Signal,
            confidence: 100,
            media: MediaSummary::default(),
        }),
    }
}

fn call(legs: Vec<LegRecord>) -> CallRecord {
    CallRecord {
        summary: CallSummary {
            id: CallId::new(1, 1),
            direction: Direction::Inbound,
            started_at: UtcMicros(0),
            answered_at: None,
            ended_at: Some(UtcMicros(SECOND)),
            route: Route::default(),
            caller_hmac: None,
            language: None,
            zip: KeptZip::default(),
            data_version: None,
            disposition: Some(SessionDisposition::NoTargetReached),
            ended_by: Some(EndedBy::Server),
            sip_call_id: None,
        },
        legs,
        events: Vec::new(),
    }
}

fn message(at: i64, leg: u16, sent: bool, text: &str) -> TracedMessage {
    TracedMessage {
        at: UtcMicros(at),
        leg: LegNumber(leg),
        sent,
        local: "[2001:db8:85a3::8a2e:370:7334]:5060".parse().unwrap(),
        remote: "[2001:db8:ffff:ffff:ffff:ffff:ffff:1]:5060".parse().unwrap(),
        transport: sip::Transport::Tls,
        copies: Vec::new(),
        length: 10,
        text: format!("{text}\r\n\r\n").into_bytes(),
    }
}

fn screen(width: usize, unicode: bool) -> Screen {
    Screen {
        width,
        unicode,
        colour: false,
    }
}

/// A caller and four offices, one after the other, all busy.
fn hunt() -> (CallRecord, Trace) {
    let mut legs = vec![leg(0, None)];
    let mut messages = vec![message(
        0,
        0,
        false,
        "INVITE sip:a SIP/2.0\r\nCSeq: 4294967295 INVITE",
    )];
    for number in 1..=4 {
        legs.push(leg(
            number,
            Some(&format!("us:bioguide:P00019{number}/washington")),
        ));
        let at = i64::from(number) * 20 * SECOND;
        messages.push(message(
            at,
            number,
            true,
            "INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE",
        ));
        let busy = "SIP/2.0 486 \x1b[2JBusy \u{4f60}Here\r\nCSeq: 1 INVITE\r\nRetry-After: 5";
        messages.push(message(at + 5000, number, false, busy));
    }
    let trace = Trace {
        messages,
        left_out: 12,
        gap_after: 5,
    };
    (call(legs), trace)
}

#[test]
fn many_offices_share_a_column_of_a_narrow_screen() {
    let (call, trace) = hunt();
    let drawn = ladder(&call, &trace, &screen(80, true), false);
    let expected = include_str!("ladder_narrow.txt");
    assert!(drawn == expected, "drawn:\n{drawn}\nexpected:\n{expected}");
    let wide = ladder(&call, &trace, &screen(160, true), false);
    assert!(wide.contains("us:bio…4/washington"), "{wide}");
    assert!(
        !wide.contains(" leg 2: "),
        "each has a column of its own:\n{wide}"
    );
}

#[test]
fn no_line_of_the_diagram_is_wider_than_the_screen_whatever_it_holds() {
    let (call, mut trace) = hunt();
    let long = "x".repeat(300);
    trace.messages.push(message(
        90 * SECOND,
        1,
        true,
        &format!("{long} sip:b SIP/2.0\r\nCSeq: 7 {long}"),
    ));
    trace.messages.push(message(
        90 * SECOND,
        2,
        false,
        &format!("SIP/2.0 500 {long}\r\nReason: {long} {long}"),
    ));
    trace.messages.push(message(i64::MAX, 3, false, ""));
    trace.messages.push(message(i64::MIN, 0, true, "\u{1b}"));
    for width in [80, 81, 100, 133, 240] {
        for unicode in [true, false] {
            let drawn = ladder(&call, &trace, &screen(width, unicode), true);
            let diagram = drawn.split("\n\n").next().unwrap();
            for line in diagram.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(
                !drawn.contains('\u{1b}') && (unicode || drawn.is_ascii()),
                "{drawn}"
            );
        }
    }
}

#[test]
fn empty_traces_and_calls_without_legs_are_drawn_too() {
    for trace in [
        Trace::default(),
        Trace {
            left_out: 3,
            ..Trace::default()
        },
        Trace {
            messages: vec![message(0, 7, true, "OPTIONS sip:a SIP/2.0")],
            ..Trace::default()
        },
    ] {
        let drawn = ladder(&call(Vec::new()), &trace, &screen(80, true), true);
        assert!(drawn.contains("Trunkline"), "{drawn}");
    }
}

#[test]
fn words_on_an_arrow_get_fewer_as_room_gets_less() {
    let glance = Glance::of(b"SIP/2.0 407 Proxy Authentication Required\r\nCSeq: 1 INVITE\r\n\r\n");
    for (room, words) in [
        (60, "407 Proxy Authentication Required (1 INVITE)"),
        (24, "407 Proxy Au… (1 INVITE)"),
        (16, "407 (1 INVITE)"),
        (8, "407"),
        (2, "4…"),
    ] {
        assert_eq!(label(&glance, room), words);
    }
}
