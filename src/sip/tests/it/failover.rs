//! Several targets of one peer: which one a request goes to when others fail.

use std::time::Duration;

use sip::{Event, Input, Peer, PeerId, Registration, Transport};

use crate::net::{Net, PEER, SDP_B, address, header};

const ONE: &str = "127.0.1.2:5060";
const TWO: &str = "127.0.1.3:5060";

fn net_with(targets: &[&str]) -> Net {
    let mut net = Net::scripted();
    let targets = targets.iter().map(|target| address(target)).collect();
    net.endpoint(0)
        .set_peer(Peer::new(PEER, address("127.0.1.1:5060"), targets));
    net
}

/// Where each request of a method went, in order, without those sent again.
fn went(net: &Net, method: &str) -> Vec<String> {
    let mut branches = Vec::new();
    let mut to = Vec::new();
    for sent in net.log.iter().filter(|sent| sent.kind() == method) {
        let branch = header(&sent.text, "Via");
        if !branches.contains(&branch) {
            branches.push(branch);
            to.push(sent.to.to_string());
        }
    }
    to
}

fn unreachable(net: &mut Net, remote: &str) {
    let remote = address(remote);
    net.act(0, move |endpoint, now| {
        endpoint.handle_input(
            now,
            Input::Unreachable {
                peer: None,
                remote,
                transport: Transport::Udp,
            },
        );
    });
    net.run(Duration::from_millis(20));
}

#[test]
fn a_silent_target_is_left_after_four_seconds_and_passed_over_by_the_next_call() {
    let mut net = net_with(&[ONE, TWO]);
    net.call(0);
    net.run(Duration::from_millis(3900));
    assert_eq!(went(&net, "INVITE"), [ONE]);
    net.run(Duration::from_millis(200));
    assert_eq!(went(&net, "INVITE"), [ONE, TWO]);
    let branch = header(&net.log[0].text, "Via");
    let copies = |net: &Net| {
        let of_first = net.log.iter().filter(|sent| header(&sent.text, "Via") == branch);
        of_first.count()
    };
    let before = copies(&net);
    net.call(0);
    net.run(Duration::from_millis(20));
    assert_eq!(went(&net, "INVITE"), [ONE, TWO, TWO]);
    net.seconds(10);
    assert_eq!(copies(&net), before, "a target that was left gets no more copies");
}

#[test]
fn a_target_that_failed_is_used_again_after_thirty_seconds() {
    let mut net = net_with(&[ONE, TWO]);
    net.call(0);
    net.run(Duration::from_millis(20));
    unreachable(&mut net, ONE);
    assert_eq!(went(&net, "INVITE"), [ONE, TWO]);
    net.seconds(31);
    net.call(0);
    net.run(Duration::from_millis(20));
    assert_eq!(went(&net, "INVITE"), [ONE, TWO, ONE]);
}

