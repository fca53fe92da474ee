//! Bridges whose sides speak different codecs, through a whole [`Plane`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::codec::tests::{built_in, delay_and_match, speech, tone};
use crate::codec::{Codec, Decoder, Encoder, Law, MAX_DECODED};
use crate::digit::{Digit, DigitSet, Digits, EventPayload};
use crate::rtp::{HEADER_BYTES, Header, Packet};
use crate::sdp::Negotiated;
use crate::{
    Clip, Command, Event, PayloadTypes, Plane, PlaneConfig, PlayId, SourceRule, Start, StreamConfig, StreamId,
};

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);
const MU: Codec = Codec::G711(Law::Mu);

/// A packet that a stream sent.
struct Sent {
    header: Header,
    payload: Vec<u8>,
}

/// A plane under a clock of 1 ms ticks, with peers that send what they are told to.
struct Rig {
    plane: Plane,
    now: Instant,
    sent: Vec<(StreamId, Sent)>,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        let tick = Duration::from_millis(1);
        Self {
            plane: Plane::new(now, PlaneConfig { tick }),
            now,
            sent: Vec::new(),
        }
    }

    fn open(&mut self, stream: StreamId, codec: Codec, change: impl FnOnce(&mut StreamConfig)) {
        let mut config = StreamConfig {
            agreed: Negotiated::plain(codec, Some(peer(stream))),
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
        self.plane.command(self.now, Command::Open { stream, config });
    }

    fn bridge(&mut self) {
        let withhold = DigitSet::NONE;
        self.plane
            .command(self.now, Command::Bridge { a: A, b: B, withhold });
    }

    fn pass(&mut self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.now += Duration::from_millis(1);
            let sent = &mut self.sent;
            self.plane
                .tick(self.now, &mut |stream, _, bytes| keep(sent, stream, bytes));
        }
    }

    fn receive(&mut self, stream: StreamId, header: Header, payload: &[u8]) {
        let mut bytes = header.bytes().to_vec();
        bytes.extend(payload);
        if let Some(forward) = self.plane.receive(self.now, stream, peer(stream), &mut bytes) {
            keep(&mut self.sent, forward.stream, &bytes[forward.range]);
        }
    }

    fn sent_by(&mut self, stream: StreamId) -> Vec<Sent> {
        let all = std::mem::take(&mut self.sent);
        all.into_iter()
            .filter(|(by, _)| *by == stream)
            .map(|(_, sent)| sent)
            .collect()
    }
}

fn keep(sent: &mut Vec<(StreamId, Sent)>, stream: StreamId, bytes: &[u8]) {
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(packet.payload.start, HEADER_BYTES);
    let payload = bytes[packet.payload].to_vec();
    let header = packet.header;
    sent.push((stream, Sent { header, payload }));
}

fn peer(stream: StreamId) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, stream.0 as u8], 4000))
}

/// A peer's voice, packet by packet.
struct Voice {
    stream: StreamId,
    encoder: Encoder,
    number: u32,
    milliseconds: u32,
}

impl Voice {
    fn new(stream: StreamId, codec: Codec) -> Self {
        Self {
            stream,
            encoder: Encoder::new(codec).unwrap(),
            number: 0,
            milliseconds: 20,
        }
    }

    fn header(&mut self, payload_type: u8) -> Header {
        let ticks = self.encoder.codec().clock_rate() * self.milliseconds / 1000;
        self.number += 1;
        Header {
            marker: false,
            payload_type,
            sequence: self.number as u16,
            timestamp: self.number.wrapping_mul(ticks),
            ssrc: 77,
        }
    }

    fn say(&mut self, rig: &mut Rig, samples: &[i16]) {
        let codec = self.encoder.codec();
        for frame in samples.chunks_exact((codec.sample_rate() * self.milliseconds / 1000) as usize) {
            let mut payload = [0; 480];
            let length = self.encoder.encode(frame, &mut payload);
            let header = self.header(codec.payload_type());
            rig.receive(self.stream, header, &payload[..length]);
            rig.pass(self.milliseconds);
        }
    }
}

fn decoded(codec: Codec, sent: &[Sent]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec).unwrap();
    let mut samples = Vec::new();
    for packet in sent
        .iter()
        .filter(|sent| sent.header.payload_type == codec.payload_type())
    {
        samples.extend_from_slice(decoder.decode(&packet.payload, &mut [0; MAX_DECODED]));
    }
    samples
}

