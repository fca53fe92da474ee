//! Dialogs: whom a request within a call goes to (RFC 3261 §12).
//!
//! In: the message that made or refreshed the dialog. Out: the Request-URI, the Route lines and the address of the
//! next hop. It must never send to a private or local address that only a Contact names: then the address that the
//! peer was last heard from counts.

use std::net::{IpAddr, SocketAddr};

use crate::message::{Address, Message, Name, Uri, Writer};
use crate::peer::{Peer, Transport};
use crate::wire::Path;

/// Most Route entries kept of one message.
const MAX_ROUTES: usize = 16;

/// Most ACKs kept of one dialog; older 2xx are not repeated any more.
const MAX_ACKS: usize = 4;

/// The ACK of one 2xx, kept to be sent again for each copy of that 2xx.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub cseq: u32,
    pub bytes: Vec<u8>,
    pub path: Path,
}

#[derive(Debug)]
pub(crate) struct Dialog {
    pub remote_tag: Box<[u8]>,
    /// The remote target: the peer's Contact URI.
    pub target: Box<[u8]>,
    /// Route values, next hop first.
    pub routes: Vec<Box<[u8]>>,
    /// CSeq of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// Where the peer was last heard from.
    pub path: Path,
    /// The latest ACKs, oldest first.
    acks: Vec<Ack>,
    /// SDP of an early answer.
    pub early_sdp: Option<Vec<u8>>,
    /// RSeq of the last reliable provisional response acknowledged (RFC 3262 §4).
    pub rseq: Option<u32>,
}

impl Dialog {
    /// Makes our side from a response to our INVITE: Record-Route reversed (§12.1.2).
    pub fn from_response(response: &Message<'_>, path: Path) -> Self {
        let mut dialog = Self::new(response.to.tag().unwrap_or_default(), path);
        dialog.refresh_routes(response);
        dialog.refresh_target(response);
        dialog
    }

    /// Makes our side from a peer's INVITE: Record-Route in order (§12.1.1).
    pub fn from_request(request: &Message<'_>, path: Path) -> Self {
        let mut dialog = Self::new(request.from.tag().unwrap_or_default(), path);
        dialog.routes = request
            .values(Name::RecordRoute)
            .take(MAX_ROUTES)
            .map(Box::from)
            .collect();
        dialog.remote_cseq = Some(request.cseq.number);
        dialog.refresh_target(request);
        dialog
    }

    fn new(remote_tag: &[u8], path: Path) -> Self {
        Self {
            remote_tag: remote_tag.into(),
            target: Box::default(),
            routes: Vec::new(),
            remote_cseq: None,
            path,
            acks: Vec::new(),
            early_sdp: None,
            rseq: None,
        }
    }

    /// Takes the route set of a 2xx, which replaces that of the early dialog (§13.2.2.4).
    pub fn refresh_routes(&mut self, response: &Message<'_>) {
        self.routes = response
            .values(Name::RecordRoute)
            .take(MAX_ROUTES)
            .map(Box::from)
            .collect();
        self.routes.reverse();
    }

    /// Takes a new remote target from the Contact of a target refresh (§12.2).
    pub fn refresh_target(&mut self, message: &Message<'_>) {
        let contact = message.values(Name::Contact).next().and_then(Address::parse);
        if let Some(contact) = contact.filter(|contact| contact.parsed_uri().is_some()) {
            self.target = contact.uri.into();
        }
    }

    /// The ACK sent for the 2xx with this CSeq.
    pub fn ack(&self, cseq: u32) -> Option<&Ack> {
        self.acks.iter().find(|ack| ack.cseq == cseq)
    }

    /// Whether the dialog is early: nothing was answered in it.
    pub fn is_spare(&self) -> bool {
        self.acks.is_empty()
    }

    pub fn keep_ack(&mut self, ack: Ack) {
        if self.acks.len() >= MAX_ACKS {
            self.acks.remove(0);
        }
        // Most dialogs have one.
        self.acks.reserve_exact(1);
        self.acks.push(ack);
    }

    /// The Request-URI and the Route lines (§12.2.1.1), with strict routers served too.
    pub fn addressing(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self.routes.first().and_then(|route| Address::parse(route));
        let strict = first
            .as_ref()
            .and_then(Address::parsed_uri)
            .filter(|uri| !uri.is_loose());
        let mut lines = Writer::fragment();
        let Some(strict) = strict else {
            for route in &self.routes {
                lines.header("Route", route);
            }
            return (self.target.to_vec(), lines.into_lines().unwrap_or_default());
        };
        for route in &self.routes[1..] {
            lines.header("Route", route);
        }
        lines.header("Route", &[b"<", &self.target[..], b">"].concat());
        (strict.text.to_vec(), lines.into_lines().unwrap_or_default())
    }

    /// The way by which the peer was heard.
    pub fn heard_from(&self, peer: Option<&Peer>) -> Path {
        Path {
            peer: peer.map(|peer| peer.id).or(self.path.peer),
            ..self.path
        }
    }

