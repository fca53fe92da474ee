//! Signalling: SIPp calls, SIPp answers, our server between them.

use std::net::UdpSocket;
use std::time::Duration;

use super::installed;
use super::place::Place;
use super::records::{dialled, records};
use super::server::{HOTLINE, IMPATIENT, Server};
use super::sipp::{Run, Scenario, Sipp, pair, start_office};

const NUMBER: &str = "2025550101";

fn caller<'a>(place: &Place, name: &'a str, replace: &'a [(&'a str, &'a str)]) -> Scenario<'a> {
    let (local, remote) = (place.callers(), place.server());
    Scenario {
        name,
        replace,
        local,
        remote,
        number: NUMBER,
        calls: 1,
        lost: 0,
    }
}

fn office<'a>(place: &Place, name: &'a str, replace: &'a [(&'a str, &'a str)]) -> Scenario<'a> {
    let (local, remote) = (place.offices(), place.server());
    Scenario {
        name,
        replace,
        local,
        remote,
        number: NUMBER,
        calls: 1,
        lost: 0,
    }
}

#[test]
fn call_is_carried_to_the_office_and_ended_by_either_side() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    pair(
        &place,
        caller(&place, "caller", &[]),
        office(&place, "office", &[]),
    );
    pair(
        &place,
        caller(&place, "caller-hung-up", &[]),
        office(&place, "office-hangs-up", &[]),
    );
    server.lives();
}

#[test]
fn caller_without_an_offer_hears_the_hotline_once_its_answer_came() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let server = Server::start(&place);
    let scenario = Scenario {
        number: HOTLINE,
        ..caller(&place, "caller-late-offer", &[])
    };
    Sipp::start(&place, &scenario).finish().unwrap();
    drop(server);
    let records = records(&place);
    let end = records[0].legs[0].end.as_ref().unwrap();
    // Two seconds of greeting are a hundred packets; a slow machine may make it more.
    assert!(end.media.packets_sent >= 80, "{end:?}");
}

#[test]
fn refusal_of_the_office_reaches_the_caller_and_the_record() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let refusals = [
        ("486 Busy Here", "      Reason: Q.850;cause=17\n", "486"),
        ("404 Not Found", "", "404"),
        ("603 Decline", "", "603"),
        ("480 Temporarily Unavailable", "", "480"),
        // The last, for the trunk is then left alone for a while.
        ("503 Service Unavailable", "      Retry-After: 5\n", "503"),
    ];
    for (line, extra, status) in refusals {
        let (refuses, refused) = ([("STATUS LINE", line), ("EXTRA", extra)], [("STATUS", status)]);
        pair(
            &place,
            caller(&place, "caller-refused", &refused),
            office(&place, "office-refuses", &refuses),
        );
    }
    server.lives();
    drop(server);
    let expected = ["busy", "not_in_service", "declined", "no_answer", "congestion"];
    assert_eq!(dialled(&records(&place)), expected);
}

#[test]
fn caller_who_gives_up_ends_the_ringing_and_the_answer_that_crosses_it() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    pair(
        &place,
        caller(&place, "caller-cancels", &[]),
        office(&place, "office-cancelled", &[]),
    );
    pair(
        &place,
        caller(&place, "caller-cancels", &[]),
        office(&place, "office-answers-late", &[]),
    );
    server.lives();
}

#[test]
fn office_that_rings_too_long_is_cancelled() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let refused = [("STATUS", "480")];
    pair(
        &place,
        Scenario {
            number: IMPATIENT,
            ..caller(&place, "caller-refused", &refused)
        },
        office(&place, "office-cancelled", &[]),
    );
    server.lives();
}

#[test]
fn lost_datagrams_lose_no_call() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    // The 100 may be among the lost; what repeats the INVITE is answered with the latest response.
    let any = [("response=\"100\"", "response=\"100\" optional=\"true\"")];
    // SIPp cannot answer a repeated INVITE twice, so the office loses only what it receives.
    let loses = [
        ("<recv request=\"INVITE\"", "<recv request=\"INVITE\" lost=\"15\""),
        (
            "<recv request=\"ACK\">",
            "<recv request=\"ACK\" lost=\"15\" optional=\"true\">",
        ),
        ("<recv request=\"BYE\">", "<recv request=\"BYE\" lost=\"15\">"),
    ];
    pair(
        &place,
        Scenario {
            calls: 20,
            lost: 10,
            ..caller(&place, "caller", &any)
        },
        Scenario {
            calls: 20,
            ..office(&place, "office", &loses)
        },
    );
    server.lives();
}

#[test]
fn stranger_hears_nothing() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let stranger = UdpSocket::bind(place.stranger()).unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (local, remote) = (place.stranger(), place.server());
    for method in ["INVITE", "OPTIONS", "REGISTER", "BYE", "SUBSCRIBE"] {
        let request = format!(
            "{method} sip:{NUMBER}@{remote} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method};rport\r\n\
             From: <sip:scanner@{local}>;tag=1\r\nTo: <sip:{NUMBER}@{remote}>\r\nCall-ID: {method}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:scanner@{local}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        stranger.send_to(request.as_bytes(), remote).unwrap();
    }
    stranger
        .send_to(b"\0\xff not SIP at all\r\n\r\n", remote)
        .unwrap();
    let answer = stranger.recv_from(&mut [0; 2048]);
    assert!(answer.is_err(), "the server answered a stranger");
    server.lives();
}

#[test]
fn one_datagram_in_five_lost_loses_at_most_one_call_in_a_hundred() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let any = [("response=\"100\"", "response=\"100\" optional=\"true\"")];
    let loses = [
        ("<recv request=\"INVITE\"", "<recv request=\"INVITE\" lost=\"20\""),
        (
            "<recv request=\"ACK\">",
            "<recv request=\"ACK\" lost=\"20\" optional=\"true\">",
        ),
        ("<recv request=\"BYE\">", "<recv request=\"BYE\" lost=\"20\">"),
    ];
    let run = |scenario: Scenario<'_>| Run {
        calls: 200,
        seconds: 100,
        ..scenario.read()
    };
    let callers = Run {
        lost: 20,
        ..run(caller(&place, "caller", &any))
    };
    let _offices = start_office(&place, &run(office(&place, "office", &loses)));
    let mut callers = Sipp::run(&place, &callers);
    let complaint = callers.finish().err();
    let (completed, failed) = callers.tally();
    assert_eq!(completed + failed, 200, "{complaint:?}");
    assert!(
        completed >= 198,
        "{completed} of 200 calls went well: {complaint:?}"
    );
    server.lives();
}
