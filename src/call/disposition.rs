//! What became of a leg and of a whole call, in the words that records, pages and exports share.
//!
//! Inputs: how a leg ended on the wire (SIP status, Q.850 cause, reason phrase) or by our own doing.
//! Outputs: one [`LegDisposition`] per leg and one [`SessionDisposition`] per call. Nothing here keeps state.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why text was not a disposition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a disposition of a {of}")]
pub struct UnknownDisposition {
    text: String,
    of: &'static str,
}

macro_rules! dispositions {
    ($(#[$doc:meta])* $name:ident of $of:literal { $($(#[$variant_doc:meta])* $variant:ident $text:literal $words:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code that records and exports use.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The same in plain English.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownDisposition;
            fn from_str(text: &str) -> Result<Self, UnknownDisposition> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownDisposition { text: text.to_owned(), of: $of }),
                }
            }
        }
    };
}

dispositions! {
    /// What became of one leg. Exactly one per leg; who hung up and the causes stand beside it in the record.
    LegDisposition of "leg" {
        /// Answered, and talked at least [`TALK_THRESHOLD`].
        AnsweredConversation "answered_conversation" "answered, they talked",
        AnsweredShort "answered_short" "answered, but only briefly",
        VoicemailLeft "voicemail_left" "the caller left a voicemail",
        VoicemailSuspected "voicemail_suspected" "probably a voicemail answered",
        MailboxFull "mailbox_full" "the mailbox was full",
        MailboxFullSuspected "mailbox_full_suspected" "the mailbox was probably full",
        Busy "busy" "busy",
        BusyInband "busy_inband" "busy (heard as a tone)",
        NoAnswer "no_answer" "nobody picked up",
        NotInService "not_in_service" "the number is not in service",
        NumberChanged "number_changed" "the number has changed",
        WrongNumber "wrong_number" "the caller says it was a wrong number",
        Declined "declined" "the office's side declined the call",
        BlockedByAnalytics "blocked_by_analytics" "a call-blocking service refused the call",
        CalleridRejected "callerid_rejected" "our caller ID was not accepted",
        Congestion "congestion" "the network was congested",
        TrunkError "trunk_error" "the trunk failed",
        MediaFailed "media_failed" "no usable sound",
        CallerSkipped "caller_skipped" "the caller skipped this office",
        CallerEndedRinging "caller_ended_ringing" "the caller left while it rang",
        CallerEndedTalk "caller_ended_talk" "the caller went on to the next office",
        OfficeEnded "office_ended" "the office hung up",
        LimitReached "limit_reached" "the talk limit was reached",
        ClosedHours "closed_hours" "not dialled: the office was closed",
        PacingTimeout "pacing_timeout" "not dialled: other callers kept the line",
        Quarantined "quarantined" "not dialled: the number is quarantined",
        Vacant "vacant" "not dialled: the seat is vacant",
        NoNumber "no_number" "not dialled: no number is known",
        /// The server stopped while the leg was open, or failed inside.
        SystemError "system_error" "the server failed",
    }
}

dispositions! {
    /// What became of a whole call. Exactly one per call.
    SessionDisposition of "call" {
        /// A flow that calls no office did what it is for.
        Completed "completed" "completed",
        CompletedAll "completed_all" "reached every office on the list",
        CompletedSome "completed_some" "reached some of the offices",
        NoTargetReached "no_target_reached" "reached no office",
        AbandonedGreeting "abandoned_greeting" "hung up during the greeting",
        AbandonedZip "abandoned_zip" "hung up before entering a ZIP code",
        AbandonedMenu "abandoned_menu" "hung up in a menu",
        AbandonedWait "abandoned_wait" "hung up while waiting for a line",
        InvalidZipExhausted "invalid_zip_exhausted" "no valid ZIP code after every try",
        NoInputExhausted "no_input_exhausted" "no keys pressed after every try",
        OutsideArea "outside_area" "outside the area of the campaign",
        NoTarget "no_target" "nobody to call for this ZIP code",
        AfterHoursVoicemail "after_hours_voicemail" "after hours: left a voicemail",
        AfterHoursCallback "after_hours_callback" "after hours: asked for a call-back",
        AfterHoursSms "after_hours_sms" "after hours: asked for a text reminder",
        AfterHoursEnd "after_hours_end" "after hours: nothing was open",
        CallbackScheduled "callback_scheduled" "a call-back was scheduled",
        CallbackUnanswered "callback_unanswered" "the call-back was not answered",
        MachineOrNoConfirm "machine_or_no_confirm" "our call reached no person",
        OptedOut "opted_out" "asked not to be called again",
        Blocked "blocked" "the caller is blocked",
        RateLimited "rate_limited" "called too often",
        CapacityRefused "capacity_refused" "all lines were in use",
        NoCommonCodec "no_common_codec" "no codec in common with the caller's side",
        CampaignInactive "campaign_inactive" "the campaign is not running",
        SystemError "system_error" "the server failed",
    }
}

