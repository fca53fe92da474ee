//! SIP over TCP and TLS, between the real program and the other side of real connections.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::far_end::{Authority, FarEnd, accept, dial, header, listen};
use crate::process::Service;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.93.0.1\r\ns=-\r\nc=IN IP4 127.93.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0\r\n";

/// Neither further lines nor a body.
const NOTHING: (&str, &str) = ("", "");

/// A running server with a trunk of this address, whose number answers and waits.
fn serve(listen: &str, host: &str, keys: &str, tables: &str) -> Service {
    let service = Service::start(&configuration(listen, host, keys, tables));
    assert_eq!(service.notice().trim(), "READY=1", "{}", service.log());
    service
}

fn configuration(listen: &str, host: &str, keys: &str, tables: &str) -> String {
    format!(
        "[sip]\nlisten = [{listen}]\n{keys}[web]\nlisten = \"\"\n[store]\nurl = \"sqlite:trunkline.db\"\n\
         [limits]\ndrain_seconds = 0\n\
         [[number]]\npattern = \"+12025550100\"\nflow = \"hold\"\n\
         [[trunk]]\nname = \"phone\"\nhost = \"{host}\"\ndestinations = []\n{tables}"
    )
}

/// A message of the caller's. `rest` are further lines and the body.
fn message(start: &str, over: &FarEnd, call: &str, to_tag: &str, rest: (&str, &str)) -> String {
    let method = start.split(' ').next().unwrap();
    let cseq = if method == "BYE" { 2 } else { 1 };
    let local = over.local;
    let (lines, body) = rest;
    format!(
        "{start} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bK{method}{call};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:+12025550111@127.93.0.1>;tag=f{call}\r\nTo: <sip:+12025550100@127.93.0.1>{to_tag}\r\n\
         Call-ID: {call}\r\nCSeq: {cseq} {method}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn invite(over: &FarEnd, call: &str, contact: &str) -> String {
    let lines = format!("Contact: <{contact}>\r\nContent-Type: application/sdp\r\n");
    message(
        "INVITE sip:+12025550100@127.93.0.1",
        over,
        call,
        "",
        (&lines, SDP),
    )
}

fn options(over: &FarEnd, call: &str) -> String {
    message("OPTIONS sip:127.93.0.1", over, call, "", NOTHING)
}

/// Answers a request.
fn ok(request: &str, lines: &str) -> String {
    let repeated =
        ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(request, name)));
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=far" };
    format!(
        "SIP/2.0 200 OK\r\n{}To: {to}{tag}\r\n{lines}Content-Length: 0\r\n\r\n",
        repeated.concat()
    )
}

/// What follows the answer of a call: its To tag and where it is reached.
fn answered(far_end: &mut FarEnd) -> (String, String) {
    let ok = far_end.await_message("SIP/2.0 200");
    let (_, tag) = header(&ok, "To").split_once(";tag=").unwrap();
    let contact = header(&ok, "Contact").trim_matches(['<', '>']).to_owned();
    (format!(";tag={tag}"), contact)
}

/// A whole call, over whatever it is.
fn call(far_end: &mut FarEnd, call: &str) {
    let contact = format!("sip:caller@{}", far_end.local);
    far_end.send(invite(far_end, call, &contact));
    let (tag, contact) = answered(far_end);
    let ack = message(&format!("ACK {contact}"), far_end, call, &tag, NOTHING);
    let bye = message(&format!("BYE {contact}"), far_end, call, &tag, NOTHING);
    // Two messages in one piece.
    far_end.send(ack + &bye);
    let ended = far_end.await_message("SIP/2.0 200");
    assert_eq!(header(&ended, "CSeq"), "2 BYE");
}

