//! What real trunks send and parsers of others got wrong: each is read as meant, and written again without loss.

use sip::message::{Address, Message, Method, Name, Params, Revision, Start, Uri, Via, revise, split_commas};

use crate::net::{Net, header, request};

/// Parses, and gives the message to a closure.
fn read<T>(bytes: &[u8], look: impl FnOnce(&Message<'_>) -> T) -> T {
    let mut scratch = Vec::new();
    look(
        &Message::parse(bytes, &mut scratch)
            .unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii())),
    )
}

/// The request as it is written again, read by a closure: but for its Via everything must be as before.
fn written_again(bytes: &[u8], look: impl Fn(&Message<'_>)) {
    read(bytes, |message| {
        look(message);
        let revision = Revision {
            via: b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKagain",
            cseq: message.cseq.number,
            credentials: b"",
            replace: &[],
        };
        let again = revise(message, &revision).unwrap();
        read(&again, |copy| {
            look(copy);
            assert_eq!((copy.start, copy.body), (message.start, message.body));
            let others = |message: &Message<'_>| -> Vec<Vec<u8>> {
                let headers = message.headers().iter().filter(|header| {
                    !matches!(header.name, Name::Via | Name::ContentLength | Name::ContentType)
                });
                headers.map(|header| header.value.to_vec()).collect()
            };
            assert_eq!(others(copy), others(message));
        });
    });
}

fn invite(uri: &str, lines: &str, body: &str) -> Vec<u8> {
    request("INVITE", "odd", lines, body)
        .replace("sip:5550100@127.0.1.1:5060 SIP", &format!("{uri} SIP"))
        .into_bytes()
}

fn uri_of<'a>(message: &Message<'a>) -> Uri<'a> {
    match message.start {
        Start::Request { uri, .. } => Uri::parse(uri).unwrap(),
        Start::Response { .. } => panic!("not a request"),
    }
}

/// What an endpoint answers a peer's text with.
fn answer(bytes: &[u8]) -> String {
    let mut net = Net::scripted();
    let (from, to) = (crate::net::address("127.0.1.2:5060"), net.nodes[0].address);
    net.deliver(from, to, bytes);
    net.run(std::time::Duration::from_millis(20));
    net.inbox
        .first()
        .map(|sent| sent.text.clone())
        .unwrap_or_default()
}

#[test]
fn compact_names_are_the_headers_they_stand_for() {
    let text = b"INVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP 127.0.1.2;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\n\
        i: c@h\r\nCSeq: 1 INVITE\r\nm: <sip:a@127.0.1.2>\r\nc: application/sdp\r\nl: 5\r\n\r\nv=0\r\n";
    written_again(text, |message| {
        assert_eq!(
            (message.from.tag(), message.to.uri),
            (Some(&b"1"[..]), &b"sip:b@h"[..])
        );
        assert_eq!(
            (message.call_id, message.header(Name::Contact)),
            (&b"c@h"[..], Some(&b"<sip:a@127.0.1.2>"[..]))
        );
        assert_eq!(
            (message.header(Name::ContentType), message.body),
            (Some(&b"application/sdp"[..]), &b"v=0\r\n"[..])
        );
    });
    assert!(answer(text).starts_with("SIP/2.0 100 "));
}

#[test]
fn a_folded_header_is_one_value() {
    let text = invite(
        "sip:b@h",
        "Subject: first\r\n  second\r\n\tthird\r\nSupported: timer,\r\n 100rel\r\n",
        "",
    );
    written_again(&text, |message| {
        let subject = message
            .headers()
            .iter()
            .find(|header| header.name_text == b"Subject")
            .unwrap();
        assert_eq!(subject.value, b"first    second  \tthird");
        assert!(message.lists(Name::Supported, "100rel"));
    });
}

#[test]
fn every_value_of_contact_and_via_is_seen() {
    let lines = "Via: SIP/2.0/UDP p2;branch=z9hG4bK2, SIP/2.0/TCP p3;branch=z9hG4bK3\r\nContact: <sip:x@h;a=1,2>, \"B, C\" <sip:y@h>\r\n";
    let text = invite("sip:b@h", lines, "");
    read(&text, |message| {
        let hosts: Vec<_> = message
            .values(Name::Via)
            .map(|via| Via::parse(via).unwrap().host)
            .collect();
        assert_eq!(hosts, [&b"127.0.1.2"[..], b"p2", b"p3"]);
        let contacts: Vec<_> = message
            .values(Name::Contact)
            .map(|value| Address::parse(value).unwrap().uri)
            .collect();
        assert_eq!(
            contacts,
            [&b"sip:bob@127.0.1.2:5060"[..], b"sip:x@h;a=1,2", b"sip:y@h"]
        );
    });
    let vias: Vec<String> = answer(&text)
        .lines()
        .filter_map(|line| line.strip_prefix("Via: ").map(str::to_owned))
        .collect();
    assert_eq!(
        vias.len(),
        2,
        "lines go back as they came, but for the first value"
    );
    assert_eq!(split_commas(vias.join(",").as_bytes()).count(), 3);
}

