//! Our side of offer and answer for one leg: one audio stream over plain RTP.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Direction, Media, SdpError, Session};
use crate::codec::{Codec, Law};
use crate::payload_types::{Content, PayloadTypes};

/// The payload types under which we offer telephone-event, with their clock rates in Hz.
const EVENTS: [(u8, u32); 2] = [(101, 8000), (102, 48_000)];

/// What we want of Opus: one channel (RFC 7587 §6.1).
const OPUS_PARAMETERS: &str = "stereo=0;sprop-stereo=0";

/// What both sides agreed for the audio of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP. None while it is on hold the old way or named no usable address.
    pub remote: Option<SocketAddr>,
    /// Who sends, seen from us.
    pub direction: Direction,
    /// The codec we send.
    pub codec: Codec,
    /// The payload type under which we send it: the peer's choice.
    pub payload_type: u8,
    /// The payload type under which we send digits. None if the peer takes none.
    pub event_payload_type: Option<u8>,
    /// Ticks a second in the durations of those digits.
    pub event_clock_rate: u32,
    /// What the peer may send us.
    pub receive: PayloadTypes,
    /// Milliseconds of audio the peer wants in a packet.
    pub ptime: u16,
    /// RTP and RTCP share the port (RFC 5761).
    pub rtcp_mux: bool,
}

impl Negotiated {
    /// What is agreed with a peer that speaks one codec and G.711, in packets of 20 ms, with digits as telephone
    /// events under payload type 101.
    pub fn plain(codec: Codec, remote: Option<SocketAddr>) -> Self {
        let mut receive = PayloadTypes::plain(codec, Some(101));
        for law in [Law::Mu, Law::A] {
            receive.allow(law.payload_type(), Content::Audio(Codec::G711(law)));
        }
        Self {
            remote,
            direction: Direction::SendReceive,
            codec,
            payload_type: codec.payload_type(),
            event_payload_type: Some(101),
            event_clock_rate: codec.clock_rate(),
            receive,
            ptime: 20,
            rtcp_mux: false,
        }
    }
}

/// Writes our descriptions of one leg, and remembers what RFC 3264 §8 wants kept between them: the number of media
/// lines, the session id, and a version that rises when, and only when, something changed.
#[derive(Debug, Clone)]
pub struct Local {
    id: u32,
    version: u32,
    address: SocketAddr,
    codecs: Vec<Codec>,
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
    types: Vec<(u8, Codec)>,
    events: Vec<(u8, u32)>,
    direction: Direction,
    ptime: u16,
    rtcp_mux: bool,
}

