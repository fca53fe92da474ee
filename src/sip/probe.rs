//! Whether a peer is there: OPTIONS pings (RFC 3261 §11), keep-alives, and targets that failed.

use std::net::SocketAddr;
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::message::{Message, Method, Writer};
use crate::peer::PeerId;
use crate::transaction::Tell;
use crate::wire::{Owner, Report};

impl Endpoint {
    /// Whether a request to the peer would go to a target that did not fail within the last half minute.
    pub fn is_awake(&self, now: Instant, peer: PeerId) -> bool {
        let entry = self.wire.peers.get(peer);
        entry.is_some_and(|entry| entry.is_awake(now))
    }

    /// Sends two line ends to the peer's best target, so that a NAT on the way keeps its door open (RFC 5626 §3.5.1).
    pub fn keep_alive(&mut self, now: Instant, peer: PeerId) {
        if let Some(path) = self.wire.peers.get(peer).and_then(|entry| entry.best_path(now)) {
            self.wire.send(path, b"\r\n\r\n".to_vec());
        }
    }

    /// Sends OPTIONS to the peer's best target; `Probed` follows.
    pub fn probe(&mut self, now: Instant, peer: PeerId) {
        let Some((path, contact)) = self
            .wire
            .peers
            .get(peer)
            .and_then(|entry| Some((entry.best_path(now)?, entry.contact())))
        else {
            return;
        };
        let (tag, call_id) = (self.wire.random(), self.wire.random());
        let sent = self
            .wire
            .request(now, path, Owner::Probe(peer), Method::Options, |via| {
                let mut writer = Writer::request("OPTIONS", format!("sip:{}", path.remote).as_bytes());
                writer.header("Via", via);
                writer.header("Max-Forwards", b"70");
                writer.header_fmt("From", format_args!("<{contact}>;tag={tag:016x}"));
                writer.header_fmt("To", format_args!("<sip:{}>", path.remote));
                writer.header_fmt("Call-ID", format_args!("{call_id:016x}"));
                writer.header("CSeq", b"1 OPTIONS");
                writer.header_fmt("Contact", format_args!("<{contact}>"));
                writer.header("Accept", b"application/sdp");
                writer.finish(None, b"")
            });
        self.probes.extend(sent.ok().map(|key| (key, now)));
    }

    pub(crate) fn on_probe_report(
        &mut self,
        now: Instant,
        report: Report,
        peer: PeerId,
        response: Option<(&Message<'_>, SocketAddr)>,
    ) {
        if matches!(report.tell, None | Some(Tell::Provisional)) {
            return;
        }
        let Some(at) = self.probes.iter().position(|(key, _)| *key == report.transaction) else {
            return;
        };
        let (_, sent_at) = self.probes.swap_remove(at);
        let status = match report.tell {
            Some(Tell::Unreachable) => 503,
            _ => response
                .and_then(|(response, _)| response.status())
                .unwrap_or(408),
        };
        let asked = self
            .wire
            .request_of(report.transaction)
            .map(|(_, path)| path.remote);
        match asked {
            Some(target) if matches!(status, 408 | 503) => self.wire.peers.rest(now, peer, target, None),
            Some(target) => self.wire.peers.wake(peer, target),
            None => {}
        }
        let entry = self.wire.peers.get(peer);
        let seen = entry
            .zip(response)
            .and_then(|(entry, (response, _))| entry.seen_elsewhere(response));
        if let Some(address) = seen {
            self.wire.tell(Event::PublicAddress { peer, address });
        }
        self.wire.tell(Event::Probed {
            peer,
            status,
            after: now.duration_since(sent_at),
        });
    }
}