/// Sequence numbers without a hole, timestamps as far apart as the audio between them.
fn assert_continuous(codec: Codec, sent: &[Sent]) {
    for pair in sent.windows(2) {
        let (before, after) = (pair[0].header, pair[1].header);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        let ticks = codec.ticks(&pair[0].payload);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), ticks, "{codec:?}");
    }
}

#[test]
fn speech_passes_between_any_two_codecs_with_its_level_and_shape() {
    for from in built_in() {
        for to in built_in() {
            let mut rig = Rig::new();
            rig.open(A, from, |_| {});
            rig.open(B, to, |_| {});
            rig.bridge();
            Voice::new(A, from).say(&mut rig, &speech(from.sample_rate(), 3.0));
            let sent = rig.sent_by(B);
            assert!(sent.len() >= 145, "{from:?} to {to:?}: {}", sent.len());
            assert_continuous(to, &sent);
            let back = decoded(to, &sent);
            let rate = to.sample_rate();
            let (delay, matched) = delay_and_match(&speech(rate, 3.0), &back, rate as usize / 8);
            let least = if from == Codec::Opus || to == Codec::Opus {
                0.85
            } else {
                0.98
            };
            assert!(matched.correlation > least, "{from:?} to {to:?}: {matched:?}");
            assert!(matched.level.abs() < 1.0, "{from:?} to {to:?}: {matched:?}");
            assert!(
                delay * 1000 / rate as usize <= 80,
                "{from:?} to {to:?}: {delay} samples"
            );
        }
    }
}

#[test]
fn each_frequency_of_the_telephone_passes_with_its_level() {
    for (from, to) in [
        (MU, Codec::G722),
        (Codec::G722, MU),
        (Codec::G722, Codec::G711(Law::A)),
    ] {
        for hertz in [300.0, 1000.0, 2000.0, 3000.0] {
            let mut rig = Rig::new();
            rig.open(A, from, |_| {});
            rig.open(B, to, |_| {});
            rig.bridge();
            Voice::new(A, from).say(&mut rig, &tone(hertz, from.sample_rate(), 1.0));
            let back = decoded(to, &rig.sent_by(B));
            let rate = to.sample_rate();
            let (_, matched) = delay_and_match(&tone(hertz, rate, 0.8), &back, rate as usize / 8);
            assert!(
                matched.level.abs() < 1.0,
                "{from:?} to {to:?} at {hertz}: {matched:?}"
            );
        }
    }
}

#[test]
fn the_same_codec_on_both_sides_passes_untouched() {
    for codec in built_in() {
        let mut rig = Rig::new();
        rig.open(A, codec, |_| {});
        rig.open(B, codec, |_| {});
        rig.bridge();
        let header = Voice::new(A, codec).header(codec.payload_type());
        let payload = [0x78, 1, 2, 3, 4, 5, 6, 7];
        rig.receive(A, header, &payload);
        assert_eq!(rig.sent_by(B)[0].payload, payload, "{codec:?}");
    }
}

#[test]
fn packets_of_any_length_come_out_as_the_other_side_wants_them() {
    for (theirs, ours) in [(10, 60), (60, 10), (40, 20), (20, 40)] {
        let mut rig = Rig::new();
        rig.open(A, Codec::G722, |_| {});
        rig.open(B, MU, |config| config.agreed.ptime = ours);
        rig.bridge();
        let mut voice = Voice::new(A, Codec::G722);
        voice.milliseconds = theirs;
        voice.say(&mut rig, &speech(16_000, 2.4));
        let sent = rig.sent_by(B);
        assert!(
            sent.iter()
                .all(|sent| sent.payload.len() == usize::from(ours) * 8)
        );
        assert_continuous(MU, &sent);
        let (_, matched) = delay_and_match(&speech(8000, 2.2), &decoded(MU, &sent), 1600);
        assert!(matched.correlation > 0.97, "{theirs} to {ours} ms: {matched:?}");
    }
}

