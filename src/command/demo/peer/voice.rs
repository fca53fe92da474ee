//! The audio of one telephone: sends a packet every 20 ms, presses keys, and records what it hears.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::g711::Law;
use super::sdp::Description;

/// Samples in one packet: 20 ms at 8 kHz.
const FRAME: usize = 160;
const TICK: Duration = Duration::from_millis(20);

/// The payload type of telephone-event that our descriptions name.
pub const EVENT_TYPE: u8 = 101;

/// How far a timestamp may stray from the time of arrival, in samples: five seconds, for a machine that stalls.
const STRAY: i64 = 5 * 8000;

/// The longest recording: half an hour at 8 kHz.
const LONGEST: usize = 30 * 60 * 8000;

/// How keys are pressed, with the ways in which the network spoils them.
#[derive(Debug, Clone, Copy)]
pub struct DigitStyle {
    pub press: Duration,
    pub pause: Duration,
    /// How many of the three packets with the end bit arrive.
    pub ends: u8,
    /// How often each packet arrives: 2 for a network that doubles.
    pub copies: u8,
    /// Whether the first packet has the marker bit.
    pub marker: bool,
    /// How many packets are lost at the beginning.
    pub lose_first: u8,
}

impl Default for DigitStyle {
    fn default() -> Self {
        Self {
            press: Duration::from_millis(100),
            pause: Duration::from_millis(100),
            ends: 3,
            copies: 1,
            marker: true,
            lose_first: 0,
        }
    }
}

/// What a telephone has heard so far.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Audio at 8 kHz from the moment the socket was opened; silence where nothing came.
    pub samples: Vec<i16>,
    /// Keys that the other side pressed (RFC 4733).
    pub digits: String,
    pub packets: u64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// The SSRCs seen: one, for a stream that is never restarted.
    pub sources: BTreeSet<u32>,
    /// Jumps of the timestamp against the sequence number, marker packets aside.
    pub breaks: u64,
}

/// The handle of one telephone's audio. Its task ends when the handle is dropped.
#[derive(Debug)]
pub struct Voice {
    address: SocketAddr,
    opened: Instant,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Connect(Description),
    Say { samples: Arc<[i16]>, repeat: bool },
    Press { digits: String, style: DigitStyle },
    Mute(bool),
    Hear(oneshot::Sender<Heard>),
}

impl Voice {
    /// Opens a socket on a free port of `ip`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn open(ip: IpAddr) -> io::Result<Voice> {
        let socket = UdpSocket::bind((ip, 0)).await?;
        let address = socket.local_addr()?;
        let opened = Instant::now();
        let (orders, queue) = mpsc::channel(64);
        let line = Line {
            socket,
            opened,
            remote: None,
            muted: false,
            ssrc: u32::from(address.port()) << 8 | 0x5a,
            sequence: Seq::from(address.port().wrapping_mul(7)),
            timestamp: u32::from(address.port()) * 977,
            speech: None,
            keys: VecDeque::new(),
            pressed: None,
            heard: Heard::default(),
            clock: None,
            event: None,
        };
        tokio::spawn(line.run(queue));
        Ok(Voice {
            address,
            opened,
            orders,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long the recording has run.
    pub fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Sends to the other side from now on, silence until something is said.
    pub async fn connect(&self, description: Description) {
        self.order(Order::Connect(description)).await;
    }

    /// Says 8 kHz audio, once or again and again.
    pub async fn say(&self, samples: Arc<[i16]>, repeat: bool) {
        self.order(Order::Say { samples, repeat }).await;
    }

    /// Presses keys one after the other.
    pub async fn press(&self, digits: &str, style: DigitStyle) {
        self.order(Order::Press {
            digits: digits.to_owned(),
            style,
        })
        .await;
    }

    /// Stops or resumes sending altogether.
    pub async fn mute(&self, muted: bool) {
        self.order(Order::Mute(muted)).await;
    }

    /// What was heard so far.
    pub async fn heard(&self) -> Heard {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Hear(reply)).await;
        answer.await.unwrap_or_default()
    }

    async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }
}

/// The task's side.
struct Line {
    socket: UdpSocket,
    opened: Instant,
    remote: Option<Description>,
    muted: bool,
    ssrc: u32,
    sequence: Seq,
    timestamp: u32,
    speech: Option<Speech>,
    keys: VecDeque<(u8, DigitStyle)>,
    pressed: Option<Pressed>,
    heard: Heard,
    clock: Option<Clock>,
    /// SSRC and timestamp of the key press heard last.
    event: Option<(u32, u32)>,
}

