//! A message as it may be kept: without credentials, keys, names, and numbers of people.
//!
//! What is not known to be harmless is hidden: users of URIs but those of the [`Disguise`], display names, headers of
//! an unknown name, bodies that are no session description. The result is a message again, so that tools read it.

use super::disguise::{Disguise, HIDDEN};
use crate::call::record::Phrase;

/// Headers that are kept as they are, but for the caller's digits.
const PLAIN: &[&str] = &[
    "via",
    "v",
    "call-id",
    "i",
    "cseq",
    "max-forwards",
    "allow",
    "supported",
    "k",
    "require",
    "proxy-require",
    "unsupported",
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "c",
    "content-encoding",
    "e",
    "content-disposition",
    "content-language",
    "mime-version",
    "expires",
    "min-expires",
    "session-expires",
    "x",
    "min-se",
    "rseq",
    "rack",
    "event",
    "o",
    "allow-events",
    "u",
    "subscription-state",
    "date",
    "timestamp",
    "user-agent",
    "server",
    "privacy",
    "p-early-media",
    "recv-info",
    "info-package",
    "session-id",
    "x-twilio-callsid",
    "x-twilio-error",
    "x-asterisk-hangupcause",
    "x-asterisk-hangupcausecode",
    "replaces",
    "join",
    "target-dialog",
    "accept-contact",
    "a",
    "reject-contact",
    "j",
    "request-disposition",
    "d",
    "priority",
    "resource-priority",
    "history-info-hop",
    "flow-timer",
    "security-client",
    "security-server",
    "security-verify",
    "answer-mode",
    "retry-after",
];
/// Headers that hold addresses of people.
const ADDRESSES: &[&str] = &[
    "route",
    "record-route",
    "path",
    "service-route",
    "from",
    "f",
    "to",
    "t",
    "contact",
    "m",
    "p-asserted-identity",
    "p-preferred-identity",
    "remote-party-id",
    "diversion",
    "history-info",
    "referred-by",
    "b",
    "refer-to",
    "r",
    "reply-to",
    "p-called-party-id",
    "p-associated-uri",
    "p-charge-info",
    "call-info",
    "alert-info",
    "error-info",
];
/// Headers in which carriers write sentences, and numbers in them.
const PHRASES: &[&str] = &["reason", "warning"];
const CREDENTIALS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
];
/// What is kept of credentials and challenges.
const HARMLESS: &[&str] = &[
    "realm",
    "algorithm",
    "qop",
    "stale",
    "nc",
    "domain",
    "charset",
    "userhash",
];

/// Rewrites a message, or what there is of one.
pub(super) fn redact(message: &[u8], disguise: &Disguise) -> Vec<u8> {
    let (head, body) = split(message);
    let head = String::from_utf8_lossy(head);
    let lines = unfold(&head);
    let mut lines = lines.iter();
    let mut out = start_line(lines.next().map_or("", String::as_str), disguise);
    out.push_str("\r\n");
    let mut kind = String::new();
    let mut lengths = 0;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            out.push_str("X-Line: redacted\r\n");
            continue;
        };
        let (name, value) = (token(name), value.trim());
        let lower = name.to_ascii_lowercase();
        if lower == "content-length" || lower == "l" {
            lengths += 1;
            continue;
        }
        if lower == "content-type" || lower == "c" {
            kind = value.to_ascii_lowercase();
        }
        out.push_str(&name);
        out.push_str(": ");
        out.push_str(&header(&lower, value, disguise));
        out.push_str("\r\n");
    }
    let body = if body.is_empty() {
        String::new()
    } else {
        redact_body(&kind, &String::from_utf8_lossy(body), disguise)
    };
    if lengths > 0 || !body.is_empty() {
        out.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    out.push_str(&body);
    out.into_bytes()
}

fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let end = |mark: &[u8]| {
        let at = message.windows(mark.len()).position(|window| window == mark)?;
        Some((at, at + mark.len()))
    };
    let ends = [end(b"\r\n\r\n"), end(b"\n\n")];
    match ends.into_iter().flatten().min() {
        Some((head, body)) => (&message[..head], &message[body..]),
        None => (message, &[]),
    }
}

