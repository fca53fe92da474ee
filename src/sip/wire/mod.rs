//! What all sessions share: transactions, timers, outputs, randomness, peers.
//!
//! In: requests and responses to send, messages that came. Out: transmissions, and a [`Report`] for the owner of a
//! client transaction. It matches by branch (RFC 3261 §17.1.3, §17.2.3): our own branches and tags carry the slot they
//! belong to and a 64-bit secret; a peer's are hashed with a secret key, so nobody can choose a collision.

mod client;
mod server;

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use siphasher::sip128::SipHasher13;

use crate::deadlines::{Deadlines, Waiting};
use crate::endpoint::{Counters, EndpointConfig};
use crate::event::{Event, Output, SessionId, Sighting};
use crate::message::{Method, is_clean};
use crate::peer::{PeerId, Transport};
use crate::peers::Peers;
use crate::reply::Reply;
use crate::slab::{Key, Slab};
use crate::transaction::{Client, ClientInvite, Server, ServerInvite, Step, Tell, Times};

/// Where a message goes and which address it names as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub transport: Transport,
    /// What Via and Contact say.
    pub advertised: SocketAddr,
    /// Whose name a new connection must prove; without it only an open one will do.
    pub peer: Option<PeerId>,
    /// The far end of the connection that is preferred while it is open: the one that a request came by.
    pub connection: Option<SocketAddr>,
}

impl Path {
    /// The way back to where a message came from.
    pub fn back(local: SocketAddr, source: SocketAddr, transport: Transport) -> Self {
        Self {
            local,
            remote: source,
            transport,
            advertised: local,
            peer: None,
            connection: transport.is_reliable().then_some(source),
        }
    }

    /// Where what goes this way may end up.
    fn far_ends(self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let other = self.connection.filter(|other| *other != self.remote);
        let places = std::iter::once(self.remote).chain(other);
        places.map(move |place| (self.transport, place))
    }
}

/// What a client transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite,
    Reinvite,
    Update,
    Bye,
    Cancel,
    Prack,
    Info,
}

/// Who learns what became of a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Session(SessionId, Purpose),
    Register(PeerId),
    Probe(PeerId),
    Nobody,
}

/// News of a client transaction for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub owner: Owner,
    pub transaction: Key,
    pub tell: Option<Tell>,
    /// The transaction exists no longer.
    pub gone: bool,
}

#[derive(Debug)]
enum Machine {
    ClientInvite(ClientInvite),
    Client(Client),
    ServerInvite(ServerInvite),
    Server(Server),
}

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    path: Path,
    owner: Owner,
    method: Method,
    /// The secret part of our branch, and the CSeq number (client).
    nonce: u64,
    cseq: u32,
    /// The request (client) or the last response (server), for sending again.
    bytes: Vec<u8>,
    /// The CANCEL of an INVITE, which shares its branch.
    cancel: Option<Key>,
    /// What responses are made from (server).
    reply: Option<Box<Reply>>,
    key: u128,
    merge: Option<u64>,
    queued: Option<Instant>,
    /// Sent once more, since the connection broke.
    sent_again: bool,
    /// Sent by TCP only for its size.
    is_large: bool,
}

impl Transaction {
    fn is_client(&self) -> bool {
        matches!(self.machine, Machine::Client(_) | Machine::ClientInvite(_))
    }
}

/// Keys that are already hashes.
#[derive(Default)]
pub(crate) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = (value >> 64) as u64 ^ value as u64;
    }
}

type HashedMap<K, V> = HashMap<K, V, BuildHasherDefault<Unhashed>>;

#[derive(Debug)]
pub(crate) struct Wire {
    pub config: EndpointConfig,
    pub peers: Peers,
    pub draining: bool,
    pub counters: Counters,
    outputs: VecDeque<Output>,
    random: ChaCha12Rng,
    hasher: SipHasher13,
    transactions: Slab<Transaction>,
    /// How many client transactions have which far end.
    clients: HashMap<(Transport, SocketAddr), u32>,
    servers: HashedMap<u128, Key>,
    /// INVITEs being served, by Call-ID, From tag and CSeq (RFC 3261 §8.2.2.2).
    merged: HashedMap<u64, Key>,
    pub deadlines: Deadlines,
}

impl Wire {
    pub fn new(mut config: EndpointConfig, seed: [u8; 32]) -> Self {
        // A text that may not stand in a header would make every message fail.
        config.agent = config.agent.filter(|agent| is_clean(agent.as_bytes()));
        let mut random = ChaCha12Rng::from_seed(seed);
        let hasher = SipHasher13::new_with_keys(random.next_u64(), random.next_u64());
        Self {
            config,
            peers: Peers::default(),
            draining: false,
            counters: Counters::default(),
            outputs: VecDeque::new(),
            random,
            hasher,
            transactions: Slab::new(),
            clients: HashMap::new(),
            servers: HashMap::default(),
            merged: HashMap::default(),
            deadlines: Deadlines::default(),
        }
    }

    pub fn times(&self, transport: Transport) -> Times {
        let EndpointConfig { t1, t2, t4, .. } = self.config;
        Times {
            t1,
            t2,
            t4,
            reliable: transport.is_reliable(),
        }
    }

    pub fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A key that nobody else has.
    pub fn secret(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        self.random.fill_bytes(&mut key);
        key
    }

    /// A random duration below `limit`, in steps of 10 ms.
    pub fn random_below(&mut self, limit: Duration) -> Duration {
        let steps = u64::try_from(limit.as_millis() / 10).unwrap_or(1).max(1);
        Duration::from_millis(self.random.next_u64() % steps * 10)
    }

