use proptest::prelude::*;

use super::*;
use crate::codec::Law;
use crate::digit::{Digit, EventPayload};
use crate::outgoing::Start;
use crate::payload_types::PayloadTypes;
use crate::rtp::{Header, Packet};
use crate::sdp::{Direction, Negotiated};
use crate::source::SourceRule;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);
const TICK: Duration = Duration::from_millis(2);

#[test]
fn a_prompt_is_sent_every_20_ms_bit_exact_though_nothing_is_heard() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    let samples: Vec<i16> = (0..160 * 5 + 80).map(|index| index * 30).collect();
    rig.play(A, 1, Clip::from_samples(&samples), false);
    rig.run(Duration::from_millis(200));
    let sent = rig.sent_by(A);
    assert_eq!(sent.len(), 6);
    let heard: Vec<u8> = sent.iter().flat_map(|packet| packet.payload.clone()).collect();
    let expected: Vec<u8> = samples.iter().map(|sample| Law::Mu.encode(*sample)).collect();
    assert_eq!(heard[..expected.len()], expected);
    assert!(
        heard[expected.len()..]
            .iter()
            .all(|byte| *byte == Law::Mu.silence())
    );
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == FRAME));
    assert_eq!(
        rig.events(),
        [Event::Played {
            stream: A,
            play: PlayId(1)
        }]
    );
}

#[test]
fn streams_spread_over_the_20_ms() {
    let mut rig = Rig::new();
    for stream in 0..100 {
        rig.open(StreamId(stream), Law::Mu);
        rig.play(StreamId(stream), 1, Clip::from_samples(&[0; 16_000]), true);
    }
    rig.run(Duration::from_millis(100));
    let mut at = rig.now - FRAME;
    for _ in 0..9 {
        at += TICK;
        assert_eq!(rig.sent.iter().filter(|packet| packet.at == at).count(), 10);
    }
}

#[test]
fn bridged_packets_change_law_only_where_the_sides_differ() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::A);
    rig.bridge("");
    rig.speak(A, Law::Mu, 1, 5000);
    rig.speak(B, Law::Mu, 1, 6000);
    let to_b = &rig.sent_by(B)[0];
    assert_eq!((to_b.header.payload_type, to_b.header.ssrc), (8, 2));
    assert!(
        to_b.payload
            .iter()
            .all(|byte| *byte == crate::codec::a_from_mu(Law::Mu.encode(5000)))
    );
    let to_a = &rig.sent_by(A)[0];
    assert_eq!((to_a.header.payload_type, to_a.header.ssrc), (0, 1));
    assert!(to_a.payload.iter().all(|byte| *byte == Law::Mu.encode(6000)));
}

#[test]
fn prompt_bridge_prompt_is_one_source_without_a_gap() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.play(A, 1, Clip::from_samples(&[100; 16_000]), true);
    rig.run(Duration::from_millis(200));
    rig.bridge("");
    for sequence in 0..10 {
        rig.run(FRAME);
        rig.speak(B, Law::Mu, 500 + sequence, 200);
    }
    rig.command(Command::Unbridge { stream: A });
    rig.play(A, 2, Clip::from_samples(&[300; 16_000]), true);
    rig.run(Duration::from_millis(200));
    let sent = rig.sent_by(A);
    assert!(sent.len() >= 29);
    let mut markers = Vec::new();
    for (index, pair) in sent.windows(2).enumerate() {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!(
            (160..=320).contains(&step),
            "step of {step} ticks after packet {index}"
        );
        assert!(pair[1].at - pair[0].at <= 2 * FRAME);
        markers.extend(pair[1].header.marker.then_some(index + 1));
    }
    assert_eq!(markers, [10, 20]);
}

#[test]
fn pressed_digits_are_told_and_relayed_with_their_timing_under_our_numbers() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| config.agreed.receive = events_under(96));
    rig.open(B, Law::Mu);
    rig.bridge("*");
    rig.speak(A, Law::Mu, 1, 0);
    rig.press(A, 96, 2, 1000, '7');
    let relayed: Vec<_> = rig
        .sent_by(B)
        .into_iter()
        .filter(|packet| packet.header.payload_type == 101)
        .collect();
    assert_eq!(relayed.len(), 7);
    for (index, packet) in relayed.iter().enumerate() {
        assert_eq!(packet.header.timestamp, relayed[0].header.timestamp);
        assert_eq!(
            packet.header.sequence,
            relayed[0].header.sequence.wrapping_add(index as u16)
        );
        assert_eq!(packet.payload[0], 7);
    }
    assert_eq!(rig.digits(A), "7");
}