/// Talk from this long on counts as a conversation.
pub const TALK_THRESHOLD: Duration = Duration::from_secs(30);

/// An office that hangs up sooner than this after answering gave only a short answer.
pub const SHORT_ANSWER: Duration = Duration::from_secs(6);

/// The final response to our INVITE, with what came along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalResponse<'a> {
    pub status: u16,
    pub q850: Option<u16>,
    pub phrase: &'a str,
    /// Texts of Reason, Warning and X- headers, joined; may be empty.
    pub reason: &'a str,
}

/// What ended a leg after it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkEnd {
    /// The caller pressed `**` and went on.
    CallerWentOn,
    CallerHungUp,
    OfficeHungUp,
    TalkLimit,
    /// No media for the configured time.
    NoMedia,
    ServerFailed,
}

/// How a leg came to its end, as call control saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEnd<'a> {
    /// A final response other than 2xx that we had not asked for by a CANCEL.
    Refused(FinalResponse<'a>),
    /// The trunk sent nothing at all, or could not be reached.
    NoResponse,
    RingLimit,
    /// The caller hung up or pressed `**` while it rang.
    CallerLeftRinging,
    /// The caller pressed 2 or `**` before ringing began.
    CallerSkipped,
    /// A busy tone instead of a SIP status.
    BusyTone,
    /// Special information tones: the number is not in service.
    InformationTone,
    Talked {
        talk: Duration,
        end: TalkEnd,
    },
}

impl LegDisposition {
    /// Tells what became of a leg.
    ///
    /// Answered legs: a talk of [`TALK_THRESHOLD`] or longer is a conversation whoever ended it, unless the talk
    /// limit did. Below, the code tells what cut it short: `**`, the office, or just a short answer.
    pub fn of(end: &LegEnd<'_>) -> Self {
        match end {
            LegEnd::Refused(response) => Self::of_response(response),
            LegEnd::NoResponse => Self::TrunkError,
            LegEnd::RingLimit => Self::NoAnswer,
            LegEnd::CallerLeftRinging => Self::CallerEndedRinging,
            LegEnd::CallerSkipped => Self::CallerSkipped,
            LegEnd::BusyTone => Self::BusyInband,
            LegEnd::InformationTone => Self::NotInService,
            LegEnd::Talked { talk, end } => Self::of_talk(*talk, *end),
        }
    }

    fn of_talk(talk: Duration, end: TalkEnd) -> Self {
        match end {
            TalkEnd::TalkLimit => Self::LimitReached,
            TalkEnd::NoMedia => Self::MediaFailed,
            TalkEnd::ServerFailed => Self::SystemError,
            _ if talk >= TALK_THRESHOLD => Self::AnsweredConversation,
            TalkEnd::CallerWentOn => Self::CallerEndedTalk,
            TalkEnd::OfficeHungUp if talk >= SHORT_ANSWER => Self::OfficeEnded,
            TalkEnd::OfficeHungUp | TalkEnd::CallerHungUp => Self::AnsweredShort,
        }
    }