impl Local {
    /// `address` is where we receive RTP, as the peer must see it; `codecs` what we speak, best first; `id` any number
    /// that no other session of ours has.
    pub fn new(id: u32, address: SocketAddr, codecs: &[Codec]) -> Self {
        let line = Line {
            kind: "audio".into(),
            protocol: "RTP/AVP".into(),
            formats: String::new(),
        };
        Self {
            id,
            version: 1,
            address,
            codecs: codecs.to_vec(),
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
        let types = self
            .codecs
            .iter()
            .map(|codec| (codec.payload_type(), *codec))
            .collect();
        let events = self.offered_events().collect();
        self.write(&Audio {
            types,
            events,
            direction,
            ptime: 20,
            rtcp_mux: true,
        })
    }

    /// Answers an offer with the first codec in the peer's order that we speak, and says what that agreed.
    /// `wish` is what we would do with the audio if the peer lets us.
    ///
    /// # Errors
    /// `NoCommonAudio` if no media line can be accepted; the caller then answers 488.
    pub fn answer(&mut self, offer: &Session, wish: Direction) -> Result<(Negotiated, Vec<u8>), SdpError> {
        let usable = |media: &Media| media.is_plain_audio() && self.first_codec(media).is_some();
        let audio = offer
            .media
            .iter()
            .position(usable)
            .ok_or(SdpError::NoCommonAudio)?;
        let media = &offer.media[audio];
        let (payload_type, codec) = self.first_codec(media).ok_or(SdpError::NoCommonAudio)?;
        let event = media.telephone_event(codec.clock_rate());
        let agreed = Negotiated {
            remote: offer.remote(media),
            direction: offer.direction(media).reversed().and(wish),
            codec,
            payload_type,
            event_payload_type: event.map(|(number, _)| number),
            event_clock_rate: event.map_or(codec.clock_rate(), |(_, rate)| rate),
            receive: self.payload_types(PayloadTypes::default(), media),
            ptime: packet_time(media),
            rtcp_mux: media.rtcp_mux,
        };
        self.lines = offer.media.iter().map(Line::of).collect();
        self.audio = audio;
        let types = vec![(payload_type, codec)];
        let events = event.into_iter().collect();
        let (direction, ptime, rtcp_mux) = (agreed.direction, agreed.ptime, agreed.rtcp_mux);
        let body = self.write(&Audio {
            types,
            events,
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
        let (payload_type, codec) = self.first_codec(media).ok_or(SdpError::NoCommonAudio)?;
        let event = media.telephone_event(codec.clock_rate());
        // Packets to us carry the numbers of our offer (RFC 3264 §5.1); some peers use those of their answer.
        let mut receive = PayloadTypes::default();
        for offered in &self.codecs {
            receive.allow(offered.payload_type(), Content::Audio(*offered));
        }
        for (number, rate) in self.offered_events() {
            allow_event(&mut receive, number, rate);
        }
        Ok(Negotiated {
            remote: answer.remote(media),
            direction: answer.direction(media).reversed(),
            codec,
            payload_type,
            event_payload_type: event.map(|(number, _)| number),
            event_clock_rate: event.map_or(codec.clock_rate(), |(_, rate)| rate),
            receive: self.payload_types(receive, media),
            ptime: packet_time(media),
            rtcp_mux: media.rtcp_mux,
        })
    }

    /// Events for each clock that one of our codecs has (RFC 4733 §2.1).
    fn offered_events(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        EVENTS
            .into_iter()
            .filter(|(_, rate)| self.codecs.iter().any(|codec| codec.clock_rate() == *rate))
    }

    fn first_codec(&self, media: &Media) -> Option<(u8, Codec)> {
        media.codecs().find(|(_, codec)| self.codecs.contains(codec))
    }

    /// Adds the numbers of a description for what we speak, the first of each codec, and those of its events.
    fn payload_types(&self, mut types: PayloadTypes, media: &Media) -> PayloadTypes {
        for codec in &self.codecs {
            if let Some((number, _)) = media.codecs().find(|(_, described)| described == codec) {
                types.allow(number, Content::Audio(*codec));
            }
        }
        for (number, rate) in media.telephone_events().take(4) {
            allow_event(&mut types, number, rate);
        }
        types
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
        for (number, _) in &audio.events {
            let _ = write!(text, " {number}");
        }
        text.push_str("\r\n");
        for (number, codec) in &audio.types {
            let _ = write!(text, "a=rtpmap:{number} {}/{}", codec.name(), codec.clock_rate());
            if codec.described_channels() > 1 {
                let _ = write!(text, "/{}", codec.described_channels());
            }
            text.push_str("\r\n");
            if *codec == Codec::Opus {
                let _ = write!(text, "a=fmtp:{number} {OPUS_PARAMETERS}\r\n");
            }
        }
        for (number, rate) in &audio.events {
            let _ = write!(
                text,
                "a=rtpmap:{number} telephone-event/{rate}\r\na=fmtp:{number} 0-15\r\n"
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

fn allow_event(types: &mut PayloadTypes, number: u8, clock_rate: u32) {
    if let Some(content) = Content::event(clock_rate) {
        types.allow(number, content);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MU: Codec = Codec::G711(Law::Mu);
    const A: Codec = Codec::G711(Law::A);
    const BOTH: [Codec; 2] = [MU, A];

    fn local(codecs: &[Codec]) -> Local {
        Local::new(1234, "192.0.2.10:20000".parse().unwrap(), codecs)
    }

    fn remote(lines: &str) -> Session {
        let text =
            format!("v=0\r\no=- 9 9 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n{lines}");
        Session::parse(text.as_bytes()).unwrap()
    }

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    fn answer(codecs: &[Codec], offer: &str) -> (Negotiated, String) {
        let (agreed, body) = local(codecs)
            .answer(&remote(offer), Direction::SendReceive)
            .unwrap();
        (agreed, text(body))
    }

    #[test]
    fn an_offer_names_everything_we_speak() {
        assert_eq!(
            text(local(&BOTH).offer(Direction::SendReceive)),
            "v=0\r\no=- 1234 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
             m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\na=rtcp-mux\r\n"
        );
        let mut wide = Local::new(1, "[2001:db8::1]:20000".parse().unwrap(), &[A]);
        assert!(text(wide.offer(Direction::SendReceive)).contains("c=IN IP6 2001:db8::1\r\n"));
    }

    #[test]
    fn an_answer_takes_one_codec_in_the_order_of_the_offer() {
        let offer = "m=audio 4000 RTP/AVP 18 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
        let (agreed, body) = answer(&BOTH, offer);
        assert_eq!(
            (agreed.codec, agreed.payload_type, agreed.event_payload_type),
            (A, 8, Some(96))
        );
        assert_eq!(agreed.remote, Some("192.0.2.20:4000".parse().unwrap()));
        assert!(body.contains("m=audio 20000 RTP/AVP 8 96\r\n"), "{body}");
        assert!(!body.contains("rtcp-mux"), "{body}");
        // A peer that sends its other codec all the same is understood.
        assert_eq!(agreed.receive.content(0), Some(Content::Audio(MU)));
        assert_eq!(answer(&[MU], offer).0.codec, MU);
    }

    #[test]
    fn the_numbers_of_the_offer_are_kept_in_the_answer() {
        let (agreed, body) = answer(&BOTH, "m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000\r\n");
        assert_eq!(
            (
                agreed.payload_type,
                agreed.receive.content(97),
                agreed.event_payload_type
            ),
            (97, Some(Content::Audio(MU)), None)
        );
        assert!(
            body.contains("m=audio 20000 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000\r\n"),
            "{body}"
        );
    }

    #[test]
    fn every_media_line_is_answered_and_what_we_cannot_is_rejected() {
        let offer = "m=image 5000 udptl t38\r\nm=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 18\r\n\
                     m=audio 4004 rtp/avp 0\r\nm=video 4006 RTP/AVP 31 34\r\nm=application 9 UDP/DTLS/SCTP x\r\n";
        let (agreed, body) = answer(&BOTH, offer);
        assert_eq!(agreed.remote.unwrap().port(), 4004);
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=image 0 udptl t38",
                "m=audio 0 RTP/SAVP 0",
                "m=audio 0 RTP/AVP 18",
                "m=audio 20000 rtp/avp 0",
                "m=video 0 RTP/AVP 31 34",
                "m=application 0 UDP/DTLS/SCTP x"
            ]
        );
    }

    #[test]
    fn an_offer_without_usable_audio_is_refused() {
        for offer in [
            "",
            "m=audio 0 RTP/AVP 0\r\n",
            "m=audio 4000 RTP/SAVP 0\r\n",
            "m=audio 4000 RTP/AVP 18\r\n",
            "m=image 4000 udptl t38\r\n",
        ] {
            let refused = local(&BOTH).answer(&remote(offer), Direction::SendReceive);
            assert_eq!(refused, Err(SdpError::NoCommonAudio), "{offer:?}");
        }
    }

    #[test]
    fn hold_is_answered_with_its_mirror_and_resume_undoes_it() {
        let mut local = local(&BOTH);
        for (said, expected, sends) in [
            ("a=sendrecv", "a=sendrecv", true),
            ("a=sendonly", "a=recvonly", false),
            ("a=inactive", "a=inactive", false),
            ("c=IN IP4 0.0.0.0", "a=recvonly", false),
            ("a=recvonly", "a=sendonly", true),
        ] {
            let offer = remote(&format!("m=audio 4000 RTP/AVP 0\r\n{said}\r\n"));
            let (agreed, body) = local.answer(&offer, Direction::SendReceive).unwrap();
            let body = text(body);
            assert!(body.contains(expected), "{said}: {body}");
            assert_eq!(agreed.direction.sends(), sends, "{said}");
        }
    }

    #[test]
    fn the_version_rises_when_and_only_when_something_changed() {
        let mut local = local(&BOTH);
        let version = |body: Vec<u8>| text(body).split_whitespace().nth(3).map(str::to_owned).unwrap();
        let offer = remote("m=audio 4000 RTP/AVP 0 8\r\n");
        let mut answer = |offer: &Session, wish| version(local.answer(offer, wish).unwrap().1);
        assert_eq!(answer(&offer, Direction::SendReceive), "1");
        assert_eq!(answer(&offer, Direction::SendReceive), "1");
        assert_eq!(answer(&offer, Direction::ReceiveOnly), "2");
        assert_eq!(answer(&offer, Direction::SendReceive), "3");
        let mut offering = Local::new(1, "192.0.2.10:20000".parse().unwrap(), &BOTH);
        assert_eq!(version(offering.offer(Direction::SendReceive)), "1");
        assert_eq!(version(offering.offer(Direction::SendReceive)), "1");
        offering.set_address("192.0.2.10:20002".parse().unwrap());
        assert_eq!(version(offering.offer(Direction::SendReceive)), "2");
    }

    #[test]
    fn our_later_offers_keep_the_media_lines_of_the_peer() {
        let mut local = local(&BOTH);
        let offer = remote("m=image 5000 udptl t38\r\nm=audio 4000 RTP/AVP 8\r\n");
        local.answer(&offer, Direction::SendReceive).unwrap();
        let body = text(local.offer(Direction::SendReceive));
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines, ["m=image 0 udptl t38", "m=audio 20000 RTP/AVP 0 8 101"]);
        let agreed = local
            .accept_answer(&remote("m=image 0 udptl t38\r\nm=audio 4000 RTP/AVP 8\r\n"))
            .unwrap();
        assert_eq!(agreed.codec, A);
    }

    #[test]
    fn an_answer_may_use_its_own_numbers() {
        let mut local = local(&BOTH);
        local.offer(Direction::SendReceive);
        let lines =
            "m=audio 4000 RTP/AVP 96 100\r\na=rtpmap:96 PCMA/8000\r\na=rtpmap:100 telephone-event/8000\r\n";
        let agreed = local.accept_answer(&remote(lines)).unwrap();
        // We send with theirs and understand ours and theirs.
        assert_eq!((agreed.payload_type, agreed.event_payload_type), (96, Some(100)));
        let content = |number| agreed.receive.content(number);
        assert_eq!((content(8), content(96)), (content(8), content(8)));
        assert_eq!((content(101), content(100)), (content(101), content(101)));
        assert!(content(8).is_some() && content(101).is_some() && content(55).is_none());
    }

    #[test]
    fn an_answer_that_rejects_or_misses_our_audio_is_an_error() {
        let mut local = local(&[MU]);
        local.offer(Direction::SendReceive);
        let accept = |lines: &str| local.accept_answer(&remote(lines)).unwrap_err();
        assert_eq!(accept("m=audio 0 RTP/AVP 0\r\n"), SdpError::AudioRejected);
        assert_eq!(accept(""), SdpError::AudioRejected);
        assert_eq!(accept("m=audio 4000 RTP/AVP 8\r\n"), SdpError::NoCommonAudio);
    }

    #[test]
    fn the_packet_time_is_what_the_peer_asks_for_if_we_can() {
        for (lines, expected) in [
            ("", 20),
            ("a=ptime:20\r\n", 20),
            ("a=ptime:10\r\n", 10),
            ("a=ptime:40\r\n", 40),
            ("a=ptime:60\r\n", 60),
            ("a=ptime:30\r\n", 20),
            ("a=ptime:40\r\na=maxptime:20\r\n", 20),
            ("a=maxptime:150\r\n", 20),
        ] {
            let (agreed, body) = answer(&BOTH, &format!("m=audio 4000 RTP/AVP 0\r\n{lines}"));
            assert_eq!(agreed.ptime, expected, "{lines:?}");
            assert!(body.contains(&format!("a=ptime:{expected}\r\n")));
        }
    }

    proptest! {
        #[test]
        fn any_offer_we_answer_gets_an_answer_with_its_lines(
            lines in prop::collection::vec(
                ("(audio|image|video)", prop::sample::select(vec![0u16, 4000]), "(RTP/AVP|RTP/SAVP|udptl)", "(0|8|18|0 8|t38)"),
                0..6,
            )
        ) {
            let offer: String =
                lines.iter().map(|(kind, port, protocol, formats)| format!("m={kind} {port} {protocol} {formats}\r\n")).collect();
            if let Ok((agreed, body)) = local(&BOTH).answer(&remote(&offer), Direction::SendReceive) {
                let back = Session::parse(&body).unwrap();
                prop_assert_eq!(back.media.len(), lines.len());
                prop_assert_eq!(back.media.iter().filter(|media| media.port != 0).count(), 1);
                let ours = back.media.iter().find(|media| media.port != 0).unwrap();
                prop_assert_eq!(ours.codecs().next(), Some((agreed.payload_type, agreed.codec)));
            }
        }
    }
}
