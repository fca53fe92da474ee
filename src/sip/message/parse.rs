//! One pass over a message: start line, header index, body (RFC 3261 §7, §18.3).

use memchr::{memchr, memchr2};

use super::value::split_commas;
use super::{Address, CSeq, Method, Name, Via, decimal, trim};

/// Longest message read, in bytes.
pub const MAX_MESSAGE: usize = 65_535;
/// Most header lines in one message.
pub const MAX_HEADERS: usize = 128;
/// Longest header line, in bytes, folding included.
pub const MAX_LINE: usize = 8_192;
const MAX_VIAS: usize = 16;
const MAX_CONTACTS: usize = 32;

/// Why bytes from the wire were not a SIP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("message is empty or only line ends")]
    Empty,
    #[error("message of {got} bytes exceeds the limit of {MAX_MESSAGE}")]
    TooLarge { got: usize },
    #[error("start line is neither a request nor a response")]
    StartLine,
    #[error("version is not SIP/2.0")]
    Version,
    #[error("header line {0} has no name or a bad one")]
    HeaderLine(usize),
    #[error("header line {0} holds a NUL or a bare CR")]
    ControlByte(usize),
    #[error("line {0} is longer than {MAX_LINE} bytes")]
    LineTooLong(usize),
    #[error("more than the allowed number of {0}")]
    TooMany(&'static str),
    #[error("header {0} is missing")]
    MissingHeader(&'static str),
    #[error("header {0} is malformed")]
    Malformed(&'static str),
    #[error("header {0} stands more than once")]
    Repeated(&'static str),
    #[error("the CSeq method differs from the request's")]
    MethodMismatch,
    #[error("body of {got} bytes is shorter than its Content-Length of {wanted}")]
    BodyTooShort { got: usize, wanted: usize },
    #[error("headers do not end")]
    Unterminated,
}

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    Request {
        method: Method,
        method_text: &'a [u8],
        uri: &'a [u8],
    },
    Response {
        status: u16,
        phrase: &'a [u8],
    },
}

/// One header line; folds have become spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: Name,
    pub name_text: &'a [u8],
    pub value: &'a [u8],
}

/// A parsed message, borrowing its bytes. One that exists has exactly one From, To, Call-ID and CSeq, a readable top
/// Via, and a body of the length it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    pub start: Start<'a>,
    headers: Vec<Header<'a>>,
    pub body: &'a [u8],
    /// Bytes as they came, line ends before and bytes behind the message included.
    pub length: usize,
    pub via: Via<'a>,
    pub from: Address<'a>,
    pub to: Address<'a>,
    pub call_id: &'a [u8],
    pub cseq: CSeq<'a>,
}