/// The lines of a head; those that go on begin with white space (RFC 3261 §7.3.1).
fn unfold(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn start_line(line: &str, disguise: &Disguise) -> String {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let (status, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
        let status: String = status.chars().filter(char::is_ascii_digit).take(3).collect();
        return format!("SIP/2.0 {status} {}", Phrase::new(phrase));
    }
    match line.split(' ').collect::<Vec<_>>()[..] {
        [method, uri, version] => format!(
            "{} {} {}",
            token(method),
            masked_uri(uri, disguise),
            token_of(version, "/.")
        ),
        _ => format!("{} {HIDDEN}", token(line.split(' ').next().unwrap_or_default())),
    }
}

/// The letters of a token, and nothing else.
fn token(text: &str) -> String {
    token_of(text.trim(), "")
}

fn token_of(text: &str, others: &str) -> String {
    let fits =
        |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter) || others.contains(*letter);
    text.chars().filter(fits).take(64).collect()
}

fn header(name: &str, value: &str, disguise: &Disguise) -> String {
    if PLAIN.contains(&name) {
        disguise.text(value)
    } else if ADDRESSES.contains(&name) {
        addresses(value, disguise)
    } else if PHRASES.contains(&name) {
        Phrase::new(value).to_string()
    } else if CREDENTIALS.contains(&name) {
        credentials(value, disguise)
    } else {
        HIDDEN.to_owned()
    }
}

/// Name-addrs and addr-specs, separated by commas: names are hidden, users disguised, parameters kept.
fn addresses(value: &str, disguise: &Disguise) -> String {
    let parts = split_outside(value, ',');
    let masked: Vec<String> = parts.iter().map(|part| address(part.trim(), disguise)).collect();
    masked.join(", ")
}

fn address(value: &str, disguise: &Disguise) -> String {
    if value == "*" {
        return value.to_owned();
    }
    let Some(open) = find_outside_quotes(value, '<') else {
        let (uri, parameters) = value.split_at(value.find([';', ' ']).unwrap_or(value.len()));
        return masked_uri(uri, disguise) + &disguise.text(parameters);
    };
    let name = value[..open].trim().trim_matches('"');
    let named = if name.is_empty() {
        String::new()
    } else {
        format!("\"{HIDDEN}\" ")
    };
    let rest = &value[open + 1..];
    let (uri, parameters) = rest.split_once('>').unwrap_or((rest, ""));
    format!(
        "{named}<{}>{}",
        masked_uri(uri, disguise),
        disguise.text(parameters)
    )
}

/// A URI without its headers, its user as the disguise has it.
fn masked_uri(uri: &str, disguise: &Disguise) -> String {
    let (uri, headers) = uri
        .split_once('?')
        .map_or((uri, ""), |(uri, _)| (uri, "?redacted"));
    let Some((scheme, rest)) = uri.split_once(':') else {
        return HIDDEN.to_owned();
    };
    let scheme = token_of(scheme, "+.");
    match scheme.to_ascii_lowercase().as_str() {
        "sip" | "sips" => match rest.rsplit_once('@') {
            Some((user, host)) => format!(
                "{scheme}:{}@{}{headers}",
                disguise.user(user),
                disguise.text(host)
            ),
            None => format!("{scheme}:{}{headers}", host_alone(rest, disguise)),
        },
        "tel" => format!("{scheme}:{}", disguise.user(rest)),
        "urn" => disguise.text(uri),
        _ => format!("{scheme}:{HIDDEN}"),
    }
}

/// A URI without a user; some write a number there.
fn host_alone(rest: &str, disguise: &Disguise) -> String {
    let (host, _) = rest.split_at(rest.find([';', ':']).unwrap_or(rest.len()));
    let is_number = host.len() >= 5 && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+');
    if is_number {
        disguise.user(rest)
    } else {
        disguise.text(rest)
    }
}

