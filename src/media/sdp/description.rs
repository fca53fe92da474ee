//! What a session description says, as far as a telephone call needs it.

use std::net::{IpAddr, SocketAddr};

use crate::codec::Codec;
use crate::payload_types::Content;

/// A parsed session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The value of `o=`, unread: its numbers may have any size (RFC 8866 §5.2). Empty if the line is missing.
    pub origin: String,
    /// `c=` at session level.
    pub connection: Option<Connection>,
    /// Direction at session level.
    pub direction: Option<Direction>,
    /// Every `m=` line, in order.
    pub media: Vec<Media>,
}

impl Session {
    /// Where RTP for this media goes: media level before session level. None for port 0, for an address that is
    /// unspecified (`c=0.0.0.0`, hold as in RFC 2543) and for host names.
    pub fn remote(&self, media: &Media) -> Option<SocketAddr> {
        match self.connection(media) {
            Some(Connection::Address(ip)) if !ip.is_unspecified() && media.port != 0 => {
                Some(SocketAddr::new(*ip, media.port))
            }
            _ => None,
        }
    }

    /// What the sender of this description does with this media.
    pub fn direction(&self, media: &Media) -> Direction {
        let said = media
            .direction
            .or(self.direction)
            .unwrap_or(Direction::SendReceive);
        match self.connection(media) {
            Some(Connection::Address(ip)) if ip.is_unspecified() => said.without_receiving(),
            _ => said,
        }
    }

    fn connection<'a>(&'a self, media: &'a Media) -> Option<&'a Connection> {
        media.connection.as_ref().or(self.connection.as_ref())
    }
}

/// The address in a `c=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
    /// A host name, or a network type we do not know. Never resolved here.
    Other(String),
}

/// One `m=` line with its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// `audio`, `image`, …, as written.
    pub kind: String,
    /// 0 when the media is rejected or unused.
    pub port: u16,
    /// `RTP/AVP`, `udptl`, …, as written.
    pub protocol: String,
    /// Payload types or other format tokens, in order of preference.
    pub formats: Vec<String>,
    /// `c=` at media level.
    pub connection: Option<Connection>,
    /// `a=rtpmap` lines.
    pub rtpmaps: Vec<RtpMap>,
    /// Direction at media level.
    pub direction: Option<Direction>,
    /// `a=ptime` in milliseconds.
    pub ptime: Option<u16>,
    /// `a=maxptime` in milliseconds.
    pub maxptime: Option<u16>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
}

impl Media {
    /// Audio over plain RTP (profiles AVP and AVPF) that is not rejected.
    pub fn is_plain_audio(&self) -> bool {
        let plain = ["RTP/AVP", "RTP/AVPF"]
            .iter()
            .any(|name| self.protocol.eq_ignore_ascii_case(name));
        self.port != 0 && plain && self.kind.eq_ignore_ascii_case("audio")
    }

    /// The payload types of codecs we know in order of preference, static ones without an rtpmap included.
    pub fn codecs(&self) -> impl Iterator<Item = (u8, Codec)> + '_ {
        self.payload_types()
            .filter_map(|payload_type| Some((payload_type, self.codec(payload_type)?)))
    }

    /// The payload types of telephone-event with their clock rates in Hz (RFC 4733 §7.1.1).
    pub fn telephone_events(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.payload_types().filter_map(|payload_type| {
            let map = self.rtpmap(payload_type)?;
            (map.is("telephone-event") && Content::event(map.clock_rate).is_some())
                .then_some((payload_type, map.clock_rate))
        })
    }

    /// The telephone-event that goes with a codec: of the same clock rate (RFC 4733 §2.1), else the first.
    pub fn telephone_event(&self, clock_rate: u32) -> Option<(u8, u32)> {
        self.telephone_events()
            .find(|(_, rate)| *rate == clock_rate)
            .or_else(|| self.telephone_events().next())
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats
            .iter()
            .filter_map(|format| format.parse().ok())
            .filter(|payload_type| *payload_type < 128)
    }

    fn codec(&self, payload_type: u8) -> Option<Codec> {
        match self.rtpmap(payload_type) {
            Some(map) => Codec::ALL.into_iter().find(|codec| {
                map.is(codec.name())
                    && map.clock_rate == codec.clock_rate()
                    && map.channels == codec.described_channels()
            }),
            None => Codec::ALL
                .into_iter()
                .find(|codec| codec.has_static_payload_type() && codec.payload_type() == payload_type),
        }
    }

    fn rtpmap(&self, payload_type: u8) -> Option<&RtpMap> {
        self.rtpmaps.iter().find(|map| map.payload_type == payload_type)
    }
}

/// One `a=rtpmap` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    pub payload_type: u8,
    /// As written; compare with [`RtpMap::is`].
    pub name: String,
    /// In Hz.
    pub clock_rate: u32,
    pub channels: u8,
}

impl RtpMap {
    /// Whether the encoding name is this one; names know no case (RFC 8866 §6.6).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Who sends, seen from the one who wrote the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    /// The attribute name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    /// The same media seen from the other side.
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::ReceiveOnly,
            Self::ReceiveOnly => Self::SendOnly,
            unchanged => unchanged,
        }
    }

    /// What is left when both must agree.
    pub const fn and(self, other: Self) -> Self {
        Self::from_parts(self.sends() && other.sends(), self.receives() && other.receives())
    }

    const fn without_receiving(self) -> Self {
        Self::from_parts(self.sends(), false)
    }

    const fn from_parts(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendReceive,
            (true, false) => Self::SendOnly,
            (false, true) => Self::ReceiveOnly,
            (false, false) => Self::Inactive,
        }
    }
}
