//! A peer that is only a socket: for what SIPp will not do, such as answering nothing or counting copies.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A UDP socket that speaks SIP by hand.
pub struct Bare {
    socket: UdpSocket,
    remote: SocketAddr,
    local: SocketAddr,
    call: String,
}

impl Bare {
    pub fn open(local: SocketAddr, remote: SocketAddr, call: &str) -> Bare {
        let socket = UdpSocket::bind(local).unwrap();
        let call = call.to_owned();
        Bare {
            socket,
            remote,
            local,
            call,
        }
    }

    /// Another call by the same socket.
    pub fn renamed(&mut self, call: &str) {
        call.clone_into(&mut self.call);
    }

    /// Sends a request as a caller. `to` is the value of To, `uri` where it goes.
    pub fn request(&self, (method, cseq): (&str, u32), uri: &str, to: &str, extra: &str, body: &str) {
        let (local, call) = (self.local, &self.call);
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let of = if method == "ACK" { "ACK" } else { method };
        self.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{call}{cseq}{of};rport\r\n\
             From: <sip:4155550123@{local}>;tag={call}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:4155550123@{local}>\r\nMax-Forwards: 70\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// INVITE of a number with an offer.
    pub fn invite(&self, number: &str, extra: &str) {
        let uri = format!("sip:{number}@{}", self.remote);
        let to = format!("<{uri}>");
        self.request(("INVITE", 1), &uri, &to, extra, &self.sound());
    }

    /// A description of sound that comes to this peer.
    pub fn sound(&self) -> String {
        let ip = self.local.ip();
        format!(
            "v=0\r\no=bare 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
    }

    /// Responds to a request that was received.
    pub fn respond(&self, request: &str, line: &str, tag: &str, body: &str) {
        let mut text = format!("SIP/2.0 {line}\r\n");
        for via in request.lines().filter(|line| line.starts_with("Via:")) {
            text.push_str(&format!("{via}\r\n"));
        }
        let to = header(request, "To");
        let to = if to.contains("tag=") {
            to.to_owned()
        } else {
            format!("{to};tag={tag}")
        };
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        self.send(&format!(
            "{text}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:office@{}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            header(request, "From"),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            self.local,
            body.len()
        ));
    }

    pub fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.remote).unwrap();
    }

    /// The next message, if one comes within this time.
    pub fn receive(&self, within: Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(within.max(Duration::from_millis(1))))
            .unwrap();
        let mut bytes = [0; 4096];
        let (count, _) = self.socket.recv_from(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// The next message that begins like this; what else comes is passed over.
    pub fn wait_for(&self, start: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        let mut others = Vec::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.receive(left) {
                Some(message) if message.starts_with(start) => return message,
                Some(message) => others.push(message),
                None => break,
            }
        }
        panic!("no {start:?} came, but:\n{}", others.join("\n"));
    }
}

/// The value of a header, or nothing.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let lines = message.lines();
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| *found == name)
        .map_or("", |(_, value)| value.trim())
}

/// The URI of a message's Contact.
pub fn target(message: &str) -> &str {
    header(message, "Contact")
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap()
}
