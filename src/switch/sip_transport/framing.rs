//! From the bytes of a connection to messages and keep-alives (RFC 3261 §18.3, RFC 5626 §4.4.1).

use sip::message::{MAX_HEADERS, MAX_LINE, ParseError, frame_extent};

/// Most lines waited for in front of a body, folded ones counted each.
const MOST_LINES: usize = 4 * MAX_HEADERS;

/// What a connection brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Message(Vec<u8>),
    /// A double line end, which wants one back.
    Ping,
    Pong,
}

/// Bytes that came and are not taken yet.
#[derive(Debug, Default)]
pub struct Framing {
    pub bytes: Vec<u8>,
    /// The length of the message that begins `bytes`, once its headers are complete.
    extent: Option<usize>,
    /// So many of `bytes` were searched for the end of the headers, each of them once.
    searched: usize,
    /// Where the line begins that is not complete, and how many came before it.
    line_at: usize,
    lines: usize,
    /// The last thing taken was a single line end: another one behind it makes a ping.
    half: bool,
}

impl Framing {
    /// Whether a message has begun that is not complete.
    pub fn is_amid(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes what is complete, in order.
    ///
    /// # Errors
    /// When the stream cannot be told apart into messages; nothing behind that can be read.
    pub fn next(&mut self) -> Result<Option<Piece>, ParseError> {
        if self.extent.is_none()
            && let Some(piece) = self.line_end()
        {
            return Ok(Some(piece));
        }
        if self.extent.is_none() && (self.search()? || self.bytes.len() > 4 * MAX_LINE) {
            self.extent = frame_extent(&self.bytes)?;
        }
        let Some(extent) = self.extent.filter(|&extent| self.bytes.len() >= extent) else {
            return Ok(None);
        };
        let rest = self.bytes.split_off(extent);
        let message = std::mem::replace(&mut self.bytes, rest);
        (self.extent, self.half) = (None, false);
        self.begin();
        Ok(Some(Piece::Message(message)))
    }

    fn begin(&mut self) {
        (self.searched, self.line_at, self.lines) = (0, 0, 0);
    }

    /// Looks for the empty line behind the headers in what came since it was looked for last: whoever sends line by
    /// line, or byte by byte, costs no more than whoever sends all at once.
    fn search(&mut self) -> Result<bool, ParseError> {
        loop {
            let fresh = self.bytes.get(self.searched..).unwrap_or_default();
            let found = fresh.iter().position(|&byte| byte == b'\n');
            let end = found.map_or(self.bytes.len(), |at| self.searched + at + 1);
            let line = self.bytes.get(self.line_at..end).unwrap_or_default();
            if line.len() > MAX_LINE + 2 {
                return Err(ParseError::LineTooLong(self.lines + 1));
            }
            let is_end = self.lines > 0 && (line == b"\r\n" || line == b"\n");
            self.searched = end;
            if found.is_none() {
                return Ok(false);
            }
            (self.line_at, self.lines) = (end, self.lines + 1);
            if is_end {
                return Ok(true);
            }
            if self.lines > MOST_LINES {
                return Err(ParseError::TooMany("header lines"));
            }
        }
    }

    /// A keep-alive in front of messages.
    fn line_end(&mut self) -> Option<Piece> {
        let (length, piece) = match self.bytes.as_slice() {
            [b'\r', b'\n', b'\r', b'\n', ..] => (4, Piece::Ping),
            [b'\r', b'\n', ..] if self.half => (2, Piece::Ping),
            [b'\r', b'\n', ..] => (2, Piece::Pong),
            _ => return None,
        };
        self.half = piece == Piece::Pong && !self.half;
        self.bytes.drain(..length);
        self.begin();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a@h SIP/2.0\r\nl: 5\r\n\r\nhello";

    fn pieces(chunks: &[&[u8]]) -> Result<Vec<Piece>, ParseError> {
        let (mut framing, mut pieces) = (Framing::default(), Vec::new());
        for chunk in chunks {
            framing.bytes.extend_from_slice(chunk);
            while let Some(piece) = framing.next()? {
                pieces.push(piece);
            }
        }
        assert!(framing.bytes.len() < MESSAGE.len(), "{:?}", framing.bytes);
        Ok(pieces)
    }

    #[test]
    fn messages_are_cut_wherever_the_stream_was() {
        let two = [MESSAGE, MESSAGE].concat();
        let whole = || Piece::Message(MESSAGE.to_vec());
        for at in 0..two.len() {
            let (one, other) = two.split_at(at);
            assert_eq!(pieces(&[one, other]).unwrap(), [whole(), whole()], "{at}");
        }
        let bytes: Vec<&[u8]> = two.chunks(1).collect();
        assert_eq!(pieces(&bytes).unwrap(), [whole(), whole()]);
    }

    #[test]
    fn line_ends_between_messages_are_pings_and_pongs() {
        use Piece::{Ping, Pong};
        assert_eq!(pieces(&[b"\r\n\r\n"]).unwrap(), [Ping]);
        assert_eq!(pieces(&[b"\r\n"]).unwrap(), [Pong]);
        assert_eq!(pieces(&[b"\r", b"\n"]).unwrap(), [Pong]);
        assert_eq!(
            pieces(&[b"\r\n", b"\r\n"]).unwrap(),
            [Pong, Ping],
            "a ping in halves"
        );
        let around = [b"\r\n\r\n", MESSAGE, b"\r\n"].concat();
        assert_eq!(
            pieces(&[&around]).unwrap(),
            [Ping, Piece::Message(MESSAGE.to_vec()), Pong]
        );
    }

    #[test]
    fn what_cannot_be_framed_is_an_error_before_its_body_comes() {
        let huge = b"OPTIONS sip:a@h SIP/2.0\r\nContent-Length: 4000000000\r\n\r\n";
        assert!(matches!(pieces(&[huge]), Err(ParseError::TooLarge { .. })));
        assert!(pieces(&[b"OPTIONS sip:a@h SIP/2.0\r\nVia: x\r\n\r\n"]).is_err());
        let endless = vec![b'x'; 70_000];
        assert_eq!(pieces(&[&endless]), Err(ParseError::LineTooLong(1)));
    }

    #[test]
    fn headers_that_trickle_are_searched_once_and_end_early_when_they_are_too_many_or_too_long() {
        let mut framing = Framing::default();
        framing.bytes.extend_from_slice(b"OPTIONS sip:a@h SIP/2.0\r\n");
        let mut searched = 0;
        for number in 1..MOST_LINES {
            framing.bytes.extend_from_slice(b"a: b\r\n");
            searched += framing.bytes.len() - framing.searched;
            assert_eq!(framing.next(), Ok(None), "{number}");
        }
        assert_eq!(searched, framing.bytes.len(), "no byte twice");
        framing.bytes.extend_from_slice(b"a: b\r\n");
        assert_eq!(framing.next(), Err(ParseError::TooMany("header lines")));
        let long = [b"OPTIONS sip:a@h SIP/2.0\r\na: ".to_vec(), vec![b'x'; MAX_LINE]].concat();
        let mut framing = Framing::default();
        framing.bytes.extend_from_slice(&long);
        assert_eq!(framing.next(), Err(ParseError::LineTooLong(2)));
    }
}
