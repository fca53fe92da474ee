//! What is kept of a call: the record, its legs and its events, and the changes that build it up.
//!
//! Call control emits [`RecordChange`] values from the first INVITE on; the store applies them in order, so a
//! record exists while the call runs and survives a crash. [`CallRecord`] is what is read back.
//!
//! Privacy, kept by these types and not by their users:
//! - The caller's number appears only as a [`CallerHmac`].
//! - An office's number is public and is kept as dialled; any other party's number is not kept ([`Party`]).
//! - Keys pressed are kept as counts only. A choice made with them is kept by its name.
//! - A ZIP code is kept as far as [`ZipDetail`] allows: by default its first three digits.
//! - What carriers write ([`Phrase`]) is kept with runs of digits masked, since some write numbers there.

mod event;
mod kept;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::units::{CallId, CampaignId, Language, OfficeId, PhoneNumber, TargetId, TrunkName};

pub use event::{CallEvent, DistrictName, EventKind};
pub use kept::{CallerHmac, KeptZip, NotAnHmac, Phrase, ZipDetail, caller_hmac, kept_sip_call_id};

/// A moment as microseconds since 1970, UTC. JSON has it as RFC 3339 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "jiff::Timestamp", into = "jiff::Timestamp")]
pub struct UtcMicros(pub i64);

impl From<UtcMicros> for jiff::Timestamp {
    fn from(at: UtcMicros) -> Self {
        at.timestamp()
    }
}

impl From<jiff::Timestamp> for UtcMicros {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond())
    }
}

impl UtcMicros {
    /// As a timestamp; a value beyond the range of the calendar becomes its nearest end.
    pub fn timestamp(self) -> jiff::Timestamp {
        let nearest = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest)
    }

    /// Microseconds from `earlier` to this moment.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A leg's place in its call: 0 is the first leg, which is the caller's on a call to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LegNumber(pub u16);

/// Text that was not one of the codes of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known code here")]
pub struct UnknownCode(String);

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;
            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownCode(text.to_owned())),
                }
            }
        }
    };
}

coded! {
    /// Who began a call or a leg, seen from here.
    Direction { Inbound "inbound", Outbound "outbound", }
}

coded! {
    /// Who ended a call or a leg.
    EndedBy {
        Caller "caller",
        Office "office",
        /// The carrier: a final response or a failure that neither person caused.
        Trunk "trunk",
        /// This server: a limit, the end of the flow, a drain.
        Server "server",
    }
}

coded! {
    /// What tells that a disposition is right.
    EvidenceSource { Signal "signal", Media "media", Caller "caller", Operator "operator", }
}

coded! {
    /// Why this number was dialled for a target.
    Choice {
        Main "main",
        Failover "failover",
        AfterHours "after_hours",
        /// A plain route, no target.
        Route "route",
    }
}

/// Who is on a leg. Only an office's number is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "party", rename_all = "snake_case")]
pub enum Party {
    /// A member of the public, whether they called us or we called them.
    Caller,
    Office {
        target: TargetId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        office: Option<OfficeId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<PhoneNumber>,
    },
    /// The far end of a plain route.
    Route,
}

/// How a call came here and where it was led.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Route {
    /// The number of ours that was called, or that we call from; as configured, so it may be a short extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_version: Option<u32>,
}

/// Why a leg ended, on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phrase: Option<Phrase>,
}

/// What a leg's stream carried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MediaSummary {
    /// By its SDP name: `PCMU`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    pub packets_sent: u64,
    /// Packets that the peer's sequence numbers promised and that are not known to be lost. While nobody listens, as in
    /// a prompt, only samples of the audio are read; the packets between them are counted here all the same.
    pub packets_received: u64,
    /// Packets known to be lost; while only samples are read, the samples that never came.
    pub packets_lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_microseconds: u32,
}

/// A call as it begins: the first INVITE came in or is about to go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOpened {
    pub call: CallId,
    pub at: UtcMicros,
    pub direction: Direction,
    pub route: Route,
    pub caller: Option<CallerHmac>,
    /// From [`kept_sip_call_id`].
    pub sip_call_id: Option<String>,
}

/// What becomes known during a call. A `None` leaves what is already stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallDetails {
    pub answered_at: Option<UtcMicros>,
    pub campaign: Option<CampaignId>,
    pub flow: Option<String>,
    pub flow_version: Option<u32>,
    pub language: Option<Language>,
    pub zip: Option<KeptZip>,
    /// The version of the directory that targets were taken from.
    pub data_version: Option<String>,
}

/// A call's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallClosed {
    pub call: CallId,
    pub at: UtcMicros,
    pub disposition: SessionDisposition,
    pub ended_by: EndedBy,
    pub details: CallDetails,
}

