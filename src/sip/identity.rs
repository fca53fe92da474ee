//! Who calls and whom, as an INVITE says it: From, P-Asserted-Identity, Remote-Party-ID, Privacy, Diversion
//! (RFC 3323, 3325, 5806), verstat.

use std::net::SocketAddr;

use crate::event::{IncomingInvite, Party};
use crate::message::{Address, Message, Name, Start, Uri, Writer, lossy, tokens};

/// Headers that the session writes itself.
fn is_reserved(name: Name) -> bool {
    matches!(
        name,
        Name::Via
            | Name::From
            | Name::To
            | Name::CallId
            | Name::CSeq
            | Name::Contact
            | Name::Route
            | Name::RecordRoute
            | Name::MaxForwards
            | Name::ContentLength
            | Name::ContentType
            | Name::ContentEncoding
            | Name::Require
            | Name::ProxyRequire
            | Name::Supported
            | Name::Allow
            | Name::SessionExpires
            | Name::MinSe
            | Name::RSeq
            | Name::RAck
            | Name::Authorization
            | Name::ProxyAuthorization
    )
}

/// Why a header may not stand on an INVITE of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefused {
    #[error("its name or value holds bytes that may not stand there, such as line ends")]
    Bytes,
    #[error("the switch writes this header itself")]
    Reserved,
}

/// Whether a header may be put on an INVITE: its texts cannot become another header, and it is none of those that
/// make the dialog.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderRefused> {
    if is_reserved(Name::from_bytes(name.as_bytes())) {
        return Err(HeaderRefused::Reserved);
    }
    let mut writer = Writer::fragment();
    writer.header(name, value.as_bytes());
    writer.into_lines().map(drop).map_err(|_| HeaderRefused::Bytes)
}

/// Most values read of one identity header.
const MAX_PARTIES: usize = 4;

/// Reads an incoming INVITE. `contact_user` is ours towards that peer.
pub(crate) fn incoming(
    request: &Message<'_>,
    sdp: Option<&[u8]>,
    contact_user: &str,
    source: SocketAddr,
) -> IncomingInvite {
    let text = match request.start {
        Start::Request { uri, .. } => uri,
        Start::Response { .. } => b"",
    };
    let uri = Uri::parse(text);
    let user = uri.map(|uri| uri.user_text()).unwrap_or_default();
    IncomingInvite {
        to_registration: !contact_user.is_empty() && user == contact_user,
        host: uri.map(|uri| lossy(uri.host).into_owned()).unwrap_or_default(),
        user,
        uri: lossy(text).into_owned(),
        to: party(&request.to),
        from: party(&request.from),
        asserted: asserted(request),
        withheld: is_withheld(request),
        verstat: verstat(request),
        diversion: parties(request, Name::Diversion),
        call_id: lossy(request.call_id).into_owned(),
        max_forwards: request
            .seconds(Name::MaxForwards)
            .and_then(|hops| u8::try_from(hops).ok())
            .unwrap_or(70),
        user_agent: request
            .header(Name::UserAgent)
            .map(|agent| lossy(agent).into_owned()),
        source: Some(source),
        sdp: sdp.map(<[u8]>::to_vec),
    }
}

fn party(address: &Address<'_>) -> Party {
    Party {
        display: address.display_text(),
        uri: lossy(address.uri).into_owned(),
    }
}

fn parties(request: &Message<'_>, name: Name) -> Vec<Party> {
    request
        .values(name)
        .take(MAX_PARTIES)
        .filter_map(Address::parse)
        .map(|address| party(&address))
        .collect()
}

/// P-Asserted-Identity counts most, then Remote-Party-ID, then P-Preferred-Identity.
fn asserted(request: &Message<'_>) -> Vec<Party> {
    [
        Name::PAssertedIdentity,
        Name::RemotePartyId,
        Name::PPreferredIdentity,
    ]
    .into_iter()
    .map(|name| parties(request, name))
    .find(|found| !found.is_empty())
    .unwrap_or_default()
}

fn is_withheld(request: &Message<'_>) -> bool {
    let by_privacy = request
        .headers()
        .iter()
        .filter(|header| header.name == Name::Privacy)
        .any(|header| {
            header
                .value
                .split(|byte| matches!(byte, b';' | b','))
                .flat_map(tokens)
                .any(|level| {
                    [&b"id"[..], b"user", b"header"]
                        .iter()
                        .any(|hidden| level.eq_ignore_ascii_case(hidden))
                })
        });
    let by_rpid = request
        .values(Name::RemotePartyId)
        .take(MAX_PARTIES)
        .filter_map(Address::parse)
        .any(|address| {
            address.params.get("privacy").is_some_and(|level| {
                level.eq_ignore_ascii_case(b"full") || level.eq_ignore_ascii_case(b"uri")
            })
        });
    let from = request.from.parsed_uri();
    let anonymous = from.is_some_and(|uri| {
        uri.host.eq_ignore_ascii_case(b"anonymous.invalid") || uri.user.eq_ignore_ascii_case(b"anonymous")
    });
    by_privacy || by_rpid || anonymous
}

/// `verstat` stands in the user part or among the URI or header parameters of PAI or From.
fn verstat(request: &Message<'_>) -> Option<String> {
    let asserted = request
        .values(Name::PAssertedIdentity)
        .take(MAX_PARTIES)
        .filter_map(Address::parse);
    asserted.chain([request.from]).find_map(|address| {
        let uri = address.parsed_uri()?;
        let in_user = crate::message::Params(uri.user).get("verstat");
        let found = in_user
            .or_else(|| uri.params.get("verstat"))
            .or_else(|| address.params.get("verstat"))?;
        Some(lossy(found).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &str) -> IncomingInvite {
        let text = format!(
            "INVITE sip:+15550100;npdi@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
             To: <sip:+15550100@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
        );
        let mut scratch = Vec::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        incoming(&message, None, "k9", "192.0.2.9:5060".parse().unwrap())
    }

    #[test]
    fn the_asserted_identity_its_verstat_and_the_diversion_are_read() {
        let invite = read(
            "From: \"A\" <sip:+15550101@h>;tag=1\r\n\
             P-Asserted-Identity: \"Ann\" <sip:+15550102;verstat=TN-Validation-Passed@h>, <tel:+15550102>\r\n\
             Remote-Party-ID: <sip:+15550199@h>;privacy=off\r\n\
             Diversion: <sip:+15550103@h>;reason=unconditional\r\n",
        );
        assert_eq!(invite.user, "+15550100");
        assert_eq!(invite.asserted.len(), 2);
        assert_eq!(invite.asserted[0].display.as_deref(), Some("Ann"));
        assert_eq!(invite.verstat.as_deref(), Some("TN-Validation-Passed"));
        assert_eq!(invite.diversion[0].uri, "sip:+15550103@h");
        assert!(!invite.withheld && !invite.to_registration);
    }

    #[test]
    fn every_way_of_hiding_is_seen() {
        for headers in [
            "From: <sip:+1@h>;tag=1\r\nPrivacy: critical;ID\r\n",
            "From: <sip:+1@h>;tag=1\r\nRemote-Party-ID: <sip:+1@h>;privacy=full\r\n",
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1\r\n",
        ] {
            assert!(read(headers).withheld, "{headers}");
        }
        assert!(!read("From: <sip:+1@h>;tag=1\r\nPrivacy: none\r\n").withheld);
    }
}
