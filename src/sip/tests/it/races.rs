//! Races of sip.md §6.6 that need more than one sentence; the others stand beside what they race with.

use std::time::Duration;

use sip::{Credentials, Event, Peer, SessionId};

use crate::net::{Net, PEER, SDP_A, SDP_B, address, header, in_dialog, request, response};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer\r\n";
const CONTACT: &str = "Contact: <sip:bob@127.0.1.2:5070>\r\n";
const AGAIN: &[u8] = b"v=0\r\no=again\r\n";

fn text(sdp: &[u8]) -> &str {
    std::str::from_utf8(sdp).unwrap()
}

/// Our call, which the scripted callee has answered with these lines.
fn answered(lines: &str) -> (Net, SessionId) {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.credentials = Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm: None,
    });
    net.endpoint(0).set_peer(peer);
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    net.reply(&invite, "200 OK", "b1", &format!("{CONTACT}{lines}"), text(SDP_B));
    net.run(TICK);
    net.take_events(0);
    (net, session)
}

/// A request of the callee in a call of ours.
fn from_callee(invite: &str, method: &str, cseq: u32, lines: &str, body: &str) -> String {
    let pretended = format!("SIP/2.0 200 OK\r\nTo: {}\r\n\r\n", header(invite, "From"));
    in_dialog(&pretended, method, cseq, &format!("c{cseq}"), lines, body)
        .replace("call-1@bob", &header(invite, "Call-ID"))
        .replace("tag=bobtag", "tag=b1")
}

#[test]
fn race_02_a_cancel_is_repeated_until_it_is_answered_and_the_487_is_acknowledged() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(4);
    assert_eq!(net.count("CANCEL"), 4, "at 0, 0.5, 1.5 and 3.5 s");
    assert_eq!(
        net.count("INVITE"),
        1,
        "the INVITE is not sent again after its CANCEL"
    );
    let cancel = net.got("CANCEL");
    net.reply(&cancel, "200 OK", "b1", "", "");
    net.seconds(3);
    assert_eq!(net.count("CANCEL"), 4);
    net.reply(&invite, "487 Request Terminated", "b1", "", "");
    net.reply(&invite, "487 Request Terminated", "b1", "", "");
    net.run(TICK);
    assert_eq!((net.count("ACK"), net.distinct("ACK")), (2, 1));
    assert_eq!(net.names(0), ["Ringing", "Ended(ByUs)"]);
    net.assert_clean();
}

