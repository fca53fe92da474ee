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

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::call::disposition::{LegDisposition, SessionDisposition};
use crate::units::{CallId, CampaignId, Language, OfficeId, PhoneNumber, State, TargetId, TrunkName, Zip};

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

/// A caller's number as a keyed HMAC-SHA-256 in hexadecimal: tells callers apart, not who they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallerHmac(String);

/// Text that was not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a caller's HMAC is 64 hexadecimal digits")]
pub struct NotAnHmac;

/// Makes the pseudonym of a caller's number under this installation's key (any length; 32 bytes are usual).
pub fn caller_hmac(key: &[u8], number: &PhoneNumber) -> CallerHmac {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length (RFC 2104 §2)")
    };
    mac.update(number.as_str().as_bytes());
    CallerHmac(
        mac.finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

impl CallerHmac {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CallerHmac {
    type Err = NotAnHmac;
    fn from_str(text: &str) -> Result<Self, NotAnHmac> {
        let valid = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnHmac)
        }
    }
}

impl TryFrom<String> for CallerHmac {
    type Error = NotAnHmac;
    fn try_from(text: String) -> Result<Self, NotAnHmac> {
        text.parse()
    }
}

impl From<CallerHmac> for String {
    fn from(hmac: CallerHmac) -> String {
        hmac.0
    }
}

/// How much of a caller's ZIP code is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZipDetail {
    Nothing,
    /// The first three digits: enough for a map by region, shared by tens of thousands of people.
    #[default]
    Prefix,
    Full,
}

/// A caller's ZIP code as far as it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeptZip {
    /// Three digits.
    #[serde(rename = "zip_prefix", default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(rename = "zip", default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Zip>,
}

impl KeptZip {
    pub fn new(zip: Zip, detail: ZipDetail) -> Self {
        Self {
            prefix: (detail != ZipDetail::Nothing).then(|| zip.prefix().to_owned()),
            full: (detail == ZipDetail::Full).then_some(zip),
        }
    }
}

/// Words from the wire, fit to be kept: at most 120 characters, no control characters, and every run of five or
/// more digits masked down to its last two, since carriers write numbers into reason phrases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Phrase(String);

