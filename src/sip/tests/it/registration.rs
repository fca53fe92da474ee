//! REGISTER against a scripted registrar.

use std::time::Duration;

use sip::{Credentials, Event, Peer, Registration, Transport};

use crate::net::{Net, PEER, address, header};

fn registrar_net() -> Net {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.credentials = Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm: None,
    });
    net.endpoint(0).set_peer(peer);
    net
}

fn register(net: &mut Net) {
    net.act(0, |endpoint, now| {
        endpoint.register(
            now,
            Registration {
                peer: PEER,
                registrar: "sip:registrar.example.com".into(),
                aor: "sip:u@example.com".into(),
                expires: 3600,
            },
        );
    });
    net.run(Duration::from_millis(20));
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\r\n";

#[test]
fn a_challenged_registration_is_refreshed_from_the_granted_expiry() {
    let mut net = registrar_net();
    register(&mut net);
    let first = net.got("REGISTER");
    assert_eq!(header(&first, "CSeq"), "1 REGISTER");
    assert!(header(&first, "Contact").ends_with(";expires=3600"));
    net.reply(&first, "401 Unauthorized", "r", CHALLENGE, "");
    net.run(Duration::from_millis(20));
    let second = net.got("REGISTER");
    assert_eq!(header(&second, "CSeq"), "2 REGISTER");
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    let authorization = header(&second, "Authorization");
    assert!(
        authorization.contains("nc=00000001") && authorization.contains("algorithm=SHA-256"),
        "{authorization}"
    );
    assert!(authorization.contains("uri=\"sip:registrar.example.com\""));
    let contact = header(&second, "Contact").replace("expires=3600", "expires=120");
    net.reply(
        &second,
        "200 OK",
        "r",
        &format!("Contact: {contact}\r\nExpires: 900\r\n"),
        "",
    );
    assert_eq!(net.names(0), ["Registered"]);
    assert_eq!(
        net.nodes[0].events[0],
        Event::Registered {
            peer: PEER,
            expires: Duration::from_secs(120)
        }
    );
    net.inbox.clear();
    net.seconds(60);
    assert!(net.inbox.is_empty(), "refreshed too early");
    net.seconds(55);
    let third = net.got("REGISTER");
    assert!(header(&third, "Authorization").contains("nc=00000002"), "{third}");
}

#[test]
fn a_wrong_password_is_not_tried_again_and_again() {
    let mut net = registrar_net();
    register(&mut net);
    for attempt in 0..2 {
        let request = net.got("REGISTER");
        // A new nonce each time, which is not called stale: the password itself is refused.
        let challenge = CHALLENGE.replace("nonce=\"", &format!("nonce=\"{attempt}"));
        net.reply(&request, "401 Unauthorized", "r", &challenge, "");
        net.run(Duration::from_millis(20));
    }
    assert_eq!(net.inbox.len(), 2);
    let Some(Event::RegistrationFailed {
        status: 401,
        retry_in,
        ..
    }) = net.nodes[0].events.last()
    else {
        panic!("{:?}", net.nodes[0].events)
    };
    assert!(*retry_in >= Duration::from_secs(5) && *retry_in < Duration::from_secs(6));
}

#[test]
fn too_brief_an_expiry_is_raised_once() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    net.reply(
        &request,
        "423 Interval Too Brief",
        "r",
        "Min-Expires: 7200\r\n",
        "",
    );
    net.run(Duration::from_millis(20));
    let request = net.got("REGISTER");
    assert_eq!(header(&request, "Expires"), "7200");
    net.reply(
        &request,
        "423 Interval Too Brief",
        "r",
        "Min-Expires: 9000\r\n",
        "",
    );
    assert_eq!(net.names(0), ["RegistrationFailed"]);
}

#[test]
fn failures_back_off_and_retry_after_and_forbidden_are_honoured() {
    let mut net = registrar_net();
    register(&mut net);
    let mut waits = vec![];
    for (status, lines) in [
        ("500 Error", ""),
        ("500 Error", ""),
        ("500 Error", ""),
        ("503 Unavailable", "Retry-After: 100\r\n"),
        ("403 Forbidden", ""),
    ] {
        let request = net.got("REGISTER");
        net.reply(&request, status, "r", lines, "");
        let Some(Event::RegistrationFailed { retry_in, .. }) = net.nodes[0].events.last().cloned() else {
            panic!("not failed")
        };
        waits.push(retry_in.as_secs());
        net.run(retry_in + Duration::from_millis(100));
    }
    assert_eq!(waits[0], 5);
    assert!(
        (10..=11).contains(&waits[1]) && (20..=22).contains(&waits[2]),
        "{waits:?}"
    );
    assert!((100..=110).contains(&waits[3]), "{waits:?}");
    assert!((600..=660).contains(&waits[4]), "{waits:?}");
}