#[test]
fn service_unavailable_goes_to_the_next_target_and_busy_does_not() {
    let mut net = net_with(&[ONE, TWO]);
    net.call(0);
    net.run(Duration::from_millis(20));
    let invite = net.got("INVITE");
    net.reply(&invite, "503 Service Unavailable", "r", "", "");
    net.run(Duration::from_millis(50));
    assert_eq!(went(&net, "INVITE"), [ONE, TWO]);
    let second = net.got("INVITE");
    assert_eq!(header(&second, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_ne!(header(&second, "Via"), header(&invite, "Via"));
    let mut net = net_with(&[ONE, TWO]);
    net.call(0);
    net.run(Duration::from_millis(20));
    let invite = net.got("INVITE");
    net.reply(&invite, "486 Busy Here", "r", "", "");
    net.run(Duration::from_millis(50));
    assert_eq!(went(&net, "INVITE"), [ONE]);
}

#[test]
fn a_503_that_the_callee_caused_is_final_and_rests_no_target() {
    for cause in [1, 17, 18, 19, 20, 21, 22, 28] {
        let mut net = net_with(&[ONE, TWO]);
        net.call(0);
        net.run(Duration::from_millis(20));
        let invite = net.got("INVITE");
        let reason = format!("Retry-After: 60\r\nReason: Q.850;cause={cause}\r\n");
        net.reply(&invite, "503 Service Unavailable", "r", &reason, "");
        net.run(Duration::from_millis(50));
        net.call(0);
        net.run(Duration::from_millis(20));
        assert_eq!(went(&net, "INVITE"), [ONE, ONE], "{cause}");
    }
}

#[test]
fn the_last_silent_target_is_given_up_at_once_when_another_peer_could_carry_the_call() {
    let mut net = net_with(&[ONE]);
    let session = net.call(0);
    net.act(0, |endpoint, now| endpoint.hurry(now, session));
    net.run(Duration::from_millis(4200));
    let failed = net.nodes[0].events.iter().find_map(|event| match event {
        Event::Failed { failure, .. } => Some((failure.status, failure.from_peer)),
        _ => None,
    });
    assert_eq!(failed, Some((408, false)));
    // An answer that comes after all is acknowledged and ended.
    let invite = net.got("INVITE");
    net.reply(
        &invite,
        "200 OK",
        "r",
        "Contact: <sip:b@127.0.1.2>\r\n",
        std::str::from_utf8(SDP_B).unwrap(),
    );
    net.run(Duration::from_millis(50));
    assert_eq!((went(&net, "ACK").len(), went(&net, "BYE").len()), (1, 1));
}

#[test]
fn a_silent_registrar_is_left_after_four_seconds_and_the_refresh_stays_where_it_was_granted() {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.9:5060")]);
    peer.registrars = vec![address(ONE), address(TWO)];
    net.endpoint(0).set_peer(peer);
    net.act(0, |endpoint, now| {
        endpoint.register(
            now,
            Registration {
                peer: PEER,
                registrar: "sip:registrar.example.com".into(),
                aor: "sip:u@example.com".into(),
                expires: 120,
            },
        );
    });
    net.run(Duration::from_millis(4100));
    assert_eq!(went(&net, "REGISTER"), [ONE, TWO]);
    let request = net.got("REGISTER");
    let contact = header(&request, "Contact");
    net.reply(&request, "200 OK", "r", &format!("Contact: {contact}\r\n"), "");
    assert_eq!(net.names(0), ["Registered"]);
    net.seconds(100);
    assert_eq!(went(&net, "REGISTER")[..3], [ONE, TWO, TWO]);
}

#[test]
fn pings_pass_over_a_target_that_failed() {
    let mut net = net_with(&[ONE, TWO]);
    net.act(0, |endpoint, now| endpoint.probe(now, PEER));
    net.run(Duration::from_millis(20));
    unreachable(&mut net, ONE);
    assert_eq!(net.names(0), ["Probed"]);
    net.act(0, |endpoint, now| endpoint.probe(now, PEER));
    net.run(Duration::from_millis(20));
    assert_eq!(went(&net, "OPTIONS"), [ONE, TWO]);
    let now = net.now;
    assert!(net.endpoint(0).is_awake(now, PEER));
    assert!(!net.endpoint(0).is_awake(now, PeerId(77)));
}

#[test]
fn a_request_within_a_call_whose_way_died_goes_to_another_target() {
    let mut net = net_with(&[ONE, TWO]);
    let session = net.call(0);
    net.run(Duration::from_millis(20));
    let invite = net.got("INVITE");
    net.reply(
        &invite,
        "200 OK",
        "r",
        "Contact: <sip:b@127.0.1.2>\r\n",
        std::str::from_utf8(SDP_B).unwrap(),
    );
    net.run(Duration::from_millis(50));
    assert_eq!(went(&net, "ACK"), [ONE]);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(Duration::from_millis(20));
    unreachable(&mut net, ONE);
    assert_eq!(went(&net, "BYE"), [ONE, TWO]);
    let bye = net.got("BYE");
    assert_eq!(header(&bye, "Call-ID"), header(&invite, "Call-ID"));
}

#[test]
fn a_former_address_of_a_peer_is_heard_in_its_calls() {
    let mut net = net_with(&[ONE]);
    net.call(0);
    net.run(Duration::from_millis(20));
    let invite = net.got("INVITE");
    net.reply(
        &invite,
        "200 OK",
        "r",
        "Contact: <sip:b@127.0.1.2>\r\n",
        std::str::from_utf8(SDP_B).unwrap(),
    );
    net.run(Duration::from_millis(50));
    // The name of the peer now leads elsewhere.
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address(TWO)]);
    peer.former = vec![address(ONE).ip()];
    net.endpoint(0).set_peer(peer);
    assert!(net.endpoint(0).is_peer(address(ONE).ip()));
    let (from, to) = (header(&invite, "From"), header(&invite, "To"));
    let call_id = header(&invite, "Call-ID");
    net.script(&format!(
        "BYE sip:a@127.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ONE};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
         From: {to};tag=r\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    ));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Answered", "Ended(ByPeer)"]);
    assert_eq!(net.endpoint(0).counters().strangers, 0);
}