/// A leg as it begins, or a target that is considered and not dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegOpened {
    pub call: CallId,
    pub leg: LegNumber,
    pub at: UtcMicros,
    pub direction: Direction,
    pub party: Party,
    pub trunk: Option<TrunkName>,
    pub choice: Option<Choice>,
    /// 1 for the first dial for this target.
    pub attempt: u16,
    /// The caller-ID policy by its name, not the number presented.
    pub caller_id_policy: Option<String>,
}

/// A leg's end, with what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegClosed {
    pub call: CallId,
    pub leg: LegNumber,
    pub at: UtcMicros,
    pub ringing_at: Option<UtcMicros>,
    pub answered_at: Option<UtcMicros>,
    pub disposition: LegDisposition,
    pub ended_by: EndedBy,
    pub cause: Cause,
    pub evidence: EvidenceSource,
    /// How sure the disposition is, in percent.
    pub confidence: u8,
    pub media: MediaSummary,
}

/// A call's SIP messages in the form of [`crate::call::trace::Trace::encode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceKept {
    pub call: CallId,
    pub at: UtcMicros,
    pub trace: Vec<u8>,
}

/// One step in the life of a record. The store applies them in the order in which they were emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordChange {
    CallOpened(Box<CallOpened>),
    CallDetails {
        call: CallId,
        details: Box<CallDetails>,
    },
    LegOpened(Box<LegOpened>),
    LegClosed(Box<LegClosed>),
    Events {
        call: CallId,
        events: Vec<CallEvent>,
    },
    CallClosed(Box<CallClosed>),
    /// Comes after the call was closed, and again when more messages of it came.
    Traced(Box<TraceKept>),
}

impl RecordChange {
    pub fn call(&self) -> CallId {
        match self {
            Self::CallOpened(opened) => opened.call,
            Self::CallDetails { call, .. } | Self::Events { call, .. } => *call,
            Self::LegOpened(opened) => opened.call,
            Self::LegClosed(closed) => closed.call,
            Self::CallClosed(closed) => closed.call,
            Self::Traced(kept) => kept.call,
        }
    }

    /// One event as a change.
    pub fn event(call: CallId, at: UtcMicros, leg: Option<LegNumber>, kind: EventKind) -> Self {
        Self::Events {
            call,
            events: vec![CallEvent { at, leg, kind }],
        }
    }
}

/// A call without its legs and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSummary {
    pub id: CallId,
    pub direction: Direction,
    pub started_at: UtcMicros,
    pub answered_at: Option<UtcMicros>,
    pub ended_at: Option<UtcMicros>,
    #[serde(flatten)]
    pub route: Route,
    pub caller_hmac: Option<CallerHmac>,
    pub language: Option<Language>,
    #[serde(flatten)]
    pub zip: KeptZip,
    pub data_version: Option<String>,
    /// `None` while the call runs.
    pub disposition: Option<SessionDisposition>,
    pub ended_by: Option<EndedBy>,
    pub sip_call_id: Option<String>,
}

/// One leg as stored. What only the end tells is `None` while the leg is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRecord {
    pub leg: LegNumber,
    pub direction: Direction,
    #[serde(flatten)]
    pub party: Party,
    pub trunk: Option<TrunkName>,
    pub choice: Option<Choice>,
    pub attempt: u16,
    pub caller_id_policy: Option<String>,
    pub started_at: UtcMicros,
    pub ended_at: Option<UtcMicros>,
    #[serde(flatten)]
    pub end: Option<LegOutcome>,
}

/// What the end of a leg told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegOutcome {
    pub ringing_at: Option<UtcMicros>,
    pub answered_at: Option<UtcMicros>,
    pub disposition: LegDisposition,
    pub ended_by: EndedBy,
    #[serde(flatten)]
    pub cause: Cause,
    pub evidence: EvidenceSource,
    pub confidence: u8,
    #[serde(flatten)]
    pub media: MediaSummary,
}

/// All that is kept of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    #[serde(flatten)]
    pub summary: CallSummary,
    pub legs: Vec<LegRecord>,
    pub events: Vec<CallEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[test]
    fn codes_read_back_and_are_what_serde_writes() {
        fn holds<T: Copy + Serialize + FromStr + PartialEq + fmt::Debug>(
            all: &[T],
            text: fn(T) -> &'static str,
        ) {
            for &code in all {
                assert_eq!(text(code).parse::<T>().ok(), Some(code));
                assert_eq!(serde_json::to_value(code).unwrap(), text(code));
            }
        }
        holds(Direction::ALL, Direction::as_str);
        holds(EndedBy::ALL, EndedBy::as_str);
        holds(EvidenceSource::ALL, EvidenceSource::as_str);
        holds(Choice::ALL, Choice::as_str);
    }

    #[test]
    fn changes_stay_small_enough_to_queue_by_the_thousand() {
        assert!(size_of::<RecordChange>() <= 48, "{}", size_of::<RecordChange>());
    }
}
