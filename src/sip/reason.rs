//! Why calls end, in headers: Reason (RFC 3326), Retry-After, provider texts.

use std::time::Duration;

use crate::event::{Cause, Failure, Reason};
use crate::message::{Message, Name, Params, decimal, lossy, phrase, trim, unquote};

/// Longest text kept of a peer's explanation, in bytes.
const MAX_TEXT: usize = 256;

/// Reads all Reason values.
pub(crate) fn reason(message: &Message<'_>) -> Reason {
    let mut found = Reason::default();
    for value in message.values(Name::Reason).take(4) {
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        let params = Params(&value[end..]);
        if trim(&value[..end]).eq_ignore_ascii_case(b"Q.850") && found.cause.is_none() {
            let cause = params.get("cause").map(unquote).and_then(|cause| decimal(&cause));
            found.cause = cause
                .and_then(|cause| u16::try_from(cause).ok())
                .filter(|cause| *cause <= 127);
        }
        if trim(&value[..end]).eq_ignore_ascii_case(b"SIP") && found.status.is_none() {
            let cause = params.get("cause").map(unquote).and_then(|cause| decimal(&cause));
            found.status = cause
                .and_then(|cause| u16::try_from(cause).ok())
                .filter(|cause| (100..700).contains(cause));
        }
        let text = found.text.get_or_insert_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&short(value));
    }
    found
}

/// Reads Retry-After; comments and parameters are ignored, a day is the most.
pub(crate) fn retry_after(message: &Message<'_>) -> Option<Duration> {
    message
        .seconds(Name::RetryAfter)
        .map(|seconds| Duration::from_secs(u64::from(seconds.min(86_400))))
}

/// What a failure response says.
pub(crate) fn failure(response: &Message<'_>) -> Failure {
    let (status, said) = match response.start {
        crate::message::Start::Response { status, phrase } => (status, phrase),
        crate::message::Start::Request { .. } => (0, &b""[..]),
    };
    let named = |name: Name, text: &str| {
        response
            .header(name)
            .map(|value| format!("{text}: {}", short(value)))
    };
    let detail = named(Name::XTwilioError, "X-Twilio-Error").or_else(|| named(Name::Warning, "Warning"));
    Failure {
        status,
        phrase: short(said),
        from_peer: true,
        reason: reason(response),
        detail,
        retry_after: retry_after(response),
    }
}

/// A failure that no response said.
pub(crate) fn local_failure(status: u16) -> Failure {
    Failure {
        status,
        phrase: phrase(status).to_owned(),
        from_peer: false,
        reason: Reason::default(),
        detail: None,
        retry_after: None,
    }
}

/// The Reason lines for a cause of ours: Q.850, and the SIP status that means the same where there is one
/// (RFC 3326 §2, RFC 3398 §7.2.4.1), for peers read one or the other.
pub(crate) fn cause_line(cause: Option<Cause>) -> Vec<u8> {
    let Some(Cause(number)) = cause else {
        return Vec::new();
    };
    let mut lines = format!("Reason: Q.850;cause={number}\r\n");
    let status = match number {
        1 => 404,
        17 => 486,
        18 => 408,
        19 | 31 => 480,
        21 => 603,
        // Another phone took the call: the words that phones know (RFC 3326 §3.1).
        26 => 200,
        28 => 484,
        34 | 38 | 41 | 42 => 503,
        88 => 488,
        102 => 504,
        _ => return lines.into_bytes(),
    };
    let text = if status == 200 {
        "Call completed elsewhere"
    } else {
        phrase(status)
    };
    lines += &format!("Reason: SIP;cause={status};text=\"{text}\"\r\n");
    lines.into_bytes()
}

fn short(text: &[u8]) -> String {
    lossy(&text[..text.len().min(MAX_TEXT)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &str) -> Failure {
        let text = format!(
            "SIP/2.0 603 Nope \u{e9}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
        );
        let mut scratch = Vec::new();
        failure(&Message::parse(text.as_bytes(), &mut scratch).unwrap())
    }

    #[test]
    fn two_reasons_and_the_peers_own_words_are_kept() {
        let failure = read(
            "Reason: SIP;cause=603;text=\"v=analytics1;x\"\r\nReason: Q.850 ;cause=21\r\n\
             X-Twilio-Error: 32204 not owned\r\nRetry-After: 120 (busy);duration=9\r\n",
        );
        assert_eq!((failure.status, failure.phrase.as_str()), (603, "Nope \u{e9}"));
        assert_eq!(
            (failure.reason.cause, failure.reason.status),
            (Some(21), Some(603))
        );
        assert!(failure.reason.text.unwrap().contains("v=analytics1"));
        assert_eq!(failure.detail.as_deref(), Some("X-Twilio-Error: 32204 not owned"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(120)));
    }

    #[test]
    fn nonsense_in_reason_is_only_text() {
        assert_eq!(read("Reason: Q.850;cause=99999\r\n").reason.cause, None);
        assert_eq!(read("Reason: Q.850;cause=x\r\n").reason.cause, None);
        assert_eq!(read("").reason, Reason::default());
    }
}
