//! What a carrier's tests ask for beside the RFCs' own examples, and that docs/sip-conformance.md names tests that exist.

use std::path::Path;
use std::time::Duration;

use sip::{Cause, Credentials, EndpointConfig, Event, Input, Peer, Registration, Transport};

use crate::net::{Net, PEER, SDP_B, address, header, in_dialog, request};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer\r\n";
const CONTACT: &str = "Contact: <sip:bob@127.0.1.2:5070>\r\n";

/// A confirmed call from the scripted caller; our 200.
fn confirmed(lines: &str) -> (Net, sip::SessionId, String) {
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
fn no_configured_text_with_line_ends_becomes_a_header() {
    let evil = "x\r\nX-Evil: 1";
    let mut net = Net::new();
    let config = EndpointConfig {
        agent: Some(evil.into()),
        realm: evil.into(),
        ..EndpointConfig::default()
    };
    net.add_with("127.0.1.1:5060", config, vec![address("127.0.1.2:5060")]);
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.credentials = Some(Credentials {
        username: evil.into(),
        password: evil.into(),
        realm: None,
    });
    peer.accepts = peer.credentials.clone();
    net.endpoint(0).set_peer(peer.clone());
    net.script(&request("OPTIONS", "o", "", ""));
    net.run(TICK);
    assert_eq!(
        net.inbox.last().unwrap().kind(),
        "200 OPTIONS",
        "it still answers"
    );
    net.script_from(
        "198.51.100.6:5060",
        &request("INVITE", "s", &format!("X: {}\r\n", "x".repeat(900)), ""),
    );
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "401 INVITE");
    net.call(0);
    net.run(TICK);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\"\r\n";
    net.reply(&net.got("INVITE"), "401 Unauthorized", "b1", challenge, "");
    net.run(TICK);
    for (registrar, aor) in [(evil, "sip:a@127.0.1.2"), ("sip:127.0.1.2", evil)] {
        let registration = Registration {
            peer: PEER,
            registrar: registrar.into(),
            aor: aor.into(),
            expires: 300,
        };
        net.act(0, |endpoint, now| endpoint.register(now, registration));
    }
    peer.route = Some(format!("<sip:127.0.1.2;lr>{evil}"));
    net.endpoint(0).set_peer(peer);
    let refused = net.act(0, |endpoint, now| {
        let party = sip::Party::new("sip:a@127.0.1.1");
        let invite = sip::Invite {
            peer: PEER,
            uri: "sip:b@127.0.1.2".into(),
            to: "sip:b@127.0.1.2".into(),
            from: party,
            headers: vec![],
            max_forwards: None,
            sdp: SDP_B.to_vec(),
        };
        endpoint.invite(now, invite)
    });
    assert_eq!(refused, Err(sip::InviteError::InvalidValue));
    net.run(TICK);
    for sent in &net.log {
        assert!(!sent.text.contains("\nX-Evil"), "{}", sent.text);
    }
}

#[test]
fn calls_with_one_call_id_are_told_apart_by_their_tags() {
    let mut net = Net::scripted();
    for tag in ["one", "two"] {
        let invite = request("INVITE", tag, "", OFFER).replace("tag=bobtag", &format!("tag={tag}"));
        net.script(&invite);
        let session = net.incoming(0);
        net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
        net.run(TICK);
        let ack = in_dialog(&net.got("200 INVITE"), "ACK", 1, &format!("a{tag}"), "", "");
        net.script(&ack.replace("tag=bobtag", &format!("tag={tag}")));
    }
    assert_eq!(net.names(0), ["Incoming", "Confirmed", "Incoming", "Confirmed"]);
    let second = net.got("200 INVITE");
    let crossed = in_dialog(&second, "BYE", 2, "x", "", "").replace("tag=bobtag", "tag=one");
    net.script(&crossed);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "481 BYE");
    net.script(&in_dialog(&second, "BYE", 2, "y", "", "").replace("tag=bobtag", "tag=two"));
    assert_eq!(
        net.names(0)
            .iter()
            .filter(|name| name.starts_with("Ended"))
            .count(),
        1
    );
    let first = net.incoming(0);
    assert!(matches!(net.nodes[0].events.last(), Some(Event::Ended { session, .. }) if *session == first));
}

