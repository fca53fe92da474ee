//! IPv6 in SIP: one test for each case of RFC 5118 §4, by section. The messages were written anew from their
//! descriptions.

use std::time::Duration;

use sip::Event;
use sip::message::{Address, Uri, Via};

use crate::net::{Net, SDP_B, address, header};
use crate::torture::{read, simple, status};

const TICK: Duration = Duration::from_millis(20);

#[test]
fn s4_1_an_ipv6_reference_in_brackets_is_read() {
    let text = simple("OPTIONS sip:[2001:db8::10] SIP/2.0", "");
    assert_eq!(status(&text), 200);
    assert_eq!(
        Uri::parse(b"sip:[2001:db8::10]").unwrap().address(),
        Some("2001:db8::10".parse().unwrap())
    );
}

#[test]
fn s4_2_an_ipv6_address_without_brackets_gets_400() {
    for method in ["REGISTER", "OPTIONS", "INVITE"] {
        assert_eq!(
            status(&simple(&format!("{method} sip:2001:db8::10 SIP/2.0"), "")),
            400,
            "{method}"
        );
    }
}

#[test]
fn s4_3_a_port_inside_the_brackets_is_part_of_the_address() {
    let uri = Uri::parse(b"sip:[2001:db8::10:5070]").unwrap();
    assert_eq!(
        (uri.port, uri.address()),
        (None, Some("2001:db8::10:5070".parse().unwrap()))
    );
}

#[test]
fn s4_4_a_port_behind_the_brackets_is_the_port() {
    let uri = Uri::parse(b"sip:[2001:db8::10]:5070").unwrap();
    assert_eq!(
        (uri.port, uri.address()),
        (Some(5070), Some("2001:db8::10".parse().unwrap()))
    );
}

#[test]
fn s4_5_received_is_read_with_and_without_brackets() {
    for received in ["[2001:db8::9:255]", "2001:db8::9:255"] {
        let text = format!("SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111");
        let via = Via::parse(text.as_bytes()).unwrap();
        assert_eq!(
            via.received(),
            Some("2001:db8::9:255".parse().unwrap()),
            "{received}"
        );
        assert_eq!(via.branch(), Some(&b"z9hG4bKas3-111"[..]));
    }
}

/// An endpoint at an IPv6 address with its peer at another.
fn six() -> Net {
    let mut net = Net::new();
    net.add_with(
        "[2001:db8::1]:5060",
        sip::EndpointConfig::default(),
        vec![address("[2001:db8::9:1]:6050")],
    );
    net
}

fn invite(sdp: &str) -> String {
    format!(
        "INVITE sip:user@[2001:db8::1] SIP/2.0\r\nTo: sip:user@[2001:db8::1]\r\nFrom: sip:user@example.com;tag=81x2\r\n\
         Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\r\nCall-ID: SSG9559905523997077@[2001:db8::9:1]\r\n\
         Contact: \"Caller\" <sip:caller@[2001:db8::9:1]:6050>\r\nCSeq: 8612 INVITE\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[test]
fn s4_6_a_call_over_ipv6_is_answered_where_it_came_from_and_our_contact_has_brackets() {
    let mut net = six();
    net.script_from("[2001:db8::9:1]:6050", &invite("v=0\r\n"));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    let ok = net.got("200 INVITE");
    assert_eq!(net.inbox.last().unwrap().to, address("[2001:db8::9:1]:6050"));
    assert!(header(&ok, "Contact").contains("@[2001:db8::1]:5060"), "{ok}");
    assert!(
        header(&ok, "Via").contains(";received=2001:db8::9:1;rport=6050"),
        "{ok}"
    );
    net.act(0, |endpoint, now| endpoint.hangup(now, session, None));
    let ack = crate::net::in_dialog(&ok, "ACK", 8612, "a", "", "")
        .replace("\"Bob\" <sip:5550102@127.0.1.2>;tag=bobtag", &header(&ok, "From"))
        .replace("call-1@bob", &header(&ok, "Call-ID"));
    net.script_from("[2001:db8::9:1]:6050", &ack);
    net.run(TICK);
    let bye = net.got("BYE");
    assert!(
        bye.starts_with("BYE sip:caller@[2001:db8::9:1]:6050 SIP/2.0"),
        "{bye}"
    );
    assert!(
        header(&bye, "Via").starts_with("SIP/2.0/UDP [2001:db8::1]:5060;branch="),
        "{bye}"
    );
}

#[test]
fn s4_7_and_s4_8_addresses_in_sdp_of_one_or_both_families_pass_byte_for_byte() {
    let sdp = "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\n\
        m=audio 6000 RTP/AVP 97\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP4 192.0.2.1\r\n";
    let mut net = six();
    net.script_from("[2001:db8::9:1]:6050", &invite(sdp));
    let Some(Event::Incoming { invite, .. }) = net.nodes[0].events.first() else {
        panic!("no call")
    };
    assert_eq!(invite.sdp.as_deref(), Some(sdp.as_bytes()));
}

#[test]
fn s4_9_addresses_of_both_families_in_one_message_are_read() {
    let vias = "Via: SIP/2.0/UDP 192.0.2.20;branch=z9hG4bKb\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKc\n";
    let text = simple("OPTIONS sip:user@[2001:db8::1] SIP/2.0", vias);
    read(&text, |message| {
        let hosts = message
            .values(sip::message::Name::Via)
            .filter_map(Via::parse)
            .map(|via| via.host.to_vec());
        assert_eq!(
            hosts.collect::<Vec<_>>(),
            [&b"host.example.com"[..], b"192.0.2.20", b"[2001:db8::9:1]"]
        );
    });
    assert_eq!(status(&text), 200);
}

#[test]
fn s4_10_an_ipv4_address_mapped_into_ipv6_is_read_and_is_the_ipv4_peer() {
    let contact = Address::parse(b"\"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>").unwrap();
    assert_eq!(
        contact.parsed_uri().unwrap().address(),
        Some("::ffff:192.0.2.2".parse().unwrap())
    );
    let mut net = Net::scripted();
    net.script_from(
        "[::ffff:127.0.1.2]:5060",
        &crate::net::request("OPTIONS", "m", "", ""),
    );
    net.run(TICK);
    assert_eq!(net.inbox.last().unwrap().kind(), "200 OPTIONS");
}
