//! Several trunks: which one a call goes out by, and which one next.

use std::time::Duration;

use trunkline::call::disposition::LegDisposition;
use trunkline::call::record::EventKind;
use trunkline::switch::engine::{Input, TrunkStatus};
use trunkline::units::TrunkName;

use crate::lines::{DIALLED, Lines, header, trunk};
use crate::support::seconds;

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.20.2\r\ns=-\r\nc=IN IP4 127.0.20.2\r\nt=0 0\r\nm=audio 30002 RTP/AVP 0\r\n";
const CONTACT: &str = "Contact: <sip:b@127.0.20.2:5060>\r\n";

/// Trunks `a`, `b` and so on, each with more keys.
fn trunks(keys: &[&str]) -> String {
    let tables = keys
        .iter()
        .zip('a'..)
        .map(|(keys, name)| format!("[[trunk]]\nname = \"{name}\"\nhost = \"{name}.example.com\"\n{keys}\n"));
    tables.collect()
}

fn lines(keys: &[&str]) -> Lines {
    Lines::new(&trunks(keys))
}

#[test]
fn a_trunk_that_is_unavailable_hands_the_call_to_the_next_and_the_caller_hears_of_neither() {
    for status in [
        "503 Service Unavailable",
        "500 Error",
        "502 Bad Gateway",
        "504 Timeout",
        "407 Who",
    ] {
        let mut lines = lines(&["", ""]);
        let call = lines.call(trunk(0));
        assert_eq!(lines.dialled(), [trunk(0)], "{status}");
        lines.answer("INVITE", status, "", "");
        assert_eq!(lines.dialled(), [trunk(0), trunk(1)], "{status}");
        assert!(
            lines
                .invite()
                .starts_with(&format!("INVITE sip:{DIALLED}@b.example.com "))
        );
        assert_eq!(lines.told_caller(&call), 180, "{status}");
        lines.answer("INVITE", "200 OK", CONTACT, SDP);
        assert_eq!(lines.told_caller(&call), 200, "{status}");
        // Two legs in the record: one that failed, one that is up.
        assert_eq!(lines.legs().len(), 1);
        assert!(lines.legs()[0].disposition != LegDisposition::NoAnswer);
    }
}

#[test]
fn what_the_callee_says_is_final() {
    for (status, disposition) in [
        ("486 Busy Here", LegDisposition::Busy),
        ("480 Temporarily Unavailable", LegDisposition::NoAnswer),
        ("404 Not Found", LegDisposition::NotInService),
        ("600 Busy Everywhere", LegDisposition::Busy),
        ("603 Decline", LegDisposition::Declined),
    ] {
        let mut lines = lines(&["", ""]);
        lines.call(trunk(0));
        lines.answer("INVITE", status, "", "");
        lines.pass(seconds(3));
        assert_eq!(lines.dialled(), [trunk(0)], "{status}");
        assert_eq!(lines.legs()[0].disposition, disposition, "{status}");
    }
}

#[test]
fn a_silent_trunk_is_left_after_four_seconds_when_there_is_another() {
    let mut lines = lines(&["", ""]);
    let call = lines.call(trunk(0));
    lines.pass(Duration::from_millis(3900));
    assert_eq!(lines.dialled(), [trunk(0)]);
    lines.pass(Duration::from_millis(200));
    assert_eq!(lines.dialled(), [trunk(0), trunk(1)]);
    // The next call does not wait for it again.
    lines.call(trunk(1));
    assert_eq!(lines.dialled(), [trunk(0), trunk(1), trunk(1)]);
    assert_eq!(lines.told_caller(&call), 180);
}

#[test]
fn a_trunk_that_cannot_be_reached_is_left_at_once() {
    let mut lines = lines(&["", ""]);
    lines.call(trunk(0));
    lines.unreachable(trunk(0));
    assert_eq!(lines.dialled(), [trunk(0), trunk(1)]);
}

#[test]
fn retry_after_is_honoured_and_the_trunk_used_again_when_it_is_over() {
    let mut lines = lines(&["", ""]);
    lines.call(trunk(0));
    lines.answer("INVITE", "503 Busy", "Retry-After: 60\r\n", "");
    assert!(lines.engine.trunks()[0].resting);
    lines.call(trunk(1));
    lines.answer("INVITE", "180 Ringing", CONTACT, "");
    lines.pass(seconds(59));
    lines.call(trunk(1));
    assert_eq!(lines.dialled(), [trunk(0), trunk(1), trunk(1), trunk(1)]);
    lines.pass(seconds(2));
    assert!(!lines.engine.trunks()[0].resting);
    lines.call(trunk(1));
    assert_eq!(lines.dialled().last(), Some(&trunk(0)));
}

