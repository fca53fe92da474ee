//! Our side of offer and answer for one leg: one audio stream over plain RTP.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Direction, Media, SdpError, Session};
use crate::codec::Law;
use crate::stream::PayloadTypes;

/// The payload type under which we offer telephone-event.
const EVENT_PAYLOAD_TYPE: u8 = 101;

/// What both sides agreed for the audio of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP. None while it is on hold the old way or named no usable address.
    pub remote: Option<SocketAddr>,
    /// Who sends, seen from us.
    pub direction: Direction,
    /// The law we send.
    pub law: Law,
    /// The payload type under which we send it: the peer's choice.
    pub payload_type: u8,
    /// The payload type under which we send digits. None if the peer takes none.
    pub event_payload_type: Option<u8>,
    /// What the peer may send us.
    pub receive: PayloadTypes,
    /// Milliseconds of audio the peer wants in a packet.
    pub ptime: u16,
    /// RTP and RTCP share the port (RFC 5761).
    pub rtcp_mux: bool,
}

/// Writes our descriptions of one leg, and remembers what RFC 3264 §8 wants kept between them: the number of media
/// lines, the session id, and a version that rises when, and only when, something changed.
#[derive(Debug, Clone)]
pub struct Local {
    id: u32,
    version: u32,
    address: SocketAddr,
    laws: Vec<Law>,
    lines: Vec<Line>,
    audio: usize,
    written: Option<String>,
}

/// A media line as last agreed. Only the one at `Local::audio` is alive.
#[derive(Debug, Clone)]
struct Line {
    kind: String,
    protocol: String,
    formats: String,
}

/// The parts of our live media line that differ from description to description.
struct Audio {
    types: Vec<(u8, Law)>,
    event: Option<u8>,
    direction: Direction,
    ptime: u16,
    rtcp_mux: bool,
}

impl Local {
    /// `address` is where we receive RTP, as the peer must see it; `laws` what we speak, best first; `id` any number
    /// that no other session of ours has.
    pub fn new(id: u32, address: SocketAddr, laws: &[Law]) -> Self {
        let line = Line {
            kind: "audio".into(),
            protocol: "RTP/AVP".into(),
            formats: String::new(),
        };
        Self {
            id,
            version: 1,
            address,
            laws: laws.to_vec(),
            lines: vec![line],
            audio: 0,
            written: None,
        }
    }

    /// Changes where we receive, for the next description.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Writes an offer of everything we speak.
    pub fn offer(&mut self, direction: Direction) -> Vec<u8> {
        let types = self.laws.iter().map(|law| (law.payload_type(), *law)).collect();
        let event = Some(EVENT_PAYLOAD_TYPE);
        self.write(&Audio {
            types,
            event,
            direction,
            ptime: 20,
            rtcp_mux: true,
        })
    }

    /// Answers an offer with the first law in the peer's order that we speak, and says what that agreed.
    /// `wish` is what we would do with the audio if the peer lets us.
    ///
    /// # Errors
    /// `NoCommonAudio` if no media line can be accepted; the caller then answers 488.
    pub fn answer(&mut self, offer: &Session, wish: Direction) -> Result<(Negotiated, Vec<u8>), SdpError> {
        let usable = |media: &Media| media.is_plain_audio() && self.first_law(media).is_some();
        let audio = offer
            .media
            .iter()
            .position(usable)
            .ok_or(SdpError::NoCommonAudio)?;
        let media = &offer.media[audio];
        let (payload_type, law) = self.first_law(media).ok_or(SdpError::NoCommonAudio)?;
        let event = media.telephone_event();
        let agreed = Negotiated {
            remote: offer.remote(media),
            direction: offer.direction(media).reversed().and(wish),
            law,
            payload_type,
            event_payload_type: event,
            receive: self.payload_types(media),
            ptime: packet_time(media),
            rtcp_mux: media.rtcp_mux,
        };
        self.lines = offer.media.iter().map(Line::of).collect();
        self.audio = audio;
        let types = vec![(payload_type, law)];
        let (direction, ptime, rtcp_mux) = (agreed.direction, agreed.ptime, agreed.rtcp_mux);
        let body = self.write(&Audio {
            types,
            event,
            direction,
            ptime,
            rtcp_mux,
        });
        Ok((agreed, body))
    }

