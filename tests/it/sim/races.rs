//! The races of `sip.md` §6.6 that more than signalling has a part in, by their numbers. Those of signalling alone are
//! in `src/sip/tests/it`.

use std::time::Duration;

use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::{CallClosed, LegClosed, RecordChange};
use trunkline::switch::engine::Input;

use super::habits::{Acks, Deed, Habits};
use super::message::{Message, Sdp};
use super::world::{Operation, Wires, World, address, trunk};
use crate::support::seconds;

/// A number that is dialled at the far end.
const ROUTE: &str = "0000123";
/// A number that sends back what it hears.
const ECHO: &str = "70000001";

const QUIET: Wires = Wires {
    lost: 0,
    doubled: 0,
    slow: Duration::ZERO,
};

pub fn world() -> World {
    World::new(1, QUIET)
}

pub fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A peer that does this, at milliseconds after its INVITE.
pub fn doing(deeds: &[(u64, Deed)]) -> Habits {
    Habits {
        deeds: deeds
            .iter()
            .map(|(at, deed)| (milliseconds(*at), *deed))
            .collect(),
        ..Habits::default()
    }
}

pub const RINGS: Deed = Deed::Provisional {
    status: 180,
    fork: 0,
    sound: false,
    reliable: false,
};

pub const ANSWERS: Deed = Deed::Final { status: 200, fork: 0 };

/// An office that rings at once, answers after a second, and talks until the other side hangs up.
pub fn office() -> Habits {
    doing(&[(0, RINGS), (1000, ANSWERS), (1050, Deed::Speak)])
}