struct Speech {
    samples: Arc<[i16]>,
    at: usize,
    repeat: bool,
}

/// A key that is held down.
struct Pressed {
    event: u8,
    style: DigitStyle,
    timestamp: u32,
    /// Ticks since it went down.
    ticks: u32,
}

/// Ties the other side's timestamps to places in the recording.
#[derive(Clone, Copy)]
struct Clock {
    ssrc: u32,
    timestamp: u32,
    place: usize,
    sequence: u16,
    last: u32,
}

impl Line {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut buffer = vec![0_u8; 2048];
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    if let Ok((length, _)) = received {
                        self.hear(&buffer[..length]);
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                _ = ticks.tick() => self.tick().await,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Connect(description) => self.remote = Some(description),
            Order::Say { samples, repeat } => {
                self.speech = Some(Speech {
                    samples,
                    at: 0,
                    repeat,
                })
            }
            Order::Press { digits, style } => {
                self.keys
                    .extend(digits.chars().filter_map(event_of).map(|event| (event, style)));
            }
            Order::Mute(muted) => self.muted = muted,
            Order::Hear(reply) => {
                let _ = reply.send(self.heard.clone());
            }
        }
    }

    async fn tick(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        let Some(remote) = self.remote.clone() else { return };
        if self.muted {
            return;
        }
        if self.pressed.is_none()
            && let Some((event, style)) = self.keys.pop_front()
        {
            self.pressed = Some(Pressed {
                event,
                style,
                timestamp: self.timestamp,
                ticks: 0,
            });
        }
        let key_packet = self.next_key_packet();
        match (key_packet, remote.event_type) {
            (Some(packet), Some(event_type)) => self.send_key(&packet, event_type, remote.remote).await,
            _ => self.send_audio(&remote).await,
        }
    }

    /// The packet of this tick for the key that is down; nothing in the pause after it.
    fn next_key_packet(&mut self) -> Option<KeyPacket> {
        let pressed = self.pressed.as_mut()?;
        pressed.ticks += 1;
        let style = pressed.style;
        let held = ticks_of(style.press);
        let duration = (pressed.ticks.min(held) * FRAME as u32) as u16;
        let packet = KeyPacket {
            timestamp: pressed.timestamp,
            marked: style.marker && pressed.ticks == 1,
            payload: [pressed.event, 10, (duration >> 8) as u8, duration as u8],
            copies: if pressed.ticks <= u32::from(style.lose_first) {
                0
            } else {
                style.copies
            },
        };
        if pressed.ticks <= held {
            return Some(packet);
        }
        if pressed.ticks <= held + 3 {
            let arrives = pressed.ticks <= held + u32::from(style.ends);
            let [event, volume, high, low] = packet.payload;
            let payload = [event, volume | 0x80, high, low];
            return Some(KeyPacket {
                payload,
                copies: if arrives { style.copies } else { 0 },
                ..packet
            });
        }
        if pressed.ticks >= held + 3 + ticks_of(style.pause) {
            self.pressed = None;
        }
        None
    }

    async fn send_key(&mut self, packet: &KeyPacket, event_type: u8, to: SocketAddr) {
        self.sequence = self.sequence.next();
        let bytes = RtpPacketBuilder::new()
            .payload_type(event_type)
            .ssrc(self.ssrc)
            .sequence(self.sequence)
            .timestamp(packet.timestamp)
            .marked(packet.marked)
            .payload(&packet.payload)
            .build();
        for _ in 0..packet.copies {
            if let Ok(bytes) = &bytes {
                let _ = self.socket.send_to(bytes, to).await;
            }
        }
    }

    async fn send_audio(&mut self, remote: &Description) {
        self.sequence = self.sequence.next();
        let mut payload = [remote.law.silence(); FRAME];
        if let Some(speech) = &mut self.speech {
            for byte in &mut payload {
                if speech.at >= speech.samples.len() && speech.repeat {
                    speech.at = 0;
                }
                let Some(sample) = speech.samples.get(speech.at) else {
                    break;
                };
                *byte = remote.law.encode(*sample);
                speech.at += 1;
            }
        }
        let bytes = RtpPacketBuilder::new()
            .payload_type(remote.law.payload_type())
            .ssrc(self.ssrc)
            .sequence(self.sequence)
            .timestamp(self.timestamp)
            .payload(&payload)
            .build();
        if let Ok(bytes) = bytes {
            let _ = self.socket.send_to(&bytes, remote.remote).await;
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Ok(packet) = RtpReader::new(bytes) else { return };
        if packet.version() != 2 || (72..=79).contains(&packet.payload_type()) {
            return; // RTCP on the same port
        }
        self.heard.packets += 1;
        self.heard.sources.insert(packet.ssrc());
        if packet.payload_type() == EVENT_TYPE {
            self.hear_key(&packet);
        } else if let Some(law) = Law::of_payload_type(packet.payload_type()) {
            let place = self.place(&packet);
            let payload = packet.payload();
            let end = place + payload.len();
            if end > LONGEST {
                return;
            }
            if self.heard.samples.len() < end {
                self.heard.samples.resize(end, 0);
            }
            for (sample, byte) in self.heard.samples[place..end].iter_mut().zip(payload) {
                *sample = law.decode(*byte);
            }
        }
    }

    fn hear_key(&mut self, packet: &RtpReader<'_>) {
        let press = (packet.ssrc(), packet.timestamp());
        if self.event != Some(press) {
            self.event = Some(press);
            let key = packet
                .payload()
                .first()
                .and_then(|event| KEYS.get(usize::from(*event)));
            self.heard.digits.extend(key.map(|key| char::from(*key)));
        }
        if let Some(clock) = &mut self.clock {
            // Keys use up sequence numbers, but their timestamp stands still.
            clock.sequence = u16::from(packet.sequence_number());
            clock.last = packet.timestamp();
        }
    }

    /// Where in the recording the packet's audio belongs, by its timestamp; by its arrival where that is new or
    /// seconds off.
    fn place(&mut self, packet: &RtpReader<'_>) -> usize {
        let now = (self.opened.elapsed().as_micros() * 8 / 1000) as usize;
        let (sequence, timestamp) = (u16::from(packet.sequence_number()), packet.timestamp());
        let known = self.clock.filter(|clock| clock.ssrc == packet.ssrc());
        let mut place = now;
        if let Some(clock) = known {
            let step = sequence.wrapping_sub(clock.sequence);
            if (2..1000).contains(&step) {
                self.heard.lost += u64::from(step) - 1;
            }
            let moved = timestamp.wrapping_sub(clock.last);
            if step == 1 && !packet.mark() && moved as usize != packet.payload().len() {
                self.heard.breaks += 1;
            }
            let offset = timestamp.wrapping_sub(clock.timestamp) as i32;
            let by_clock = clock.place as i64 + i64::from(offset);
            if (by_clock - now as i64).abs() < STRAY {
                place = by_clock.max(0) as usize;
            }
        }
        let origin = known.filter(|clock| {
            clock.place as i64 + i64::from(timestamp.wrapping_sub(clock.timestamp) as i32) == place as i64
        });
        let (start, at) = origin.map_or((timestamp, place), |clock| (clock.timestamp, clock.place));
        self.clock = Some(Clock {
            ssrc: packet.ssrc(),
            timestamp: start,
            place: at,
            sequence,
            last: timestamp,
        });
        place
    }
}

