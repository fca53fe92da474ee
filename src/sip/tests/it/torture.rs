//! What is hard to read in messages beside RFC 4475 and RFC 5118, and what helps to test reading.

use std::time::Duration;

use sip::Event;
use sip::message::{Message, Name, ParseError};

use crate::net::{Net, header};

pub fn lines(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// Parses and gives the message to a closure.
pub fn read<T>(bytes: &[u8], look: impl FnOnce(Message<'_>) -> T) -> T {
    let mut scratch = Vec::new();
    look(Message::parse(bytes, &mut scratch).unwrap_or_else(|error| panic!("{error}")))
}

pub fn error(bytes: &[u8]) -> ParseError {
    let mut scratch = Vec::new();
    Message::parse(bytes, &mut scratch).map(|_| ()).unwrap_err()
}

/// The status that a peer gets for this text; 0 for silence.
pub fn status(text: &[u8]) -> u16 {
    let mut net = Net::scripted();
    let (from, to) = (crate::net::address("127.0.1.2:5060"), net.nodes[0].address);
    net.deliver(from, to, text);
    net.run(Duration::from_millis(20));
    net.inbox
        .first()
        .map_or(0, |sent| sent.text[8..11].parse().unwrap())
}

pub fn simple(start: &str, extra: &str) -> Vec<u8> {
    let method = start.split(' ').next().unwrap();
    let text = format!(
        "{start}\nVia: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nFrom: <sip:a@example.com>;tag=1\n\
         To: <sip:b@example.com>\nCall-ID: t@example.com\nCSeq: 1 {method}\nContact: <sip:a@127.0.1.2>\n{extra}\n"
    );
    lines(&text)
}

#[test]
fn long_values_are_read_up_to_the_caps() {
    let long = "x".repeat(4000);
    let text = simple(
        "OPTIONS sip:b@example.com SIP/2.0",
        &format!("Unknown-{}: {long}\n", "Long".repeat(20)),
    );
    read(&text, |message| {
        assert!(message.headers().iter().any(|header| header.value.len() == 4000))
    });
    let many = "Via: SIP/2.0/TCP sip.example.com;branch=z9hG4bKy\n".repeat(16);
    assert_eq!(
        error(&simple("OPTIONS sip:b@example.com SIP/2.0", &many)),
        ParseError::TooMany("Via values")
    );
    assert_eq!(status(&simple("OPTIONS sip:b@example.com SIP/2.0", &many)), 513);
    let headers = "X: y\n".repeat(200);
    assert_eq!(
        error(&simple("OPTIONS sip:b@example.com SIP/2.0", &headers)),
        ParseError::TooMany("headers")
    );
    let line = format!("X: {}\n", "y".repeat(9000));
    assert!(matches!(
        error(&simple("OPTIONS sip:b@example.com SIP/2.0", &line)),
        ParseError::LineTooLong(_)
    ));
    assert!(matches!(error(&[b'x'; 70_000]), ParseError::TooLarge { .. }));
}

#[test]
fn compact_names_folds_and_several_values_are_read_alike() {
    let text = "INVITE tel:+15550100 SIP/2.0\nv: SIP/2.0/UDP a;branch=z9hG4bK1,SIP/2.0/UDP b;branch=z9hG4bK2\n\
        f: <tel:+15550101>;TAG=1\nt: <tel:+15550100>\ni: c\nCSeq: 1 INVITE\nm: <sip:a@h>, <sip:b@h>\nl: 0\nk: timer,\n 100rel\nx: 90\n\n";
    for bytes in [
        lines(text),
        text.as_bytes().to_vec(),
        lines(&format!("\n\n{text}")),
    ] {
        read(&bytes, |message| {
            assert_eq!(message.values(Name::Via).count(), 2);
            assert_eq!(message.values(Name::Contact).count(), 2);
            assert_eq!(message.from.tag(), Some(&b"1"[..]));
            assert!(message.lists(Name::Supported, "100REL"));
            assert_eq!(message.seconds(Name::SessionExpires), Some(90));
        });
    }
}

#[test]
fn bytes_that_are_not_utf8_do_not_hide_what_follows() {
    let mut text = b"OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: \"M\xfcller\" <sip:a@h>;tag=1\r\nX-Note: \xff\xfe\r\n".to_vec();
    text.extend_from_slice(b"To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Type: application/sdp\r\n\r\n\x00\xffbinary");
    read(&text, |message| {
        assert_eq!(message.from.display, b"\"M\xfcller\"");
        assert_eq!(message.body, b"\x00\xffbinary");
    });
}

#[test]
fn nul_and_bare_cr_in_headers_are_refused() {
    for bad in ["X: a\0b\n", "X: a\rb\n", "X: a\r\r\n"] {
        let text = simple("OPTIONS sip:b@h SIP/2.0", bad);
        assert!(matches!(error(&text), ParseError::ControlByte(_)), "{bad:?}");
    }
    assert!(matches!(
        error(&simple("OPTIONS sip:b@h SIP/2.0", "no colon\n")),
        ParseError::HeaderLine(_)
    ));
    assert!(matches!(
        error(&simple("OPTIONS sip:b@h SIP/2.0", ": empty\n")),
        ParseError::HeaderLine(_)
    ));
    assert_eq!(error(b"\r\n\r\n"), ParseError::Empty);
    assert_eq!(
        error(b"OPTIONS sip:b@h SIP/2.0\r\nVia: x"),
        ParseError::Unterminated
    );
}

#[test]
fn a_call_of_compact_folded_and_odd_headers_is_taken_and_its_uri_kept_byte_for_byte() {
    let text = "\r\nINVITE sip:+15550100;npdi;rn=+15550199@gw%2eexample.com;user=phone SIP/2.0\nv: SIP/2.0/UDP 127.0.1.2;rport;branch=z9hG4bKq\n\
        f: \"Doe, J; \\\"JD\\\" <x>\" <sip:+1%340@h_ost;p=1>;tag=1\nt: <sip:+15550100@h>\ni: c\nCSeq: 1\n INVITE\nm: <sip:a@127.0.1.2;x=%41>\nc: application/sdp\n\nv=0\n";
    let mut net = Net::scripted();
    net.script(text);
    let Event::Incoming { invite, session, .. } = net.nodes[0].events[0].clone() else {
        panic!("no call")
    };
    assert_eq!(invite.user, "+15550100");
    assert_eq!(invite.from.uri, "sip:+1%340@h_ost;p=1");
    assert_eq!(invite.from.display.as_deref(), Some("Doe, J; \"JD\" <x>"));
    net.act(0, |endpoint, now| {
        endpoint.answer(now, session, b"v=0\r\n".to_vec())
    });
    net.run(Duration::from_millis(20));
    let ok = net.got("200 INVITE");
    assert_eq!(
        header(&ok, "From"),
        "\"Doe, J; \\\"JD\\\" <x>\" <sip:+1%340@h_ost;p=1>;tag=1"
    );
    let ack = format!(
        "ACK sip:x@127.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.1.2;branch=z9hG4bKr\r\nFrom: {}\r\nTo: {}\r\nCall-ID: c\r\nCSeq: 1 ACK\r\n\r\n",
        header(&ok, "From"),
        header(&ok, "To")
    );
    net.script(&ack);
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    net.run(Duration::from_millis(20));
    assert!(
        net.got("BYE")
            .starts_with("BYE sip:a@127.0.1.2;x=%41 SIP/2.0\r\n")
    );
}