#[test]
fn a_silent_registrar_gives_way_to_the_next_target() {
    let mut net = registrar_net();
    let targets = vec![address("127.0.1.2:5060"), address("127.0.1.3:5060")];
    let peer = Peer::new(PEER, address("127.0.1.1:5060"), targets);
    net.endpoint(0).set_peer(peer);
    register(&mut net);
    net.seconds(33);
    let request = net.got("REGISTER");
    assert_eq!(net.inbox.last().unwrap().to, address("127.0.1.3:5060"));
    net.reply(&request, "200 OK", "r", "Expires: 3600\r\n", "");
    assert_eq!(net.names(0), ["Registered"]);
}

#[test]
fn deregistering_removes_only_our_own_contact() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    let contact = header(&request, "Contact");
    net.reply(&request, "200 OK", "r", &format!("Contact: {contact}\r\n"), "");
    net.act(0, |endpoint, now| endpoint.deregister(now, PEER));
    net.run(Duration::from_millis(20));
    let request = net.got("REGISTER");
    assert!(header(&request, "Contact").ends_with("expires=0"));
    assert_ne!(header(&request, "Contact"), "*");
    net.reply(&request, "200 OK", "r", "", "");
    assert_eq!(net.names(0), ["Registered", "Deregistered"]);
    net.inbox.clear();
    net.seconds(4000);
    assert!(net.inbox.is_empty());
}

#[test]
fn a_foreign_realm_gets_no_credentials() {
    let mut net = registrar_net();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    let realm = Some("trunk.example.com".to_owned());
    peer.credentials = Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm,
    });
    net.endpoint(0).set_peer(peer);
    register(&mut net);
    let request = net.got("REGISTER");
    net.reply(&request, "401 Unauthorized", "r", CHALLENGE, "");
    net.run(Duration::from_millis(20));
    assert_eq!(net.inbox.len(), 1);
    assert_eq!(net.names(0), ["ForeignRealm", "Security", "RegistrationFailed"]);
}

#[test]
fn the_address_that_the_registrar_sees_is_told() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    let answer = crate::net::response(&request, "200 OK", "r", "Expires: 60\r\n", "")
        .replace(";rport", ";received=203.0.113.9;rport=40000");
    net.script(&answer);
    let seen = Event::PublicAddress {
        peer: PEER,
        address: address("203.0.113.9:40000"),
    };
    assert_eq!(net.nodes[0].events[0], seen);
}

#[test]
fn a_connection_teaches_our_address_but_never_its_own_port() {
    for transport in [Transport::Tcp, Transport::Tls] {
        for (told, learnt) in [
            (";received=203.0.113.9;rport=40000", Some("203.0.113.9:5060")),
            (";received=127.0.1.1;rport=40000", None),
            (";rport=40000", None),
        ] {
            let mut net = registrar_net();
            let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
            peer.transport = transport;
            net.endpoint(0).set_peer(peer);
            register(&mut net);
            let request = net.got("REGISTER");
            let answer = crate::net::response(&request, "200 OK", "r", "Expires: 60\r\n", "");
            net.script_on(transport, &answer.replace(";rport", told));
            let seen = net.nodes[0].events.iter().find_map(|event| match event {
                Event::PublicAddress { address, .. } => Some(*address),
                _ => None,
            });
            assert_eq!(seen, learnt.map(address), "{transport:?} {told}");
            assert!(net.names(0).iter().any(|name| name == "Registered"));
        }
    }
}

#[test]
fn a_contact_that_changed_is_removed_by_the_register_that_replaces_it() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    let first = header(&request, "Contact").replace(";expires=3600", "");
    assert_eq!(contacts(&request).len(), 1);
    net.reply(&request, "200 OK", "r", "Expires: 3600\r\n", "");
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.public = Some(address("203.0.113.9:40000"));
    net.endpoint(0).set_peer(peer);
    net.inbox.clear();
    register(&mut net);
    let again = net.got("REGISTER");
    let second = header(&again, "Contact").replace(";expires=3600", "");
    assert!(second.contains("@203.0.113.9:40000"), "{second}");
    let gone = format!("{first};expires=0");
    assert_eq!(contacts(&again), [format!("{second};expires=3600"), gone.clone()]);
    // Before that is granted we leave: the registrar may hold either.
    net.inbox.clear();
    net.act(0, |endpoint, now| endpoint.deregister(now, PEER));
    net.run(Duration::from_millis(20));
    let last = net.got("REGISTER");
    assert_eq!(contacts(&last), [format!("{second};expires=0"), gone]);
}