#[test]
fn race_10_a_reinvite_and_an_update_are_authenticated_once_and_stay_in_the_call() {
    let timer = "Session-Expires: 100;refresher=uac\r\nRequire: timer\r\nAllow: UPDATE\r\n";
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\"\r\n";
    let (mut net, session) = answered(timer);
    net.act(0, |endpoint, now| endpoint.reoffer(now, session, AGAIN.to_vec()));
    net.run(TICK);
    net.reply(&net.got("INVITE"), "407 Authenticate", "", challenge, "");
    net.run(TICK);
    let second = net.got("INVITE");
    assert!(header(&second, "Proxy-Authorization").contains("nc=00000001"));
    assert_eq!(header(&second, "CSeq"), "3 INVITE");
    net.reply(&second, "200 OK", "", &format!("{CONTACT}{timer}"), OFFER);
    net.seconds(51);
    net.reply(&net.got("UPDATE"), "407 Authenticate", "", challenge, "");
    net.run(TICK);
    let update = net.got("UPDATE");
    assert!(
        header(&update, "Proxy-Authorization").contains("nc=00000002"),
        "{update}"
    );
    net.reply(&update, "407 Authenticate", "", challenge, "");
    net.run(TICK);
    assert_eq!(net.distinct("UPDATE"), 2, "refused for good, so by re-INVITE");
    assert_eq!(header(&net.got("INVITE"), "CSeq"), "6 INVITE");
    assert_eq!(net.names(0), ["OfferAnswered"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(70);
    assert_eq!(net.endpoint(0).counters().sessions, 0);
}

#[test]
fn race_17_an_answer_with_another_contact_is_acknowledged_there() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
    let moved = "Contact: <sip:gateway@203.0.113.9:5090;x=1>\r\n";
    net.reply(&invite, "200 OK", "b1", moved, OFFER);
    net.run(TICK);
    let sent = net.log.iter().find(|sent| sent.kind() == "ACK").unwrap();
    assert!(
        sent.text
            .starts_with("ACK sip:gateway@203.0.113.9:5090;x=1 SIP/2.0")
    );
    assert_eq!(sent.to, address("203.0.113.9:5090"));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_18_the_answer_after_early_media_may_keep_repeat_or_change_its_sdp() {
    for (body, expected) in [("", SDP_B), (text(SDP_B), SDP_B), (OFFER, OFFER.as_bytes())] {
        let mut net = Net::scripted();
        let session = net.call(0);
        net.run(TICK);
        let invite = net.got("INVITE");
        net.reply(&invite, "183 Progress", "b1", CONTACT, text(SDP_B));
        net.reply(&invite, "183 Progress", "b1", CONTACT, text(SDP_B));
        net.reply(&invite, "180 Ringing", "b1", CONTACT, "");
        net.reply(&invite, "200 OK", "b1", CONTACT, body);
        assert_eq!(net.names(0), ["Progress", "Ringing", "Answered"]);
        let sdp = expected.to_vec();
        assert_eq!(net.nodes[0].events[2], Event::Answered { session, sdp });
        net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
        net.assert_clean();
    }
}

/// How long a re-INVITE that met 491 waits, in milliseconds.
fn waits(owner: bool) -> u128 {
    let (mut net, session, invite_kind) = if owner {
        let (net, session) = answered("");
        (net, session, "")
    } else {
        let mut net = Net::scripted();
        net.script(&request("INVITE", "i1", "", OFFER));
        let session = net.incoming(0);
        net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
        net.run(TICK);
        net.script(&in_dialog(&net.got("200 INVITE"), "ACK", 1, "ack", "", ""));
        (net, session, "callee")
    };
    net.inbox.clear();
    net.act(0, |endpoint, now| endpoint.reoffer(now, session, AGAIN.to_vec()));
    net.run(TICK);
    let refused = net.elapsed().as_millis();
    net.reply(&net.got("INVITE"), "491 Request Pending", "", "", "");
    net.seconds(5);
    let again = net.log.iter().rev().find(|sent| sent.kind() == "INVITE").unwrap();
    let cseq: u32 = header(&again.text, "CSeq")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let first = net
        .log
        .iter()
        .find(|sent| sent.kind() == "INVITE" && header(&sent.text, "CSeq") == format!("{cseq} INVITE"));
    first
        .unwrap_or_else(|| panic!("no retry {invite_kind}"))
        .at
        .as_millis()
        - refused
}

#[test]
fn race_20_after_491_who_chose_the_call_id_waits_two_to_four_seconds_and_the_other_less_than_two() {
    let owner = waits(true);
    assert!((2100..=4000).contains(&owner), "{owner}");
    let other = waits(false);
    assert!(other <= 2000, "{other}");
}

#[test]
fn race_23_a_peer_that_always_says_500_refuses_the_offer_in_the_end_and_the_call_stays() {
    let (mut net, session) = answered("");
    net.act(0, |endpoint, now| endpoint.reoffer(now, session, AGAIN.to_vec()));
    for _ in 0..60 {
        net.run(Duration::from_millis(500));
        if let Some(at) = net.inbox.iter().rposition(|sent| sent.kind() == "INVITE") {
            let reinvite = net.inbox.remove(at);
            if header(&reinvite.text, "CSeq") != "1 INVITE" {
                net.reply(&reinvite.text, "500 Server Error", "", "Retry-After: 1\r\n", "");
            }
        }
    }
    assert_eq!(net.names(0), ["OfferRefused"]);
    assert_eq!((net.distinct("INVITE"), net.count("BYE")), (5, 0));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_26_an_update_offers_again_once_the_caller_has_our_reliable_answer() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.progress(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let progress = net.got("183 INVITE");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&progress, "RSeq"));
    net.script(&in_dialog(&progress, "UPDATE", 2, "u1", "", text(AGAIN)));
    net.run(TICK);
    assert_eq!(
        net.inbox.last().unwrap().kind(),
        "500 UPDATE",
        "not before the PRACK"
    );
    net.script(&in_dialog(&progress, "PRACK", 3, "p", &rack, ""));
    net.script(&in_dialog(&progress, "UPDATE", 4, "u2", "", text(AGAIN)));
    let offered = Event::Offered {
        session,
        sdp: Some(AGAIN.to_vec()),
    };
    assert_eq!(net.nodes[0].events.last(), Some(&offered));
    net.act(0, |endpoint, now| {
        endpoint.accept_offer(now, session, SDP_A.to_vec())
    });
    net.run(TICK);
    assert!(net.got("200 UPDATE").ends_with(text(SDP_A)));
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    assert_eq!(header(&ok, "Content-Length"), "0", "what was agreed last stays");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_26_a_callee_may_update_its_reliable_early_answer() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    net.script(&from_callee(&invite, "UPDATE", 1, "", OFFER));
    net.run(TICK);
    assert_eq!(
        net.inbox.last().unwrap().kind(),
        "INVITE",
        "it overtook the response that makes its dialog, and is repeated"
    );
    let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 7\r\n");
    net.reply(&invite, "183 Progress", "b1", &reliable, text(SDP_B));
    net.run(TICK);
    net.reply(&net.got("PRACK"), "200 OK", "", "", "");
    net.script(&from_callee(&invite, "UPDATE", 2, "", OFFER));
    assert_eq!(net.names(0), ["Progress", "Offered"]);
    net.act(0, |endpoint, now| {
        endpoint.accept_offer(now, session, SDP_A.to_vec())
    });
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 UPDATE");
    net.reply(&invite, "200 OK", "b1", CONTACT, "");
    let sdp = OFFER.as_bytes().to_vec();
    assert_eq!(
        net.nodes[0].events.last(),
        Some(&Event::Answered { session, sdp })
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_48_no_redirect_is_followed_whatever_it_names() {
    for status in [
        "300 Multiple Choices",
        "301 Moved",
        "302 Moved",
        "305 Use Proxy",
        "380 Alternative",
    ] {
        for contact in [
            "<sips:x@127.0.1.2>",
            "<tel:+19005550100>",
            "<sip:x@198.51.100.5>;q=1, <sip:127.0.1.1>",
            "",
        ] {
            let mut net = Net::scripted();
            net.call(0);
            net.run(TICK);
            let invite = net.got("INVITE");
            let lines = if contact.is_empty() {
                String::new()
            } else {
                format!("Contact: {contact}\r\n")
            };
            net.script(&response(&invite, status, "b1", &lines, ""));
            net.run(TICK);
            assert_eq!(net.names(0), [format!("Failed({})", &status[..3])]);
            assert_eq!((net.distinct("INVITE"), net.count("ACK")), (1, 1));
            assert!(net.log.iter().all(|sent| sent.to == address("127.0.1.2:5060")));
            net.assert_clean();
        }
    }
}

#[test]
fn race_26_an_early_update_that_is_open_when_the_call_ends_is_answered_all_the_same() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.progress(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let progress = net.got("183 INVITE");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&progress, "RSeq"));
    net.script(&in_dialog(&progress, "PRACK", 2, "p", &rack, ""));
    net.script(&in_dialog(&progress, "UPDATE", 3, "u", "", text(AGAIN)));
    net.script(&request("CANCEL", "i1", "", ""));
    net.run(TICK);
    assert_eq!((net.count("487 UPDATE"), net.count("487 INVITE")), (1, 1));
    net.assert_clean();
}
