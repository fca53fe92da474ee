//! Reads session descriptions. Lines we do not need are not judged.

use std::net::IpAddr;

use super::{Connection, Direction, Media, RtpMap, SdpError, Session};

const MAX_BYTES: usize = 16 * 1024;
const MAX_MEDIA: usize = 16;
const MAX_LINES: usize = 256;
const MAX_FORMATS: usize = 64;
const MAX_RTPMAPS: usize = 64;

impl Session {
    /// Parses a body. Lines may end in CRLF, LF or CR, the last one in nothing; text that is not UTF-8 is replaced.
    ///
    /// # Errors
    /// `NotSdp` without a leading `v=`, `TooLarge` past the caps, `Malformed` for `m=` and `c=` lines without their
    /// fields. Broken attributes are ignored like unknown ones (RFC 8866 §5.13).
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > MAX_BYTES {
            return Err(SdpError::TooLarge {
                limit: MAX_BYTES,
                what: "bytes",
            });
        }
        let text = String::from_utf8_lossy(body);
        let mut session = Self {
            origin: String::new(),
            connection: None,
            direction: None,
            media: Vec::new(),
        };
        let mut started = false;
        for (index, line) in lines(&text).enumerate() {
            if index >= MAX_LINES {
                return Err(SdpError::TooLarge {
                    limit: MAX_LINES,
                    what: "lines",
                });
            }
            let Some((kind, value)) = line.split_once('=') else {
                continue;
            };
            match (started, kind.trim()) {
                (false, "v") => started = true,
                (false, _) => return Err(SdpError::NotSdp),
                (true, kind) => session.read_line(index + 1, kind, value.trim())?,
            }
        }
        if started {
            Ok(session)
        } else {
            Err(SdpError::NotSdp)
        }
    }

    fn read_line(&mut self, line: usize, kind: &str, value: &str) -> Result<(), SdpError> {
        match kind {
            "o" => value.clone_into(&mut self.origin),
            "m" if self.media.len() >= MAX_MEDIA => {
                return Err(SdpError::TooLarge {
                    limit: MAX_MEDIA,
                    what: "media",
                });
            }
            "m" => self
                .media
                .push(media(value).ok_or(SdpError::Malformed { line, what: "m=" })?),
            "c" => {
                let connection = Some(connection(value).ok_or(SdpError::Malformed { line, what: "c=" })?);
                match self.media.last_mut() {
                    Some(media) => media.connection = connection,
                    None => self.connection = connection,
                }
            }
            "a" => self.read_attribute(value),
            _ => {}
        }
        Ok(())
    }

    fn read_attribute(&mut self, value: &str) {
        let (name, argument) = value.split_once(':').unwrap_or((value, ""));
        let (name, argument) = (name.trim().to_ascii_lowercase(), argument.trim());
        if let Some(direction) = direction(&name) {
            match self.media.last_mut() {
                Some(media) => media.direction = Some(direction),
                None => self.direction = Some(direction),
            }
            return;
        }
        let Some(media) = self.media.last_mut() else {
            return;
        };
        match name.as_str() {
            "rtpmap" if media.rtpmaps.len() < MAX_RTPMAPS => media.rtpmaps.extend(rtpmap(argument)),
            "ptime" => media.ptime = milliseconds(argument).or(media.ptime),
            "maxptime" => media.maxptime = milliseconds(argument).or(media.maxptime),
            "rtcp-mux" => media.rtcp_mux = true,
            _ => {}
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

fn media(value: &str) -> Option<Media> {
    let mut words = value.split_whitespace();
    let kind = words.next()?.to_owned();
    // The port may carry a count: `49170/2`.
    let port = words.next()?.split('/').next()?.parse().ok()?;
    let protocol = words.next()?.to_owned();
    let formats = words.take(MAX_FORMATS).map(str::to_owned).collect();
    Some(Media {
        kind,
        port,
        protocol,
        formats,
        ..Media::default()
    })
}

fn connection(value: &str) -> Option<Connection> {
    let mut words = value.split_whitespace();
    let (_network, _family) = (words.next()?, words.next()?);
    // Multicast addresses carry a TTL and a count: `224.2.1.1/127/3`.
    let address = words.next()?.split('/').next()?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    Some(match bare.parse::<IpAddr>() {
        Ok(ip) => Connection::Address(ip),
        Err(_) => Connection::Other(address.to_owned()),
    })
}

fn rtpmap(argument: &str) -> Option<RtpMap> {
    let (payload_type, encoding) = argument.split_once(char::is_whitespace)?;
    let mut parts = encoding.trim().split('/').map(str::trim);
    Some(RtpMap {
        payload_type: payload_type
            .parse()
            .ok()
            .filter(|payload_type| *payload_type < 128)?,
        name: parts.next()?.to_owned(),
        clock_rate: parts.next()?.parse().ok()?,
        channels: match parts.next() {
            Some(channels) if !channels.is_empty() => channels.parse().ok()?,
            _ => 1,
        },
    })
}

fn milliseconds(argument: &str) -> Option<u16> {
    // Some peers write fractions: `20.0`.
    let whole = argument.split('.').next()?;
    whole
        .parse()
        .ok()
        .filter(|milliseconds| (1..=1000).contains(milliseconds))
}

fn direction(name: &str) -> Option<Direction> {
    [
        Direction::SendReceive,
        Direction::SendOnly,
        Direction::ReceiveOnly,
        Direction::Inactive,
    ]
    .into_iter()
    .find(|direction| direction.name() == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, Law};

    const MU: Codec = Codec::G711(Law::Mu);
    const A: Codec = Codec::G711(Law::A);

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn session(lines: &str) -> Session {
        Session::parse(format!("{HEAD}{lines}").as_bytes()).unwrap()
    }

    fn codecs(lines: &str) -> Vec<(u8, Codec)> {
        session(lines).media[0].codecs().collect()
    }

    /// What is odd, the lines, and the codecs they name.
    type Oddity = (&'static str, &'static str, &'static [(u8, Codec)]);

    #[rustfmt::skip]
    const ODDITIES: &[Oddity] = &[
        ("static types without rtpmap", "m=audio 4000 RTP/AVP 8 0\r\n", &[(8, A), (0, MU)]),
        ("names know no case", "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 pcmu/8000\r\n", &[(96, MU)]),
        ("one channel named", "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000/1\r\n", &[(8, A)]),
        ("empty channel field", "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000/\r\n", &[(8, A)]),
        ("another rate is another codec", "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMU/16000\r\n", &[]),
        ("stereo is another codec", "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMU/8000/2\r\n", &[]),
        ("a static number renamed", "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 opus/48000/2\r\n", &[(0, Codec::Opus)]),
        ("G.722 without rtpmap, unknown ones between", "m=audio 4000 RTP/AVP 18 9 3 0\r\n", &[(9, Codec::G722), (0, MU)]),
        ("G.722 under another number", "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 g722/8000/1\r\n", &[(96, Codec::G722)]),
        ("Opus under any number", "m=audio 4000 RTP/AVP 107\r\na=rtpmap:107 OPUS/48000/2\r\n", &[(107, Codec::Opus)]),
        ("Opus that is none", "m=audio 4000 RTP/AVP 107 108\r\na=rtpmap:107 opus/48000\r\na=rtpmap:108 opus/8000/2\r\n", &[]),
        ("a dynamic number without rtpmap", "m=audio 4000 RTP/AVP 111 0\r\n", &[(0, MU)]),
        ("LF only", "m=audio 4000 RTP/AVP 0\na=ptime:20\n", &[(0, MU)]),
        ("last line without an end", "m=audio 4000 RTP/AVP 18 0", &[(0, MU)]),
        ("blanks around", "m= audio  4000  RTP/AVP  0 \r\na=rtpmap: 0  PCMU/8000\r\n", &[(0, MU)]),
        ("port with a count", "m=audio 4000/1 RTP/AVP 0\r\n", &[(0, MU)]),
        ("format that is no number", "m=audio 4000 RTP/AVP x 0 300\r\n", &[(0, MU)]),
        ("broken rtpmaps", "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0\r\na=rtpmap:x y/z\r\n", &[(0, MU)]),
        ("unknown lines", "b=AS:64\r\ny=1\r\nk=prompt\r\nm=audio 4000 RTP/AVP 0\r\ni=x\r\n", &[(0, MU)]),
    ];

    #[test]
    fn oddities_of_real_trunks_are_read_as_meant() {
        for (name, lines, expected) in ODDITIES {
            assert_eq!(&codecs(lines), expected, "{name}");
        }
    }

    #[test]
    fn missing_mandatory_lines_and_huge_origin_numbers_do_no_harm() {
        let bare = Session::parse(b"v=0\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.9\n").unwrap();
        assert_eq!(
            bare.remote(&bare.media[0]),
            Some("192.0.2.9:4000".parse().unwrap())
        );
        let body = "v=0\r\no=x 99999999999999999999999999 -1 IN IP4 host\r\nm=audio 4000 RTP/AVP 0\r\n";
        let session = Session::parse(body.as_bytes()).unwrap();
        assert_eq!(session.origin, "x 99999999999999999999999999 -1 IN IP4 host");
    }

    #[test]
    fn the_connection_of_the_media_goes_before_that_of_the_session() {
        let session = session("m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\n");
        assert_eq!(
            session.remote(&session.media[0]),
            Some("192.0.2.1:4000".parse().unwrap())
        );
        assert_eq!(
            session.remote(&session.media[1]),
            Some("192.0.2.7:4002".parse().unwrap())
        );
    }

    #[test]
    fn addresses_of_every_kind_are_read_and_names_are_not_resolved() {
        let remote = |line: &str| {
            let session = session(&format!("m=audio 4000 RTP/AVP 0\r\n{line}\r\n"));
            session.remote(&session.media[0])
        };
        assert_eq!(
            remote("c=IN IP6 2001:db8::5"),
            Some("[2001:db8::5]:4000".parse().unwrap())
        );
        assert_eq!(
            remote("c=IN IP6 [2001:db8::5]"),
            Some("[2001:db8::5]:4000".parse().unwrap())
        );
        assert_eq!(
            remote("c=IN IP4 224.2.1.1/127/3"),
            Some("224.2.1.1:4000".parse().unwrap())
        );
        assert_eq!(remote("c=IN IP4 media.example.com"), None);
        assert_eq!(remote("c=IN IP4 0.0.0.0"), None);
    }

    #[test]
    fn hold_is_seen_in_either_style() {
        let direction = |lines: &str| {
            let session = session(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}"));
            session.direction(&session.media[0])
        };
        assert_eq!(direction(""), Direction::SendReceive);
        assert_eq!(direction("a=SendOnly\r\n"), Direction::SendOnly);
        assert_eq!(direction("a=inactive\r\n"), Direction::Inactive);
        assert_eq!(direction("c=IN IP4 0.0.0.0\r\n"), Direction::SendOnly);
        assert_eq!(
            direction("c=IN IP4 0.0.0.0\r\na=recvonly\r\n"),
            Direction::Inactive
        );
        let whole =
            Session::parse(format!("{HEAD}a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\n").as_bytes()).unwrap();
        assert_eq!(whole.direction(&whole.media[0]), Direction::SendOnly);
    }

    #[test]
    fn telephone_event_is_found_under_any_number_best_at_the_clock_of_the_codec() {
        let event = |lines: &str| {
            session(lines).media[0]
                .telephone_event(8000)
                .map(|(number, _)| number)
        };
        assert_eq!(
            event("m=audio 1 RTP/AVP 0 127\r\na=rtpmap:127 Telephone-Event/8000\r\n"),
            Some(127)
        );
        assert_eq!(
            event("m=audio 1 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000/1\r\n"),
            Some(101)
        );
        let wide = "m=audio 1 RTP/AVP 0 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n";
        assert_eq!(event(wide), Some(101));
        assert_eq!(
            event("m=audio 1 RTP/AVP 0\r\na=rtpmap:101 telephone-event/8000\r\n"),
            None
        );
        assert_eq!(
            session(wide).media[0].telephone_event(48_000),
            Some((100, 48_000))
        );
        let other = "m=audio 1 RTP/AVP 0 100\r\na=rtpmap:100 telephone-event/48000\r\n";
        assert_eq!(session(other).media[0].telephone_event(8000), Some((100, 48_000)));
    }

    #[test]
    fn packet_times_are_read_even_as_fractions() {
        let session = session("m=audio 1 RTP/AVP 0\r\na=ptime:30.0\r\na=maxptime:150\r\na=ptime:0\r\n");
        assert_eq!(
            (session.media[0].ptime, session.media[0].maxptime),
            (Some(30), Some(150))
        );
    }

    #[test]
    fn what_is_not_sdp_or_too_much_is_refused_with_its_place() {
        assert_eq!(Session::parse(b""), Err(SdpError::NotSdp));
        assert_eq!(Session::parse(b"hello\r\nworld"), Err(SdpError::NotSdp));
        assert_eq!(
            Session::parse(b"m=audio 1 RTP/AVP 0\r\nv=0\r\n"),
            Err(SdpError::NotSdp)
        );
        assert_eq!(
            Session::parse(b"v=0\r\nm=audio\r\n"),
            Err(SdpError::Malformed { line: 2, what: "m=" })
        );
        assert_eq!(
            Session::parse(b"v=0\r\nm=audio 99999 RTP/AVP 0\r\n"),
            Err(SdpError::Malformed { line: 2, what: "m=" })
        );
        assert_eq!(
            Session::parse(b"v=0\r\nc=IN\r\n"),
            Err(SdpError::Malformed { line: 2, what: "c=" })
        );
        let media = "m=audio 1 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1);
        let refused = Session::parse(format!("v=0\r\n{media}").as_bytes());
        assert_eq!(
            refused,
            Err(SdpError::TooLarge {
                limit: MAX_MEDIA,
                what: "media"
            })
        );
        let lines = "a=x\r\n".repeat(MAX_LINES);
        let refused = Session::parse(format!("v=0\r\n{lines}").as_bytes());
        assert_eq!(
            refused,
            Err(SdpError::TooLarge {
                limit: MAX_LINES,
                what: "lines"
            })
        );
        let refused = Session::parse(&vec![b'v'; MAX_BYTES + 1]);
        assert_eq!(
            refused,
            Err(SdpError::TooLarge {
                limit: MAX_BYTES,
                what: "bytes"
            })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Session::parse(&body);
        }

        #[test]
        fn any_lines_are_parsed_or_refused(lines in prop::collection::vec("[vocmabst]=[ -~]{0,40}", 0..40)) {
            let body = format!("v=0\r\n{}", lines.join("\r\n"));
            if let Ok(session) = Session::parse(body.as_bytes()) {
                for media in &session.media {
                    let _ = (session.remote(media), session.direction(media), media.telephone_event(8000));
                    prop_assert!(media.codecs().count() <= MAX_FORMATS);
                }
            }
        }
    }
}
