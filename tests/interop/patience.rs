//! What takes half a minute or longer, all of it at once: answers that nobody acknowledges, refreshes that do not come.

use std::time::{Duration, Instant};

use super::bare::{Bare, header, target};
use super::installed;
use super::pjsip::session_that_is_refreshed;
use super::place::Place;
use super::records::records;
use super::script::{Script, body};
use super::server::{HOTLINE, Server, Setup};
use super::sipp::{Run, Sipp, run_both};

const NUMBER: &str = "2025550101";
/// The longest that anything here takes, with room for a busy machine.
const LONG: Duration = Duration::from_secs(100);

#[test]
fn races_that_take_half_a_minute_or_longer_end_as_they_must() {
    if !installed("sipp") {
        return;
    }
    let stories: [(&str, fn()); 7] = [
        (
            "12: an answer without ACK is repeated, then hung up",
            answer_without_ack,
        ),
        (
            "25: a refresh that never comes ends the call",
            refresh_that_never_comes,
        ),
        (
            "27: a reliable response without PRACK is repeated, then refused",
            response_without_prack,
        ),
        (
            "20, 26: UPDATE refused, then re-INVITE that meets theirs",
            refreshes_that_meet,
        ),
        ("23: a refresh answered 481 ends the call", refresh_answered_481),
        ("50: ten thousand half-open calls leave nothing", half_open_calls),
        ("24: a refresh by PJSIP keeps the call", session_that_is_refreshed),
    ];
    let threads = stories.map(|(name, story)| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        (name, thread.spawn(story).unwrap())
    });
    let failed = threads.map(|(name, thread)| thread.join().is_err().then_some(name));
    let failed: Vec<&str> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:?}; each has said why");
}

fn answer_without_ack() {
    let place = Place::new();
    let server = Server::start(&place);
    let peer = Bare::open(place.callers(), place.server(), "noack");
    peer.invite(HOTLINE, "");
    let answer = peer.wait_for("SIP/2.0 200", LONG);
    let (first, mut copies) = (Instant::now(), 0);
    let bye = loop {
        let message = peer.receive(LONG).expect("copies of the answer, then BYE");
        if message.starts_with("BYE") {
            break message;
        }
        assert_eq!(message, answer, "a copy differs");
        copies += 1;
    };
    let waited = first.elapsed();
    peer.respond(&bye, "200 OK", "", "");
    // 0.5, 1, 2, 4, 4 … seconds for 32 seconds (RFC 3261 §13.3.1.4).
    assert!((8..=11).contains(&copies), "{copies} copies");
    assert!((30..60).contains(&waited.as_secs()), "{waited:?}");
    drop(server);
    let records = records(&place);
    assert!(records[0].summary.ended_at.is_some(), "{records:?}");
}

fn refresh_that_never_comes() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let peer = Bare::open(place.callers(), place.server(), "norefresh");
    peer.invite(
        HOTLINE,
        "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\nMin-SE: 90\r\n",
    );
    let answer = peer.wait_for("SIP/2.0 200", LONG);
    assert!(
        header(&answer, "Session-Expires").starts_with("90;refresher=uac"),
        "{answer}"
    );
    let (uri, to) = (target(&answer).to_owned(), header(&answer, "To").to_owned());
    peer.request(("ACK", 1), &uri, &to, "", "");
    let since = Instant::now();
    let bye = peer.wait_for("BYE", LONG);
    peer.respond(&bye, "200 OK", "", "");
    // A third of the interval before its end (RFC 4028 §10), unless the silence of the telephone comes first.
    let waited = since.elapsed().as_secs();
    assert!((50..95).contains(&waited), "{waited} s\n{bye}");
    server.lives();
}

fn response_without_prack() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let office = Bare::open(place.offices(), place.server(), "silent");
    let peer = Bare::open(place.callers(), place.server(), "noprack");
    peer.invite(NUMBER, "Require: 100rel\r\n");
    let invite = office.wait_for("INVITE", LONG);
    office.respond(&invite, "180 Ringing", "o", "");
    let ringing = peer.wait_for("SIP/2.0 180", LONG);
    assert_ne!(header(&ringing, "RSeq"), "", "{ringing}");
    let (since, mut copies) = (Instant::now(), 0);
    let refusal = loop {
        let message = peer
            .receive(LONG)
            .expect("copies of the response, then a refusal");
        if !message.starts_with("SIP/2.0 1") {
            break message;
        }
        copies += 1;
    };
    assert!(refusal.starts_with("SIP/2.0 5"), "{refusal}");
    assert!(copies >= 4, "{copies} copies");
    assert!((30..60).contains(&since.elapsed().as_secs()));
    server.lives();
}

/// The description of an office that `plays`.
fn playing(version: u32) -> String {
    body(version, "sendrecv").replace("[media_port]", "[rtpstream_audio_port]")
}

