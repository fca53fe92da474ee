//! Who is not a peer gets nothing; who is gets the right refusal, without state.

use std::time::Duration;

use sip::{EndpointConfig, Event, Sighting};

use crate::net::{Net, address, header, in_dialog, kind, request};

const STRANGER: &str = "198.51.100.66:5060";

#[test]
fn a_stranger_gets_no_answer_and_leaves_no_trace() {
    let mut net = Net::scripted();
    for method in [
        "INVITE",
        "REGISTER",
        "OPTIONS",
        "MESSAGE",
        "SUBSCRIBE",
        "BYE",
        "CANCEL",
        "ACK",
        "XYZZY",
        "NOTIFY",
    ] {
        let text = request(method, method, "", "");
        net.script_from(STRANGER, &text);
        let tagged = text.replace(
            "To: <sip:5550100@127.0.1.1>",
            "To: <sip:5550100@127.0.1.1>;tag=0.0123456789abcdef",
        );
        net.script_from(STRANGER, &tagged);
    }
    net.script_from(STRANGER, "garbage\r\n\r\n");
    assert!(net.log.is_empty(), "{}", net.log[0].text);
    let counters = net.endpoint(0).counters();
    assert_eq!((counters.sessions, counters.transactions), (0, 0));
    assert!(counters.strangers >= 10);
    assert!(
        net.nodes[0]
            .events
            .iter()
            .all(|event| matches!(event, Event::Security { .. }))
    );
}

#[test]
fn every_request_of_a_flood_of_strangers_is_told_so_that_noise_hides_nobody() {
    let mut net = Net::scripted();
    for number in 0..1000 {
        net.script_from(STRANGER, &request("INVITE", &number.to_string(), "", ""));
    }
    assert_eq!(net.nodes[0].events.len(), 1000);
    assert!(matches!(
        net.nodes[0].events[0],
        Event::Security {
            sighting: Sighting::StrangerInvite,
            ..
        }
    ));
}

#[test]
fn a_stranger_is_seen_as_what_it_wants_or_calls_itself() {
    let mut net = Net::scripted();
    let scanner = "User-Agent: Friendly-Scanner 0.3\r\n";
    for (method, lines) in [
        ("OPTIONS", ""),
        ("INVITE", ""),
        ("OPTIONS", scanner),
        ("INVITE", scanner),
    ] {
        net.script_from(STRANGER, &request(method, method, lines, ""));
    }
    // What a peer calls itself does not matter.
    net.script(&request("OPTIONS", "1", scanner, ""));
    let seen = net.nodes[0].events.iter().map(|event| match event {
        Event::Security { sighting, .. } => *sighting,
        other => panic!("{other:?}"),
    });
    let wanted = [
        Sighting::Stranger,
        Sighting::StrangerInvite,
        Sighting::Scanner,
        Sighting::Scanner,
    ];
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
    assert!(net.endpoint(0).is_peer(address("127.0.1.2:9").ip()));
    assert!(!net.endpoint(0).is_peer(address(STRANGER).ip()));
}

fn refused(text: &str) -> (String, String) {
    let mut net = Net::scripted();
    net.script(text);
    net.run(Duration::from_millis(20));
    assert_eq!(net.inbox.len(), 1, "{text}");
    let answer = net.inbox[0].text.clone();
    assert!(answer.contains(";received=127.0.1.2;rport=5060"), "{answer}");
    assert!(header(&answer, "To").contains(";tag="));
    // A copy of the request gets the same answer, and nothing is kept.
    net.script(text);
    net.run(Duration::from_millis(20));
    assert_eq!(net.inbox[1].text, answer);
    let counters = net.endpoint(0).counters();
    assert_eq!((counters.sessions, counters.transactions), (0, 0));
    (answer[8..11].to_owned(), answer)
}

