//! The races of `sip.md` §6.6 in which keys and sound have a part, packet by packet through the whole switch.

use std::net::SocketAddr;
use std::time::Duration;

use trunkline::call::record::{EventKind, RecordChange};

use super::habits::{Acks, Deed, Habits};
use super::races::{ANSWERS, doing, end, ends, keying, milliseconds, office, world};
use super::world::{World, address};
use crate::support::seconds;

const ROUTE: &str = "0000123";

/// A peer's stream of RTP.
struct Rtp {
    from: SocketAddr,
    to: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Rtp {
    /// As the agent's description says.
    fn of(world: &World, agent: usize) -> Self {
        let agent = &world.agents[agent];
        Self {
            from: agent.media,
            to: agent.remote_media.unwrap(),
            ssrc: 77,
            sequence: 65_530,
            timestamp: 0xffff_f000,
        }
    }

    fn packet(&mut self, payload_type: u8, marker: bool, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn send(&self, world: &mut World, after: Duration, bytes: &[u8]) {
        world.inject(after, self.from, self.to, bytes);
    }

    /// Sound for so many frames; tells the time after it.
    fn speak(&mut self, world: &mut World, mut after: Duration, frames: u32) -> Duration {
        for _ in 0..frames {
            self.timestamp = self.timestamp.wrapping_add(160);
            let bytes = self.packet(0, false, &[0x55; 160]);
            self.send(world, after, &bytes);
            after += milliseconds(20);
        }
        after
    }

    /// One press of 100 ms in seven packets, the last three of which are ends.
    fn press(&mut self, key: char) -> Vec<Vec<u8>> {
        let event = u8::try_from("0123456789*#".find(key).unwrap()).unwrap();
        self.timestamp = self.timestamp.wrapping_add(1600);
        let steps = [160u16, 320, 480, 640, 800, 800, 800];
        let packets = steps.iter().enumerate().map(|(at, duration)| {
            let [high, low] = duration.to_be_bytes();
            let end = if at >= 4 { 0x8a } else { 0x0a };
            self.packet(101, at == 0, &[event, end, high, low])
        });
        packets.collect()
    }
}

/// The ZIP code that the flow understood, if it did.
fn zip(world: &World) -> Option<String> {
    let events = world.changes.iter().filter_map(|change| match change {
        RecordChange::Events { events, .. } => Some(events),
        _ => None,
    });
    events.flatten().find_map(|event| match &event.kind {
        EventKind::Located { zip, .. } => zip.full.map(|zip| zip.to_string()),
        _ => None,
    })
}

/// A call to the hotline that has been answered.
fn hotline(habits: Habits) -> (World, usize) {
    let mut world = world();
    world.offices = Box::new(|_, _| office());
    let caller = world.hotline(Duration::ZERO, habits);
    world.run(seconds(1));
    (world, caller)
}

/// A caller joined with an office, the two agents in this order.
fn joined() -> (World, usize, usize) {
    let mut world = world();
    world.sound = Some(Vec::new());
    world.offices = Box::new(|_, _| office());
    let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(seconds(3));
    let call_id = world.audit.dialled()[0].clone();
    let office = world
        .agents
        .iter()
        .position(|agent| agent.call_id == call_id)
        .unwrap();
    (world, caller, office)
}

/// Sequence numbers and timestamps that went to an address, and the first byte of each payload.
fn heard(world: &World, to: SocketAddr) -> Vec<(u16, u32, u8)> {
    let sound = world.sound.iter().flatten().filter(|(_, destination, bytes)| {
        *destination == to && bytes.len() > 12 && matches!(bytes[1] & 0x7f, 0 | 8)
    });
    let read = |bytes: &[u8]| {
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        let timestamp = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        (sequence, timestamp, bytes[12])
    };
    sound.map(|(_, _, bytes)| read(bytes)).collect()
}

/// One source, without a gap in its numbers, whose time never runs back.
fn assert_continuous(heard: &[(u16, u32, u8)]) {
    assert!(heard.len() > 20, "{}", heard.len());
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0, pair[0].0.wrapping_add(1), "{pair:?}");
        let passed = pair[1].1.wrapping_sub(pair[0].1);
        assert!((1..0x8000_0000).contains(&passed), "{pair:?}");
    }
}