impl<'a> Message<'a> {
    /// Reads one message. `scratch` is used only when header lines are folded.
    ///
    /// Line ends before the start line are skipped, LF alone ends a line, bytes behind Content-Length are ignored.
    pub fn parse(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Self, ParseError> {
        Self::parse_into(bytes, scratch, &mut Vec::new())
    }

    /// The same with a list for the headers, emptied first, which the message takes along if it can be read.
    pub(crate) fn parse_into(
        bytes: &'a [u8],
        scratch: &'a mut Vec<u8>,
        headers: &mut Vec<Header<'a>>,
    ) -> Result<Self, ParseError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::TooLarge { got: bytes.len() });
        }
        let length = bytes.len();
        let begin = bytes
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))
            .ok_or(ParseError::Empty)?;
        let bytes = &bytes[begin..];
        let (headers_end, body_start, folded) = header_section(bytes)?;
        let bytes = if folded {
            unfold(bytes, headers_end, scratch)
        } else {
            bytes
        };
        let (head, body) = (&bytes[..headers_end], &bytes[body_start..]);
        let mut lines = Lines { rest: head };
        let start = parse_start(lines.next().ok_or(ParseError::Empty)?)?;
        parse_headers(lines, headers)?;
        Self::assemble(start, headers, body, length)
    }

    /// Gives the list of headers back, for the next message.
    pub(crate) fn into_headers(self) -> Vec<Header<'a>> {
        self.headers
    }

    fn assemble(
        start: Start<'a>,
        headers: &mut Vec<Header<'a>>,
        body: &'a [u8],
        length: usize,
    ) -> Result<Self, ParseError> {
        let via_value = find(headers, Name::Via).ok_or(ParseError::MissingHeader("Via"))?;
        let via = split_commas(via_value)
            .next()
            .and_then(Via::parse)
            .ok_or(ParseError::Malformed("Via"))?;
        let from = once(headers, Name::From, "From")?;
        let from = Address::parse(from).ok_or(ParseError::Malformed("From"))?;
        let to = once(headers, Name::To, "To")?;
        let to = Address::parse(to).ok_or(ParseError::Malformed("To"))?;
        let call_id = once(headers, Name::CallId, "Call-ID")?;
        if call_id.is_empty() {
            return Err(ParseError::Malformed("Call-ID"));
        }
        let cseq = once(headers, Name::CSeq, "CSeq")?;
        let cseq = CSeq::parse(cseq).ok_or(ParseError::Malformed("CSeq"))?;
        if let Start::Request { method_text, .. } = start
            && method_text != cseq.method_text
        {
            return Err(ParseError::MethodMismatch);
        }
        let body = cut_body(headers, body)?;
        Ok(Self {
            start,
            headers: std::mem::take(headers),
            body,
            length,
            via,
            from,
            to,
            call_id,
            cseq,
        })
    }

    /// The first value line of `name`.
    pub fn header(&self, name: Name) -> Option<&'a [u8]> {
        find(&self.headers, name)
    }

    /// All header lines, in order.
    pub fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// All values of a list header, in order, over all its lines.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name == name)
            .flat_map(|header| split_commas(header.value))
    }

    /// Whether a token list header (`Require`, `Supported`, `Allow`) has `token`, in any case.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The header as a number of seconds; parameters and comments behind it are ignored.
    pub fn seconds(&self, name: Name) -> Option<u32> {
        let value = self.header(name)?;
        let end = value
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(value.len());
        decimal(&value[..end])
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }
}

/// What reading one message after the other needs, kept so that nothing is allocated once it has grown.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Unfolded text.
    pub text: Vec<u8>,
    headers: Vec<Header<'static>>,
}

impl Buffers {
    /// The list for the headers of the next message.
    pub fn headers<'a>(&mut self) -> Vec<Header<'a>> {
        std::mem::take(&mut self.headers)
    }

    /// Keeps the list for the message after this one: collecting a list from itself keeps its memory.
    pub fn keep(&mut self, mut headers: Vec<Header<'_>>) {
        headers.clear();
        self.headers = headers
            .into_iter()
            .map(|_| Header {
                name: Name::Other,
                name_text: b"",
                value: b"",
            })
            .collect();
    }
}

/// Finds the end of the headers, the start of the body, and whether a line is folded.
pub(super) fn header_section(bytes: &[u8]) -> Result<(usize, usize, bool), ParseError> {
    let (mut at, mut folded) = (0, false);
    while let Some(length) = memchr(b'\n', &bytes[at..]) {
        let next = at + length + 1;
        let line = &bytes[at..next];
        if line == b"\n" || line == b"\r\n" {
            return Ok((at, next, folded));
        }
        if matches!(bytes.get(next), Some(b' ' | b'\t')) {
            folded = true;
        }
        at = next;
    }
    Err(ParseError::Unterminated)
}

/// Copies the message with the line ends of folds replaced by spaces, so that every offset stays.
fn unfold<'a>(bytes: &[u8], headers_end: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    scratch.clear();
    scratch.extend_from_slice(bytes);
    for at in 0..headers_end {
        if scratch[at] == b'\n' && matches!(scratch.get(at + 1), Some(b' ' | b'\t')) {
            scratch[at] = b' ';
            if at > 0 && scratch[at - 1] == b'\r' {
                scratch[at - 1] = b' ';
            }
        }
    }
    scratch
}

