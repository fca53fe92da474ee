//! Finds the SDP in a message body (RFC 3261 §7.4, §20.11; RFC 5621; multipart to depth two).

use crate::message::{Message, Name, Params, lossy, trim, unquote};

/// Most parts of one multipart body that are looked at.
const MAX_PARTS: usize = 8;
/// How deep a multipart body may stand in another.
const MAX_DEPTH: usize = 2;
/// Longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// What a 415 says that we would have read (RFC 3261 §21.4.13).
pub(crate) const READABLE: &[u8] = b"Accept: application/sdp\r\nAccept-Encoding: identity\r\n";

/// The body is of a kind that is not read: answer 415 with `READABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnsupportedBody;

/// Returns the SDP of a message; `None` when there is no body, or only one that the sender calls optional.
pub(crate) fn sdp<'a>(message: &Message<'a>) -> Result<Option<&'a [u8]>, UnsupportedBody> {
    if message.body.is_empty() {
        return Ok(None);
    }
    match find(message) {
        Some(sdp) => Ok(Some(sdp)),
        None if is_optional(message) => Ok(None),
        None => Err(UnsupportedBody),
    }
}

/// The media type and parameters of a Content-Type value.
pub(crate) fn split_type(value: &[u8]) -> (&[u8], Params<'_>) {
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    (trim(&value[..end]), Params(&value[end..]))
}

fn find<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let encoding = message.header(Name::ContentEncoding).unwrap_or_default();
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity")) {
        return None;
    }
    let Some(content_type) = message.header(Name::ContentType) else {
        return message.body.starts_with(b"v=0").then_some(message.body);
    };
    let kind = split_type(content_type).0;
    if kind.eq_ignore_ascii_case(b"application/sdp") {
        return Some(message.body);
    }
    // What is neither costs no memory.
    is_multipart(kind)
        .then(|| search(content_type, message.body))
        .flatten()
}

/// Whether a body that is not understood may be passed over (RFC 3261 §20.11).
fn is_optional(message: &Message<'_>) -> bool {
    let disposition = message.header(Name::ContentDisposition).unwrap_or_default();
    let handling = split_type(disposition).1.get("handling").map(unquote);
    handling.is_some_and(|handling| handling.eq_ignore_ascii_case(b"optional"))
}

/// Looks for SDP in a body, level by level in place of recursion: each multipart body adds its parts.
fn search<'a>(content_type: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let mut level: Vec<(Vec<u8>, &'a [u8])> = vec![(content_type.to_vec(), body)];
    for depth in 0..=MAX_DEPTH {
        let mut next = Vec::new();
        for (content_type, content) in level {
            let (kind, params) = split_type(&content_type);
            if kind.eq_ignore_ascii_case(b"application/sdp") {
                return Some(content);
            }
            let boundary = params.get("boundary").map(unquote);
            if let Some(boundary) = boundary.filter(|_| depth < MAX_DEPTH && is_multipart(kind)) {
                next.extend(parts(content, &boundary));
            }
        }
        next.truncate(MAX_PARTS);
        level = next;
    }
    None
}

fn is_multipart(kind: &[u8]) -> bool {
    kind.get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
}

/// The parts of a multipart body with their types, those for early media sessions (RFC 3959) left out.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<(Vec<u8>, &'a [u8])> {
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
        return Vec::new();
    }
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    // A delimiter stands at the start of a line, and nothing but its end behind it.
    let begins_line = |at: &usize| *at == 0 || body.get(at - 1) == Some(&b'\n');
    let ends = |at: &usize| {
        let after = body.get(at + delimiter.len()..).unwrap_or_default();
        matches!(after, [] | [b'\r' | b'\n' | b' ' | b'\t', ..] | [b'-', b'-', ..])
    };
    let starts: Vec<usize> = finder
        .find_iter(body)
        .filter(|at| begins_line(at) && ends(at))
        .take(MAX_PARTS + 1)
        .collect();
    let spans = starts.windows(2).filter_map(|pair| match pair {
        [begin, end] => body.get(begin + delimiter.len()..*end),
        _ => None,
    });
    spans.filter_map(part).collect()
}