#[test]
fn race_19_early_media_takes_the_place_of_what_is_played_and_time_goes_on() {
    let mut world = world();
    world.sound = Some(Vec::new());
    world.offices = Box::new(|_, _| {
        let early = Deed::Provisional {
            status: 183,
            fork: 0,
            sound: true,
            reliable: false,
        };
        doing(&[(200, early), (30_000, ANSWERS)])
    });
    let caller = world.hotline(Duration::ZERO, keying("94110"));
    while world.audit.dialled().is_empty() && world.elapsed() < seconds(200) {
        world.arrange(Duration::ZERO, caller, Deed::Key('1'));
        world.run(seconds(1));
    }
    world.run(seconds(3));
    let office = world.agents.len() - 1;
    let before = heard(&world, world.agents[caller].media).len();
    let mut rtp = Rtp::of(&world, office);
    rtp.speak(&mut world, Duration::ZERO, 150);
    world.run(seconds(4));
    let heard = heard(&world, world.agents[caller].media);
    assert_continuous(&heard);
    // From some packet on, only the office is heard.
    let first = heard.iter().rposition(|(_, _, byte)| *byte != 0x55).unwrap();
    assert!(heard.len() - first > 140, "{} of {}", first, heard.len());
    assert!(first < before + 10, "what was played before stops at once");
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    end(&mut world);
}

/// Which packets of a press arrive, and in which order.
const PRESSES: &[(&str, &[usize])] = &[
    ("all", &[0, 1, 2, 3, 4, 5, 6]),
    ("ends lost", &[0, 1, 2, 3]),
    ("start lost", &[2, 3, 4, 5, 6]),
    ("marker lost", &[1, 2, 3, 4, 5, 6]),
    ("only the last end", &[6]),
    ("turned round", &[4, 1, 0, 2, 6, 3, 5]),
    ("doubled", &[0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 6]),
];

#[test]
fn race_34_keys_are_exact_whatever_becomes_of_their_packets() {
    for (what, order) in PRESSES {
        for gap in [60, 300] {
            let (mut world, caller) = hotline(Habits::default());
            let mut rtp = Rtp::of(&world, caller);
            let mut after = Duration::ZERO;
            for key in "94110".chars() {
                let packets = rtp.press(key);
                for at in *order {
                    rtp.send(&mut world, after, &packets[*at]);
                    after += milliseconds(15);
                }
                after += milliseconds(gap);
            }
            world.run(after + seconds(10));
            world.arrange(Duration::ZERO, caller, Deed::HangUp);
            end(&mut world);
            assert_eq!(zip(&world).as_deref(), Some("94110"), "{what}, {gap} ms apart");
        }
    }
}

#[test]
fn race_35_a_press_that_comes_by_rtp_and_by_info_is_one_key() {
    for info_after in [0, 90, 200] {
        let (mut world, caller) = hotline(Habits::default());
        for (at, key) in "94110".chars().enumerate() {
            let at = milliseconds(600 * u64::try_from(at).unwrap());
            world.arrange(at, caller, Deed::Key(key));
            world.arrange(at + milliseconds(info_after), caller, Deed::InfoKey(key));
        }
        world.run(seconds(15));
        world.arrange(Duration::ZERO, caller, Deed::HangUp);
        end(&mut world);
        assert_eq!(zip(&world).as_deref(), Some("94110"), "{info_after} ms");
    }
}

#[test]
fn race_36_keys_pressed_while_the_callers_address_changes_are_not_lost() {
    for offers_at in (0..1500).step_by(50) {
        let (mut world, caller) = hotline(Habits::default());
        for (at, key) in "94110".chars().enumerate() {
            let at = milliseconds(300 * u64::try_from(at).unwrap());
            world.arrange(at, caller, Deed::Key(key));
        }
        world.arrange(milliseconds(offers_at), caller, Deed::Move);
        world.run(seconds(15));
        world.arrange(Duration::ZERO, caller, Deed::HangUp);
        end(&mut world);
        assert_eq!(zip(&world).as_deref(), Some("94110"), "{offers_at} ms");
    }
}

#[test]
fn race_37_sound_before_the_answer_or_ack_and_after_the_bye_harms_nobody() {
    // Before the ACK: keys count.
    let (mut world, caller) = hotline(Habits {
        acks: Acks::After(seconds(8)),
        ..Habits::default()
    });
    for (at, key) in "94110".chars().enumerate() {
        world.arrange(
            milliseconds(400 * u64::try_from(at).unwrap()),
            caller,
            Deed::Key(key),
        );
    }
    world.run(seconds(20));
    let mut rtp = Rtp::of(&world, caller);
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    // After the BYE: nobody is there any more.
    rtp.speak(&mut world, seconds(1), 50);
    end(&mut world);
    assert_eq!(zip(&world).as_deref(), Some("94110"));
    // Before the 200 of an office that announced nothing: it is the office's sound once it answered.
    let mut world = super::races::world();
    world.sound = Some(Vec::new());
    world.offices = Box::new(|_, _| doing(&[(500, ANSWERS)]));
    let caller = world.call(Duration::ZERO, ROUTE, Habits::default());
    world.run(milliseconds(200));
    let office = world.agents.len() - 1;
    let mut rtp = Rtp::of(&world, office);
    rtp.speak(&mut world, Duration::ZERO, 150);
    world.run(seconds(4));
    let heard = heard(&world, world.agents[caller].media);
    let relayed = heard.iter().filter(|(_, _, byte)| *byte == 0x55).count();
    assert!((100..140).contains(&relayed), "{relayed}");
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    end(&mut world);
}

