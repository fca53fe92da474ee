//! What a trunk's calls use beyond RFC 3261: reliable responses, session timers, UPDATE.

use std::time::Duration;

use sip::{Extensions, Peer, ReliableProvisional};

use crate::net::{Net, PEER, SDP_B, address, header, in_dialog, request};

const TICK: Duration = Duration::from_millis(20);
const OFFER: &str = "v=0\r\no=offer\r\n";

fn text(sdp: &[u8]) -> &str {
    std::str::from_utf8(sdp).unwrap()
}

fn extended(extensions: Extensions) -> Net {
    let mut net = Net::scripted();
    let mut peer = Peer::new(PEER, address("127.0.1.1:5060"), vec![address("127.0.1.2:5060")]);
    peer.extensions = extensions;
    net.endpoint(0).set_peer(peer);
    net
}

#[test]
fn a_trunk_without_reliable_responses_timers_and_update_is_offered_none_of_them() {
    let plain = Extensions {
        reliable: ReliableProvisional::No,
        timer: false,
        update: false,
    };
    let mut net = extended(plain);
    net.call(0);
    net.run(TICK);
    let invite = net.got("INVITE");
    for name in ["Supported", "Require", "Session-Expires", "Min-SE"] {
        assert_eq!(header(&invite, name), "", "{name}");
    }
    assert!(!header(&invite, "Allow").contains("UPDATE"), "{invite}");
    // It refreshes by re-INVITE where the trunk asked for a timer after all, whatever that allows.
    let timer = "Contact: <sip:b@127.0.1.2:5060>\r\nAllow: INVITE, UPDATE\r\nRequire: timer\r\n\
                 Session-Expires: 1800;refresher=uac\r\n";
    net.reply(&invite, "200 OK", "b", timer, text(SDP_B));
    net.run(TICK);
    net.seconds(905);
    assert_eq!((net.distinct("INVITE"), net.count("UPDATE")), (2, 0));
    // A call that requires reliable responses is told that there are none.
    let mut net = extended(plain);
    net.script(&request("INVITE", "i1", "Require: 100rel\r\n", OFFER));
    net.run(TICK);
    assert_eq!(header(&net.got("420 INVITE"), "Unsupported"), "100rel");
    let mut net = extended(plain);
    net.script(&request("INVITE", "i2", "Supported: timer, 100rel\r\n", OFFER));
    let session = net.incoming(0);
    net.act(0, |endpoint, now| endpoint.ring(now, session));
    net.act(0, |endpoint, now| endpoint.answer(now, session, SDP_B.to_vec()));
    net.run(TICK);
    assert_eq!(header(&net.got("180 INVITE"), "RSeq"), "");
    let ok = net.got("200 INVITE");
    assert_eq!(header(&ok, "Session-Expires"), "");
    net.script(&in_dialog(&ok, "ACK", 1, "ack", "", ""));
}

#[test]
fn a_trunk_with_reliable_responses_required_is_asked_for_them_and_gets_them_where_it_can() {
    let required = Extensions {
        reliable: ReliableProvisional::Required,
        ..Extensions::default()
    };
    let mut net = extended(required);
    net.call(0);
    net.run(TICK);
    assert_eq!(header(&net.got("INVITE"), "Require"), "100rel");
    for (supported, reliable) in [("Supported: 100rel\r\n", true), ("", false)] {
        let mut net = extended(required);
        net.script(&request("INVITE", "i1", supported, OFFER));
        let session = net.incoming(0);
        net.act(0, |endpoint, now| endpoint.ring(now, session));
        net.run(TICK);
        assert_eq!(!header(&net.got("180 INVITE"), "RSeq").is_empty(), reliable);
    }
}
