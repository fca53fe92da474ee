//! An engine alone between scripted trunks: what it sends to each, and what it makes of what they answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trunkline::call::leg::Seat;
use trunkline::call::record::{EventKind, LegClosed, RecordChange};
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::switch::engine::{Engine, Input, Now, Output, TrunkStatus};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings, trunks_of};
use trunkline::units::TrunkName;

use crate::support::{WEDNESDAY, library};

pub const LOCAL: &str = "127.0.10.1:5060";
/// What callers dial; the flow dials it again.
pub const DIALLED: &str = "+12025550142";
pub const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.20.9\r\ns=-\r\nc=IN IP4 127.0.20.9\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";

/// The engine, its time, and all that it told.
pub struct Lines {
    pub engine: Engine,
    pub now: Now,
    /// Requests and responses, without repetitions, with where they went.
    pub sent: Vec<(SocketAddr, String)>,
    pub records: Vec<RecordChange>,
    pub statuses: Vec<TrunkStatus>,
    next_stream: u32,
    calls: u32,
}

/// Where the scripted trunk of this place in the configuration is.
pub fn trunk(index: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 20, index + 1], 5060))
}

impl Lines {
    /// `trunks` are `[[trunk]]` tables, each resolved to one address; numbers lead to a flow that dials them again.
    pub fn new(trunks: &str) -> Self {
        let text = format!("{trunks}\n[[number]]\npattern = \"+1XXXXXXXXXX\"\nflow = \"route\"\n");
        Self::with(&text)
    }

    /// A whole configuration.
    pub fn with(text: &str) -> Self {
        let config = Config::parse(text, "lines.toml".as_ref()).unwrap();
        let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
        let directory = Directory::bundled().unwrap();
        let mut settings =
            simulation_settings(&config, routes, directory, library(), &TrunkName::new("none"));
        settings.calls_per_second = config.limits.calls_per_second;
        settings.trunks = trunks_of(&config, &[format!("udp:{LOCAL}").try_into().unwrap()]).unwrap();
        let names: Vec<TrunkName> = config.trunks.iter().map(|trunk| trunk.name.clone()).collect();
        let now = Now {
            monotonic: Instant::now(),
            wall: WEDNESDAY.parse().unwrap(),
        };
        let mut lines = Self {
            engine: Engine::new(settings, [7; 32]),
            now,
            sent: Vec::new(),
            records: Vec::new(),
            statuses: Vec::new(),
            next_stream: 1,
            calls: 0,
        };
        lines.pump();
        for (index, name) in names.iter().enumerate() {
            lines.resolve(name.as_str(), vec![trunk(u8::try_from(index).unwrap())]);
        }
        lines
    }

    pub fn resolve(&mut self, name: &str, targets: Vec<SocketAddr>) {
        self.input(Input::TrunkResolved {
            trunk: TrunkName::new(name),
            targets,
            local: LOCAL.parse().unwrap(),
        });
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.engine.handle_input(self.now, input);
        self.pump();
    }

    pub fn hear(&mut self, source: SocketAddr, text: &str) {
        self.input(Input::Sip(sip::Input::Received {
            local: LOCAL.parse().unwrap(),
            source,
            transport: sip::Transport::Udp,
            bytes: text.as_bytes(),
        }));
    }

    pub fn unreachable(&mut self, remote: SocketAddr) {
        self.input(Input::Sip(sip::Input::Unreachable {
            peer: None,
            remote,
            transport: sip::Transport::Udp,
        }));
    }