#[test]
fn a_request_uri_may_be_tel_or_a_urn() {
    let tel = invite("tel:+15550100;phone-context=example.com", "", "v=0\r\n");
    written_again(&tel, |message| {
        assert_eq!(
            (uri_of(message).user, uri_of(message).host),
            (&b"+15550100"[..], &b""[..])
        );
    });
    assert!(answer(&tel).starts_with("SIP/2.0 100 "));
    let urn = invite("urn:service:sos", "", "v=0\r\n");
    written_again(&urn, |message| assert_eq!(uri_of(message).user, b"service:sos"));
    assert!(answer(&urn).starts_with("SIP/2.0 416 "));
}

#[test]
fn from_may_hold_a_tel_uri() {
    let text = invite("sip:b@h", "", "").escape_ascii().to_string();
    let text = text.replace("\\r\\n", "\r\n").replace("\\\"", "\"");
    let text = text.replace(
        "From: \"Bob\" <sip:5550102@127.0.1.2>",
        "From: \"Bob\" <tel:+15550102>",
    );
    written_again(text.as_bytes(), |message| {
        assert_eq!(
            (message.from.uri, message.from.tag()),
            (&b"tel:+15550102"[..], Some(&b"bobtag"[..]))
        );
        assert_eq!(message.from.parsed_uri().unwrap().user_text(), "+15550102");
    });
}

#[test]
fn a_request_uri_may_name_an_ipv6_address() {
    for (uri, port) in [
        ("sip:a@[2001:db8::1]:5070", Some(5070)),
        ("sip:[2001:db8::1]", None),
    ] {
        written_again(&invite(uri, "", ""), |message| {
            let parsed = uri_of(message);
            assert_eq!(
                (parsed.address(), parsed.port),
                (Some("2001:db8::1".parse().unwrap()), port)
            );
            assert_eq!(parsed.text, uri.as_bytes());
        });
    }
}

#[test]
fn an_extension_method_is_refused_by_its_own_name() {
    let text = request("XYZZY", "odd", "", "");
    written_again(text.as_bytes(), |message| {
        assert_eq!(
            (message.method(), message.cseq.method_text),
            (Some(Method::Other), &b"XYZZY"[..])
        );
    });
    let refused = answer(text.as_bytes());
    assert!(refused.starts_with("SIP/2.0 501 "));
    assert_eq!(header(&refused, "CSeq"), "1 XYZZY");
}

#[test]
fn number_portability_stays_in_the_user_part() {
    let uri = "sip:+15550100;npdi;rn=+15550199@gw.example.com";
    written_again(&invite(uri, "", ""), |message| {
        let parsed = uri_of(message);
        assert_eq!(
            (parsed.user, parsed.host),
            (&b"+15550100;npdi;rn=+15550199"[..], &b"gw.example.com"[..])
        );
        assert_eq!(
            (parsed.text, parsed.user_text().as_str()),
            (uri.as_bytes(), "+15550100")
        );
    });
}

#[test]
fn an_escaped_user_part_is_written_as_it_came() {
    for uri in ["sip:a%40b%3bc@h;x=%41", "sip:%2B1555@h"] {
        written_again(&invite(uri, "", ""), |message| {
            assert_eq!(uri_of(message).text, uri.as_bytes())
        });
    }
    assert_eq!(Uri::parse(b"sip:a%40b%3bc@h").unwrap().user_text(), "a@b;c");
}