#[test]
fn what_cannot_be_served_is_refused_with_the_right_status() {
    let (status, answer) = refused(&request(
        "INVITE",
        "1",
        "Require: 100rel, replaces\r\nProxy-Require: x\r\n",
        "",
    ));
    assert_eq!(
        (status.as_str(), header(&answer, "Unsupported").as_str()),
        ("420", "replaces, x")
    );
    let (status, answer) = refused(&request("SUBSCRIBE", "2", "", ""));
    assert_eq!(status, "405");
    assert!(header(&answer, "Allow").contains("INVITE"));
    let (status, answer) = refused(&request("XYZZY", "3", "", ""));
    assert_eq!(
        (status.as_str(), header(&answer, "CSeq").as_str()),
        ("501", "1 XYZZY")
    );
    assert_eq!(refused(&request("BYE", "4", "", "")).0, "481");
    assert_eq!(refused(&request("REGISTER", "5", "", "")).0, "405");
    assert_eq!(
        refused(&request("INVITE", "6", "", "").replace("sip:5550100@127.0.1.1:5060 SIP", "http:x SIP")).0,
        "416"
    );
    assert_eq!(
        refused(&request("INVITE", "7", "Content-Encoding: gzip\r\n", "zzz")).0,
        "415"
    );
    assert_eq!(
        refused(&request("INVITE", "8", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0")).0,
        "483"
    );
    assert_eq!(
        refused(&request("INVITE", "9", "", "").replace("Contact:", "X-Contact:")).0,
        "400"
    );
    let brief = "Supported: timer\r\nSession-Expires: 30\r\n";
    let (status, answer) = refused(&request("INVITE", "10", brief, ""));
    assert_eq!(
        (status.as_str(), header(&answer, "Min-SE").as_str()),
        ("422", "90")
    );
}

#[test]
fn options_of_a_peer_are_answered_and_refused_while_draining() {
    let (status, answer) = refused(&request("OPTIONS", "1", "", ""));
    assert_eq!(status, "200");
    assert!(header(&answer, "Allow").contains("INVITE") && header(&answer, "Accept") == "application/sdp");
    let mut net = Net::scripted();
    net.endpoint(0).set_draining(true);
    for method in ["OPTIONS", "INVITE"] {
        net.script(&request(method, method, "", ""));
        net.run(Duration::from_millis(20));
        let answer = &net.inbox.last().unwrap().text;
        assert_eq!(kind(answer), format!("503 {method}"));
        assert_eq!(header(answer, "Retry-After"), "30");
    }
}

#[test]
fn race_43_draining_refuses_new_calls_and_keeps_those_in_progress() {
    let mut net = Net::pair();
    let (caller, _) = net.connect();
    net.endpoint(1).set_draining(true);
    net.call(0);
    net.seconds(1);
    assert_eq!(net.names(0), ["Answered", "Failed(503)"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
    net.assert_clean();
}

#[test]
fn race_42_race_50_tables_are_bounded_and_empty_themselves() {
    let mut net = Net::new();
    let config = EndpointConfig {
        max_sessions: 100,
        max_transactions: 120,
        ..EndpointConfig::default()
    };
    net.add_with("127.0.1.1:5060", config, vec![address("127.0.1.2:5060")]);
    for number in 0..10_000 {
        let text =
            request("INVITE", &number.to_string(), "", "v=0\r\n").replace("call-1@", &format!("{number}@"));
        net.script(&text);
        if let Some(Event::Incoming { session, .. }) = net.take_events(0).pop() {
            net.act(0, |endpoint, now| {
                endpoint.answer(now, session, b"v=0\r\n".to_vec())
            });
        }
    }
    let counters = net.endpoint(0).counters();
    assert!(
        counters.sessions <= 100 && counters.transactions <= 120,
        "{counters:?}"
    );
    assert!(counters.refused >= 9_800);
    net.seconds(33);
    net.seconds(33);
    let counters = net.endpoint(0).counters();
    assert_eq!((counters.sessions, counters.transactions), (0, 0));
}

#[test]
fn race_11_a_bye_for_an_unknown_dialog_gets_481() {
    let mut net = Net::scripted();
    let response = "SIP/2.0 200 OK\r\nTo: <sip:5550100@127.0.1.1>;tag=0.00000000000000aa\r\n\r\n";
    net.script(&in_dialog(response, "BYE", 2, "1", "", ""));
    net.run(Duration::from_millis(20));
    assert_eq!(net.inbox.len(), 1);
    assert_eq!(net.inbox[0].kind(), "481 BYE");
}
