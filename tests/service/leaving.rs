//! How the running program leaves, and how it takes other passwords, seen by a trunk.

use std::path::Path;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use rustix::process::Signal;

use crate::process::Service;
use crate::trunk::{Trunk, header};

fn configuration(server: &str, trunk: &str, password: &str, drain_seconds: u64) -> String {
    format!(
        "[sip]\nlisten = [\"udp:{server}:5060\"]\n[web]\nlisten = \"\"\n[store]\nurl = \"sqlite:trunkline.db\"\n\
         [limits]\ndrain_seconds = {drain_seconds}\n\
         [[trunk]]\nname = \"trunk\"\nhost = \"{trunk}\"\nusername = \"account\"\npassword = {password}\nregister = true\n\
         [[number]]\npattern = \"+12025550100\"\nflow = \"hold\"\n"
    )
}

/// A server that is registered with its trunk, and has one call.
fn with_a_call(server: &str, host: &str, drain_seconds: u64) -> (Service, Trunk, String) {
    let mut trunk = Trunk::new(host, server);
    let service = Service::start(&configuration(server, host, "\"secret\"", drain_seconds));
    let register = trunk.expect("REGISTER");
    trunk.register(&register, 300);
    assert_eq!(service.notice().trim(), "READY=1");
    let to = trunk.call("first");
    (service, trunk, to)
}

#[test]
fn termination_lets_calls_finish_refuses_new_ones_and_takes_the_registration_back() {
    let (mut service, mut trunk, to) = with_a_call("127.82.0.1", "127.82.0.2", 60);
    service.signal(Signal::TERM);
    assert_eq!(service.notice().trim(), "STOPPING=1");
    // What came before the switch knew of it is a call like any other.
    service.has_logged("draining: no new calls");
    trunk.ask("INVITE", "second", 1, "<sip:+12025550100@127.82.0.1>");
    let refused = trunk.expect("SIP/2.0 503");
    assert!(
        header(&refused, "CSeq").contains("INVITE") && header(&refused, "Retry-After").parse::<u32>().is_ok()
    );
    trunk.ask("ACK", "second", 1, header(&refused, "To"));
    trunk.ask("OPTIONS", "third", 1, "<sip:+12025550100@127.82.0.1>");
    let refused = trunk.expect("SIP/2.0 503");
    assert!(header(&refused, "CSeq").contains("OPTIONS"));
    // The call in progress is neither ended nor left by its registration.
    assert_eq!(trunk.within("BYE", Duration::from_millis(1500)), None);
    assert_eq!(trunk.within("REGISTER", Duration::ZERO), None);
    trunk.ask("BYE", "first", 2, &to);
    trunk.expect("SIP/2.0 200");
    let leaving = trunk.expect("REGISTER");
    assert_eq!(expires(&leaving), "0");
    trunk.register(&leaving, 0);
    assert!(service.ended().success());
}

#[test]
fn calls_that_outlast_the_time_to_drain_are_ended() {
    let (mut service, mut trunk, _) = with_a_call("127.82.0.3", "127.82.0.4", 1);
    let begun = Instant::now();
    service.signal(Signal::TERM);
    let bye = trunk.expect("BYE");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    trunk.answer(&bye, "200 OK", "");
    let leaving = trunk.expect("REGISTER");
    assert_eq!(expires(&leaving), "0");
    trunk.register(&leaving, 0);
    assert!(service.ended().success());
}

#[test]
fn the_farewell_of_a_call_is_repeated_and_proved_until_the_trunk_has_taken_it() {
    let (mut service, mut trunk, _) = with_a_call("127.82.0.7", "127.82.0.8", 1);
    service.signal(Signal::TERM);
    let lost = trunk.expect("BYE");
    let leaving = trunk.expect("REGISTER");
    trunk.register(&leaving, 0);
    // No call and no registration is left; the first BYE was lost on its way.
    let repeated = trunk.expect("BYE");
    assert_eq!(repeated, lost);
    let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n0\"\r\n";
    trunk.answer(&repeated, "401 Unauthorized", challenge);
    let proved = trunk.expect("BYE");
    assert!(header(&proved, "Authorization").starts_with("Digest "));
    trunk.answer(&proved, "200 OK", "");
    assert!(service.ended().success());
}

