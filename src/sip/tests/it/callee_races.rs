//! Races of calls that come to us (sip.md §6.6), from a scripted caller.

use std::time::Duration;

use sip::{Event, SessionId};

use crate::net::{Net, SDP_B, header, in_dialog, kind, request};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer\r\n";

/// An INVITE of the scripted caller, taken but not answered.
fn incoming(lines: &str) -> (Net, SessionId) {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", lines, OFFER));
    net.run(TICK);
    let session = net.incoming(0);
    (net, session)
}

/// The same, answered but not acknowledged. Returns our 200.
fn answering(lines: &str) -> (Net, SessionId, String) {
    let (mut net, session) = incoming(lines);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    (net, session, ok)
}

fn confirmed(lines: &str) -> (Net, SessionId, String) {
    let (mut net, session, ok) = answering(lines);
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    assert_eq!(net.names(0), ["Incoming", "Confirmed"]);
    (net, session, ok)
}

#[test]
fn trying_is_sent_at_once_without_a_tag_problem_and_ringing_on_command() {
    let (mut net, session) = incoming("Record-Route: <sip:127.0.1.7;lr>\r\n");
    assert_eq!(net.inbox[0].kind(), "100 INVITE");
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.run(TICK);
    let ringing = net.got("180 INVITE");
    assert_eq!(header(&ringing, "Record-Route"), "<sip:127.0.1.7;lr>");
    assert!(header(&ringing, "Contact").starts_with("<sip:"));
    net.seconds(61);
    assert_eq!(
        net.count("180 INVITE"),
        2,
        "a ringing call is told again every minute"
    );
    net.act(0, |endpoint, now| endpoint.reject(now, session, 480, None));
    net.assert_clean();
}

#[test]
fn race_02_a_caller_that_gives_up_gets_200_and_487() {
    let (mut net, _) = incoming("");
    net.script(&request(
        "CANCEL",
        "i1",
        "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n",
        "",
    ));
    net.run(TICK);
    assert_eq!(net.got("200 CANCEL").lines().next(), Some("SIP/2.0 200 OK"));
    let terminated = net.got("487 INVITE");
    assert_eq!(header(&terminated, "To"), header(&net.got("200 CANCEL"), "To"));
    assert_eq!(net.names(0), ["Incoming", "Ended(CancelledByPeer)"]);
    net.script(&request("ACK", "i1", "", ""));
    net.seconds(3);
    assert_eq!(net.count("487 INVITE"), 1);
    net.assert_clean();
}

#[test]
fn race_05_a_cancel_that_crosses_our_answer_changes_nothing() {
    let (mut net, session, ok) = answering("");
    net.script(&request("CANCEL", "i1", "", ""));
    net.run(TICK);
    assert_eq!(net.got("200 CANCEL").lines().next(), Some("SIP/2.0 200 OK"));
    assert_eq!(net.names(0), ["Incoming"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(net.count("BYE"), 0, "no BYE before the ACK");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.run(TICK);
    assert_eq!(net.count("BYE"), 1);
    assert_eq!(net.names(0), ["Incoming", "Ended(ByUs)"]);
    net.assert_clean();
}

#[test]
fn race_06_a_bye_before_the_ack_stops_the_answer_and_a_late_ack_is_absorbed() {
    let (mut net, _, ok) = answering("");
    net.script(&in_dialog(&ok, "BYE", 2, "b", "", ""));
    net.run(TICK);
    assert_eq!(net.got("200 BYE").lines().next(), Some("SIP/2.0 200 OK"));
    assert_eq!(net.names(0), ["Incoming", "Ended(ByPeer)"]);
    let sent = net.count("200 INVITE");
    net.seconds(5);
    assert_eq!(net.count("200 INVITE"), sent);
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.assert_clean();
}

#[test]
fn race_12_a_lost_ack_makes_the_answer_repeat_and_then_ends_the_call() {
    let (mut net, _, _) = answering("");
    net.seconds(40);
    let times = net.times("200 INVITE");
    let gaps: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..5], [500, 1000, 2000, 4000, 4000]);
    assert_eq!(times.len(), 11);
    assert_eq!(net.times("BYE")[0] - times[0], 32_000);
    assert_eq!(net.names(0), ["Incoming", "Ended(NoAck)"]);
    net.assert_clean();
}

