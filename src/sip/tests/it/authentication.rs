//! Peers that are known by credentials in place of an address (RFC 8760, sip.md §5), and strangers that try to be.

use std::time::Duration;

use sip::{Credentials, EndpointConfig, Event, Peer, PeerId, Sighting};

use crate::net::{Net, PEER, SDP_B, address, header, in_dialog, request};

const TICK: Duration = Duration::from_millis(50);
const US: &str = "127.0.1.1:5060";
const PHONE: &str = "198.51.100.9:5060";
const STRANGER: &str = "198.51.100.66:5060";
const OFFER: &str = "v=0\r\no=offer\r\n";

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.into(),
        password: password.into(),
        realm: None,
    }
}

/// Node 0 knows its peer by credentials only; node 1 is that peer, somewhere.
fn net(username: &str, password: &str) -> Net {
    let mut net = Net::new();
    net.add_with(US, EndpointConfig::default(), vec![]);
    let mut peer = Peer::new(PEER, address(US), vec![]);
    peer.accepts = Some(credentials("ann", "secret"));
    net.endpoint(0).set_peer(peer);
    net.add_with(PHONE, EndpointConfig::default(), vec![address(US)]);
    let mut peer = Peer::new(PEER, address(PHONE), vec![address(US)]);
    peer.credentials = Some(credentials(username, password));
    net.endpoint(1).set_peer(peer);
    net
}

fn sightings(net: &Net) -> Vec<Sighting> {
    let seen = net.nodes[0].events.iter().filter_map(|event| match event {
        Event::Security { sighting, .. } => Some(*sighting),
        _ => None,
    });
    seen.collect()
}

/// A confirmed call from the phone.
fn connected() -> (Net, sip::SessionId, sip::SessionId) {
    let mut net = net("ann", "secret");
    let phone = net.call(1);
    net.run(TICK);
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.seconds(1);
    (net, session, phone)
}

#[test]
fn a_peer_without_an_address_calls_with_its_credentials() {
    let (mut net, _, phone) = connected();
    assert_eq!(net.names(0), ["Security", "Proved", "Incoming", "Confirmed"]);
    let Some(Event::Incoming { peer: PEER, .. }) = net.nodes[0].events.get(2) else {
        panic!("{:?}", net.names(0))
    };
    assert_eq!(net.count("401 INVITE"), 1);
    let challenges = net.last("401 INVITE").matches("WWW-Authenticate").count();
    assert_eq!(challenges, 2, "as many as fit the size of the request");
    assert!(header(&net.last("INVITE"), "Authorization").contains("algorithm=SHA-256"));
    net.act(1, |endpoint, now| endpoint.hangup(now, phone, None));
    net.run(TICK);
    assert_eq!((net.count("401 BYE"), net.count("200 BYE")), (0, 1));
    net.assert_clean();
}

#[test]
fn within_a_call_a_new_address_proves_itself_once_more() {
    let (mut net, session, phone) = connected();
    net.nat = Some((address(PHONE), address("203.0.113.77:40000")));
    net.act(1, |endpoint, now| endpoint.send_digit_info(now, phone, '5', TICK));
    net.run(TICK);
    assert_eq!((net.count("401 INFO"), net.count("200 INFO")), (1, 1));
    net.act(1, |endpoint, now| endpoint.send_digit_info(now, phone, '6', TICK));
    net.run(TICK);
    assert_eq!((net.count("401 INFO"), net.count("200 INFO")), (1, 2));
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(TICK);
    assert_eq!(
        net.log.iter().rev().find(|sent| sent.kind() == "BYE").unwrap().to,
        address(PHONE)
    );
    assert_eq!(net.count("200 BYE"), 1);
    net.assert_clean();
}

