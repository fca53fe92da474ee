//! Signalling: SIPp calls, SIPp answers, our server between them.

use super::installed;
use super::place::Place;
use super::server::{IMPATIENT, Server};
use super::sipp::{Scenario, Sipp, pair};

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
fn refusal_of_the_office_reaches_the_caller() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let refusals = [
        ("486 Busy Here", "      Reason: Q.850;cause=17\n", "486"),
        ("404 Not Found", "", "404"),
        ("503 Service Unavailable", "      Retry-After: 5\n", "503"),
        ("603 Decline", "", "603"),
        ("480 Temporarily Unavailable", "", "480"),
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
    pair(
        &place,
        Scenario {
            calls: 20,
            lost: 10,
            ..caller(&place, "caller", &[])
        },
        Scenario {
            calls: 20,
            lost: 10,
            ..office(&place, "office", &[])
        },
    );
    server.lives();
}

#[test]
fn stranger_hears_nothing() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let mut server = Server::start(&place);
    let stranger = Scenario {
        local: place.stranger(),
        ..caller(&place, "stranger", &[])
    };
    Sipp::start(&place, &stranger).finish().unwrap();
    server.lives();
}