/// Everything in order at the end, or the faults are told.
pub fn end(world: &mut World) {
    let wrong = world.end(seconds(3 * 3600));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub fn ends(world: &World) -> Vec<CallClosed> {
    let ends = world.changes.iter().filter_map(|change| match change {
        RecordChange::CallClosed(closed) => Some((**closed).clone()),
        _ => None,
    });
    ends.collect()
}

/// Ends of the dialled legs.
pub fn legs(world: &World) -> Vec<LegClosed> {
    let ends = world.changes.iter().filter_map(|change| match change {
        RecordChange::LegClosed(closed) if closed.leg.0 > 0 => Some((**closed).clone()),
        _ => None,
    });
    ends.collect()
}

/// Messages of one agent's call, by kind, that went this way.
fn of_kind(world: &World, call_id: &str, to_switch: bool, kind: &str) -> Vec<(Duration, Message)> {
    let messages = world.audit.messages(call_id).iter();
    messages
        .filter(|(_, way, message)| *way == to_switch && message.kind() == kind)
        .map(|(at, _, message)| (*at, message.clone()))
        .collect()
}

fn sent(world: &World, agent: usize, kind: &str) -> Vec<(Duration, Message)> {
    of_kind(world, &world.agents[agent].call_id, false, kind)
}

/// The agent of the n-th call that the switch dialled.
fn dialled(world: &World, number: usize) -> usize {
    let call_id = &world.audit.dialled()[number];
    world
        .agents
        .iter()
        .position(|agent| agent.call_id == *call_id)
        .unwrap()
}

#[test]
fn race_29_a_connection_that_breaks_takes_no_call_with_it() {
    let mut world = world();
    world.transport = sip::Transport::Tcp;
    let caller = world.call(Duration::ZERO, ECHO, Habits::default());
    world.run(seconds(2));
    assert!(world.agents[caller].confirmed);
    let remote = trunk();
    let transport = sip::Transport::Tcp;
    world.input(Input::Sip(sip::Input::ConnectionLost {
        peer: None,
        remote,
        transport,
    }));
    world.run(seconds(2));
    assert_eq!(world.engine.calls(), 1);
    world.operate(Duration::ZERO, Operation::EndAll);
    world.run(milliseconds(1));
    // The BYE goes to the Contact, over a connection that is opened for it.
    let byes = sent(&world, caller, "BYE");
    assert_eq!(byes.len(), 1);
    assert!(byes[0].1.text.contains("SIP/2.0/TCP"), "{}", byes[0].1.text);
    end(&mut world);
}

#[test]
fn race_30_requests_of_a_call_go_round_an_address_of_the_trunk_that_died() {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(seconds(5));
    assert_eq!(world.engine.calls(), 1);
    let office = dialled(&world, 0);
    world.dead.insert(trunk());
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    world.run(seconds(40));
    assert!(
        world.agents[office].over,
        "the office heard of the end by the other address"
    );
    assert_eq!(world.agents[office].address, address("127.0.11.2:5060"));
    end(&mut world);
}

#[test]
fn race_31_a_registration_that_lapsed_leaves_calls_up_and_is_renewed() {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(seconds(5));
    let registered = |world: &World| world.engine.trunks()[1].registered;
    for _ in 0..600 {
        if registered(&world) == Some(true) {
            break;
        }
        world.run(seconds(1));
    }
    assert_eq!(registered(&world), Some(true));
    // The registrar's answers are lost for two minutes, then are heard again.
    world.wires.lost = 1000;
    world.arrange(seconds(1), caller, Deed::Speak);
    world.run(seconds(25));
    assert_eq!(world.engine.calls(), 1, "calls do not end with a registration");
    world.wires.lost = 0;
    world.run(seconds(600));
    assert_eq!(registered(&world), Some(true));
    world.operate(Duration::ZERO, Operation::EndAll);
    end(&mut world);
}

#[test]
fn race_32_a_caller_who_leaves_as_the_office_answers_leaves_one_record_and_no_office() {
    for offset in 0..60 {
        let mut world = world();
        world.offices = Box::new(|_, _| office());
        let leaves = [(1000 + offset, Deed::HangUp)];
        world.call(Duration::ZERO, ROUTE, doing(&leaves));
        world.run(seconds(3));
        end(&mut world);
        assert_eq!((ends(&world).len(), legs(&world).len()), (1, 1), "{offset} ms");
    }
}

/// The engine has no click-to-call yet; its parts are what happens when the side dialled second fails or is left.
#[test]
fn race_33_an_office_that_fails_is_told_and_followed_by_the_next_and_one_that_rings_is_cancelled() {
    let mut world = world();
    let mut dialled_before = 0;
    world.offices = Box::new(move |_, _| {
        dialled_before += 1;
        match dialled_before {
            1 => doing(&[(0, RINGS), (500, Deed::Final { status: 503, fork: 0 })]),
            _ => doing(&[(0, RINGS)]),
        }
    });
    let caller = world.hotline(Duration::ZERO, keying("94110"));
    for _ in 0..200 {
        world.arrange(Duration::ZERO, caller, Deed::Key('1'));
        world.run(seconds(1));
        if world.audit.dialled().len() > 1 {
            break;
        }
    }
    world.run(seconds(1));
    let second = dialled(&world, 1);
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    world.run(seconds(1));
    assert_eq!(sent(&world, second, "CANCEL").len(), 1);
    end(&mut world);
    assert_eq!(legs(&world)[0].disposition, LegDisposition::TrunkError);
}

/// A caller who keys these from the second second on.
pub fn keying(keys: &str) -> Habits {
    let deeds = keys.chars().enumerate().map(|(at, key)| {
        let at = 2000 + 400 * u64::try_from(at).unwrap();
        (milliseconds(at), Deed::Key(key))
    });
    Habits {
        deeds: deeds.collect(),
        ..Habits::default()
    }
}

#[test]
fn race_42_without_ports_or_records_new_calls_are_turned_away_and_those_in_progress_go_on() {
    for (fails, again) in [
        (Operation::Ports(false), Operation::Ports(true)),
        (Operation::Records(false), Operation::Records(true)),
    ] {
        let mut world = world();
        let first = world.call(Duration::ZERO, ECHO, Habits::default());
        world.run(seconds(2));
        world.operate(Duration::ZERO, fails);
        // More calls than there are sockets in stock.
        let later: Vec<usize> = (0..12)
            .map(|at| world.call(milliseconds(100 + at * 50), ECHO, doing(&[(8000, Deed::HangUp)])))
            .collect();
        world.run(seconds(3));
        let refused = later.iter().filter(|agent| {
            let refused = sent(&world, **agent, "503 INVITE");
            refused
                .iter()
                .any(|(_, message)| !message.header("Retry-After").is_empty())
        });
        assert!(refused.count() >= 4, "{fails:?}");
        assert!(
            world.agents[first].confirmed && !world.agents[first].over,
            "{fails:?}"
        );
        world.operate(Duration::ZERO, again);
        world.run(seconds(10));
        let last = world.call(Duration::ZERO, ECHO, doing(&[(2000, Deed::HangUp)]));
        world.arrange(seconds(3), first, Deed::HangUp);
        world.run(seconds(1));
        assert!(world.agents[last].confirmed, "{fails:?}: calls are taken again");
        end(&mut world);
    }
}

#[test]
fn race_43_draining_turns_new_calls_away_lets_calls_finish_and_leaves_the_trunks() {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let first = world.call(Duration::ZERO, ROUTE, doing(&[(40_000, Deed::HangUp)]));
    world.run(seconds(3));
    world.operate(Duration::ZERO, Operation::Drain);
    let second = world.call(seconds(1), ROUTE, Habits::default());
    world.run(seconds(5));
    let refused = sent(&world, second, "503 INVITE");
    assert!(!refused.is_empty() && !refused[0].1.header("Retry-After").is_empty());
    assert!(!world.agents[first].over && !world.engine.is_idle());
    world.run(seconds(60));
    assert!(
        world.engine.is_idle(),
        "nothing is left to do before the switch ends"
    );
    end(&mut world);
    assert_eq!(legs(&world)[0].disposition, LegDisposition::AnsweredConversation);
}

#[test]
fn race_44_a_wall_clock_that_jumps_ends_no_call_and_moves_no_timer() {
    let told = |jumps: &[i64]| {
        let mut world = world();
        world.offices = Box::new(|_, _| office());
        let caller = world.call(Duration::ZERO, ROUTE, doing(&[(30_000, Deed::HangUp)]));
        for (at, jump) in jumps.iter().enumerate() {
            world.operate(seconds(2 + 5 * at as u64), Operation::Clock(*jump));
        }
        world.run(seconds(29));
        assert!(!world.agents[caller].over);
        end(&mut world);
        let messages = world.audit.messages(&world.agents[caller].call_id).iter();
        messages
            .map(|(at, _, message)| (*at, message.kind()))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&[]), told(&[86_400, -172_800, 3600]));
}