#[test]
fn calls_come_over_tcp_in_pieces_of_any_size_and_over_ipv6() {
    let port = 5060 + u16::try_from(std::process::id() % 20_000).unwrap();
    let service = serve(
        &format!("\"tcp:127.93.1.1:5060\", \"tcp:[::1]:{port}\""),
        "127.93.1.2",
        "",
        "transport = \"tcp\"\naddresses = [\"::1\"]\n",
    );
    let mut far_end = FarEnd::tcp("127.93.1.2", "127.93.1.1:5060");
    call(&mut far_end, "whole");
    let text = invite(&far_end, "pieces", "sip:caller@127.93.1.2");
    for piece in text.as_bytes().chunks(100) {
        far_end.send(piece);
        std::thread::sleep(Duration::from_millis(2));
    }
    let (_, contact) = answered(&mut far_end);
    assert!(contact.ends_with("@127.93.1.1:5060;transport=tcp"), "{contact}");
    call(&mut FarEnd::tcp("[::1]", &format!("[::1]:{port}")), "six");
    drop(service);
}

#[test]
fn keep_alives_are_answered_and_what_cannot_be_framed_closes_the_connection() {
    let service = serve(
        "\"tcp:127.93.2.1:5060\"",
        "127.93.2.2",
        "",
        "transport = \"tcp\"\n",
    );
    let mut far_end = FarEnd::tcp("127.93.2.2", "127.93.2.1:5060");
    far_end.send("\r\n\r\n");
    far_end.await_bytes(b"\r\n");
    far_end.send("\r\n");
    far_end.send(options(&far_end, "after-pong"));
    assert!(far_end.hear().starts_with("SIP/2.0 200"));
    let huge = options(&far_end, "huge").replace("Content-Length: 0", "Content-Length: 4294967295");
    far_end.send(huge);
    assert!(far_end.is_closed_within(Duration::from_secs(2)));
    let mut endless = FarEnd::tcp("127.93.2.2", "127.93.2.1:5060");
    endless.send("x".repeat(70_000));
    assert!(endless.is_closed_within(Duration::from_secs(2)));
    call(&mut FarEnd::tcp("127.93.2.2", "127.93.2.1:5060"), "after");
    drop(service);
}

#[test]
fn race_29_a_call_whose_connection_the_peer_closed_is_ended_over_a_new_one() {
    let flows = tempfile::tempdir().unwrap();
    let short = "name = \"hold\"\nversion = 1\nstart = \"play\"\n\
                 [step.play.play]\nprompts = [\"msg_goodbye\"]\nnext = \"end\"\n[step.end.hangup]\n";
    std::fs::write(flows.path().join("hold.toml"), short).unwrap();
    let tables = format!(
        "transport = \"tcp\"\n[flows]\ndirectory = \"{}\"\n",
        flows.path().display()
    );
    let service = serve("\"tcp:127.93.3.1:5060\"", "127.93.3.2", "", &tables);
    let listener = listen("127.93.3.2:5070");
    let mut far_end = FarEnd::tcp("127.93.3.2", "127.93.3.1:5060");
    let contact = "sip:caller@127.93.3.2:5070;transport=tcp";
    far_end.send(invite(&far_end, "closed", contact));
    let (tag, to) = answered(&mut far_end);
    far_end.send(message(&format!("ACK {to}"), &far_end, "closed", &tag, NOTHING));
    drop(far_end);
    let mut second = FarEnd::over(accept(&listener));
    let bye = second.await_message("BYE sip:caller@127.93.3.2:5070;transport=tcp");
    assert!(
        header(&bye, "Via").starts_with("SIP/2.0/TCP 127.93.3.1:5060"),
        "{bye}"
    );
    second.send(ok(&bye, ""));
    drop(service);
}