    pub fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub fn sighted(&mut self, path: Path, sighting: Sighting) {
        self.tell(Event::Security {
            source: path.remote.ip(),
            transport: path.transport,
            sighting,
        });
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn counters(&self, sessions: usize) -> Counters {
        Counters {
            sessions,
            transactions: self.transactions.len(),
            deadlines: self.deadlines.len(),
            ..self.counters
        }
    }

    pub fn send(&mut self, path: Path, bytes: Vec<u8>) {
        self.counters.transmitted += 1;
        let Path {
            local,
            remote,
            transport,
            peer,
            connection,
            ..
        } = path;
        self.outputs.push_back(Output::Transmit {
            local,
            destination: remote,
            transport,
            peer,
            connection,
            bytes,
        });
    }

    pub fn is_full(&self) -> bool {
        self.transactions.len() >= self.config.max_transactions
    }

    /// Whether a request of a session is without its final response, or a refused INVITE without its ACK.
    pub fn is_unheard(&self) -> bool {
        self.transactions.values().any(|transaction| {
            let is_sessions = matches!(transaction.owner, Owner::Session(..));
            match &transaction.machine {
                Machine::ClientInvite(invite) => is_sessions && invite.is_waiting(),
                Machine::Client(client) => is_sessions && client.is_waiting(),
                Machine::ServerInvite(invite) => invite.is_repeating(),
                Machine::Server(_) => false,
            }
        })
    }

    /// Handles a transaction whose time came.
    pub fn on_due(&mut self, now: Instant, key: Key, due: Instant) -> Option<Report> {
        let transport = self.transactions.get(key)?.path.transport;
        let times = self.times(transport);
        let transaction = self.transactions.get_mut(key)?;
        if transaction.queued != Some(due) {
            return None;
        }
        transaction.queued = None;
        let step = match &mut transaction.machine {
            Machine::ClientInvite(invite) => invite.on_timeout(now),
            Machine::Client(client) => client.on_timeout(now, &times),
            Machine::ServerInvite(invite) => invite.on_timeout(now, &times),
            Machine::Server(server) => server.on_timeout(now),
        };
        if step.resend {
            self.resend(key);
        }
        if step.tell == Some(Tell::Timeout) {
            self.counters.timeouts += 1;
        }
        self.report(key, step)
    }

    fn resend(&mut self, key: Key) {
        let Some(transaction) = self.transactions.get(key).filter(|found| !found.bytes.is_empty()) else {
            return;
        };
        let (path, bytes) = (transaction.path, transaction.bytes.clone());
        self.counters.retransmitted += 1;
        self.send(path, bytes);
    }

    fn report(&mut self, key: Key, step: Step) -> Option<Report> {
        let transaction = self.transactions.get_mut(key)?;
        let owner = transaction.owner;
        let is_client = transaction.is_client();
        let gone = match &transaction.machine {
            Machine::ClientInvite(invite) => invite.is_terminated(),
            Machine::Client(client) => client.is_terminated(),
            Machine::ServerInvite(invite) => invite.is_terminated(),
            Machine::Server(server) => server.is_terminated(),
        };
        if step.tell == Some(Tell::Success) {
            transaction.bytes = Vec::new();
        }
        if gone && step.tell.is_none() {
            self.remove(key);
        } else {
            self.arm(key);
        }
        (is_client && (step.tell.is_some() || gone)).then_some(Report {
            owner,
            transaction: key,
            tell: step.tell,
            gone,
        })
    }

    /// Removes a transaction whose last report has been dealt with.
    pub fn remove(&mut self, key: Key) {
        let Some(transaction) = self.transactions.remove(key) else {
            return;
        };
        self.deadlines
            .forget(transaction.queued, Waiting::Transaction(key));
        if transaction.is_client() {
            self.uncount_client(transaction.path);
        }
        if self.servers.get(&transaction.key) == Some(&key) {
            self.servers.remove(&transaction.key);
        }
        if let Some(merge) = transaction.merge
            && self.merged.get(&merge) == Some(&key)
        {
            self.merged.remove(&merge);
        }
    }

    fn count_client(&mut self, path: Path) {
        for place in path.far_ends() {
            *self.clients.entry(place).or_default() += 1;
        }
    }

    fn uncount_client(&mut self, path: Path) {
        for place in path.far_ends() {
            if let Entry::Occupied(mut count) = self.clients.entry(place) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    fn arm(&mut self, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else {
            return;
        };
        let next = match &transaction.machine {
            Machine::ClientInvite(invite) => invite.next_timeout(),
            Machine::Client(client) => client.next_timeout(),
            Machine::ServerInvite(invite) => invite.next_timeout(),
            Machine::Server(server) => server.next_timeout(),
        };
        self.deadlines
            .arm(&mut transaction.queued, next, Waiting::Transaction(key));
    }
}

/// How a slot and its secret look in a branch or tag.
pub(crate) fn slot_text(index: u32, nonce: u64) -> String {
    format!("{index:x}.{nonce:016x}")
}

/// Reads what [`slot_text`] wrote.
pub(crate) fn parse_slot(text: &[u8]) -> Option<(u32, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (index, nonce) = text.split_once('.')?;
    if nonce.len() != 16 || index.len() > 8 || index.starts_with('+') || nonce.starts_with('+') {
        return None;
    }
    Some((
        u32::from_str_radix(index, 16).ok()?,
        u64::from_str_radix(nonce, 16).ok()?,
    ))
}
