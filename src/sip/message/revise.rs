//! Requests made from a request we already sent: the same with credentials or another target, its ACK, its CANCEL.

use super::{BuildError, Message, Name, Start, Writer};

/// What changes when a request is sent again as a new transaction.
#[derive(Debug)]
pub struct Revision<'a> {
    /// The new top Via value.
    pub via: &'a [u8],
    pub cseq: u32,
    /// Header lines with credentials; they replace those of the first request. Line ends included.
    pub credentials: &'a [u8],
    /// Headers to replace: name, text of the name, new value.
    pub replace: &'a [(Name, &'static str, String)],
}

/// Builds `request` again with a new Via, CSeq and credentials (RFC 3261 §8.1.3.5, §22.2).
pub fn revise(request: &Message<'_>, revision: &Revision<'_>) -> Result<Vec<u8>, BuildError> {
    let Start::Request { method_text, uri, .. } = request.start else {
        return Err(BuildError::Name);
    };
    let method = std::str::from_utf8(method_text).map_err(|_| BuildError::Name)?;
    let mut writer = Writer::request(method, uri);
    writer.header("Via", revision.via);
    for header in request.headers() {
        let replaced = revision.replace.iter().any(|(name, ..)| *name == header.name);
        match header.name {
            Name::Via | Name::ContentLength | Name::ContentType => {}
            Name::Authorization | Name::ProxyAuthorization if !revision.credentials.is_empty() => {}
            Name::CSeq => {
                writer.header_fmt("CSeq", format_args!("{} {method}", revision.cseq));
            }
            _ if replaced => {}
            _ => {
                let name = std::str::from_utf8(header.name_text).map_err(|_| BuildError::Name)?;
                writer.header(name, header.value);
            }
        }
    }
    for (_, name, value) in revision.replace {
        writer.header(name, value.as_bytes());
    }
    writer.lines(revision.credentials);
    let content_type = request
        .header(Name::ContentType)
        .and_then(|value| std::str::from_utf8(value).ok());
    writer.finish(content_type, request.body)
}

/// Builds the ACK for a non-2xx final response to `invite`; its To comes from the response (RFC 3261 §17.1.1.3).
pub fn ack_for_failure(invite: &Message<'_>, to: &[u8]) -> Result<Vec<u8>, BuildError> {
    hop_by_hop(invite, "ACK", to, &[])
}

/// Builds the CANCEL for `invite` (RFC 3261 §9.1), with extra header lines such as Reason.
pub fn cancel_for(invite: &Message<'_>, extra: &[u8]) -> Result<Vec<u8>, BuildError> {
    let to = invite.header(Name::To).unwrap_or_default();
    hop_by_hop(invite, "CANCEL", to, extra)
}

fn hop_by_hop(invite: &Message<'_>, method: &str, to: &[u8], extra: &[u8]) -> Result<Vec<u8>, BuildError> {
    let Start::Request { uri, .. } = invite.start else {
        return Err(BuildError::Name);
    };
    let mut writer = Writer::request(method, uri);
    writer.header("Via", invite.header(Name::Via).unwrap_or_default());
    writer.copy(invite, Name::Route, "Route");
    writer.header("Max-Forwards", b"70");
    writer.copy(invite, Name::From, "From");
    writer.header("To", to);
    writer.header("Call-ID", invite.call_id);
    writer.header_fmt("CSeq", format_args!("{} {method}", invite.cseq.number));
    writer.lines(extra);
    writer.finish(None, b"")
}