    /// Where requests of this dialog go.
    pub fn next_hop(&self, peer: Option<&Peer>) -> Path {
        let first = self.routes.first().and_then(|route| Address::parse(route));
        let uri = first.as_ref().map_or(&self.target[..], |route| route.uri);
        let uri = Uri::parse(uri);
        let asked = uri.map_or(self.path.transport, |uri| transport_of(&uri, self.path.transport));
        let remote = uri.and_then(|uri| reachable(&uri, peer, asked));
        let transport = remote.map_or(self.path.transport, |_| asked);
        // A peer behind NAT, or one that never listens, is reached by the connection that it opened itself.
        let same_host = remote.is_none_or(|remote| remote.ip() == self.path.remote.ip());
        Path {
            remote: remote.unwrap_or(self.path.remote),
            peer: peer.map(|peer| peer.id).or(self.path.peer),
            connection: self
                .path
                .connection
                .filter(|_| same_host && transport == self.path.transport),
            transport,
            ..self.path
        }
    }
}

/// The transport that a URI asks for (RFC 3261 §19.1.1), else that of the dialog. A dialog over TLS stays there, and none
/// moves to it: the name that a certificate must bear is known of a trunk on TLS only.
fn transport_of(uri: &Uri<'_>, current: Transport) -> Transport {
    let asked = uri.params.get("transport").unwrap_or_default();
    match current {
        Transport::Udp if asked.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
        Transport::Tcp if asked.eq_ignore_ascii_case(b"udp") => Transport::Udp,
        current => current,
    }
}

/// The address a URI names, when it is one that may be sent to.
fn reachable(uri: &Uri<'_>, peer: Option<&Peer>, transport: Transport) -> Option<SocketAddr> {
    let address = uri.address()?;
    let port = uri.port.unwrap_or(transport.default_port());
    let allowed = peer.is_some_and(|peer| peer.owns(address)) || (is_public(address) && port >= 1024);
    allowed.then_some(SocketAddr::new(address, port))
}

/// Whether an address is one of the open network: not local, private, shared, multicast or reserved.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            !(four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_multicast()
                || four.is_broadcast()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second)))
        }
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => is_public(IpAddr::V4(four)),
            None => {
                let first = six.segments()[0];
                !(six.is_loopback()
                    || six.is_unspecified()
                    || six.is_multicast()
                    || first & 0xfe00 == 0xfc00
                    || first & 0xffc0 == 0xfe80)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Network, PeerId};

    fn path() -> Path {
        let local = "192.0.2.1:5060".parse().unwrap();
        Path {
            local,
            remote: "198.51.100.9:5066".parse().unwrap(),
            transport: Transport::Udp,
            advertised: local,
            peer: None,
            connection: None,
        }
    }

    fn from_response(headers: &str) -> Dialog {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
        );
        let mut scratch = Vec::new();
        Dialog::from_response(&Message::parse(text.as_bytes(), &mut scratch).unwrap(), path())
    }

    #[test]
    fn record_routes_of_a_response_are_reversed_and_the_contact_is_the_request_uri() {
        let dialog = from_response(
            "Record-Route: <sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>\r\nContact: <sip:b@203.0.113.5:5070;x=1>\r\n",
        );
        let (uri, routes) = dialog.addressing();
        assert_eq!(uri, b"sip:b@203.0.113.5:5070;x=1");
        assert_eq!(
            routes,
            b"Route: <sip:198.51.100.2;lr>\r\nRoute: <sip:198.51.100.1;lr>\r\n"
        );
        assert_eq!(dialog.next_hop(None).remote, "198.51.100.2:5060".parse().unwrap());
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri_and_the_target_the_last_route() {
        let dialog = from_response("Record-Route: <sip:a@198.51.100.1>\r\nContact: <sip:b@203.0.113.5>\r\n");
        let (uri, routes) = dialog.addressing();
        assert_eq!(uri, b"sip:a@198.51.100.1");
        assert_eq!(routes, b"Route: <sip:b@203.0.113.5>\r\n");
    }

    #[test]
    fn a_uri_says_how_it_is_reached_and_never_leads_out_of_tls() {
        let mut dialog = from_response("Contact: <sip:b@203.0.113.5:5070;transport=TCP>\r\n");
        assert_eq!(dialog.next_hop(None).transport, Transport::Tcp);
        dialog.path.transport = Transport::Tls;
        assert_eq!(dialog.next_hop(None).transport, Transport::Tls);
        let dialog = from_response("Contact: <sip:b@203.0.113.5;transport=tls>\r\n");
        assert_eq!(dialog.next_hop(None).transport, Transport::Udp);
        let private = from_response("Contact: <sip:b@10.0.0.1;transport=tcp>\r\n");
        assert_eq!(private.next_hop(None), Path { peer: None, ..path() });
    }

    #[test]
    fn private_contacts_and_names_fall_back_to_where_the_peer_was_heard_from() {
        for contact in [
            "sip:b@10.0.0.1",
            "sip:b@127.0.0.1:22",
            "sip:b@169.254.169.254",
            "sip:b@pbx.example.com",
        ] {
            let dialog = from_response(&format!("Contact: <{contact}>\r\n"));
            assert_eq!(dialog.next_hop(None).remote, path().remote, "{contact}");
        }
        let dialog = from_response("Contact: <sip:b@10.0.0.1:5070>\r\n");
        let mut peer = Peer::new(PeerId(1), path().local, vec![]);
        peer.networks.push(Network {
            address: "10.0.0.0".parse().unwrap(),
            prefix: 8,
        });
        assert_eq!(
            dialog.next_hop(Some(&peer)).remote,
            "10.0.0.1:5070".parse().unwrap()
        );
    }
}
