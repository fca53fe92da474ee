//! Faults that were found in this core once: each has its test.

use std::time::Duration;

use sip::{Credentials, Peer};

use crate::net::{Net, PEER, SDP_B, address, header, in_dialog, request};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer\r\n";
const CONTACT: &str = "Contact: <sip:bob@127.0.1.2:5070>\r\n";

fn rack(rseq: &str) -> String {
    format!("RAck: {rseq} 1 INVITE\r\n")
}

#[test]
fn race_27_a_prack_that_crosses_our_200_gets_200_once() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ringing = net.got("180 INVITE");
    let rseq = header(&ringing, "RSeq");
    net.seconds(1);
    assert_eq!(net.count("180 INVITE"), 1, "it is not repeated after the 200");
    let other_cseq = format!("RAck: {rseq} 9 INVITE\r\n");
    for (number, lines, status) in [(2, other_cseq, 481), (3, rack(&rseq), 200), (4, rack(&rseq), 481)] {
        net.script(&in_dialog(
            &ringing,
            "PRACK",
            number,
            &format!("p{number}"),
            &lines,
            "",
        ));
        net.run(TICK);
        assert_eq!(net.inbox.last().unwrap().kind(), format!("{status} PRACK"));
    }
    net.script(&in_dialog(&net.got("200 INVITE"), "ACK", 1, "ack", "", ""));
    assert_eq!(net.names(0), ["Incoming", "Confirmed"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_27_a_prack_that_crosses_our_refusal_gets_200() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.act(0, |endpoint, now| endpoint.reject(now, session, 486, None));
    net.run(TICK);
    let ringing = net.got("180 INVITE");
    let prack = in_dialog(&ringing, "PRACK", 2, "p", &rack(&header(&ringing, "RSeq")), "");
    net.script(&prack);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 PRACK");
    net.assert_clean();
}

#[test]
fn an_offer_in_a_reliable_response_is_answered_in_its_prack_and_the_200_has_no_sdp() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", ""));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.progress(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let progress = net.got("183 INVITE");
    let lines = rack(&header(&progress, "RSeq"));
    net.script(&in_dialog(
        &progress,
        "PRACK",
        2,
        "p",
        &lines,
        "v=0\r\no=answer\r\n",
    ));
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    assert_eq!(header(&ok, "Content-Length"), "0");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    assert_eq!(net.names(0), ["Incoming", "OfferAnswered", "Confirmed"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

const TIMER: &str = "Supported: timer\r\nSession-Expires: 400;refresher=uas\r\nAllow: INVITE, UPDATE\r\n";

/// A confirmed call that we have to refresh; the first UPDATE has come to the peer.
fn refreshing() -> (Net, sip::SessionId) {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", TIMER, OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    net.script(&in_dialog(&net.got("200 INVITE"), "ACK", 1, "ack", "", ""));
    net.seconds(201);
    net.got("UPDATE");
    net.take_events(0);
    (net, session)
}

#[test]
fn a_refused_update_is_followed_by_a_reinvite_and_that_by_others_up_to_the_last_half_minute() {
    let (mut net, _) = refreshing();
    net.reply(&net.got("UPDATE"), "403 Forbidden", "", "", "");
    let mut last = Duration::ZERO;
    for _ in 0..400 {
        net.run(Duration::from_millis(500));
        if let Some(at) = net.inbox.iter().position(|sent| sent.kind() == "INVITE") {
            let reinvite = net.inbox.remove(at);
            last = reinvite.at;
            net.reply(&reinvite.text, "503 Unavailable", "", "", "");
        }
    }
    let expired = Duration::from_millis(net.times("BYE")[0] as u64);
    assert!(net.distinct("INVITE") >= 4, "{}", net.distinct("INVITE"));
    assert!(expired - last < Duration::from_secs(30), "{last:?} {expired:?}");
    assert_eq!(net.names(0), ["Ended(Expired)"]);
    net.assert_clean();
    assert_eq!(net.count("BYE"), 11, "until Timer F");
}

#[test]
fn a_peer_that_never_answers_update_is_refreshed_by_reinvite() {
    let (mut net, session) = refreshing();
    net.seconds(33);
    let reinvite = net.got("INVITE");
    let granted = format!("{CONTACT}Session-Expires: 400;refresher=uac\r\nAllow: INVITE, UPDATE\r\n");
    net.reply(&reinvite, "200 OK", "", &granted, OFFER);
    net.seconds(201);
    assert!(net.names(0).is_empty(), "{:?}", net.names(0));
    assert_eq!(
        (net.distinct("UPDATE"), net.distinct("INVITE")),
        (1, 2),
        "whatever it allows"
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn ever_new_nonces_with_reliable_responses_between_do_not_loop() {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.credentials = Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm: None,
    });
    net.endpoint(0).set_peer(peer);
    net.call(0);
    for round in 0..8 {
        net.run(TICK);
        let invite = net.got("INVITE");
        let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n");
        net.reply(&invite, "180 Ringing", &format!("b{round}"), &reliable, "");
        let challenge = format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{round}\", qop=\"auth\"\r\n");
        net.reply(&invite, "401 Unauthorized", &format!("b{round}"), &challenge, "");
    }
    assert_eq!(net.distinct("INVITE"), 4);
    assert_eq!(net.names(0).last().unwrap(), "Failed(401)");
    net.assert_clean();
}

#[test]
fn a_contact_that_is_no_address_is_refused() {
    for contact in [
        "Contact: *",
        "Contact: <bob>",
        "Contact: \"open <sip:b@h>",
        "Contact:",
    ] {
        let mut net = Net::scripted();
        let invite = request("INVITE", "i1", "", OFFER);
        net.script(&invite.replace("Contact: <sip:bob@127.0.1.2:5060>", contact));
        net.run(TICK);
        assert_eq!(net.inbox.last().unwrap().kind(), "400 INVITE", "{contact}");
        assert!(net.names(0).is_empty());
    }
    let (mut net, session) = refreshing();
    let ok = net.got("200 INVITE");
    let update = in_dialog(&ok, "UPDATE", 2, "u", "", "");
    net.script(&update.replace("Contact: <sip:bob@127.0.1.2:5060>", "Contact: <bob>"));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "400 UPDATE");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn a_response_with_another_cseq_is_nobodys() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    let ok = crate::net::response(&invite, "200 OK", "b1", CONTACT, OFFER);
    net.script(&ok.replace("CSeq: 1 INVITE", "CSeq: 2 INVITE"));
    assert!(net.names(0).is_empty());
    net.script(&ok);
    for cseq in ["0", "2", "77", "2147483647"] {
        net.script(&ok.replace("CSeq: 1 INVITE", &format!("CSeq: {cseq} INVITE")));
    }
    net.run(TICK);
    assert_eq!(net.names(0), ["Answered"]);
    assert_eq!((net.count("ACK"), net.count("BYE")), (1, 0));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    let bye = net.got("BYE");
    net.reply(&bye.replace("CSeq: 2 BYE", "CSeq: 3 BYE"), "200 OK", "", "", "");
    net.seconds(2);
    assert!(net.count("BYE") > 1, "it is still repeated");
    net.assert_clean();
}

#[test]
fn an_answer_that_two_targets_give_with_one_tag_keeps_the_call() {
    let mut net = Net::new();
    let targets = vec![address("127.0.1.2:5060"), address("127.0.1.3:5060")];
    net.add_with("127.0.1.1:5060", sip::EndpointConfig::default(), targets);
    let session = net.call(0);
    net.seconds(5);
    let invites: Vec<String> = net
        .inbox
        .iter()
        .filter(|sent| sent.kind() == "INVITE")
        .map(|sent| sent.text.clone())
        .collect();
    let (first, second) = (&invites[0], invites.last().unwrap());
    assert_ne!(header(first, "CSeq"), header(second, "CSeq"));
    net.reply(second, "200 OK", "b1", CONTACT, OFFER);
    net.reply(first, "200 OK", "b1", CONTACT, OFFER);
    net.run(TICK);
    assert_eq!(net.names(0), ["Answered"]);
    assert_eq!((net.distinct("ACK"), net.count("BYE")), (2, 0));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn however_many_branches_answer_each_is_acknowledged_and_all_but_one_ended() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    for branch in 0..40 {
        net.reply(&invite, "180 Ringing", &format!("r{branch}"), CONTACT, "");
    }
    for branch in 0..40 {
        net.reply(&invite, "200 OK", &format!("r{branch}"), CONTACT, OFFER);
    }
    net.run(TICK);
    assert_eq!((net.distinct("ACK"), net.distinct("BYE")), (40, 39));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert!(header(&net.got("BYE"), "To").ends_with(";tag=r0"));
    net.assert_clean();
}

#[test]
fn a_refused_offer_moves_neither_the_remote_target_nor_the_session_timer() {
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", timer, OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.seconds(50);
    let moved = in_dialog(&ok, "INVITE", 2, "r", timer, "v=0\r\no=other\r\n");
    net.script(&moved.replace("bob@127.0.1.2:5060>\r\n", "bob@127.0.1.8:5090>\r\n"));
    net.act(0, |endpoint, now| endpoint.refuse_offer(now, session, 488));
    net.seconds(11);
    assert_eq!(net.names(0).last().unwrap(), "Ended(Expired)");
    assert!(net.last("BYE").starts_with("BYE sip:bob@127.0.1.2:5060 SIP/2.0"));
    net.assert_clean();
}

#[test]
fn an_update_with_a_body_that_is_no_sdp_is_no_offer() {
    let (mut net, session) = refreshing();
    let ok = net.got("200 INVITE");
    let update = in_dialog(
        &ok,
        "UPDATE",
        2,
        "u",
        "Content-Disposition: info;handling=optional\r\n",
        "<x/>",
    );
    let optional = update.replace("application/sdp", "application/xml");
    net.script(&optional);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 UPDATE");
    assert_eq!(header(&net.got("200 UPDATE"), "Content-Length"), "0");
    let required = optional
        .replace(";handling=optional", "")
        .replace("2 UPDATE", "3 UPDATE")
        .replace("z9hG4bKu", "z9hG4bKv");
    net.script(&required);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "415 UPDATE");
    assert!(net.names(0).is_empty());
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}