#[test]
fn withheld_digits_are_told_and_not_relayed_and_leave_no_hole() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("*");
    rig.speak(A, Law::Mu, 1, 0);
    rig.press(A, 101, 2, 1000, '*');
    rig.press(A, 101, 9, 3000, '1');
    rig.speak(A, Law::Mu, 16, 0);
    assert_eq!(rig.digits(A), "*1");
    let sent = rig.sent_by(B);
    assert!(sent.iter().all(|packet| packet.payload[0] != 10));
    assert_eq!(
        sent.iter()
            .filter(|packet| packet.header.payload_type == 101)
            .count(),
        7
    );
    assert!(
        sent.windows(2)
            .all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1))
    );
    // What the office presses is not held back.
    rig.press(B, 101, 1, 500, '*');
    assert_eq!(rig.sent_by(A).len(), 7);
}

#[test]
fn sent_digits_interrupt_relayed_audio_and_audio_resumes() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("");
    rig.command(Command::SendDigits {
        stream: B,
        digits: Digits::new(vec![Digit::try_from('5').unwrap()]),
    });
    for sequence in 0..20 {
        rig.run(FRAME);
        rig.speak(A, Law::Mu, sequence, 0);
    }
    let sent = rig.sent_by(B);
    let events: Vec<_> = sent
        .iter()
        .filter(|packet| packet.header.payload_type == 101)
        .collect();
    assert_eq!(events.len(), 3 + 3 + 3);
    assert!(
        events
            .iter()
            .all(|packet| packet.header.timestamp == events[0].header.timestamp)
    );
    assert!(events[0].header.marker && !events[1].header.marker);
    assert!(
        sent.windows(2)
            .all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1))
    );
    let audio = sent
        .iter()
        .rev()
        .take(10)
        .all(|packet| packet.header.payload_type == 0);
    assert!(audio, "audio goes on after the press");
    let down = events.last().unwrap().at - events[0].at;
    assert!(sent.iter().all(|packet| packet.header.payload_type == 101
        || packet.at < events[0].at
        || packet.at >= events[0].at + down));
}

#[test]
fn a_beep_plays_over_the_bridge_and_the_talk_resumes() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("");
    rig.speak(B, Law::Mu, 0, 700);
    rig.play(A, 9, Clip::from_samples(&[-900; 320]), false);
    for sequence in 1..10 {
        rig.run(FRAME);
        rig.speak(B, Law::Mu, sequence, 700);
    }
    let heard: Vec<bool> = rig
        .sent_by(A)
        .iter()
        .map(|packet| packet.payload[0] == Law::Mu.encode(-900))
        .collect();
    assert_eq!(heard.iter().filter(|beep| **beep).count(), 2);
    assert!(!heard[0] && !heard[heard.len() - 1]);
    assert!(rig.events().contains(&Event::Played {
        stream: A,
        play: PlayId(9)
    }));
}

#[test]
fn echo_sends_back_what_came() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.command(Command::Echo { stream: A });
    rig.speak(A, Law::Mu, 1, 444);
    assert!(
        rig.sent_by(A)[0]
            .payload
            .iter()
            .all(|byte| *byte == Law::Mu.encode(444))
    );
}

#[test]
fn lateness_sends_two_frames_at_once_and_skips_the_rest() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.play(A, 1, Clip::from_samples(&[0; 80_000]), false);
    rig.run(Duration::from_millis(100));
    let before = rig.sent_by(A);
    rig.now += Duration::from_millis(200);
    rig.run(Duration::from_millis(100));
    let sent = rig.sent_by(A);
    let late = &sent[before.len()];
    assert!(late.header.marker);
    assert_eq!(
        late.header.sequence,
        before.last().unwrap().header.sequence.wrapping_add(1)
    );
    assert_eq!(sent.iter().filter(|packet| packet.at == late.at).count(), 2);
    // After the gap the timestamps are those of the clock again.
    let (first, last) = (&sent[0], sent.last().unwrap());
    let ticks = last.header.timestamp.wrapping_sub(first.header.timestamp);
    assert_eq!(u128::from(ticks), (last.at - first.at).as_millis() * 8);
    assert!(rig.close(A).skipped >= 8);
}

