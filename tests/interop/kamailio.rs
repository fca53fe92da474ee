//! Kamailio before the server: as record-routing proxy, as registrar, as dispatcher.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::certificates::Certificates;
use super::installed;
use super::place::{Place, listens};
use super::records::{dialled, records};
use super::script::{Script, body};
use super::server::{HOTLINE, Server, Setup, end};
use super::sipp::{Run, Sipp, Wire, run_both, start_office};

const NUMBER: &str = "2025550101";
const PATIENCE: Duration = Duration::from_secs(40);

/// A running Kamailio; it is ended when dropped.
pub struct Kamailio {
    process: Child,
    log: PathBuf,
}

impl Kamailio {
    /// Starts it with a configuration of `kamailio/` at the place's proxy address. It talks to the server over `wire`,
    /// to the others over UDP.
    pub fn start(place: &Place, name: &str, wire: Wire) -> Kamailio {
        let path = format!("{}/tests/interop/kamailio/{name}.cfg", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(path).unwrap();
        let list = place.write("dispatcher.list", &format!("1 sip:{}\n", place.server()));
        let udp = format!("listen=udp:{}", place.proxy());
        // The server knows Kamailio by its address.
        let source = format!("tcp_source_ipv4={}", place.proxy().ip());
        let (listen, server) = match wire {
            Wire::Udp => (format!("disable_tcp=yes\n{udp}"), place.server().to_string()),
            Wire::Tcp => (
                format!("{source}\n{udp}\nlisten=tcp:{}", place.proxy()),
                format!("{};transport=tcp", place.server()),
            ),
            Wire::Tls => (
                format!(
                    "{source}\nenable_tls=yes\n{udp}\nlisten=tls:{}",
                    tls(place.proxy())
                ),
                format!("{};transport=tls", tls(place.server())),
            ),
        };
        let filled = [
            ("LISTEN", listen),
            ("TLSMODULE", String::new()),
            ("SERVER_IP", place.server().ip().to_string()),
            ("SERVER", server),
            ("OFFICES", place.offices().to_string()),
            ("HOST", place.proxy().ip().to_string()),
            ("REALM", "telephone network".to_owned()),
            ("PASSWORD", PASSWORD.to_owned()),
            ("ACCOUNT", ACCOUNT.to_owned()),
            ("LIST\"", format!("{}\"", list.display())),
        ];
        if wire == Wire::Tls {
            text = text.replace("TLSMODULE", &tls_module(place));
        }
        for (word, by) in filled {
            text = text.replace(word, &by);
        }
        let config = place.write("kamailio/kamailio.cfg", &text);
        let kamailio = Kamailio::run(&config).listening("udp", place.proxy(), place);
        match wire {
            Wire::Udp => kamailio,
            Wire::Tcp => kamailio.listening("tcp", place.proxy(), place),
            Wire::Tls => kamailio.listening("tcp", tls(place.proxy()), place),
        }
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

    fn listening(self, protocol: &str, address: SocketAddr, place: &Place) -> Kamailio {
        assert!(
            listens(protocol, address),
            "Kamailio does not listen:\n{}\n{}",
            self.log(),
            std::fs::read_to_string(place.file("kamailio/kamailio.cfg")).unwrap()
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

/// The address beside this one where TLS is spoken.
pub fn tls(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 5061)
}

/// Kamailio's TLS, with certificates that both sides verify. The certificates must have been made.
fn tls_module(place: &Place) -> String {
    let file = |name: &str| place.file(name).display().to_string();
    let mut text = "loadmodule \"tls.so\"\n".to_owned();
    for (name, value) in [
        ("certificate", file("proxy.pem")),
        ("private_key", file("proxy.key")),
        ("ca_list", file("authority.pem")),
    ] {
        text.push_str(&format!("modparam(\"tls\", \"{name}\", \"{value}\")\n"));
    }
    text + "modparam(\"tls\", \"verify_certificate\", 1)\nmodparam(\"tls\", \"tls_method\", \"TLSv1.2+\")\n"
}

/// One trunk: Kamailio.
pub fn behind(place: &Place, wire: Wire, more: &str) -> Setup {
    let host = place.proxy().ip();
    let mut setup = Setup::over(place, wire);
    let name = wire.name();
    setup.trunks =
        format!("[[trunk]]\nname = \"network\"\nhost = \"{host}\"\ntransport = \"{name}\"\n{more}");
    if wire == Wire::Tls {
        let certificates = Certificates::new(place);
        setup.sip = listening_by_tls(place, &certificates);
        let authority = certificates.authority.display();
        let proxy = tls(place.proxy());
        setup
            .trunks
            .push_str(&format!("proxy = \"{proxy}\"\ntls_ca = \"{authority}\"\n"));
    }
    setup
}

/// Keys of `[sip]` for all three transports.
pub fn listening_by_tls(place: &Place, certificates: &Certificates) -> String {
    let (server, (certificate, key)) = (place.server(), &certificates.server);
    format!(
        "listen = [\"udp:{server}\", \"tcp:{server}\", \"tls:{}\"]\ntls_certificate = \"{}\"\n\
         tls_key = {{ file = \"{}\" }}\n",
        tls(server),
        certificate.display(),
        key.display()
    )
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
    calls_through_the_proxy(Wire::Udp);
}

#[test]
fn proxy_that_talks_tcp_to_the_server_carries_the_same_calls() {
    calls_through_the_proxy(Wire::Tcp);
}

#[test]
fn proxy_that_talks_tls_to_the_server_carries_the_same_calls() {
    calls_through_the_proxy(Wire::Tls);
}

fn calls_through_the_proxy(wire: Wire) {
    if !installed("sipp") || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let setup = behind(&place, wire, "");
    let proxy = Kamailio::start(&place, "proxy", wire);
    let mut server = Server::start_as(&place, &setup);
    let from_server = |method: &str| proxy.count(&format!("routed {method} from {}", place.server().ip()));
    // The caller holds, comes back and hangs up.
    let holds = Script::caller().invite().answered().ack().pause(300);
    let holds = holds
        .new_request("INVITE", "", &body(2, "sendonly"))
        .answered()
        .ack()
        .pause(300)
        .new_request("INVITE", "", &body(3, "sendrecv"))
        .answered()
        .ack()
        .pause(300)
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
    calls_by_registration(Wire::Udp);
}

#[test]
fn registrar_that_is_reached_by_tls_brings_calls_and_takes_calls_the_same_way() {
    calls_by_registration(Wire::Tls);
}

fn calls_by_registration(wire: Wire) {
    if !installed("sipp") || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let account = format!("username = \"{ACCOUNT}\"\npassword = \"{PASSWORD}\"\nregister = true\n");
    let setup = behind(&place, wire, &account);
    let registrar = Kamailio::start(&place, "registrar", wire);
    let server = Server::start_as(&place, &setup);
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
    let dispatcher = Kamailio::start(&place, "dispatcher", Wire::Udp);
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
