//! What a request must and must not say to be served (RFC 3261 §8.2).

use super::Extensions;
use crate::message::{Address, Message, Name, Writer};

/// The Unsupported line for a request that requires what we do not have (RFC 3261 §8.2.2.3).
pub(crate) fn unsupported(request: &Message<'_>, extensions: Extensions) -> Option<Vec<u8>> {
    let unknown: Vec<&[u8]> = [Name::Require, Name::ProxyRequire]
        .into_iter()
        .flat_map(|name| request.values(name))
        .filter(|option| !extensions.knows(option))
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let mut writer = Writer::fragment();
    writer.header("Unsupported", &unknown.join(&b", "[..]));
    writer.into_lines().ok()
}

/// Whether a request that wants a session takes SDP in return (RFC 3261 §20.1, RFC 4475 §3.3.15).
pub(crate) fn takes_sdp(request: &Message<'_>) -> bool {
    if request.header(Name::Accept).is_none() {
        return true;
    }
    request.values(Name::Accept).any(|range| {
        let (kind, _) = crate::body::split_type(range);
        ["application/sdp", "application/*", "*/*"]
            .iter()
            .any(|ours| kind.eq_ignore_ascii_case(ours.as_bytes()))
    })
}

/// Whether a request names where the peer wants to be reached: its first Contact is an address (RFC 3261 §8.1.1.8).
pub(crate) fn has_contact(request: &Message<'_>) -> bool {
    let first = request.values(Name::Contact).next();
    let contact = first.and_then(Address::parse);
    contact.is_some_and(|contact| contact.parsed_uri().is_some())
}