#[test]
fn a_stream_without_an_address_sends_nothing_and_its_prompt_waits_for_the_first_packet() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| config.source.send_first = false);
    rig.play(A, 1, Clip::from_samples(&[800; 1600]), false);
    rig.run(Duration::from_millis(500));
    assert!(rig.sent.is_empty());
    rig.speak(A, Law::Mu, 1, 0);
    rig.run(Duration::from_millis(300));
    assert_eq!(rig.sent_by(A).len(), 10);
    assert_eq!(
        rig.events(),
        [
            Event::Started { stream: A },
            Event::Played {
                stream: A,
                play: PlayId(1)
            }
        ]
    );
}

#[test]
fn a_prompt_for_a_peer_that_never_comes_ends_all_the_same() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| config.source.send_first = false);
    rig.play(A, 1, Clip::from_samples(&[800; 1600]), false);
    rig.run(Duration::from_millis(2500));
    assert!(rig.sent.is_empty());
    assert_eq!(
        rig.events(),
        [Event::Played {
            stream: A,
            play: PlayId(1)
        }]
    );
}

#[test]
fn nothing_goes_to_a_peer_on_hold() {
    let mut rig = Rig::new();
    let mut config = rig.open(A, Law::Mu);
    config.agreed.direction = Direction::ReceiveOnly;
    config.agreed.remote = None;
    rig.command(Command::Update { stream: A, config });
    rig.play(A, 1, Clip::from_samples(&[800; 1600]), true);
    rig.run(Duration::from_millis(200));
    assert!(rig.sent.is_empty());
}

#[test]
fn a_hold_leaves_no_hole_in_our_numbers_while_our_time_goes_on() {
    let mut rig = Rig::new();
    let config = rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    let mut hold = config.clone();
    hold.agreed.direction = Direction::ReceiveOnly;
    let (hold, resume) = (
        Command::Update {
            stream: A,
            config: hold,
        },
        Command::Update { stream: A, config },
    );
    rig.speak_for(A, 1..2);
    // Once with a prompt, once with what the other side of a bridge says.
    rig.play(A, 1, Clip::from_samples(&[800; 1600]), true);
    for first in [100, 300] {
        for (at, command) in [None, Some(&hold), Some(&resume)].into_iter().enumerate() {
            command
                .into_iter()
                .for_each(|command| rig.command(command.clone()));
            let first = first + 25 * at as u16;
            rig.speak_for(B, first..first + 25);
        }
        rig.bridge("");
    }
    let sent = rig.sent_by(A);
    assert!((95..=101).contains(&sent.len()), "{}", sent.len());
    let mut pauses = 0;
    for pair in sent.windows(2) {
        let (one, next) = (&pair[0].header, &pair[1].header);
        assert_eq!(next.sequence, one.sequence.wrapping_add(1));
        let passed = next.timestamp.wrapping_sub(one.timestamp);
        assert!(
            passed == 160 || (3800..4400).contains(&passed) || passed < 400,
            "{passed}"
        );
        pauses += usize::from(passed > 3000);
    }
    assert_eq!(pauses, 2);
}

#[test]
fn reports_of_a_silent_peer_are_a_sign_of_life_and_those_of_others_are_not() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| {
        config.silence_after = Some(Duration::from_secs(1))
    });
    rig.speak(A, Law::Mu, 1, 0);
    rig.events();
    for (ssrc, told) in [(77u32, false), (78, true)] {
        for _ in 0..4 {
            rig.run(Duration::from_millis(700));
            let [a, b, c, d] = ssrc.to_be_bytes();
            let now = rig.now;
            rig.plane
                .receive(now, A, peer(A), &mut [0x80, 201, 0, 1, a, b, c, d]);
        }
        assert_eq!(
            rig.events().contains(&Event::Silent { stream: A }),
            told,
            "{ssrc}"
        );
    }
}

#[test]
fn silence_is_told_once_until_something_is_heard_again() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| {
        config.silence_after = Some(Duration::from_secs(1))
    });
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.events(), [Event::Silent { stream: A }]);
    rig.speak(A, Law::Mu, 1, 0);
    rig.run(Duration::from_millis(900));
    assert_eq!(rig.events(), [Event::Started { stream: A }]);
    rig.run(Duration::from_millis(200));
    assert_eq!(rig.events(), [Event::Silent { stream: A }]);
}

