//! Races of calls we make (sip.md §6.6), against a scripted callee.

use std::time::Duration;

use sip::{Cause, Credentials, Ended, EndpointConfig, Event, Input, Peer, Transport};

use crate::net::{Net, PEER, SDP_A, SDP_B, address, header, in_dialog};

const CONTACT: &str = "Contact: <sip:bob@127.0.1.2:5070>\r\n";
const TICK: Duration = Duration::from_millis(20);

fn sdp(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap()
}

/// A call whose INVITE has arrived at the scripted callee.
fn calling() -> (Net, sip::SessionId, String) {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    (net, session, invite)
}

fn answered() -> (Net, sip::SessionId, String) {
    let (mut net, session, invite) = calling();
    net.reply(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    (net, session, invite)
}

#[test]
fn race_01_cancel_waits_for_the_first_provisional_response() {
    let (mut net, session, invite) = calling();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, Some(Cause(31))));
    assert_eq!(net.names(0), ["Ended(ByUs)"]);
    net.run(TICK);
    assert_eq!(net.count("CANCEL"), 0);
    net.reply(&invite, "100 Trying", "", "", "");
    net.run(TICK);
    let cancel = net.got("CANCEL");
    assert_eq!(header(&cancel, "Via"), header(&invite, "Via"));
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    assert_eq!(header(&cancel, "Reason"), "Q.850;cause=31");
    net.reply(&cancel, "200 OK", "b1", "", "");
    net.reply(&invite, "487 Request Terminated", "b1", "", "");
    net.run(TICK);
    assert_eq!(net.count("ACK"), 1);
    net.assert_clean();
    assert_eq!(net.count("CANCEL"), 1);
    assert_eq!(net.names(0), ["Ended(ByUs)"]);
}

#[test]
fn race_01_an_unanswered_cancelled_invite_stops_at_timer_b() {
    let (mut net, session, _) = calling();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(60);
    assert_eq!(net.times("INVITE").last(), Some(&31_500));
    assert_eq!(net.count("CANCEL"), 0);
    net.assert_clean();
}

