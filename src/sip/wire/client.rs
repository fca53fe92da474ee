//! Client transactions: sending requests, matching responses by branch (RFC 3261 §17.1.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Machine, Owner, Path, Purpose, Report, Transaction, Wire, parse_slot, slot_text};
use crate::event::{Event, SessionId};
use crate::message::{BuildError, Message, Method, Name, ack_for_failure, cancel_for, decimal};
use crate::peer::{PeerId, Transport};
use crate::slab::Key;
use crate::transaction::{Client, ClientInvite, response_kind};

/// Longest request that fits any path (RFC 3261 §18.1.1).
const SAFE_DATAGRAM: usize = 1300;
/// After TCP could not be had, a peer's large requests go by UDP for this long.
const NO_TCP: Duration = Duration::from_secs(300);

impl Wire {
    /// Sends a request as a new client transaction. `build` gets the Via value.
    pub fn request(
        &mut self,
        now: Instant,
        path: Path,
        owner: Owner,
        method: Method,
        build: impl FnOnce(&[u8]) -> Result<Vec<u8>, BuildError>,
    ) -> Result<Key, BuildError> {
        let nonce = self.random();
        let index = self.transactions.next_key().index();
        let via = via_value(path, index, nonce);
        let bytes = build(via.as_bytes())?;
        let is_large = bytes.len() > SAFE_DATAGRAM && !path.transport.is_reliable();
        self.counters.oversized += u64::from(is_large);
        let key = match is_large && self.takes_large(now, path) {
            true => self.start_large(now, path, owner, method, nonce, bytes),
            false => self.start_client(now, path, owner, method, nonce, bytes),
        };
        Ok(key)
    }

    /// A Via value whose branch belongs to no transaction, for ACK (RFC 3261 §17.1.1.3).
    pub fn ack_via(&mut self, path: Path) -> String {
        let nonce = self.random();
        via_value(path, u32::MAX, nonce)
    }

    fn start_client(
        &mut self,
        now: Instant,
        path: Path,
        owner: Owner,
        method: Method,
        nonce: u64,
        bytes: Vec<u8>,
    ) -> Key {
        let times = self.times(path.transport);
        let machine = match method {
            Method::Invite => Machine::ClientInvite(ClientInvite::new(now, &times)),
            _ => Machine::Client(Client::new(now, &times)),
        };
        // A copy is as long as the message; what it was written into is longer.
        let kept = bytes.clone();
        self.send(path, bytes);
        let key = self.transactions.insert(Transaction {
            machine,
            path,
            owner,
            method,
            nonce,
            cseq: cseq_of(&kept),
            bytes: kept,
            cancel: None,
            reply: None,
            key: 0,
            merge: None,
            queued: None,
            sent_again: false,
            is_large: false,
        });
        self.count_client(path);
        self.arm(key);
        key
    }

    /// Sends CANCEL for an INVITE that is still pending, once.
    pub fn cancel(&mut self, now: Instant, invite: Key, session: SessionId, extra: &[u8]) -> Option<Key> {
        let transaction = self.transactions.get(invite)?;
        if transaction.cancel.is_some() {
            return None;
        }
        let (path, nonce) = (transaction.path, transaction.nonce);
        let mut scratch = Vec::new();
        let request = Message::parse(&transaction.bytes, &mut scratch).ok()?;
        let bytes = cancel_for(&request, extra).ok()?;
        let owner = Owner::Session(session, Purpose::Cancel);
        let key = self.start_client(now, path, owner, Method::Cancel, nonce, bytes);
        self.transactions.get_mut(invite)?.cancel = Some(key);
        self.hurry(now, invite);
        Some(key)
    }

    /// Waits for the final response of an INVITE only 64*T1 more.
    pub fn hurry(&mut self, now: Instant, invite: Key) {
        if let Some(Transaction {
            machine: Machine::ClientInvite(machine),
            ..
        }) = self.transactions.get_mut(invite)
        {
            machine.hurry(now);
            self.arm(invite);
        }
    }

    /// The owner no longer waits for an INVITE that nobody answered: it is not sent again, and what it brings after all
    /// is told for 64*T1 more.
    pub fn give_up(&mut self, now: Instant, invite: Key) {
        if let Some(Transaction {
            machine: Machine::ClientInvite(machine),
            ..
        }) = self.transactions.get_mut(invite)
        {
            machine.give_up(now);
            self.arm(invite);
        }
    }

