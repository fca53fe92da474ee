//! The open connections: which of them a message goes by, who may open one, and what their ends mean.
//!
//! A connection that we opened serves requests to the very trunk whose name its certificate bears, never to another at
//! the same address (CVE-2020-15260). One that was opened to us serves what came by it: responses, and requests of
//! the calls that it brought.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use sip::Transport;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connection::{ConnectionId, Line, Notice, Patience, Shared, connect, prepare};
use super::tls::{Tls, TrunkTls};
use crate::units::TrunkName;

/// Connections that others opened, in all, of those that are no trunks, and of one such source.
const MOST_ACCEPTED: usize = 512;
const MOST_STRANGERS: usize = 384;
const MOST_OF_SOURCE: usize = 16;
/// Connections that we opened.
const MOST_OPENED: usize = 256;
/// Messages and bytes that may wait to be sent by one connection.
const QUEUE: usize = 256;
const QUEUED_BYTES: usize = 1 << 20;
/// News that may wait to be looked at; connections wait when it is full, in turn.
const NOTICES: usize = 128;

/// How a connection came about.
enum Origin {
    Accepted {
        /// The trunk that its certificate names, where certificates are asked for.
        proved: Option<TrunkName>,
        certificate: Option<CertificateDer<'static>>,
    },
    Opened {
        trunk: Option<TrunkName>,
        tls: Option<Arc<TrunkTls>>,
    },
}

struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    transport: Transport,
    origin: Origin,
    outgoing: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    carried_requests: bool,
}

impl Connection {
    /// The only trunk that it served.
    fn served(&self) -> Option<TrunkName> {
        match &self.origin {
            Origin::Opened { trunk, tls: Some(_) } => trunk.clone(),
            _ => None,
        }
    }

    fn is_known(&self) -> bool {
        self.shared.is_known.load(Ordering::Relaxed)
    }
}

/// Where a message goes; see [`sip::Output::Transmit`].
#[derive(Debug)]
pub struct Way {
    pub local: SocketAddr,
    pub destination: SocketAddr,
    pub transport: Transport,
    pub trunk: Option<TrunkName>,
    pub connection: Option<SocketAddr>,
}

/// A message that came.
#[derive(Debug)]
pub struct Heard {
    pub connection: ConnectionId,
    pub local: SocketAddr,
    pub source: SocketAddr,
    pub transport: Transport,
    /// The trunk that the sender proved to be.
    pub proved: Option<TrunkName>,
    /// The sender is not known to be a trunk.
    pub is_stranger: bool,
    pub bytes: Vec<u8>,
}

/// What the SIP core must learn of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It was open and is no more. Over TLS it served one trunk only.
    Connection {
        trunk: Option<TrunkName>,
        remote: SocketAddr,
        transport: Transport,
    },
    /// It could not be opened, over TLS for one trunk.
    Unreachable {
        trunk: Option<TrunkName>,
        remote: SocketAddr,
        transport: Transport,
    },
}

/// All connections over TCP and TLS.
pub struct Connections {
    tls: Tls,
    open: HashMap<ConnectionId, Connection>,
    by_remote: HashMap<(Transport, SocketAddr), Vec<ConnectionId>>,
    next: ConnectionId,
    patience: Patience,
    notices: mpsc::Receiver<Notice>,
    notices_in: mpsc::Sender<Notice>,
    lost: VecDeque<Lost>,
    unsent: u64,
}

impl Connections {
    pub fn new(tls: Tls) -> Self {
        Self::with_patience(tls, Patience::default())
    }