#[test]
fn idle_streams_send_silence_where_wanted() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::A, |config| config.fill_silence = true);
    rig.run(Duration::from_millis(100));
    let sent = rig.sent_by(A);
    assert_eq!(sent.len(), 5);
    assert!(
        sent.iter()
            .all(|packet| packet.payload.iter().all(|byte| *byte == Law::A.silence()))
    );
}

#[test]
fn packets_hold_as_much_audio_as_the_peer_asked_for() {
    for (ptime, packets) in [(10, 60), (20, 30), (40, 15), (60, 10)] {
        let mut rig = Rig::new();
        rig.open_with(A, Law::Mu, |config| config.agreed.ptime = ptime);
        rig.play(A, 1, Clip::from_samples(&[0; 16_000]), true);
        rig.run(Duration::from_millis(600));
        let sent = rig.sent_by(A);
        assert_eq!(sent.len(), packets, "{ptime} ms");
        assert!(
            sent.iter()
                .all(|packet| packet.payload.len() == usize::from(ptime) * 8)
        );
        let ticks = u32::from(ptime) * 8;
        assert!(
            sent.windows(2)
                .all(|pair| pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) == ticks)
        );
    }
}

#[test]
fn strangers_are_neither_heard_nor_answered() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("");
    rig.speak(A, Law::Mu, 1, 0);
    let heard = rig.sent.len();
    for port in [5555, 5556, 5557] {
        let stranger = SocketAddr::new([203, 0, 113, 66].into(), port);
        for sequence in 0..20 {
            rig.run(FRAME);
            rig.packet(A, stranger, 0, sequence, 0, &[0; 160]);
            rig.packet(
                A,
                stranger,
                101,
                sequence,
                0,
                &EventPayload {
                    event: 1,
                    end: true,
                    duration: 800,
                }
                .bytes(),
            );
            rig.packet(A, stranger, 34, sequence, 0, &[0; 160]);
        }
    }
    assert_eq!(rig.sent.len(), heard);
    assert_eq!(rig.digits(A), "");
    assert_eq!(rig.close(A).refused, 180);
}

#[test]
fn statistics_are_told_when_a_stream_closes() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("");
    for sequence in (0..20).filter(|sequence| sequence % 5 != 2) {
        rig.run(FRAME);
        rig.speak(A, Law::Mu, sequence, 0);
    }
    let statistics = rig.close(A);
    assert_eq!(
        (statistics.received, statistics.lost, statistics.sent),
        (16, 4, 0)
    );
    let other = rig.close(B);
    assert_eq!((other.received, other.sent), (0, 16));
    assert_eq!(rig.plane.streams(), 0);
    assert_eq!(rig.plane.next_wakeup(), None);
    // The partner is gone: late packets fall on the floor.
    rig.speak(A, Law::Mu, 99, 0);
}

#[test]
fn reports_are_exchanged_on_a_shared_port() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| config.agreed.rtcp_mux = true);
    rig.play(A, 1, Clip::from_samples(&[0; 16_000]), true);
    rig.speak(A, Law::Mu, 1, 0);
    rig.run(Duration::from_secs(6));
    assert_eq!(rig.reports, 1);
}

#[test]
fn a_stream_needs_less_than_a_kibibyte() {
    assert!(
        size_of::<Option<Seat>>() < 1024,
        "{} bytes",
        size_of::<Option<Seat>>()
    );
}

proptest! {
    /// Any bytes from anyone on bridged streams: no panic, nothing sent elsewhere than to the two peers.
    #[test]
    fn any_bytes_go_to_the_other_peer_or_nowhere(
        packets in prop::collection::vec((any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..64)), 0..60)
    ) {
        let mut rig = Rig::new();
        rig.open(A, Law::Mu);
        rig.open(B, Law::A);
        rig.bridge("");
        for (known, valid, mut bytes) in packets {
            if let (true, [first, second, ..]) = (valid, bytes.as_mut_slice()) {
                (*first, *second) = (0x80 | *first & 0x3f, if *second & 1 == 0 { 0 } else { 101 });
            }
            let from = if known { peer(A) } else { SocketAddr::new([203, 0, 113, 66].into(), 7) };
            if let Some(forward) = rig.plane.receive(rig.now, A, from, &mut bytes) {
                prop_assert!(known);
                prop_assert_eq!((forward.stream, forward.destination), (B, peer(B)));
                prop_assert!(Packet::parse(&bytes[forward.range]).is_some());
            }
            rig.run(TICK);
        }
    }
}

