//! What happens in a call, as its record tells it.

use serde::{Deserialize, Serialize};

use super::{Cause, EndedBy, KeptZip, LegNumber, Phrase, UtcMicros};
use crate::call::disposition::LegDisposition;
use crate::units::{Language, OfficeId, State, TargetId, TrunkName};

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
    /// What the trunk said beside the status that ended a leg: Reason, X-Twilio-Error, Warning.
    TrunkSaid {
        text: Phrase,
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
    /// Something heard in a leg's audio, by a fixed name; how it was known, and how sure it is in percent.
    Heard {
        sound: String,
        evidence: String,
        confidence: u8,
    },
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
            Self::TrunkSaid { .. } => "trunk_said",
            Self::FailedOver { .. } => "failed_over",
            Self::Bridged { .. } => "bridged",
            Self::Unbridged => "unbridged",
            Self::NextRequested => "next_requested",
            Self::CodecChosen { .. } => "codec_chosen",
            Self::MediaStarted => "media_started",
            Self::Heard { .. } => "heard",
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