#[test]
fn race_14_repeated_and_merged_invites_make_one_call() {
    let (mut net, session) = incoming("");
    net.script(&request("INVITE", "i1", "", OFFER));
    net.run(TICK);
    assert_eq!(net.count("100 INVITE"), 2, "a copy gets the last response again");
    net.script(&request("INVITE", "i2", "", OFFER));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "482 INVITE");
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.script(&request("INVITE", "i1", "", OFFER));
    net.script(&request("INVITE", "i3", "", OFFER));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "482 INVITE");
    assert_eq!(net.names(0), ["Incoming"]);
    net.assert_clean();
}

#[test]
fn race_22_requests_after_the_end_get_481() {
    let (mut net, session, ok) = confirmed("");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.script(&in_dialog(&ok, "INVITE", 2, "r", "", OFFER));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "481 INVITE");
    net.script(&in_dialog(&ok, "ACK", 2, "r", "", ""));
    net.script(&in_dialog(&ok, "BYE", 3, "b", "", ""));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 BYE");
    net.assert_clean();
}

#[test]
fn a_repeated_bye_gets_the_same_answer_after_the_session_is_gone() {
    let (mut net, _, ok) = confirmed("");
    let bye = in_dialog(&ok, "BYE", 2, "b", "", "");
    net.script(&bye);
    net.script(&bye);
    net.run(TICK);
    assert_eq!(net.count("200 BYE"), 2);
    assert_eq!(
        net.names(0)
            .iter()
            .filter(|name| name.starts_with("Ended"))
            .count(),
        1
    );
    net.assert_clean();
}

#[test]
fn requests_out_of_order_or_with_a_wrong_tag_are_refused() {
    let (mut net, session, ok) = confirmed("");
    net.script(&in_dialog(&ok, "INFO", 9, "x1", "", ""));
    net.script(&in_dialog(&ok, "INFO", 5, "x2", "", ""));
    net.script(&in_dialog(&ok, "BYE", 10, "x3", "", "").replace("tag=bobtag", "tag=other"));
    net.script(&in_dialog(&ok, "BYE", 10, "x4", "", "").replace("call-1@bob", "call-2@bob"));
    net.run(TICK);
    let kinds: Vec<_> = net.inbox.iter().rev().take(4).map(|sent| sent.kind()).collect();
    assert_eq!(kinds, ["481 BYE", "481 BYE", "500 INFO", "200 INFO"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn a_late_offer_goes_in_our_answer_and_its_answer_comes_in_the_ack() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "", ""));
    let session = net.incoming(0);
    let Event::Incoming { invite, .. } = &net.nodes[0].events[0] else {
        panic!("no call")
    };
    assert_eq!(invite.sdp, None);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", OFFER));
    assert_eq!(net.names(0), ["Incoming", "OfferAnswered", "Confirmed"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn a_late_offer_that_stays_without_an_answer_ends_the_call() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "", ""));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.run(TICK);
    assert_eq!(net.names(0), ["Incoming", "Ended(NoSdp)"]);
    assert_eq!(net.count("BYE"), 1);
    net.assert_clean();
}