#[test]
fn a_busy_number_rests_no_trunk_and_one_that_asked_to_wait_is_still_used_where_there_is_no_other() {
    let mut lines = lines(&[""]);
    lines.call(trunk(0));
    let busy = "Retry-After: 300\r\nReason: Q.850;cause=17\r\n";
    lines.answer("INVITE", "503 Service Unavailable", busy, "");
    assert!(!lines.engine.trunks()[0].resting);
    lines.call(trunk(0));
    lines.answer("INVITE", "503 Service Unavailable", "Retry-After: 300\r\n", "");
    assert!(lines.engine.trunks()[0].resting);
    lines.call(trunk(0));
    assert_eq!(lines.dialled().len(), 3, "better than nothing");
}

#[test]
fn calls_spread_over_equal_targets_while_the_registration_stays_where_it_is() {
    let mut lines = lines(&["register = true\nusername = \"u\"\npassword = \"p\""]);
    let share = |group| sip::Share { group, weight: 1 };
    lines.input(Input::TrunkShares {
        trunk: TrunkName::new("a"),
        shares: vec![share(0), share(0), share(0), share(1)],
    });
    lines.resolve("a", (0..4).map(trunk).collect());
    for _ in 0..60 {
        lines.call(trunk(0));
        lines.answer("INVITE", "486 Busy Here", "", "");
    }
    let dialled = lines.dialled();
    let count = |index| dialled.iter().filter(|to| **to == trunk(index)).count();
    assert_eq!(dialled.len(), 60);
    assert!((0..3).all(|index| count(index) > 10), "{dialled:?}");
    let registered = lines.all("REGISTER ");
    assert!(!registered.is_empty() && registered.iter().all(|(to, _)| *to == trunk(0)));
}

#[test]
fn sound_that_the_caller_heard_binds_the_call_to_its_trunk() {
    let mut lines = lines(&["", ""]);
    lines.call(trunk(0));
    lines.answer("INVITE", "183 Session Progress", CONTACT, SDP);
    // The callee's side is the second stream of the call.
    lines.input(Input::Media(media::Event::Started {
        stream: media::StreamId(2),
    }));
    lines.answer("INVITE", "503 Service Unavailable", "Retry-After: 5\r\n", "");
    lines.pass(seconds(3));
    assert!(lines.events().contains(&&EventKind::EarlyMedia));
    assert_eq!(lines.dialled(), [trunk(0)]);
    assert_eq!(lines.legs()[0].disposition, LegDisposition::Congestion);
}

#[test]
fn early_media_that_was_announced_and_never_came_binds_nothing() {
    let mut lines = lines(&["", ""]);
    lines.call(trunk(0));
    lines.answer("INVITE", "183 Session Progress", CONTACT, SDP);
    lines.answer("INVITE", "503 Service Unavailable", "", "");
    assert_eq!(lines.dialled(), [trunk(0), trunk(1)]);
}

#[test]
fn a_full_trunk_sends_calls_to_the_next() {
    // A call that came in takes a channel too.
    let mut lines = lines(&["channels = 2", ""]);
    lines.call(trunk(1));
    lines.call(trunk(1));
    lines.call(trunk(1));
    assert_eq!(lines.dialled(), [trunk(0), trunk(0), trunk(1)]);
}

#[test]
fn calls_that_are_too_many_for_a_second_take_the_next_trunk_or_wait_for_theirs() {
    let mut lines = lines(&["calls_per_second = 2", "calls_per_second = 2"]);
    for _ in 0..4 {
        lines.call(trunk(1));
    }
    assert_eq!(lines.dialled(), [trunk(0), trunk(1)], "two at once, one by each");
    lines.pass(Duration::from_millis(550));
    assert_eq!(lines.dialled().len(), 4, "the others half a second later");
    assert_eq!(lines.legs().len(), 0, "nobody heard of it");
}

#[test]
fn a_caller_who_hangs_up_while_waiting_for_the_second_is_not_dialled_for() {
    let mut lines = lines(&["calls_per_second = 1"]);
    lines.call(trunk(0));
    let call = lines.call(trunk(0));
    assert_eq!(lines.dialled().len(), 1);
    lines.hear(
        trunk(0),
        &format!(
            "CANCEL sip:{DIALLED}@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:2025550123@t.invalid>;tag=a\r\nTo: <sip:{DIALLED}@127.0.10.1>\r\n\
             Call-ID: {call}\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
            from = trunk(0)
        ),
    );
    assert_eq!(lines.told_caller(&call), 487);
    lines.pass(seconds(5));
    assert_eq!(lines.dialled().len(), 1);
}

