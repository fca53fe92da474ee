//! Where one message of a stream ends (RFC 3261 §18.3): TCP and TLS carry messages back to back.

use super::parse::{Lines, header_section};
use super::{MAX_LINE, MAX_MESSAGE, Name, ParseError, decimal, trim};

/// Longest header section waited for, in bytes.
const MAX_HEAD: usize = 4 * MAX_LINE;

/// Returns the length of the first message in `stream`, or `None` while it is not complete; see [`frame_extent`].
pub fn frame_length(stream: &[u8]) -> Result<Option<usize>, ParseError> {
    Ok(frame_extent(stream)?.filter(|&extent| stream.len() >= extent))
}

/// Returns how long the first message in `stream` will be, or `None` while its headers are not complete.
///
/// Line ends between messages count to the message behind them. A stream without Content-Length cannot be framed, so
/// that is an error, as is a length beyond the limit; the connection must then be closed. Nothing is allocated by a
/// length that the peer names.
pub fn frame_extent(stream: &[u8]) -> Result<Option<usize>, ParseError> {
    let Some(begin) = stream.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
        return Ok(None);
    };
    let message = &stream[begin..];
    let Ok((headers_end, body_start, _)) = header_section(message) else {
        return if message.len() > MAX_HEAD {
            Err(ParseError::Unterminated)
        } else {
            Ok(None)
        };
    };
    let body = content_length(&message[..headers_end])?;
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    let total = body_start.saturating_add(body);
    if total > MAX_MESSAGE {
        return Err(ParseError::TooLarge { got: total });
    }
    Ok(Some(begin + total))
}

/// The Content-Length of a header section, which may be folded; a line that goes on another header's is not one.
fn content_length(head: &[u8]) -> Result<u32, ParseError> {
    const MALFORMED: ParseError = ParseError::Malformed("Content-Length");
    let mut length = None;
    // Whether the last header was a Content-Length, and whether its number is still to come.
    let (mut named, mut awaited) = (false, false);
    for line in (Lines { rest: head }).skip(1) {
        let text = if line.starts_with(b" ") || line.starts_with(b"\t") {
            if !named || trim(line).is_empty() {
                continue;
            }
            line
        } else if awaited {
            return Err(MALFORMED);
        } else {
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            named = Name::from_bytes(trim(&line[..colon])) == Name::ContentLength;
            awaited = named;
            if !named || trim(&line[colon..]) == b":" {
                continue;
            }
            line.get(colon + 1..).ok_or(MALFORMED)?
        };
        let value = decimal(text)
            .filter(|_| std::mem::take(&mut awaited))
            .ok_or(MALFORMED)?;
        if length.is_some_and(|first| first != value) {
            return Err(ParseError::Repeated("Content-Length"));
        }
        length = Some(value);
    }
    match length {
        _ if awaited => Err(MALFORMED),
        Some(length) => Ok(length),
        None => Err(ParseError::MissingHeader("Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_their_length_however_they_arrive() {
        let one = b"\r\nOPTIONS sip:a@h SIP/2.0\r\nl: 5\r\n\r\nhello";
        let stream = [&one[..], &one[..]].concat();
        for length in 0..one.len() {
            assert_eq!(frame_length(&stream[..length]), Ok(None), "{length}");
        }
        assert_eq!(frame_length(&stream), Ok(Some(one.len())));
        assert_eq!(frame_length(b"\r\n\r\n"), Ok(None));
        assert_eq!(frame_length(b"A b c\nContent-Length: 0\n\nx"), Ok(Some(25)));
    }

    #[test]
    fn a_stream_that_cannot_be_framed_is_an_error() {
        let with = |lines: &str| frame_length(format!("OPTIONS sip:a@h SIP/2.0\r\n{lines}\r\n").as_bytes());
        assert_eq!(with(""), Err(ParseError::MissingHeader("Content-Length")));
        assert_eq!(with("l: -1\r\n"), Err(ParseError::Malformed("Content-Length")));
        assert_eq!(
            with("l: 1\r\nContent-Length: 2\r\n"),
            Err(ParseError::Repeated("Content-Length"))
        );
        assert!(matches!(
            with("l: 4294967295\r\n"),
            Err(ParseError::TooLarge { .. })
        ));
        assert_eq!(frame_length(&[b'x'; MAX_HEAD + 1]), Err(ParseError::Unterminated));
    }

    #[test]
    fn line_ends_may_be_mixed_as_in_a_datagram() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let text = format!("OPTIONS sip:a@h SIP/2.0\r\nl: 5{end}hello");
            assert_eq!(frame_length(text.as_bytes()), Ok(Some(text.len())), "{end:?}");
        }
    }

    #[test]
    fn a_length_may_be_folded_and_a_fold_is_no_length() {
        let with =
            |lines: &str| frame_length(format!("OPTIONS sip:a@h SIP/2.0\r\n{lines}\r\nhello").as_bytes());
        assert_eq!(
            with("l:\r\n 5\r\n"),
            Ok(Some("OPTIONS sip:a@h SIP/2.0\r\nl:\r\n 5\r\n\r\nhello".len()))
        );
        let hidden = "X: a\r\n l: 3\r\nl: 5\r\n";
        assert_eq!(
            with(hidden),
            Ok(Some("OPTIONS sip:a@h SIP/2.0\r\n\r\nhello".len() + hidden.len()))
        );
        for bad in ["l: 1\r\n 5\r\n", "l:\r\nX: y\r\n", "l:\r\n", "l\r\n"] {
            assert_eq!(with(bad), Err(ParseError::Malformed("Content-Length")), "{bad:?}");
        }
    }
}
