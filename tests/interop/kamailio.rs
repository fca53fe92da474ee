//! Kamailio before the server: as record-routing proxy, as registrar, as dispatcher.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::installed;
use super::place::{Place, listens};
use super::records::{dialled, records};
use super::script::{Script, body};
use super::server::{HOTLINE, Server, Setup, end};
use super::sipp::{Run, Sipp, run_both, start_office};

const NUMBER: &str = "2025550101";
const PATIENCE: Duration = Duration::from_secs(40);

/// A running Kamailio; it is ended when dropped.
pub struct Kamailio {
    process: Child,
    log: PathBuf,
}

impl Kamailio {
    /// Starts it with a configuration of `kamailio/` at the place's proxy address.
    pub fn start(place: &Place, name: &str) -> Kamailio {
        let path = format!("{}/tests/interop/kamailio/{name}.cfg", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(path).unwrap();
        let list = place.write("dispatcher.list", &format!("1 sip:{}\n", place.server()));
        let filled = [
            ("LISTEN", format!("disable_tcp=yes\nlisten=udp:{}", place.proxy())),
            ("TLSMODULE", String::new()),
            ("SERVER_IP", place.server().ip().to_string()),
            ("SERVER", place.server().to_string()),
            ("OFFICES", place.offices().to_string()),
            ("HOST", place.proxy().ip().to_string()),
            ("REALM", "telephone network".to_owned()),
            ("PASSWORD", PASSWORD.to_owned()),
            ("ACCOUNT", ACCOUNT.to_owned()),
            ("LIST\"", format!("{}\"", list.display())),
        ];
        for (word, by) in filled {
            text = text.replace(word, &by);
        }
        let config = place.write("kamailio/kamailio.cfg", &text);
        Kamailio::run(&config).listening("udp", place)
    }

    fn run(config: &Path) -> Kamailio {
        let folder = config.parent().unwrap();
        let log = folder.join("log");
        let process = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-f"])
            .arg(config)
            .arg("-P")
            .arg(folder.join("pid"))
            .arg("-Y")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Kamailio { process, log }
    }

    fn listening(self, protocol: &str, place: &Place) -> Kamailio {
        assert!(
            listens(protocol, place.proxy()),
            "Kamailio does not listen:\n{}",
            self.log()
        );
        self
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often its log says something.
    pub fn count(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Waits until its log says something this often.
    pub fn says(&self, words: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(words) < times {
            assert!(
                Instant::now() < deadline,
                "Kamailio did not say {words:?} {times} times:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

const ACCOUNT: &str = "hotline";
const PASSWORD: &str = "correct horse";

/// One trunk: Kamailio.
pub fn behind(place: &Place, more: &str) -> Setup {
    let host = place.proxy().ip();
    Setup {
        trunks: format!("[[trunk]]\nname = \"network\"\nhost = \"{host}\"\n{more}"),
        ..Setup::new(place)
    }
}

fn caller(place: &Place, script: &Script) -> Run {
    Run::new("caller", script.text(), place.callers(), place.proxy(), NUMBER)
}

fn office(place: &Place, script: &Script) -> Run {
    Run::new("office", script.text(), place.offices(), place.proxy(), NUMBER)
}

fn answering() -> Script {
    Script::office()
        .take_invite()
        .rings()
        .answers()
        .expect_request("ACK", "")
}

#[test]
fn proxy_on_the_way_carries_reinvites_and_hangups_of_either_side() {
    if !installed("sipp") || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let proxy = Kamailio::start(&place, "proxy");
    let mut server = Server::start_as(&place, &behind(&place, ""));
    let from_server = |method: &str| proxy.count(&format!("routed {method} from {}", place.server().ip()));
    // The caller holds, comes back and hangs up.
    let holds = Script::caller().invite().answered().ack();
    let holds = holds
        .new_request("INVITE", "", &body(2, "sendonly"))
        .answered()
        .ack()
        .new_request("INVITE", "", &body(3, "sendrecv"))
        .answered()
        .ack()
        .bye()
        .expect_to(200, "BYE");
    let waits = answering().expect_request("BYE", "").reply_ok();
    run_both(&place, &caller(&place, &holds), &office(&place, &waits));
    assert_eq!(from_server("ACK"), 1, "{}", proxy.log());
    assert_eq!(from_server("BYE"), 1, "{}", proxy.log());
    // The office hangs up.
    let hears = Script::caller()
        .invite()
        .answered()
        .ack()
        .expect_request("BYE", "")
        .reply_ok();
    let ends = answering().pause(300).bye().expect_to(200, "BYE");
    run_both(&place, &caller(&place, &hears), &office(&place, &ends));
    assert_eq!(from_server("BYE"), 2, "{}", proxy.log());
    // The caller gives up, and is refused.
    let gives_up = Script::caller().invite().rung().pause(200).cancel();
    let cancelled = Script::office()
        .take_invite()
        .rings()
        .expect_request("CANCEL", "")
        .reply_ok();
    run_both(
        &place,
        &caller(&place, &gives_up.maybe(200).expect(487).ack_refusal()),
        &office(
            &place,
            &cancelled
                .respond("487 Request Terminated", "", "")
                .expect_request("ACK", ""),
        ),
    );
    let busy = Script::office().take_invite().respond("486 Busy Here", "", "");
    run_both(
        &place,
        &caller(&place, &Script::caller().invite().refused(486)),
        &office(&place, &busy.expect_request("ACK", "")),
    );
    assert_eq!(proxy.count("astray"), 0, "{}", proxy.log());
    server.lives();
    drop(server);
    let outcomes = dialled(&records(&place));
    assert_eq!(outcomes[2..], ["caller_ended_ringing", "busy"], "{outcomes:?}");
}

#[test]
fn registrar_that_asks_for_credentials_brings_calls_takes_calls_and_is_left_at_the_end() {
    if !installed("sipp") || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let registrar = Kamailio::start(&place, "registrar");
    let account = format!("username = \"{ACCOUNT}\"\npassword = \"{PASSWORD}\"\nregister = true\n");
    let server = Server::start_as(&place, &behind(&place, &account));
    registrar.says("saved", 1);
    assert!(registrar.count("challenged REGISTER") >= 1, "{}", registrar.log());
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .pause(300)
        .bye()
        .expect_to(200, "BYE");
    let waits = answering().expect_request("BYE", "").reply_ok();
    run_both(&place, &caller(&place, &talk), &office(&place, &waits));
    assert!(registrar.count("challenged INVITE") >= 1, "{}", registrar.log());
    // Ten seconds were granted of the many that were asked for: the binding is refreshed before they are over.
    registrar.says("saved", 3);
    run_both(&place, &caller(&place, &talk), &office(&place, &waits));
    assert_eq!(registrar.count("not registered"), 0, "{}", registrar.log());
    server.terminate();
    server.ends();
    registrar.says("expires 0", 1);
    let refused = Script::caller().invite().refused(404);
    Sipp::run(&place, &caller(&place, &refused)).finish().unwrap();
    assert_eq!(registrar.count("not registered"), 1, "{}", registrar.log());
}

#[test]
fn dispatcher_sends_calls_while_options_are_answered_200_and_none_once_the_server_drains() {
    if !installed("sipp") || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let dispatcher = Kamailio::start(&place, "dispatcher");
    dispatcher.says("down sip:", 1);
    let mut setup = Setup::new(&place);
    let (callers, second) = (place.callers().ip().to_string(), place.second().ip());
    setup.trunks = setup.trunks.replace(&callers, &place.proxy().ip().to_string());
    let also = format!("destinations = []\naddresses = [\"{second}\"]");
    setup.trunks = setup.trunks.replace("destinations = []", &also);
    setup.limits = "drain_seconds = 60\n".to_owned();
    let server = Server::start_as(&place, &setup);
    dispatcher.says("up sip:", 1);
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .expect_request("BYE", "")
        .reply_ok();
    let waits = answering().pause(8000).bye().expect_to(200, "BYE");
    let mut office = start_office(&place, &office(&place, &waits));
    let mut talking = Sipp::run(&place, &caller(&place, &talk));
    let deadline = Instant::now() + PATIENCE;
    while !office.messages().contains("\nACK ") {
        assert!(Instant::now() < deadline, "{}", office.messages());
        std::thread::sleep(Duration::from_millis(50));
    }
    server.terminate();
    dispatcher.says("down sip:", 2);
    // The dispatcher knows of no switch any more; who comes past it is told to come again.
    let refused = |name, remote, script: &Script| {
        let run = Run::new(name, script.text(), place.second(), remote, HOTLINE);
        Sipp::run(&place, &run).finish().unwrap();
    };
    refused(
        "dispatched",
        place.proxy(),
        &Script::caller().invite().refused(503),
    );
    let later = Script::caller()
        .invite()
        .maybe(100)
        .expect_with(503, "Retry-After", "[0-9]");
    refused("direct", place.server(), &later.ack_refusal());
    // The call that was going on goes on.
    talking.finish().unwrap();
    office.finish().unwrap();
    server.ends();
}
