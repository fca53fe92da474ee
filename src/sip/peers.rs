//! The peers an endpoint knows, and which of them a request is from.

use std::net::{IpAddr, SocketAddr};

use crate::peer::{Peer, PeerId};
use crate::registration::Binding;
use crate::wire::Path;

/// A peer with what the endpoint keeps for it.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    pub peer: Peer,
    /// The user part of our Contact: unguessable, so that it also tells whose call comes in.
    pub contact_user: String,
    pub binding: Option<Box<Binding>>,
    /// It is about to be forgotten; others at its addresses come first.
    pub retired: bool,
    /// Route values that the registrar wants on our requests (RFC 3608).
    pub service_route: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Peers {
    entries: Vec<PeerEntry>,
}

impl Peers {
    pub fn get(&self, id: PeerId) -> Option<&PeerEntry> {
        self.entries.iter().find(|entry| entry.peer.id == id)
    }

    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut PeerEntry> {
        self.entries.iter_mut().find(|entry| entry.peer.id == id)
    }

    pub fn set(&mut self, peer: Peer, contact_user: String) {
        match self.get_mut(peer.id) {
            Some(entry) => entry.peer = peer,
            None => self.entries.push(PeerEntry {
                peer,
                contact_user,
                binding: None,
                retired: false,
                service_route: Vec::new(),
            }),
        }
    }

    pub fn remove(&mut self, id: PeerId) {
        self.entries.retain(|entry| entry.peer.id != id);
    }

    pub fn owns(&self, source: IpAddr) -> bool {
        self.entries.iter().any(|entry| entry.peer.owns(source))
    }

    /// Whose request this is: whom its connection proved to be, else whose its source address is.
    pub fn sender(&self, path: Path, request_user: &[u8]) -> Option<&PeerEntry> {
        match path.peer {
            Some(id) => self.get(id),
            None => self.find(path.remote, request_user),
        }
    }

    /// Finds whose request this is. Of several peers at one address: the one whose Contact user the request names,
    /// then the one with that very port, then the first; one that is retired comes last unless it is named.
    fn find(&self, source: SocketAddr, request_user: &[u8]) -> Option<&PeerEntry> {
        let mut best: Option<(u8, &PeerEntry)> = None;
        for entry in self.entries.iter().filter(|entry| entry.peer.owns(source.ip())) {
            let rank = match () {
                () if entry.contact_user.as_bytes() == request_user => 3,
                () if entry.retired => 0,
                () if entry.peer.targets.contains(&source) => 2,
                () => 1,
            };
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, entry));
            }
        }
        best.map(|(_, entry)| entry)
    }
}

impl PeerEntry {
    /// The way to the peer's target number `index`.
    pub fn path(&self, index: usize) -> Option<Path> {
        let remote = *self.peer.targets.get(index)?;
        let (local, transport, advertised) = (self.peer.local, self.peer.transport, self.peer.advertised());
        Some(Path {
            local,
            remote,
            transport,
            advertised,
            peer: Some(self.peer.id),
            connection: None,
        })
    }

    /// Route values of a request outside dialogs: the registrar's, else the configured proxy.
    pub fn routes(&self) -> Vec<String> {
        match self.service_route.is_empty() {
            true => self.peer.route.iter().cloned().collect(),
            false => self.service_route.clone(),
        }
    }

    /// Our Contact URI towards this peer.
    pub fn contact(&self) -> String {
        let advertised = self.peer.advertised();
        match self.peer.transport {
            crate::peer::Transport::Udp => format!("sip:{}@{advertised}", self.contact_user),
            crate::peer::Transport::Tcp => format!("sip:{}@{advertised};transport=tcp", self.contact_user),
            crate::peer::Transport::Tls => format!("sip:{}@{advertised};transport=tls", self.contact_user),
        }
    }
}
