//! A call's SIP messages from the wire to the terminal: engine, store and command, by a clock of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use trunkline::call::leg::Seat;
use trunkline::call::record::RecordChange;
use trunkline::call::trace::Keep;
use trunkline::command::call::{CallCommand, ShowArgs, run_with};
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::store::{CallStore, SqliteStore, StoreUrl};
use trunkline::switch::engine::{Engine, Input, Now, Output, TraceRules};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::TrunkName;

use crate::support::{WEDNESDAY, library};

const CALLER: &str = "2025550123";
const FAR_END: &str = "2025550177";
const PASSWORD: &str = "correct-horse";
const ALL: TraceRules = TraceRules {
    keep: Keep::All,
    most_per_second: 20,
};

/// An engine whose numbers lead to the far end, and all that it put out.
struct Stand {
    engine: Engine,
    now: Now,
    sent: Vec<String>,
    changes: Vec<RecordChange>,
    next_stream: u32,
}

fn trunk() -> SocketAddr {
    "198.51.100.7:5060".parse().unwrap()
}

fn ours() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

impl Stand {
    fn new(rules: TraceRules) -> Self {
        let text = "[[number]]\npattern = \"+1202555XXXX\"\nflow = \"route\"\n";
        let config = Config::parse(text, "trace.toml".as_ref()).unwrap();
        let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
        let name = TrunkName::new("carrier");
        let mut settings =
            simulation_settings(&config, routes, Directory::bundled().unwrap(), library(), &name);
        settings.caller_key = Some(b"key".to_vec());
        settings.trunks[0].caller_id = Some("+12025550100".parse().unwrap());
        settings.trunks[0].credentials = Some(sip::Credentials {
            username: "line7".to_owned(),
            password: PASSWORD.to_owned(),
            realm: None,
        });
        let mut engine = Engine::new(settings, [7; 32]);
        engine.keep_traces(rules);
        let now = Now {
            monotonic: Instant::now(),
            wall: WEDNESDAY.parse::<Timestamp>().unwrap(),
        };
        let mut stand = Self {
            engine,
            now,
            sent: Vec::new(),
            changes: Vec::new(),
            next_stream: 1,
        };
        stand.input(Input::TrunkResolved {
            trunk: name,
            targets: vec![trunk()],
            local: ours(),
        });
        stand
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Wait(_) => return,
                Output::Transmit { bytes, .. } => self.sent.push(String::from_utf8(bytes).unwrap()),
                Output::Records(changes) => self.changes.extend(changes),
                Output::NeedStreams(count) => {
                    for _ in 0..count {
                        let port = 20_000 + u16::try_from(self.next_stream).unwrap() * 2;
                        let seat = Seat {
                            stream: media::StreamId(self.next_stream),
                            address: SocketAddr::new(ours().ip(), port),
                        };
                        self.next_stream += 1;
                        self.engine.handle_input(self.now, Input::StreamReady(seat));
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets time pass, so many milliseconds.
    fn pass(&mut self, milliseconds: u64) {
        let time = Duration::from_millis(milliseconds);
        self.now.monotonic += time;
        self.now.wall = self.now.wall.checked_add(time).unwrap();
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    /// The trunk sends; the socket listens on every address.
    fn hear(&mut self, message: &str) {
        self.hear_from(trunk(), message);
    }

    fn hear_from(&mut self, source: SocketAddr, message: &str) {
        self.input(Input::Sip(sip::Input::Received {
            local: "0.0.0.0:5060".parse().unwrap(),
            source,
            transport: sip::Transport::Udp,
            bytes: message.as_bytes(),
        }));
    }

    /// The last message that begins so.
    fn last(&self, start: &str) -> String {
        let found = self.sent.iter().rfind(|message| message.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start} in {:#?}", self.sent))
            .clone()
    }

    /// What was recorded, in a store.
    fn stored(&self) -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::sqlite(folder.path().join("trunkline.db"));
        let store = SqliteStore::open(&url).unwrap();
        store.apply(&self.changes).unwrap();
        (folder, store)
    }

    fn traces(&self) -> usize {
        let is_trace = |change: &&RecordChange| matches!(change, RecordChange::Traced(_));
        self.changes.iter().filter(is_trace).count()
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message
        .lines()
        .find(|line| line.starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
}

fn with_body(head: &str, body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The caller's request.
fn request(method: &str, cseq: u32, to_tag: &str, body: &str) -> String {
    let head = format!(
        "{method} sip:+1{FAR_END}@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
         From: \"ADA BYRON\" <sip:+1{CALLER}@198.51.100.7>;tag=c\r\nTo: <sip:+1{FAR_END}@192.0.2.1>{to_tag}\r\n\
         Call-ID: {CALLER}-1@198.51.100.7\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:{CALLER}@198.51.100.7:5060>\r\nP-Asserted-Identity: <tel:+1{CALLER}>\r\n"
    );
    with_body(&head, body)
}

/// The far end's response to a request of ours.
fn response(request: &str, status: &str, more: &str, body: &str) -> String {
    let copied: Vec<&str> = ["Via", "From", "Call-ID", "CSeq"]
        .iter()
        .map(|name| header(request, name))
        .collect();
    let to = header(request, "To");
    let to = if status.starts_with("100") || to.contains(";tag=") {
        to.to_owned()
    } else {
        format!("{to};tag=f")
    };
    let head = format!(
        "SIP/2.0 {status}\r\n{}\r\n{to}\r\nContact: <sip:+1{FAR_END}@198.51.100.7:5060>\r\n{more}",
        copied.join("\r\n")
    );
    with_body(&head, body)
}

fn tag_of(message: &str) -> String {
    let to = header(message, "To");
    to[to.find(";tag=").unwrap()..].to_owned()
}

/// A call whose INVITE comes twice, whose dialled leg is challenged, and which the far end ends.
fn whole_call(rules: TraceRules) -> Stand {
    let mut stand = Stand::new(rules);
    let invite = request("INVITE", 1, "", &sdp(4000));
    stand.hear(&invite);
    let dialled = stand.last("INVITE ");
    stand.pass(20);
    let challenge = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n0ncen0nce\", algorithm=MD5\r\n";
    stand.hear(&response(
        &dialled,
        "407 Proxy Authentication Required",
        challenge,
        "",
    ));
    let dialled = stand.last("INVITE ");
    assert!(dialled.contains("Proxy-Authorization: Digest"), "{dialled}");
    stand.pass(10);
    stand.hear(&response(&dialled, "100 Trying", "", ""));
    stand.pass(470);
    // Whoever knows the Call-ID writes nothing into the trace.
    let stranger = "203.0.113.9:5060".parse().unwrap();
    let injected = response(&dialled, "599 Injected", "", "").replace("branch=z9hG4bK", "branch=z9hG4bKx");
    stand.hear_from(stranger, &injected);
    stand.hear(&invite);
    stand.pass(100);
    stand.hear(&response(&dialled, "183 Session Progress", "", &sdp(4002)));
    stand.pass(4400);
    stand.hear(&response(&dialled, "200 OK", "", &sdp(4002)));
    stand.pass(15);
    let answered = stand.last("SIP/2.0 200 OK");
    assert!(answered.contains("CSeq: 1 INVITE"), "{answered}");
    stand.hear(&request("ACK", 1, &tag_of(&answered), ""));
    stand.pass(31_000);
    let bye = far_bye(&dialled);
    stand.hear(&bye);
    stand.pass(8);
    let ended = stand.last("BYE ");
    stand.hear(&response(&ended, "200 OK", "", ""));
    // The totals of the streams never come; late messages are awaited after that.
    stand.pass(3_000);
    stand.pass(6_000);
    stand
}

/// The far end hangs up, with bytes meant for a terminal.
fn far_bye(dialled: &str) -> String {
    let contact = header(dialled, "Contact");
    let uri = &contact[contact.find('<').unwrap() + 1..contact.find('>').unwrap()];
    let (from, to) = (&header(dialled, "From")[6..], &header(dialled, "To")[4..]);
    let call_id = header(dialled, "Call-ID");
    with_body(
        &format!(
            "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
             From: {to};tag=f\r\nTo: {from}\r\n{call_id}\r\nCSeq: 9 BYE\r\n\
             Reason: Q.850;cause=16;text=\"\u{202e}evil\u{9b}31m\"\r\nUser-Agent: \u{202e}gpj\u{9b}2J\r\n"
        ),
        "",
    )
}

fn shown(store: &SqliteStore, args: ShowArgs) -> String {
    let args = ShowArgs {
        id: "last".to_owned(),
        ..args
    };
    let mut out = Vec::new();
    run_with(store, &CallCommand::Show(args), &TimeZone::UTC, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn drawn() -> ShowArgs {
    ShowArgs {
        ladder: true,
        width: Some(90),
        ..ShowArgs::default()
    }
}

#[test]
fn whole_call_is_drawn_as_a_ladder() {
    let (_folder, store) = whole_call(ALL).stored();
    let ladder = shown(&store, drawn());
    let expected = include_str!("trace/ladder.txt");
    assert!(ladder == expected, "drawn:\n{ladder}\nexpected:\n{expected}");
    let ascii = shown(
        &store,
        ShowArgs {
            ascii: true,
            ..drawn()
        },
    );
    assert!(
        ascii.is_ascii() && ascii.contains("|-- INVITE 1 x2 ---"),
        "{ascii}"
    );
}

#[test]
fn no_secret_and_no_number_of_a_person_is_in_the_store() {
    let stand = whole_call(ALL);
    let response = stand.last("INVITE ");
    let response = response
        .split("response=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let (folder, store) = stand.stored();
    let full = shown(
        &store,
        ShowArgs {
            full: true,
            ..drawn()
        },
    );
    assert!(
        full.contains("sip:caller-") && full.contains("realm=\"carrier\""),
        "{full}"
    );
    // Letters that steer a terminal are shown, not obeyed.
    assert!(full.contains("User-Agent: \\u{202e}gpj\\u{9b}2J"), "{full}");
    assert!(!full.contains(['\u{202e}', '\u{9b}', '\u{1b}']), "{full}");
    drop(store);
    let secrets = [
        CALLER,
        FAR_END,
        "ADA BYRON",
        "line7",
        PASSWORD,
        "n0ncen0nce",
        response.as_str(),
    ];
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in secrets {
            assert!(!holds(&bytes, secret), "{secret} in {}", path.display());
        }
    }
    assert!(holds(
        &all_bytes(folder.path()),
        "Proxy-Authorization: Digest username=\"redacted\""
    ));
}

fn all_bytes(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn messages_come_as_data_with_the_addresses_of_the_wire() {
    let (_folder, store) = whole_call(ALL).stored();
    let text = shown(
        &store,
        ShowArgs {
            json: true,
            ..drawn()
        },
    );
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let messages = read["messages"].as_array().unwrap();
    let first = &messages[0];
    assert_eq!((&first["method"], &first["cseq"]), (&"INVITE".into(), &1.into()));
    // The socket listens on every address; what the trunk reaches stands here.
    assert_eq!(first["destination"], "192.0.2.1:5060");
    assert_eq!(first["copies"].as_array().unwrap().len(), 1);
    assert_eq!(first["party"], "caller");
    let challenge = messages.iter().find(|message| message["status"] == 407).unwrap();
    assert_eq!(
        (&challenge["leg"], &challenge["sent"]),
        (&1.into(), &false.into())
    );
}

#[test]
fn call_that_is_turned_away_leaves_its_offer_and_the_refusal() {
    let mut stand = Stand::new(TraceRules {
        keep: Keep::Failed,
        ..ALL
    });
    let offer = sdp(4000).replace("RTP/AVP 0 8 101", "RTP/AVP 9");
    stand.hear(&request("INVITE", 1, "", &offer));
    let refused = stand.last("SIP/2.0 488");
    assert_eq!(stand.traces(), 1);
    stand.hear(&request("ACK", 1, &tag_of(&refused), ""));
    stand.pass(10_000);
    // Once at its end, and again with the ACK.
    assert_eq!(stand.traces(), 2);
    let (_folder, store) = stand.stored();
    let ladder = shown(&store, drawn());
    for part in [
        "INVITE 1",
        "SDP G722 198.51.100.7:4000 sendrecv",
        "488 Not Acceptable Here",
        "ACK 1",
    ] {
        assert!(ladder.contains(part), "{part}:\n{ladder}");
    }
}

#[test]
fn only_the_calls_that_are_asked_for_leave_a_trace() {
    let keeping = |keep| whole_call(TraceRules { keep, ..ALL });
    let all = keeping(Keep::All);
    assert!(all.traces() > 0);
    let counters = all.engine.trace_counters();
    assert_eq!(
        (counters.kept, counters.memory),
        (1, 0),
        "nothing is held once it is written"
    );
    let failed = keeping(Keep::Failed);
    assert_eq!(failed.traces(), 0, "nothing was refused in earnest");
    assert_eq!(failed.engine.trace_counters(), Default::default());
    let none = keeping(Keep::None);
    assert_eq!(none.traces(), 0);
    let (_folder, store) = none.stored();
    let mut out = Vec::new();
    let args = ShowArgs {
        id: "last".to_owned(),
        ..drawn()
    };
    let error = run_with(&store, &CallCommand::Show(args), &TimeZone::UTC, &mut out).unwrap_err();
    assert!(
        error.to_string().contains("[trace] in the configuration"),
        "{error}"
    );
}