    fn pump(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Wait(_) => return,
                Output::NeedStreams(count) => {
                    for _ in 0..count {
                        let port = u16::try_from(20_000 + 2 * self.next_stream).unwrap();
                        let seat = Seat {
                            stream: media::StreamId(self.next_stream),
                            address: ([127, 0, 10, 1], port).into(),
                        };
                        self.next_stream += 1;
                        self.engine.handle_input(self.now, Input::StreamReady(seat));
                    }
                }
                Output::Transmit {
                    destination, bytes, ..
                } => {
                    let text = String::from_utf8(bytes).unwrap();
                    let sent = (destination, text);
                    if sent.1 == "\r\n\r\n" || !self.sent.contains(&sent) {
                        self.sent.push(sent);
                    }
                }
                Output::Records(changes) => self.records.extend(changes),
                Output::Trunk(status) => self.statuses.push(status),
                _ => {}
            }
        }
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.now.monotonic += Duration::from_millis(50);
            self.engine.handle_timeout(self.now);
            self.pump();
        }
    }

    /// A call comes in by a trunk; tells its Call-ID.
    pub fn call(&mut self, from: SocketAddr) -> String {
        self.call_to(from, &format!("sip:{DIALLED}@127.0.10.1"))
    }

    pub fn call_to(&mut self, from: SocketAddr, uri: &str) -> String {
        self.call_naming(from, uri, uri)
    }

    /// The same with another URI in To.
    pub fn call_naming(&mut self, from: SocketAddr, uri: &str, to: &str) -> String {
        self.calls += 1;
        let call_id = format!("call-{}", self.calls);
        self.hear(
            from,
            &format!(
                "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\n\
                 From: <sip:2025550123@t.invalid>;tag=a\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:{from}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
                SDP.len()
            ),
        );
        call_id
    }

    /// What was sent that begins so, in order.
    pub fn all(&self, start: &str) -> Vec<&(SocketAddr, String)> {
        let found = self.sent.iter().filter(|(_, text)| text.starts_with(start));
        found.collect()
    }

    /// Where the INVITEs went, in order.
    pub fn dialled(&self) -> Vec<SocketAddr> {
        self.all("INVITE ").iter().map(|(to, _)| *to).collect()
    }

    /// The last INVITE.
    pub fn invite(&self) -> String {
        self.all("INVITE ").last().unwrap().1.clone()
    }

    /// Answers the last request of a method: `status` with its phrase, more lines, and a body.
    pub fn answer(&mut self, method: &str, status: &str, lines: &str, body: &str) {
        let (to, request) = (*self.all(&format!("{method} ")).last().unwrap()).clone();
        let kept = ["Via", "From", "To", "Call-ID", "CSeq"];
        let mut head = String::new();
        for line in request.lines().take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            if !kept.contains(&name) {
                continue;
            }
            head.push_str(line);
            if name == "To" && !line.contains(";tag=") && !status.starts_with("100") {
                head.push_str(";tag=b");
            }
            head.push_str("\r\n");
        }
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "SIP/2.0 {status}\r\n{head}{lines}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.hear(to, &text);
    }

    /// The status of the last answer to a caller.
    pub fn told_caller(&self, call_id: &str) -> u16 {
        let id = format!("Call-ID: {call_id}\r\n");
        let mut answers = self
            .all("SIP/2.0 ")
            .into_iter()
            .filter(|(_, text)| text.contains(&id) && text.contains(" INVITE\r\n"));
        let last = answers.next_back().unwrap();
        last.1[8..11].parse().unwrap()
    }

    /// Ends of legs other than the caller's, in the order of their numbers.
    pub fn legs(&self) -> Vec<&LegClosed> {
        let mut legs: Vec<&LegClosed> = self
            .records
            .iter()
            .filter_map(|change| match change {
                RecordChange::LegClosed(closed) if closed.leg.0 > 0 => Some(&**closed),
                _ => None,
            })
            .collect();
        legs.sort_by_key(|leg| leg.leg);
        legs
    }

    pub fn events(&self) -> Vec<&EventKind> {
        let batches = self.records.iter().filter_map(|change| match change {
            RecordChange::Events { events, .. } => Some(events),
            _ => None,
        });
        batches.flatten().map(|event| &event.kind).collect()
    }
}

/// The value of a header, if the message has it.
pub fn header(text: &str, name: &str) -> Option<String> {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.map(str::to_owned)
}