#[test]
fn a_codec_changed_within_a_call_is_followed_both_ways() {
    let mut rig = Rig::new();
    rig.open(A, Codec::G722, |_| {});
    rig.open(B, MU, |_| {});
    rig.bridge();
    let mut wide = Voice::new(A, Codec::G722);
    wide.say(&mut rig, &speech(16_000, 1.0));
    rig.sent_by(B);
    // The peer sends its other codec from now on: nothing is to be decoded any more.
    let mut narrow = Voice::new(A, MU);
    narrow.number = wide.number;
    narrow.say(&mut rig, &[1000; 1600]);
    let sent = rig.sent_by(B);
    assert_eq!(sent.len(), 10);
    assert!(
        sent.iter()
            .all(|sent| sent.payload == [Law::Mu.encode(1000); 160])
    );
    wide.number = narrow.number;
    wide.say(&mut rig, &speech(16_000, 1.0));
    let sent = rig.sent_by(B);
    let (_, matched) = delay_and_match(&speech(8000, 0.9), &decoded(MU, &sent), 1600);
    assert!(matched.correlation > 0.9, "{matched:?}");
}

#[test]
fn keys_pass_among_transcoded_audio_in_the_clock_of_the_other_side() {
    let wide = if Codec::Opus.is_built_in() {
        Codec::Opus
    } else {
        Codec::G722
    };
    for (from, to) in [(MU, wide), (wide, MU)] {
        let mut rig = Rig::new();
        rig.open(A, from, |_| {});
        rig.open(B, to, |_| {});
        rig.bridge();
        let mut voice = Voice::new(A, from);
        voice.say(&mut rig, &speech(from.sample_rate(), 1.0));
        rig.sent_by(B);
        let (theirs, ours) = (from.clock_rate() / 50, to.clock_rate() / 50);
        let start = voice.header(101);
        for step in 1..=5u32 {
            let event = EventPayload {
                event: 7,
                end: step == 5,
                duration: (step * theirs) as u16,
            };
            let header = Header {
                timestamp: start.timestamp,
                ..voice.header(101)
            };
            rig.receive(A, header, &event.bytes());
            rig.pass(20);
        }
        voice.say(&mut rig, &speech(from.sample_rate(), 0.2));
        let sent = rig.sent_by(B);
        let keys: Vec<_> = sent
            .iter()
            .filter(|sent| sent.header.payload_type == 101)
            .collect();
        assert_eq!(keys.len(), 5);
        for (step, key) in (1..).zip(&keys) {
            let event = EventPayload::parse(&key.payload).unwrap();
            assert_eq!((event.event, event.duration), (7, (step * ours) as u16));
            assert_eq!(key.header.timestamp, keys[0].header.timestamp);
            assert_eq!((key.header.marker, event.end), (step == 1, step == 5));
        }
        // No audio while the key is down, and no hole in the numbers.
        let first = sent
            .iter()
            .position(|sent| sent.header.payload_type == 101)
            .unwrap();
        assert!(
            sent[first..first + 5]
                .iter()
                .all(|sent| sent.header.payload_type == 101)
        );
        for pair in sent.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        }
        let mut events = std::iter::from_fn(|| rig.plane.poll_event());
        assert!(events.any(|event| event
            == Event::DigitPressed {
                stream: A,
                digit: '7'
            }));
    }
}

#[test]
fn our_own_keys_count_in_the_clock_of_the_codec() {
    if !Codec::Opus.is_built_in() {
        return;
    }
    let mut rig = Rig::new();
    rig.open(A, Codec::Opus, |config| config.fill_silence = true);
    rig.pass(100);
    let digits = Digits::new(vec![Digit::try_from('5').unwrap()]);
    rig.plane
        .command(rig.now, Command::SendDigits { stream: A, digits });
    rig.pass(300);
    let sent = rig.sent_by(A);
    let last = sent.iter().rfind(|sent| sent.header.payload_type == 101).unwrap();
    assert_eq!(EventPayload::parse(&last.payload).unwrap().duration, 4800);
    let after = sent.last().unwrap();
    assert_eq!(after.header.payload_type, 111);
}

