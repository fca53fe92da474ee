//! A call on the real program, and what `trunkline call show` then draws of it.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::Service;

const SERVER: &str = "127.83.0.1:5060";
const TRUNK: &str = "127.83.0.2:5060";
const CALLER: &str = "2025550123";

const CONFIGURATION: &str = "[sip]\nlisten = [\"udp:127.83.0.1:5060\"]\n[web]\nlisten = \"\"\n\
    [media]\nports = \"30000-30100\"\n[store]\nurl = \"sqlite:trunkline.db\"\n\
    [[trunk]]\nname = \"carrier\"\nhost = \"127.83.0.2\"\naddresses = [\"127.83.0.2\"]\n\
    [[number]]\npattern = \"+12025550100\"\nflow = \"echo\"\n";

fn request(method: &str, to: &str, body: &str) -> String {
    let cseq = if method == "BYE" { 2 } else { 1 };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:+12025550100@{SERVER} SIP/2.0\r\nVia: SIP/2.0/UDP {TRUNK};branch=z9hG4bK{method}\r\n\
         Max-Forwards: 70\r\nFrom: \"Ada\" <sip:+1{CALLER}@{TRUNK}>;tag=c\r\n{to}\r\nCall-ID: traced\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:{CALLER}@{TRUNK}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The next message of this status.
fn answer(socket: &UdpSocket, status: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if text.starts_with(&format!("SIP/2.0 {status}")) {
            return text;
        }
    }
    panic!("no {status} came");
}

fn show(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["call", "show", "last", "--data", data.to_str().unwrap()])
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("COLUMNS")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Makes a call; when it is over, its messages are in the store.
fn call(service: &Service) {
    let data = service.folder.path();
    let trunk = UdpSocket::bind(TRUNK).unwrap();
    trunk.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    trunk.connect(SERVER).unwrap();
    let to = format!("To: <sip:+12025550100@{SERVER}>");
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.83.0.2\r\ns=-\r\nc=IN IP4 127.83.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    // Until the server knows its trunk's address, it answers nothing.
    let deadline = Instant::now() + Duration::from_secs(20);
    let answered = loop {
        trunk.send(request("INVITE", &to, sdp).as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        match trunk.recv(&mut buffer) {
            Ok(_) => break answer(&trunk, "200"),
            Err(_) => assert!(Instant::now() < deadline, "no answer:\n{}", service.log()),
        }
    };
    let to = answered.lines().find(|line| line.starts_with("To:")).unwrap();
    trunk.send(request("ACK", to, "").as_bytes()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let running = show(data, &["--ladder"]);
        let told = String::from_utf8_lossy(&running.stderr);
        assert!(!running.status.success());
        if told.contains("still going on") {
            break;
        }
        // The record itself is a moment on its way to the disk.
        assert!(
            told.contains("no calls yet") && Instant::now() < deadline,
            "{told}"
        );
    }
    trunk.send(request("BYE", to, "").as_bytes()).unwrap();
    answer(&trunk, "200");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !show(data, &["--ladder"]).status.success() {
        assert!(Instant::now() < deadline, "no trace came:\n{}", service.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn call_on_the_wire_is_drawn_captured_given_as_data_and_kept_in_a_backup() {
    let service = Service::start(CONFIGURATION);
    assert_eq!(service.notice().trim(), "READY=1");
    call(&service);
    let data = service.folder.path();
    let ladder = out(&show(data, &["--ladder"]));
    for part in [
        "INVITE 1",
        "◀─ 200 OK (1 INVITE)",
        "BYE 2",
        "127.83.0.2:5060",
        "SDP PCMU 127.83.0.2:4000 sendrecv",
    ] {
        assert!(ladder.contains(part), "{part}:\n{ladder}");
    }
    let plain = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args([
            "call",
            "show",
            "last",
            "--ladder",
            "--data",
            data.to_str().unwrap(),
        ])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(out(&plain).is_ascii());

    let json: serde_json::Value = serde_json::from_str(&out(&show(data, &["--ladder", "--json"]))).unwrap();
    let messages = json["messages"].as_array().unwrap().len();
    assert!(messages >= 6, "{json}");

    let file = data.join("call.pcap");
    let told = out(&show(data, &["--pcap", file.to_str().unwrap()]));
    let capture = std::fs::read(&file).unwrap();
    let holds = |text: &str| {
        capture
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert_eq!(capture[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    assert!(told.contains("messages") && holds("INVITE sip:+12025550100@") && holds("BYE sip:"));
    assert!(
        holds("sip:caller-") && !holds(CALLER),
        "the caller's number is in the capture"
    );

    service.signal(Signal::TERM);
    assert_eq!(service.notice().trim(), "STOPPING=1");
    let copy = data.join("copy/trunkline.db");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    let backup = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["backup", copy.to_str().unwrap(), "--data", data.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(backup.status.success(), "{backup:?}");
    assert_eq!(out(&show(copy.parent().unwrap(), &["--ladder"])), ladder);
    assert!(service.end().success());
}