#[test]
fn race_27_a_required_reliable_response_is_repeated_until_its_prack() {
    let (mut net, session) = incoming("Require: 100rel\r\n");
    net.act(0, |endpoint, now| endpoint.progress(now, session, SDP_B.to_vec()));
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.seconds(2);
    assert_eq!(net.count("183 INVITE"), 3);
    assert_eq!(net.count("200 INVITE"), 0, "the answer waits for the PRACK");
    let progress = net.got("183 INVITE");
    assert_eq!(header(&progress, "Require"), "100rel");
    let rack = |rseq: u32| format!("RAck: {rseq} 1 INVITE\r\n");
    let rseq: u32 = header(&progress, "RSeq").parse().unwrap();
    net.script(&in_dialog(&progress, "PRACK", 2, "p1", &rack(rseq + 1), ""));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "481 PRACK");
    net.script(&in_dialog(&progress, "PRACK", 3, "p2", &rack(rseq), ""));
    net.run(TICK);
    assert_eq!(net.count("200 PRACK"), 1);
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    net.script(&in_dialog(&progress, "PRACK", 4, "p3", &rack(rseq), ""));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "481 PRACK");
    assert!(
        net.names(0).iter().any(|name| name == "Confirmed"),
        "the ACK carries the INVITE's CSeq, not the PRACK's"
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn race_27_without_any_prack_the_invite_fails() {
    let (mut net, session) = incoming("Require: 100rel\r\n");
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.seconds(33);
    assert_eq!(net.names(0), ["Incoming", "Ended(NoAck)"]);
    assert!(net.count("504 INVITE") >= 1);
    net.assert_clean();
}

#[test]
fn an_unacknowledged_refusal_is_repeated_and_given_up() {
    let (mut net, session) = incoming("");
    net.act(0, |endpoint, now| endpoint.reject(now, session, 486, None));
    net.seconds(40);
    assert_eq!(net.count("486 INVITE"), 11);
    net.assert_clean();
}

#[test]
fn a_call_that_nobody_decides_about_ends_at_the_ring_limit() {
    let (mut net, _) = incoming("");
    net.seconds(181);
    assert_eq!(net.names(0), ["Incoming", "Ended(Expired)"]);
    assert!(net.count("480 INVITE") >= 1);
    net.assert_clean();
}

#[test]
fn a_hangup_before_our_answer_declines() {
    let (mut net, session) = incoming("");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "603 INVITE");
    assert_eq!(net.names(0), ["Incoming", "Ended(ByUs)"]);
    net.assert_clean();
}

#[test]
fn methods_that_a_call_does_not_have_are_refused_politely() {
    let (mut net, session, ok) = confirmed("");
    for (number, (method, status)) in [
        ("REFER", "603"),
        ("MESSAGE", "405"),
        ("XYZZY", "501"),
        ("NOTIFY", "481"),
        ("OPTIONS", "200"),
    ]
    .iter()
    .enumerate()
    {
        let cseq = u32::try_from(number).unwrap() + 2;
        net.script(&in_dialog(
            &ok,
            method,
            cseq,
            method,
            "Refer-To: <sip:x@h>\r\n",
            "",
        ));
        net.run(TICK);
        assert_eq!(
            kind(&net.inbox.last().unwrap().text),
            format!("{status} {method}")
        );
    }
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn digits_by_info_are_told_and_other_bodies_refused() {
    let (mut net, session, ok) = confirmed("");
    let info = |cseq: u32, kind: &str, body: &str| {
        in_dialog(&ok, "INFO", cseq, &format!("f{cseq}"), "", body).replace("application/sdp", kind)
    };
    net.script(&info(2, "application/dtmf-relay", "Signal=7\r\nDuration=100\r\n"));
    net.script(&info(3, "application/dtmf", "*"));
    net.script(&info(4, "application/xml", "<x/>"));
    net.script(&info(5, "application/dtmf-relay", "Signal=?"));
    net.run(TICK);
    let kinds: Vec<_> = net.inbox.iter().rev().take(4).map(|sent| sent.kind()).collect();
    assert_eq!(kinds, ["400 INFO", "415 INFO", "200 INFO", "200 INFO"]);
    let digits: String = net.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DigitPressed { digit, .. } => Some(*digit),
            _ => None,
        })
        .collect();
    assert_eq!(digits, "7*");
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}