#[test]
fn race_45_a_second_node_answers_the_same_invite_and_the_first_lets_go_with_one_record_each() {
    let mut first = world();
    let caller = first.call(
        Duration::ZERO,
        ECHO,
        Habits {
            acks: Acks::Never,
            ..doing(&[(100, Deed::Vanish)])
        },
    );
    first.run(milliseconds(300));
    let call_id = first.agents[caller].call_id.clone();
    let invite = of_kind(&first, &call_id, true, "INVITE").remove(0).1;
    let mut second = World::new(2, QUIET);
    second.call(seconds(3600), ECHO, Habits::default());
    second.inject(
        Duration::ZERO,
        trunk(),
        super::world::switch(),
        invite.text.as_bytes(),
    );
    second.run(milliseconds(50));
    assert_eq!(of_kind(&second, &call_id, false, "200 INVITE").len(), 1);
    first.run(seconds(40));
    assert_eq!(
        first.engine.calls(),
        0,
        "the first node's leg ends when no ACK comes"
    );
    end(&mut first);
    assert_eq!(ends(&first).len(), 1);
    let names = |world: &World| -> Vec<Option<String>> {
        let opened = world.changes.iter().filter_map(|change| match change {
            RecordChange::CallOpened(opened) => Some(opened.sip_call_id.clone()),
            _ => None,
        });
        opened.collect()
    };
    assert_eq!(
        names(&first),
        names(&second),
        "the Call-ID tells that both are one call"
    );
}

#[test]
fn race_46_an_office_that_closes_while_it_rings_or_talks_is_not_cut_off() {
    // It is 11:00 in Washington; an hour before midnight there when the clock has jumped.
    for jumps_at in [9_000, 25_000] {
        let mut world = world();
        world.offices = Box::new(|_, _| doing(&[(0, RINGS), (12_000, ANSWERS), (12_050, Deed::Speak)]));
        let caller = world.hotline(Duration::ZERO, keying("94110"));
        for _ in 0..300 {
            if !world.audit.dialled().is_empty() {
                break;
            }
            world.arrange(Duration::ZERO, caller, Deed::Key('1'));
            world.run(seconds(1));
        }
        world.operate(milliseconds(jumps_at), Operation::Clock(12 * 3600));
        world.run(seconds(60));
        let office = dialled(&world, 0);
        assert!(
            world.agents[office].confirmed && !world.agents[office].over,
            "{jumps_at}"
        );
        assert!(sent(&world, office, "CANCEL").is_empty() && sent(&world, office, "BYE").is_empty());
        world.arrange(Duration::ZERO, caller, Deed::HangUp);
        end(&mut world);
    }
}