    /// Maps a final response to our INVITE.
    ///
    /// A blocking service and a refused caller ID are told by status or text and come first. Then a specific
    /// Q.850 cause wins over the status, because gateways squeeze many causes into few statuses (RFC 3398 §7.2.4.1);
    /// the unspecific causes (16, 31, 127) say nothing.
    pub fn of_response(response: &FinalResponse<'_>) -> Self {
        if blocked_by_analytics(response) {
            return Self::BlockedByAnalytics;
        }
        if matches!(response.status, 401 | 407) {
            return Self::TrunkError;
        }
        if response.status != 486 && response.status != 600 && callerid_rejected(response) {
            return Self::CalleridRejected;
        }
        if let Some(disposition) = Self::of_trunk_code(response.phrase).filter(|_| response.status < 500) {
            return disposition;
        }
        response
            .q850
            .and_then(Self::of_cause)
            .unwrap_or_else(|| Self::of_status(response.status))
    }

    /// Maps the code of Telnyx at the end of a phrase, `403 User channel limit exceeded D1`, where it says something
    /// about our account rather than about who is called.
    pub fn of_trunk_code(phrase: &str) -> Option<Self> {
        let code = phrase.rsplit(' ').next()?.strip_prefix('D')?;
        match code.parse::<u8>().ok().filter(|_| code.len() <= 2)? {
            1..=3 | 22 | 24 => Some(Self::Congestion),
            35 | 36 => Some(Self::CalleridRejected),
            10 | 13..=19 | 25..=31 | 38 => Some(Self::TrunkError),
            _ => None,
        }
    }

    /// Maps a Q.850 cause, if it says something specific.
    pub fn of_cause(cause: u16) -> Option<Self> {
        match cause {
            1 | 28 => Some(Self::NotInService),
            17 => Some(Self::Busy),
            18..=20 => Some(Self::NoAnswer),
            21 => Some(Self::Declined),
            22 => Some(Self::NumberChanged),
            34 | 38 | 41 | 42 | 44 | 47 => Some(Self::Congestion),
            58 | 65 | 79 | 88 => Some(Self::MediaFailed),
            _ => None,
        }
    }

    /// Maps a final SIP status other than 2xx.
    pub fn of_status(status: u16) -> Self {
        match status {
            301 | 302 => Self::NumberChanged,
            404 | 410 | 484 | 485 | 604 => Self::NotInService,
            486 | 600 => Self::Busy,
            408 | 480 => Self::NoAnswer,
            403 | 428 | 433 | 436..=438 => Self::CalleridRejected,
            603 => Self::Declined,
            607 | 608 => Self::BlockedByAnalytics,
            415 | 488 | 606 => Self::MediaFailed,
            487 => Self::CallerEndedRinging,
            503 => Self::Congestion,
            _ => Self::TrunkError,
        }
    }

    /// Whether a person or a machine at the office picked up.
    pub fn answered(self) -> bool {
        use LegDisposition::*;
        matches!(
            self,
            AnsweredConversation
                | AnsweredShort
                | VoicemailLeft
                | VoicemailSuspected
                | MailboxFull
                | MailboxFullSuspected
                | WrongNumber
                | CallerEndedTalk
                | OfficeEnded
                | LimitReached
        )
    }

    /// Whether a tone in the audio may have told it.
    pub fn is_told_by_tone(self) -> bool {
        matches!(self, Self::BusyInband | Self::NotInService | Self::Congestion)
    }

    /// Whether it speaks against the number itself, so that two distinct callers make it suspect.
    pub fn number_is_bad(self) -> bool {
        matches!(self, Self::NotInService | Self::NumberChanged | Self::WrongNumber)
    }

    /// Whether the leg was only considered and never dialled.
    pub fn never_dialled(self) -> bool {
        matches!(
            self,
            Self::ClosedHours | Self::PacingTimeout | Self::Quarantined | Self::Vacant | Self::NoNumber
        )
    }
}

impl SessionDisposition {
    /// Tells how a call through a list of targets ended: all, some or none reached.
    pub fn of_targets(reached: usize, listed: usize) -> Self {
        match reached {
            0 => Self::NoTargetReached,
            _ if reached >= listed => Self::CompletedAll,
            _ => Self::CompletedSome,
        }
    }
}

