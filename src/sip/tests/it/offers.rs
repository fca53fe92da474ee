//! Offers within a call, glare, and session timers.

use std::time::Duration;

use sip::{Event, SessionId};

use crate::net::{Net, SDP_A, SDP_B, header, in_dialog, request, response};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer 1\r\n";
const HOLD: &[u8] = b"v=0\r\no=hold\r\na=sendonly\r\n";

/// A confirmed call from a scripted caller; our 200.
fn confirmed(lines: &str) -> (Net, SessionId, String) {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", lines, OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.take_events(0);
    (net, session, ok)
}

#[test]
fn a_hold_by_one_side_is_answered_by_the_other_and_taken_back() {
    let mut net = Net::pair();
    let (caller, callee) = net.connect();
    for (from, to, session, other) in [(0, 1, caller, callee), (1, 0, callee, caller)] {
        net.take_events(0);
        net.take_events(1);
        net.act(from, |endpoint, now| {
            endpoint.reoffer(now, session, HOLD.to_vec())
        });
        net.seconds(1);
        let offered = Event::Offered {
            session: other,
            sdp: Some(HOLD.to_vec()),
        };
        assert_eq!(net.nodes[to].events, [offered]);
        net.act(to, |endpoint, now| {
            endpoint.accept_offer(now, other, b"v=0\r\na=recvonly\r\n".to_vec())
        });
        net.seconds(1);
        let answered = Event::OfferAnswered {
            session,
            sdp: b"v=0\r\na=recvonly\r\n".to_vec(),
        };
        assert_eq!(net.nodes[from].events, [answered]);
    }
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
    net.seconds(1);
    net.nodes[1]
        .events
        .retain(|event| !matches!(event, Event::Offered { .. }));
    net.assert_clean();
}