const SAMPLE: Attention = Attention::Sample {
    events: [Some(101), None, None, None],
};

#[test]
fn a_lone_stream_is_read_by_samples_once_its_peer_is_known_and_whole_again_when_bridged() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.run(Duration::from_secs(2));
    assert_eq!(rig.wishes(), [], "nobody was heard yet");
    rig.speak_for(A, 0..45);
    assert_eq!(rig.wishes(), [], "most calls are over soon");
    rig.speak_for(A, 45..60);
    assert_eq!(rig.wishes(), [(A, SAMPLE)]);
    rig.bridge("");
    assert_eq!(rig.wishes(), [(A, Attention::All)]);
    rig.speak_for(A, 60..300);
    assert_eq!(rig.wishes(), []);
    rig.command(Command::Unbridge { stream: A });
    rig.run(FRAME);
    assert_eq!(rig.wishes(), [(A, SAMPLE)]);
    rig.command(Command::Echo { stream: A });
    assert_eq!(rig.wishes(), [(A, Attention::All)]);
}

/// Sends a key's tone of 100 ms and 80 ms of silence, from a sequence number on.
fn key_tone(rig: &mut Rig, first: u16, key: char) {
    for frame in 0..9u16 {
        let samples = match frame {
            0..5 => crate::tone::key(Digit::try_from(key).unwrap(), frame),
            _ => [0; 160],
        };
        let payload = samples.map(|sample| Law::Mu.encode(sample));
        let sequence = first + frame;
        rig.packet(A, peer(A), 0, sequence, u32::from(sequence) * 160, &payload);
        rig.run(FRAME);
    }
}

fn listen_for_keys(rig: &mut Rig) {
    let listening = Listening {
        digits: true,
        ..Listening::default()
    };
    rig.command(Command::Listen { stream: A, listening });
}

fn heard_keys(rig: &mut Rig) -> String {
    let key = |event| match event {
        Event::Heard { stream: A, heard } => match heard.sound {
            crate::hearing::Sound::Digit(digit) => Some(char::from(digit)),
            _ => None,
        },
        _ => None,
    };
    rig.events().into_iter().filter_map(key).collect()
}

#[test]
fn keys_as_tones_are_heard_where_asked_for_and_everything_is_read_meanwhile() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    key_tone(&mut rig, 0, '1');
    rig.speak_for(A, 9..70);
    assert_eq!(
        (heard_keys(&mut rig).as_str(), rig.wishes()),
        ("", vec![(A, SAMPLE)])
    );
    listen_for_keys(&mut rig);
    assert_eq!(rig.wishes(), [(A, Attention::All)]);
    for (index, key) in "0123456789*#ABCD".chars().enumerate() {
        key_tone(&mut rig, 70 + index as u16 * 9, key);
    }
    assert_eq!(heard_keys(&mut rig), "0123456789*#ABCD");
    assert_eq!(rig.wishes(), []);
    rig.command(Command::Listen {
        stream: A,
        listening: Listening::default(),
    });
    key_tone(&mut rig, 220, '1');
    assert_eq!(
        (heard_keys(&mut rig).as_str(), rig.wishes()),
        ("", vec![(A, SAMPLE)])
    );
}

#[test]
fn a_key_that_comes_as_event_and_as_tone_is_told_once() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::Mu, |config| config.agreed.receive = events_under(96));
    listen_for_keys(&mut rig);
    rig.press(A, 96, 1, 160, '5');
    key_tone(&mut rig, 9, '5');
    let told = rig.events();
    let keys = told.iter().filter(|event| match event {
        Event::DigitPressed { digit, .. } => *digit == '5',
        Event::Heard { .. } => true,
        _ => false,
    });
    assert_eq!(keys.count(), 1, "{told:?}");
}

#[test]
fn the_tone_of_a_key_that_was_heard_is_kept_from_the_other_side_without_a_hole_in_the_numbers() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.open(B, Law::Mu);
    rig.bridge("");
    listen_for_keys(&mut rig);
    rig.speak_for(A, 0..10);
    key_tone(&mut rig, 10, '5');
    rig.speak_for(A, 19..30);
    let sent = rig.sent_by(B);
    let loud = |packet: &&Sent| packet.payload.iter().any(|byte| *byte != Law::Mu.silence());
    assert!(
        sent.iter().filter(loud).count() <= 3,
        "what passes before it is known is less than a press"
    );
    let follows = |pair: &[Sent]| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1);
    assert!(sent.len() < 30 && sent.windows(2).all(follows));
}

