//! The real program, a name server, and trunk targets that are silent, unavailable or well: over real sockets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use crate::process::Service;

const SERVER: &str = "127.53.1.1:5060";
const SILENT: &str = "127.53.1.2:5062";
const UNAVAILABLE: &str = "127.53.1.3:5063";
const WELL: &str = "127.53.1.4:5064";
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.53.1.4\r\ns=-\r\nc=IN IP4 127.53.1.4\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";

/// A name server in a thread: `trunk.example` has three targets by priority.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.53.1.9:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let question = query.queries[0].clone();
            let name = question.name().to_string().to_lowercase();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            for data in records(&name, question.query_type()) {
                answer.add_answer(Record::from_rdata(question.name().clone(), 300, data));
            }
            if answer.answers.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            socket.send_to(&answer.to_vec().unwrap(), source).unwrap();
        }
    });
    address
}

fn records(name: &str, kind: RecordType) -> Vec<RData> {
    let service = |priority, port, host| {
        let target = Name::from_ascii(host).unwrap();
        RData::SRV(SRV::new(priority, 1, port, target))
    };
    let host = |last| vec![RData::A(A(Ipv4Addr::new(127, 53, 1, last)))];
    match (name, kind) {
        ("_sip._udp.trunk.example.", RecordType::SRV) => vec![
            service(30, 5064, "c.trunk.example."),
            service(10, 5062, "a.trunk.example."),
            service(20, 5063, "b.trunk.example."),
        ],
        ("a.trunk.example.", RecordType::A) => host(2),
        ("b.trunk.example.", RecordType::A) => host(3),
        ("c.trunk.example.", RecordType::A) => host(4),
        _ => Vec::new(),
    }
}

/// A trunk target in a thread: tells what it got and when, and answers INVITE with a status; 0 says nothing.
fn target(address: &str, status: u16) -> (UdpSocket, Receiver<(Instant, String)>) {
    let socket = UdpSocket::bind(address).unwrap();
    let ours = socket.try_clone().unwrap();
    let (told, got) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while let Ok((length, source)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("INVITE ") && status > 0 {
                let kept = ["Via", "From", "To", "Call-ID", "CSeq"];
                let head = text
                    .lines()
                    .filter(|line| line.split_once(':').is_some_and(|(name, _)| kept.contains(&name)))
                    .fold(String::new(), |all, line| all + line + "\r\n");
                let head = head.replacen("\r\nCall-ID", ";tag=t\r\nCall-ID", 1);
                let answer = format!("SIP/2.0 {status} Answer\r\n{head}Content-Length: 0\r\n\r\n");
                socket.send_to(answer.as_bytes(), source).unwrap();
            }
            if told.send((Instant::now(), text)).is_err() {
                return;
            }
        }
    });
    (ours, got)
}

/// The first message that begins so.
fn first(got: &Receiver<(Instant, String)>, start: &str, patience: Duration) -> Option<(Instant, String)> {
    let end = Instant::now() + patience;
    while let Ok(message) = got.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if message.1.starts_with(start) {
            return Some(message);
        }
    }
    None
}

fn call(from: &UdpSocket, number: u32) {
    let invite = format!(
        "INVITE sip:+12025550142@{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {WELL};branch=z9hG4bKcall{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+12025550123@trunk.example>;tag=a\r\nTo: <sip:+12025550142@{SERVER}>\r\n\
         Call-ID: call-{number}\r\nCSeq: 1 INVITE\r\nContact: <sip:{WELL}>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    from.send_to(invite.as_bytes(), SERVER).unwrap();
}

#[test]
fn a_call_finds_the_one_target_of_an_srv_record_that_is_well() {
    let names = name_server();
    let (_silent, silent) = target(SILENT, 0);
    let (_unavailable, unavailable) = target(UNAVAILABLE, 503);
    let (trunk, well) = target(WELL, 486);
    let service = Service::start(&format!(
        "[sip]\nlisten = [\"udp:{SERVER}\"]\nnameservers = [\"{names}\"]\n[web]\nlisten = \"\"\n\
         [media]\nports = \"47200-47300\"\nthreads = 1\n[store]\nurl = \"sqlite:calls.db\"\n\
         [[trunk]]\nname = \"named\"\nhost = \"trunk.example\"\n\
         [[number]]\npattern = \"+1XXXXXXXXXX\"\nflow = \"route\"\n"
    ));
    assert!(service.notice().contains("READY=1"), "{}", service.log());
    // The name is looked up in the background.
    let began = Instant::now();
    let asked = loop {
        call(&trunk, 1);
        if let Some(asked) = first(&silent, "INVITE ", Duration::from_millis(500)) {
            break asked;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{}", service.log());
    };
    assert!(
        asked
            .1
            .starts_with("INVITE sip:+12025550142@trunk.example SIP/2.0\r\n")
    );
    let patience = Duration::from_secs(15);
    let second = first(&unavailable, "INVITE ", patience).unwrap();
    let third = first(&well, "INVITE ", patience).unwrap();
    let waited = second.0 - asked.0;
    assert!((3500..6000).contains(&waited.as_millis()), "{waited:?}");
    assert!(third.0 - second.0 < Duration::from_secs(2));
    // The callee is busy, and so is the caller then.
    assert!(
        first(&well, "SIP/2.0 486 ", patience).is_some(),
        "{}",
        service.log()
    );
    // The next call goes straight to the target that is well.
    while silent.try_recv().is_ok() || unavailable.try_recv().is_ok() {}
    call(&trunk, 2);
    let began = Instant::now();
    let direct = first(&well, "INVITE ", patience).unwrap();
    assert!(direct.0 - began < Duration::from_secs(2));
    assert!(first(&silent, "INVITE sip", Duration::from_millis(300)).is_none());
    assert!(service.end().success());
}