struct KeyPacket {
    timestamp: u32,
    marked: bool,
    payload: [u8; 4],
    copies: u8,
}

/// Keys by their event code (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

fn event_of(key: char) -> Option<u8> {
    KEYS.iter()
        .position(|known| char::from(*known) == key.to_ascii_uppercase())
        .map(|at| at as u8)
}

fn ticks_of(duration: Duration) -> u32 {
    (duration.as_millis() / TICK.as_millis()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::demo::peer::{find, melody};

    fn describe(voice: &Voice, law: Law) -> Description {
        Description {
            remote: voice.address(),
            law,
            event_type: Some(EVENT_TYPE),
            listens: true,
        }
    }

    #[tokio::test]
    async fn two_telephones_hear_each_other_and_each_others_keys() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let (one, two) = (Voice::open(ip).await.unwrap(), Voice::open(ip).await.unwrap());
        one.connect(describe(&two, Law::Mu)).await;
        two.connect(describe(&one, Law::A)).await;
        let tune = melody(5, 2);
        two.say(tune.clone().into(), false).await;
        let spoilt = DigitStyle {
            ends: 1,
            copies: 2,
            marker: false,
            lose_first: 1,
            ..DigitStyle::default()
        };
        one.press("9*0", spoilt).await;
        tokio::time::sleep(Duration::from_millis(2400)).await;
        let heard = one.heard().await;
        assert!(find(&heard.samples, &tune).is_some_and(|found| found.score > 0.98));
        assert_eq!((heard.sources.len(), heard.breaks), (1, 0));
        assert_eq!(two.heard().await.digits, "9*0");
    }
}
