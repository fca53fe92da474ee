//! The telephones of a simulated network: the caller's and the offices', on a SIP core and a media plane of their own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::sdp::{Direction, Local, Session};
use media::{Clip, Digit, Digits, Plane, PlaneConfig, PlayId, SourceRule, Start, StreamConfig, StreamId};
use sip::{Endpoint, EndpointConfig, Invite, Party, Peer, PeerId, SessionId};

use super::{Happening, LineSound, TICK, switch_address, trunk_address};

/// How an office's telephone behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Rings so long, answers, talks so long and hangs up.
    Answers { ring: Duration, talk: Duration },
    /// Answers and never hangs up.
    Stays { ring: Duration },
    /// Refuses with a final status.
    Refuses(u16),
    /// Rings for ever.
    Rings,
    /// Sends sound before it answers, then as `Answers`.
    EarlyMedia { ring: Duration, talk: Duration },
    /// Announces sound before the answer, sends none, then as `Answers`.
    MuteEarlyMedia { ring: Duration, talk: Duration },
    /// Sends a line's sound, before an answer that never comes (`early`) or as its answer, and hangs up after so long.
    Sounds {
        ring: Duration,
        sound: LineSound,
        early: bool,
        talk: Duration,
    },
    /// Answers and sends no sound at all.
    Mute { ring: Duration },
    /// The network swallows the INVITE.
    Vanishes,
}

/// Caller and offices: one SIP core and one media plane for all of them.
pub(super) struct Phones {
    pub(super) endpoint: Endpoint,
    pub(super) plane: Plane,
    lines: BTreeMap<SessionId, Line>,
    pub(super) caller: Option<SessionId>,
    pub(super) deadline: Option<Instant>,
    next_port: u16,
    pub(super) streams: HashMap<SocketAddr, StreamId>,
    pub(super) addresses: HashMap<StreamId, SocketAddr>,
    voice: Clip,
}

struct Line {
    stream: StreamId,
    local: Local,
    opened: bool,
    /// What an office answers with.
    answer: Vec<u8>,
    conduct: Option<Conduct>,
    answers_at: Option<Instant>,
    hangs_up_at: Option<Instant>,
}

const OUR_PEER: PeerId = PeerId(0);

