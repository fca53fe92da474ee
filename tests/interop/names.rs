//! A trunk that is found by SRV records, whose first targets cannot take calls.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::installed;
use super::place::Place;
use super::records::{dialled, records};
use super::script::Script;
use super::server::{Server, Setup};
use super::sipp::{Run, Sipp, start_office};

const NUMBER: &str = "2025550101";

/// A name server in a thread of its own: `offices.example` is at these addresses, the first of them first. Tells each
/// question that it has answered.
fn name_server(place: &Place, targets: Vec<SocketAddr>) -> (SocketAddr, Receiver<String>) {
    let socket = UdpSocket::bind((place.proxy().ip(), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let question = query.queries[0].clone();
            let name = question.name().to_string().to_lowercase();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            for data in found(&name, question.query_type(), &targets) {
                answer.add_answer(Record::from_rdata(question.name().clone(), 300, data));
            }
            if answer.answers.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            socket.send_to(&answer.to_vec().unwrap(), source).unwrap();
            let _ = tell.send(format!("{} {name}", question.query_type()));
        }
    });
    (address, told)
}

fn found(name: &str, kind: RecordType, targets: &[SocketAddr]) -> Vec<RData> {
    let numbered = (1_u16..).zip(targets);
    match kind {
        RecordType::SRV if name == "_sip._udp.offices.example." => numbered
            .map(|(number, target)| {
                let host = Name::from_ascii(format!("target{number}.offices.example.")).unwrap();
                RData::SRV(SRV::new(number * 10, 1, target.port(), host))
            })
            .collect(),
        RecordType::A => numbered
            .filter(|(number, _)| name == format!("target{number}.offices.example."))
            .filter_map(|(_, target)| match target.ip() {
                IpAddr::V4(ip) => Some(RData::A(A(ip))),
                IpAddr::V6(_) => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// An office that is busy with itself.
fn refuses() -> Script {
    let refuses = Script::office().take_invite();
    refuses
        .respond("503 Service Unavailable", "", "")
        .expect_request("ACK", "")
}

/// An office that talks until the caller hangs up.
fn answers() -> Script {
    let answers = Script::office().take_invite().rings().answers();
    answers
        .expect_request("ACK", "")
        .expect_request("BYE", "")
        .reply_ok()
}

#[test]
fn call_to_a_trunk_whose_first_target_is_silent_and_whose_second_says_503_is_carried_by_the_third() {
    if !installed("sipp") {
        return;
    }
    let place = Place::new();
    let silent = UdpSocket::bind(place.second()).unwrap();
    let busy = place.stranger();
    let (names, asked) = name_server(&place, vec![place.second(), busy, place.offices()]);
    let mut setup = Setup::new(&place);
    setup.sip.push_str(&format!("nameservers = [\"{names}\"]\n"));
    let (host, proxy) = (place.offices().ip(), place.offices());
    setup.trunks = setup.trunks.replace(
        &format!("host = \"{host}\"\nproxy = \"{proxy}\"\n"),
        "host = \"offices.example\"\n",
    );
    let mut server = Server::start_as(&place, &setup);
    // The server looks the name up beside its other work.
    let last = "A target3.offices.example.";
    let questions = std::iter::from_fn(|| asked.recv_timeout(Duration::from_secs(20)).ok());
    assert!(
        questions.into_iter().any(|question| question == last),
        "nobody asked for {last}"
    );
    std::thread::sleep(Duration::from_millis(500));
    let (refuses, answers) = (refuses(), answers());
    let office = |name, script: &Script, local| Run::new(name, script.text(), local, place.server(), NUMBER);
    let mut unavailable = start_office(&place, &office("unavailable", &refuses, busy));
    let two = Run {
        calls: 2,
        ..office("office", &answers, place.offices())
    };
    let mut well = start_office(&place, &two);
    let talk = Script::caller()
        .invite()
        .answered()
        .ack()
        .pause(300)
        .bye()
        .expect_to(200, "BYE");
    let talks = |name| {
        let run = Run::new(name, talk.text(), place.callers(), place.server(), NUMBER);
        let began = Instant::now();
        Sipp::run(&place, &run).finish().unwrap();
        began.elapsed()
    };
    // Four seconds for the silent one, nothing for the other: with room for a busy machine.
    let waited = talks("first").as_secs();
    assert!((3..15).contains(&waited), "{waited} s");
    unavailable.finish().unwrap();
    // The next call knows which target is well.
    let waited = talks("next");
    assert!(waited < Duration::from_millis(3500), "{waited:?}");
    well.finish().unwrap();
    drop(silent);
    server.lives();
    drop(server);
    let outcomes = dialled(&records(&place));
    assert_eq!(outcomes, ["answered_short", "answered_short"]);
}