#[test]
fn keys_are_sent_as_tones_that_ears_understand() {
    let mut rig = Rig::new();
    rig.open_with(A, Law::A, |config| config.agreed.event_payload_type = None);
    let mut digits = Digits::new(
        "0123456789*#ABCD"
            .chars()
            .map(|key| Digit::try_from(key).unwrap())
            .collect(),
    );
    digits.inband = true;
    rig.command(Command::SendDigits { stream: A, digits });
    rig.run(Duration::from_secs(4));
    let mut ears = crate::hearing::Ears::new(&Listening {
        digits: true,
        ..Listening::default()
    });
    for packet in rig.sent_by(A) {
        let samples: Vec<i16> = packet.payload.iter().map(|byte| Law::A.decode(*byte)).collect();
        ears.hear(packet.header.timestamp, samples.into_iter());
    }
    let heard: Vec<_> = ears.take().into_iter().map(|heard| heard.sound).collect();
    let sent: Vec<_> = "0123456789*#ABCD"
        .chars()
        .map(|key| crate::hearing::Sound::Digit(Digit::try_from(key).unwrap()))
        .collect();
    assert_eq!(heard, sent);
}

#[test]
fn a_peer_of_whom_no_samples_come_is_read_whole_so_that_it_is_found_where_it_moved() {
    let mut rig = Rig::new();
    rig.open(A, Law::Mu);
    rig.speak_for(A, 0..60);
    assert_eq!(rig.wishes(), [(A, SAMPLE)]);
    for sample in 0..5 {
        rig.speak(A, Law::Mu, 64 + sample * 32, 0);
        rig.run(FRAME * 32);
        assert_eq!(rig.wishes(), []);
    }
    rig.run(Duration::from_secs(2));
    assert_eq!(rig.wishes(), [(A, Attention::All)]);
}

#[test]
fn new_payload_types_for_keys_are_read_at_once() {
    let mut rig = Rig::new();
    let mut config = rig.open(A, Law::Mu);
    rig.speak_for(A, 0..60);
    assert_eq!(rig.wishes(), [(A, SAMPLE)]);
    config.agreed.receive = events_under(96);
    rig.command(Command::Update { stream: A, config });
    assert_eq!(rig.wishes(), [(A, Attention::All)]);
    rig.speak_for(A, 60..120);
    let events = [Some(96), None, None, None];
    assert_eq!(rig.wishes(), [(A, Attention::Sample { events })]);
}

#[test]
fn wishes_that_nobody_fetches_do_not_pile_up() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.open(A, Law::Mu);
        rig.speak_for(A, 0..60);
        rig.command(Command::Echo { stream: A });
        rig.command(Command::Unbridge { stream: A });
        rig.run(FRAME);
        assert_eq!(rig.plane.wishes.len(), 1);
        rig.close(A);
        assert_eq!(rig.plane.wishes.len(), 0);
    }
}

struct Rig {
    plane: Plane,
    now: Instant,
    sent: Vec<Sent>,
    reports: usize,
}

#[derive(Debug, Clone)]
struct Sent {
    stream: StreamId,
    at: Instant,
    header: Header,
    payload: Vec<u8>,
}

/// G.711 with events under this payload type.
fn events_under(number: u8) -> PayloadTypes {
    let mut types = PayloadTypes::plain(Law::Mu.into(), Some(number));
    types.allow(8, Content::Audio(Law::A.into()));
    types
}