/// `Digest a="b", c=d` with the values that are nobody's secret.
fn credentials(value: &str, disguise: &Disguise) -> String {
    let (scheme, rest) = match value.split_once(' ') {
        Some((scheme, rest)) if !scheme.contains('=') => (Some(token(scheme)), rest),
        _ => (None, value),
    };
    let is_digest = scheme
        .as_ref()
        .is_none_or(|scheme| scheme.eq_ignore_ascii_case("digest"));
    if !is_digest {
        return format!("{} {HIDDEN}", scheme.unwrap_or_default());
    }
    let parameter = |part: &String| {
        let (name, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
        let name = token(name);
        match name.to_ascii_lowercase() {
            lower if HARMLESS.contains(&lower.as_str()) => format!("{name}={}", disguise.text(value.trim())),
            lower if lower == "uri" => {
                let uri = masked_uri(value.trim().trim_matches('"'), disguise);
                format!("{name}=\"{uri}\"")
            }
            _ => format!("{name}=\"{HIDDEN}\""),
        }
    };
    let parts: Vec<String> = split_outside(rest, ',').iter().map(parameter).collect();
    let scheme = scheme.map(|scheme| scheme + " ").unwrap_or_default();
    scheme + &parts.join(", ")
}

fn redact_body(kind: &str, body: &str, disguise: &Disguise) -> String {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let line = |line: &str| match kind {
        "application/sdp" => sdp_line(line, disguise),
        // A key that was pressed is the caller's secret; how long is not.
        "application/dtmf-relay"
            if !line.to_ascii_lowercase().starts_with("duration") && !line.is_empty() =>
        {
            format!("Signal={HIDDEN}")
        }
        _ => line.to_owned(),
    };
    match kind {
        "application/sdp" | "application/dtmf-relay" => {
            let lines: Vec<String> = body
                .split('\n')
                .map(|text| line(text.trim_end_matches('\r')))
                .collect();
            lines.join("\r\n")
        }
        "message/sipfrag" => start_line(body.lines().next().unwrap_or_default(), disguise) + "\r\n",
        _ => format!("{HIDDEN}: {} bytes\r\n", body.len()),
    }
}

/// A line of a session description without keys and without what names a person (RFC 8866 §5).
fn sdp_line(line: &str, disguise: &Disguise) -> String {
    let lower = line.to_ascii_lowercase();
    let secret = ["a=crypto:", "a=key-mgmt:", "k=", "a=ice-pwd:", "a=identity:"];
    if let Some(start) = secret.iter().find(|start| lower.starts_with(**start)) {
        return format!("{start}{HIDDEN}");
    }
    match lower.get(..2) {
        Some("e=" | "p=" | "i=" | "u=") => format!("{}{HIDDEN}", &lower[..2]),
        Some("o=") => match line.split_once(' ') {
            Some((_, rest)) => format!("o=- {}", disguise.text(rest)),
            None => format!("o={HIDDEN}"),
        },
        Some("s=") => format!("s={}", Phrase::new(line.get(2..).unwrap_or_default())),
        _ => disguise.text(line),
    }
}

/// Splits at a mark that stands outside quotes and angle brackets.
fn split_outside(text: &str, mark: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    for letter in text.chars() {
        match letter {
            '"' if !escaped => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        escaped = quoted && letter == '\\' && !escaped;
        if letter == mark && !quoted && !bracketed {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

fn find_outside_quotes(text: &str, mark: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && letter == '\\' && !escaped;
        if letter == mark && !quoted {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disguise() -> Disguise {
        let mut disguise = Disguise::new("caller-45a67352");
        disguise.hide_caller("+12025550123");
        disguise.show("+12025550100");
        disguise.show("8d3f7f0c2a1b4e55");
        disguise.hide_account("line7");
        disguise
    }

    fn shown(message: &str) -> String {
        String::from_utf8(redact(message.as_bytes(), &disguise())).unwrap()
    }

    fn line(header: &str) -> String {
        let text = shown(&format!("BYE sip:a@h SIP/2.0\r\n{header}\r\n\r\n"));
        text.lines().nth(1).unwrap().to_owned()
    }

    #[test]
    fn caller_is_disguised_however_the_number_is_written() {
        for (header, kept) in [
            (
                "From: \"Ada \\\"L\\\" Byron\" <sip:+12025550123@192.0.2.9;user=phone>;tag=a1",
                "From: \"redacted\" <sip:caller-45a67352@192.0.2.9;user=phone>;tag=a1",
            ),
            (
                "f: Ada <tel:2025550123;phone-context=+1>",
                "f: \"redacted\" <tel:caller-45a67352>",
            ),
            (
                "From: sip:%2B12025550123@h;tag=x",
                "From: sip:caller-45a67352@h;tag=x",
            ),
            (
                "P-Asserted-Identity: <sip:1(202)555-0123;cpc=ordinary@h>, <tel:+1-202-555-0123>",
                "P-Asserted-Identity: <sip:caller-45a67352@h>, <tel:caller-45a67352>",
            ),
            (
                "Contact: <sip:+4930901820:pw@h>;expires=60",
                "Contact: <sip:redacted@h>;expires=60",
            ),
            ("To: <sip:+12025550100@h>;tag=2", "To: <sip:+12025550100@h>;tag=2"),
            ("To: <sip:8d3f7f0c2a1b4e55@h>", "To: <sip:8d3f7f0c2a1b4e55@h>"),
            ("To: <sip:line7@h>", "To: <sip:account@h>"),
            (
                "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
                "From: \"redacted\" <sip:anonymous@anonymous.invalid>",
            ),
            ("Call-ID: 12025550123-9@h", "Call-ID: 1caller-45a67352-9@h"),
            (
                "Reason: SIP;cause=403;text=\"+12025550199 is blocked\"",
                "Reason: SIP;cause=403;text=\"+…99 is blocked\"",
            ),
            ("X-Customer: Ada Byron", "X-Customer: redacted"),
            ("Identity: eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "Identity: redacted"),
            (
                "Refer-To: <sip:b@h?From=%22Ada%22>",
                "Refer-To: <sip:redacted@h?redacted>",
            ),
            ("Contact: *", "Contact: *"),
            ("m: <sip:12025550199>", "m: <sip:redacted>"),
            ("no header at all", "X-Line: redacted"),
        ] {
            assert_eq!(line(header), kept);
        }
        assert!(
            shown("INVITE tel:+12025550123 SIP/2.0\r\n\r\n")
                .starts_with("INVITE tel:caller-45a67352 SIP/2.0\r\n")
        );
        assert!(shown("SIP/2.0 404 No 12025550123\r\n\r\n").starts_with("SIP/2.0 404 No …23\r\n"));
        assert_eq!(shown("INVITE 12025550123"), "INVITE redacted\r\n\r\n");
    }

    #[test]
    fn credentials_keep_only_what_is_no_secret() {
        assert_eq!(
            line(
                "Authorization: Digest username=\"line7\", realm=\"a, b\", nonce=\"n0nce\",\r\n uri=\"sip:+12025550123@h\", \
                 response=\"0123abcd\", cnonce=\"c\", qop=auth, nc=00000001, opaque=\"o\", algorithm=SHA-256"
            ),
            "Authorization: Digest username=\"redacted\", realm=\"a, b\", nonce=\"redacted\", \
             uri=\"sip:caller-45a67352@h\", response=\"redacted\", cnonce=\"redacted\", qop=auth, nc=00000001, \
             opaque=\"redacted\", algorithm=SHA-256"
        );
        assert_eq!(
            line("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true"),
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"redacted\", stale=true"
        );
        assert_eq!(
            line("Proxy-Authorization: Basic bGluZTc6cHc="),
            "Proxy-Authorization: Basic redacted"
        );
        assert_eq!(
            line("Authentication-Info: nextnonce=\"n\", nc=1"),
            "Authentication-Info: nextnonce=\"redacted\", nc=1"
        );
    }

    #[test]
    fn bodies_lose_keys_and_names_and_the_length_is_right_again() {
        let sdp = "v=0\r\no=+12025550123 1 1 IN IP4 192.0.2.1\r\ns=Call of 2025550123\r\ne=ada@example.com\r\n\
                   c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n\
                   a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n";
        let text = shown(&format!(
            "INVITE sip:a@h SIP/2.0\r\nc: application/sdp;x=y\r\nl: {}\r\n\r\n{sdp}",
            sdp.len()
        ));
        let kept = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Call of …23\r\ne=redacted\r\n\
                    c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:redacted\r\n";
        let expected = format!(
            "INVITE sip:redacted@h SIP/2.0\r\nc: application/sdp;x=y\r\nContent-Length: {}\r\n\r\n{kept}",
            kept.len()
        );
        assert_eq!(text, expected);
        let info = shown(
            "INFO sip:a@h SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=7\r\nDuration=160\r\n",
        );
        assert!(
            info.ends_with("\r\n\r\nSignal=redacted\r\nDuration=160\r\n"),
            "{info}"
        );
        let other = shown("MESSAGE sip:a@h SIP/2.0\r\nContent-Type: text/plain\r\n\r\nmy ZIP is 94110");
        assert!(other.ends_with("\r\n\r\nredacted: 15 bytes\r\n"), "{other}");
    }

    #[test]
    fn any_bytes_give_a_message_without_the_secret_and_never_a_panic() {
        let whole = "INVITE sip:+12025550100@h SIP/2.0\r\nFrom: \"A\" <sip:+12025550123@h>;tag=\"<\r\nAuthorization: \
                     Digest response=\"feedface\"\r\nContent-Type: application/sdp\r\n\r\nk=clear:feedface\r\n";
        for length in 0..whole.len() {
            let kept = shown(&whole[..length]);
            assert!(
                !kept.contains("feedface") && !kept.contains("2025550123"),
                "{kept}"
            );
            let mut changed = whole.as_bytes().to_vec();
            changed[length] = b"\xff\0\"<\r\n:@,;"[length % 10];
            let _ = redact(&changed, &disguise());
        }
    }
}