#[test]
fn race_38_a_hold_or_reports_keep_a_silent_call_alive_and_nothing_else_does() {
    // The limit in this configuration is 30 s.
    let lasts = |arrange: &dyn Fn(&mut World, usize)| {
        let mut world = world();
        let caller = world.call(Duration::ZERO, "70000001", Habits::default());
        world.agents[caller].habits.deeds.clear();
        world.run(seconds(2));
        world.agents[caller].is_mute = true;
        arrange(&mut world, caller);
        world.run(seconds(120));
        let is_up = world.engine.calls() == 1;
        world.arrange(Duration::ZERO, caller, Deed::HangUp);
        end(&mut world);
        is_up
    };
    assert!(!lasts(&|_, _| ()), "silence ends the call");
    assert!(
        lasts(&|world, caller| world.arrange(seconds(5), caller, Deed::Mute)),
        "hold"
    );
    let reports = |world: &mut World, caller: usize| {
        let rtp = Rtp::of(world, caller);
        for at in 0..25 {
            // A receiver report without blocks.
            let report = [0x80, 201, 0, 1, 0, 0, 0, u8::try_from(caller).unwrap()];
            world.inject(seconds(at * 5), rtp.from, rtp.to, &report);
        }
    };
    assert!(lasts(&reports), "reports are a sign of life");
}

#[test]
fn race_39_a_caller_whose_port_moves_is_followed_and_an_intruder_is_not() {
    let (mut world, caller) = hotline(Habits::default());
    world.agents[caller].is_mute = true;
    let mut rtp = Rtp::of(&world, caller);
    rtp.speak(&mut world, Duration::ZERO, 50);
    world.run(seconds(1));
    // Another source with keys of its own, again and again.
    let mut intruder = Rtp {
        from: address("127.0.66.6:6666"),
        ssrc: 66,
        ..Rtp::of(&world, caller)
    };
    for at in 0..20 {
        for packet in intruder.press('9') {
            intruder.send(&mut world, milliseconds(at * 200), &packet);
        }
    }
    rtp.speak(&mut world, Duration::ZERO, 200);
    world.run(seconds(4));
    // The caller falls silent, then goes on from another port.
    rtp.from.set_port(rtp.from.port() + 5000);
    rtp.sequence = rtp.sequence.wrapping_add(120);
    let mut after = rtp.speak(&mut world, seconds(3), 20);
    for key in "94110".chars() {
        for packet in rtp.press(key) {
            rtp.send(&mut world, after, &packet);
            after += milliseconds(15);
        }
        after += milliseconds(200);
    }
    world.run(after + seconds(10));
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    end(&mut world);
    assert_eq!(zip(&world).as_deref(), Some("94110"));
}

#[test]
fn race_40_jumps_in_the_numbers_and_odd_packets_leave_no_gap_longer_than_a_frame() {
    let (mut world, caller, office) = joined();
    let mut rtp = Rtp::of(&world, office);
    // The sequence number wraps within these.
    let mut after = rtp.speak(&mut world, Duration::ZERO, 50);
    rtp.ssrc = 78;
    after = rtp.speak(&mut world, after, 50);
    rtp.timestamp = rtp.timestamp.wrapping_add(1 << 31);
    after = rtp.speak(&mut world, after, 50);
    rtp.timestamp = rtp.timestamp.wrapping_sub(1 << 31);
    after = rtp.speak(&mut world, after, 50);
    let odd: [Vec<u8>; 6] = [
        Vec::new(),
        vec![0x80],
        rtp.packet(0, false, &[]),
        rtp.packet(0, false, &[0x55; 1488]),
        vec![0x80, 201, 0, 1, 0, 0, 0, 78],
        vec![
            0xbf, 0x80, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        ],
    ];
    for bytes in odd {
        rtp.send(&mut world, after, &bytes);
    }
    after = rtp.speak(&mut world, after, 50);
    world.run(after + seconds(1));
    let heard = heard(&world, world.agents[caller].media);
    let relayed: Vec<_> = heard.into_iter().filter(|(_, _, byte)| *byte == 0x55).collect();
    assert!(relayed.len() >= 240, "{} of 250 frames", relayed.len());
    // The first is the office's of before.
    for (at, pair) in relayed[1..].windows(2).enumerate() {
        assert!(pair[1].0.wrapping_sub(pair[0].0) <= 5, "{pair:?}");
        let passed = pair[1].1.wrapping_sub(pair[0].1);
        // As much as the packet of 1500 bytes holds is no gap.
        assert!(passed <= 1488 + 5 * 160, "{pair:?} at {at}: {passed}");
    }
    world.arrange(Duration::ZERO, caller, Deed::HangUp);
    end(&mut world);
    assert_eq!(ends(&world).len(), 1);
}
