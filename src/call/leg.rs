//! One leg: its SIP session and its stream, and what was agreed about sound.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::hearing::Listening;
use media::sdp::{Direction, Local, Negotiated, SdpError, Session};
use media::{Codec, SourceRule, Start, StreamConfig, StreamId};
use serde::Deserialize;
use sip::{PeerId, SessionId};

use super::disposition::LegDisposition;
use super::record::{Cause, EndedBy, LegNumber, UtcMicros};
use crate::units::TrunkName;

/// A stream's socket: made and bound, not yet in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub stream: StreamId,
    /// Where RTP for it arrives, as peers see it.
    pub address: SocketAddr,
}

/// How far a leg has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// INVITE received or sent.
    Invited,
    Answered,
    /// Ended on the wire; the stream's totals may be outstanding.
    Ended,
}

/// How keys travel to and from a trunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigitForm {
    /// As RTP telephone events where they are agreed; else to the trunk by SIP INFO, and from it as tones too.
    #[default]
    Rfc4733,
    /// By SIP INFO.
    Info,
    /// As tones in the audio.
    Inband,
}

/// What was heard on a leg that speaks for a disposition.
#[derive(Debug, Clone)]
pub struct Suspicion {
    pub disposition: LegDisposition,
    /// In percent.
    pub confidence: u8,
    pub at: UtcMicros,
}

/// How a leg ended, kept until the stream's totals are in.
#[derive(Debug, Clone)]
pub struct LegEnding {
    pub at: UtcMicros,
    pub disposition: LegDisposition,
    pub ended_by: EndedBy,
    pub cause: Cause,
}

/// One party of a call.
#[derive(Debug, Clone)]
pub struct Leg {
    pub number: LegNumber,
    pub session: SessionId,
    /// The trunk by its place in the engine: of two with one name after a reload, the one it began with.
    pub peer: PeerId,
    pub trunk: TrunkName,
    pub seat: Seat,
    /// The host that signals for the peer, from which its sound may come in place of where it said.
    pub signals: Option<IpAddr>,
    pub state: LegState,
    pub agreed: Option<Negotiated>,
    /// The stream was opened on its media thread.
    pub opened: bool,
    /// Sound came from the peer.
    pub heard: bool,
    /// Our answer to the peer's offer, until it is sent.
    pub answer: Option<Vec<u8>>,
    /// When we sent the INVITE; none for a call to us.
    pub invited_at: Option<Instant>,
    pub ringing_at: Option<UtcMicros>,
    pub answered_at: Option<UtcMicros>,
    pub ending: Option<LegEnding>,
    pub digits: DigitForm,
    /// What its stream listens for.
    pub listening: Listening,
    pub suspicion: Option<Suspicion>,
    local: Local,
    source: SourceRule,
    start: Start,
    silence_after: Option<Duration>,
}

/// What a leg is made of besides its session.
#[derive(Debug)]
pub struct LegSetup {
    pub number: LegNumber,
    pub peer: PeerId,
    pub trunk: TrunkName,
    pub seat: Seat,
    pub codecs: Vec<Codec>,
    pub source: SourceRule,
    pub signals: Option<IpAddr>,
    pub start: Start,
    /// A random number for the session description.
    pub sdp_id: u32,
    pub silence_after: Option<Duration>,
    pub digits: DigitForm,
}

impl Leg {
    pub fn new(session: SessionId, setup: LegSetup) -> Self {
        Self {
            local: Local::new(setup.sdp_id, setup.seat.address, &setup.codecs),
            number: setup.number,
            session,
            peer: setup.peer,
            trunk: setup.trunk,
            seat: setup.seat,
            signals: setup.signals,
            state: LegState::Invited,
            agreed: None,
            opened: false,
            heard: false,
            answer: None,
            invited_at: None,
            ringing_at: None,
            answered_at: None,
            ending: None,
            digits: setup.digits,
            listening: Listening::default(),
            suspicion: None,
            source: setup.source,
            start: setup.start,
            silence_after: setup.silence_after,
        }
    }

    /// A leg whose offer was written before its session existed.
    pub fn dialled(session: SessionId, setup: LegSetup, local: Local) -> Self {
        Self {
            local,
            ..Self::new(session, setup)
        }
    }

    /// Notes when our INVITE was sent.
    #[must_use]
    pub fn invited(self, at: Instant) -> Self {
        Self {
            invited_at: Some(at),
            ..self
        }
    }

    /// Reads the peer's offer and writes our answer, which is kept in `answer`. Without an offer ours goes there.
    pub fn take_offer(&mut self, offer: Option<&[u8]>) -> Result<(), SdpError> {
        let body = match offer {
            Some(bytes) => {
                let (agreed, body) = self
                    .local
                    .answer(&Session::parse(bytes)?, Direction::SendReceive)?;
                self.agreed = Some(agreed);
                body
            }
            None => self.local.offer(Direction::SendReceive),
        };
        self.answer = Some(body);
        Ok(())
    }

    /// Reads the peer's answer to our offer.
    pub fn take_answer(&mut self, answer: &[u8]) -> Result<(), SdpError> {
        self.agreed = Some(self.local.accept_answer(&Session::parse(answer)?)?);
        Ok(())
    }

    /// What the media thread needs, once both sides agreed.
    pub fn stream_config(&self) -> Option<StreamConfig> {
        self.agreed.as_ref().map(|agreed| StreamConfig {
            agreed: agreed.clone(),
            source: self.source,
            start: self.start,
            silence_after: self.silence_after,
            fill_silence: true,
        })
    }

    pub fn set_source(&mut self, source: SourceRule) {
        self.source = source;
    }

    pub fn codec(&self) -> Option<Codec> {
        self.agreed.as_ref().map(|agreed| agreed.codec)
    }

    /// The leg as it is when it ends, to be kept until its totals are in.
    pub fn ended_copy(&self) -> Self {
        Self {
            state: LegState::Ended,
            ..self.clone()
        }
    }

    pub fn is_up(&self) -> bool {
        self.state != LegState::Ended
    }
}