/// 607, 608 and 603 with the analytics marks that carriers add to it (RFC 8197, RFC 8688, ATIS-1000099 "603+").
fn blocked_by_analytics(response: &FinalResponse<'_>) -> bool {
    match response.status {
        607 | 608 => true,
        603 => {
            contains(response.reason, "v=analytics")
                || contains(response.reason, "x-twilio-error")
                || contains(response.phrase, "network blocked")
                || contains(response.phrase, "v=analytics")
        }
        _ => false,
    }
}

/// Carriers say in words that they do not like the number we present.
fn callerid_rejected(response: &FinalResponse<'_>) -> bool {
    const WORDS: [&str; 10] = [
        "caller id",
        "callerid",
        "caller-id",
        "caller number",
        "calling number",
        "calling party",
        "from number",
        "invalid from",
        "asserted-identity",
        "origination number",
    ];
    (400..700).contains(&response.status)
        && WORDS
            .iter()
            .any(|words| contains(response.phrase, words) || contains(response.reason, words))
}

/// Whether `text` holds `words` (lower case ASCII), whatever the case.
fn contains(text: &str, words: &str) -> bool {
    text.as_bytes()
        .windows(words.len())
        .any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::LegDisposition::*;
    use super::*;

    #[test]
    fn every_code_reads_back_and_is_what_serde_writes() {
        for &code in LegDisposition::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        for &code in SessionDisposition::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn unknown_code_is_refused_by_name() {
        let error = "answerd".parse::<LegDisposition>().unwrap_err();
        assert_eq!(error.to_string(), "\"answerd\" is not a disposition of a leg");
    }

    #[test]
    fn final_responses_map_as_the_hotline_specifies() {
        for (status, q850, phrase, reason, expected) in RESPONSES {
            let response = FinalResponse {
                status: *status,
                q850: *q850,
                phrase,
                reason,
            };
            assert_eq!(
                LegDisposition::of(&LegEnd::Refused(response)),
                *expected,
                "{response:?}"
            );
        }
    }

    type Row = (u16, Option<u16>, &'static str, &'static str, LegDisposition);

    const RESPONSES: &[Row] = &[
        (486, None, "Busy Here", "", Busy),
        (600, None, "Busy Everywhere", "", Busy),
        (486, Some(17), "Busy Here", "", Busy),
        (503, Some(17), "Service Unavailable", "", Busy),
        (480, Some(16), "Temporarily Unavailable", "", NoAnswer),
        (408, None, "Request Timeout", "", NoAnswer),
        (480, None, "Temporarily Unavailable", "", NoAnswer),
        (480, Some(18), "", "", NoAnswer),
        (480, Some(19), "", "", NoAnswer),
        (480, Some(20), "", "", NoAnswer),
        (404, None, "Not Found", "", NotInService),
        (410, None, "Gone", "", NotInService),
        (410, Some(22), "Gone", "", NumberChanged),
        (484, None, "Address Incomplete", "", NotInService),
        (484, Some(28), "Address Incomplete", "", NotInService),
        (604, None, "Does Not Exist Anywhere", "", NotInService),
        (503, Some(1), "Service Unavailable", "", NotInService),
        (301, None, "Moved Permanently", "", NumberChanged),
        (403, None, "Forbidden", "", CalleridRejected),
        (403, Some(21), "Forbidden", "", Declined),
        (403, Some(21), "Invalid Caller ID", "", CalleridRejected),
        (500, None, "From number not allowed", "", CalleridRejected),
        (480, None, "", "P-Asserted-Identity missing", CalleridRejected),
        (433, None, "Anonymity Disallowed", "", CalleridRejected),
        (603, None, "Decline", "", Declined),
        (603, Some(21), "Decline", "", Declined),
        (603, Some(21), "Network Blocked", "", BlockedByAnalytics),
        (
            603,
            None,
            "Decline",
            "SIP;cause=603;text=\"v=analytics1;url=x\"",
            BlockedByAnalytics,
        ),
        (607, Some(21), "Unwanted", "", BlockedByAnalytics),
        (608, None, "Rejected", "", BlockedByAnalytics),
        (503, None, "Service Unavailable", "", Congestion),
        (503, Some(34), "", "", Congestion),
        (500, Some(38), "", "", Congestion),
        (500, Some(41), "", "", Congestion),
        (486, Some(42), "", "", Congestion),
        (401, None, "Unauthorized", "", TrunkError),
        (407, Some(21), "Proxy Authentication Required", "", TrunkError),
        (500, None, "Server Internal Error", "", TrunkError),
        (502, None, "Bad Gateway", "", TrunkError),
        (504, Some(127), "Server Time-out", "", TrunkError),
        (483, None, "Too Many Hops", "", TrunkError),
        (415, None, "Unsupported Media Type", "", MediaFailed),
        (488, None, "Not Acceptable Here", "", MediaFailed),
        (488, Some(31), "Not Acceptable Here", "", MediaFailed),
        (606, None, "Not Acceptable", "", MediaFailed),
        (699, None, "", "", TrunkError),
        (
            603,
            Some(21),
            "Decline",
            "X-Twilio-Error: 32017 blocked",
            BlockedByAnalytics,
        ),
        (403, None, "User channel limit exceeded D1", "", Congestion),
        (
            403,
            None,
            "Caller Origination Number is Invalid D35",
            "",
            CalleridRejected,
        ),
        (403, None, "Connection disabled D17", "", TrunkError),
        (404, None, "Not Found D40", "", NotInService),
        (403, None, "Forbidden Dog", "", CalleridRejected),
    ];

    #[test]
    fn silence_and_our_own_doing_map_without_a_response() {
        assert_eq!(LegDisposition::of(&LegEnd::NoResponse), TrunkError);
        assert_eq!(LegDisposition::of(&LegEnd::RingLimit), NoAnswer);
        assert_eq!(LegDisposition::of(&LegEnd::CallerLeftRinging), CallerEndedRinging);
        assert_eq!(LegDisposition::of(&LegEnd::CallerSkipped), CallerSkipped);
        assert_eq!(LegDisposition::of(&LegEnd::BusyTone), BusyInband);
        assert_eq!(LegDisposition::of(&LegEnd::InformationTone), NotInService);
    }

    #[test]
    fn answered_legs_map_by_talk_and_by_who_ended_it() {
        for (seconds, end, expected) in [
            (30, TalkEnd::OfficeHungUp, AnsweredConversation),
            (30, TalkEnd::CallerWentOn, AnsweredConversation),
            (29, TalkEnd::CallerWentOn, CallerEndedTalk),
            (29, TalkEnd::OfficeHungUp, OfficeEnded),
            (6, TalkEnd::OfficeHungUp, OfficeEnded),
            (5, TalkEnd::OfficeHungUp, AnsweredShort),
            (5, TalkEnd::CallerHungUp, AnsweredShort),
            (1800, TalkEnd::TalkLimit, LimitReached),
            (10, TalkEnd::NoMedia, MediaFailed),
            (90, TalkEnd::ServerFailed, SystemError),
        ] {
            let talk = Duration::from_secs(seconds);
            assert_eq!(
                LegDisposition::of(&LegEnd::Talked { talk, end }),
                expected,
                "{seconds} s, {end:?}"
            );
        }
    }

    #[test]
    fn call_is_complete_only_when_every_target_was_reached() {
        assert_eq!(
            SessionDisposition::of_targets(3, 3),
            SessionDisposition::CompletedAll
        );
        assert_eq!(
            SessionDisposition::of_targets(1, 3),
            SessionDisposition::CompletedSome
        );
        assert_eq!(
            SessionDisposition::of_targets(0, 3),
            SessionDisposition::NoTargetReached
        );
        assert_eq!(
            SessionDisposition::of_targets(0, 0),
            SessionDisposition::NoTargetReached
        );
    }
}