impl Phones {
    pub(super) fn new(now: Instant, seed: [u8; 32]) -> Self {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), seed);
        endpoint.set_peer(Peer::new(OUR_PEER, trunk_address(), vec![switch_address()]));
        let voice: Vec<i16> = (0..8000)
            .map(|at| if at % 20 < 10 { 4000 } else { -4000 })
            .collect();
        Self {
            endpoint,
            plane: Plane::new(now, PlaneConfig { tick: TICK }),
            lines: BTreeMap::new(),
            caller: None,
            deadline: None,
            next_port: 20_000,
            streams: HashMap::new(),
            addresses: HashMap::new(),
            voice: Clip::from_samples(&voice),
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lines.is_empty()
    }

    fn new_line(&mut self, conduct: Option<Conduct>) -> Line {
        let port = self.next_port;
        self.next_port = if port > 60_000 { 20_000 } else { port + 2 };
        let address = SocketAddr::new(trunk_address().ip(), port);
        let stream = StreamId(u32::from(port));
        self.streams.insert(address, stream);
        self.addresses.insert(stream, address);
        Line {
            stream,
            local: Local::new(u32::from(port), address, &[media::Law::Mu.into()]),
            opened: false,
            answer: Vec::new(),
            conduct,
            answers_at: None,
            hangs_up_at: None,
        }
    }

    pub(super) fn call(&mut self, now: Instant, called: &str, number: &str, inband: bool) {
        let mut line = self.new_line(None);
        let host = switch_address().ip();
        let offer = line.local.offer(Direction::SendReceive);
        let invite = Invite {
            peer: OUR_PEER,
            uri: format!("sip:{called}@{host}"),
            to: format!("sip:{called}@{host}"),
            from: Party::new(format!("sip:{number}@{}", trunk_address().ip())),
            headers: Vec::new(),
            max_forwards: None,
            sdp: if inband { without_events(&offer) } else { offer },
        };
        if let Ok(session) = self.endpoint.invite(now, invite) {
            self.lines.insert(session, line);
            self.caller = Some(session);
        }
    }

    pub(super) fn press(
        &mut self,
        now: Instant,
        session: SessionId,
        keys: &str,
        by_info: bool,
        inband: bool,
    ) {
        let Some(line) = self.lines.get(&session) else {
            return;
        };
        let keys: Vec<Digit> = keys.chars().filter_map(|key| Digit::try_from(key).ok()).collect();
        if by_info {
            for key in keys {
                let length = Duration::from_millis(100);
                self.endpoint.send_digit_info(now, session, key.into(), length);
            }
            return;
        }
        let digits = Digits {
            inband,
            ..Digits::new(keys)
        };
        self.plane.command(
            now,
            media::Command::SendDigits {
                stream: line.stream,
                digits,
            },
        );
    }

    pub(super) fn on_event(
        &mut self,
        now: Instant,
        event: sip::Event,
        conducts: &mut VecDeque<Conduct>,
    ) -> Option<Happening> {
        match event {
            sip::Event::Incoming { session, invite, .. } => {
                let conduct = match conducts.len() {
                    0 => Conduct::Rings,
                    1 => conducts[0],
                    _ => conducts.pop_front().unwrap_or(Conduct::Rings),
                };
                self.take_call(now, session, conduct, invite.sdp.as_deref().unwrap_or_default());
            }
            sip::Event::Answered { session, sdp } => self.open(now, session, &sdp),
            sip::Event::Failed { session, .. } => {
                self.end(now, session);
            }
            sip::Event::Ended { session, .. } => {
                let was_caller = self.caller == Some(session);
                self.end(now, session);
                return was_caller.then_some(Happening::CallerHeardEnd);
            }
            _ => {}
        }
        None
    }

    fn take_call(&mut self, now: Instant, session: SessionId, conduct: Conduct, offer: &[u8]) {
        let mut line = self.new_line(Some(conduct));
        let agreed =
            Session::parse(offer).and_then(|offer| line.local.answer(&offer, Direction::SendReceive));
        let Ok((agreed, answer)) = agreed else {
            self.endpoint.reject(now, session, 488, None);
            return;
        };
        line.answer = answer.clone();
        let open = media::Command::Open {
            stream: line.stream,
            config: stream_config(agreed, line.stream, false),
        };
        match conduct {
            Conduct::Refuses(status) => {
                self.endpoint.reject(now, session, status, None);
                return;
            }
            Conduct::Answers { ring, .. } | Conduct::Stays { ring } | Conduct::Mute { ring } => {
                self.endpoint.ring(now, session);
                line.answers_at = Some(now + ring);
            }
            Conduct::EarlyMedia { ring, .. } => {
                self.endpoint.progress(now, session, answer);
                self.plane.command(now, open.clone());
                self.speak(now, line.stream);
                line.opened = true;
                line.answers_at = Some(now + ring);
            }
            Conduct::Sounds {
                ring, sound, early, ..
            } => {
                if early {
                    self.endpoint.progress(now, session, answer);
                    self.plane.command(now, open.clone());
                    self.play(now, line.stream, sound.clip(), sound.repeats());
                    line.opened = true;
                } else {
                    self.endpoint.ring(now, session);
                    line.answers_at = Some(now + ring);
                }
            }
            Conduct::MuteEarlyMedia { ring, .. } => {
                self.endpoint.progress(now, session, answer);
                line.answers_at = Some(now + ring);
            }
            Conduct::Rings => self.endpoint.ring(now, session),
            Conduct::Vanishes => {}
        }
        if !line.opened {
            self.plane.command(now, open);
        }
        self.lines.insert(session, line);
    }

    fn speak(&mut self, now: Instant, stream: StreamId) {
        self.play(now, stream, self.voice.clone(), true);
    }

    fn play(&mut self, now: Instant, stream: StreamId, clip: Clip, repeat: bool) {
        let clips = vec![clip];
        self.plane.command(
            now,
            media::Command::Play {
                stream,
                play: PlayId(1),
                clips,
                repeat,
            },
        );
    }

    fn open(&mut self, now: Instant, session: SessionId, answer: &[u8]) {
        let Some(line) = self.lines.get_mut(&session) else {
            return;
        };
        let agreed = Session::parse(answer).and_then(|answer| line.local.accept_answer(&answer));
        if let Ok(agreed) = agreed {
            let stream = line.stream;
            line.opened = true;
            let config = stream_config(agreed, stream, true);
            self.plane.command(now, media::Command::Open { stream, config });
        }
    }

    pub(super) fn act(&mut self, now: Instant) {
        let due: Vec<SessionId> = self
            .lines
            .iter()
            .filter(|(_, line)| {
                line.answers_at.is_some_and(|at| at <= now) || line.hangs_up_at.is_some_and(|at| at <= now)
            })
            .map(|(session, _)| *session)
            .collect();
        for session in due {
            let Some(line) = self.lines.get_mut(&session) else {
                continue;
            };
            if line.hangs_up_at.is_some_and(|at| at <= now) {
                self.endpoint.hangup(now, session, None);
                self.end(now, session);
                continue;
            }
            line.answers_at = None;
            line.hangs_up_at = match line.conduct {
                Some(
                    Conduct::Answers { talk, .. }
                    | Conduct::EarlyMedia { talk, .. }
                    | Conduct::MuteEarlyMedia { talk, .. }
                    | Conduct::Sounds { talk, .. },
                ) => Some(now + talk),
                _ => None,
            };
            let stream = line.stream;
            let (answer, conduct) = (line.answer.clone(), line.conduct);
            self.endpoint.answer(now, session, answer);
            match conduct {
                Some(Conduct::Mute { .. }) => {}
                Some(Conduct::Sounds { sound, .. }) => self.play(now, stream, sound.clip(), sound.repeats()),
                _ => self.speak(now, stream),
            }
        }
    }

    pub(super) fn end(&mut self, now: Instant, session: SessionId) {
        if self.caller == Some(session) {
            self.caller = None;
        }
        let Some(line) = self.lines.remove(&session) else {
            return;
        };
        self.plane
            .command(now, media::Command::Close { stream: line.stream });
        if let Some(address) = self.addresses.remove(&line.stream) {
            self.streams.remove(&address);
        }
    }
}

/// A description without telephone-event.
fn without_events(offer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(offer).replace(" 101\r\n", "\r\n");
    let kept: Vec<&str> = text
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("a=rtpmap:101") && !line.starts_with("a=fmtp:101"))
        .collect();
    kept.concat().into_bytes()
}

/// A caller's line is never silent; an office sends only what it says.
fn stream_config(agreed: media::sdp::Negotiated, stream: StreamId, fill_silence: bool) -> StreamConfig {
    StreamConfig {
        agreed,
        source: SourceRule {
            unheard_limit: None,
            ..SourceRule::default()
        },
        start: Start {
            ssrc: stream.0,
            sequence: 1,
            timestamp: 0,
        },
        silence_after: None,
        fill_silence,
    }
}
