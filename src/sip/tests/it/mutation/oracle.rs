//! rsip as the second opinion: where both read a message, they must read the same, or differ for a known reason.

use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::HeadersExt;
use sip::message::{Message, Name, Params, Start, Uri};

/// A way in which rsip is known to read another thing, and why ours is right.
pub struct Difference {
    pub name: &'static str,
    pub reason: &'static str,
    /// Whether this explains the different readings of `field` in a message.
    explains: fn(&Reading<'_>) -> bool,
}

/// Two readings of one field that differ.
#[derive(Debug)]
pub struct Reading<'a> {
    pub field: &'static str,
    /// The value or URI that both read it from.
    pub raw: &'a [u8],
    /// Whether a line of the message ends in LF alone.
    pub lf_alone: bool,
    /// Whether the first Via has its compact name.
    pub compact: bool,
    pub ours: String,
    pub theirs: String,
}

/// RFC 3261 §25.1 token.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Whether a value has parameters that are not plain `name=token`, or blanks before them beside the one behind a protocol.
fn has_odd_parameters(raw: &[u8]) -> bool {
    let at = raw.iter().position(|&byte| byte == b';').unwrap_or(raw.len());
    let is_token = |text: &[u8]| !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte));
    let is_plain = |part: &[u8]| match part.iter().position(|&byte| byte == b'=') {
        Some(equals) => is_token(&part[..equals]) && is_token(&part[equals + 1..]),
        None => is_token(part),
    };
    let blanks = raw[..at]
        .iter()
        .filter(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    blanks > 1 || !raw[at..].split(|&byte| byte == b';').skip(1).all(is_plain)
}

/// Every known difference; the names in brackets are rows of the design's comparison of parsers.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "body longer than Content-Length [datagram longer than Content-Length]",
        reason: "bytes behind Content-Length are no part of the message (RFC 3261 §18.3); rsip takes all that is there",
        explains: |reading| {
            let number = |text: &str| text.parse::<usize>().ok();
            reading.field == "body length" && number(&reading.theirs) > number(&reading.ours)
        },
    },
    Difference {
        name: "method in small letters [extension method]",
        reason: "methods are case-sensitive (RFC 3261 §7.1): `Invite` is an extension method; rsip takes it for INVITE",
        explains: |reading| {
            reading.field.ends_with("method") && reading.ours.eq_ignore_ascii_case(&reading.theirs)
        },
    },
    Difference {
        name: "LF ends a line [folded header]",
        reason: "LF alone ends a line and folds become spaces; rsip keeps them, and the next header, inside the value",
        explains: |reading| {
            reading.field == "Call-ID" && reading.theirs.contains('\n')
                || reading.field == "Via branch" && reading.lf_alone
        },
    },
    Difference {
        name: "blanks at the end of a line",
        reason: "whitespace around a value is not part of it (RFC 3261 §7.3.1); rsip keeps it behind the Call-ID",
        explains: |reading| reading.field == "Call-ID" && reading.theirs.trim_end() == reading.ours,
    },
    Difference {
        name: "branch among parameters that are none",
        reason: "the branch reaches to the next semicolon, so that two that differ are never taken for one; rsip ends it \
                 at the first byte that is no token byte and leaves out all parameters behind that",
        explains: |reading| {
            reading.field == "Via branch"
                && reading.ours.starts_with(&reading.theirs)
                && has_odd_parameters(reading.raw)
        },
    },
    Difference {
        name: "two branches in one Via, or two tags in one From or To",
        reason: "the first counts; rsip takes the first one that it can read",
        explains: |reading| {
            let name: &[u8] = if reading.field == "Via branch" {
                b"branch"
            } else {
                b"tag"
            };
            let is_param = reading.field == "Via branch" || reading.field.ends_with("tag");
            let named = Params(reading.raw)
                .iter()
                .filter(|(found, _)| found.eq_ignore_ascii_case(name));
            is_param && named.count() > 1
        },
    },
    Difference {
        name: "compact names [compact names (v f t i m l)]",
        reason: "`v` is Via (RFC 3261 §7.3.3); rsip knows no compact names and reads the next Via",
        explains: |reading| reading.field == "Via branch" && reading.compact,
    },
    Difference {
        name: "several values in one Via [of two Vias only the first is seen]",
        reason: "a comma ends a value; rsip reads on",
        explains: |reading| reading.field == "Via branch" && reading.raw.contains(&b','),
    },
    Difference {
        name: "tag among parameters that are none [lower-case …, `;TAG=`]",
        reason: "each parameter ends at its semicolon; rsip gives up all behind the first that it cannot read",
        explains: |reading| {
            reading.field.ends_with("tag")
                && reading.ours.starts_with(&reading.theirs)
                && has_odd_parameters(reading.raw)
        },
    },
    Difference {
        name: "user part put into the host [number portability, `%40`, `#` in a user]",
        reason: "the user part is what stands before `@` (RFC 3261 §19.1.1); rsip puts it into the host when it holds a \
                 byte it does not expect",
        explains: |reading| {
            matches!(reading.field, "user" | "host" | "port" | "uri") && reading.raw.contains(&b'@')
        },
    },
    Difference {
        name: "other schemes [Request-URI `tel:` or `urn:service:sos`]",
        reason: "schemes other than sip and sips have no host; rsip reads them as if they had",
        explains: |reading| {
            let is_sip = [&b"sip:"[..], b"sips:"].iter().any(|scheme| {
                reading
                    .raw
                    .get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            });
            matches!(reading.field, "user" | "host" | "port") && !is_sip
        },
    },
    Difference {
        name: "a Request-URI that is none",
        reason: "a URI has a scheme and neither brackets, quotes nor a bad port; we answer 400 or 416, rsip reads a host",
        explains: |reading| reading.field == "uri" && Uri::parse(reading.raw).is_none(),
    },
];