#[test]
fn race_47_the_end_of_the_longest_talk_during_a_reinvite_ends_both_legs_and_answers_it() {
    let call = |reinvites: &[Duration]| {
        let mut world = world();
        world.offices = Box::new(|_, _| office());
        let caller = world.hotline(Duration::ZERO, keying("94110"));
        while world.audit.dialled().is_empty() && world.elapsed() < seconds(200) {
            world.arrange(Duration::ZERO, caller, Deed::Key('1'));
            world.run(seconds(1));
        }
        let office = dialled(&world, 0);
        for at in reinvites {
            world.arrange(*at - world.elapsed(), office, Deed::Reinvite);
        }
        // Speaks for longer than the silence rule would wait for.
        for minute in 0..60 {
            world.arrange(seconds(60 * minute), caller, Deed::Speak);
            world.arrange(seconds(60 * minute), office, Deed::Speak);
        }
        while sent(&world, office, "BYE").is_empty() && world.elapsed() < seconds(4000) {
            world.run(seconds(10));
        }
        let bye = sent(&world, office, "BYE").first().map(|(at, _)| *at);
        world.arrange(Duration::ZERO, caller, Deed::HangUp);
        end(&mut world);
        bye.expect("the talk has a limit")
    };
    let limit = call(&[]);
    for early in [5, 20, 31] {
        assert_eq!(call(&[limit - milliseconds(early)]), limit);
    }
}

#[test]
fn race_47_a_call_that_lasts_for_longer_than_its_trunk_may_carry_it_ends_also_during_a_reinvite() {
    let limited = || {
        World::with(1, QUIET, |trunks| {
            for trunk in trunks {
                trunk.longest_call = Some(seconds(60));
            }
        })
    };
    for early in [None, Some(5), Some(20), Some(31)] {
        let mut world = limited();
        world.offices = Box::new(|_, _| office());
        let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
        world.run(seconds(5));
        let office = dialled(&world, 0);
        world.arrange(Duration::ZERO, caller, Deed::Speak);
        if let Some(early) = early {
            // Both were answered when the office was, a second after the call began.
            world.arrange(
                seconds(61) - milliseconds(early) - world.elapsed(),
                office,
                Deed::Reinvite,
            );
        }
        world.run(seconds(53));
        assert!(sent(&world, office, "BYE").is_empty() && sent(&world, caller, "BYE").is_empty());
        world.run(seconds(5));
        assert_eq!(sent(&world, office, "BYE").len(), 1, "{early:?}");
        assert_eq!(sent(&world, caller, "BYE").len(), 1, "{early:?}");
        end(&mut world);
    }
    // The same of a call with one leg.
    let mut world = limited();
    let caller = world.call(Duration::ZERO, ECHO, doing(&[(100, Deed::Speak)]));
    world.run(seconds(58));
    assert!(sent(&world, caller, "BYE").is_empty());
    world.run(seconds(5));
    assert_eq!(sent(&world, caller, "BYE").len(), 1);
    end(&mut world);
}

#[test]
fn an_office_that_rings_for_longer_than_its_trunk_may_is_cancelled_and_did_not_answer() {
    let mut world = World::with(1, QUIET, |trunks| {
        for trunk in trunks {
            trunk.longest_ring = Some(seconds(10));
        }
    });
    world.offices = Box::new(|_, _| doing(&[(0, RINGS)]));
    world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(seconds(9));
    let office = dialled(&world, 0);
    assert!(sent(&world, office, "CANCEL").is_empty());
    world.run(seconds(2));
    assert_eq!(sent(&world, office, "CANCEL").len(), 1);
    world.run(seconds(2));
    let legs = legs(&world);
    assert!(
        legs.iter().any(|leg| leg.disposition == LegDisposition::NoAnswer),
        "{legs:?}"
    );
    end(&mut world);
}

#[test]
fn race_48_redirections_are_followed_nowhere() {
    for status in [300, 301, 302, 305, 380] {
        let mut world = world();
        world.offices = Box::new(move |_, _| Habits {
            failure_lines: "Contact: <sips:5550199@example.net>, <tel:+12025550198>, <sip:5550197@127.0.11.9>\r\n",
            ..doing(&[(0, RINGS), (300, Deed::Final { status, fork: 0 })])
        });
        let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
        world.run(seconds(10));
        assert_eq!(world.audit.dialled().len(), 1, "{status}");
        assert!(world.agents[caller].over, "{status}");
        end(&mut world);
        assert_eq!(ends(&world)[0].disposition, SessionDisposition::NoTargetReached);
    }
}

