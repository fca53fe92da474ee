//! Races and failures that a wire can show, by number of the list in the design: SIPp on both sides.

use std::time::Duration;

use super::bare::{Bare, header, target};
use super::installed;
use super::place::Place;
use super::records::{dialled, records};
use super::script::{Script, sound};
use super::server::{HOTLINE, Server, Setup};
use super::sipp::{Run, Sipp, Wire, run_both, start_office};

const NUMBER: &str = "2025550101";
const PATIENCE: Duration = Duration::from_secs(20);

fn caller(place: &Place, script: &Script) -> Run {
    Run::new("caller", script.text(), place.callers(), place.server(), NUMBER)
}

fn hotline_caller(place: &Place, script: &Script) -> Run {
    Run::new("caller", script.text(), place.callers(), place.server(), HOTLINE)
}

fn office(place: &Place, script: &Script) -> Run {
    Run::new("office", script.text(), place.offices(), place.server(), NUMBER)
}

/// What a race left behind.
struct Raced {
    place: Place,
    /// Every message of the caller, and of the office.
    caller: String,
    office: String,
}

/// Runs caller and office once over UDP and once over TCP, each at a place and with a server of their own. The servers
/// must live on. What happened over UDP comes first.
fn race(called: &Script, answering: &Script) -> [Raced; 2] {
    [Wire::Udp, Wire::Tcp].map(|wire| race_over(wire, called, answering, ""))
}

/// `offices` are further keys of the offices' trunk.
fn race_over(wire: Wire, called: &Script, answering: &Script, offices: &str) -> Raced {
    let place = Place::new();
    let mut setup = Setup::over(&place, wire);
    setup.trunks.push_str(offices);
    let mut server = Server::start_as(&place, &setup);
    let (called, answering) = (caller(&place, called), office(&place, answering));
    let (called, answering) = run_both(&place, &Run { wire, ..called }, &Run { wire, ..answering });
    server.lives();
    drop(server);
    let (caller, office) = (called.messages(), answering.messages());
    Raced {
        place,
        caller,
        office,
    }
}

/// Runs a caller to the hotline's own greeting, over UDP and over TCP.
fn race_hotline(called: &Script) -> [Raced; 2] {
    [Wire::Udp, Wire::Tcp].map(|wire| {
        let place = Place::new();
        let mut server = Server::start_as(&place, &Setup::over(&place, wire));
        let called = hotline_caller(&place, called);
        let mut sipp = Sipp::run(&place, &Run { wire, ..called });
        sipp.finish().unwrap();
        server.lives();
        drop(server);
        let (caller, office) = (sipp.messages(), String::new());
        Raced {
            place,
            caller,
            office,
        }
    })
}

/// A caller that is connected, talks and hangs up.
fn talks() -> Script {
    Script::caller()
        .invite()
        .answered()
        .ack()
        .pause(500)
        .bye()
        .expect(200)
}

/// A caller who gives up while it rings.
fn gives_up() -> Script {
    let rung = Script::caller().invite().rung().pause(300);
    rung.cancel().maybe(200).expect(487).ack_refusal()
}

#[test]
fn race_1_office_that_says_nothing_is_cancelled_at_its_first_word() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().pause(1500).rings();
    let answering = answering
        .expect_request("CANCEL", "")
        .reply_ok()
        .respond("487 Request Terminated", "", "")
        .expect_request("ACK", "");
    for raced in race(&gives_up(), &answering) {
        assert_eq!(dialled(&records(&raced.place)), ["caller_ended_ringing"]);
    }
}

#[test]
fn race_1_answer_as_the_first_word_after_giving_up_is_acknowledged_and_ended() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().pause(1500).answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    race(&gives_up(), &answering);
}

#[test]
fn race_4_cancel_answered_481_still_waits_for_the_end_of_the_invite() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings();
    let answering = answering
        .expect_request("CANCEL", "")
        .reply("481 Call/Transaction Does Not Exist", "", "")
        .pause(700)
        .respond("487 Request Terminated", "", "")
        .expect_request("ACK", "");
    race(&gives_up(), &answering);
}