pub(super) struct Lines<'a> {
    pub rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn parse_start(line: &[u8]) -> Result<Start<'_>, ParseError> {
    if line.len() > MAX_LINE {
        return Err(ParseError::LineTooLong(1));
    }
    if memchr2(0, b'\r', line).is_some() {
        return Err(ParseError::ControlByte(1));
    }
    if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return parse_status_line(line);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method_text), Some(uri), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ParseError::StartLine);
    };
    if !is_token(method_text) || uri.is_empty() || uri.starts_with(b"<") || uri.contains(&b'\t') {
        return Err(ParseError::StartLine);
    }
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        let is_sip = version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/");
        return Err(if is_sip {
            ParseError::Version
        } else {
            ParseError::StartLine
        });
    }
    Ok(Start::Request {
        method: Method::from_bytes(method_text),
        method_text,
        uri,
    })
}

fn parse_status_line(line: &[u8]) -> Result<Start<'_>, ParseError> {
    let rest = match line.split_at_checked(8) {
        Some((version, rest)) if version.eq_ignore_ascii_case(b"SIP/2.0 ") => rest,
        _ => return Err(ParseError::Version),
    };
    let (digits, phrase) = rest.split_at_checked(3).ok_or(ParseError::StartLine)?;
    let status = decimal(digits).filter(|status| digits.len() == 3 && (100..700).contains(status));
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .ok_or(ParseError::StartLine)?;
    match phrase {
        [] => Ok(Start::Response { status, phrase }),
        [b' ', phrase @ ..] => Ok(Start::Response { status, phrase }),
        _ => Err(ParseError::StartLine),
    }
}

fn parse_headers<'a>(lines: Lines<'a>, headers: &mut Vec<Header<'a>>) -> Result<(), ParseError> {
    headers.clear();
    headers.reserve(24);
    let (mut vias, mut contacts) = (0, 0);
    for (number, line) in lines.enumerate().map(|(index, line)| (index + 2, line)) {
        if headers.len() == MAX_HEADERS {
            return Err(ParseError::TooMany("headers"));
        }
        if line.len() > MAX_LINE {
            return Err(ParseError::LineTooLong(number));
        }
        if memchr2(0, b'\r', line).is_some() {
            return Err(ParseError::ControlByte(number));
        }
        let colon = memchr(b':', line).ok_or(ParseError::HeaderLine(number))?;
        let name_text = trim(&line[..colon]);
        if !is_token(name_text) || line[0] == b' ' || line[0] == b'\t' {
            return Err(ParseError::HeaderLine(number));
        }
        let (name, value) = (Name::from_bytes(name_text), trim(&line[colon + 1..]));
        match name {
            Name::Via => vias += split_commas(value).count(),
            Name::Contact => contacts += split_commas(value).count(),
            _ => {}
        }
        headers.push(Header {
            name,
            name_text,
            value,
        });
    }
    match () {
        () if vias > MAX_VIAS => Err(ParseError::TooMany("Via values")),
        () if contacts > MAX_CONTACTS => Err(ParseError::TooMany("Contact values")),
        () => Ok(()),
    }
}

fn cut_body<'a>(headers: &[Header<'_>], body: &'a [u8]) -> Result<&'a [u8], ParseError> {
    let mut length = None;
    for header in headers.iter().filter(|header| header.name == Name::ContentLength) {
        let value = decimal(header.value).ok_or(ParseError::Malformed("Content-Length"))?;
        if length.is_some_and(|first| first != value) {
            return Err(ParseError::Repeated("Content-Length"));
        }
        length = Some(value);
    }
    let Some(length) = length else { return Ok(body) };
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    body.get(..wanted).ok_or(ParseError::BodyTooShort {
        got: body.len(),
        wanted,
    })
}

fn find<'a>(headers: &[Header<'a>], name: Name) -> Option<&'a [u8]> {
    headers
        .iter()
        .find(|header| header.name == name)
        .map(|header| header.value)
}

fn once<'a>(headers: &[Header<'a>], name: Name, text: &'static str) -> Result<&'a [u8], ParseError> {
    let mut values = headers.iter().filter(|header| header.name == name);
    let first = values.next().ok_or(ParseError::MissingHeader(text))?;
    match values.next() {
        Some(_) => Err(ParseError::Repeated(text)),
        None => Ok(first.value),
    }
}

/// RFC 3261 §25.1 token.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte))
}
