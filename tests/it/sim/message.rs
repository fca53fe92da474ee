//! SIP as text, for peers of the simulation: written and read here by hand, with nothing of the code under test.

/// A message with what is asked of it most.
#[derive(Debug, Clone)]
pub struct Message {
    pub text: String,
}

impl Message {
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// Whether it is SIP at all, and no keep-alive.
    pub fn is_sip(&self) -> bool {
        self.text.contains("SIP/2.0") && !self.header("Call-ID").is_empty()
    }

    /// None for a request.
    pub fn status(&self) -> Option<u16> {
        self.text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request, or of the request that a response answers.
    pub fn method(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    pub fn cseq(&self) -> u32 {
        let number = self.header("CSeq").split(' ').next();
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &'static str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    /// The values of all lines with a name, as written.
    pub fn headers(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.split("\r\n").skip(1).filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    pub fn tag(&self, header: &'static str) -> &str {
        let value = self.header(header);
        let tag = value.split_once(";tag=").map(|(_, tag)| tag);
        tag.map_or("", |tag| tag.split(';').next().unwrap_or_default())
    }

    pub fn branch(&self) -> &str {
        let via = self.header("Via").split_once("branch=").map(|(_, rest)| rest);
        via.map_or("", |rest| rest.split([';', ',']).next().unwrap_or_default())
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The URI of Contact.
    pub fn contact(&self) -> &str {
        let contact = self.header("Contact");
        contact
            .split_once('<')
            .map_or(contact, |(_, rest)| rest.split('>').next().unwrap_or_default())
    }

    /// `INVITE`, or `200 INVITE`.
    pub fn kind(&self) -> String {
        match self.status() {
            Some(status) => format!("{status} {}", self.method()),
            None => self.method().to_owned(),
        }
    }
}

/// Adds the length and a body that is SDP, if any.
pub fn finish(mut head: String, body: &str) -> String {
    if !body.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    head
}

/// A response to a request, with further lines.
pub fn response(request: &Message, status: u16, tag: &str, lines: &str, body: &str) -> String {
    let mut head = format!("SIP/2.0 {status} Simulated\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for value in request.headers(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let to = request.header("To");
    match tag.is_empty() || to.contains(";tag=") {
        true => head.push_str(&format!("To: {to}\r\n")),
        false => head.push_str(&format!("To: {to};tag={tag}\r\n")),
    }
    head.push_str(&format!(
        "Call-ID: {}\r\nCSeq: {}\r\n{lines}",
        request.call_id(),
        request.header("CSeq")
    ));
    finish(head, body)
}

/// An SDP body of a peer whose sound comes from `ip`:`port`, in one of the shapes that occur.
pub fn sdp(shape: Sdp, ip: &str, port: u16, version: u32) -> String {
    let media = match shape {
        Sdp::Usual => format!(
            "m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
        ),
        Sdp::NoEvents => format!("m=audio {port} RTP/AVP 8\r\n"),
        Sdp::Hold => {
            format!("m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n")
        }
        Sdp::Inactive => format!("m=audio {port} RTP/AVP 0\r\na=inactive\r\n"),
        Sdp::Fax => format!("m=image {port} udptl t38\r\n"),
        Sdp::Video => {
            format!("m=audio {port} RTP/AVP 0\r\nm=video {port} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n")
        }
        Sdp::Foreign => format!("m=audio {port} RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n"),
        Sdp::Refused => "m=audio 0 RTP/AVP 0\r\n".to_owned(),
        Sdp::Garbage => return "v=0\r\no=broken\r\nm=audio what RTP/AVP\r\n".to_owned(),
        Sdp::Nothing => return String::new(),
    };
    format!("v=0\r\no=peer 7 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n{media}")
}

/// Shapes of SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdp {
    Usual,
    NoEvents,
    Hold,
    /// A hold on which nothing is sent either way.
    Inactive,
    /// Audio we can use, and video we cannot.
    Video,
    /// Nothing we can use.
    Fax,
    Foreign,
    Refused,
    Garbage,
    Nothing,
}

impl Sdp {
    /// Where a description wants its sound, if it says so.
    pub fn address(body: &str) -> Option<std::net::SocketAddr> {
        let ip = body.split("c=IN IP4 ").nth(1)?.split("\r\n").next()?;
        let port = body.split("m=audio ").nth(1)?.split(' ').next()?;
        format!("{ip}:{port}").parse().ok()
    }
}