#[test]
fn a_contact_that_the_registrar_has_removed_is_named_no_more() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    net.reply(&request, "200 OK", "r", "Expires: 3600\r\n", "");
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.public = Some(address("203.0.113.9:40000"));
    net.endpoint(0).set_peer(peer);
    net.inbox.clear();
    register(&mut net);
    let again = net.got("REGISTER");
    net.reply(&again, "200 OK", "r", "Expires: 3600\r\n", "");
    net.inbox.clear();
    register(&mut net);
    assert_eq!(contacts(&net.got("REGISTER")).len(), 1);
}

#[test]
fn a_registrar_that_moved_is_registered_with_at_once_and_not_for_every_turn_of_its_name() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    net.reply(&request, "200 OK", "r", "Expires: 3600\r\n", "");
    net.inbox.clear();
    let moves = |net: &mut Net, targets: &[&str]| {
        let targets = targets.iter().map(|text| address(text)).collect();
        let peer = Peer::new(PEER, address("127.0.1.1:5060"), targets);
        net.endpoint(0).set_peer(peer);
        net.act(0, |endpoint, now| endpoint.follow_registrar(now, PEER));
        net.run(Duration::from_millis(50));
        let registers = net.inbox.iter().filter(|sent| sent.kind() == "REGISTER");
        let places: Vec<String> = registers.map(|sent| sent.to.to_string()).collect();
        places
    };
    // More addresses, or another order: the one that we use is still there.
    let none: [&str; 0] = [];
    assert_eq!(moves(&mut net, &["127.0.1.3:5060", "127.0.1.2:5060"]), none);
    assert_eq!(moves(&mut net, &[]), none, "an empty answer is no news");
    assert_eq!(moves(&mut net, &["127.0.1.3:5060"]), ["127.0.1.3:5060"]);
    let again = net.got("REGISTER");
    let answer = crate::net::response(&again, "200 OK", "r", "Expires: 3600\r\n", "");
    net.script_from("127.0.1.3:5060", &answer);
    net.inbox.clear();
    assert_eq!(
        moves(&mut net, &["127.0.1.4:5060"]),
        none,
        "it moved a moment ago"
    );
    net.seconds(61);
    let last = net.inbox.iter().rfind(|sent| sent.kind() == "REGISTER").unwrap();
    assert_eq!(last.to.to_string(), "127.0.1.4:5060");
}

