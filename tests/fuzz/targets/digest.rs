//! Digest headers: a challenge to our REGISTER and to our INVITE, and credentials in a peer's request.
//!
//! Whatever a challenge holds, the request sent again is one message with the same headers and credentials beside
//! them: nothing of a challenge becomes a header of its own.

use std::net::SocketAddr;
use std::time::Instant;

use sip::message::{Message, Name, ParseError};
use sip::{
    Credentials, Endpoint, EndpointConfig, Input, Invite, Output, Party, Peer, PeerId, Registration,
    Transport,
};

const PEER: PeerId = PeerId(1);

pub fn run(data: &[u8]) {
    let value: Vec<u8> = data
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
        .collect();
    for (status, name) in [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")] {
        challenge(status, name, &value, true);
        challenge(status, name, &value, false);
    }
    offer_credentials(&value);
}

fn addresses() -> [SocketAddr; 2] {
    [1u8, 2].map(|last| SocketAddr::from(([192, 0, 2, last], 5060)))
}

fn endpoint() -> Endpoint {
    let [local, remote] = addresses();
    let mut endpoint = Endpoint::new(EndpointConfig::default(), [7; 32]);
    let credentials = Credentials {
        username: "us\"er".to_owned(),
        password: "correct horse".to_owned(),
        realm: None,
    };
    endpoint.set_peer(Peer {
        credentials: Some(credentials),
        ..Peer::new(PEER, local, vec![remote])
    });
    endpoint
}

fn challenge(status: u16, name: &str, value: &[u8], register: bool) {
    let (mut endpoint, now) = (endpoint(), Instant::now());
    if register {
        let registration = Registration {
            peer: PEER,
            registrar: "sip:192.0.2.2".to_owned(),
            aor: "sip:user@192.0.2.2".to_owned(),
            expires: 300,
        };
        endpoint.register(now, registration);
    } else {
        let invite = Invite {
            peer: PEER,
            uri: "sip:5550100@192.0.2.2".to_owned(),
            to: "sip:5550100@192.0.2.2".to_owned(),
            from: Party::new("sip:5550101@192.0.2.1"),
            headers: Vec::new(),
            max_forwards: None,
            sdp: b"v=0\r\n".to_vec(),
        };
        assert!(endpoint.invite(now, invite).is_ok());
    }
    let Some(mut request) = sent(&mut endpoint) else {
        panic!("nothing was sent")
    };
    // The same challenge again and again: an answer to a nonce that was refused is not tried without end.
    for round in 0.. {
        assert!(round < 5, "a challenge is answered without end");
        let Some(next) = answered(&mut endpoint, now, &request, (status, name, value)) else {
            break;
        };
        assert_same(&request, &next);
        request = next;
    }
}

/// Answers `request` by a challenge; gives the request that follows, if any.
fn answered(
    endpoint: &mut Endpoint,
    now: Instant,
    request: &[u8],
    challenge: (u16, &str, &[u8]),
) -> Option<Vec<u8>> {
    let (status, name, value) = challenge;
    let mut scratch = Vec::new();
    let Ok(request) = Message::parse(request, &mut scratch) else {
        panic!("what was sent is no message")
    };
    let mut response = format!("SIP/2.0 {status} Challenge\r\n").into_bytes();
    for (text, header) in [
        ("Via", Name::Via),
        ("From", Name::From),
        ("To", Name::To),
        ("Call-ID", Name::CallId),
        ("CSeq", Name::CSeq),
    ] {
        let value = request.header(header).unwrap_or_default();
        response.extend([text.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    response.extend([name.as_bytes(), b": ", value, b"\r\nContent-Length: 0\r\n\r\n"].concat());
    hear(endpoint, now, &response);
    sent(endpoint)
}

/// The last request sent that is no ACK.
fn sent(endpoint: &mut Endpoint) -> Option<Vec<u8>> {
    let mut last = None;
    loop {
        match endpoint.poll_output() {
            Output::Transmit { bytes, .. } if !bytes.starts_with(b"ACK ") => last = Some(bytes),
            Output::Wait(_) => return last,
            _ => {}
        }
    }
}

fn hear(endpoint: &mut Endpoint, now: Instant, bytes: &[u8]) {
    let [local, source] = addresses();
    let transport = Transport::Udp;
    let input = Input::Received {
        local,
        source,
        transport,
        bytes,
    };
    endpoint.handle_input(now, input);
}

/// All headers but the credentials are those of before.
fn assert_same(before: &[u8], after: &[u8]) {
    let names = |bytes: &[u8]| {
        let mut scratch = Vec::new();
        match Message::parse(bytes, &mut scratch) {
            Ok(message) => {
                let plain = message
                    .headers()
                    .iter()
                    .filter(|header| !matches!(header.name, Name::Authorization | Name::ProxyAuthorization));
                let mut names: Vec<Vec<u8>> = plain.map(|header| header.name_text.to_vec()).collect();
                names.sort();
                Some(names)
            }
            Err(ParseError::LineTooLong(_)) => None,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(bytes)),
        }
    };
    if let (Some(before), Some(after)) = (names(before), names(after)) {
        assert_eq!(before, after);
    }
}

/// A peer's INVITE with credentials that nobody asked for.
fn offer_credentials(value: &[u8]) {
    let (mut endpoint, now) = (endpoint(), Instant::now());
    for name in ["Authorization", "Proxy-Authorization"] {
        let mut request = format!(
            "INVITE sip:5550100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{name}\r\n\
             From: <sip:a@192.0.2.2>;tag=1\r\nTo: <sip:5550100@192.0.2.1>\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@192.0.2.2>\r\n{name}: "
        )
        .into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n\r\n");
        hear(&mut endpoint, now, &request);
        sent(&mut endpoint);
    }
}
