//! A trunk that is known by its credentials (`accept_username`): whole calls through the engine, and what was captured of
//! them.

use std::net::SocketAddr;
use std::time::Duration;

use sip::{Credentials, Endpoint, EndpointConfig, Event, Invite, Party, Peer, PeerId};
use trunkline::call::record::RecordChange;

use crate::lines::{DIALLED, LOCAL, Lines, SDP, trunk};
use crate::support::seconds;

const CONFIG: &str = "[[trunk]]\nname = \"t\"\nhost = \"t.example\"\ncaller_id = \"+12025550100\"\n\
                      accept_username = \"them\"\naccept_password = \"secret\"\n";
const US: PeerId = PeerId(7);

fn elsewhere() -> SocketAddr {
    "198.51.100.77:5060".parse().unwrap()
}

/// The trunk's switch, somewhere, and the engine that it calls.
struct Talk {
    lines: Lines,
    phone: Endpoint,
    /// How much of what the engine sent the phone has had.
    had: usize,
    /// What the phone sent, and what it was told.
    sent: Vec<String>,
    events: Vec<Event>,
}

impl Talk {
    fn new(password: &str) -> Self {
        let mut phone = Endpoint::new(EndpointConfig::default(), [3; 32]);
        let mut peer = Peer::new(US, elsewhere(), vec![LOCAL.parse().unwrap()]);
        peer.credentials = Some(Credentials {
            username: "them".into(),
            password: password.into(),
            realm: None,
        });
        phone.set_peer(peer);
        Self {
            lines: Lines::new(CONFIG),
            phone,
            had: 0,
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Carries messages both ways until nobody has any more to say.
    fn carry(&mut self) {
        loop {
            let before = (self.had, self.sent.len());
            loop {
                match self.phone.poll_output() {
                    sip::Output::Transmit { bytes, .. } => {
                        let text = String::from_utf8(bytes).unwrap();
                        self.lines.hear(elsewhere(), &text);
                        self.sent.push(text);
                    }
                    sip::Output::Event(event) => self.events.push(event),
                    _ => break,
                }
            }
            while let Some((to, text)) = self.lines.sent.get(self.had).cloned() {
                self.had += 1;
                if to == elsewhere() {
                    let input = sip::Input::Received {
                        local: elsewhere(),
                        source: LOCAL.parse().unwrap(),
                        transport: sip::Transport::Udp,
                        bytes: text.as_bytes(),
                    };
                    self.phone.handle_input(self.lines.now.monotonic, input);
                }
            }
            if before == (self.had, self.sent.len()) {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.lines.now.monotonic + time;
        while self.lines.now.monotonic < end {
            self.lines.pass(Duration::from_millis(50));
            self.phone.handle_timeout(self.lines.now.monotonic);
            self.carry();
        }
    }

    fn call(&mut self) -> sip::SessionId {
        let uri = format!("sip:{DIALLED}@127.0.10.1");
        let invite = Invite {
            peer: US,
            uri: uri.clone(),
            to: uri,
            from: Party {
                display: None,
                uri: "sip:+12025550123@them.example".into(),
            },
            headers: Vec::new(),
            max_forwards: None,
            sdp: SDP.as_bytes().to_vec(),
        };
        let session = self.phone.invite(self.lines.now.monotonic, invite).unwrap();
        self.carry();
        session
    }

    fn opened(&self) -> usize {
        let opened = |change: &&RecordChange| matches!(change, RecordChange::CallOpened(_));
        self.lines.records.iter().filter(opened).count()
    }
}

/// A call that was challenged, answered and ended by the trunk.
fn ended_call() -> Talk {
    let mut talk = Talk::new("secret");
    let session = talk.call();
    assert_eq!(talk.lines.all("SIP/2.0 401 ").len(), 1, "the first is challenged");
    assert_eq!(talk.lines.dialled(), [trunk(0)], "the second is carried");
    talk.lines
        .answer("INVITE", "200 OK", "Contact: <sip:b@127.0.20.1>\r\n", SDP);
    talk.pass(seconds(1));
    let is_answered = |event: &Event| matches!(event, Event::Answered { .. });
    assert!(talk.events.iter().any(is_answered), "{:?}", talk.events);
    assert!(talk.sent.iter().any(|text| text.starts_with("ACK ")));
    talk.phone.hangup(talk.lines.now.monotonic, session, None);
    talk.carry();
    assert_eq!(talk.lines.all("BYE ").len(), 1, "the far end is told");
    talk.lines.answer("BYE", "200 OK", "", "");
    talk.pass(seconds(40));
    assert_eq!((talk.lines.engine.calls(), talk.opened()), (0, 1));
    talk
}

#[test]
fn a_trunk_that_calls_from_anywhere_proves_itself_and_its_call_is_carried_to_its_end() {
    let talk = ended_call();
    let byes = talk.sent.iter().filter(|text| text.starts_with("BYE ")).count();
    assert_eq!(byes, 1, "within its call it need not prove itself again");
}

#[test]
fn a_wrong_password_carries_no_call_and_leaves_no_record() {
    let mut talk = Talk::new("guess");
    talk.call();
    talk.pass(seconds(1));
    assert!(talk.sent.iter().any(|text| text.contains("Authorization: ")));
    assert_eq!((talk.lines.dialled().len(), talk.opened()), (0, 0));
}

#[test]
fn a_captured_call_that_is_played_again_is_refused_from_wherever_it_comes() {
    let mut talk = ended_call();
    let is_proven = |text: &&String| text.starts_with("INVITE ") && text.contains("Authorization: ");
    let captured = talk.sent.iter().find(is_proven).unwrap().clone();
    let call_id = crate::lines::header(&captured, "Call-ID").unwrap();
    for (number, source) in ["198.51.100.77:5060", "198.51.100.77:5099", "203.0.113.5:5060"]
        .iter()
        .enumerate()
    {
        let before = talk.lines.all("SIP/2.0 401 ").len();
        let again = captured
            .replace("z9hG4bK", &format!("z9hG4bK{number}"))
            .replace(&call_id, &format!("again-{number}"));
        talk.lines.hear(source.parse().unwrap(), &again);
        assert_eq!(talk.lines.all("SIP/2.0 401 ").len(), before + 1, "{source}");
        talk.lines.pass(seconds(1));
    }
    assert_eq!((talk.lines.dialled().len(), talk.opened()), (1, 1));
    assert_eq!(talk.lines.engine.calls(), 0);
}