fn peer(stream: StreamId) -> SocketAddr {
    SocketAddr::new([198, 51, 100, 1].into(), 4000 + stream.0 as u16 * 2)
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            plane: Plane::new(now, PlaneConfig { tick: TICK }),
            now,
            sent: Vec::new(),
            reports: 0,
        }
    }

    fn open(&mut self, stream: StreamId, law: Law) -> StreamConfig {
        self.open_with(stream, law, |_| {})
    }

    fn open_with(
        &mut self,
        stream: StreamId,
        law: Law,
        change: impl FnOnce(&mut StreamConfig),
    ) -> StreamConfig {
        let mut config = StreamConfig {
            agreed: Negotiated::plain(law.into(), Some(peer(stream))),
            source: SourceRule {
                unheard_limit: None,
                ..SourceRule::default()
            },
            start: Start {
                ssrc: stream.0,
                sequence: 65_530,
                timestamp: 0xffff_f000,
            },
            silence_after: None,
            fill_silence: false,
        };
        change(&mut config);
        self.command(Command::Open {
            stream,
            config: config.clone(),
        });
        config
    }

    fn command(&mut self, command: Command) {
        self.plane.command(self.now, command);
    }

    fn play(&mut self, stream: StreamId, play: u64, clip: Clip, repeat: bool) {
        self.command(Command::Play {
            stream,
            play: PlayId(play),
            clips: vec![clip],
            repeat,
        });
    }

    fn bridge(&mut self, withhold: &str) {
        let withhold = withhold
            .chars()
            .map(|key| Digit::try_from(key).unwrap())
            .collect();
        self.command(Command::Bridge { a: A, b: B, withhold });
    }

    fn close(&mut self, stream: StreamId) -> Statistics {
        self.command(Command::Close { stream });
        match self.events().pop() {
            Some(Event::Closed { statistics, .. }) => statistics,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += TICK;
            let (now, sent, reports) = (self.now, &mut self.sent, &mut self.reports);
            self.plane.tick(now, &mut |stream, to, bytes| {
                assert_eq!(to, peer(stream));
                if crate::rtp::is_rtcp(bytes) {
                    *reports += 1;
                } else {
                    sent.push(Sent::new(stream, now, bytes));
                }
            });
        }
    }

    fn speak(&mut self, stream: StreamId, law: Law, sequence: u16, sample: i16) {
        let timestamp = u32::from(sequence) * 160;
        self.packet(
            stream,
            peer(stream),
            law.payload_type(),
            sequence,
            timestamp,
            &[law.encode(sample); 160],
        );
    }

    /// A packet every 20 ms.
    fn speak_for(&mut self, stream: StreamId, sequences: Range<u16>) {
        for sequence in sequences {
            self.speak(stream, Law::Mu, sequence, 0);
            self.run(FRAME);
        }
    }

    fn wishes(&mut self) -> Vec<(StreamId, Attention)> {
        std::iter::from_fn(|| self.plane.poll_attention()).collect()
    }

    /// A press of 100 ms with three ends.
    fn press(&mut self, stream: StreamId, payload_type: u8, first: u16, timestamp: u32, key: char) {
        let event = Digit::try_from(key).unwrap().event();
        for (index, frame) in [1, 2, 3, 4, 5, 5, 5].into_iter().enumerate() {
            self.run(FRAME);
            let payload = EventPayload {
                event,
                end: frame == 5,
                duration: frame * 160,
            };
            let sequence = first + index as u16;
            self.packet(
                stream,
                peer(stream),
                payload_type,
                sequence,
                timestamp,
                &payload.bytes(),
            );
        }
    }

    fn packet(
        &mut self,
        stream: StreamId,
        from: SocketAddr,
        number: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) {
        let header = Header {
            marker: false,
            payload_type: number,
            sequence,
            timestamp,
            ssrc: 77,
        };
        let mut bytes = header.bytes().to_vec();
        bytes.extend(payload);
        if let Some(forward) = self.plane.receive(self.now, stream, from, &mut bytes) {
            assert_eq!(forward.destination, peer(forward.stream));
            self.sent
                .push(Sent::new(forward.stream, self.now, &bytes[forward.range]));
        }
    }

    fn sent_by(&self, stream: StreamId) -> Vec<Sent> {
        self.sent
            .iter()
            .filter(|packet| packet.stream == stream)
            .cloned()
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.plane.poll_event()).collect()
    }

    fn digits(&mut self, from: StreamId) -> String {
        let pressed = |event| match event {
            Event::DigitPressed { stream, digit } if stream == from => Some(digit),
            _ => None,
        };
        self.events().into_iter().filter_map(pressed).collect()
    }
}

impl Sent {
    fn new(stream: StreamId, at: Instant, bytes: &[u8]) -> Self {
        let packet = Packet::parse(bytes).unwrap();
        Self {
            stream,
            at,
            header: packet.header,
            payload: bytes[packet.payload].to_vec(),
        }
    }
}
