//! Random calls: two endpoints do random things over a network that loses, repeats and delays, and at the end nothing
//! may be left. A failing seed names itself; run it alone with `SIP_SEED=n`, or more of them with `SIP_SEEDS=n`.

use std::time::Duration;

use sip::{Cause, Event, SessionId};

use crate::net::{Net, SDP_A, SDP_B};

/// How many random runs one test tries.
const SEEDS: u64 = 400;

#[derive(Default)]
struct Side {
    /// Sessions that have not ended, with whether they came in unanswered.
    open: Vec<(SessionId, bool)>,
    begun: usize,
    ended: usize,
    answered: usize,
}

#[test]
fn random_calls_over_a_bad_network_leave_nothing_behind() {
    let only = std::env::var("SIP_SEED")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let count = std::env::var("SIP_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS);
    let mut answered = 0;
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        let result = std::panic::catch_unwind(|| explore(seed));
        match result {
            Ok(count) => answered += count,
            Err(_) => panic!("seed {seed} failed; run it alone with SIP_SEED={seed}"),
        }
    }
    assert!(
        only.is_some() || answered > 500,
        "only {answered} calls were answered"
    );
}

fn explore(seed: u64) -> usize {
    let mut net = Net::seeded(seed + 1);
    net.add("127.0.1.1:5060", "127.0.1.2:5060");
    net.add("127.0.1.2:5060", "127.0.1.1:5060");
    net.loss = [0, 50, 200, 400][usize::try_from(seed % 4).unwrap()];
    net.repeat = 100;
    net.jitter = Duration::from_millis([0, 100, 1500][usize::try_from(seed % 3).unwrap()]);
    let mut sides = [Side::default(), Side::default()];
    for _ in 0..60 {
        let node = usize::try_from(net.roll() % 2).unwrap();
        let session = pick(&mut net, &sides[node]);
        act(&mut net, node, session, &mut sides[node]);
        let pause = Duration::from_millis(net.roll() % 1500);
        net.run(pause);
        (0..2).for_each(|node| listen(&mut net, node, &mut sides[node]));
    }
    for (node, side) in sides.iter_mut().enumerate() {
        for (session, _) in side.open.clone() {
            net.act(node, |endpoint, now| endpoint.hangup(now, session, None));
        }
    }
    // New calls may still arrive from what is in flight; they are refused.
    for _ in 0..140 {
        net.seconds(1);
        for (node, side) in sides.iter_mut().enumerate() {
            listen(&mut net, node, side);
            for (session, is_new) in side.open.clone() {
                if is_new {
                    net.act(node, |endpoint, now| endpoint.reject(now, session, 480, None));
                }
            }
            listen(&mut net, node, side);
        }
    }
    for (node, side) in sides.iter().enumerate() {
        let counters = net.nodes[node].endpoint.counters();
        assert_eq!(
            (counters.active, counters.sessions, counters.transactions),
            (0, 0, 0),
            "{counters:?}"
        );
        assert_eq!(side.begun, side.ended, "every session ends exactly once");
        assert!(side.open.is_empty());
    }
    assert_acknowledged(&net);
    sides.iter().map(|side| side.answered).sum()
}

fn pick(net: &mut Net, side: &Side) -> Option<(SessionId, bool)> {
    let index = usize::try_from(net.roll()).unwrap_or(0) % side.open.len().max(1);
    side.open.get(index).copied()
}

fn act(net: &mut Net, node: usize, session: Option<(SessionId, bool)>, side: &mut Side) {
    let choice = net.roll() % 12;
    let Some((session, is_new)) = session.filter(|_| choice > 1) else {
        if side.open.len() < 4 {
            let session = net.call(node);
            side.begun += 1;
            side.open.push((session, false));
        }
        return;
    };
    net.act(node, |endpoint, now| match choice {
        2 | 3 if is_new => endpoint.ring(now, session),
        4 if is_new => endpoint.progress(now, session, SDP_B.to_vec()),
        5..=8 if is_new => endpoint.answer(now, session, SDP_B.to_vec()),
        9 if is_new => endpoint.reject(now, session, 486, None),
        2..=4 => endpoint.reoffer(now, session, SDP_A.to_vec()),
        5..=7 => endpoint.send_digit_info(now, session, '5', Duration::from_millis(100)),
        8 => endpoint.accept_offer(now, session, SDP_B.to_vec()),
        10 => endpoint.hangup(now, session, Some(Cause(16))),
        _ => {}
    });
    if is_new && (5..=8).contains(&choice) {
        side.open
            .iter_mut()
            .filter(|(open, _)| *open == session)
            .for_each(|(_, is_new)| *is_new = false);
    }
}

fn listen(net: &mut Net, node: usize, side: &mut Side) {
    for event in net.take_events(node) {
        match event {
            Event::Incoming { session, .. } => {
                side.begun += 1;
                side.open.push((session, true));
            }
            Event::Answered { .. } => side.answered += 1,
            Event::Offered { session, .. } => {
                if net.roll().is_multiple_of(3) {
                    net.act(node, |endpoint, now| endpoint.refuse_offer(now, session, 488));
                } else {
                    net.act(node, |endpoint, now| {
                        endpoint.accept_offer(now, session, SDP_B.to_vec())
                    });
                }
            }
            Event::Ended { session, .. } | Event::Failed { session, .. } => {
                assert!(
                    side.open.iter().any(|(open, _)| *open == session),
                    "{session:?} ended twice or never began"
                );
                side.open.retain(|(open, _)| *open != session);
                side.ended += 1;
            }
            _ => {}
        }
    }
}

/// Every 2xx to INVITE that arrived was acknowledged: each has an ACK with its Call-ID and CSeq number.
fn assert_acknowledged(net: &Net) {
    let identity = |text: &str| {
        let number = crate::net::header(text, "CSeq")
            .split(' ')
            .next()
            .unwrap_or("")
            .to_owned();
        (crate::net::header(text, "Call-ID"), number)
    };
    let acks: Vec<_> = net
        .log
        .iter()
        .filter(|sent| sent.kind() == "ACK")
        .map(|sent| identity(&sent.text))
        .collect();
    for sent in net
        .log
        .iter()
        .filter(|sent| sent.kind() == "200 INVITE" && !sent.lost)
    {
        assert!(acks.contains(&identity(&sent.text)), "no ACK for {}", sent.text);
    }
}
