//! What an engineer reads off a SIP message at a glance: its line in a ladder. Lenient, for it only shows.

/// A request's method, or a response's status and phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Request(String),
    Response(u16, String),
}

/// One message, made safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glance {
    pub start: Start,
    /// The sequence number and the method of CSeq.
    pub cseq: String,
    pub method: String,
    /// It carries credentials.
    pub credentials: bool,
    /// Headers that say why: Reason, Warning, Retry-After.
    pub reasons: Vec<String>,
    /// Codecs, address and direction of the session description.
    pub sdp: Option<String>,
}

impl Glance {
    pub(super) fn of(message: &[u8]) -> Self {
        let text = String::from_utf8_lossy(message);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = start_of(lines.next().unwrap_or_default());
        let headers: Vec<(String, &str)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
            .collect();
        let value = |names: &[&str]| {
            let found = headers.iter().find(|(name, _)| names.contains(&name.as_str()));
            found.map(|(_, value)| *value)
        };
        let (cseq, method) = value(&["cseq"])
            .and_then(|cseq| cseq.split_once(' '))
            .unwrap_or_default();
        let reasons = headers
            .iter()
            .filter(|(name, _)| ["reason", "warning", "retry-after"].contains(&name.as_str()));
        let is_sdp = value(&["content-type", "c"])
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/sdp"));
        Self {
            start,
            cseq: narrow(cseq),
            method: narrow(method.trim()),
            credentials: value(&["authorization", "proxy-authorization"]).is_some(),
            reasons: reasons
                .map(|(name, value)| narrow(&format!("{}: {value}", capitalised(name))))
                .collect(),
            sdp: is_sdp.then(|| narrow(&sdp(body))),
        }
    }
}

fn start_of(line: &str) -> Start {
    let mut words = line.splitn(3, ' ');
    let (first, second, rest) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    match second.parse() {
        Ok(status) if first == "SIP/2.0" => Start::Response(status, narrow(rest)),
        _ => Start::Request(narrow(first)),
    }
}

fn capitalised(name: &str) -> String {
    let upper = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(upper).collect::<Vec<_>>().join("-")
}

/// `PCMU PCMA event 192.0.2.1:4000 sendrecv`, for every medium.
fn sdp(body: &str) -> String {
    let (mut connection, mut direction) = ("", "sendrecv");
    let mut media: Vec<Medium<'_>> = Vec::new();
    for line in body.lines() {
        let Some((letter, value)) = line.split_once('=') else {
            continue;
        };
        match (letter, media.last_mut()) {
            ("m", _) => media.push(Medium::new(value, connection, direction)),
            ("c", medium) => {
                let address = value.split_whitespace().nth(2).unwrap_or_default();
                *medium.map_or(&mut connection, |medium| &mut medium.connection) = address;
            }
            ("a", medium) if ["sendrecv", "sendonly", "recvonly", "inactive"].contains(&value) => {
                *medium.map_or(&mut direction, |medium| &mut medium.direction) = value;
            }
            ("a", Some(medium)) => medium.attribute(value),
            _ => {}
        }
    }
    let words: Vec<String> = media.iter().map(Medium::words).collect();
    words.join("; ")
}

struct Medium<'a> {
    kind: &'a str,
    port: &'a str,
    formats: Vec<(&'a str, String)>,
    connection: &'a str,
    direction: &'a str,
}

impl<'a> Medium<'a> {
    fn new(value: &'a str, connection: &'a str, direction: &'a str) -> Self {
        let mut words = value.split_whitespace();
        let (kind, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let formats = words.skip(1).map(|format| (format, static_name(format)));
        Self {
            kind,
            port,
            formats: formats.collect(),
            connection,
            direction,
        }
    }

    fn attribute(&mut self, value: &str) {
        let Some((format, name)) = value.strip_prefix("rtpmap:").and_then(|map| map.split_once(' ')) else {
            return;
        };
        let name = name.split('/').next().unwrap_or_default();
        let name = if name.eq_ignore_ascii_case("telephone-event") {
            "event"
        } else {
            name
        };
        for (known, shown) in &mut self.formats {
            if *known == format {
                name.clone_into(shown);
            }
        }
    }

    fn words(&self) -> String {
        let mut words = Vec::new();
        if self.kind != "audio" {
            words.push(self.kind.to_owned());
        }
        words.extend(self.formats.iter().map(|(_, name)| name.clone()));
        if self.port == "0" {
            words.push("refused".to_owned());
        } else if self.connection.contains(':') {
            words.push(format!("[{}]:{}", self.connection, self.port));
        } else {
            words.push(format!("{}:{}", self.connection, self.port));
        }
        words.push(self.direction.to_owned());
        words.join(" ")
    }
}

/// Payload types with a fixed meaning (RFC 3551 §6); others by their number until an rtpmap names them.
fn static_name(format: &str) -> String {
    match format {
        "0" => "PCMU".to_owned(),
        "3" => "GSM".to_owned(),
        "8" => "PCMA".to_owned(),
        "9" => "G722".to_owned(),
        "13" => "CN".to_owned(),
        "18" => "G729".to_owned(),
        other => other.to_owned(),
    }
}

/// Text that takes one column a letter, whatever terminal: others than Latin letters and all that could steer a
/// terminal become question marks.
pub(super) fn narrow(text: &str) -> String {
    let fits =
        |letter: char| letter == '…' || (letter <= '\u{24f}' && !letter.is_control() && letter != '\u{ad}');
    text.chars()
        .map(|letter| if fits(letter) { letter } else { '?' })
        .take(400)
        .collect()
}

/// Text for a terminal, as it is but for what could steer it: such letters show as escapes.
pub(super) fn harmless(text: &str, unicode: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        let steers = letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if letter == '\t' {
            shown.push_str("    ");
        } else if steers || (!unicode && !letter.is_ascii()) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_at_a_glance() {
        let invite = Glance::of(
            b"INVITE sip:a@h SIP/2.0\r\nCSeq: 12 INVITE\r\nProxy-Authorization: Digest x=\"y\"\r\n\
              Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8 101 97\r\n\
              a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=video 0 RTP/AVP 31\r\n",
        );
        assert_eq!(invite.start, Start::Request("INVITE".to_owned()));
        assert_eq!((invite.cseq.as_str(), invite.method.as_str()), ("12", "INVITE"));
        assert!(invite.credentials);
        assert_eq!(
            invite.sdp.as_deref(),
            Some("PCMU PCMA event 97 192.0.2.1:4000 sendonly; video 31 refused sendrecv")
        );
        let bye = Glance::of(
            b"SIP/2.0 503 Busy \x1b[2J\xe2\x80\xae\r\nretry-after: 30\r\nReason: Q.850;cause=34\r\n\r\n",
        );
        assert_eq!(bye.start, Start::Response(503, "Busy ?[2J?".to_owned()));
        assert_eq!(bye.reasons, ["Retry-After: 30", "Reason: Q.850;cause=34"]);
        assert_eq!(Glance::of(b"").start, Start::Request(String::new()));
    }

    #[test]
    fn whatever_could_steer_a_terminal_is_escaped() {
        assert_eq!(
            harmless("a\x1b[31m\u{202e}b\tü\x7f\u{9b}", true),
            "a\\u{1b}[31m\\u{202e}b    ü\\u{7f}\\u{9b}"
        );
        assert_eq!(harmless("ü…", false), "\\u{fc}\\u{2026}");
    }
}
