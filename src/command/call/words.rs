//! Records in plain words.

use jiff::tz::TimeZone;

use crate::call::record::{CallRecord, Cause, EndedBy, EventKind, LegNumber, LegRecord, Party, UtcMicros};

/// A date and time of day.
pub(super) fn clock(at: UtcMicros, zone: &TimeZone) -> String {
    at.timestamp()
        .to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A length as `1:05` or `1:02:03`; what is below a second is cut.
pub(super) fn length(microseconds: i64) -> String {
    let seconds = microseconds.max(0) / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A place on the timeline as `+0:09.250`; what came before the start has a minus.
pub(super) fn offset(microseconds: i64) -> String {
    let (sign, microseconds) = if microseconds < 0 {
        ('-', microseconds.saturating_neg())
    } else {
        ('+', microseconds)
    };
    format!("{sign}{}.{:03}", length(microseconds), microseconds / 1000 % 1000)
}

/// Who is on a leg: `caller`, or the office's id.
pub(super) fn party(leg: &LegRecord) -> String {
    match &leg.party {
        Party::Caller => "caller".to_owned(),
        Party::Route => "far end".to_owned(),
        Party::Office { target, office, .. } => office
            .as_ref()
            .map_or_else(|| target.to_string(), ToString::to_string),
    }
}

/// Who is on a leg of a call, or on none in particular.
pub(super) fn who(call: &CallRecord, leg: Option<LegNumber>) -> String {
    let Some(number) = leg else { return String::new() };
    call.legs
        .iter()
        .find(|leg| leg.leg == number)
        .map_or_else(|| unrecorded(number), party)
}

/// A leg that came to no record of its own: the first is always the caller's.
pub(super) fn unrecorded(leg: LegNumber) -> String {
    match leg.0 {
        0 => "caller".to_owned(),
        number => format!("leg {number}"),
    }
}

pub(super) fn ended_by(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "the caller",
        EndedBy::Office => "the office",
        EndedBy::Trunk => "the trunk",
        EndedBy::Server => "this server",
    }
}

/// The codes of a cause, as `SIP 486 Busy Here, Q.850 17`; empty when there is none.
pub(super) fn cause(cause: &Cause) -> String {
    let phrase = cause.phrase.as_ref().map(ToString::to_string);
    let sip = match (cause.sip_status, phrase) {
        (Some(status), Some(phrase)) => Some(format!("SIP {status} {phrase}")),
        (Some(status), None) => Some(format!("SIP {status}")),
        // What we say of a silent trunk is no SIP answer.
        (None, phrase) => phrase,
    };
    let q850 = cause.q850.map(|cause| format!("Q.850 {cause}"));
    sip.into_iter().chain(q850).collect::<Vec<_>>().join(", ")
}

/// What happened, as a sentence without its subject's leg.
pub(super) fn event(kind: &EventKind) -> String {
    use EventKind::*;
    match kind {
        Admitted => "the call was taken on".to_owned(),
        Refused { status, reason } => format!("turned away with {status}: {reason}"),
        Ringing => "ringing".to_owned(),
        EarlyMedia => "sound before the answer".to_owned(),
        Progress { status } => format!("on the way ({status})"),
        Answered => "answered".to_owned(),
        StepEntered { step } => format!("step {step}"),
        PromptStarted { prompt } => format!("heard prompt {prompt}"),
        PromptEnded {
            prompt,
            interrupted: true,
        } => format!("prompt {prompt} cut short"),
        PromptEnded {
            prompt,
            interrupted: false,
        } => format!("prompt {prompt} ended"),
        PromptMissing { prompt } => format!("prompt {prompt} has no recording"),
        Digits { count: 1 } => "pressed one key".to_owned(),
        Digits { count } => format!("pressed {count} keys"),
        Chosen { choice } => format!("chose {choice}"),
        NoInput { attempt } => format!("pressed nothing (try {attempt})"),
        InvalidInput { attempt } => format!("pressed something that does not fit (try {attempt})"),
        LanguageChosen { language } => format!("language {language}"),
        Located { .. } => located(kind),
        TargetsChosen { targets } => {
            let names: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
            format!(
                "to call, in this order: {}",
                if names.is_empty() {
                    "nobody".into()
                } else {
                    names.join(", ")
                }
            )
        }
        OfficeClosed {
            office,
            opens_at: None,
        } => format!("{office} is closed"),
        OfficeClosed {
            office,
            opens_at: Some(at),
        } => format!("{office} is closed until {}", at.timestamp()),
        DialFailed {
            disposition,
            cause: why,
        } => match cause(why) {
            codes if codes.is_empty() => disposition.words().to_owned(),
            codes => format!("{} ({codes})", disposition.words()),
        },
        TrunkSaid { text } => format!("the trunk said: {text}"),
        _ => talk(kind),
    }
}

/// The events of dialling and talking.
fn talk(kind: &EventKind) -> String {
    use EventKind::*;
    match kind {
        Dialled {
            target,
            office,
            trunk,
            attempt,
        } => {
            let office = office.as_ref().map(ToString::to_string);
            let whom = office.or_else(|| target.as_ref().map(ToString::to_string));
            let over = trunk
                .as_ref()
                .map(|trunk| format!(" over {trunk}"))
                .unwrap_or_default();
            let again = if *attempt > 1 {
                format!(", try {attempt}")
            } else {
                String::new()
            };
            format!(
                "dialling {}{over}{again}",
                whom.unwrap_or_else(|| "the far end".to_owned())
            )
        }
        FailedOver { office } => format!("trying {office} instead"),
        Bridged { .. } => "connected, they can talk".to_owned(),
        Unbridged => "no longer connected".to_owned(),
        NextRequested => "asked for the next office".to_owned(),
        CodecChosen { codec } => format!("codec {codec}"),
        MediaStarted => "first sound arrived".to_owned(),
        Heard {
            sound,
            evidence,
            confidence,
        } => format!(
            "heard {} ({evidence}; {confidence} % sure)",
            sound.replace('_', " ")
        ),
        MediaSilent { seconds } => format!("no sound for {seconds} s"),
        MediaTimedOut => "given up: no sound".to_owned(),
        LimitWarned { seconds_left } => format!("told that {seconds_left} s are left"),
        LimitReached { limit } => format!("limit reached: {limit}"),
        Reoffered { accepted: true } => "new offer accepted".to_owned(),
        Reoffered { accepted: false } => "new offer refused".to_owned(),
        Held => "on hold".to_owned(),
        Resumed => "back from hold".to_owned(),
        Queued { position } => format!("waiting for a line, number {position}"),
        Decision { reason } => format!("decided: {reason}"),
        OutcomeTold { outcome } => format!("the caller told: {outcome}"),
        HungUp { by } => format!("{} hung up", ended_by(*by)),
        Ended { by, cause: why } => match cause(why) {
            codes if codes.is_empty() => format!("ended by {}", ended_by(*by)),
            codes => format!("ended by {} ({codes})", ended_by(*by)),
        },
        Recovered => "the server had stopped; its next start closed this record".to_owned(),
        other => other.name().replace('_', " "),
    }
}

fn located(kind: &EventKind) -> String {
    let EventKind::Located {
        zip,
        states,
        districts,
        rule,
        confidence,
        ..
    } = kind
    else {
        return String::new();
    };
    let zip = zip
        .full
        .map(|zip| zip.to_string())
        .or_else(|| zip.prefix.as_ref().map(|prefix| format!("{prefix}..")));
    let place: Vec<String> = if districts.is_empty() {
        states.iter().map(ToString::to_string).collect()
    } else {
        districts
            .iter()
            .map(|name| format!("{}-{}", name.state, name.district))
            .collect()
    };
    let place = if place.is_empty() {
        "nowhere known".to_owned()
    } else {
        place.join(", ")
    };
    let zip = zip.map(|zip| format!("ZIP code {zip} ")).unwrap_or_default();
    format!("{zip}is in {place} (by {rule}, {confidence} % sure)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_offsets_read_like_a_clock() {
        assert_eq!(length(65_999_999), "1:05");
        assert_eq!(length(3_723_000_000), "1:02:03");
        assert_eq!(length(-5), "0:00");
        assert_eq!(offset(9_250_000), "+0:09.250");
        assert_eq!(offset(-1_500_000), "-0:01.500");
        assert_eq!(offset(i64::MIN).chars().next(), Some('-'));
    }

    #[test]
    fn events_read_as_sentences() {
        let busy = Cause {
            sip_status: Some(486),
            q850: Some(17),
            phrase: None,
        };
        let disposition = crate::call::disposition::LegDisposition::Busy;
        let failed = EventKind::DialFailed {
            disposition,
            cause: busy,
        };
        assert_eq!(event(&failed), "busy (SIP 486, Q.850 17)");
        assert_eq!(event(&EventKind::Digits { count: 5 }), "pressed 5 keys");
        assert_eq!(
            event(&EventKind::HungUp { by: EndedBy::Office }),
            "the office hung up"
        );
    }
}