#[test]
fn replaces_is_refused_when_it_is_required_and_else_takes_nothing_over() {
    let (mut net, session, ok) = confirmed("");
    let tag = header(&ok, "To").split("tag=").nth(1).unwrap().to_owned();
    let replaces = format!("Replaces: call-1@bob;to-tag={tag};from-tag=bobtag\r\n");
    let other = |branch: &str, lines: &str| {
        request("INVITE", branch, lines, OFFER).replace("call-1@bob", &format!("{branch}@bob"))
    };
    net.script(&other("r1", &format!("Require: replaces\r\n{replaces}")));
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "420 INVITE");
    net.script(&other("r2", &replaces));
    assert_eq!(net.names(0), ["Incoming"], "a call of its own");
    assert_ne!(net.incoming(0), session);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(net.count("BYE"), 1, "the first call was still there");
}

#[test]
fn two_reasons_are_told_and_ours_say_q850_and_sip() {
    let (mut net, _, ok) = confirmed("");
    let lines = "Reason: SIP;cause=486;text=\"Busy Here\"\r\nReason: Q.850;cause=17\r\n";
    net.script(&in_dialog(&ok, "BYE", 2, "b", lines, ""));
    let Some(Event::Ended { reason, .. }) = net.nodes[0].events.last() else {
        panic!("{:?}", net.names(0))
    };
    assert_eq!((reason.cause, reason.status), (Some(17), Some(486)));
    for (cause, expected) in [
        (16, None),
        (17, Some("SIP;cause=486")),
        (26, Some("SIP;cause=200;text=\"Call completed elsewhere\"")),
    ] {
        let (mut net, session, _) = confirmed("");
        net.act(0, |endpoint, now| {
            endpoint.hangup(now, session, Some(Cause(cause)))
        });
        net.run(TICK);
        let bye = net.got("BYE");
        assert_eq!(header(&bye, "Reason"), format!("Q.850;cause={cause}"));
        assert_eq!(
            bye.matches("Reason: SIP").count(),
            usize::from(expected.is_some())
        );
        assert!(expected.is_none_or(|expected| bye.contains(expected)), "{bye}");
    }
}

#[test]
fn every_answer_goes_where_its_request_came_from() {
    let mut net = Net::scripted();
    let text = request("OPTIONS", "o", "", "")
        .replace("127.0.1.2:5060;branch", "pbx.example.com:5099;branch")
        .replace(";rport", ";received=203.0.113.9;rport=1");
    net.script_from("127.0.1.77:40001", &text);
    net.run(TICK);
    let sent = net.inbox.last().unwrap();
    assert_eq!(sent.to, address("127.0.1.77:40001"));
    let via = header(&sent.text, "Via");
    assert!(via.ends_with(";received=127.0.1.77;rport=40001"), "{via}");
    assert!(
        via.starts_with("SIP/2.0/UDP pbx.example.com:5099;") && !via.contains("203.0.113.9"),
        "{via}"
    );
}