#[test]
fn nobody_ends_a_call_from_elsewhere_by_knowing_its_tags() {
    let (mut net, session, _) = connected();
    let ok = net.last("200 INVITE");
    let bye = in_dialog(&ok, "BYE", 9, "x", "", "")
        .replace("call-1@bob", &header(&ok, "Call-ID"))
        .replace("\"Bob\" <sip:5550102@127.0.1.2>;tag=bobtag", &header(&ok, "From"))
        .replace(
            "Max-Forwards: 70\r\n",
            &format!("Max-Forwards: 70\r\nX-Fill: {}\r\n", "x".repeat(300)),
        );
    net.script_from(STRANGER, &bye);
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "401 BYE");
    assert_eq!(
        net.names(0),
        ["Security", "Proved", "Incoming", "Confirmed", "Security"]
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.assert_clean();
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer_and_no_state() {
    let mut answers = Vec::new();
    for (username, password) in [("ann", "wrong"), ("bob", "secret")] {
        let mut net = net(username, password);
        net.call(1);
        net.seconds(40);
        assert_eq!(net.names(1), ["Failed(401)"]);
        let (first, bad) = (Sighting::Unauthenticated, Sighting::BadCredentials);
        assert_eq!(net.count("401 INVITE"), 4, "not repeated, and no endless try");
        assert_eq!(sightings(&net), [first, bad, bad, bad]);
        let counters = net.endpoint(0).counters();
        assert_eq!((counters.sessions, counters.transactions), (0, 0));
        let answer = net.last("401 INVITE");
        let fixed = ["SIP/2.0", "WWW-Authenticate", "Content-Length"];
        let shape: Vec<String> = answer
            .lines()
            .filter(|line| fixed.iter().any(|name| line.starts_with(name)))
            .map(|line| {
                line.split("nonce=")
                    .map(|part| part.len())
                    .map(|length| length.to_string())
                    .collect()
            })
            .collect();
        answers.push((answer.len(), shape));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_challenge_is_never_longer_than_the_request() {
    let mut net = net("ann", "secret");
    let mut algorithms = Vec::new();
    for fill in [0, 100, 250, 600] {
        net.inbox.clear();
        let text = request(
            "OPTIONS",
            &format!("f{fill}"),
            &format!("X: {}\r\n", "x".repeat(fill)),
            "",
        );
        net.script_from(STRANGER, &text);
        net.run(TICK);
        let answer = net
            .inbox
            .first()
            .map(|sent| sent.text.clone())
            .unwrap_or_default();
        assert!(answer.len() <= text.len(), "{answer}");
        algorithms.push(answer.matches("WWW-Authenticate").count());
    }
    assert_eq!(algorithms, [0, 1, 2, 3]);
}

#[test]
fn a_captured_request_played_again_is_stale_and_makes_no_call() {
    let (mut net, session, _) = connected();
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.seconds(40);
    let captured = net.last("INVITE");
    assert!(captured.contains("Authorization: Digest"));
    for (source, expected) in [(PHONE, "stale=true"), (STRANGER, "stale=true")] {
        let again = captured
            .replace("z9hG4bK", &format!("z9hG4bKx{}", &source[11..13]))
            .replace(&header(&captured, "Call-ID"), source);
        net.script_from(source, &again);
        net.run(TICK);
        let refused = net.last("401 INVITE");
        assert!(
            header(&refused, "WWW-Authenticate").contains(expected),
            "{refused}"
        );
    }
    assert_eq!(net.names(0).iter().filter(|name| *name == "Incoming").count(), 1);
}

#[test]
fn strangers_that_want_nothing_we_have_still_get_nothing() {
    let mut net = net("ann", "secret");
    let fill = format!("X: {}\r\n", "x".repeat(600));
    for method in [
        "REGISTER",
        "MESSAGE",
        "SUBSCRIBE",
        "BYE",
        "CANCEL",
        "ACK",
        "NOTIFY",
        "REFER",
        "XYZZY",
    ] {
        net.script_from(STRANGER, &request(method, method, &fill, ""));
    }
    let scanner = format!("User-Agent: friendly-scanner\r\n{fill}");
    net.script_from(STRANGER, &request("INVITE", "s", &scanner, OFFER));
    let tagged = request("INVITE", "t", &fill, OFFER);
    net.script_from(
        STRANGER,
        &tagged.replace(
            "5550100@127.0.1.1>\r\n",
            "5550100@127.0.1.1>;tag=0.0123456789abcdef\r\n",
        ),
    );
    assert!(net.log.is_empty(), "{}", net.log[0].text);
}

#[test]
fn of_several_users_each_is_the_peer_of_its_credentials() {
    let mut net = net("ben", "secret2");
    let mut ben = Peer::new(PeerId(9), address(US), vec![]);
    ben.accepts = Some(credentials("ben", "secret2"));
    net.endpoint(0).set_peer(ben);
    net.call(1);
    net.run(TICK);
    let Some(Event::Incoming { peer, .. }) = net.nodes[0].events.last() else {
        panic!("{:?}", net.names(0))
    };
    assert_eq!(*peer, PeerId(9));
}