    pub fn with_patience(tls: Tls, patience: Patience) -> Self {
        let (notices_in, notices) = mpsc::channel(NOTICES);
        Self {
            tls,
            open: HashMap::new(),
            by_remote: HashMap::new(),
            next: 1,
            patience,
            notices,
            notices_in,
            lost: VecDeque::new(),
            unsent: 0,
        }
    }

    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Messages that no connection took.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Uses other certificates for connections from now on. Whoever proved a name to us that would prove nothing any
    /// more, or another trunk's, must connect again.
    pub fn renew(&mut self, tls: Tls) {
        let others_vouch = self.tls.client_roots != tls.client_roots;
        self.tls.renew(tls);
        let is_stale = |connection: &Connection| match &connection.origin {
            Origin::Accepted {
                proved: Some(trunk),
                certificate,
            } => {
                let stands_for = certificate.as_ref().and_then(|shown| self.tls.trunk_of(shown));
                others_vouch || stands_for.as_ref() != Some(trunk)
            }
            _ => false,
        };
        let open = self.open.iter();
        let stale: Vec<ConnectionId> = open
            .filter(|(_, connection)| is_stale(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            if let Some(connection) = self.remove(id) {
                tracing::info!(remote = %connection.remote, "a connection was closed: its name proves nothing now");
                self.tell_lost(&connection);
            }
        }
    }

    pub fn poll_notice(&mut self, context: &mut Context<'_>) -> Poll<Notice> {
        match self.notices.poll_recv(context) {
            Poll::Ready(Some(notice)) => Poll::Ready(notice),
            _ => Poll::Pending,
        }
    }

    /// Another notice that waits already.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.try_recv().ok()
    }

    pub fn next_lost(&mut self) -> Option<Lost> {
        self.lost.pop_front()
    }

