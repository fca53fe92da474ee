//! The torture tests of RFC 4475, one test for each of its messages, by section and label. The messages were written
//! anew from their descriptions. Where a registrar or proxy would do something else, ours is what a user agent that
//! has neither does.

use std::time::Duration;

use sip::Event;
use sip::message::{Address, Method, Name, ParseError, Start, Uri};

use crate::net::{Net, header, request};
use crate::torture::{error, lines, read, simple, status};

const TICK: Duration = Duration::from_millis(20);

/// A request of one method with lines replaced: `simple`, with `from` become `to`.
fn edited(start: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(simple(start, "")).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to).into_bytes()
}

/// What our endpoint answered to a text, and the call it made of it.
fn answer(text: &[u8]) -> (String, Option<sip::IncomingInvite>) {
    let mut net = Net::scripted();
    let (from, to) = (crate::net::address("127.0.1.2:5060"), net.nodes[0].address);
    net.deliver(from, to, text);
    net.run(TICK);
    let call = net.nodes[0].events.iter().find_map(|event| match event {
        Event::Incoming { invite, .. } => Some((**invite).clone()),
        _ => None,
    });
    (
        net.inbox
            .first()
            .map(|sent| sent.text.clone())
            .unwrap_or_default(),
        call,
    )
}

fn response(start: &str, lines: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
    )
    .into_bytes()
}

