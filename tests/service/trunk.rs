//! A trunk in the hand of a test: one UDP socket that answers and asks what the test says.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.82.0.9\r\ns=-\r\nc=IN IP4 127.82.0.9\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";

pub struct Trunk {
    socket: UdpSocket,
    server: String,
    /// Messages that came while another was waited for.
    kept: Vec<String>,
}

impl Trunk {
    /// A trunk at `host`, whose customer is the server at `server`.
    pub fn new(host: &str, server: &str) -> Self {
        let socket = UdpSocket::bind((host, 5060)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self {
            socket,
            server: format!("{server}:5060"),
            kept: Vec::new(),
        }
    }

    /// The next message whose start line begins so; others are kept.
    pub fn expect(&mut self, start: &str) -> String {
        self.within(start, Duration::from_secs(20))
            .unwrap_or_else(|| panic!("no {start} among {:?}", self.kept))
    }

    /// The same, if it comes within a time.
    pub fn within(&mut self, start: &str, time: Duration) -> Option<String> {
        let until = Instant::now() + time;
        loop {
            if let Some(at) = self.kept.iter().position(|text| text.starts_with(start)) {
                return Some(self.kept.remove(at));
            }
            if Instant::now() > until {
                return None;
            }
            let mut bytes = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut bytes) {
                self.kept
                    .push(String::from_utf8(bytes[..length].to_vec()).unwrap());
            }
        }
    }

    fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), &self.server).unwrap();
    }

    /// Answers a request; `lines` are further header lines.
    pub fn answer(&self, request: &str, status: &str, lines: &str) {
        let mut response = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tag = if name == "To" && !header(request, name).contains(";tag=") {
                ";tag=trunk"
            } else {
                ""
            };
            response.push_str(&format!("{name}: {}{tag}\r\n", header(request, name)));
        }
        self.send(&format!("{response}{lines}Content-Length: 0\r\n\r\n"));
    }

    /// Takes a registration as it asks.
    pub fn register(&self, request: &str, expires: u32) {
        let contact = header(request, "Contact");
        let contact = contact.split(";expires").next().unwrap();
        self.answer(
            request,
            "200 OK",
            &format!("Contact: {contact};expires={expires}\r\n"),
        );
    }

    /// Sends a request of the call with this name; `to` is the To value.
    pub fn ask(&self, method: &str, call: &str, cseq: u32, to: &str) {
        let host = self.socket.local_addr().unwrap();
        let (kind, body) = if method == "INVITE" {
            ("Content-Type: application/sdp\r\n", SDP)
        } else {
            ("", "")
        };
        self.send(&format!(
            "{method} sip:+12025550100@{} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{call}{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+12025550123@{host}>;tag=t{call}\r\nTo: {to}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:+12025550123@{host}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        ));
    }

    /// Calls the server and acknowledges its answer; returns the To value of the dialog.
    pub fn call(&mut self, call: &str) -> String {
        self.ask("INVITE", call, 1, "<sip:+12025550100@127.82.0.1>");
        let answer = self.expect("SIP/2.0 200");
        let to = header(&answer, "To").to_owned();
        self.ask("ACK", call, 1, &to);
        to
    }
}

/// A header's value.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
}
