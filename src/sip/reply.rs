//! What a response repeats of its request (RFC 3261 §8.2.6).

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::message::{BuildError, Message, Name, Writer};

/// The headers of a request that every response to it carries, ready to write.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Via, From, Call-ID and CSeq lines.
    lines: Vec<u8>,
    to: Vec<u8>,
    to_has_tag: bool,
    /// Record-Route lines, for responses that make a dialog (RFC 3261 §12.1.1).
    record_route: Vec<u8>,
}

/// One response to write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Response<'a> {
    pub status: u16,
    /// Our tag, put on To when the request had none; empty for none.
    pub tag: &'a str,
    /// Further header lines.
    pub lines: &'a [u8],
    /// SDP.
    pub body: &'a [u8],
    /// Whether the response makes or refreshes a dialog.
    pub dialog: bool,
}

impl Reply {
    pub fn new(request: &Message<'_>, source: SocketAddr) -> Self {
        let mut writer = Writer::fragment();
        writer.copy_vias(request, source);
        writer.copy(request, Name::From, "From");
        writer.header("Call-ID", request.call_id);
        writer.copy(request, Name::CSeq, "CSeq");
        let mut routes = Writer::fragment();
        routes.copy(request, Name::RecordRoute, "Record-Route");
        Self {
            lines: writer.into_lines().unwrap_or_default(),
            to: request.header(Name::To).unwrap_or_default().to_vec(),
            to_has_tag: request.to.tag().is_some(),
            record_route: routes.into_lines().unwrap_or_default(),
        }
    }

    pub fn write(&self, response: &Response<'_>, agent: Option<&str>) -> Result<Vec<u8>, BuildError> {
        let mut writer = Writer::response(response.status);
        writer.lines(&self.lines);
        if response.dialog {
            writer.lines(&self.record_route);
        }
        write_to(&mut writer, &self.to, self.to_has_tag, response.tag);
        finish(writer, response, agent)
    }
}

/// Writes a response of which nothing is kept: one buffer is all it needs.
pub(crate) fn write_once(
    request: &Message<'_>,
    source: SocketAddr,
    response: &Response<'_>,
    agent: Option<&str>,
) -> Result<Vec<u8>, BuildError> {
    let repeated = request.headers().iter().filter(|header| {
        matches!(
            header.name,
            Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq
        )
    });
    let length: usize = repeated.map(|header| header.value.len() + 16).sum();
    let ours = response.lines.len() + response.body.len() + agent.map_or(0, str::len);
    let mut writer = Writer::response_of(response.status, length + ours + 256);
    writer.copy_vias(request, source);
    writer.copy(request, Name::From, "From");
    writer.header("Call-ID", request.call_id);
    writer.copy(request, Name::CSeq, "CSeq");
    if response.dialog {
        writer.copy(request, Name::RecordRoute, "Record-Route");
    }
    let to = request.header(Name::To).unwrap_or_default();
    write_to(&mut writer, to, request.to.tag().is_some(), response.tag);
    finish(writer, response, agent)
}

fn write_to(writer: &mut Writer, to: &[u8], has_tag: bool, tag: &str) {
    if has_tag || tag.is_empty() {
        writer.header("To", to);
    } else {
        writer.header_parts("To", &[to, b";tag=", tag.as_bytes()]);
    }
}

fn finish(mut writer: Writer, response: &Response<'_>, agent: Option<&str>) -> Result<Vec<u8>, BuildError> {
    writer.lines(response.lines);
    if let Some(agent) = agent {
        writer.header("Server", agent.as_bytes());
    }
    writer.finish(Some("application/sdp"), response.body)
}

/// A few short header lines, written in place.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: [u8; 256],
    length: usize,
}

impl Lines {
    /// Lines that do not fit are left out.
    pub fn new(lines: fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; 256];
        let mut rest = &mut bytes[..];
        let length = match rest.write_fmt(lines) {
            Ok(()) => 256 - rest.len(),
            Err(_) => 0,
        };
        Self { bytes, length }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