fn contacts(request: &str) -> Vec<String> {
    let lines = request.split("\r\n");
    lines
        .filter_map(|line| line.strip_prefix("Contact: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_service_route_of_the_registrar_is_put_on_our_calls() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    let lines = "Expires: 60\r\nService-Route: <sip:edge.example.com;lr>, <sip:core.example.com;lr>\r\n";
    net.reply(&request, "200 OK", "r", lines, "");
    net.call(0);
    let invite = net.last("INVITE");
    assert!(
        invite.contains("Route: <sip:edge.example.com;lr>\r\nRoute: <sip:core.example.com;lr>\r\n"),
        "{invite}"
    );
}

#[test]
fn race_31_registering_again_with_a_new_address_is_sent_at_once_and_calls_stay() {
    let mut net = registrar_net();
    register(&mut net);
    let request = net.got("REGISTER");
    net.reply(&request, "200 OK", "r", "Expires: 3600\r\n", "");
    net.call(0);
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.public = Some(address("203.0.113.9:40000"));
    net.endpoint(0).set_peer(peer);
    register(&mut net);
    let again = net.got("REGISTER");
    assert_eq!(header(&again, "CSeq"), "2 REGISTER");
    assert!(
        header(&again, "Contact").contains("@203.0.113.9:40000>"),
        "{again}"
    );
    assert!(header(&again, "Via").starts_with("SIP/2.0/UDP 203.0.113.9:40000;"));
    assert_eq!(net.endpoint(0).counters().active, 1);
}

#[test]
fn a_call_to_our_registration_is_known_by_its_contact_user() {
    let mut net = registrar_net();
    let user = net.endpoint(0).contact_user(PEER).unwrap().to_owned();
    assert_eq!(user.len(), 16);
    let invite = crate::net::request("INVITE", "1", "", "v=0\r\n");
    net.script(&invite.replace("INVITE sip:5550100@", &format!("INVITE sip:{user}@")));
    let Event::Incoming { invite, .. } = &net.nodes[0].events[0] else {
        panic!("no call")
    };
    assert!(invite.to_registration);
    assert_eq!(invite.to.uri, "sip:5550100@127.0.1.1");
}

#[test]
fn another_realm_than_the_first_gets_no_credentials_and_is_told() {
    let mut net = registrar_net();
    register(&mut net);
    let first = net.got("REGISTER");
    net.reply(&first, "401 Unauthorized", "r", CHALLENGE, "");
    net.run(Duration::from_millis(20));
    let second = net.got("REGISTER");
    assert!(header(&second, "Authorization").contains("realm=\"r\""));
    net.inbox.clear();
    let other = CHALLENGE.replace("\"r\"", "\"evil\"").replace("n1", "n2");
    net.reply(&second, "401 Unauthorized", "r", &other, "");
    net.run(Duration::from_millis(100));
    assert!(net.inbox.is_empty(), "sent again");
    let told = Event::ForeignRealm {
        peer: PEER,
        realm: "evil".into(),
    };
    assert!(net.nodes[0].events.contains(&told), "{:?}", net.nodes[0].events);
    // Calls may be another server's, with a realm of its own; from then on it is that one.
    for (realm, answered) in [("calls", true), ("evil", false), ("calls", true)] {
        net.inbox.clear();
        net.call(0);
        net.run(Duration::from_millis(20));
        let invite = net.got("INVITE");
        let challenge = CHALLENGE.replace("\"r\"", &format!("\"{realm}\""));
        net.reply(&invite, "401 Unauthorized", "r", &challenge, "");
        net.run(Duration::from_millis(20));
        let last = net.got("INVITE");
        assert_eq!(last.contains("\r\nAuthorization: Digest"), answered, "{realm}");
    }
}

#[test]
fn a_contact_that_names_ourselves_is_not_followed() {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.public = Some(address("192.0.2.77:5060"));
    net.endpoint(0).set_peer(peer);
    for (contact, to) in [
        ("192.0.2.77:5060", "127.0.1.2:5060"),
        ("192.0.2.78:5060", "192.0.2.78:5060"),
    ] {
        let session = net.call(0);
        net.run(Duration::from_millis(20));
        let invite = net.got("INVITE");
        let lines = format!("Contact: <sip:b@{contact}>\r\nContent-Type: application/sdp\r\n");
        net.reply(
            &invite,
            "200 OK",
            "b",
            &lines,
            std::str::from_utf8(crate::net::SDP_B).unwrap(),
        );
        net.run(Duration::from_millis(20));
        net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
        net.run(Duration::from_millis(20));
        let bye = net.log.iter().rfind(|sent| sent.kind() == "BYE").unwrap();
        assert_eq!(bye.to, address(to), "{contact}");
    }
}

#[test]
fn a_binding_that_could_not_be_refreshed_is_still_removed_while_the_registrar_holds_it() {
    for (held, wait) in [(true, 0), (false, 3600)] {
        let mut net = registrar_net();
        register(&mut net);
        let request = net.got("REGISTER");
        let contact = header(&request, "Contact");
        net.reply(&request, "200 OK", "r", &format!("Contact: {contact}\r\n"), "");
        net.inbox.clear();
        while net.inbox.is_empty() {
            net.seconds(1);
        }
        let refresh = net.got("REGISTER");
        net.reply(&refresh, "403 Forbidden", "r", "Retry-After: 86400\r\n", "");
        net.run(Duration::from_millis(20));
        let Some(Event::RegistrationFailed { retry_in, .. }) = net.nodes[0].events.last() else {
            panic!("{:?}", net.names(0))
        };
        assert!(
            (3600..3961).contains(&retry_in.as_secs()),
            "not for the day that was asked for: {retry_in:?}"
        );
        net.seconds(wait.min(1800));
        net.inbox.clear();
        net.act(0, |endpoint, now| endpoint.deregister(now, PEER));
        net.run(Duration::from_millis(20));
        let leaving = net.inbox.iter().filter(|sent| sent.kind() == "REGISTER").count();
        assert_eq!(leaving, usize::from(held), "{held}");
    }
}