const OPTIONS: &str = "OPTIONS sip:user@example.com SIP/2.0";
const INVITE: &str = "INVITE sip:user@example.com SIP/2.0";
const REGISTER: &str = "REGISTER sip:example.com SIP/2.0";

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
fn s3_1_1_1_wsinv_a_tortuous_invite_is_read_whole() {
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

#[test]
fn s3_1_1_2_intmeth_every_token_character_makes_a_method() {
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
    assert!(header(&answer(&text).0, "Allow").contains("INVITE"));
}

#[test]
fn s3_1_1_3_esc01_escapes_stay_as_they_are() {
    let (_, call) = answer(&simple(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "",
    ));
    let call = call.unwrap();
    assert_eq!(call.uri, "sip:sips%3Auser%40example.com@example.net");
    assert_eq!(call.user, "sips:user@example.com");
    let contact = Uri::parse(b"sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31").unwrap();
    assert!(!contact.is_loose(), "%6C%72 is not lr by its bytes");
}

#[test]
fn s3_1_1_4_escnull_an_escaped_nul_is_no_end_of_a_text() {
    let contacts = "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\n";
    let text = simple(REGISTER, contacts);
    read(&text, |message| {
        assert_eq!(message.values(Name::Contact).count(), 3)
    });
    assert_eq!(status(&text), 405);
    let uri = Uri::parse(b"sip:null-%00-null@example.com").unwrap();
    assert_eq!(uri.user_text(), "null-\0-null");
}

#[test]
fn s3_1_1_5_esc02_a_percent_sign_in_a_method_is_no_escape() {
    assert_eq!(
        status(&simple("RE%47IST%45R sip:registrar.example.com SIP/2.0", "")),
        501
    );
}

#[test]
fn s3_1_1_6_lwsdisp_a_display_name_may_touch_the_bracket() {
    let text = edited(
        OPTIONS,
        "From: <sip:a@example.com>",
        "From: caller<sip:caller@example.com>",
    );
    read(&text, |message| assert_eq!(message.from.display, b"caller"));
    assert_eq!(status(&text), 200);
}

#[test]
fn s3_1_1_7_longreq_long_values_are_taken_and_too_many_vias_are_not() {
    let long = "very".repeat(60);
    let extra = format!(
        "Unknown-{long}-Name: unknown-{long}-value; unknown-{long}-parameter-name = unknown-{long}-value\n\
         P-Asserted-Identity: \"{long} long display name\" <sip:{long}@example.com>\n"
    );
    let with = |vias: usize| {
        let vias =
            "Via: SIP/2.0/TCP sip.example.com;received=192.0.2.5;branch=z9hG4bKversioning\n".repeat(vias);
        let text = String::from_utf8(simple(INVITE, &format!("{extra}{vias}"))).unwrap();
        text.replace("tag=1", &format!("tag={long}"))
            .replace("t@example.com", &format!("{long}@example.com"))
    };
    let call = answer(with(15).as_bytes()).1.unwrap();
    assert_eq!(call.asserted[0].uri, format!("sip:{long}@example.com"));
    assert_eq!(status(with(33).as_bytes()), 513);
}

#[test]
fn s3_1_1_8_dblreq_bytes_behind_the_message_are_ignored() {
    let mut text = simple(OPTIONS, "Content-Length: 0\n");
    text.extend_from_slice(&simple(
        "INVITE sip:joe@example.com SIP/2.0",
        "Content-Length: 5\n",
    ));
    read(&text, |message| assert!(message.body.is_empty()));
    let (answered, call) = answer(&text);
    assert!(answered.starts_with("SIP/2.0 200 ") && call.is_none());
}

#[test]
fn s3_1_1_9_semiuri_a_semicolon_belongs_to_the_user_part() {
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
    assert_eq!(status(&text), 200);
}

#[test]
fn s3_1_1_10_transports_unknown_transports_in_vias_are_kept() {
    let vias = ["SCTP t2", "TLS t3", "UNKNOWN t4", "TCP t5"]
        .map(|via| format!("Via: SIP/2.0/{via}.example.com;branch=z9hG4bKkl-{}\n", via.len()));
    let answered = answer(&simple(OPTIONS, &vias.concat())).0;
    for via in vias {
        assert!(answered.contains(via.trim_end()), "{answered}");
    }
}

#[test]
fn s3_1_1_11_mpart01_a_multipart_body_with_any_bytes_is_cut_at_its_length() {
    let body = b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9cbec02ceef655\r\n\
        Content-Type: application/octet-stream\r\n\r\n\x00\xff\x30\x82\r\n\r\n--7a9cbec02ceef655--\r\n";
    let head = simple(
        "MESSAGE sip:kumiko@example.org SIP/2.0",
        &format!(
            "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: {}\n",
            body.len()
        ),
    );
    let text = [&head[..], body].concat();
    read(&text, |message| assert_eq!(message.body, body));
    assert_eq!(status(&text), 405);
}

#[test]
fn s3_1_1_12_unreason_and_s3_1_1_13_noreason_any_or_no_reason_phrase_is_read() {
    for phrase in ["= 2**3 * 5**2 но сто девяносто девять - простое", ""] {
        read(&response(&format!("SIP/2.0 200 {phrase}"), ""), |message| {
            let phrase = phrase.as_bytes();
            assert_eq!(message.start, Start::Response { status: 200, phrase });
        });
    }
}

#[test]
fn s3_1_2_1_badinv01_separators_too_many_do_no_harm() {
    let text = edited(
        INVITE,
        "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKx1",
        "Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
    );
    let text = String::from_utf8(text).unwrap();
    let text = text.replace("<sip:a@127.0.1.2>", "\"Joe\" <sip:joe@example.org>;;;;");
    let (answered, call) = answer(text.as_bytes());
    assert!(
        answered.starts_with("SIP/2.0 100 ") && call.is_some(),
        "{answered}"
    );
}

#[test]
fn s3_1_2_2_clerr_a_length_beyond_the_datagram_is_refused() {
    assert_eq!(status(&simple(INVITE, "Content-Length: 9999\n")), 400);
}

#[test]
fn s3_1_2_3_ncl_a_negative_length_is_refused() {
    assert_eq!(status(&simple(INVITE, "Content-Length: -999\n")), 400);
}

#[test]
fn s3_1_2_4_scalar02_numbers_that_overflow_are_refused() {
    assert_eq!(
        status(&edited(REGISTER, "CSeq: 1 ", "CSeq: 36893488147419103232 ")),
        400
    );
    for hops in ["300", "99999999999", "x"] {
        assert_eq!(
            status(&simple(INVITE, &format!("Max-Forwards: {hops}\n"))),
            400,
            "{hops}"
        );
    }
}

#[test]
fn s3_1_2_5_scalarlg_a_response_with_numbers_that_overflow_is_dropped() {
    let text = response(
        "SIP/2.0 503 Service Unavailable",
        "Retry-After: 949302838503028349304023988\r\nWarning: 1812 overture \"x\"\r\n",
    );
    let text = String::from_utf8(text)
        .unwrap()
        .replace("CSeq: 1 ", "CSeq: 9292394834772304023312 ");
    assert_eq!(error(text.as_bytes()), ParseError::Malformed("CSeq"));
    assert_eq!(status(text.as_bytes()), 0);
}

#[test]
fn s3_1_2_6_quotbal_a_quoted_string_without_an_end_is_refused() {
    let text = edited(
        INVITE,
        "To: <sip:b@example.com>",
        "To: \"Mr. J. User <sip:j.user@example.com>",
    );
    assert_eq!(status(&text), 400);
}

#[test]
fn s3_1_2_7_ltgtruri_a_request_uri_in_brackets_is_refused() {
    assert_eq!(status(&simple("INVITE <sip:user@example.com> SIP/2.0", "")), 400);
}

#[test]
fn s3_1_2_8_lwsruri_a_space_in_the_request_uri_is_refused() {
    assert_eq!(
        status(&simple("INVITE sip:user@example.com; lr SIP/2.0", "")),
        400
    );
}

#[test]
fn s3_1_2_9_lwsstart_and_s3_1_2_10_trws_spaces_too_many_in_the_start_line_are_refused() {
    assert_eq!(status(&simple("INVITE  sip:user@example.com  SIP/2.0", "")), 400);
    assert_eq!(status(&simple("OPTIONS sip:user@example.com SIP/2.0  ", "")), 400);
}

#[test]
fn s3_1_2_11_escruri_headers_in_the_request_uri_are_not_acted_on() {
    let text = simple(
        "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0",
        "",
    );
    let call = answer(&text).1.unwrap();
    assert_eq!((call.user.as_str(), call.host.as_str()), ("user", "example.com"));
}

#[test]
fn s3_1_2_12_baddate_a_date_of_another_zone_does_no_harm() {
    assert!(
        answer(&simple(INVITE, "Date: Fri, 01 Jan 2010 16:00:00 EST\n"))
            .1
            .is_some()
    );
}

#[test]
fn s3_1_2_13_regbadct_a_contact_with_headers_needs_brackets() {
    let contact = b"sip:user@example.com?Route=%3Csip:sip.example.com%3E";
    assert!(Address::parse(contact).unwrap().params.0.is_empty());
    let text = edited(
        REGISTER,
        "<sip:a@127.0.1.2>",
        std::str::from_utf8(contact).unwrap(),
    );
    assert_eq!(status(&text), 405);
}

#[test]
fn s3_1_2_14_badaspec_spaces_inside_the_brackets_are_tolerated() {
    let text = edited(
        OPTIONS,
        "To: <sip:b@example.com>",
        "To: \"Watson, Thomas\" < sip:t.watson@example.org >",
    );
    assert_eq!(status(&text), 200);
}

#[test]
fn s3_1_2_15_baddn_a_comma_in_a_bare_display_name_is_tolerated() {
    let text = edited(
        OPTIONS,
        "From: <sip:a@example.com>",
        "From: Bell, Alexander <sip:a.g.bell@bell-tel.com>",
    );
    read(&text, |message| assert_eq!(message.from.tag(), Some(&b"1"[..])));
    assert_eq!(status(&text), 200);
}

#[test]
fn s3_1_2_16_badvers_another_version_gets_505() {
    assert_eq!(status(&simple("OPTIONS sip:user@example.com SIP/7.0", "")), 505);
}

#[test]
fn s3_1_2_17_mismatch01_and_s3_1_2_18_mismatch02_methods_that_differ_are_refused() {
    assert_eq!(status(&edited(OPTIONS, "CSeq: 1 OPTIONS", "CSeq: 8 INVITE")), 400);
    assert_eq!(
        status(&edited(
            "NEWMETHOD sip:user@example.com SIP/2.0",
            "CSeq: 1 NEWMETHOD",
            "CSeq: 8 INVITE"
        )),
        400
    );
}

#[test]
fn s3_1_2_19_bigcode_a_response_with_an_impossible_status_is_dropped() {
    for start in [
        "SIP/2.0 4294967301 better not break the receiver",
        "SIP/2.0 999 x",
        "SIP/2.0 20 x",
        "SIP/2.0 200x",
    ] {
        let text = response(start, "");
        assert_eq!(error(&text), ParseError::StartLine, "{start}");
        assert_eq!(status(&text), 0);
    }
}

#[test]
fn s3_2_1_badbranch_a_branch_of_only_the_cookie_does_not_mix_up_transactions() {
    let mut net = Net::scripted();
    for call in ["one", "two"] {
        let text = request("INVITE", "", "", "v=0\r\n").replace("call-1@bob", call);
        net.script(&text);
    }
    assert_eq!(net.names(0), ["Incoming", "Incoming"]);
}

#[test]
fn s3_3_1_insuf_required_headers_that_are_missing_get_400() {
    let text = lines(
        "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\nContent-Type: application/sdp\nl: 5\n\nv=0\n",
    );
    assert_eq!(status(&text), 400);
}

#[test]
fn s3_3_2_unkscm_and_s3_3_3_novelsc_schemes_nobody_knows_get_416() {
    for method in ["OPTIONS", "INVITE"] {
        for uri in [
            "nobodyKnowsThisScheme:totallyopaquecontent",
            "soap.beep://192.0.2.103:3002",
        ] {
            assert_eq!(
                status(&simple(&format!("{method} {uri} SIP/2.0"), "")),
                416,
                "{method} {uri}"
            );
        }
    }
}

#[test]
fn s3_3_4_unksm2_an_unknown_scheme_in_to_and_from_does_no_harm() {
    for (from, to) in [
        ("To: <sip:b@example.com>", "To: isbn:2983792873"),
        ("From: <sip:a@example.com>", "From: <http://www.example.com>"),
    ] {
        assert_eq!(status(&edited(REGISTER, from, to)), 405);
        assert!(answer(&edited(INVITE, from, to)).1.is_some());
    }
}

#[test]
fn s3_3_5_bext01_extensions_nobody_has_get_420() {
    let extra = "Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\n";
    let answered = answer(&simple(OPTIONS, extra)).0;
    assert!(answered.starts_with("SIP/2.0 420 "));
    assert!(header(&answered, "Unsupported").starts_with("nothingSupportsThis, nothingSupportsThisEither"));
}

#[test]
fn s3_3_6_invut_a_body_nobody_reads_gets_415() {
    let head = simple(INVITE, "Content-Type: application/unknownformat\n");
    let answered = answer(&[&head[..], b"<audio/>"].concat()).0;
    assert!(answered.starts_with("SIP/2.0 415 "));
    assert_eq!(header(&answered, "Accept"), "application/sdp");
}

#[test]
fn s3_3_7_regaut01_credentials_of_an_unknown_scheme_do_no_harm() {
    let extra = "Authorization: NoOneKnowsThisScheme opaque-data=here\n";
    assert_eq!(status(&simple(REGISTER, extra)), 405);
    assert!(answer(&simple(INVITE, extra)).1.is_some());
}

#[test]
fn s3_3_8_multi01_single_headers_that_stand_twice_are_refused() {
    for extra in [
        "Call-ID: other\n",
        "CSeq: 2 INVITE\n",
        "From: <sip:x@h>;tag=9\n",
        "To: <sip:x@h>\n",
    ] {
        assert_eq!(status(&simple(INVITE, extra)), 400, "{extra}");
    }
}

#[test]
fn s3_3_9_mcl01_two_lengths_are_refused() {
    assert_eq!(
        status(&simple(OPTIONS, "Content-Length: 13\nContent-Length: 5\n")),
        400
    );
}

#[test]
fn s3_3_10_bcast_a_response_that_nobody_waits_for_is_dropped() {
    let via = "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\r\n";
    assert_eq!(status(&response("SIP/2.0 200 OK", via)), 0);
}

#[test]
fn s3_3_11_zeromf_no_hops_left_is_enough_for_options_and_not_for_a_call() {
    assert_eq!(status(&simple(OPTIONS, "Max-Forwards: 0\n")), 200);
    assert_eq!(status(&simple(INVITE, "Max-Forwards: 0\n")), 483);
}

#[test]
fn s3_3_12_cparam01_and_s3_3_13_cparam02_parameters_of_a_contact_and_of_its_uri_are_told_apart() {
    let header = Address::parse(b"sip:+19725552222@gw1.example.net;unknownparam").unwrap();
    assert_eq!(
        (header.uri, header.params.0),
        (&b"sip:+19725552222@gw1.example.net"[..], &b";unknownparam"[..])
    );
    let uri = Address::parse(b"<sip:+19725552222@gw1.example.net;unknownparam>").unwrap();
    assert!(uri.params.0.is_empty() && uri.parsed_uri().unwrap().params.get("unknownparam").is_some());
}

#[test]
fn s3_3_14_regescrt_a_contact_with_escaped_headers_is_read() {
    let contact = Address::parse(b"<sip:user@example.com?Route=%3Csip:sip.example.com%3E>").unwrap();
    assert_eq!(contact.parsed_uri().unwrap().host, b"example.com");
}

#[test]
fn s3_3_15_sdp01_a_caller_that_takes_no_sdp_gets_406() {
    let answered = answer(&simple(INVITE, "Accept: text/nobodyKnowsThis\n")).0;
    assert!(answered.starts_with("SIP/2.0 406 "), "{answered}");
    assert_eq!(header(&answered, "Accept"), "application/sdp");
    for accept in ["application/sdp;level=1, text/html", "application/*", "*/*"] {
        assert!(
            answer(&simple(INVITE, &format!("Accept: {accept}\n")))
                .1
                .is_some(),
            "{accept}"
        );
    }
}

#[test]
fn s3_4_1_inv2543_an_invite_of_the_old_standard_is_a_call() {
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