#[test]
fn a_display_name_cannot_pass_for_the_uri() {
    let from = r#""Doe, J; \"JD\" <x>" <sip:a@h>"#;
    let text = String::from_utf8(invite("sip:b@h", "", "")).unwrap();
    let text = text.replace("\"Bob\" <sip:5550102@127.0.1.2>", from);
    written_again(text.as_bytes(), |message| {
        assert_eq!(
            (message.from.uri, message.from.tag()),
            (&b"sip:a@h"[..], Some(&b"bobtag"[..]))
        );
        assert_eq!(message.from.display_text().unwrap(), r#"Doe, J; "JD" <x>"#);
        assert_eq!(
            message.header(Name::From).unwrap(),
            format!("{from};tag=bobtag").as_bytes()
        );
    });
}

#[test]
fn a_byte_that_is_no_utf8_in_an_unknown_header_is_kept_and_hides_nothing() {
    let mut text = invite("sip:b@h", "X-Note: caf@\r\nX-After: seen\r\n", "v=0\r\n");
    let at = text.windows(4).position(|window| window == b"caf@").unwrap();
    text[at + 3] = 0xe9;
    written_again(&text, |message| {
        let value = |name: &[u8]| {
            message
                .headers()
                .iter()
                .find(|header| header.name_text == name)
                .unwrap()
                .value
        };
        assert_eq!(
            (value(b"X-Note"), value(b"X-After")),
            (&b"caf\xe9"[..], &b"seen"[..])
        );
        assert_eq!(message.body, b"v=0\r\n");
    });
}

#[test]
fn a_datagram_without_content_length_has_all_its_body() {
    let text = String::from_utf8(invite("sip:b@h", "", "v=0\r\ns=-\r\n")).unwrap();
    let text = text.replace("Content-Length: 10\r\n", "");
    assert!(!text.contains("Content-Length"));
    written_again(text.as_bytes(), |message| {
        assert_eq!(message.body, b"v=0\r\ns=-\r\n")
    });
}

#[test]
fn a_datagram_longer_than_its_content_length_is_cut() {
    let mut text = invite("sip:b@h", "", "v=0\r\n");
    text.extend_from_slice(b"garbage");
    written_again(&text, |message| assert_eq!(message.body, b"v=0\r\n"));
}

#[test]
fn without_brackets_a_tag_is_the_headers() {
    let text = String::from_utf8(invite("sip:b@h", "", "")).unwrap();
    let text = text.replace("\"Bob\" <sip:5550102@127.0.1.2>;tag=bobtag", "sip:a@h;tag=1;x=y");
    written_again(text.as_bytes(), |message| {
        assert_eq!(
            (message.from.uri, message.from.tag()),
            (&b"sip:a@h"[..], Some(&b"1"[..]))
        );
        assert_eq!(message.from.params.get("x"), Some(&b"y"[..]));
    });
}

#[test]
fn protocol_and_parameter_names_know_no_case() {
    let text = String::from_utf8(invite("sip:b@h", "", "")).unwrap();
    let text = text.replace(
        "SIP/2.0/UDP 127.0.1.2:5060;branch=",
        "sip/2.0/udp 127.0.1.2:5060;BRANCH=",
    );
    let text = text.replace(";tag=bobtag", ";TAG=bobtag");
    read(text.as_bytes(), |message| {
        assert_eq!(message.via.branch(), Some(&b"z9hG4bKodd"[..]));
        assert_eq!(message.from.tag(), Some(&b"bobtag"[..]));
    });
    let again = answer(text.as_bytes());
    assert!(
        header(&again, "Via").starts_with("sip/2.0/udp 127.0.1.2:5060;BRANCH=z9hG4bKodd"),
        "{again}"
    );
}

#[test]
fn underscores_in_hosts_and_hashes_in_users_are_read() {
    for (uri, user, host) in [
        ("sip:a@my_pbx.example.com", &b"a"[..], &b"my_pbx.example.com"[..]),
        ("sip:#31#+15550100@h", b"#31#+15550100", b"h"),
        ("sip:12345678#+15550100@h_1", b"12345678#+15550100", b"h_1"),
    ] {
        written_again(&invite(uri, "", ""), |message| {
            assert_eq!((uri_of(message).user, uri_of(message).host), (user, host));
        });
    }
}

#[test]
fn a_body_of_any_bytes_is_written_as_it_came() {
    let body: Vec<u8> = (0..=255).chain([b'\r', b'\n', 0, 0xff]).collect();
    let mut text = invite("sip:b@h", "Content-Type: application/octet-stream\r\n", "");
    let length = format!("Content-Length: {}", body.len());
    text = String::from_utf8(text)
        .unwrap()
        .replace("Content-Length: 0", &length)
        .into_bytes();
    text.extend_from_slice(&body);
    written_again(&text, |message| {
        assert_eq!(message.body, body);
        assert_eq!(
            message.header(Name::ContentType),
            Some(&b"application/octet-stream"[..])
        );
    });
}

#[test]
fn a_challenge_for_auth_and_auth_int_by_sha_256_is_one_value() {
    let value = br#"Digest realm="a", nonce="b", qop="auth,auth-int", algorithm=SHA-256"#;
    let parts: Vec<_> = split_commas(&value[7..]).collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[2], br#"qop="auth,auth-int""#);
    assert_eq!(Params(b";nc=0000000a").get("nc"), Some(&b"0000000a"[..]));
}