#[test]
fn calls_come_over_tls_and_new_certificates_are_taken_without_touching_them() {
    let authority = Authority::new("one");
    authority.issue("server", "sip.example.test", false);
    let listen = "\"tls:127.93.4.1:5061\", \"tcp:127.93.4.1:5060\"";
    let service = serve(listen, "127.93.4.2", &authority.keys("server"), "");
    let connect = || {
        let client = authority.client(None);
        FarEnd::tls("127.93.4.2", "127.93.4.1:5061", "sip.example.test", client).unwrap()
    };
    let (mut first, shown) = connect();
    first.send(invite(&first, "kept", "sip:caller@127.93.4.2:5061;transport=tls"));
    let (tag, contact) = answered(&mut first);
    assert!(
        contact.ends_with("@127.93.4.1:5061;transport=tls") || contact.contains("127.93.4.1"),
        "{contact}"
    );
    first.send(message(&format!("ACK {contact}"), &first, "kept", &tag, NOTHING));

    let reload = || {
        service.signal(Signal::HUP);
        assert!(service.notice().starts_with("RELOADING=1"));
        assert_eq!(service.notice().trim(), "READY=1");
    };
    let good = std::fs::read(authority.path("server.pem")).unwrap();
    std::fs::write(authority.path("server.pem"), "nonsense").unwrap();
    reload();
    let log = service.log();
    assert!(
        log.contains("there is no certificate in PEM form") && log.contains("stays as it was"),
        "{log}"
    );
    assert_eq!(connect().1, shown, "the old one goes on");
    std::fs::write(authority.path("server.pem"), good).unwrap();
    authority.issue("server", "sip.example.test", false);
    reload();
    let (mut second, newer) = connect();
    assert_ne!(newer, shown);
    call(&mut second, "newer");

    first.send(message(&format!("BYE {contact}"), &first, "kept", &tag, NOTHING));
    assert_eq!(header(&first.await_message("SIP/2.0 200"), "CSeq"), "2 BYE");
    drop(service);
}

/// A trunk over TLS that is registered with at `server`, known by `name`.
fn carrier(server: &str, name: &str, authority: &Authority, keys: &str) -> String {
    format!(
        "[[trunk]]\nname = \"carrier\"\nhost = \"{name}\"\nproxy = \"{server}\"\ntransport = \"tls\"\n\
         tls_ca = \"{}\"\nregister = true\nusername = \"u\"\npassword = \"p\"\n{keys}",
        authority.path("ca.pem").display()
    )
}

