//! The situations of RFC 4475 and RFC 5118, written from their descriptions, and what crates found hard to read.
//! Numbers are sections of RFC 4475.

use std::time::Duration;

use sip::Event;
use sip::message::{Message, Method, Name, ParseError, Start, Uri};

use crate::net::{Net, header, request};

fn lines(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// Parses and gives the message to a closure.
fn read<T>(bytes: &[u8], look: impl FnOnce(Message<'_>) -> T) -> T {
    let mut scratch = Vec::new();
    look(Message::parse(bytes, &mut scratch).unwrap_or_else(|error| panic!("{error}")))
}

fn error(bytes: &[u8]) -> ParseError {
    let mut scratch = Vec::new();
    Message::parse(bytes, &mut scratch).map(|_| ()).unwrap_err()
}

/// The status that a peer gets for this text; 0 for silence.
fn status(text: &[u8]) -> u16 {
    let mut net = Net::scripted();
    let (from, to) = (crate::net::address("127.0.1.2:5060"), net.nodes[0].address);
    net.deliver(from, to, text);
    net.run(Duration::from_millis(20));
    net.inbox
        .first()
        .map_or(0, |sent| sent.text[8..11].parse().unwrap())
}

const TORTUOUS: &str = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 5
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
";

#[test]
fn s3_1_1_1_a_tortuous_invite_is_read_whole() {
    read(&lines(TORTUOUS), |message| {
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(message.to.uri, b"sip:vivekg@chair-dnrc.example.com");
        assert_eq!(message.to.tag(), Some(&b"1918181833n"[..]));
        assert_eq!(message.from.display_text().unwrap(), "J Rosenberg \\\"");
        assert_eq!(message.from.tag(), Some(&b"98asjd8"[..]));
        assert_eq!(message.cseq.number, 9);
        assert_eq!(message.seconds(Name::MaxForwards), Some(68));
        assert_eq!(message.values(Name::Via).count(), 3);
        assert_eq!(message.via.host, b"192.0.2.2");
        let last = message
            .values(Name::Via)
            .last()
            .and_then(sip::message::Via::parse)
            .unwrap();
        assert_eq!(last.branch(), Some(&b"z9hG4bK30239"[..]));
        assert_eq!(message.body, b"v=0\r\n");
    });
}

fn simple(start: &str, extra: &str) -> Vec<u8> {
    let method = start.split(' ').next().unwrap();
    let text = format!(
        "{start}\nVia: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1\nFrom: <sip:a@example.com>;tag=1\n\
         To: <sip:b@example.com>\nCall-ID: t@example.com\nCSeq: 1 {method}\nContact: <sip:a@127.0.1.2>\n{extra}\n"
    );
    lines(&text)
}

#[test]
fn s3_1_1_2_every_token_character_makes_a_method() {
    let text = simple(
        "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
        "",
    );
    read(&text, |message| {
        let Start::Request { uri, method_text, .. } = message.start else {
            panic!("not a request")
        };
        assert_eq!(method_text, b"!interesting-Method0123456789_*+`.%indeed'~");
        assert_eq!(Uri::parse(uri).unwrap().host, b"example.com");
    });
    assert_eq!(status(&text), 501);
}

#[test]
fn s3_1_1_3_to_5_escapes_stay_as_they_are() {
    let uri = Uri::parse(b"sip:sips%3Auser%40example.com@example.net").unwrap();
    assert_eq!(
        (uri.user, uri.user_text().as_str()),
        (&b"sips%3Auser%40example.com"[..], "sips:user@example.com")
    );
    let contact = Uri::parse(b"sip:caller@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31").unwrap();
    assert!(!contact.is_loose());
    assert_eq!(
        Uri::parse(b"sip:null-%00-null@example.com").unwrap().user_text(),
        "null-\0-null"
    );
    assert_eq!(
        status(&simple("RE%47IST%45R sip:registrar.example.com SIP/2.0", "")),
        501
    );
}

#[test]
fn s3_1_1_6_a_display_name_may_touch_the_bracket() {
    let text = String::from_utf8(simple("OPTIONS sip:user@example.com SIP/2.0", "")).unwrap();
    let text = text.replace(
        "From: <sip:a@example.com>",
        "From: caller<sip:caller@example.com>",
    );
    read(text.as_bytes(), |message| {
        assert_eq!(message.from.display, b"caller")
    });
    assert_eq!(status(text.as_bytes()), 200);
}

#[test]
fn s3_1_1_7_long_values_are_read_up_to_the_caps() {
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
fn s3_1_1_8_bytes_behind_the_message_are_ignored() {
    let mut text = simple("OPTIONS sip:b@example.com SIP/2.0", "Content-Length: 0\n");
    text.extend_from_slice(b"INVITE sip:joe@example.com SIP/2.0\r\nrubbish");
    read(&text, |message| assert!(message.body.is_empty()));
    assert_eq!(status(&text), 200);
}

#[test]
fn s3_1_1_9_a_semicolon_belongs_to_the_user_part() {
    let text = simple("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "");
    read(&text, |message| {
        let Start::Request { uri, .. } = message.start else {
            panic!("not a request")
        };
        let uri = Uri::parse(uri).unwrap();
        assert_eq!(
            (uri.user, uri.host, uri.params.0),
            (&b"user;par=u%40example.net"[..], &b"example.com"[..], &b""[..])
        );
    });
}

#[test]
fn s3_1_1_10_unknown_transports_in_vias_are_kept() {
    let vias = "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKb\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKc\n";
    let text = simple("OPTIONS sip:user@example.com SIP/2.0", vias);
    let mut net = Net::scripted();
    net.script(std::str::from_utf8(&text).unwrap());
    net.run(Duration::from_millis(20));
    assert!(
        net.inbox[0]
            .text
            .contains("Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKc\r\n")
    );
}

#[test]
fn s3_1_1_12_and_13_any_or_no_reason_phrase_is_read() {
    for phrase in ["= 2**3 * 5**2 но сто девяносто девять - простое", ""] {
        let text = format!(
            "SIP/2.0 200 {phrase}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        read(text.as_bytes(), |message| {
            assert_eq!(
                message.start,
                Start::Response {
                    status: 200,
                    phrase: phrase.as_bytes()
                }
            );
        });
    }
}

#[test]
fn s3_1_2_malformed_requests_get_400() {
    let options = |extra: &str| simple("OPTIONS sip:b@example.com SIP/2.0", extra);
    let edit = |from: &str, to: &str| {
        let text = String::from_utf8(options("")).unwrap();
        assert!(text.contains(from));
        text.replace(from, to).into_bytes()
    };
    // .2 and .3: a Content-Length that is too large or negative.
    assert_eq!(status(&options("Content-Length: 9999\n")), 400);
    assert_eq!(status(&options("Content-Length: -999\n")), 400);
    // .4: numbers that overflow.
    assert_eq!(
        status(&edit("CSeq: 1 OPTIONS", "CSeq: 36893488147419103232 OPTIONS")),
        400
    );
    // .6: a quoted string that does not end.
    assert_eq!(
        status(&edit(
            "To: <sip:b@example.com>",
            "To: \"Mr. J. User <sip:j.user@example.com>"
        )),
        400
    );
    // .7 to .10: brackets and whitespace in the start line.
    assert_eq!(status(&simple("INVITE <sip:user@example.com> SIP/2.0", "")), 400);
    assert_eq!(
        status(&simple("INVITE sip:user@example.com; lr SIP/2.0", "")),
        400
    );
    assert_eq!(status(&simple("INVITE  sip:user@example.com  SIP/2.0", "")), 400);
    assert_eq!(status(&simple("OPTIONS sip:user@example.com SIP/2.0  ", "")), 400);
    // .16: another version.
    assert_eq!(status(&simple("OPTIONS sip:user@example.com SIP/7.0", "")), 505);
    // .17 and .18: methods that differ.
    assert_eq!(status(&edit("CSeq: 1 OPTIONS", "CSeq: 1 INVITE")), 400);
    assert_eq!(status(&edit("CSeq: 1 OPTIONS", "CSeq: 1 NEWMETHOD")), 400);
}

#[test]
fn s3_1_2_what_can_be_understood_is_tolerated() {
    // .1: separators too many; .11: headers in the Request-URI; .12: a date of another zone; .14 and .15: spaces
    // inside brackets, commas in a bare display name.
    for (start, extra) in [
        (
            "OPTIONS sip:b@example.com SIP/2.0",
            "Contact: \"Joe\" <sip:joe@example.org>;;;;\n",
        ),
        (
            "OPTIONS sip:b@example.com?Route=%3Csip:example.com%3E SIP/2.0",
            "",
        ),
        (
            "OPTIONS sip:b@example.com SIP/2.0",
            "Date: Fri, 01 Jan 2010 16:00:00 EST\n",
        ),
    ] {
        assert_eq!(status(&simple(start, extra)), 200, "{start} {extra}");
    }
    let text = String::from_utf8(simple("OPTIONS sip:b@example.com SIP/2.0", "")).unwrap();
    let text = text
        .replace(
            "From: <sip:a@example.com>",
            "From: Bell, Alexander <sip:a.g.bell@bell-tel.com>",
        )
        .replace(
            "To: <sip:b@example.com>",
            "To: \"Watson, Thomas\" < sip:t.watson@example.org >",
        );
    assert_eq!(status(text.as_bytes()), 200);
}

#[test]
fn s3_1_2_5_and_19_responses_with_impossible_numbers_are_dropped() {
    for start in [
        "SIP/2.0 4294967301 better not break the receiver",
        "SIP/2.0 999 x",
        "SIP/2.0 20 x",
        "SIP/2.0 200x",
    ] {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: c\r\n\
             CSeq: 1 INVITE\r\n\r\n"
        );
        assert_eq!(error(text.as_bytes()), ParseError::StartLine, "{start}");
        assert_eq!(status(text.as_bytes()), 0);
    }
}

#[test]
fn s3_2_1_a_branch_of_only_the_cookie_does_not_mix_up_transactions() {
    let mut net = Net::scripted();
    for call in ["one", "two"] {
        let text = request("INVITE", "", "", "v=0\r\n").replace("call-1@bob", call);
        net.script(&text);
    }
    assert_eq!(net.names(0), ["Incoming", "Incoming"]);
}

#[test]
fn s3_3_application_layer_cases() {
    let options = |start: &str, extra: &str| status(&simple(start, extra));
    // .1: required headers are missing.
    assert_eq!(status(b"INVITE sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\nCSeq: 193942 INVITE\r\n\r\n"), 400);
    // .2 and .3: schemes nobody knows, in an INVITE.
    assert_eq!(
        options("INVITE nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", ""),
        416
    );
    assert_eq!(options("INVITE soap.beep://192.0.2.103:3002 SIP/2.0", ""), 416);
    // .5: extensions nobody has.
    assert_eq!(
        options(
            "OPTIONS sip:user@example.com SIP/2.0",
            "Require: nothingSupportsThis\nProxy-Require: noProxies\n"
        ),
        420
    );
    // .6: a body nobody reads.
    assert_eq!(
        status(
            &[
                simple(
                    "INVITE sip:user@example.com SIP/2.0",
                    "Content-Type: application/unknownformat\n"
                ),
                b"<audio/>".to_vec()
            ]
            .concat()
        ),
        415
    );
    // .8 and .9: single headers that stand twice.
    for extra in [
        "Call-ID: other\n",
        "CSeq: 2 OPTIONS\n",
        "From: <sip:x@h>;tag=9\n",
        "To: <sip:x@h>\n",
        "Content-Length: 5\nContent-Length: 4\n",
    ] {
        assert_eq!(
            options("OPTIONS sip:user@example.com SIP/2.0", extra),
            400,
            "{extra}"
        );
    }
    // .10: a response that nobody waits for.
    let stray = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
    assert_eq!(status(stray.as_bytes()), 0);
    // .11: no hops left.
    assert_eq!(
        options("OPTIONS sip:user@example.com SIP/2.0", "Max-Forwards: 0\n"),
        200
    );
}

#[test]
fn s3_4_an_invite_of_the_old_standard_is_a_call() {
    let text = "INVITE sip:UserB@example.com SIP/2.0\r\nVia: SIP/2.0/UDP iftgw.example.com\r\n\
        From: <sip:+15550111@ift.client.example.net;user=phone>\r\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\r\n\
        To: sip:+15550116@ss1.example.net;user=phone\r\nCall-ID: inv2543.1717@ift.client.example.com\r\nCSeq: 56 INVITE\r\n\
        Contact: <sip:+15550111@127.0.1.2>\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
    let mut net = Net::scripted();
    net.script(text);
    net.script(text);
    let session = net.incoming(0);
    assert_eq!(net.names(0), ["Incoming"], "the copy is absorbed");
    net.act(0, |endpoint, now| {
        endpoint.answer(now, session, b"v=0\r\n".to_vec())
    });
    net.run(Duration::from_millis(20));
    let to = header(&net.got("200 INVITE"), "To");
    assert!(
        to.starts_with("sip:+15550116@ss1.example.net;user=phone;tag="),
        "{to}"
    );
}

#[test]
fn rfc_5118_ipv6_in_every_place() {
    let text = "INVITE sip:[2001:db8::10] SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;received=[2001:db8::9:255];branch=z9hG4bKas3-111\r\n\
        From: <sip:user@[2001:db8::20:1]>;tag=1\r\nTo: sip:user@[2001:db8::10]\r\nCall-ID: 8.8@[2001:db8::20]\r\nCSeq: 1 INVITE\r\n\
        Contact: \"Caller\" <sip:caller@[2001:db8::1]>\r\n\r\n";
    read(text.as_bytes(), |message| {
        assert_eq!(message.via.port, Some(6050));
        assert_eq!(message.via.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(
            message.from.parsed_uri().unwrap().address(),
            Some("2001:db8::20:1".parse().unwrap())
        );
        assert_eq!(message.to.parsed_uri().unwrap().host, b"[2001:db8::10]");
    });
    assert_eq!(Uri::parse(b"sip:user@[2001:db8::10:5070]").unwrap().port, None);
    assert_eq!(Uri::parse(b"sip:user@[2001:db8::10"), None);
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