#[test]
fn race_5_cancel_that_crosses_our_answer_changes_nothing() {
    if !installed("sipp") {
        return;
    }
    let called = Script::caller().invite().answered().cancel();
    let called = called
        .expect_to(200, "CANCEL")
        .ack()
        .pause(500)
        .bye()
        .expect_to(200, "BYE");
    race_hotline(&called);
}

#[test]
fn race_6_bye_before_the_ack_is_obeyed_and_the_answer_no_longer_repeated() {
    if !installed("sipp") {
        return;
    }
    let called = Script::caller().invite().answered().bye().expect_to(200, "BYE");
    let [raced, _] = race_hotline(&called.ack_of(1).pause(2500));
    let answers = raced
        .caller
        .split("UDP message received")
        .filter(|message| message.contains("SIP/2.0 200") && message.contains("CSeq: 1 INVITE"));
    assert_eq!(answers.count(), 1, "{}", raced.caller);
}

#[test]
fn race_8_byes_that_cross_are_both_answered() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings().answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .bye()
        .expect_to(200, "BYE");
    for raced in race(&talks(), &answering) {
        assert_eq!(records(&raced.place).len(), 1);
    }
}

#[test]
fn race_9_bye_that_nobody_answers_is_repeated_and_holds_up_no_caller() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings().answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .pause(6000);
    let [raced, _] = race(&talks(), &answering);
    let byes = raced.office.matches("\nBYE sip:").count();
    assert!(byes >= 3, "{}", raced.office);
}

#[test]
fn race_7_bye_of_an_office_that_rings_ends_its_leg() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings().bye();
    let answering = answering
        .expect_to(200, "BYE")
        .expect_request("CANCEL", "")
        .reply_ok()
        .respond("487 Request Terminated", "", "")
        .expect_request("ACK", "");
    for raced in race(&Script::caller().invite().refused(480), &answering) {
        assert_eq!(dialled(&records(&raced.place)), ["no_answer"]);
    }
}

#[test]
fn race_10_challenged_bye_is_sent_with_credentials_once() {
    if !installed("sipp") {
        return;
    }
    let account = "username = \"hotline\"\npassword = \"secret\"\n";
    let challenge =
        "Proxy-Authenticate: Digest realm=\"offices\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\n";
    let answering = Script::office().take_invite().rings().answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply("407 Proxy Authentication Required", challenge, "")
        .expect_request("BYE", "Proxy-Authorization: Digest .*hotline")
        .reply_ok();
    race_over(Wire::Udp, &talks(), &answering, account);
    race_over(Wire::Tcp, &talks(), &answering, account);
}

#[test]
fn race_11_bye_for_a_dialog_that_nobody_knows_is_481() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let peer = Bare::open(place.callers(), place.server(), "unknown");
    let uri = format!("sip:{NUMBER}@{}", place.server());
    peer.request(("BYE", 7), &uri, &format!("<{uri}>;tag=nobody"), "", "");
    peer.wait_for("SIP/2.0 481", PATIENCE);
    server.lives();
}

#[test]
fn race_13_repeated_answer_is_acknowledged_again_with_the_same_ack() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let peer = Bare::open(place.offices(), place.server(), "office");
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .expect_request("BYE", "")
        .reply_ok();
    let mut called = Sipp::run(&place, &caller(&place, &talk));
    let invite = peer.wait_for("INVITE", PATIENCE);
    let mut acks = Vec::new();
    for _ in 0..4 {
        peer.respond(&invite, "200 OK", "office", &peer.sound());
        acks.push(peer.wait_for("ACK", PATIENCE));
    }
    acks.dedup();
    assert_eq!(acks.len(), 1, "{}", acks.join("\n"));
    // The talk goes on until the office ends it.
    let (from, to) = (header(&invite, "From"), header(&acks[0], "To"));
    peer.send(&format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKbye\r\nFrom: {to}\r\nTo: {from}\r\nCall-ID: {}\r\n\
         CSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        target(&invite),
        place.offices(),
        header(&invite, "Call-ID"),
    ));
    peer.wait_for("SIP/2.0 200", PATIENCE);
    called.finish().unwrap();
    server.lives();
}

