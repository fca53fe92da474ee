//! Reads session descriptions. Lines we do not need are not judged.

use std::net::IpAddr;

use super::{Codec, Connection, Direction, Media, SdpError, Session};

const MAX_BYTES: usize = 16 * 1024;
const MAX_MEDIA: usize = 16;
const MAX_LINES: usize = 256;
const MAX_FORMATS: usize = 64;
const MAX_CODECS: usize = 64;

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
            "rtpmap" if media.codecs.len() < MAX_CODECS => media.codecs.extend(codec(argument)),
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

fn codec(argument: &str) -> Option<Codec> {
    let (payload_type, encoding) = argument.split_once(char::is_whitespace)?;
    let mut parts = encoding.trim().split('/').map(str::trim);
    Some(Codec {
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