impl Phrase {
    pub fn new(text: &str) -> Self {
        Self(mask_digits(text, 120))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Phrase {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Phrase> for String {
    fn from(phrase: Phrase) -> String {
        phrase.0
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Masks runs of five or more digits; separators that people put into numbers do not end a run.
fn mask_digits(text: &str, limit: usize) -> String {
    let letters: Vec<char> = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(limit)
        .collect();
    let mut kept = String::with_capacity(letters.len());
    let mut at = 0;
    while at < letters.len() {
        let run = digit_run(&letters[at..]);
        let digits = letters[at..at + run]
            .iter()
            .filter(|letter| letter.is_ascii_digit())
            .count();
        if digits >= 5 {
            let last: String = letters[at..at + run]
                .iter()
                .filter(|l| l.is_ascii_digit())
                .skip(digits - 2)
                .collect();
            kept.push('…');
            kept.push_str(&last);
        } else {
            kept.extend(&letters[at..at + run.max(1)]);
        }
        at += run.max(1);
    }
    kept
}

/// The length of the number-like run at the start: digits, with single separators between them.
fn digit_run(letters: &[char]) -> usize {
    let mut end = 0;
    let mut at = 0;
    while at < letters.len() {
        match letters[at] {
            '0'..='9' => end = at + 1,
            ' ' | '-' | '.' | '(' | ')' if at > 0 && at - end < 2 => {}
            _ => break,
        }
        at += 1;
    }
    end
}

/// A peer's SIP Call-ID as kept for talks with the carrier: the caller's digits are taken out of it.
pub fn kept_sip_call_id(text: &str, caller: Option<&PhoneNumber>) -> String {
    let kept: String = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect();
    let Some(digits) = caller.map(PhoneNumber::digits) else {
        return kept;
    };
    let national = if digits.len() == 11 && digits.starts_with('1') {
        &digits[1..]
    } else {
        digits
    };
    kept.replace(national, "…")
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
    pub packets_received: u64,
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

/// One thing that happened in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    pub at: UtcMicros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<LegNumber>,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A district as events name it; 0 is at large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistrictName {
    pub state: State,
    pub district: u8,
}

/// What happened. Free texts here are ours (names of steps, prompts and reasons), never a person's or a peer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// The call was taken on: a route was found.
    Admitted,
    /// The call was turned away before an answer.
    Refused {
        status: u16,
        reason: String,
    },
    /// 180 sent to the caller, or received from a dialled leg.
    Ringing,
    /// A dialled leg sent sound before its answer.
    EarlyMedia,
    /// A dialled leg sent a provisional response worth keeping.
    Progress {
        status: u16,
    },
    Answered,
    /// The flow came to a step.
    StepEntered {
        step: String,
    },
    PromptStarted {
        prompt: String,
    },
    PromptEnded {
        prompt: String,
        interrupted: bool,
    },
    /// A prompt had no recording and was left out or replaced.
    PromptMissing {
        prompt: String,
    },
    /// Keys were pressed where the flow stood; only how many.
    Digits {
        count: u16,
    },
    /// Keys led to a named choice.
    Chosen {
        choice: String,
    },
    NoInput {
        attempt: u8,
    },
    InvalidInput {
        attempt: u8,
    },
    LanguageChosen {
        language: Language,
    },
    /// A ZIP code was resolved; the result as it was used.
    Located {
        #[serde(flatten)]
        zip: KeptZip,
        states: Vec<State>,
        districts: Vec<DistrictName>,
        /// The rule that decided: `share`, `prefix`, `territory`, `override` …
        rule: String,
        /// In percent.
        confidence: u8,
        data_version: String,
    },
    /// The list of whom to call, in order, frozen.
    TargetsChosen {
        targets: Vec<TargetId>,
    },
    /// The office is closed; when it opens, if known.
    OfficeClosed {
        office: OfficeId,
        opens_at: Option<UtcMicros>,
    },
    /// A leg is being dialled.
    Dialled {
        target: Option<TargetId>,
        office: Option<OfficeId>,
        trunk: Option<TrunkName>,
        attempt: u16,
    },
    /// A dialled leg ended without a talk.
    DialFailed {
        disposition: LegDisposition,
        #[serde(flatten)]
        cause: Cause,
    },
    /// Another number or office is tried for the same target.
    FailedOver {
        office: OfficeId,
    },
    Bridged {
        with: LegNumber,
    },
    Unbridged,
    /// `**`: on to the next office.
    NextRequested,
    CodecChosen {
        codec: String,
    },
    MediaStarted,
    /// No packets for this long.
    MediaSilent {
        seconds: u32,
    },
    MediaTimedOut,
    LimitWarned {
        seconds_left: u32,
    },
    LimitReached {
        limit: String,
    },
    /// The offer was renewed: hold, resume, a new address.
    Reoffered {
        accepted: bool,
    },
    Held,
    Resumed,
    /// The call waits for a free line to an office.
    Queued {
        position: u16,
    },
    /// Why the flow went this way, by a fixed name.
    Decision {
        reason: String,
    },
    /// What the caller told about the talk, by its name: `spoke_to_person`.
    OutcomeTold {
        outcome: String,
    },
    HungUp {
        by: EndedBy,
    },
    Ended {
        by: EndedBy,
        #[serde(flatten)]
        cause: Cause,
    },
    /// The next start closed what a crash left open.
    Recovered,
}

impl EventKind {
    /// The name that `kind` has in JSON and in the store.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused { .. } => "refused",
            Self::Ringing => "ringing",
            Self::EarlyMedia => "early_media",
            Self::Progress { .. } => "progress",
            Self::Answered => "answered",
            Self::StepEntered { .. } => "step_entered",
            Self::PromptStarted { .. } => "prompt_started",
            Self::PromptEnded { .. } => "prompt_ended",
            Self::PromptMissing { .. } => "prompt_missing",
            Self::Digits { .. } => "digits",
            Self::Chosen { .. } => "chosen",
            Self::NoInput { .. } => "no_input",
            Self::InvalidInput { .. } => "invalid_input",
            Self::LanguageChosen { .. } => "language_chosen",
            Self::Located { .. } => "located",
            Self::TargetsChosen { .. } => "targets_chosen",
            Self::OfficeClosed { .. } => "office_closed",
            Self::Dialled { .. } => "dialled",
            Self::DialFailed { .. } => "dial_failed",
            Self::FailedOver { .. } => "failed_over",
            Self::Bridged { .. } => "bridged",
            Self::Unbridged => "unbridged",
            Self::NextRequested => "next_requested",
            Self::CodecChosen { .. } => "codec_chosen",
            Self::MediaStarted => "media_started",
            Self::MediaSilent { .. } => "media_silent",
            Self::MediaTimedOut => "media_timed_out",
            Self::LimitWarned { .. } => "limit_warned",
            Self::LimitReached { .. } => "limit_reached",
            Self::Reoffered { .. } => "reoffered",
            Self::Held => "held",
            Self::Resumed => "resumed",
            Self::Queued { .. } => "queued",
            Self::Decision { .. } => "decision",
            Self::OutcomeTold { .. } => "outcome_told",
            Self::HungUp { .. } => "hung_up",
            Self::Ended { .. } => "ended",
            Self::Recovered => "recovered",
        }
    }
}

/// One step in the life of a record. The store applies them in the order in which they were emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordChange {
    CallOpened(Box<CallOpened>),
    CallDetails { call: CallId, details: Box<CallDetails> },
    LegOpened(Box<LegOpened>),
    LegClosed(Box<LegClosed>),
    Events { call: CallId, events: Vec<CallEvent> },
    CallClosed(Box<CallClosed>),
}

impl RecordChange {
    pub fn call(&self) -> CallId {
        match self {
            Self::CallOpened(opened) => opened.call,
            Self::CallDetails { call, .. } | Self::Events { call, .. } => *call,
            Self::LegOpened(opened) => opened.call,
            Self::LegClosed(closed) => closed.call,
            Self::CallClosed(closed) => closed.call,
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

    #[test]
    fn hmac_of_a_number_is_the_standard_one_and_depends_on_the_key() {
        let number: PhoneNumber = "+12025550100".parse().unwrap();
        let hmac = caller_hmac(b"key", &number);
        // printf '+12025550100' | openssl dgst -sha256 -hmac key
        assert_eq!(
            hmac.as_str(),
            "45a673529f50b2c0bb282886b4d7c5534bf895f7c50a19ccba7e25ea6574d25e"
        );
        assert_ne!(caller_hmac(b"other", &number), hmac);
        assert_eq!(hmac.as_str().parse(), Ok(hmac.clone()));
    }

    #[test]
    fn phrase_with_a_number_in_it_keeps_two_digits() {
        for (text, kept) in [
            ("Caller +12025550173 not allowed", "Caller +…73 not allowed"),
            ("Number (202) 555-0173 unknown", "Number (…73 unknown"),
            ("202.555.0173", "…73"),
            ("Busy Here", "Busy Here"),
            ("cause 17 code 1234", "cause 17 code 1234"),
            ("94110", "…10"),
            ("line\r\nbreak", "linebreak"),
        ] {
            assert_eq!(Phrase::new(text).as_str(), kept);
        }
        assert_eq!(Phrase::new(&"x".repeat(500)).as_str().len(), 120);
    }

    #[test]
    fn sip_call_id_is_kept_without_the_callers_digits() {
        let caller: PhoneNumber = "+12025550173".parse().unwrap();
        assert_eq!(
            kept_sip_call_id("12025550173-ab@192.0.2.1", Some(&caller)),
            "1…-ab@192.0.2.1"
        );
        assert_eq!(
            kept_sip_call_id("7f3a@192.0.2.1", Some(&caller)),
            "7f3a@192.0.2.1"
        );
        assert_eq!(kept_sip_call_id("7f3a@192.0.2.1", None), "7f3a@192.0.2.1");
    }

    #[test]
    fn zip_is_kept_as_far_as_allowed() {
        let zip: Zip = "02139".parse().unwrap();
        let json = |detail| serde_json::to_string(&KeptZip::new(zip, detail)).unwrap();
        assert_eq!(json(ZipDetail::Nothing), "{}");
        assert_eq!(json(ZipDetail::default()), r#"{"zip_prefix":"021"}"#);
        assert_eq!(json(ZipDetail::Full), r#"{"zip_prefix":"021","zip":"02139"}"#);
    }

    #[test]
    fn event_is_one_flat_object() {
        let event = CallEvent {
            at: UtcMicros(5),
            leg: Some(LegNumber(1)),
            kind: EventKind::DialFailed {
                disposition: LegDisposition::Busy,
                cause: Cause {
                    sip_status: Some(486),
                    ..Cause::default()
                },
            },
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"at":"1970-01-01T00:00:00.000005Z","leg":1,"kind":"dial_failed","disposition":"busy","sip_status":486}"#
        );
        assert_eq!(serde_json::from_str::<CallEvent>(&json).unwrap(), event);
    }

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
