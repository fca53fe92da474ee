//! What a response repeats of its request (RFC 3261 §8.2.6).

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
        if self.to_has_tag || response.tag.is_empty() {
            writer.header("To", &self.to);
        } else {
            let mut to = Vec::with_capacity(self.to.len() + 5 + response.tag.len());
            to.extend_from_slice(&self.to);
            to.extend_from_slice(b";tag=");
            to.extend_from_slice(response.tag.as_bytes());
            writer.header("To", &to);
        }
        writer.lines(response.lines);
        if let Some(agent) = agent {
            writer.header("Server", agent.as_bytes());
        }
        writer.finish(Some("application/sdp"), response.body)
    }
}