    /// Takes a connection that was opened to us, unless there are too many. One of a trunk's address always finds a
    /// place that strangers cannot take.
    pub fn accept(&mut self, transport: Transport, stream: TcpStream, remote: SocketAddr, is_known: bool) {
        if !self.has_room(remote.ip(), is_known) {
            tracing::debug!(%remote, "too many connections: one was refused");
            return;
        }
        let (Ok(local), server) = (stream.local_addr(), self.tls.server.clone()) else {
            return;
        };
        prepare(&stream);
        let origin = Origin::Accepted {
            proved: None,
            certificate: None,
        };
        let (line, outgoing) = self.add(local, remote, transport, origin, is_known);
        match (transport, server) {
            (Transport::Tls, Some(server)) => {
                let acceptor = TlsAcceptor::from(server);
                tokio::spawn(async move {
                    match timeout(line.patience.handshake, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            let proved = stream.get_ref().1.peer_certificates();
                            let certificate = proved.and_then(|chain| chain.first().cloned());
                            line.serve(stream, certificate, outgoing).await;
                        }
                        Ok(Err(error)) => line.down(false, error.to_string()).await,
                        Err(_) => line.down(false, "the handshake took too long".to_owned()).await,
                    }
                });
            }
            _ => {
                tokio::spawn(line.serve(stream, None, outgoing));
            }
        }
    }

    fn has_room(&self, source: IpAddr, is_known: bool) -> bool {
        let accepted = || {
            let all = self.open.values();
            all.filter(|connection| matches!(connection.origin, Origin::Accepted { .. }))
        };
        if is_known {
            return accepted().count() < MOST_ACCEPTED;
        }
        let strangers = || accepted().filter(|connection| !connection.is_known());
        let of_source = strangers().filter(|connection| network(connection.remote.ip()) == network(source));
        strangers().count() < MOST_STRANGERS && of_source.count() < MOST_OF_SOURCE
    }

    /// Sends by the open connection that the way names, else by one that proved to be the trunk's, else by a new one.
    pub fn send(&mut self, way: &Way, bytes: Vec<u8>) {
        let tls = way
            .trunk
            .as_ref()
            .and_then(|trunk| self.tls.trunk(trunk))
            .cloned();
        let named = way
            .connection
            .and_then(|remote| self.find(remote, true, way, tls.as_ref()));
        let chosen = named
            .or_else(|| self.find(way.destination, false, way, tls.as_ref()))
            .or_else(|| self.open(way, tls));
        match chosen {
            Some(connection) => self.push(connection, bytes),
            None => {
                self.unsent += 1;
                let trunk = way.trunk.clone();
                self.lost.push_back(Lost::Unreachable {
                    trunk: trunk.filter(|_| way.transport == Transport::Tls),
                    remote: way.destination,
                    transport: way.transport,
                });
            }
        }
    }

    fn find(
        &self,
        remote: SocketAddr,
        came_by_it: bool,
        way: &Way,
        tls: Option<&Arc<TrunkTls>>,
    ) -> Option<ConnectionId> {
        let candidates = self.by_remote.get(&(way.transport, remote))?;
        let serves = |id: &&ConnectionId| match self.open.get(id).map(|connection| &connection.origin) {
            Some(Origin::Accepted { .. }) => came_by_it,
            Some(Origin::Opened { tls: theirs, .. }) => match (theirs, tls) {
                (Some(theirs), Some(ours)) => Arc::ptr_eq(theirs, ours),
                (None, _) => way.transport == Transport::Tcp,
                _ => false,
            },
            None => false,
        };
        candidates.iter().find(serves).copied()
    }

    fn open(&mut self, way: &Way, tls: Option<Arc<TrunkTls>>) -> Option<ConnectionId> {
        let trunk = way.trunk.clone()?;
        let opened = |connection: &&Connection| matches!(connection.origin, Origin::Opened { .. });
        if self.open.values().filter(opened).count() >= MOST_OPENED {
            tracing::warn!(%trunk, "too many connections are open: no other is opened");
            return None;
        }
        let (local, remote) = (way.local, way.destination);
        let tls = match (way.transport, tls) {
            (Transport::Tcp, _) => None,
            (Transport::Tls, Some(tls)) => Some(tls),
            _ => return None,
        };
        let origin = Origin::Opened {
            trunk: Some(trunk),
            tls: tls.clone(),
        };
        let (line, outgoing) = self.add(local, remote, way.transport, origin, true);
        let connection = line.id;
        tokio::spawn(async move {
            let patience = line.patience;
            let stream = match timeout(patience.connect, connect(local, remote)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return line.down(false, error.to_string()).await,
                Err(_) => return line.down(false, "no answer".to_owned()).await,
            };
            let Some(tls) = tls else {
                return line.serve(stream, None, outgoing).await;
            };
            let connector = TlsConnector::from(Arc::clone(&tls.config));
            match timeout(patience.handshake, connector.connect(tls.name.clone(), stream)).await {
                Ok(Ok(stream)) => line.serve(stream, None, outgoing).await,
                Ok(Err(error)) => line.down(false, error.to_string()).await,
                Err(_) => line.down(false, "the handshake took too long".to_owned()).await,
            }
        });
        Some(connection)
    }

    fn add(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        transport: Transport,
        origin: Origin,
        is_known: bool,
    ) -> (Line, mpsc::Receiver<Vec<u8>>) {
        let id = self.next;
        self.next += 1;
        let (outgoing, outgoing_out) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        shared.is_known.store(is_known, Ordering::Relaxed);
        let line = Line {
            id,
            shared: Arc::clone(&shared),
            pong: outgoing.downgrade(),
            notices: self.notices_in.clone(),
            patience: self.patience,
            keeps_alive: matches!(origin, Origin::Opened { .. }),
        };
        self.by_remote.entry((transport, remote)).or_default().push(id);
        let connection = Connection {
            local,
            remote,
            transport,
            origin,
            outgoing,
            shared,
            carried_requests: false,
        };
        self.open.insert(id, connection);
        (line, outgoing_out)
    }

    fn push(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        connection.carried_requests |= !bytes.starts_with(b"SIP/2.0 ") && bytes != b"\r\n";
        let length = bytes.len();
        let queued = connection.shared.queued.fetch_add(length, Ordering::Relaxed) + length;
        if queued <= QUEUED_BYTES && connection.outgoing.try_send(bytes).is_ok() {
            return;
        }
        self.unsent += 1;
        if let Some(connection) = self.remove(id) {
            let remote = connection.remote;
            tracing::warn!(%remote, "a connection was closed: the other side does not read");
            self.tell_lost(&connection);
        }
    }

    /// Dropping what is removed closes it.
    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        let place = (connection.transport, connection.remote);
        if let Some(ids) = self.by_remote.get_mut(&place) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_remote.remove(&place);
            }
        }
        Some(connection)
    }

    /// Takes news of a connection; a message that came is for the engine.
    pub fn take(&mut self, notice: Notice) -> Option<Heard> {
        match notice {
            Notice::Up {
                connection,
                certificate,
            } => {
                self.on_up(connection, certificate.as_ref());
                None
            }
            Notice::Message { connection, bytes } => {
                let found = self.open.get(&connection)?;
                let proved = match &found.origin {
                    Origin::Accepted { proved, .. } => proved.clone(),
                    Origin::Opened { .. } => None,
                };
                Some(Heard {
                    connection,
                    local: found.local,
                    source: found.remote,
                    transport: found.transport,
                    is_stranger: !found.is_known(),
                    proved,
                    bytes,
                })
            }
            Notice::Down {
                connection,
                was_up,
                why,
            } => {
                self.on_down(connection, was_up, &why);
                None
            }
        }
    }

    fn on_up(&mut self, id: ConnectionId, certificate: Option<&CertificateDer<'static>>) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        let remote = connection.remote;
        match &mut connection.origin {
            Origin::Opened { trunk, .. } => {
                let trunk = trunk.as_ref().map(TrunkName::as_str);
                tracing::info!(%remote, trunk, "connected");
            }
            Origin::Accepted {
                proved,
                certificate: shown,
            } if connection.transport == Transport::Tls && self.tls.names_clients => {
                *proved = certificate.and_then(|certificate| self.tls.trunk_of(certificate));
                *shown = certificate.cloned();
                if proved.is_none() {
                    tracing::warn!(%remote, "a connection was closed: its certificate names no trunk");
                    self.remove(id);
                    return;
                }
                connection.shared.is_known.store(true, Ordering::Relaxed);
            }
            Origin::Accepted { .. } => {}
        }
    }

    fn on_down(&mut self, id: ConnectionId, was_up: bool, why: &str) {
        let Some(connection) = self.remove(id) else { return };
        let (remote, transport) = (connection.remote, connection.transport);
        match (&connection.origin, was_up) {
            (Origin::Opened { trunk, .. }, false) => {
                let trunk = trunk.as_ref().map(TrunkName::as_str);
                tracing::warn!(%remote, trunk, "no connection over {transport:?}: {why}");
                self.lost.push_back(Lost::Unreachable {
                    trunk: connection.served(),
                    remote,
                    transport,
                });
            }
            (_, false) if connection.is_known() => {
                tracing::warn!(%remote, "no connection over {transport:?}: {why}")
            }
            (_, false) => tracing::debug!(%remote, "no connection over {transport:?}: {why}"),
            (_, true) => {
                match connection.is_known() {
                    true => tracing::info!(%remote, "connection ended: {why}"),
                    false => tracing::debug!(%remote, "connection ended: {why}"),
                }
                self.tell_lost(&connection);
            }
        }
    }

    /// Of a connection that never carried a request of ours nothing is waited for.
    fn tell_lost(&mut self, connection: &Connection) {
        if connection.carried_requests {
            self.lost.push_back(Lost::Connection {
                trunk: connection.served(),
                remote: connection.remote,
                transport: connection.transport,
            });
        }
    }

    /// The other side turned out to be a trunk's.
    pub fn know(&mut self, id: ConnectionId) {
        if let Some(connection) = self.open.get(&id) {
            connection.shared.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// The same of the connection that has this far end.
    pub fn know_at(&mut self, transport: Transport, remote: SocketAddr) {
        for id in self.by_remote.get(&(transport, remote)).into_iter().flatten() {
            if let Some(connection) = self.open.get(id) {
                connection.shared.is_known.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Closes what a source has open that is no trunk.
    pub fn close_strangers(&mut self, source: IpAddr) {
        let is_strangers = |connection: &Connection| {
            !connection.is_known() && network(connection.remote.ip()) == network(source)
        };
        let found: Vec<ConnectionId> = self
            .open
            .iter()
            .filter(|(_, connection)| is_strangers(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in found {
            self.remove(id);
        }
    }

    /// Whether nothing waits to be sent.
    pub fn is_flushed(&self) -> bool {
        let queued = |connection: &Connection| connection.shared.queued.load(Ordering::Relaxed);
        self.open.values().all(|connection| queued(connection) == 0)
    }
}

/// One IPv4 address, or the /64 of an IPv6 address: what one host can easily be.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests;