    /// Reads the answer to our last offer.
    ///
    /// # Errors
    /// `AudioRejected` for port 0 or a missing line, `NoCommonAudio` for codecs we did not offer.
    pub fn accept_answer(&self, answer: &Session) -> Result<Negotiated, SdpError> {
        let media = answer
            .media
            .get(self.audio)
            .filter(|media| media.is_plain_audio())
            .or_else(|| answer.media.iter().find(|media| media.is_plain_audio()))
            .ok_or(SdpError::AudioRejected)?;
        let (payload_type, law) = self.first_law(media).ok_or(SdpError::NoCommonAudio)?;
        let offered = |law: Law| self.laws.contains(&law).then_some(law.payload_type());
        let also = self.payload_types(media);
        Ok(Negotiated {
            remote: answer.remote(media),
            direction: answer.direction(media).reversed(),
            law,
            payload_type,
            event_payload_type: media.telephone_event(),
            receive: PayloadTypes {
                // Packets to us carry the numbers of our offer (RFC 3264 §5.1); some peers use those of their answer.
                mu: offered(Law::Mu),
                a: offered(Law::A),
                event: Some(EVENT_PAYLOAD_TYPE),
                mu_alias: also.mu,
                a_alias: also.a,
                event_alias: also.event,
            },
            ptime: packet_time(media),
            rtcp_mux: media.rtcp_mux,
        })
    }

    fn first_law(&self, media: &Media) -> Option<(u8, Law)> {
        media.laws().find(|(_, law)| self.laws.contains(law))
    }

    fn payload_types(&self, media: &Media) -> PayloadTypes {
        let number = |wanted: Law| {
            media
                .laws()
                .find(|(_, law)| *law == wanted && self.laws.contains(law))
                .map(|(number, _)| number)
        };
        PayloadTypes {
            mu: number(Law::Mu),
            a: number(Law::A),
            event: media.telephone_event(),
            ..PayloadTypes::default()
        }
    }

    fn write(&mut self, audio: &Audio) -> Vec<u8> {
        let rest = self.body(audio);
        if self.written.as_ref().is_some_and(|before| *before != rest) {
            self.version = self.version.wrapping_add(1);
        }
        let head = format!(
            "v=0\r\no=- {} {} {}\r\n",
            self.id,
            self.version,
            self.address_words()
        );
        let body = format!("{head}{rest}").into_bytes();
        self.written = Some(rest);
        body
    }

    fn body(&self, audio: &Audio) -> String {
        let mut text = format!("s=-\r\nc={}\r\nt=0 0\r\n", self.address_words());
        for (index, line) in self.lines.iter().enumerate() {
            if index == self.audio {
                self.write_audio(&mut text, line, audio);
            } else {
                let _ = write!(text, "m={} 0 {} {}\r\n", line.kind, line.protocol, line.formats);
            }
        }
        text
    }

    fn write_audio(&self, text: &mut String, line: &Line, audio: &Audio) {
        let _ = write!(text, "m=audio {} {}", self.address.port(), line.protocol);
        for (number, _) in &audio.types {
            let _ = write!(text, " {number}");
        }
        if let Some(event) = audio.event {
            let _ = write!(text, " {event}");
        }
        text.push_str("\r\n");
        for (number, law) in &audio.types {
            let _ = write!(text, "a=rtpmap:{number} {}/8000\r\n", law.name());
        }
        if let Some(event) = audio.event {
            let _ = write!(
                text,
                "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n"
            );
        }
        let _ = write!(
            text,
            "a=ptime:{}\r\na={}\r\n",
            audio.ptime,
            audio.direction.name()
        );
        if audio.rtcp_mux {
            text.push_str("a=rtcp-mux\r\n");
        }
    }

    fn address_words(&self) -> String {
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        format!("IN {family} {}", self.address.ip())
    }
}

impl Line {
    fn of(media: &Media) -> Self {
        let formats = if media.formats.is_empty() {
            "0".to_owned()
        } else {
            media.formats.join(" ")
        };
        Self {
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            formats,
        }
    }
}

/// What we put in a packet: what the peer asks for, if we can, else 20 ms.
fn packet_time(media: &Media) -> u16 {
    let asked = media.ptime.unwrap_or(20).min(media.maxptime.unwrap_or(u16::MAX));
    if crate::playout::PACKET_TIMES.contains(&asked) {
        asked
    } else {
        20
    }
}
