//! Messages that come after their time, before it, or from another branch of a fork. Found by exploring whole switches
//! at random.

use std::time::Duration;

use sip::{Input, Transport};

use crate::net::{Net, SDP_B, address, header, response};

const SDP: &str = "v=0\r\no=b 1 1 IN IP4 127.0.1.2\r\n";
const CONTACT: &str = "Contact: <sip:bob@127.0.1.2:5060>\r\n";

#[test]
fn answer_of_another_branch_after_a_failure_gets_ack_and_bye() {
    let mut net = Net::scripted();
    net.call(0);
    net.run(Duration::from_millis(50));
    let invite = net.got("INVITE");
    net.reply(&invite, "486 Busy Here", "one", "", "");
    net.seconds(20);
    net.reply(&invite, "200 OK", "two", CONTACT, SDP);
    net.run(Duration::from_millis(50));
    assert!(header(&net.got("ACK"), "To").ends_with("tag=two"));
    let bye = net.got("BYE");
    assert!(header(&bye, "To").ends_with("tag=two"));
    net.reply(&bye, "200 OK", "", "", "");
    net.assert_clean();
}

#[test]
fn failure_that_comes_after_the_invite_was_given_up_is_acknowledged() {
    let mut net = Net::scripted();
    net.call(0);
    net.seconds(40);
    assert_eq!(net.names(0), ["Failed(408)"]);
    let invite = net.got("INVITE");
    net.reply(&invite, "480 Temporarily Unavailable", "late", "", "");
    net.run(Duration::from_millis(50));
    assert!(header(&net.got("ACK"), "To").ends_with("tag=late"));
    net.assert_clean();
}

#[test]
fn answer_from_a_target_that_seemed_unreachable_gets_ack_and_bye() {
    let mut net = Net::scripted();
    net.call(0);
    net.run(Duration::from_millis(50));
    let invite = net.got("INVITE");
    let remote = address("127.0.1.2:5060");
    net.act(0, |endpoint, now| {
        let transport = Transport::Udp;
        endpoint.handle_input(
            now,
            Input::Unreachable {
                peer: None,
                remote,
                transport,
            },
        );
    });
    net.reply(&invite, "200 OK", "bob", CONTACT, SDP);
    net.run(Duration::from_millis(50));
    let bye = net.got("BYE");
    net.reply(&bye, "200 OK", "", "", "");
    net.assert_clean();
}

#[test]
fn cancel_that_is_repeated_is_answered_with_the_tag_of_the_invite() {
    let mut net = Net::scripted();
    let invite = crate::net::request("INVITE", "c1", "", SDP);
    net.script(&invite);
    net.run(Duration::from_millis(50));
    let cancel = crate::net::request("CANCEL", "c1", "", "");
    for _ in 0..2 {
        net.script(&cancel);
        net.run(Duration::from_millis(300));
    }
    let tags: Vec<String> = net
        .log
        .iter()
        .filter(|sent| sent.kind() == "200 CANCEL" || sent.kind() == "487 INVITE")
        .map(|sent| header(&sent.text, "To"))
        .collect();
    assert!(tags.len() >= 3 && tags[0].contains(";tag="), "{tags:?}");
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
}

#[test]
fn request_that_overtakes_the_answer_that_makes_its_dialog_is_not_refused() {
    let mut net = Net::scripted();
    net.call(0);
    net.run(Duration::from_millis(50));
    let invite = net.got("INVITE");
    let (from, call_id) = (header(&invite, "From"), header(&invite, "Call-ID"));
    let contact = header(&invite, "Contact");
    let target = contact
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap_or_default()
        .to_owned();
    let reinvite = format!(
        "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.1.2:5060;branch=z9hG4bKearly\r\nMax-Forwards: 70\r\n\
         From: {};tag=bob\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{CONTACT}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        header(&invite, "To"),
        SDP.len()
    );
    net.script(&reinvite);
    net.run(Duration::from_millis(50));
    assert_eq!(net.count("481 INVITE"), 0);
    net.script(&response(&invite, "200 OK", "bob", CONTACT, SDP));
    net.run(Duration::from_millis(50));
    net.script(&reinvite);
    net.run(Duration::from_millis(50));
    let session = net.nodes[0].events.iter().find_map(|event| match event {
        sip::Event::Offered { session, .. } => Some(*session),
        _ => None,
    });
    let session = session.expect("the offer was told once its dialog was there");
    net.act(0, |endpoint, now| {
        endpoint.accept_offer(now, session, SDP_B.to_vec())
    });
    net.run(Duration::from_millis(50));
    assert!(net.count("200 INVITE") > 0);
}