#[test]
fn race_14_invite_that_comes_by_another_branch_is_a_loop() {
    if !installed("sipp") {
        return;
    }
    let called = Script::caller().invite().maybe(100).expect(180);
    let called = called
        .merge_invite()
        .expect(482)
        .ack_refusal()
        .answered()
        .ack()
        .pause(300)
        .bye()
        .expect_to(200, "BYE");
    let answering = Script::office().take_invite().rings().pause(1500).answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    race(&called, &answering);
}

#[test]
fn race_15_office_that_forks_is_heard_by_the_branch_that_answers() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite();
    let answering = answering
        .respond("183 Session Progress", "", &sound())
        .forks_as("other")
        .respond("183 Session Progress", "", &sound())
        .pause(300)
        .answers()
        .expect_request("ACK", "tag=[0-9]*Office1other")
        .expect_request("BYE", "tag=[0-9]*Office1other")
        .reply_ok();
    race(&talks(), &answering);
}

#[test]
fn race_16_second_answer_of_a_fork_is_acknowledged_and_ended_and_the_first_kept() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office()
        .take_invite()
        .rings()
        .answers()
        .expect_request("ACK", "");
    let answering = answering
        .forks_as("other")
        .answers()
        .expect_request("ACK", "tag=[0-9]*Office1other")
        .expect_request("BYE", "tag=[0-9]*Office1other")
        .reply_ok()
        .expect_request("BYE", "tag=[0-9]*Office1[^o]")
        .reply_ok();
    let called = Script::caller()
        .invite()
        .answered()
        .ack()
        .pause(2000)
        .bye()
        .expect(200);
    race(&called, &answering);
}

#[test]
fn race_17_answers_without_a_tag_or_without_usable_sound_are_acknowledged_and_ended() {
    if !installed("sipp") {
        return;
    }
    let video = "v=0\no=x 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio 0 RTP/AVP 0\n\
                 m=video [media_port] RTP/AVP 31";
    let place = Place::new();
    let mut server = Server::start(&place);
    for (tagged, answer, status) in [(true, "", 502), (true, video, 488), (false, &sound()[..], 502)] {
        let answering = Script::office().take_invite();
        let answering = if tagged {
            answering
        } else {
            answering.without_tag()
        };
        let answering = answering
            .respond("200 OK", "", answer)
            .expect_request("ACK", "")
            .expect_request("BYE", "")
            .reply_ok();
        let called = Script::caller().invite().refused(status);
        run_both(&place, &caller(&place, &called), &office(&place, &answering));
    }
    server.lives();
    drop(server);
    let outcomes = dialled(&records(&place));
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

#[test]
fn race_21_reinvite_before_the_ack_must_wait() {
    if !installed("sipp") {
        return;
    }
    let called = Script::caller().invite().answered().invite();
    let called = called
        .maybe(100)
        .expect_with(500, "Retry-After", "[0-9]")
        .ack_refusal()
        .ack_of(1)
        .pause(300)
        .invite()
        .answered()
        .ack()
        .bye()
        .expect_to(200, "BYE");
    race_hotline(&called);
}

#[test]
fn race_24_refresh_with_the_same_description_gets_the_same_answer() {
    if !installed("sipp") {
        return;
    }
    let called = Script::caller().invite().answered().ack().pause(300);
    let called = called.invite().answered().ack().bye().expect_to(200, "BYE");
    for raced in race_hotline(&called) {
        let origins = raced.caller.lines().filter(|line| line.starts_with("o="));
        let mut ours: Vec<&str> = origins.filter(|line| !line.contains("sipp")).collect();
        assert!(ours.len() >= 2, "{}", raced.caller);
        ours.dedup();
        assert_eq!(ours.len(), 1, "{ours:?}");
    }
}

#[test]
fn race_18_answer_without_a_description_keeps_the_one_that_came_early() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite();
    let answering = answering
        .respond("183 Session Progress", "Require: 100rel\nRSeq: 700\n", &sound())
        .expect_request("PRACK", "RAck: 700 1 INVITE")
        .reply_ok()
        .respond("200 OK", "", "")
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    race(&talks(), &answering);
}

