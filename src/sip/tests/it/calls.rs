//! Ordinary calls.

use std::time::Duration;

use sip::{Cause, Ended, Event, Reason};

use crate::net::{Net, SDP_A, SDP_B, header};

#[test]
fn a_call_rings_is_answered_and_ended_by_the_caller() {
    let mut net = Net::pair();
    let caller = net.call(0);
    net.run(Duration::from_millis(50));
    let callee = net.incoming(1);
    let Event::Incoming { invite, .. } = &net.nodes[1].events[0] else {
        panic!("no call")
    };
    assert_eq!(invite.user, "5550100");
    assert_eq!(invite.from.display.as_deref(), Some("A \"B\""));
    assert_eq!(invite.asserted[0].uri, "sip:5550101@127.0.1.1");
    assert_eq!(invite.sdp.as_deref(), Some(SDP_A));
    net.act(1, |endpoint, now| endpoint.ring(now, callee));
    net.seconds(3);
    net.act(1, |endpoint, now| endpoint.answer(now, callee, SDP_B.to_vec()));
    net.seconds(1);
    assert_eq!(net.names(0), ["Ringing", "Answered"]);
    assert_eq!(net.names(1), ["Incoming", "Confirmed"]);
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, Some(Cause(16))));
    net.seconds(1);
    assert_eq!(net.names(0).last().unwrap(), "Ended(ByUs)");
    let ended = net.nodes[1].events.last().unwrap().clone();
    let reason = Reason {
        cause: Some(16),
        status: None,
        text: Some("Q.850;cause=16".into()),
    };
    assert_eq!(
        ended,
        Event::Ended {
            session: callee,
            ended: Ended::ByPeer,
            reason
        }
    );
    assert_eq!(net.count("INVITE"), 1);
    net.assert_clean();
}

#[test]
fn early_media_is_told_and_the_answer_may_leave_its_sdp_out() {
    let mut net = Net::pair();
    net.call(0);
    net.run(Duration::from_millis(50));
    let callee = net.incoming(1);
    net.act(1, |endpoint, now| endpoint.progress(now, callee, SDP_B.to_vec()));
    net.seconds(1);
    net.act(1, |endpoint, now| endpoint.answer(now, callee, SDP_B.to_vec()));
    net.seconds(1);
    assert_eq!(net.names(0), ["Progress", "Answered"]);
    net.act(1, |endpoint, now| endpoint.hangup(now, callee, None));
    net.seconds(1);
    assert_eq!(net.names(0).last().unwrap(), "Ended(ByPeer)");
    net.assert_clean();
}

#[test]
fn a_rejected_call_tells_its_status_and_when_to_try_again() {
    let mut net = Net::pair();
    net.call(0);
    net.run(Duration::from_millis(50));
    let callee = net.incoming(1);
    net.act(1, |endpoint, now| {
        endpoint.reject(now, callee, 486, Some(Duration::from_secs(7)))
    });
    net.seconds(1);
    let Some(Event::Failed { failure, .. }) = net.nodes[0].events.last() else {
        panic!("not failed")
    };
    assert_eq!((failure.status, failure.phrase.as_str()), (486, "Busy Here"));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    assert!(failure.from_peer);
    assert_eq!(net.count("ACK"), 1);
    net.assert_clean();
}

#[test]
fn a_ringing_call_is_cancelled_at_both_ends() {
    let mut net = Net::pair();
    let caller = net.call(0);
    net.run(Duration::from_millis(50));
    let callee = net.incoming(1);
    net.act(1, |endpoint, now| endpoint.ring(now, callee));
    net.seconds(1);
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
    assert_eq!(net.names(0), ["Ringing", "Ended(ByUs)"]);
    net.seconds(1);
    assert_eq!(net.names(1), ["Incoming", "Ended(CancelledByPeer)"]);
    assert_eq!(net.count("CANCEL"), 1);
    assert_eq!(net.count("487 INVITE"), 1);
    net.assert_clean();
}

#[test]
fn a_probe_tells_whether_the_peer_lives() {
    let mut net = Net::pair();
    net.act(0, |endpoint, now| endpoint.probe(now, crate::net::PEER));
    net.seconds(1);
    let Some(Event::Probed {
        status: 200, after, ..
    }) = net.nodes[0].events.last()
    else {
        panic!("no answer")
    };
    assert_eq!(*after, Duration::from_millis(20));
    net.lose = Box::new(|_| true);
    net.act(0, |endpoint, now| endpoint.probe(now, crate::net::PEER));
    net.seconds(33);
    assert!(matches!(
        net.nodes[0].events.last(),
        Some(Event::Probed { status: 408, .. })
    ));
    net.assert_clean();
}

#[test]
fn an_endpoint_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<sip::Endpoint>();
}

#[test]
fn digits_by_info_reach_the_other_side() {
    let mut net = Net::pair();
    let (caller, callee) = net.connect();
    net.act(0, |endpoint, now| {
        endpoint.send_digit_info(now, caller, '#', Duration::from_millis(200))
    });
    net.seconds(1);
    let digit = Event::DigitPressed {
        session: callee,
        digit: '#',
        duration: Duration::from_millis(200),
    };
    assert_eq!(net.nodes[1].events.last(), Some(&digit));
    net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
    net.assert_clean();
}

#[test]
fn the_ack_goes_to_the_contact_of_the_answer() {
    let mut net = Net::pair();
    net.connect();
    let (ok, ack) = (net.last("200 INVITE"), net.last("ACK"));
    let contact = header(&ok, "Contact");
    let target = contact.trim_matches(['<', '>']);
    assert!(ack.starts_with(&format!("ACK {target} SIP/2.0\r\n")), "{ack}");
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    assert_ne!(header(&ack, "Via"), header(&net.last("INVITE"), "Via"));
}

#[test]
fn race_49_with_a_fifth_of_all_datagrams_lost_nearly_all_calls_complete() {
    let mut complete = 0;
    for seed in 0..200 {
        let mut net = Net::seeded(seed + 1);
        net.add("127.0.1.1:5060", "127.0.1.2:5060");
        net.add("127.0.1.2:5060", "127.0.1.1:5060");
        (net.loss, net.repeat, net.jitter) = (200, 50, Duration::from_millis(300));
        let caller = net.call(0);
        net.seconds(20);
        let begun = net.names(1).contains(&"Incoming".to_owned());
        if begun {
            let callee = net.incoming(1);
            net.act(1, |endpoint, now| endpoint.answer(now, callee, SDP_B.to_vec()));
        }
        net.seconds(20);
        complete += usize::from(
            net.names(0).contains(&"Answered".to_owned()) && net.names(1).contains(&"Confirmed".to_owned()),
        );
        net.act(0, |endpoint, now| endpoint.hangup(now, caller, None));
        net.seconds(40);
        net.assert_clean();
    }
    assert!(complete >= 198, "{complete} of 200");
}
