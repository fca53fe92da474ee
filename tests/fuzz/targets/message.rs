//! One SIP message: what is read obeys the caps, is slices of the input, and survives being written again.

use std::net::SocketAddr;

use sip::message::{
    Address, CSeq, MAX_HEADERS, MAX_LINE, Message, Name, ParseError, Revision, SessionExpires, Start, Uri,
    Via, ack_for_failure, cancel_for, frame_length, is_clean, lossy, refusal, revise, tokens, unquote,
};

const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKfuzz;rport";

pub fn run(data: &[u8]) {
    let mut scratch = Vec::new();
    match Message::parse(data, &mut scratch) {
        Ok(message) => judge(&message),
        Err(error) => {
            let source = SocketAddr::from(([192, 0, 2, 9], 5060));
            if let Some(answer) = refusal(data, error, source) {
                assert_eq!(frame_length(&answer), Ok(Some(answer.len())), "{error}");
                assert!(answer.len() <= data.len() + 256, "{error}");
            }
        }
    }
}

fn judge(message: &Message<'_>) {
    assert!(message.headers().len() <= MAX_HEADERS);
    assert!(!message.call_id.is_empty() && message.cseq.number < 1 << 31);
    for header in message.headers() {
        assert!(is_clean(header.value) && is_clean(header.name_text) && !header.name_text.is_empty());
        assert!(header.value.len() <= MAX_LINE);
        look_at(header.value);
    }
    for name in [Name::Via, Name::Contact, Name::Require, Name::Route] {
        assert!(message.values(name).all(|value| !value.is_empty()));
        let _ = (message.lists(name, "x"), message.seconds(name));
    }
    if let Start::Request { uri, .. } = message.start {
        look_at(uri);
        again(message);
    }
}

/// Every typed view of a value may be asked of any value.
fn look_at(value: &[u8]) {
    if let Some(uri) = Uri::parse(value) {
        assert_eq!(uri.text, value);
        let _ = (
            uri.user_text(),
            uri.address(),
            uri.is_loose(),
            uri.params.get("transport"),
        );
    }
    if let Some(address) = Address::parse(value) {
        let _ = (address.tag(), address.parsed_uri(), address.display_text());
        assert!(address.params.iter().count() <= value.len());
    }
    if let Some(via) = Via::parse(value) {
        assert!(!via.host.is_empty() && !via.transport.is_empty());
        let _ = (via.branch(), via.wants_rport(), via.rport(), via.received());
    }
    let _ = (
        CSeq::parse(value),
        SessionExpires::parse(value),
        unquote(value),
        lossy(value),
    );
    assert!(tokens(value).all(|token| !token.is_empty()));
}

/// Written again, the request says the same; its ACK and CANCEL are requests too.
fn again(message: &Message<'_>) {
    let revision = Revision {
        via: VIA,
        cseq: message.cseq.number,
        credentials: b"",
        replace: &[],
    };
    let Ok(bytes) = revise(message, &revision) else {
        panic!("a request that was read cannot be written")
    };
    let mut scratch = Vec::new();
    match Message::parse(&bytes, &mut scratch) {
        Ok(copy) => {
            assert_eq!(copy.start, message.start);
            assert_eq!((copy.from, copy.to), (message.from, message.to));
            assert_eq!((copy.call_id, copy.cseq), (message.call_id, message.cseq));
            assert_eq!(copy.body, message.body);
        }
        // Our own Via and Content-Length came on top of what was at a limit already.
        Err(ParseError::TooLarge { .. } | ParseError::TooMany(_) | ParseError::LineTooLong(_)) => {}
        Err(error) => panic!("{error}"),
    }
    for bytes in [
        ack_for_failure(message, b"<sip:b@h>;tag=1"),
        cancel_for(message, b""),
    ] {
        let Ok(bytes) = bytes else {
            panic!("an ACK or CANCEL cannot be written")
        };
        assert_eq!(frame_length(&bytes), Ok(Some(bytes.len())));
    }
}
