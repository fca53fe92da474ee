//! Broken messages: mutated from good ones, a fixed number of them, from a peer and from a stranger.

use sip::message::{MAX_HEADERS, Message, Start, Uri, Via};

use crate::net::{Net, SDP_A, SDP_B, address, in_dialog, request, response};

/// How many mutated messages one run tries.
const ROUNDS: u32 = 60_000;

fn corpus() -> Vec<Vec<u8>> {
    let sdp = std::str::from_utf8(SDP_A).unwrap();
    let invite = request(
        "INVITE",
        "c1",
        "Record-Route: <sip:127.0.1.2;lr>\r\nRequire: 100rel\r\nSupported: timer\r\nSession-Expires: 90\r\nAllow: UPDATE\r\n\
         P-Asserted-Identity: \"A\" <tel:+15550100>\r\nPrivacy: id\r\nDiversion: <sip:x@h>;reason=x\r\nX-Folded: a\r\n b\r\n",
        sdp,
    );
    let mut texts = vec![invite.clone()];
    for method in [
        "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK", "REGISTER", "REFER",
    ] {
        texts.push(request(
            method,
            "c2",
            "RAck: 1 1 INVITE\r\nReason: Q.850;cause=16;text=\"x\"\r\n",
            sdp,
        ));
    }
    for status in [
        "100 Trying",
        "183 Progress",
        "200 OK",
        "401 Unauthorized",
        "487 Terminated",
    ] {
        let lines = "Contact: <sip:b@[2001:db8::1]:5070>\r\nRSeq: 1\r\nRequire: 100rel\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth,auth-int\", algorithm=SHA-256\r\nRetry-After: 5 (x)\r\n";
        texts.push(response(&invite, status, "t", lines, sdp));
    }
    texts.into_iter().map(String::into_bytes).collect()
}

fn mutate(net: &mut Net, corpus: &[Vec<u8>]) -> Vec<u8> {
    const PIECES: [&[u8]; 16] = [
        b"\r\n",
        b"\0",
        b"\"",
        b"<",
        b">",
        b";",
        b",",
        b":",
        b"=",
        b" ",
        b"\r\n ",
        b"@",
        b"99999999999999999999",
        b"%00",
        b"[",
        b"\xff",
    ];
    let pick = |roll: u64, count: usize| usize::try_from(roll % count.max(1) as u64).unwrap();
    let mut bytes = corpus[pick(net.roll(), corpus.len())].clone();
    for _ in 0..1 + net.roll() % 4 {
        let at = pick(net.roll(), bytes.len());
        match net.roll() % 6 {
            0 => {
                let bit = net.roll() % 8;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => {
                let piece = PIECES[pick(net.roll(), PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            2 => bytes.truncate(at),
            3 => {
                let end = (at + pick(net.roll(), 40)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let other = &corpus[pick(net.roll(), corpus.len())];
                let from = pick(net.roll(), other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = (at + pick(net.roll(), 60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

#[test]
fn no_mutated_message_panics_or_breaks_the_rules_of_a_parsed_one() {
    let (mut net, corpus) = (Net::seeded(4475), corpus());
    let mut parsed = 0;
    for _ in 0..ROUNDS {
        let bytes = mutate(&mut net, &corpus);
        let mut scratch = Vec::new();
        let Ok(message) = Message::parse(&bytes, &mut scratch) else {
            continue;
        };
        parsed += 1;
        assert!(message.headers().len() <= MAX_HEADERS && message.body.len() <= bytes.len());
        for header in message.headers() {
            assert!(!header.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            assert!(!header.name_text.is_empty());
        }
        for value in message.values(sip::message::Name::Via) {
            let _ = Via::parse(value);
        }
        if let Start::Request { uri, .. } = message.start {
            let _ = Uri::parse(uri).map(|uri| uri.user_text());
        }
    }
    assert!(
        parsed > ROUNDS / 20,
        "only {parsed} were readable: the mutations are too wild to test much"
    );
}

#[test]
fn mutated_messages_leave_a_call_in_progress_and_the_tables_alone() {
    let (mut net, mut corpus) = (Net::scripted(), corpus());
    net.script(&request("INVITE", "i1", "", std::str::from_utf8(SDP_A).unwrap()));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(std::time::Duration::from_millis(20));
    let ok = net.got("200 INVITE");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
    // A call of ours too, so that responses find something.
    net.call(0);
    net.run(std::time::Duration::from_millis(20));
    let invite = net.got("INVITE");
    for status in ["100 Trying", "183 Progress", "401 Unauthorized"] {
        corpus.push(response(&invite, status, "t", "Require: 100rel\r\nRSeq: 4\r\n", "v=0\r\n").into_bytes());
    }
    let (peer, stranger, local) = (
        address("127.0.1.2:5060"),
        address("198.51.100.1:5060"),
        net.nodes[0].address,
    );
    for round in 0..ROUNDS / 2 {
        let bytes = mutate(&mut net, &corpus);
        net.log.clear();
        let is_stranger = round % 4 == 0;
        net.deliver(if is_stranger { stranger } else { peer }, local, &bytes);
        if is_stranger {
            assert!(
                net.log.iter().all(|sent| sent.to != stranger),
                "a stranger got an answer"
            );
        }
        if round % 64 == 0 {
            net.run(std::time::Duration::from_millis(5));
            net.inbox.clear();
            for event in net.take_events(0) {
                if let sip::Event::Incoming { session, .. } = event {
                    net.act(0, |endpoint, now| endpoint.reject(now, session, 486, None));
                }
            }
        }
    }
    net.script(&in_dialog(&ok, "INFO", 1_000_000, "last", "", ""));
    net.run(std::time::Duration::from_millis(20));
    assert_eq!(
        net.inbox.last().unwrap().kind(),
        "200 INFO",
        "the call in progress still answers"
    );
    assert_eq!(net.endpoint(0).counters().timeouts, 0);
}