#[test]
fn race_01_an_answer_before_any_provisional_response_is_acked_and_ended() {
    let (mut net, session, invite) = calling();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.reply(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    assert!(net.got("ACK").starts_with("ACK sip:bob@127.0.1.2:5070"));
    let bye = net.got("BYE");
    net.reply(&bye, "200 OK", "b1", "", "");
    assert_eq!(net.names(0), ["Ended(ByUs)"]);
    net.assert_clean();
}

#[test]
fn race_03_an_answer_that_crosses_our_cancel_is_acked_and_ended() {
    let (mut net, session, invite) = calling();
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(net.count("CANCEL"), 1);
    net.reply(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    assert_eq!((net.count("ACK"), net.count("BYE")), (1, 1));
    assert!(!net.names(0).contains(&"Answered".to_owned()));
    net.assert_clean();
}

#[test]
fn race_04_a_lost_or_refused_cancel_still_ends() {
    for answer in ["", "481 Does Not Exist"] {
        let (mut net, session, invite) = calling();
        net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
        net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
        net.run(TICK);
        let cancel = net.got("CANCEL");
        if !answer.is_empty() {
            net.reply(&cancel, answer, "b1", "", "");
        }
        net.assert_clean();
        assert_eq!(net.names(0), ["Ringing", "Ended(ByUs)"]);
    }
}

#[test]
fn race_07_a_bye_in_the_early_dialog_fails_the_call() {
    let (mut net, _, invite) = calling();
    let early = crate::net::response(&invite, "180 Ringing", "b1", CONTACT, "");
    net.script(&early);
    let bye = callee_request(&invite, "BYE", 1, "x", "Reason: Q.850;cause=17\r\n", "");
    net.script(&bye);
    net.run(TICK);
    assert_eq!(net.last("200 BYE").lines().next(), Some("SIP/2.0 200 OK"));
    let Some(Event::Failed { failure, .. }) = net.nodes[0].events.last() else {
        panic!("not failed")
    };
    assert_eq!((failure.status, failure.reason.cause), (480, Some(17)));
    let cancel = net.got("CANCEL");
    net.reply(&cancel, "200 OK", "b1", "", "");
    net.reply(&invite, "487 Request Terminated", "b1", "", "");
    net.assert_clean();
}

/// A request of the callee in the dialog of our INVITE.
fn callee_request(invite: &str, method: &str, cseq: u32, branch: &str, lines: &str, body: &str) -> String {
    let pretended = format!("SIP/2.0 200 OK\r\nTo: {}\r\n\r\n", header(invite, "From"));
    in_dialog(&pretended, method, cseq, branch, lines, body)
        .replace("call-1@bob", &header(invite, "Call-ID"))
        .replace("tag=bobtag", "tag=b1")
}

#[test]
fn race_08_byes_that_cross_are_both_answered_and_one_end_is_told() {
    let (mut net, session, invite) = answered();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.script(&callee_request(&invite, "BYE", 1, "x", "", ""));
    net.run(TICK);
    assert_eq!(net.count("200 BYE"), 1);
    let bye = net.got("BYE");
    net.reply(&bye, "481 Gone", "b1", "", "");
    net.assert_clean();
    assert_eq!(net.names(0), ["Answered", "Ended(ByUs)"]);
}

#[test]
fn race_09_an_unanswered_bye_is_repeated_until_timer_f_and_then_forgotten() {
    let (mut net, session, _) = answered();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    assert_eq!(net.names(0), ["Answered", "Ended(ByUs)"]);
    net.seconds(60);
    assert_eq!(net.count("BYE"), 11);
    net.assert_clean();
}

#[test]
fn race_10_bye_and_invite_are_authenticated_once_and_cancel_never() {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.credentials = Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm: None,
    });
    net.endpoint(0).set_peer(peer);
    let challenge =
        |nonce: &str| format!("Proxy-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"\r\n");
    let session = net.call(0);
    net.run(TICK);
    let first = net.got("INVITE");
    net.reply(&first, "407 Authenticate", "p", &challenge("1"), "");
    net.run(TICK);
    let second = net.got("INVITE");
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_eq!(header(&second, "From"), header(&first, "From"));
    assert_ne!(header(&second, "Via"), header(&first, "Via"));
    assert!(second.ends_with(sdp(SDP_A)));
    net.reply(&second, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    let ack = net.got("ACK");
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    assert_eq!(
        header(&ack, "Proxy-Authorization"),
        header(&second, "Proxy-Authorization")
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    for nonce in ["2", "2"] {
        let bye = net.got("BYE");
        net.reply(&bye, "407 Authenticate", "p", &challenge(nonce), "");
        net.run(TICK);
    }
    assert_eq!(net.inbox.iter().filter(|sent| sent.kind() == "BYE").count(), 2);
    net.assert_clean();
    assert_eq!(net.names(0), ["Answered", "Ended(ByUs)"]);
}

#[test]
fn race_13_a_repeated_answer_gets_the_same_ack_and_is_told_once() {
    let (mut net, session, invite) = answered();
    let ack = net.last("ACK");
    net.seconds(1);
    net.reply(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    assert_eq!(net.count("ACK"), 2);
    assert_eq!(net.last("ACK"), ack);
    assert_eq!(net.names(0), ["Answered"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_15_race_18_forked_early_media_is_told_per_branch() {
    let (mut net, _, invite) = calling();
    net.reply(&invite, "183 Progress", "b1", CONTACT, "v=0\r\no=1\r\n");
    net.reply(&invite, "183 Progress", "b1", CONTACT, "v=0\r\no=1\r\n");
    net.reply(&invite, "183 Progress", "b2", CONTACT, "v=0\r\no=2\r\n");
    net.reply(&invite, "180 Ringing", "b3", CONTACT, "");
    assert_eq!(net.names(0), ["Progress", "Progress", "Ringing"]);
    net.reply(&invite, "200 OK", "b1", CONTACT, "");
    let Some(Event::Answered { sdp, .. }) = net.nodes[0].events.last() else {
        panic!("not answered")
    };
    assert_eq!(sdp, b"v=0\r\no=1\r\n", "the early answer of the branch that won");
}

#[test]
fn race_16_the_second_answer_of_a_fork_is_acked_and_ended_even_late() {
    let (mut net, session, invite) = answered();
    net.seconds(30);
    net.reply(
        &invite,
        "200 OK",
        "b2",
        "Contact: <sip:other@127.0.1.9:5080>\r\n",
        sdp(SDP_B),
    );
    net.run(TICK);
    assert!(net.last("ACK").starts_with("ACK sip:other@127.0.1.9:5080"));
    let bye = net.last("BYE");
    assert!(bye.starts_with("BYE sip:other@127.0.1.9:5080") && header(&bye, "To").ends_with(";tag=b2"));
    assert_eq!(net.names(0), ["Answered"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert!(header(&net.last("BYE"), "To").ends_with(";tag=b1"));
    net.assert_clean();
}

#[test]
fn race_17_an_answer_without_sdp_or_without_a_tag_is_acked_and_ended() {
    for (tag, body) in [("b1", ""), ("", sdp(SDP_B))] {
        let (mut net, _, invite) = calling();
        net.reply(&invite, "200 OK", tag, CONTACT, body);
        net.run(TICK);
        assert_eq!((net.count("ACK"), net.count("BYE")), (1, 1));
        assert_eq!(net.names(0), ["Failed(488)"]);
        net.assert_clean();
    }
}

#[test]
fn race_28_a_target_that_fails_gives_way_to_the_next_unless_it_gave_media() {
    let targets = vec![address("127.0.1.2:5060"), address("127.0.1.3:5060")];
    for (media, expected) in [("", 2), ("v=0\r\n", 1)] {
        let mut net = Net::new();
        net.add_with("127.0.1.1:5060", EndpointConfig::default(), targets.clone());
        net.call(0);
        net.run(TICK);
        let invite = net.got("INVITE");
        net.reply(&invite, "183 Progress", "b1", CONTACT, media);
        net.reply(&invite, "503 Unavailable", "b1", "Retry-After: 9\r\n", "");
        net.run(TICK);
        assert_eq!(
            net.inbox.iter().filter(|sent| sent.kind() == "INVITE").count(),
            expected
        );
        if expected == 2 {
            let second = net.got("INVITE");
            assert_eq!(net.inbox.last().unwrap().to, targets[1]);
            assert_eq!(header(&second, "CSeq"), "2 INVITE");
            assert_eq!(header(&second, "Call-ID"), header(&invite, "Call-ID"));
            net.script_from(
                "127.0.1.3:5060",
                &crate::net::response(&second, "486 Busy", "c", "", ""),
            );
        }
        let last = net.names(0).pop().unwrap();
        assert_eq!(
            last,
            if expected == 2 {
                "Failed(486)"
            } else {
                "Failed(503)"
            }
        );
        net.assert_clean();
    }
}

#[test]
fn a_silent_target_gives_way_after_four_seconds_and_is_cleaned_up_when_it_speaks() {
    let mut net = Net::new();
    let targets = vec![address("127.0.1.2:5060"), address("127.0.1.3:5060")];
    net.add_with("127.0.1.1:5060", EndpointConfig::default(), targets);
    let session = net.call(0);
    net.seconds(5);
    let first = net.inbox[0].text.clone();
    let second = net
        .inbox
        .iter()
        .find(|sent| sent.to == address("127.0.1.3:5060"))
        .unwrap()
        .text
        .clone();
    net.script_from(
        "127.0.1.3:5060",
        &crate::net::response(&second, "180 Ringing", "c", CONTACT, ""),
    );
    net.reply(&first, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    assert_eq!(net.names(0), ["Ringing"]);
    assert!(header(&net.last("BYE"), "To").ends_with(";tag=b1"));
    net.script_from(
        "127.0.1.3:5060",
        &crate::net::response(&second, "200 OK", "c", CONTACT, sdp(SDP_B)),
    );
    assert_eq!(net.names(0), ["Ringing", "Answered"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_32_a_hangup_in_the_same_instant_as_the_answer_has_one_winner() {
    let (mut net, session, invite) = calling();
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    let answer = crate::net::response(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    // The answer has been taken but not yet told when the caller hangs up.
    let (now, local, source) = (net.now, address("127.0.1.1:5060"), address("127.0.1.2:5060"));
    let input = Input::Received {
        local,
        source,
        transport: Transport::Udp,
        bytes: answer.as_bytes(),
    };
    net.endpoint(0).handle_input(now, input);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(
        (net.count("ACK"), net.count("BYE"), net.count("CANCEL")),
        (1, 1, 0)
    );
    assert_eq!(net.names(0), ["Ringing", "Answered", "Ended(ByUs)"]);
    net.assert_clean();
}

#[test]
fn race_48_a_redirect_is_a_failure() {
    let (mut net, _, invite) = calling();
    net.reply(
        &invite,
        "302 Moved",
        "b1",
        "Contact: <sip:evil@198.51.100.1>\r\n",
        "",
    );
    assert_eq!(net.names(0), ["Failed(302)"]);
    net.assert_clean();
    assert_eq!(net.count("INVITE"), 1);
}

#[test]
fn nothing_heard_or_unreachable_is_told_as_our_own_failure() {
    let (mut net, _, _) = calling();
    net.seconds(33);
    let Some(Event::Failed { failure, .. }) = net.nodes[0].events.last() else {
        panic!("not failed")
    };
    assert!(failure.status == 408 && !failure.from_peer);
    net.assert_clean();
    let (mut net, _, _) = calling();
    let now = net.now;
    let gone = Input::Unreachable {
        peer: None,
        remote: address("127.0.1.2:5060"),
        transport: Transport::Udp,
    };
    net.endpoint(0).handle_input(now, gone);
    net.run(TICK);
    assert_eq!(net.names(0), ["Failed(503)"]);
    net.assert_clean();
}

#[test]
fn an_answer_after_we_gave_up_is_acked_and_ended() {
    let (mut net, _, invite) = calling();
    net.seconds(33);
    assert_eq!(net.names(0), ["Failed(408)"]);
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    net.run(TICK);
    assert_eq!(net.count("CANCEL"), 1);
    net.reply(&invite, "200 OK", "b1", CONTACT, sdp(SDP_B));
    net.run(TICK);
    assert_eq!((net.count("ACK"), net.count("BYE")), (1, 1));
    net.assert_clean();
    assert_eq!(net.names(0), ["Failed(408)"]);
}

#[test]
fn endless_ringing_ends_at_the_ring_limit() {
    let (mut net, _, invite) = calling();
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    net.seconds(179);
    assert_eq!(net.names(0), ["Ringing"]);
    net.seconds(2);
    assert_eq!(net.names(0), ["Ringing", "Failed(408)"]);
    assert_eq!(net.distinct("CANCEL"), 1);
    net.assert_clean();
}

#[test]
fn a_reliable_provisional_response_is_acknowledged_once() {
    let (mut net, session, invite) = calling();
    let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 7\r\n");
    net.reply(&invite, "183 Progress", "b1", &reliable, sdp(SDP_B));
    net.run(TICK);
    let prack = net.got("PRACK");
    assert_eq!(header(&prack, "RAck"), "7 1 INVITE");
    assert_eq!(header(&prack, "CSeq"), "2 PRACK");
    assert!(prack.starts_with("PRACK sip:bob@127.0.1.2:5070"));
    net.reply(&prack, "200 OK", "b1", "", "");
    net.reply(&invite, "183 Progress", "b1", &reliable, sdp(SDP_B));
    net.reply(
        &invite,
        "180 Ringing",
        "b1",
        &reliable.replace("RSeq: 7", "RSeq: 9"),
        "",
    );
    net.run(TICK);
    assert_eq!(net.inbox.iter().filter(|sent| sent.kind() == "PRACK").count(), 1);
    net.reply(&invite, "200 OK", "b1", CONTACT, "");
    assert_eq!(net.names(0), ["Progress", "Answered"]);
    net.run(TICK);
    assert_eq!(header(&net.got("ACK"), "CSeq"), "1 ACK");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(header(&net.got("BYE"), "CSeq"), "3 BYE");
    net.assert_clean();
}

#[test]
fn too_short_a_session_interval_is_raised_and_tried_again() {
    let (mut net, _, invite) = calling();
    assert_eq!(header(&invite, "Session-Expires"), "1800");
    net.reply(
        &invite,
        "422 Session Interval Too Small",
        "b1",
        "Min-SE: 3600\r\n",
        "",
    );
    net.run(TICK);
    let second = net.got("INVITE");
    assert_eq!(
        (header(&second, "Session-Expires"), header(&second, "Min-SE")),
        ("3600".into(), "3600".into())
    );
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    net.reply(&second, "486 Busy", "b1", "", "");
    assert_eq!(net.names(0), ["Failed(486)"]);
    net.assert_clean();
}

#[test]
fn the_reason_of_a_bye_is_told() {
    let (mut net, _, invite) = answered();
    net.script(&callee_request(
        &invite,
        "BYE",
        1,
        "x",
        "Reason: Q.850;cause=16;text=\"bye\"\r\n",
        "",
    ));
    let Some(Event::Ended {
        ended: Ended::ByPeer,
        reason,
        ..
    }) = net.nodes[0].events.last()
    else {
        panic!("not ended")
    };
    assert_eq!(reason.cause, Some(16));
    net.assert_clean();
}

#[test]
fn a_call_whose_texts_hold_line_ends_is_refused() {
    let mut net = Net::scripted();
    let now = net.now;
    let good = sip::Invite {
        peer: PEER,
        uri: "sip:1@127.0.1.2".into(),
        to: "sip:1@127.0.1.2".into(),
        from: sip::Party::new("sip:2@127.0.1.1"),
        headers: vec![],
        max_forwards: None,
        sdp: SDP_A.to_vec(),
    };
    let with_header = |name: &str, value: &str| sip::Invite {
        headers: vec![(name.into(), value.into())],
        ..good.clone()
    };
    let mut bad = vec![
        sip::Invite {
            uri: "sip:1@h\r\nX: y".into(),
            ..good.clone()
        },
        sip::Invite {
            to: "no uri".into(),
            ..good.clone()
        },
        sip::Invite {
            sdp: vec![],
            ..good.clone()
        },
        with_header("X-Note", "a\r\nRoute: <sip:evil>"),
        with_header("X-Note\r\nRoute", "<sip:evil>"),
        with_header("Route", "<sip:evil>"),
        with_header("v", "SIP/2.0/UDP evil"),
    ];
    let mut named = good.clone();
    named.from.display = Some("a\r\nb".into());
    bad.push(named);
    for invite in bad {
        assert_eq!(
            net.endpoint(0).invite(now, invite.clone()),
            Err(sip::InviteError::InvalidValue),
            "{invite:?}"
        );
    }
    let stranger = sip::Invite {
        peer: sip::PeerId(9),
        ..good
    };
    assert_eq!(
        net.endpoint(0).invite(now, stranger),
        Err(sip::InviteError::UnknownPeer)
    );
    assert!(net.log.is_empty());
    assert_eq!(net.endpoint(0).counters().transactions, 0);
}