/// The readings that differ and that nothing in [`KNOWN`] explains; notes in `used` what explained the others.
/// `None` when rsip does not read the message at all.
pub fn compare<'a>(message: &Message<'a>, bytes: &[u8], used: &mut [u32]) -> Option<Vec<Reading<'a>>> {
    let theirs = rsip::SipMessage::try_from(bytes).ok()?;
    let lf_alone = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .any(|line| line.ends_with(b"\n") && !line.ends_with(b"\r\n"));
    let vias = message.headers().iter().find(|header| header.name == Name::Via);
    let compact = vias.is_some_and(|header| header.name_text.len() == 1);
    let mut readings = Vec::new();
    let mut differ = |field: &'static str, raw: &'a [u8], ours: &[u8], theirs: Option<String>| {
        let Some(theirs) = theirs else { return };
        if theirs.as_bytes() != ours {
            let ours = String::from_utf8_lossy(ours).into_owned();
            readings.push(Reading {
                field,
                raw,
                lf_alone,
                compact,
                ours,
                theirs,
            });
        }
    };
    match (&message.start, &theirs) {
        (Start::Request { method_text, uri, .. }, rsip::SipMessage::Request(request)) => {
            differ(
                "method",
                method_text,
                method_text,
                Some(request.method.to_string()),
            );
            let raw = *uri;
            if let Some(uri) = Uri::parse(raw) {
                let auth = request.uri.auth.as_ref();
                differ(
                    "user",
                    raw,
                    uri.user,
                    Some(auth.map(|auth| auth.user.clone()).unwrap_or_default()),
                );
                differ(
                    "host",
                    raw,
                    uri.host,
                    Some(request.uri.host_with_port.host.to_string()),
                );
                let port = uri.port.map(|port| port.to_string()).unwrap_or_default();
                let theirs = request.uri.host_with_port.port.as_ref();
                differ(
                    "port",
                    raw,
                    port.as_bytes(),
                    Some(theirs.map(ToString::to_string).unwrap_or_default()),
                );
            } else {
                differ("uri", raw, b"no URI", Some(request.uri.to_string()));
            }
        }
        (Start::Response { status, .. }, rsip::SipMessage::Response(response)) => {
            differ(
                "status",
                b"",
                status.to_string().as_bytes(),
                Some(u16::from(response.status_code.clone()).to_string()),
            );
        }
        (Start::Request { .. }, _) => differ("kind", b"", b"request", Some("response".to_owned())),
        (Start::Response { .. }, _) => differ("kind", b"", b"response", Some("request".to_owned())),
    }
    differ(
        "Call-ID",
        message.call_id,
        message.call_id,
        theirs.call_id_header().ok().map(|id| id.value().to_owned()),
    );
    if let Some(cseq) = theirs.cseq_header().ok().and_then(|cseq| cseq.typed().ok()) {
        differ(
            "CSeq number",
            b"",
            message.cseq.number.to_string().as_bytes(),
            Some(cseq.seq.to_string()),
        );
        differ(
            "CSeq method",
            b"",
            message.cseq.method_text,
            Some(cseq.method.to_string()),
        );
    }
    if let Some(from) = theirs.from_header().ok().and_then(|from| from.typed().ok()) {
        let tag = from.tag().map(ToString::to_string).unwrap_or_default();
        differ(
            "From tag",
            message.header(Name::From).unwrap_or_default(),
            message.from.tag().unwrap_or_default(),
            Some(tag),
        );
    }
    if let Some(to) = theirs.to_header().ok().and_then(|to| to.typed().ok()) {
        let tag = to.tag().map(ToString::to_string).unwrap_or_default();
        differ(
            "To tag",
            message.header(Name::To).unwrap_or_default(),
            message.to.tag().unwrap_or_default(),
            Some(tag),
        );
    }
    if let Some(via) = theirs.via_header().ok().and_then(|via| via.typed().ok()) {
        let branch = via.branch().map(ToString::to_string).unwrap_or_default();
        differ(
            "Via branch",
            message.header(Name::Via).unwrap_or_default(),
            message.via.branch().unwrap_or_default(),
            Some(branch),
        );
    }
    if message.header(Name::ContentLength).is_some() {
        differ(
            "body length",
            b"",
            message.body.len().to_string().as_bytes(),
            Some(theirs.body().len().to_string()),
        );
    }
    readings.retain(|reading| {
        let known = KNOWN.iter().position(|difference| (difference.explains)(reading));
        if let Some(known) = known {
            used[known] += 1;
        }
        known.is_none()
    });
    Some(readings)
}