#[test]
fn race_22_reinvite_that_crosses_our_bye_finds_no_dialog() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let peer = Bare::open(place.callers(), place.server(), "crossing");
    let answering = Script::office().take_invite().answers().expect_request("ACK", "");
    let answering = answering.pause(300).bye().expect_to(200, "BYE");
    let mut office = start_office(&place, &office(&place, &answering));
    peer.invite(NUMBER, "");
    let answer = peer.wait_for("SIP/2.0 200", PATIENCE);
    let (uri, to) = (target(&answer).to_owned(), header(&answer, "To").to_owned());
    peer.request(("ACK", 1), &uri, &to, "", "");
    let bye = peer.wait_for("BYE", PATIENCE);
    peer.request(("INVITE", 2), &uri, &to, "", &peer.sound());
    peer.wait_for("SIP/2.0 481", PATIENCE);
    peer.request(("ACK", 2), &uri, &to, "", "");
    peer.respond(&bye, "200 OK", "", "");
    office.finish().unwrap();
    server.lives();
}

#[test]
fn race_26_update_while_it_rings_is_answered_or_told_to_wait() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings().pause(1500).answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    let called = Script::caller().invite().rung();
    let called = called
        .new_request("UPDATE", "", "")
        .expect_to(200, "UPDATE")
        .new_request("UPDATE", "", &sound())
        .expect_with(500, "Retry-After", "[0-9]")
        .answered()
        .ack_of(1)
        .bye()
        .expect_to(200, "BYE");
    race(&called, &answering);
}

#[test]
fn race_27_prack_of_something_else_is_481_and_the_right_one_lets_the_call_go_on() {
    if !installed("sipp") {
        return;
    }
    let answering = Script::office().take_invite().rings().pause(1500).answers();
    let answering = answering
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    let called = Script::caller().new_request("INVITE", "Require: 100rel\n", &sound());
    let called = called
        .rung_reliably()
        .new_request("PRACK", "RAck: 4711 1 INVITE\n", "")
        .expect_to(481, "PRACK")
        .new_request("PRACK", "RAck: [$rseq] 1 INVITE\n", "")
        .expect_to(200, "PRACK")
        .answered()
        .ack_of(1)
        .new_request("PRACK", "RAck: [$rseq] 1 INVITE\n", "")
        .expect_to(481, "PRACK")
        .bye()
        .expect_to(200, "BYE");
    race(&called, &answering);
}

#[test]
fn race_48_redirection_is_not_followed() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let elsewhere = place.stranger();
    let nobody = Bare::open(elsewhere, place.server(), "elsewhere");
    let redirections = [
        (
            "302 Moved Temporarily",
            format!("<sip:2025550101@{elsewhere}>"),
            410,
        ),
        ("305 Use Proxy", format!("<sip:{elsewhere}>"), 502),
        (
            "300 Multiple Choices",
            format!("<sips:2025550101@{elsewhere}>, <tel:+19005550101>"),
            502,
        ),
    ];
    for (line, contact, status) in redirections {
        let answering = Script::office().take_invite();
        let answering = answering
            .respond(line, &format!("Contact: {contact}\n"), "")
            .expect_request("ACK", "");
        let called = Script::caller().invite().refused(status);
        run_both(&place, &caller(&place, &called), &office(&place, &answering));
    }
    assert_eq!(nobody.receive(Duration::from_millis(300)), None);
    server.lives();
}