#[test]
fn a_trunk_that_fails_its_pings_is_asked_last_until_one_is_answered() {
    let mut lines = lines(&["options_seconds = 30\noptions_failures = 2", ""]);
    lines.pass(Duration::from_millis(50));
    for _ in 0..2 {
        lines.answer("OPTIONS", "503 Service Unavailable", "", "");
        lines.pass(seconds(31));
    }
    assert!(lines.engine.trunks()[0].down, "{:?}", lines.engine.trunks());
    assert!(
        matches!(lines.statuses[..], [TrunkStatus::Down { .. }]),
        "{:?}",
        lines.statuses
    );
    lines.call(trunk(1));
    assert_eq!(lines.dialled(), [trunk(1)]);
    lines.answer("OPTIONS", "405 Method Not Allowed", "", "");
    assert!(!lines.engine.trunks()[0].down);
    lines.call(trunk(1));
    assert_eq!(lines.dialled(), [trunk(1), trunk(0)]);
}

#[test]
fn the_configuration_orders_trunks_and_a_number_may_have_its_own() {
    let text = format!(
        "{}[calls]\ntrunks = [\"c\", \"a\"]\n[[number]]\npattern = \"+1202555XXXX\"\nflow = \"route\"\n\
         [[number]]\npattern = \"+1415XXXXXXX\"\nflow = \"route\"\ntrunks = [\"b\"]\n",
        trunks(&["", "", ""])
    );
    let mut lines = Lines::with(&text);
    lines.call(trunk(0));
    lines.answer("INVITE", "503 Service Unavailable", "", "");
    assert_eq!(lines.dialled(), [trunk(2), trunk(0)]);
    lines.answer("INVITE", "503 Service Unavailable", "", "");
    assert_eq!(lines.dialled().len(), 2, "b is for other calls");
    lines.call_to(trunk(0), "sip:+14155550100@127.0.10.1");
    assert_eq!(lines.dialled()[2..], [trunk(1)]);
}

#[test]
fn calls_beyond_the_rate_of_all_are_told_to_come_back() {
    let text = format!(
        "{}[limits]\ncalls_per_second = 3\n[[number]]\npattern = \"+1XXXXXXXXXX\"\nflow = \"route\"\n",
        trunks(&[""])
    );
    let mut lines = Lines::with(&text);
    let calls: Vec<String> = (0..5).map(|_| lines.call(trunk(0))).collect();
    let told: Vec<u16> = calls.iter().map(|call| lines.told_caller(call)).collect();
    assert_eq!(told, [180, 180, 180, 503, 503]);
    let refusals = lines.all("SIP/2.0 503 ");
    assert_eq!(header(&refusals[0].1, "Retry-After").as_deref(), Some("2"));
    assert_eq!(lines.engine.calls_over_rate(), 2);
    lines.pass(seconds(1));
    let later = lines.call(trunk(0));
    assert_eq!(lines.told_caller(&later), 180);
}

#[test]
fn a_trunk_whose_addresses_rotate_keeps_its_calls() {
    let mut lines = lines(&[""]);
    lines.call(trunk(0));
    lines.answer("INVITE", "200 OK", "Contact: <sip:b@127.0.20.1:5060>\r\n", SDP);
    let invite = lines.invite();
    lines.resolve("a", vec![trunk(8)]);
    let field = |name: &str| header(&invite, name).unwrap();
    lines.hear(
        trunk(0),
        &format!(
            "BYE sip:x@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
             From: {};tag=b\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            trunk(0),
            field("To"),
            field("From"),
            field("Call-ID")
        ),
    );
    assert!(
        lines
            .all("SIP/2.0 200 OK")
            .iter()
            .any(|(_, text)| text.contains("CSeq: 1 BYE"))
    );
    assert_eq!(lines.engine.sip_counters().strangers, 0);
    assert_eq!(lines.engine.guard_counters().bans, 0);
    assert_eq!(lines.engine.trunks()[0].addresses, [trunk(8)]);
}

#[test]
fn what_blocked_a_call_stands_in_the_record_and_no_other_trunk_is_asked() {
    for (status, headers, said) in [
        ("608 Rejected", "", None),
        ("607 Unwanted", "", None),
        (
            "603 Network Blocked",
            "Reason: SIP;cause=603;text=\"v=analytics1;url=https://b.example\"\r\n",
            Some("v=analytics1"),
        ),
        (
            "603 Decline",
            "X-Twilio-Error: 32017 Blocked\r\n",
            Some("X-Twilio-Error: "),
        ),
    ] {
        let mut lines = lines(&["", ""]);
        lines.call(trunk(0));
        lines.answer("INVITE", status, headers, "");
        lines.pass(seconds(3));
        assert_eq!(lines.dialled(), [trunk(0)], "{status}");
        assert_eq!(
            lines.legs()[0].disposition,
            LegDisposition::BlockedByAnalytics,
            "{status}"
        );
        let told = lines.events().into_iter().find_map(|event| match event {
            EventKind::TrunkSaid { text } => Some(text.as_str().to_owned()),
            _ => None,
        });
        match said {
            Some(said) => assert!(told.unwrap().contains(said)),
            None => assert_eq!(told, None),
        }
    }
}
