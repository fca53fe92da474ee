//! Another configuration while a call is up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trunkline::call::disposition::SessionDisposition;
use trunkline::call::leg::Seat;
use trunkline::call::record::RecordChange;
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::switch::engine::{Engine, Input, Now, Output, Routes};
use trunkline::switch::simulator::{CallerPlan, Happening, Network, Simulator};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::TrunkName;

use crate::lines::Lines;
use crate::support::{ANSWERS, HOTLINE, Story, WEDNESDAY, library, seconds};

fn plan(keys: &[&str]) -> CallerPlan {
    CallerPlan {
        called: HOTLINE.to_owned(),
        number: "+12025550123".to_owned(),
        keys: keys.iter().map(|&keys| keys.to_owned()).collect(),
        thinks: Duration::from_millis(2500),
        timed_keys: VecDeque::new(),
        by_info: false,
        inband: false,
        hangs_up_after: None,
    }
}

fn ends(simulator: &Simulator) -> Vec<SessionDisposition> {
    let told = simulator.happenings.iter();
    told.filter_map(|(_, happening)| match happening {
        Happening::Record(RecordChange::CallClosed(closed)) => Some(closed.disposition),
        _ => None,
    })
    .collect()
}

#[test]
fn call_in_progress_survives_a_reload_that_removes_its_trunk_and_number() {
    let config = Config::parse(&Story::default().config, "story.toml".as_ref()).unwrap();
    let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
    let trunk = TrunkName::new("trunk");
    let directory = Directory::bundled().unwrap();
    let settings = simulation_settings(&config, routes, directory, library(), &trunk);
    let begun = Instant::now();
    let wall = WEDNESDAY.parse().unwrap();
    let mut simulator = Simulator::new(settings, trunk, begun, wall, Network::default(), 7);
    // Three offices: the later two are dialled after the reload, over the trunk that is no longer there.
    simulator.dial(plan(&["94110", "1"]), VecDeque::from([ANSWERS]));
    while simulator.elapsed() < seconds(20) {
        simulator.step();
    }
    assert_eq!(simulator.engine.calls(), 1);
    let now = Now {
        monotonic: begun + simulator.elapsed(),
        wall,
    };
    let nothing = Input::Configure {
        trunks: Vec::new(),
        routes: Routes::default(),
    };
    simulator.engine.handle_input(now, nothing);
    assert!(simulator.engine.trunks().is_empty());
    assert!(simulator.run(seconds(3600)), "the call ends");
    assert_eq!(ends(&simulator), [SessionDisposition::CompletedAll]);
    let dialled = simulator.happenings.iter().filter(|(_, happening)| {
        matches!(happening, Happening::Record(RecordChange::LegOpened(leg)) if leg.leg.0 > 0)
    });
    assert_eq!(dialled.count(), 3);
    // A call that begins now is not taken, and not recorded: the number is nobody's.
    let before = simulator.happenings.len();
    simulator.dial(plan(&[]), VecDeque::from([ANSWERS]));
    assert!(simulator.run(seconds(120)));
    let records = |told: &[(Duration, Happening)]| {
        told.iter()
            .filter(|(_, happening)| matches!(happening, Happening::Record(_)))
            .count()
    };
    assert_eq!(records(&simulator.happenings[before..]), 0);
}

/// An engine alone with one trunk that it registers with, and what it sent there.
struct Registered {
    engine: Engine,
    now: Now,
    requests: Vec<String>,
    next_stream: u32,
}

const REGISTRAR: &str = "127.0.12.1:5060";

impl Registered {
    fn new() -> Self {
        let config = "[[number]]\npattern = \"XXXXXXX\"\nflow = \"echo\"\n";
        let config = Config::parse(config, "story.toml".as_ref()).unwrap();
        let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
        let directory = Directory::bundled().unwrap();
        let mut settings =
            simulation_settings(&config, routes, directory, library(), &TrunkName::new("trunk"));
        settings.trunks[0].register = Some(seconds(600));
        let now = Now {
            monotonic: Instant::now(),
            wall: WEDNESDAY.parse().unwrap(),
        };
        let mut registered = Self {
            engine: Engine::new(settings, [7; 32]),
            now,
            requests: Vec::new(),
            next_stream: 1,
        };
        let resolved = Input::TrunkResolved {
            trunk: TrunkName::new("trunk"),
            targets: vec![REGISTRAR.parse().unwrap()],
            local: "127.0.10.1:5060".parse().unwrap(),
        };
        registered.input(resolved);
        registered
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle_input(self.now, input);
        self.pump();
    }