    /// The request of a client transaction, for sending it again in another form.
    pub fn request_of(&self, key: Key) -> Option<(&[u8], Path)> {
        self.transactions
            .get(key)
            .map(|transaction| (&transaction.bytes[..], transaction.path))
    }

    /// Whether an INVITE waits for its first response.
    pub fn is_calling(&self, key: Key) -> bool {
        let machine = self.transactions.get(key).map(|transaction| &transaction.machine);
        matches!(machine, Some(Machine::ClientInvite(invite)) if invite.is_calling())
    }

    /// Forgets a transaction at once.
    pub fn abandon(&mut self, key: Key) {
        self.remove(key);
    }

    /// Takes a response; the report is for its owner. Unmatched responses are dropped (RFC 3261 §17.1.3).
    pub fn on_response(&mut self, now: Instant, response: &Message<'_>) -> Option<Report> {
        let status = response.status()?;
        let mut key = self.client_key(response)?;
        if response.cseq.method == Method::Cancel {
            key = self.transactions.get(key)?.cancel?;
        }
        let transaction = self.transactions.get(key)?;
        if transaction.method != response.cseq.method || transaction.cseq != response.cseq.number {
            return None;
        }
        let (path, times) = (transaction.path, self.times(transaction.path.transport));
        let transaction = self.transactions.get_mut(key)?;
        let kind = response_kind(status);
        let step = match &mut transaction.machine {
            Machine::ClientInvite(invite) => invite.on_response(now, kind, &times),
            Machine::Client(client) => client.on_response(now, kind, &times),
            _ => return None,
        };
        if step.ack {
            let mut scratch = Vec::new();
            let to = response.header(Name::To).unwrap_or_default();
            let invite = Message::parse(&transaction.bytes, &mut scratch).ok();
            if let Some(ack) = invite.and_then(|invite| ack_for_failure(&invite, to).ok()) {
                self.send(path, ack);
            }
        }
        self.report(key, step)
    }

    fn client_key(&self, response: &Message<'_>) -> Option<Key> {
        let branch = response.via.branch()?.strip_prefix(b"z9hG4bK")?;
        let (index, nonce) = parse_slot(branch)?;
        let key = self.transactions.key_at(index)?;
        let transaction = self.transactions.get(key)?;
        let is_client = matches!(transaction.machine, Machine::Client(_) | Machine::ClientInvite(_));
        (is_client && transaction.nonce == nonce).then_some(key)
    }

    /// Sends the requests again that nothing was heard about since they went over a connection that broke: once, then
    /// they fail. A server that has them already takes them for copies.
    pub fn on_connection_lost(
        &mut self,
        now: Instant,
        peer: Option<PeerId>,
        remote: SocketAddr,
        transport: Transport,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for key in self.clients_at(peer, remote, transport) {
            let is_again = self.transactions.get(key).is_some_and(|found| found.sent_again);
            if is_again && self.fall_back(now, key) {
                continue;
            }
            let Some(transaction) = self.transactions.get_mut(key) else {
                continue;
            };
            let step = match &mut transaction.machine {
                Machine::ClientInvite(invite) if !invite.is_calling() => continue,
                Machine::Client(client) if !client.is_waiting() => continue,
                Machine::ServerInvite(_) | Machine::Server(_) => continue,
                _ if !std::mem::replace(&mut transaction.sent_again, true) => {
                    self.resend(key);
                    continue;
                }
                Machine::ClientInvite(invite) => invite.on_unreachable(now),
                Machine::Client(client) => client.on_unreachable(),
            };
            reports.extend(self.report(key, step));
        }
        reports
    }

    /// Fails every client transaction that has heard nothing from `remote`; what went by TCP only for its size goes by
    /// UDP then.
    pub fn on_unreachable(
        &mut self,
        now: Instant,
        peer: Option<PeerId>,
        remote: SocketAddr,
        transport: Transport,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for key in self.clients_at(peer, remote, transport) {
            let goes_there = |found: &Transaction| found.path.remote == remote;
            if !self.transactions.get(key).is_some_and(goes_there) || self.fall_back(now, key) {
                continue;
            }
            let Some(transaction) = self.transactions.get_mut(key) else {
                continue;
            };
            let step = match &mut transaction.machine {
                Machine::ClientInvite(invite) => invite.on_unreachable(now),
                Machine::Client(client) => client.on_unreachable(),
                _ => continue,
            };
            reports.extend(self.report(key, step));
        }
        reports
    }

