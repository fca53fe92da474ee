//! The few lines of SDP that a telephone needs (RFC 8866, RFC 3264), written and read by hand.

use std::net::{IpAddr, SocketAddr};

use super::g711::Law;

/// What a description asks for: where to send, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub remote: SocketAddr,
    /// The first law it lists.
    pub law: Law,
    /// The payload type of telephone-event, where it is offered.
    pub event_type: Option<u8>,
    /// Whether it wants to hear us: false for `sendonly` and `inactive`.
    pub listens: bool,
}

/// Writes an offer or answer for audio at `local`, laws in order of preference.
pub fn write(local: SocketAddr, laws: &[Law], event_type: Option<u8>) -> String {
    let mut types: Vec<String> = laws.iter().map(|law| law.payload_type().to_string()).collect();
    types.extend(event_type.map(|number| number.to_string()));
    let ip = local.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let mut text = format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {}\r\n",
        local.port(),
        types.join(" "),
    );
    for law in laws {
        text += &format!("a=rtpmap:{} {}/8000\r\n", law.payload_type(), law.name());
    }
    if let Some(number) = event_type {
        text += &format!("a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-15\r\n");
    }
    text + "a=ptime:20\r\na=sendrecv\r\n"
}

/// Reads a description: its first audio stream with a law we speak and a port that is not zero.
pub fn read(text: &str) -> Option<Description> {
    let (mut session_ip, mut media_ip) = (None, None);
    let (mut port, mut law, mut event_type, mut listens) = (None, None, None, true);
    let mut in_audio = false;
    for line in text.lines() {
        let Some((kind, value)) = line.trim_end().split_once('=') else {
            continue;
        };
        match kind {
            "c" => {
                let ip = value
                    .split_whitespace()
                    .nth(2)
                    .and_then(|ip| ip.parse::<IpAddr>().ok());
                if in_audio {
                    media_ip = ip
                } else {
                    session_ip = session_ip.or(ip)
                }
            }
            "m" if port.is_some() => break,
            "m" => {
                let mut words = value.split_whitespace();
                in_audio = words.next() == Some("audio");
                if !in_audio {
                    continue;
                }
                port = words
                    .next()
                    .and_then(|port| port.parse::<u16>().ok())
                    .filter(|port| *port != 0);
                law = words
                    .skip(1)
                    .filter_map(|number| number.parse().ok())
                    .find_map(Law::of_payload_type);
            }
            "a" if in_audio || port.is_none() => match value {
                "sendonly" | "inactive" => listens = false,
                "sendrecv" | "recvonly" => listens = true,
                _ => {
                    let mapped = value
                        .strip_prefix("rtpmap:")
                        .and_then(|rest| rest.split_once(' '));
                    if let Some((number, encoding)) = mapped
                        && encoding.to_ascii_lowercase().starts_with("telephone-event/8000")
                    {
                        event_type = number.parse().ok();
                    }
                }
            },
            _ => {}
        }
    }
    let remote = SocketAddr::new(media_ip.or(session_ip)?, port?);
    Some(Description {
        remote,
        law: law?,
        event_type,
        listens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let local: SocketAddr = "127.5.0.3:20000".parse().unwrap();
        let read = read(&write(local, &[Law::A, Law::Mu], Some(96))).unwrap();
        assert_eq!(
            read,
            Description {
                remote: local,
                law: Law::A,
                event_type: Some(96),
                listens: true
            }
        );
    }

    #[test]
    fn address_of_the_stream_wins_over_that_of_the_session() {
        let text =
            "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 18 0\r\nc=IN IP4 10.0.0.2\r\na=sendonly\r\n";
        let read = read(text).unwrap();
        assert_eq!(
            (read.remote.to_string().as_str(), read.law),
            ("10.0.0.2:4000", Law::Mu)
        );
        assert!(!read.listens);
    }

    #[test]
    fn refused_stream_or_unknown_codec_gives_nothing() {
        assert_eq!(read("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n"), None);
        assert_eq!(
            read("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 18\r\n"),
            None
        );
        assert_eq!(read("nonsense"), None);
    }
}