    fn received(&mut self, text: &str) {
        self.input(Input::Sip(sip::Input::Received {
            local: "127.0.10.1:5060".parse().unwrap(),
            source: REGISTRAR.parse().unwrap(),
            transport: sip::Transport::Udp,
            bytes: text.as_bytes(),
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
                Output::Transmit { bytes, .. } => {
                    let text = String::from_utf8(bytes).unwrap();
                    if text.starts_with("REGISTER") {
                        self.requests.push(text);
                    }
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.now.monotonic += Duration::from_millis(100);
            self.engine.handle_timeout(self.now);
            self.pump();
        }
    }

    /// Answers the last REGISTER as granted; tells whether it asked to be removed.
    fn grant(&mut self) -> bool {
        let request = self.requests.pop().unwrap();
        let kept = ["Via", "From", "To", "Call-ID", "CSeq", "Contact"];
        let lines = request
            .lines()
            .filter(|line| line.split_once(':').is_some_and(|(name, _)| kept.contains(&name)))
            .fold(String::new(), |all, line| all + line + "\r\n");
        self.requests.clear();
        self.received(&format!("SIP/2.0 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"));
        request.contains("\r\nExpires: 0\r\n")
    }

    fn leave(&mut self) {
        self.input(Input::Configure {
            trunks: Vec::new(),
            routes: Routes::default(),
        });
    }
}

#[test]
fn trunk_whose_name_leads_elsewhere_is_registered_with_at_once() {
    let mut registered = Registered::new();
    assert!(!registered.grant());
    registered.input(Input::TrunkResolved {
        trunk: TrunkName::new("trunk"),
        targets: vec!["127.0.12.9:5060".parse().unwrap(), REGISTRAR.parse().unwrap()],
        local: "127.0.10.1:5060".parse().unwrap(),
    });
    registered.pass(seconds(1));
    assert!(
        registered.requests.is_empty(),
        "where it is registered is still there"
    );
    registered.input(Input::TrunkResolved {
        trunk: TrunkName::new("trunk"),
        targets: vec!["127.0.12.9:5060".parse().unwrap()],
        local: "127.0.10.1:5060".parse().unwrap(),
    });
    registered.pass(Duration::from_millis(100));
    assert_eq!(registered.requests.len(), 1);
}

#[test]
fn removed_trunk_without_calls_is_left_at_once() {
    let mut registered = Registered::new();
    assert!(!registered.grant());
    assert_eq!(registered.engine.trunks()[0].registered, Some(true));
    registered.leave();
    assert!(registered.grant(), "its registration is taken back");
    registered.pass(seconds(700));
    assert!(registered.requests.is_empty(), "nothing is asked of it again");
}

#[test]
fn removed_trunk_is_left_only_when_its_call_has_ended() {
    let mut registered = Registered::new();
    assert!(!registered.grant());
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.12.1\r\ns=-\r\nc=IN IP4 127.0.12.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";
    registered.received(&format!(
        "INVITE sip:0000001@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP {REGISTRAR};branch=z9hG4bKa\r\n\
         Max-Forwards: 70\r\nFrom: <sip:2025550123@t.invalid>;tag=a\r\nTo: <sip:0000001@127.0.10.1>\r\n\
         Call-ID: a\r\nCSeq: 1 INVITE\r\nContact: <sip:{REGISTRAR}>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    ));
    assert_eq!(registered.engine.calls(), 1);
    registered.leave();
    registered.pass(seconds(5));
    assert_eq!((registered.engine.calls(), registered.requests.len()), (1, 0));
    registered.input(Input::EndAll);
    registered.pass(seconds(40));
    assert_eq!(registered.engine.calls(), 0);
    assert!(registered.grant(), "its registration is taken back");
}

#[test]
fn trunk_that_changes_only_how_it_is_used_keeps_its_registration_and_a_new_account_does_not() {
    let mut registered = Registered::new();
    assert!(!registered.grant());
    let config = Config::parse("", "story.toml".as_ref()).unwrap();
    let directory = Directory::bundled().unwrap();
    let trunk = TrunkName::new("trunk");
    let settings = simulation_settings(&config, Routes::default(), directory, library(), &trunk);
    let configure = |channels, host: &str| {
        let mut trunks = settings.trunks.clone();
        trunks[0].register = Some(seconds(600));
        trunks[0].channels = channels;
        trunks[0].host = host.to_owned();
        Input::Configure {
            trunks,
            routes: Routes::default(),
        }
    };
    registered.input(configure(3, &settings.trunks[0].host));
    assert!(registered.requests.is_empty());
    assert_eq!(registered.engine.trunks()[0].registered, Some(true));
    registered.input(configure(3, "other.invalid"));
    assert!(registered.grant(), "the old registration is taken back");
    let states = registered.engine.trunks();
    assert_eq!(
        (states.len(), states[0].resolved, states[0].registered),
        (1, false, Some(false))
    );
    let resolved = Input::TrunkResolved {
        trunk,
        targets: vec![REGISTRAR.parse().unwrap()],
        local: "127.0.10.1:5060".parse().unwrap(),
    };
    registered.input(resolved);
    assert!(registered.requests[0].starts_with("REGISTER sip:other.invalid "));
    assert!(!registered.grant());
    assert_eq!(registered.engine.trunks()[0].registered, Some(true));
}

const REGISTERING: &str = "[[trunk]]\nname = \"t\"\nhost = \"t.example\"\nregistrar = \"r.example\"\n\
                           register = true\nusername = \"u\"\npassword = \"p\"\n";

fn registrars(lines: &mut Lines, targets: &[&str]) {
    let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    let trunk = TrunkName::new("t");
    lines.input(Input::RegistrarsResolved { trunk, targets });
    lines.pass(seconds(1));
}

#[test]
fn a_registrar_that_was_not_found_is_not_replaced_by_the_proxy() {
    let mut lines = Lines::new(REGISTERING);
    registrars(&mut lines, &[]);
    assert_eq!(lines.all("REGISTER ").len(), 0);
    registrars(&mut lines, &["127.0.21.9:5060"]);
    let registrar = "127.0.21.9:5060".parse().unwrap();
    assert_eq!(lines.all("REGISTER ")[0].0, registrar);
    // Those who look names up begin anew at a reload, and find nothing at first.
    registrars(&mut lines, &[]);
    lines.resolve("t", vec![crate::lines::trunk(0)]);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    lines.answer("REGISTER", "401 Unauthorized", challenge, "");
    lines.pass(seconds(1));
    let requests = lines.all("REGISTER ");
    assert!(requests.iter().all(|(to, _)| *to == registrar), "{requests:?}");
    assert!(requests.last().unwrap().1.contains("Authorization: Digest"));
}

#[test]
fn a_trunk_that_was_removed_is_nobody_again_when_its_former_addresses_run_out() {
    let mut lines = Lines::new("[[trunk]]\nname = \"t\"\nhost = \"t.example\"\n");
    let old = crate::lines::trunk(0);
    lines.resolve("t", vec!["127.0.20.9:5060".parse().unwrap()]);
    lines.input(Input::Configure {
        trunks: Vec::new(),
        routes: Routes::default(),
    });
    lines.pass(seconds(60));
    let new = "127.0.20.9:5060".parse().unwrap();
    let heard = |lines: &mut Lines, from| {
        let before = lines.sent.len();
        lines.call(from);
        lines.sent.len() > before
    };
    assert!(!heard(&mut lines, new), "forgotten");
    lines.now.monotonic += seconds(24 * 3600);
    lines.pass(seconds(1));
    assert!(!heard(&mut lines, old) && !heard(&mut lines, new));
}