/// Our refresh goes out as UPDATE, which the office does not want, and then as re-INVITE, which meets the office's own.
fn refreshes_that_meet() {
    let timer = "Supported: timer\nRequire: timer\nSession-Expires: 90;refresher=uac\nAllow: INVITE, ACK, BYE, UPDATE\n";
    let answering = Script::office()
        .take_invite()
        .respond("200 OK", timer, &playing(1));
    let answering = answering
        .expect_request("ACK", "")
        .plays("hum.pcmu")
        .expect_request("UPDATE", "Session-Expires: 90")
        .reply("405 Method Not Allowed", "Allow: INVITE, ACK, BYE\n", "")
        .expect_request("INVITE", "Session-Expires: 90")
        .keep_invite()
        .new_request("INVITE", "", &playing(2))
        .maybe(100)
        .expect_with(491, "CSeq", "INVITE")
        .ack_refusal()
        .respond_kept("491 Request Pending", "", "")
        .expect_request("ACK", "")
        // We made the call, so we wait 2.1 to 4 seconds (RFC 3261 §14.1).
        .expect_request("INVITE", "Session-Expires: 90")
        .reply("200 OK", timer, &playing(1))
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok();
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .pause(56_000)
        .bye()
        .expect(200);
    with_long_talk(&talk, &answering);
}

fn refresh_answered_481() {
    let timer = "Supported: timer\nRequire: timer\nSession-Expires: 90;refresher=uac\nAllow: INVITE, ACK, BYE, UPDATE\n";
    let answering = Script::office()
        .take_invite()
        .respond("200 OK", timer, &playing(1));
    let answering = answering
        .expect_request("ACK", "")
        .plays("hum.pcmu")
        .expect_request("UPDATE", "")
        .reply("481 Call/Transaction Does Not Exist", "", "");
    // The office's leg is gone; the flow then ends the caller's.
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .expect_request("BYE", "")
        .reply_ok();
    with_long_talk(&talk, &answering);
}

fn with_long_talk(talk: &Script, answering: &Script) {
    let place = Place::new();
    let mut setup = Setup::new(&place);
    // The caller's telephone sends no sound; the office's must, or it counts as broken.
    place.write("hum.pcmu", &"zZ".repeat(8000));
    setup.more = "[media]\nsilence_seconds = 600\n".to_owned();
    let mut server = Server::start_as(&place, &setup);
    let run = |name, script: &Script, local| Run {
        seconds: LONG.as_secs(),
        ..Run::new(name, script.text(), local, place.server(), NUMBER)
    };
    run_both(
        &place,
        &run("caller", talk, place.callers()),
        &run("office", answering, place.offices()),
    );
    server.lives();
}

/// Calls that are answered and never acknowledged, and many more that find every line taken.
fn half_open_calls() {
    const CALLS: usize = 10_000;
    let place = Place::new();
    let mut setup = Setup::new(&place);
    setup.trunks = setup
        .trunks
        .replace("destinations = []", "destinations = []\nchannels = 60");
    setup.web = format!("{}:8080", place.server().ip());
    let mut server = Server::start_as(&place, &setup);
    let before = server.memory();
    let mut peer = Bare::open(place.callers(), place.server(), "half");
    let (mut answers, mut refusals) = (0, 0);
    let mut count = |peer: &Bare, within| {
        while let Some(message) = peer.receive(within) {
            answers += usize::from(message.starts_with("SIP/2.0 200"));
            refusals += usize::from(message.starts_with("SIP/2.0 503"));
        }
    };
    for number in 0..CALLS {
        peer.renamed(&format!("half{number}"));
        peer.invite(HOTLINE, "");
        if number % 20 == 19 {
            count(&peer, Duration::from_millis(5));
        }
    }
    count(&peer, Duration::from_secs(1));
    let during = server.memory();
    assert!(answers >= 50, "{answers} answers");
    assert!(refusals >= 1000, "{refusals} refusals");
    let grown = during.saturating_sub(before) / 1024;
    assert!(grown < 120, "{grown} MiB more for {CALLS} half-open calls");
    // All of them are over after 32 seconds, with copies and farewells after 64: then there is room for a new call.
    let deadline = Instant::now() + LONG;
    while server.calls() > 0 {
        assert!(Instant::now() < deadline, "{} calls are left", server.calls());
        while peer.receive(Duration::from_millis(500)).is_some() {}
    }
    let talk = Script::caller().invite().answered().ack().bye().expect(200);
    drop(peer);
    let mut sipp = Sipp::run(
        &place,
        &Run::new("after", talk.text(), place.callers(), place.server(), HOTLINE),
    );
    sipp.finish().unwrap();
    server.lives();
}