#[test]
fn over_tcp_an_answer_is_repeated_until_its_ack_and_a_refusal_is_not() {
    let receive = |net: &mut Net, text: &str| {
        let (local, source) = (net.nodes[0].address, address("127.0.1.2:5060"));
        let input = Input::Received {
            local,
            source,
            transport: Transport::Tcp,
            bytes: text.as_bytes(),
        };
        net.act(0, |endpoint, now| endpoint.handle_input(now, input));
    };
    let mut net = Net::scripted();
    receive(&mut net, &request("INVITE", "i1", "", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.reject(now, session, 486, None));
    receive(
        &mut net,
        &request("INVITE", "i2", "", OFFER).replace("call-1@", "call-2@"),
    );
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.seconds(40);
    assert_eq!(net.count("486 INVITE"), 1);
    assert_eq!(net.count("200 INVITE"), 11);
    assert_eq!(net.names(0).last().unwrap(), "Ended(NoAck)");
    net.assert_clean();
}

#[test]
fn every_failure_is_acknowledged_and_told_once_with_its_status() {
    for status in [
        400, 402, 403, 404, 405, 406, 410, 413, 415, 420, 421, 423, 480, 482, 483, 484, 486, 488, 491, 493,
        500, 501, 502, 504, 505, 513, 580, 600, 603, 604, 606, 607, 608, 699,
    ] {
        let mut net = Net::scripted();
        net.call(0);
        net.run(TICK);
        let invite = net.got("INVITE");
        for _ in 0..3 {
            net.reply(&invite, &format!("{status} Whatever"), "b1", "", "");
        }
        net.run(TICK);
        assert_eq!(net.names(0), [format!("Failed({status})")]);
        assert_eq!(
            (net.count("ACK"), net.distinct("ACK"), net.distinct("INVITE")),
            (3, 1, 1)
        );
        net.assert_clean();
    }
}

#[test]
fn more_than_thirty_two_contacts_are_too_many() {
    let contacts = |count: usize| vec!["<sip:x@127.0.1.2>"; count].join(", ");
    for (count, status) in [(31, "100 INVITE"), (32, "513 INVITE")] {
        let mut net = Net::scripted();
        net.script(&request(
            "INVITE",
            "c",
            &format!("Contact: {}\r\n", contacts(count)),
            OFFER,
        ));
        net.run(TICK);
        assert_eq!(net.inbox.last().unwrap().kind(), status);
    }
}

#[test]
fn early_media_may_come_before_and_after_ringing_and_ringing_without_sdp_is_no_media() {
    let mut net = Net::scripted();
    let session = net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    for (status, sdp) in [
        ("100 Trying", ""),
        ("183 Progress", ""),
        ("181 Forwarded", ""),
        ("183 Progress", OFFER),
        ("180 Ringing", ""),
        ("180 Ringing", "v=0\r\no=other\r\n"),
        ("199 Ended", ""),
    ] {
        net.reply(&invite, status, "b1", CONTACT, sdp);
    }
    assert_eq!(net.names(0), ["Ringing", "Progress", "Progress"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    net.reply(&net.got("CANCEL"), "200 OK", "", "", "");
    net.reply(&invite, "487 Terminated", "b1", "", "");
    net.assert_clean();
}

/// Every test that docs/sip-conformance.md names exists somewhere in the workspace.
#[test]
fn the_conformance_table_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("docs/sip-conformance.md")).unwrap();
    let mut sources = String::new();
    let mut open = vec![root.join("src"), root.join("tests")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        for name in row.split('`').skip(1).step_by(2) {
            // A name that ends in `*` stands for all tests that begin so.
            let wanted = match name.strip_suffix('*') {
                Some(start) => format!("fn {start}"),
                None => format!("fn {name}("),
            };
            assert!(
                sources.contains(&wanted),
                "no test {name}, which this row names:\n{row}"
            );
            named += 1;
        }
    }
    assert!(named > 100, "{named}");
}

#[test]
fn an_invite_that_says_how_long_it_waits_is_terminated_then() {
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Expires: 20\r\n", OFFER));
    net.seconds(19);
    assert_eq!(net.names(0), ["Incoming"]);
    net.seconds(2);
    assert_eq!(net.names(0), ["Incoming", "Ended(Expired)"]);
    assert!(net.count("487 INVITE") >= 1);
    net.assert_clean();
    let mut net = Net::scripted();
    net.script(&request("INVITE", "i1", "Expires: 20\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    net.script(&in_dialog(&net.got("200 INVITE"), "ACK", 1, "ack", "", ""));
    net.seconds(60);
    assert_eq!(
        net.names(0),
        ["Incoming", "Confirmed"],
        "an answered call has no such limit"
    );
}