fn await_log(service: &Service, words: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !service.log().contains(words) {
        assert!(Instant::now() < deadline, "no {words:?} in:\n{}", service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_trunk_over_tls_is_reached_when_its_certificate_bears_its_name() {
    let authority = Authority::new("one");
    authority.issue("carrier", "sip.carrier.test", false);
    authority.issue("us", "us.example.test", false);
    let listener = listen("127.93.5.2:5061");
    let tables = carrier(
        "127.93.5.2:5061",
        "sip.carrier.test",
        &authority,
        &authority.keys("us"),
    );
    let service = serve("\"udp:127.93.5.1:5060\"", "127.93.5.3", "", &tables);
    let server = authority.server("carrier", true);
    let (mut far_end, asked_for, shown) = FarEnd::accept_tls(&listener, &server).unwrap();
    assert_eq!((asked_for.as_deref(), shown), (Some("sip.carrier.test"), 1));
    let register = far_end.await_message("REGISTER sip:sip.carrier.test");
    assert!(header(&register, "Via").starts_with("SIP/2.0/TLS "), "{register}");
    far_end.send(ok(
        &register,
        &format!("Contact: {};expires=600\r\n", header(&register, "Contact")),
    ));
    await_log(&service, "registered");
    // A call over the connection that we opened.
    call(&mut far_end, "inbound");
    service.signal(Signal::TERM);
    let farewell = far_end.await_message("REGISTER");
    assert!(
        header(&farewell, "Expires") == "0" || farewell.contains("expires=0"),
        "{farewell}"
    );
    drop(service);
}

#[test]
fn a_trunk_with_another_name_or_an_old_certificate_or_another_authority_gets_nothing() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    authority.issue("wrong", "sip.attacker.test", false);
    authority.issue("old", "sip.carrier.test", true);
    other.issue("other", "sip.carrier.test", false);
    let listener = listen("127.93.6.2:5061");
    let cases = [
        (authority.server("wrong", false), "not valid for name"),
        (authority.server("old", false), "xpired"),
        (other.server("other", false), "UnknownIssuer"),
    ];
    for (server, why) in cases {
        let tables = carrier("127.93.6.2:5061", "sip.carrier.test", &authority, "");
        let service = serve("\"udp:127.93.6.1:5060\"", "127.93.6.3", "", &tables);
        let refused = FarEnd::accept_tls(&listener, &server);
        assert!(
            refused.is_err() || refused.unwrap().0.is_closed_within(Duration::from_secs(5)),
            "{why}"
        );
        await_log(&service, why);
        await_log(&service, "not registered: ");
    }
}

#[test]
fn a_listener_that_wants_certificates_knows_trunks_by_their_names_alone() {
    let authority = Authority::new("one");
    authority.issue("server", "sip.example.test", false);
    authority.issue("trunk", "sip.carrier.test", false);
    authority.issue("nobody", "sip.nobody.test", false);
    let ca = authority.path("ca.pem").display().to_string();
    let keys = format!("{}tls_client_ca = \"{ca}\"\n", authority.keys("server"));
    let tables = format!(
        "[[trunk]]\nname = \"carrier\"\nhost = \"sip.carrier.test\"\nproxy = \"127.93.7.9:5061\"\n\
         transport = \"tls\"\ntls_ca = \"{ca}\"\n"
    );
    let service = serve("\"tls:127.93.7.1:5061\"", "127.93.7.3", &keys, &tables);
    let connect = |from: &str, file: Option<&str>| {
        let client = authority.client(file);
        FarEnd::tls(from, "127.93.7.1:5061", "sip.example.test", client)
    };
    let (mut far_end, _) = connect("127.93.7.66", Some("trunk")).unwrap();
    call(&mut far_end, "by-name");
    let closes = |from: &str, file: Option<&str>| match connect(from, file) {
        Ok((mut far_end, _)) => far_end.is_closed_within(Duration::from_secs(5)),
        Err(_) => true,
    };
    assert!(
        closes("127.93.7.3", None),
        "a trunk's address proves nothing here"
    );
    assert!(closes("127.93.7.66", Some("nobody")));
    await_log(&service, "its certificate names no trunk");
}

#[test]
fn a_connection_that_proved_a_name_ends_with_the_reload_that_trusts_another_authority() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    authority.issue("server", "sip.example.test", false);
    authority.issue("trunk", "sip.carrier.test", false);
    let (ca, clients) = (authority.path("ca.pem"), authority.path("clients.pem"));
    std::fs::copy(&ca, &clients).unwrap();
    let keys = format!(
        "{}tls_client_ca = \"{}\"\n",
        authority.keys("server"),
        clients.display()
    );
    let tables = format!(
        "[[trunk]]\nname = \"carrier\"\nhost = \"sip.carrier.test\"\nproxy = \"127.93.11.9:5061\"\n\
         transport = \"tls\"\ntls_ca = \"{}\"\n",
        ca.display()
    );
    let service = serve("\"tls:127.93.11.1:5061\"", "127.93.11.3", &keys, &tables);
    let client = authority.client(Some("trunk"));
    let (mut far_end, _) =
        FarEnd::tls("127.93.11.66", "127.93.11.1:5061", "sip.example.test", client).unwrap();
    call(&mut far_end, "before");
    service.signal(Signal::HUP);
    assert!(
        !far_end.is_closed_within(Duration::from_secs(2)),
        "nothing changed"
    );
    std::fs::copy(other.path("ca.pem"), &clients).unwrap();
    service.signal(Signal::HUP);
    assert!(far_end.is_closed_within(Duration::from_secs(10)));
}

#[test]
fn two_hundred_connections_that_say_nothing_whole_end_while_calls_go_on() {
    let service = serve(
        "\"tcp:127.93.8.1:5060\"",
        "127.93.8.2",
        "",
        "transport = \"tcp\"\n",
    );
    let begun = Instant::now();
    let mut slow = Vec::new();
    for number in 0..200 {
        let source = format!("127.93.8.{}", 100 + number / 16);
        let mut far_end = FarEnd::over(dial(&source, "127.93.8.1:5060"));
        far_end.send("INVITE sip:+12025550100@127.93.8.1 SIP/2.0\r\nVia: ");
        slow.push(far_end);
        if number % 16 == 15 {
            // One source may open no more.
            let mut one_more = FarEnd::over(dial(&source, "127.93.8.1:5060"));
            assert!(one_more.is_closed_within(Duration::from_secs(2)), "{number}");
        }
    }
    let mut trunk = FarEnd::tcp("127.93.8.2", "127.93.8.1:5060");
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(9) {
        let at = Instant::now();
        number += 1;
        call(&mut trunk, &format!("amid-{number}"));
        assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
        std::thread::sleep(Duration::from_millis(20));
        for far_end in slow.iter_mut().step_by(7) {
            far_end.send("x");
        }
    }
    assert!(
        slow.iter_mut()
            .all(|far_end| far_end.is_closed_within(Duration::from_secs(15)))
    );
    call(&mut trunk, "after");
    drop(service);
}

#[test]
fn a_trunk_that_never_reads_loses_its_connection_and_nobody_else_notices() {
    let service = serve(
        "\"tcp:127.93.9.1:5060\", \"udp:127.93.9.1:5060\"",
        "127.93.9.2",
        "",
        "",
    );
    let mut deaf = FarEnd::tcp("127.93.9.2", "127.93.9.1:5060");
    let mut trunk = FarEnd::tcp("127.93.9.2", "127.93.9.1:5060");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    while !service.log().contains("does not read") {
        for _ in 0..100 {
            number += 1;
            let text = options(&deaf, &format!("deaf-{number}"));
            if deaf.try_send(&text).is_err() {
                break;
            }
        }
        call(&mut trunk, &format!("call-{number}"));
        assert!(Instant::now() < deadline, "{number} requests were taken");
    }
    call(&mut trunk, "after");
    // UDP is not touched by any of it.
    let socket = UdpSocket::bind("127.93.9.2:5060").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let text = options(&trunk, "udp").replace("SIP/2.0/TCP", "SIP/2.0/UDP");
    socket.send_to(text.as_bytes(), "127.93.9.1:5060").unwrap();
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 200"));
    drop(service);
}

#[test]
fn a_large_request_to_a_trunk_on_udp_goes_by_tcp_and_by_udp_when_there_is_none() {
    let long = ["a", "b", "c"].map(|letter| letter.repeat(60)).join(".");
    let tables = format!(
        "[[number]]\npattern = \"+12025550101\"\nflow = \"route\"\n\
         [[trunk]]\nname = \"carrier\"\nhost = \"{long}.test\"\nproxy = \"127.93.10.2:5060\"\n\
         large_requests = \"tcp\"\n"
    );
    let listen_at = "\"tcp:127.93.10.1:5060\", \"udp:127.93.10.1:5060\"";
    let service = serve(listen_at, "127.93.10.3", "", &tables);
    let (listener, socket) = (
        listen("127.93.10.2:5060"),
        UdpSocket::bind("127.93.10.2:5060").unwrap(),
    );
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut caller = FarEnd::tcp("127.93.10.3", "127.93.10.1:5060");
    let dial = |caller: &mut FarEnd, call: &str| {
        let text = invite(caller, call, "sip:caller@127.93.10.3");
        caller.send(text.replacen("sip:+12025550100@", "sip:+12025550101@", 1));
    };
    dial(&mut caller, "large");
    let mut carrier = FarEnd::over(accept(&listener));
    let request = carrier.await_message("INVITE sip:+12025550101@aaa");
    assert!(
        request.len() > 1300 && header(&request, "Via").starts_with("SIP/2.0/TCP "),
        "{request}"
    );
    carrier.send(ok(&request, "").replace("200 OK", "486 Busy Here"));
    carrier.await_message("ACK");
    drop((carrier, listener));
    // Until the server has seen that the connection is gone, it may yet use it.
    await_log(&service, "connection ended");
    dial(&mut caller, "larger");
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    let request = String::from_utf8(buffer[..length].to_vec()).unwrap();
    assert!(header(&request, "Via").starts_with("SIP/2.0/UDP "), "{request}");
    await_log(&service, "a request of more than 1300 bytes went by UDP");
    drop(service);
}

#[test]
fn a_service_manager_that_is_behind_holds_up_no_call() {
    let service = serve(
        "\"tcp:127.93.11.1:5060\"",
        "127.93.11.2",
        "",
        "transport = \"tcp\"\n",
    );
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket
        .send_to(b"X=1", service.folder.path().join("notify"))
        .is_ok()
    {}
    let mut caller = FarEnd::tcp("127.93.11.2", "127.93.11.1:5060");
    let begun = Instant::now();
    for number in 0..8 {
        // Signs of life are due twice a second.
        std::thread::sleep(Duration::from_millis(200));
        call(&mut caller, &format!("behind-{number}"));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(service);
}
