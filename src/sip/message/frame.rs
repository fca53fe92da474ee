//! Where one message of a stream ends (RFC 3261 §18.3): TCP and TLS carry messages back to back.

use memchr::memmem;

use super::parse::Lines;
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
    let ends = [
        memmem::find(message, b"\r\n\r\n").map(|at| at + 4),
        memmem::find(message, b"\n\n").map(|at| at + 2),
    ];
    let Some(head) = ends.into_iter().flatten().min() else {
        return if message.len() > MAX_HEAD {
            Err(ParseError::Unterminated)
        } else {
            Ok(None)
        };
    };
    let mut length = None;
    for line in (Lines {
        rest: &message[..head],
    })
    .skip(1)
    {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        if Name::from_bytes(trim(&line[..colon])) != Name::ContentLength {
            continue;
        }
        let value = decimal(&line[colon + 1..]).ok_or(ParseError::Malformed("Content-Length"))?;
        if length.is_some_and(|first| first != value) {
            return Err(ParseError::Repeated("Content-Length"));
        }
        length = Some(value);
    }
    let body = length.ok_or(ParseError::MissingHeader("Content-Length"))?;
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    let total = head.saturating_add(body);
    if total > MAX_MESSAGE {
        return Err(ParseError::TooLarge { got: total });
    }
    Ok(Some(begin + total))
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
}