#[test]
fn race_20_offers_that_cross_are_both_tried_again_and_both_succeed() {
    let mut net = Net::pair();
    let (caller, callee) = net.connect();
    net.take_events(0);
    net.take_events(1);
    net.act(0, |endpoint, now| {
        endpoint.reoffer(now, caller, b"v=0\r\no=a 2\r\n".to_vec())
    });
    net.act(1, |endpoint, now| {
        endpoint.reoffer(now, callee, b"v=0\r\no=b 2\r\n".to_vec())
    });
    let mut answered = [0, 0];
    for _ in 0..100 {
        net.run(Duration::from_millis(100));
        for (node, session) in [(0, caller), (1, callee)] {
            for event in net.take_events(node) {
                match event {
                    Event::Offered { .. } => {
                        net.act(node, |endpoint, now| {
                            endpoint.accept_offer(now, session, SDP_A.to_vec())
                        });
                    }
                    Event::OfferAnswered { .. } => answered[node] += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(answered, [1, 1]);
    assert_eq!(net.count("491 INVITE"), 2);
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
    net.seconds(1);
    net.assert_clean();
}

#[test]
fn race_21_a_reinvite_before_the_ack_is_asked_to_come_later() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "INVITE", 2, "r", "", OFFER));
    net.run(TICK);
    let busy = net.got("500 INVITE");
    assert!(header(&busy, "Retry-After").parse::<u32>().unwrap() <= 10);
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    assert_eq!(net.names(0), ["Incoming", "Confirmed"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_23_a_refused_offer_keeps_the_call_and_a_lost_dialog_ends_it() {
    for (status, names) in [
        ("488 Not Acceptable Here", vec!["OfferRefused"]),
        ("403 Forbidden", vec!["OfferRefused"]),
        ("481 Gone", vec!["Ended(DialogLost)"]),
        ("408 Timeout", vec!["Ended(DialogLost)"]),
        ("", vec!["Ended(DialogLost)"]),
    ] {
        let (mut net, session, _) = confirmed("");
        net.act(0, |endpoint, now| endpoint.reoffer(now, session, HOLD.to_vec()));
        net.run(TICK);
        let reinvite = net.got("INVITE");
        assert!(reinvite.starts_with("INVITE sip:bob@127.0.1.2:5060 SIP/2.0"));
        assert_eq!(
            header(&reinvite, "To"),
            "\"Bob\" <sip:5550102@127.0.1.2>;tag=bobtag"
        );
        if status.is_empty() {
            net.seconds(33);
        } else {
            net.reply(&reinvite, status, "", "", "");
        }
        net.run(TICK);
        assert_eq!(net.names(0), names, "{status}");
        let ends = names[0].starts_with("Ended");
        assert_eq!(net.distinct("BYE"), usize::from(ends));
        net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
        net.seconds(70);
        assert_eq!(net.endpoint(0).counters().transactions, 0);
    }
}

#[test]
fn race_24_an_unchanged_reinvite_is_answered_alike_without_a_word() {
    let (mut net, session, ok) = confirmed("");
    net.script(&in_dialog(&ok, "INVITE", 2, "r", "", OFFER));
    net.run(TICK);
    let again = net.got("200 INVITE");
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    assert!(again.ends_with(std::str::from_utf8(SDP_B).unwrap()));
    assert!(net.names(0).is_empty());
    net.script(&in_dialog(&ok, "ACK", 2, "ack2", "", ""));
    net.script(&in_dialog(&ok, "INVITE", 3, "r2", "", "v=0\r\no=offer 2\r\n"));
    assert_eq!(net.names(0), ["Offered"]);
    net.act(0, |endpoint, now| endpoint.refuse_offer(now, session, 488));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "488 INVITE");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().transactions, 0);
}

#[test]
fn a_reinvite_without_sdp_gets_our_offer() {
    let (mut net, session, ok) = confirmed("");
    net.script(&in_dialog(&ok, "INVITE", 2, "r", "", ""));
    assert_eq!(net.take_events(0), [Event::Offered { session, sdp: None }]);
    net.act(0, |endpoint, now| {
        endpoint.accept_offer(now, session, HOLD.to_vec())
    });
    net.run(TICK);
    let ok2 = net.got("200 INVITE");
    net.script(&in_dialog(&ok2, "ACK", 2, "ack2", "", "v=0\r\no=answer\r\n"));
    assert_eq!(
        net.take_events(0),
        [Event::OfferAnswered {
            session,
            sdp: b"v=0\r\no=answer\r\n".to_vec()
        }]
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn a_retarget_is_followed() {
    let (mut net, session, ok) = confirmed("");
    let moved = in_dialog(&ok, "UPDATE", 2, "u", "", "")
        .replace("bob@127.0.1.2:5060>\r\n", "bob@127.0.1.8:5090>\r\n");
    net.script(&moved);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 UPDATE");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert!(net.got("BYE").starts_with("BYE sip:bob@127.0.1.8:5090 SIP/2.0"));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn race_25_a_refresh_that_never_comes_ends_the_call() {
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let (mut net, _, ok) = confirmed(timer);
    assert_eq!(header(&ok, "Session-Expires"), "90;refresher=uac");
    assert_eq!(header(&ok, "Require"), "timer");
    net.seconds(59);
    assert_eq!(net.names(0), [""; 0]);
    net.seconds(2);
    assert_eq!(net.names(0), ["Ended(Expired)"]);
    assert_eq!(net.distinct("BYE"), 1);
    net.assert_clean();
}

#[test]
fn a_refresh_by_the_peer_keeps_the_call() {
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let (mut net, session, ok) = confirmed(timer);
    for round in 0..4u32 {
        net.seconds(45);
        let update = in_dialog(&ok, "UPDATE", 2 + round, &format!("u{round}"), timer, "");
        net.script(&update);
        net.run(TICK);
        let answer = net.got("200 UPDATE");
        assert_eq!(header(&answer, "Session-Expires"), "90;refresher=uac");
    }
    assert!(net.names(0).is_empty());
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn we_refresh_by_update_when_the_peer_wants_and_takes_it() {
    let timer = "Supported: timer\r\nSession-Expires: 100;refresher=uas\r\nAllow: INVITE, UPDATE\r\n";
    let (mut net, session, ok) = confirmed(timer);
    assert_eq!(header(&ok, "Session-Expires"), "100;refresher=uas");
    for _ in 0..3 {
        net.inbox.clear();
        net.seconds(51);
        let update = net.got("UPDATE");
        assert_eq!(header(&update, "Session-Expires"), "100;refresher=uac");
        net.reply(
            &update,
            "200 OK",
            "",
            "Session-Expires: 100;refresher=uac\r\nAllow: INVITE, UPDATE\r\n",
            "",
        );
    }
    assert!(net.names(0).is_empty());
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn race_26_a_peer_without_update_is_refreshed_by_reinvite() {
    let timer = "Supported: timer\r\nSession-Expires: 100;refresher=uas\r\nAllow: INVITE, UPDATE\r\n";
    let (mut net, session, _) = confirmed(timer);
    net.seconds(51);
    let update = net.got("UPDATE");
    net.reply(&update, "405 Method Not Allowed", "", "", "");
    net.run(TICK);
    let reinvite = net.got("INVITE");
    assert!(
        reinvite.ends_with(std::str::from_utf8(SDP_B).unwrap()),
        "the SDP is unchanged"
    );
    net.reply(
        &reinvite,
        "200 OK",
        "",
        "Contact: <sip:bob@127.0.1.2>\r\nSession-Expires: 100;refresher=uac\r\n",
        OFFER,
    );
    net.run(TICK);
    assert_eq!(header(&net.got("ACK"), "CSeq").split(' ').nth(1), Some("ACK"));
    assert!(net.names(0).is_empty(), "{:?}", net.names(0));
    net.inbox.clear();
    net.seconds(51);
    assert_eq!(
        net.got("INVITE").lines().next(),
        Some("INVITE sip:bob@127.0.1.2 SIP/2.0")
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn race_26_an_update_with_an_offer_while_the_invite_is_open_is_asked_to_come_later() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.run(TICK);
    let ringing = net.got("180 INVITE");
    net.script(&in_dialog(&ringing, "UPDATE", 2, "u1", "", OFFER));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "500 UPDATE");
    net.script(&in_dialog(&ringing, "UPDATE", 3, "u2", "", ""));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 UPDATE");
    net.act(0, |endpoint, now| endpoint.reject(now, session, 480, None));
    net.assert_clean();
}

#[test]
fn a_timer_we_did_not_ask_for_is_kept_all_the_same() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    let lines = "Contact: <sip:bob@127.0.1.2>\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uas\r\n";
    net.reply(&invite, "200 OK", "b1", lines, OFFER);
    net.seconds(900);
    let pretended = format!("SIP/2.0 200 OK\r\nTo: {}\r\n\r\n", header(&invite, "From"));
    let refresh = in_dialog(
        &pretended,
        "INVITE",
        1,
        "r",
        "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n",
        OFFER,
    )
    .replace("call-1@bob", &header(&invite, "Call-ID"))
    .replace("tag=bobtag", "tag=b1");
    net.script(&refresh);
    let Some(Event::Offered { .. }) = net.nodes[0].events.last() else {
        panic!("{:?}", net.names(0))
    };
    net.act(0, |endpoint, now| {
        endpoint.accept_offer(now, session, SDP_A.to_vec())
    });
    net.run(TICK);
    assert_eq!(
        header(&net.got("200 INVITE"), "Session-Expires"),
        "1800;refresher=uac"
    );
    net.script(
        &in_dialog(&pretended, "ACK", 1, "a", "", "")
            .replace("call-1@bob", &header(&invite, "Call-ID"))
            .replace("tag=bobtag", "tag=b1"),
    );
    net.seconds(1760);
    assert!(!net.names(0).iter().any(|name| name.starts_with("Ended")));
    net.seconds(20);
    assert_eq!(net.names(0).last().unwrap(), "Ended(Expired)");
    net.assert_clean();
}

#[test]
fn wishes_wait_for_the_exchange_in_progress_and_the_latest_counts() {
    let (mut net, session, _) = confirmed("");
    net.act(0, |endpoint, now| {
        endpoint.reoffer(now, session, b"v=0\r\no=1\r\n".to_vec())
    });
    net.act(0, |endpoint, now| {
        endpoint.reoffer(now, session, b"v=0\r\no=2\r\n".to_vec())
    });
    net.act(0, |endpoint, now| {
        endpoint.reoffer(now, session, b"v=0\r\no=3\r\n".to_vec())
    });
    net.run(TICK);
    let first = net.got("INVITE");
    assert!(first.ends_with("o=1\r\n"));
    net.script(&response(
        &first,
        "200 OK",
        "",
        "Contact: <sip:bob@127.0.1.2>\r\n",
        OFFER,
    ));
    net.run(TICK);
    let second = net.got("INVITE");
    assert!(second.ends_with("o=3\r\n"));
    net.script(&response(
        &second,
        "200 OK",
        "",
        "Contact: <sip:bob@127.0.1.2>\r\n",
        OFFER,
    ));
    assert_eq!(net.names(0), ["OfferAnswered", "OfferAnswered"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn a_late_copy_of_the_first_answer_gets_its_own_ack_again() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    let contact = "Contact: <sip:bob@127.0.1.2>\r\n";
    let ok = response(&invite, "200 OK", "b1", contact, OFFER);
    net.script(&ok);
    net.act(0, |endpoint, now| endpoint.reoffer(now, session, HOLD.to_vec()));
    net.run(TICK);
    let reinvite = net.got("INVITE");
    net.script(&response(&reinvite, "200 OK", "", contact, OFFER));
    net.script(&ok);
    net.run(TICK);
    assert_eq!(header(&net.got("ACK"), "CSeq"), "1 ACK");
    assert_eq!((net.distinct("ACK"), net.count("BYE")), (2, 0));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_47_a_hangup_during_a_reinvite_still_acks_its_answer() {
    let (mut net, session, _) = confirmed("");
    net.act(0, |endpoint, now| endpoint.reoffer(now, session, HOLD.to_vec()));
    net.run(TICK);
    let reinvite = net.got("INVITE");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.reply(&reinvite, "200 OK", "", "Contact: <sip:bob@127.0.1.2>\r\n", OFFER);
    net.run(TICK);
    assert_eq!((net.count("BYE"), net.count("ACK")), (1, 1));
    assert_eq!(net.names(0), ["Ended(ByUs)"]);
    net.assert_clean();
}
