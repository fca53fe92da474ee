//! PJSIP, the stack of many telephones and gateways, as a caller: a Python program that is told what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use trunkline::command::demo::peer::{find, find_rough, melody, write_wav};
use trunkline::command::demo::{Sighting, Trunk};

use super::certificates::Certificates;
use super::hearing::{HEARD, SPEECH_SECONDS, is_heard_in_pieces};
use super::kamailio::{Kamailio, behind, listening_by_tls, tls};
use super::keys::{office, recording, trunk, tune};
use super::place::Place;
use super::server::{ASKING, HOTLINE, Server, Setup, end};
use super::sipp::Wire;
use super::{installed, peer_is_there};

const PATIENCE: Duration = Duration::from_secs(40);

/// A running telephone.
pub struct Telephone {
    process: Child,
    orders: ChildStdin,
    told: mpsc::Receiver<String>,
    folder: PathBuf,
    seen: Vec<String>,
}

/// The Python that has PJSIP, where `scripts/tools interop` puts it.
fn python() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("trunkline/pjsip/bin/python")
}

/// Whether PJSIP can be run.
pub fn pjsip_is_there() -> bool {
    peer_is_there("PJSIP", python().is_file())
}

impl Telephone {
    /// Starts it at the callers' address; `settings` are further arguments.
    pub fn start(place: &Place, settings: &[&str]) -> Telephone {
        let say = place.write("pjsip/say.wav", "");
        write_wav(&say, &melody(31, SPEECH_SECONDS)).unwrap();
        let folder = say.parent().unwrap().to_owned();
        let mut process = Command::new(python())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/interop/pjsip/telephone.py"
            ))
            .arg(format!("address={}", place.callers()))
            .arg("user=4155550123")
            .arg(format!("folder={}", folder.display()))
            .arg(format!("say={}", say.display()))
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let (tell, told) = mpsc::channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut telephone = Telephone {
            process,
            orders,
            told,
            folder,
            seen: Vec::new(),
        };
        telephone.tells("ready");
        telephone
    }

    pub fn does(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        self.orders.flush().unwrap();
    }

    /// Waits for a line that begins like this.
    pub fn tells(&mut self, start: &str) -> String {
        self.tells_within(start, PATIENCE)
    }

    pub fn tells_within(&mut self, start: &str, time: Duration) -> String {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(line) if line.starts_with(start) => return line,
                // Before its log file is open, PJSIP writes its log here.
                Ok(line)
                    if !["state", "sound", "done", "error"]
                        .iter()
                        .any(|word| line.starts_with(word)) => {}
                Ok(line) => {
                    assert!(!line.starts_with("error"), "{line}\n{}", self.complaint());
                    self.seen.push(line);
                }
                Err(_) => {
                    let complaint = self.complaint();
                    panic!("PJSIP did not tell {start:?} but {:?}\n{complaint}", self.seen)
                }
            }
        }
    }

    /// Ends it; its whole log, with every message.
    pub fn ends(mut self) -> String {
        self.quit();
        self.log()
    }

    fn quit(&mut self) {
        let _ = writeln!(self.orders, "quit");
        for _ in 0..100 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        end(&mut self.process);
    }

    /// Its log as far as it is written.
    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// Ends it, so that its log is whole.
    fn complaint(&mut self) -> String {
        self.quit();
        let errors = std::fs::read_to_string(self.folder.join("errors")).unwrap_or_default();
        let log = self.log();
        let tail = log.len().saturating_sub(20_000);
        format!("{errors}{}", log.get(tail..).unwrap_or(&log))
    }

    /// What it has recorded so far.
    fn heard(&self) -> Vec<i16> {
        let bytes = std::fs::read(self.folder.join("heard.wav")).unwrap_or_default();
        let pairs = bytes.get(44..).unwrap_or_default().chunks_exact(2);
        pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// Waits until known audio can be found in what it heard.
    pub fn hears(&mut self, known: &[i16], what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard();
            let found = find(&heard, known).into_iter().chain(find_rough(&heard, known));
            let best = found.map(|found| found.score).fold(0.0, f64::max);
            if best > HEARD || is_heard_in_pieces(&heard, known) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "PJSIP did not hear {what} (best {best:.2}, {} samples)\n{}",
                heard.len(),
                self.complaint()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Telephone {
    fn drop(&mut self) {
        self.quit();
    }
}

/// Calls the number that asks, keys an office, holds, comes back, and hangs up; the office must have heard it.
async fn whole_call(
    mut phone: Telephone,
    target: String,
    mut network: Trunk,
    number: &'static str,
) -> Telephone {
    let phone = tokio::task::spawn_blocking(move || {
        phone.does(&format!("call {target}"));
        phone.tells("state CONFIRMED");
        phone.hears(&recording("msg_location"), "the question");
        phone.does(&format!("keys {}", &number[5..]));
        phone.hears(&tune(number), "the office");
        phone.does("update");
        phone.tells("done UPDATE 200");
        phone.does("hold");
        phone.tells("sound 2");
        phone.does("unhold");
        phone.tells("sound 1");
        std::thread::sleep(Duration::from_secs(3));
        phone.does("hangup");
        phone.tells("state DISCONNECTED");
        phone
    })
    .await
    .unwrap();
    let talk = loop {
        match network.sighting(PATIENCE).await.expect("the talk ends") {
            Sighting::Ended { heard, .. } => break heard,
            Sighting::NoAck { .. } => panic!("the answer was not acknowledged"),
            _ => {}
        }
    };
    assert!(
        is_heard_in_pieces(&talk.samples, &melody(31, SPEECH_SECONDS)),
        "the office did not hear PJSIP in {} samples",
        talk.samples.len()
    );
    phone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_keys_its_zip_code_talks_holds_and_comes_back() {
    if !pjsip_is_there() {
        return;
    }
    let place = Place::new();
    let number = "2025550112";
    let network = trunk(place.offices(), vec![office(&place, number)]).await;
    let mut server = Server::start(&place);
    let phone = Telephone::start(&place, &["prack=2", "timer=3", "expires=90"]);
    let target = format!("sip:{ASKING}@{}", place.server());
    let phone = whole_call(phone, target, network, number).await;
    let log = phone.ends();
    assert!(log.contains("Session-Expires: 90"), "no session timer was agreed");
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_talks_to_an_office_with_kamailio_before_and_behind_the_server() {
    if !pjsip_is_there() || !installed("kamailio") {
        return;
    }
    let place = Place::new();
    let number = "2025550113";
    let network = trunk(place.offices(), vec![office(&place, number)]).await;
    let setup = behind(&place, Wire::Udp, "");
    let proxy = Kamailio::start(&place, "proxy", Wire::Udp);
    let mut server = Server::start_as(&place, &setup);
    let outbound = format!("proxy=sip:{};lr", place.proxy());
    let phone = Telephone::start(&place, &["prack=2", &outbound]);
    let target = format!("sip:{ASKING}@{}", place.server());
    drop(whole_call(phone, target, network, number).await);
    let from_phone = format!("routed INVITE from {}", place.callers().ip());
    assert!(proxy.count(&from_phone) >= 2, "{}", proxy.log());
    assert_eq!(proxy.count("astray"), 0, "{}", proxy.log());
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_makes_the_same_call_over_tls_and_knows_our_certificate() {
    call_over(Wire::Tls, "2025550114").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_makes_the_same_call_over_tcp() {
    call_over(Wire::Tcp, "2025550115").await;
}

async fn call_over(wire: Wire, number: &'static str) {
    if !pjsip_is_there() {
        return;
    }
    let place = Place::new();
    let network = trunk(place.offices(), vec![office(&place, number)]).await;
    let certificates = Certificates::new(&place);
    let setup = Setup {
        sip: listening_by_tls(&place, &certificates),
        ..Setup::new(&place)
    };
    let mut server = Server::start_as(&place, &setup);
    let (wire_setting, authority) = (
        format!("wire={}", wire.name()),
        format!("authority={}", certificates.authority.display()),
    );
    let phone = Telephone::start(&place, &["prack=2", &wire_setting, &authority]);
    let address = if wire == Wire::Tls {
        tls(place.server())
    } else {
        place.server()
    };
    let target = format!("sip:{ASKING}@{address};transport={}", wire.name());
    let log = whole_call(phone, target, network, number).await.ends();
    let via = format!("SIP/2.0/{} {}", wire.name().to_uppercase(), place.callers().ip());
    assert!(log.contains(&via), "{log}");
    server.lives();
}

#[test]
fn pjsip_that_requires_reliable_responses_hears_the_hotline() {
    if !pjsip_is_there() {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut phone = Telephone::start(&place, &["prack=1"]);
    phone.does(&format!("call sip:{HOTLINE}@{}", place.server()));
    phone.tells("state CONFIRMED");
    phone.hears(&recording("msg_intro-plain"), "the welcome");
    phone.does("hangup");
    phone.tells("state DISCONNECTED");
    let log = phone.ends();
    assert!(log.contains("Require: 100rel"), "{log}");
    assert!(log.contains("Response msg 200/PRACK"), "{log}");
    server.lives();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pjsip_that_hangs_up_early_leaves_no_call_behind() {
    if !pjsip_is_there() {
        return;
    }
    let place = Place::new();
    let number = "2025550102";
    let slow = trunkline::command::demo::Conduct::Answers {
        ring: Duration::from_secs(20),
        speech: tune(number).into(),
        talk: None,
    };
    let slow = trunkline::command::demo::Office {
        conduct: slow,
        ..office(&place, number)
    };
    let mut network = trunk(place.offices(), vec![slow]).await;
    let mut server = Server::start(&place);
    let mut phone = Telephone::start(&place, &["prack=2"]);
    let target = format!("sip:{number}@{}", place.server());
    tokio::task::spawn_blocking(move || {
        phone.does(&format!("call {target}"));
        phone.tells("state EARLY");
        phone.does("hangup");
        let end = phone.tells("state DISCONNECTED");
        assert!(end.ends_with("487"), "{end}");
    })
    .await
    .unwrap();
    let mut sightings = Vec::new();
    while let Some(sighting) = network.sighting(Duration::from_secs(3)).await {
        sightings.push(format!("{sighting:?}"));
    }
    assert!(
        sightings.iter().any(|sighting| sighting.starts_with("Cancelled")),
        "{sightings:?}"
    );
    server.lives();
}

/// A call whose session is refreshed after 45 seconds, one of the things that take long.
pub fn session_that_is_refreshed() {
    if !pjsip_is_there() {
        return;
    }
    let place = Place::new();
    let number = "2025550103";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut network = runtime.block_on(trunk(place.offices(), vec![office(&place, number)]));
    let mut server = Server::start(&place);
    let mut phone = Telephone::start(&place, &["timer=3", "expires=90"]);
    phone.does(&format!("call sip:{number}@{}", place.server()));
    phone.tells("state CONFIRMED");
    let since = Instant::now();
    phone.tells_within("done UPDATE 200", Duration::from_secs(90));
    assert!(since.elapsed() > Duration::from_secs(30), "{:?}", since.elapsed());
    phone.hears(&tune(number), "the office");
    phone.does("hangup");
    phone.tells("state DISCONNECTED");
    server.lives();
    let end = runtime.block_on(async {
        loop {
            match network.sighting(PATIENCE).await.expect("the talk ends") {
                Sighting::Ended { by_office, .. } => break by_office,
                Sighting::NoAck { .. } => panic!("the answer was not acknowledged"),
                _ => {}
            }
        }
    });
    assert!(!end, "the office hung up");
}