#[test]
fn an_office_that_answers_a_late_reinvite_with_what_we_cannot_use_is_let_go_and_the_caller_told() {
    let mut world = world();
    world.offices = Box::new(|_, _| {
        let mut habits = office();
        habits.deeds.push((milliseconds(3000), Deed::LateReinvite));
        habits.acks_with = Some(Sdp::Foreign);
        habits
    });
    let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(seconds(10));
    let office = dialled(&world, 0);
    assert_eq!(sent(&world, office, "BYE").len(), 1);
    assert!(world.agents[caller].over, "there is nobody to talk to any more");
    end(&mut world);
    assert_eq!(legs(&world)[0].disposition, LegDisposition::MediaFailed);
}

#[test]
fn race_41_fax_is_refused_and_video_left_out_while_the_talk_goes_on() {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let caller = world.call(
        Duration::ZERO,
        ROUTE,
        Habits {
            sdp: Sdp::Video,
            ..Habits::default()
        },
    );
    world.run(seconds(5));
    let answer = sent(&world, caller, "200 INVITE").remove(0).1;
    assert!(
        answer.body().contains("m=video 0 ") && answer.body().contains("m=audio 1"),
        "{}",
        answer.body()
    );
    world.arrange(Duration::ZERO, caller, Deed::Fax);
    world.run(seconds(1));
    assert_eq!(sent(&world, caller, "488 INVITE").len(), 1);
    world.arrange(Duration::ZERO, caller, Deed::Film);
    world.run(seconds(1));
    assert_eq!(world.engine.calls(), 1);
    world.arrange(seconds(25), caller, Deed::HangUp);
    end(&mut world);
    assert_eq!(legs(&world)[0].disposition, LegDisposition::AnsweredConversation);
}

#[test]
fn a_directory_that_is_swapped_in_changes_calls_that_begin_later_and_no_other() {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let caller = world.hotline(Duration::ZERO, keying("94110"));
    let wait = |world: &mut World, caller: usize, count: usize, keys: &str| {
        let limit = world.elapsed() + seconds(200);
        while world.audit.dialled().len() < count && world.elapsed() < limit {
            for key in keys.chars() {
                world.arrange(Duration::ZERO, caller, Deed::Key(key));
                world.run(milliseconds(300));
            }
            world.run(seconds(2));
        }
        let call_id = world.audit.dialled()[count - 1].clone();
        let invite = of_kind(world, &call_id, false, "INVITE").remove(0).1;
        invite.text.split(['@', ' ']).nth(1).unwrap().to_owned()
    };
    let first = wait(&mut world, caller, 1, "1");
    world.operate(Duration::ZERO, Operation::Directory);
    world.run(seconds(30));
    // Two stars end the talk; the next office follows.
    let second = wait(&mut world, caller, 2, "**1");
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    world.run(seconds(5));
    let other = world.hotline(Duration::ZERO, keying("94110"));
    let third = wait(&mut world, other, 3, "1");
    world.arrange(Duration::ZERO, other, Deed::HangUp);
    end(&mut world);
    let renumbered = format!("sip:{}", super::world::RENUMBERED);
    assert!(first != renumbered && second != renumbered, "{first} {second}");
    assert_ne!(first, second);
    assert_eq!(third, renumbered);
}

#[test]
fn race_50_ten_thousand_half_open_calls_are_bounded_and_gone_after_64_t1() {
    let mut world = world();
    let half_open = || Habits {
        acks: Acks::Never,
        // Nothing to be sent to them, which would only take time here.
        sdp: Sdp::Inactive,
        ..doing(&[(0, Deed::Vanish)])
    };
    for number in 0..10_200u64 {
        world.call(milliseconds(number / 4), ECHO, half_open());
    }
    world.run(seconds(4));
    // As many as the configuration allows; the rest is turned away.
    assert_eq!(world.engine.calls(), 10_000);
    world.run(seconds(34));
    assert_eq!(world.engine.calls(), 0);
    end(&mut world);
    assert_eq!(ends(&world).len(), 10_200);
}