#[test]
fn a_farewell_that_nobody_answers_holds_the_end_up_for_eight_seconds_at_most() {
    let (mut service, mut trunk, _) = with_a_call("127.82.0.9", "127.82.0.10", 1);
    service.signal(Signal::TERM);
    trunk.expect("BYE");
    let begun = Instant::now();
    assert!(service.ended().success());
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(6) && took < Duration::from_secs(12),
        "{took:?}"
    );
}

#[test]
fn a_registration_is_taken_back_however_long_the_last_call_lasted() {
    let (mut service, mut trunk, to) = with_a_call("127.82.0.11", "127.82.0.12", 60);
    service.signal(Signal::TERM);
    assert_eq!(trunk.within("BYE", Duration::from_secs(9)), None);
    trunk.ask("BYE", "first", 2, &to);
    let leaving = trunk.expect("REGISTER");
    let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n1\", stale=true\r\n";
    trunk.answer(&leaving, "401 Unauthorized", challenge);
    let proved = trunk.expect("REGISTER");
    assert!(header(&proved, "Authorization").contains("nonce=\"n1\""));
    assert_eq!(expires(&proved), "0");
    trunk.register(&proved, 0);
    assert!(service.ended().success());
}

#[test]
fn hangup_signal_reads_passwords_again() {
    let (server, host) = ("127.82.0.5", "127.82.0.6");
    let mut trunk = Trunk::new(host, server);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trunk_password");
    std::fs::write(&file, "first\n").unwrap();
    let password = format!("{{ file = \"{}\" }}", file.display());
    let mut service = Service::start(&configuration(server, host, &password, 1));
    registers_with(&mut trunk, "first");
    assert_eq!(service.notice().trim(), "READY=1");
    change(&file, "second\n");
    service.signal(Signal::HUP);
    assert!(service.notice().starts_with("RELOADING=1"));
    assert_eq!(service.notice().trim(), "READY=1");
    registers_with(&mut trunk, "second");
    service.signal(Signal::TERM);
    assert_eq!(service.notice().trim(), "STOPPING=1");
    let leaving = trunk.expect("REGISTER");
    trunk.register(&leaving, 0);
    assert!(service.ended().success(), "{}", service.log());
}

/// Challenges a REGISTER and checks that the answer was made with `password`.
fn registers_with(trunk: &mut Trunk, password: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "nobody registered with {password:?}");
        let request = trunk.expect("REGISTER");
        if expires(&request) == "0" {
            trunk.register(&request, 0);
            continue;
        }
        if !request.contains("\r\nAuthorization: ") {
            let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"n0\"\r\n";
            trunk.answer(&request, "401 Unauthorized", challenge);
            continue;
        }
        let authorization = header(&request, "Authorization");
        let part = |name: &str| {
            let (_, rest) = authorization.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap()
        };
        let secret = hash(&format!("account:trunk:{password}"));
        let asked = hash(&format!("REGISTER:{}", part("uri")));
        if part("response") == hash(&format!("{secret}:n0:{asked}")) {
            return trunk.register(&request, 300);
        }
        trunk.register(&request, 300);
    }
}

fn hash(text: &str) -> String {
    Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn expires(register: &str) -> &str {
    let contact = header(register, "Contact");
    match contact.split_once(";expires=") {
        Some((_, seconds)) => seconds,
        None => header(register, "Expires"),
    }
}

/// In one step, as systemd and careful people do.
fn change(file: &Path, text: &str) {
    let newer = file.with_extension("new");
    std::fs::write(&newer, text).unwrap();
    std::fs::rename(newer, file).unwrap();
}