    /// The client transactions with a far end, of one peer or of all. Where there is none, nothing is searched: whoever
    /// is no peer cannot make us look at all there is.
    fn clients_at(&self, peer: Option<PeerId>, remote: SocketAddr, transport: Transport) -> Vec<Key> {
        if !self.clients.contains_key(&(transport, remote)) {
            return Vec::new();
        }
        let is_there = |key: &Key| {
            self.transactions.get(*key).is_some_and(|found| {
                found.is_client()
                    && found.path.far_ends().any(|place| place == (transport, remote))
                    && peer.is_none_or(|peer| found.path.peer == Some(peer))
            })
        };
        self.transactions.keys().filter(is_there).collect()
    }

    fn takes_large(&self, now: Instant, path: Path) -> bool {
        let entry = path.peer.and_then(|peer| self.peers.get(peer));
        entry.is_some_and(|entry| {
            entry.peer.large_by_tcp && entry.no_tcp_until.is_none_or(|until| until <= now)
        })
    }

    /// Sends a request by TCP that was made for UDP: its Via says so.
    fn start_large(
        &mut self,
        now: Instant,
        path: Path,
        owner: Owner,
        method: Method,
        nonce: u64,
        mut bytes: Vec<u8>,
    ) -> Key {
        name_transport(&mut bytes, Transport::Tcp);
        let path = Path {
            transport: Transport::Tcp,
            ..path
        };
        let key = self.start_client(now, path, owner, method, nonce, bytes);
        if let Some(transaction) = self.transactions.get_mut(key) {
            transaction.is_large = true;
        }
        key
    }

    /// Begins a transaction anew over UDP that went by TCP only for its size and was not heard.
    fn fall_back(&mut self, now: Instant, key: Key) -> bool {
        let times = self.times(Transport::Udp);
        let Some(transaction) = self.transactions.get_mut(key).filter(|found| found.is_large) else {
            return false;
        };
        let machine = match &transaction.machine {
            Machine::ClientInvite(invite) if invite.is_calling() => {
                Machine::ClientInvite(ClientInvite::new(now, &times))
            }
            Machine::Client(client) if client.is_waiting() => Machine::Client(Client::new(now, &times)),
            _ => return false,
        };
        transaction.machine = machine;
        transaction.is_large = false;
        let former = transaction.path;
        transaction.path.transport = Transport::Udp;
        name_transport(&mut transaction.bytes, Transport::Udp);
        let (path, bytes) = (transaction.path, transaction.bytes.clone());
        self.uncount_client(former);
        self.count_client(path);
        self.send(path, bytes);
        self.arm(key);
        if let Some(peer) = path.peer {
            if let Some(entry) = self.peers.get_mut(peer) {
                entry.no_tcp_until = Some(now + NO_TCP);
            }
            self.tell(Event::LargeByUdp { peer });
        }
        true
    }
}

/// Writes another transport into the topmost Via of a request of ours, which is its first header.
fn name_transport(bytes: &mut [u8], transport: Transport) {
    const VIA: &[u8] = b"\r\nVia: SIP/2.0/";
    let name = transport.via_name().as_bytes();
    if let Some(at) = memchr::memmem::find(bytes, VIA)
        && let Some(place) = bytes.get_mut(at + VIA.len()..at + VIA.len() + name.len())
    {
        place.copy_from_slice(name);
    }
}

/// The CSeq number of a request of ours.
fn cseq_of(request: &[u8]) -> u32 {
    const NAME: &[u8] = b"\r\nCSeq: ";
    let begin = memchr::memmem::find(request, NAME).map_or(0, |at| at + NAME.len());
    let value = request.get(begin..).unwrap_or_default();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    decimal(&value[..digits]).unwrap_or(0)
}

fn via_value(path: Path, index: u32, nonce: u64) -> String {
    let Path {
        transport,
        advertised,
        ..
    } = path;
    format!(
        "SIP/2.0/{} {advertised};branch=z9hG4bK{};rport",
        transport.via_name(),
        slot_text(index, nonce)
    )
}
