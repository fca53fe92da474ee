//! Finds the SDP in a message body (RFC 3261 §7.4, RFC 5621; multipart/mixed to depth one).

use crate::message::{Message, Name, Params, trim};

/// Most parts of a multipart body that are looked at.
const MAX_PARTS: usize = 8;

/// The body is of a kind that is not read: answer 415.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnsupportedBody;

/// Returns the SDP of a message; `None` when there is no body.
pub(crate) fn sdp<'a>(message: &Message<'a>) -> Result<Option<&'a [u8]>, UnsupportedBody> {
    if message.body.is_empty() {
        return Ok(None);
    }
    let encoding = message.header(Name::ContentEncoding).unwrap_or_default();
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(UnsupportedBody);
    }
    let Some(content_type) = message.header(Name::ContentType) else {
        return if message.body.starts_with(b"v=0") {
            Ok(Some(message.body))
        } else {
            Err(UnsupportedBody)
        };
    };
    let (kind, params) = split_type(content_type);
    if kind.eq_ignore_ascii_case(b"application/sdp") {
        return Ok(Some(message.body));
    }
    if !kind
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
    {
        return Err(UnsupportedBody);
    }
    let boundary = params
        .get("boundary")
        .map(crate::message::unquote)
        .ok_or(UnsupportedBody)?;
    find_part(message.body, &boundary)
        .map(Some)
        .ok_or(UnsupportedBody)
}

/// The media type and parameters of a Content-Type value.
pub(crate) fn split_type(value: &[u8]) -> (&[u8], Params<'_>) {
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    (trim(&value[..end]), Params(&value[end..]))
}

fn find_part<'a>(body: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    let starts: Vec<usize> = finder.find_iter(body).take(MAX_PARTS + 1).collect();
    starts.windows(2).find_map(|pair| {
        let part = body.get(pair[0] + delimiter.len()..pair[1])?;
        let part = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n"))?;
        let (head_end, skip) = match memchr::memmem::find(part, b"\r\n\r\n") {
            Some(at) => (at, 4),
            None => (memchr::memmem::find(part, b"\n\n")?, 2),
        };
        let is_sdp = part[..head_end].split(|&byte| byte == b'\n').any(|line| {
            let Some(at) = line.iter().position(|&byte| byte == b':') else {
                return false;
            };
            Name::from_bytes(trim(&line[..at])) == Name::ContentType
                && split_type(trim(&line[at + 1..]))
                    .0
                    .eq_ignore_ascii_case(b"application/sdp")
        });
        let content = &part[head_end + skip..];
        is_sdp.then(|| content.strip_suffix(b"\r\n").unwrap_or(content))
    })
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

    #[test]
    fn sdp_is_found_alone_and_inside_multipart() {
        assert_eq!(find("", ""), Ok(None));
        assert_eq!(
            find("Content-Type: Application/SDP; charset=x\r\n", "v=0\r\n"),
            Ok(Some(b"v=0\r\n".to_vec()))
        );
        let body = "preamble\r\n--b1\r\nContent-Type: application/pidf+xml\r\n\r\n<x/>\r\n--b1\r\n\
                    c: application/sdp\r\n\r\nv=0\r\no=x\r\n\r\n--b1--\r\n";
        assert_eq!(
            find("Content-Type: multipart/mixed;boundary=\"b1\"\r\n", body),
            Ok(Some(b"v=0\r\no=x\r\n".to_vec()))
        );
    }

    #[test]
    fn other_bodies_are_unsupported() {
        assert_eq!(
            find("Content-Type: text/plain\r\n", "hello"),
            Err(UnsupportedBody)
        );
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