/// The type and content of one part: what stands between two delimiters.
fn part(span: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line_end = memchr::memchr(b'\n', span)?;
    let part = &span[line_end + 1..];
    let head_end = [&b"\r\n\r\n"[..], b"\n\n"]
        .iter()
        .filter_map(|blank| memchr::memmem::find(part, blank).map(|at| (at, at + blank.len())))
        .min()?;
    let (mut kind, mut is_session) = (None, true);
    for line in part[..head_end.0].split(|&byte| byte == b'\n').take(32) {
        let Some(at) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let value = trim(&line[at + 1..]);
        match Name::from_bytes(trim(&line[..at])) {
            Name::ContentType => kind = Some(value.to_vec()),
            Name::ContentDisposition => {
                is_session = !lossy(split_type(value).0).eq_ignore_ascii_case("early-session");
            }
            _ => {}
        }
    }
    let content = &part[head_end.1..];
    let content = content
        .strip_suffix(b"\r\n")
        .or_else(|| content.strip_suffix(b"\n"))
        .unwrap_or(content);
    Some((kind?, content)).filter(|_| is_session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headers: &str, body: &str) -> Result<Option<Vec<u8>>, UnsupportedBody> {
        let text = format!(
            "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n{body}"
        );
        let mut scratch = Vec::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        sdp(&message).map(|found| found.map(<[u8]>::to_vec))
    }

    const MIXED: &str = "Content-Type: multipart/mixed;boundary=\"b1\"\r\n";
    const SDP: &str = "c: application/sdp\r\n\r\nv=0\r\no=x\r\n\r\n";

    #[test]
    fn sdp_is_found_alone_and_inside_multipart() {
        assert_eq!(find("", ""), Ok(None));
        assert_eq!(
            find("Content-Type: Application/SDP; charset=x\r\n", "v=0\r\n"),
            Ok(Some(b"v=0\r\n".to_vec()))
        );
        let body = format!(
            "preamble\r\n--b1\r\nContent-Type: application/pidf+xml\r\n\r\n<x/>\r\n--b1\r\n{SDP}--b1--\r\n"
        );
        assert_eq!(find(MIXED, &body), Ok(Some(b"v=0\r\no=x\r\n".to_vec())));
        // A boundary that another one begins with, and one in the middle of a line.
        let body = format!("--b1x\r\n{SDP}--b1\r\nc: text/plain\r\n\r\nsee --b1\r\n--b1\r\n{SDP}--b1--");
        assert_eq!(find(MIXED, &body), Ok(Some(b"v=0\r\no=x\r\n".to_vec())));
    }

    #[test]
    fn sdp_is_found_in_a_multipart_body_inside_another_and_not_deeper() {
        let wrap = |inner: &str, boundary: &str, content: &str| {
            format!("--{boundary}\r\nContent-Type: {inner}\r\n\r\n{content}\r\n--{boundary}--\r\n")
        };
        let two = wrap(
            "multipart/alternative;boundary=b2",
            "b1",
            &format!("--b2\r\n{SDP}--b2--\r\n"),
        );
        assert_eq!(find(MIXED, &two), Ok(Some(b"v=0\r\no=x\r\n".to_vec())));
        let inner = wrap(
            "multipart/mixed;boundary=b3",
            "b2",
            &format!("--b3\r\n{SDP}--b3--\r\n"),
        );
        let three = wrap("multipart/mixed;boundary=b2", "b1", &inner);
        assert_eq!(find(MIXED, &three), Err(UnsupportedBody));
    }

    #[test]
    fn only_eight_parts_are_looked_at_and_early_sessions_are_not() {
        let filler = "--b1\r\nc: text/plain\r\n\r\nx\r\n";
        let with = |count: usize| format!("{}--b1\r\n{SDP}--b1--\r\n", filler.repeat(count));
        assert!(find(MIXED, &with(7)).is_ok());
        assert_eq!(find(MIXED, &with(8)), Err(UnsupportedBody));
        let early = format!("--b1\r\nContent-Disposition: early-session\r\n{SDP}--b1--\r\n");
        assert_eq!(find(MIXED, &early), Err(UnsupportedBody));
    }

    #[test]
    fn other_bodies_are_unsupported_unless_they_are_optional() {
        assert_eq!(
            find("Content-Type: text/plain\r\n", "hello"),
            Err(UnsupportedBody)
        );
        let optional = "Content-Type: text/plain\r\nContent-Disposition: render; handling=Optional\r\n";
        assert_eq!(find(optional, "hello"), Ok(None));
        assert_eq!(
            find("Content-Type: multipart/mixed\r\n", "hello"),
            Err(UnsupportedBody)
        );
        assert_eq!(
            find("Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "x"),
            Err(UnsupportedBody)
        );
        assert_eq!(
            find(
                "Content-Type: multipart/mixed;boundary=b\r\n",
                "--b\r\nX: y\r\n\r\nz\r\n--b--"
            ),
            Err(UnsupportedBody)
        );
    }
}