#[test]
fn prompt_bridge_prompt_is_one_continuous_source_in_every_codec() {
    for codec in built_in() {
        let mut rig = Rig::new();
        rig.open(A, Codec::G722, |_| {});
        rig.open(B, codec, |_| {});
        let play = |rig: &mut Rig, play| {
            let clips = vec![Clip::from_samples(&speech(8000, 1.0))];
            let command = Command::Play {
                stream: B,
                play: PlayId(play),
                clips,
                repeat: false,
            };
            rig.plane.command(rig.now, command);
            rig.pass(1000);
        };
        play(&mut rig, 1);
        let prompt = rig.sent_by(B);
        assert_continuous(codec, &prompt);
        let rate = codec.sample_rate();
        let (_, matched) = delay_and_match(&speech(rate, 0.9), &decoded(codec, &prompt), rate as usize / 20);
        assert!(
            matched.correlation > 0.85 && matched.level.abs() < 1.0,
            "{codec:?}: {matched:?}"
        );
        rig.bridge();
        Voice::new(A, Codec::G722).say(&mut rig, &speech(16_000, 1.0));
        play(&mut rig, 2);
        let mut all = prompt;
        all.extend(rig.sent_by(B));
        assert!(all.len() > 140, "{codec:?}: {}", all.len());
        for pair in all.windows(2) {
            let (before, after) = (pair[0].header, pair[1].header);
            assert_eq!(
                (after.ssrc, after.sequence),
                (before.ssrc, before.sequence.wrapping_add(1))
            );
            let step = after.timestamp.wrapping_sub(before.timestamp);
            // A switch costs no more than two frames.
            let frame = codec.clock_rate() / 50;
            assert!((frame..=3 * frame).contains(&step), "{codec:?}: {step}");
        }
    }
}

#[test]
fn comfort_noise_sounds_quietly_where_audio_is_decoded_and_nowhere_else() {
    let mut rig = Rig::new();
    rig.open(A, Codec::G722, |_| {});
    rig.open(B, MU, |_| {});
    rig.bridge();
    let mut voice = Voice::new(A, Codec::G722);
    voice.say(&mut rig, &tone(500.0, 16_000, 0.5));
    let header = voice.header(13);
    rig.receive(A, header, &[50]);
    rig.sent_by(B);
    rig.pass(150);
    let noise = decoded(MU, &rig.sent_by(B));
    let noise = &noise[noise.len() - 480..];
    let power = noise.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / noise.len() as f64;
    let level = 10.0 * (power / 32_768f64.powi(2)).log10();
    assert!((-54.0..-46.0).contains(&level), "{level} dBov");
    // Relayed audio has none: the packet is kept from a side that did not agree to it.
    let mut rig = Rig::new();
    rig.open(A, MU, |_| {});
    rig.open(B, MU, |_| {});
    rig.bridge();
    rig.receive(A, Voice::new(A, MU).header(13), &[50]);
    assert!(rig.sent_by(B).is_empty());
}

#[test]
fn an_echo_in_another_codec_than_was_agreed_is_sent_as_agreed() {
    let mut rig = Rig::new();
    rig.open(A, Codec::G722, |_| {});
    rig.plane.command(rig.now, Command::Echo { stream: A });
    Voice::new(A, MU).say(&mut rig, &speech(8000, 1.0));
    let sent = rig.sent_by(A);
    assert!(sent.len() > 40 && sent.iter().all(|sent| sent.header.payload_type == 9));
}

#[test]
fn parted_streams_are_silent_and_bridged_ones_are_heard_again() {
    let mut rig = Rig::new();
    rig.open(A, Codec::G722, |_| {});
    rig.open(B, MU, |_| {});
    let mut voice = Voice::new(A, Codec::G722);
    for _ in 0..3 {
        rig.bridge();
        voice.say(&mut rig, &speech(16_000, 0.5));
        assert!(rig.sent_by(B).len() > 20);
        rig.plane.command(rig.now, Command::Unbridge { stream: B });
        voice.say(&mut rig, &speech(16_000, 0.5));
        assert!(rig.sent_by(B).is_empty());
    }
}

#[test]
fn payload_types_may_differ_in_both_directions() {
    let mut rig = Rig::new();
    rig.open(A, Codec::G722, |config| {
        config.agreed.receive = PayloadTypes::default();
        config
            .agreed
            .receive
            .allow(96, crate::Content::Audio(Codec::G722));
    });
    rig.open(B, MU, |config| config.agreed.payload_type = 97);
    rig.bridge();
    let mut voice = Voice::new(A, Codec::G722);
    for _ in 0..20 {
        let header = voice.header(96);
        rig.receive(A, header, &[0; 160]);
        rig.pass(20);
    }
    let sent = rig.sent_by(B);
    assert!(sent.len() > 15 && sent.iter().all(|sent| sent.header.payload_type == 97));
}
