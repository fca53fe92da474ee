//! Builds messages. Every value is checked for CR, LF and NUL, so no text from a person can become a header.

use std::fmt;
use std::io::Write as _;

use super::{Message, Name, phrase, split_commas};

/// Why a message could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("a value holds CR, LF or NUL")]
    ControlByte,
    #[error("a name is not a token")]
    Name,
}

/// Whether `text` may stand in a header value or start line.
pub fn is_clean(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Writes one message from its start line to its body. The first bad value makes [`Writer::finish`] fail.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    error: Option<BuildError>,
}

impl Writer {
    pub fn request(method: &str, uri: &[u8]) -> Self {
        let mut writer = Self {
            bytes: Vec::with_capacity(1024),
            error: None,
        };
        writer.append(method.as_bytes());
        writer.bytes.push(b' ');
        writer.append(uri);
        if uri.contains(&b' ') || uri.is_empty() {
            writer.error = Some(BuildError::ControlByte);
        }
        writer.bytes.extend_from_slice(b" SIP/2.0\r\n");
        writer
    }

    pub fn response(status: u16) -> Self {
        Self::response_with_phrase(status, phrase(status))
    }

    pub fn response_with_phrase(status: u16, phrase: &str) -> Self {
        let mut writer = Self {
            bytes: Vec::with_capacity(1024),
            error: None,
        };
        writer.append_fmt(format_args!("SIP/2.0 {status} {phrase}"));
        writer.bytes.extend_from_slice(b"\r\n");
        writer
    }

    /// A response whose size can be told beforehand.
    pub(crate) fn response_of(status: u16, capacity: usize) -> Self {
        let mut writer = Self {
            bytes: Vec::with_capacity(capacity),
            error: None,
        };
        writer.append_fmt(format_args!("SIP/2.0 {status} {}", phrase(status)));
        writer.bytes.extend_from_slice(b"\r\n");
        writer
    }

    /// A fragment: header lines only, for use with [`Writer::lines`].
    pub fn fragment() -> Self {
        Self {
            bytes: Vec::with_capacity(512),
            error: None,
        }
    }

    pub fn header(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.append(value);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// A header whose value comes in parts.
    pub(crate) fn header_parts(&mut self, name: &str, parts: &[&[u8]]) -> &mut Self {
        self.name(name);
        for part in parts {
            self.append(part);
        }
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub fn header_fmt(&mut self, name: &str, value: fmt::Arguments<'_>) -> &mut Self {
        self.name(name);
        self.append_fmt(value);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Appends lines that another writer made, line ends included.
    pub fn lines(&mut self, lines: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(lines);
        self
    }

    /// Copies every line of `name` from a parsed message.
    pub fn copy(&mut self, message: &Message<'_>, name: Name, text: &str) -> &mut Self {
        for header in message.headers().iter().filter(|header| header.name == name) {
            self.header(text, header.value);
        }
        self
    }

    /// Copies the Via values of a request into a response, `received` and `rport` put into the first
    /// (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn copy_vias(&mut self, message: &Message<'_>, source: std::net::SocketAddr) -> &mut Self {
        let mut first = true;
        for header in message.headers().iter().filter(|header| header.name == Name::Via) {
            if !first {
                self.header("Via", header.value);
                continue;
            }
            first = false;
            let mut values = split_commas(header.value);
            if let Some(top) = values.next() {
                self.top_via(top, source);
            }
            for value in values {
                self.header("Via", value);
            }
        }
        self
    }

    /// Writes the first Via of a response with where its request came from.
    pub(super) fn top_via(&mut self, top: &[u8], source: std::net::SocketAddr) {
        self.name("Via");
        let end = top.iter().position(|&byte| byte == b';').unwrap_or(top.len());
        self.append(&top[..end]);
        for (name, value) in super::Params(&top[end..]).iter() {
            if name.eq_ignore_ascii_case(b"rport") || name.eq_ignore_ascii_case(b"received") {
                continue;
            }
            self.bytes.push(b';');
            self.append(name);
            if !value.is_empty() {
                self.bytes.push(b'=');
                self.append(value);
            }
        }
        self.append_fmt(format_args!(";received={};rport={}", source.ip(), source.port()));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Ends the message with Content-Length and `body`.
    pub fn finish(mut self, content_type: Option<&str>, body: &[u8]) -> Result<Vec<u8>, BuildError> {
        if let Some(content_type) = content_type.filter(|_| !body.is_empty()) {
            self.header("Content-Type", content_type.as_bytes());
        }
        self.header_fmt("Content-Length", format_args!("{}", body.len()));
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(body);
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.bytes),
        }
    }

    /// Ends a fragment.
    pub fn into_lines(self) -> Result<Vec<u8>, BuildError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.bytes),
        }
    }

    fn name(&mut self, name: &str) {
        let is_token = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte));
        if !is_token {
            self.error = Some(BuildError::Name);
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
    }

    fn append(&mut self, value: &[u8]) {
        if !is_clean(value) {
            self.error = Some(BuildError::ControlByte);
        }
        self.bytes.extend_from_slice(value);
    }

    fn append_fmt(&mut self, value: fmt::Arguments<'_>) {
        let start = self.bytes.len();
        if self.bytes.write_fmt(value).is_err() || !is_clean(&self.bytes[start..]) {
            self.error = Some(BuildError::ControlByte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_nul_are_refused_wherever_they_stand() {
        for bad in ["a\r\nX: 1", "a\nb", "a\rb", "a\0b"] {
            let mut writer = Writer::request("INVITE", b"sip:a@h");
            writer.header("Subject", bad.as_bytes());
            assert_eq!(writer.finish(None, b""), Err(BuildError::ControlByte), "{bad:?}");
            let mut writer = Writer::response(200);
            writer.header_fmt("Subject", format_args!("{bad}"));
            assert_eq!(writer.finish(None, b""), Err(BuildError::ControlByte), "{bad:?}");
            assert!(
                Writer::request("INVITE", bad.as_bytes())
                    .finish(None, b"")
                    .is_err()
            );
        }
        let mut writer = Writer::response(200);
        writer.header("X: y\r\nZ", b"1");
        assert_eq!(writer.finish(None, b""), Err(BuildError::Name));
    }

    #[test]
    fn a_body_gets_its_type_and_length() {
        let bytes = Writer::response(200)
            .finish(Some("application/sdp"), b"v=0\r\n")
            .unwrap();
        assert_eq!(
            bytes,
            b"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
    }
}
