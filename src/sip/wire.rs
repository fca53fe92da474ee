//! What all sessions share: transactions, timers, outputs, randomness, peers.
//!
//! In: requests and responses to send, messages that came. Out: transmissions, and a [`Report`] for the owner of a
//! client transaction. It matches by branch (RFC 3261 §17.1.3, §17.2.3): our own branches and tags carry the slot they
//! belong to and a 64-bit secret; a peer's are hashed with a secret key, so nobody can choose a collision.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::deadlines::{Deadlines, Waiting};
use crate::endpoint::{Counters, EndpointConfig};
use crate::event::{Event, Output, SessionId, Sighting};
use crate::message::{BuildError, Message, Method, ack_for_failure, cancel_for};
use crate::peer::{PeerId, Transport};
use crate::peers::Peers;
use crate::reply::{Reply, Response};
use crate::slab::{Key, Slab};
use crate::transaction::{Client, ClientInvite, Server, ServerInvite, Step, Tell, Times, response_kind};

/// Where a message goes and which address it names as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub transport: Transport,
    /// What Via and Contact say.
    pub advertised: SocketAddr,
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
    /// The secret part of our branch (client).
    nonce: u64,
    /// The request (client) or the last response (server), for sending again.
    bytes: Vec<u8>,
    /// The CANCEL of an INVITE, which shares its branch.
    cancel: Option<Key>,
    /// What responses are made from (server).
    reply: Option<Box<Reply>>,
    key: u128,
    merge: Option<u64>,
    queued: Option<Instant>,
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
    servers: HashedMap<u128, Key>,
    /// INVITEs being served, by Call-ID, From tag and CSeq (RFC 3261 §8.2.2.2).
    merged: HashedMap<u64, Key>,
    pub deadlines: Deadlines,
    /// Security events left in the current second.
    sightings: (Option<Instant>, u32),
}

const SIGHTINGS_PER_SECOND: u32 = 20;
/// Longest request that fits any path (RFC 3261 §18.1.1).
const SAFE_DATAGRAM: usize = 1300;

impl Wire {
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
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
            servers: HashMap::default(),
            merged: HashMap::default(),
            deadlines: Deadlines::default(),
            sightings: (None, 0),
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

    /// A random duration below `limit`, in steps of 10 ms.
    pub fn random_below(&mut self, limit: Duration) -> Duration {
        let steps = u64::try_from(limit.as_millis() / 10).unwrap_or(1).max(1);
        Duration::from_millis(self.random.next_u64() % steps * 10)
    }

    pub fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub fn sighted(&mut self, now: Instant, source: SocketAddr, sighting: Sighting) {
        let (since, left) = &mut self.sightings;
        if since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (*since, *left) = (Some(now), SIGHTINGS_PER_SECOND);
        }
        if *left > 0 {
            *left -= 1;
            self.tell(Event::Security {
                source: source.ip(),
                sighting,
            });
        }
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn counters(&self, sessions: usize) -> Counters {
        Counters {
            sessions,
            transactions: self.transactions.len(),
            ..self.counters
        }
    }

    pub fn send(&mut self, path: Path, bytes: Vec<u8>) {
        self.counters.transmitted += 1;
        let Path {
            local,
            remote,
            transport,
            ..
        } = path;
        self.outputs.push_back(Output::Transmit {
            local,
            destination: remote,
            transport,
            bytes,
        });
    }

    pub fn is_full(&self) -> bool {
        self.transactions.len() >= self.config.max_transactions
    }

    // Client side.

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
        if bytes.len() > SAFE_DATAGRAM && !path.transport.is_reliable() {
            self.counters.oversized += 1;
        }
        Ok(self.start_client(now, path, owner, method, nonce, bytes))
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
        self.send(path, bytes.clone());
        let key = self.transactions.insert(Transaction {
            machine,
            path,
            owner,
            method,
            nonce,
            bytes,
            cancel: None,
            reply: None,
            key: 0,
            merge: None,
            queued: None,
        });
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
        Some(key)
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
        if transaction.method != response.cseq.method {
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
            let to = response.header(crate::message::Name::To).unwrap_or_default();
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

    /// Fails every client transaction that has heard nothing from `remote`.
    pub fn on_unreachable(&mut self, remote: SocketAddr, transport: Transport) -> Vec<Report> {
        let keys: Vec<Key> = self.transactions.keys().collect();
        let mut reports = Vec::new();
        for key in keys {
            let Some(transaction) = self.transactions.get_mut(key) else {
                continue;
            };
            if transaction.path.remote != remote || transaction.path.transport != transport {
                continue;
            }
            let step = match &mut transaction.machine {
                Machine::ClientInvite(invite) => invite.on_unreachable(),
                Machine::Client(client) => client.on_unreachable(),
                _ => continue,
            };
            reports.extend(self.report(key, step));
        }
        reports
    }

    // Server side.

    /// Absorbs a repeated request: sends the last response again. `true` when it was one.
    pub fn absorb(&mut self, request: &Message<'_>) -> bool {
        let Some(key) = self
            .servers
            .get(&self.server_key(request, request.cseq.method))
            .copied()
        else {
            return false;
        };
        let step = match self.transactions.get(key).map(|transaction| &transaction.machine) {
            Some(Machine::ServerInvite(invite)) => invite.on_request(),
            Some(Machine::Server(server)) => server.on_request(),
            _ => return false,
        };
        if step.resend {
            self.resend(key);
        }
        true
    }

    /// Takes an ACK for a failure response. `true` when it belonged to one.
    pub fn absorb_ack(&mut self, now: Instant, ack: &Message<'_>) -> bool {
        let Some(key) = self.servers.get(&self.server_key(ack, Method::Invite)).copied() else {
            return false;
        };
        let Some(transaction) = self.transactions.get(key) else {
            return false;
        };
        let times = self.times(transaction.path.transport);
        let Some(Transaction {
            machine: Machine::ServerInvite(invite),
            ..
        }) = self.transactions.get_mut(key)
        else {
            return false;
        };
        invite.on_ack(now, &times);
        self.arm(key);
        true
    }

    /// The INVITE that a CANCEL means, and its owner.
    pub fn cancelled(&self, cancel: &Message<'_>) -> Option<(Key, Owner)> {
        let key = *self.servers.get(&self.server_key(cancel, Method::Invite))?;
        self.transactions
            .get(key)
            .map(|transaction| (key, transaction.owner))
    }

    /// Whether this request, with another branch, is being served already (RFC 3261 §8.2.2.2).
    pub fn is_merged(&self, request: &Message<'_>) -> bool {
        request.to.tag().is_none() && self.merged.contains_key(&self.merge_key(request))
    }

    /// Starts serving a request. `None` when the table is full: answer it without state.
    pub fn serve(&mut self, request: &Message<'_>, path: Path, owner: Owner) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let method = request.cseq.method;
        let machine = match method {
            Method::Invite => Machine::ServerInvite(ServerInvite::new()),
            _ => Machine::Server(Server::new()),
        };
        let key = self.server_key(request, method);
        let merge = (method == Method::Invite && request.to.tag().is_none()).then(|| self.merge_key(request));
        let slot = self.transactions.insert(Transaction {
            machine,
            path,
            owner,
            method,
            nonce: 0,
            bytes: Vec::new(),
            cancel: None,
            reply: Some(Box::new(Reply::new(request, path.remote))),
            key,
            merge,
            queued: None,
        });
        self.servers.insert(key, slot);
        if let Some(merge) = merge {
            self.merged.insert(merge, slot);
        }
        Some(slot)
    }

    /// Makes `owner` the one who decides about a served INVITE.
    pub fn set_owner(&mut self, key: Key, owner: Owner) {
        if let Some(transaction) = self.transactions.get_mut(key) {
            transaction.owner = owner;
        }
    }

    /// Answers a served request. Returns the bytes of a 2xx to INVITE, which its owner must repeat.
    pub fn respond(&mut self, now: Instant, key: Key, response: &Response<'_>) -> Option<Vec<u8>> {
        let transaction = self.transactions.get(key)?;
        let (path, times) = (transaction.path, self.times(transaction.path.transport));
        let agent = self.config.agent.as_deref();
        let bytes = transaction.reply.as_ref()?.write(response, agent).ok()?;
        let kind = response_kind(response.status);
        let transaction = self.transactions.get_mut(key)?;
        let allowed = match &mut transaction.machine {
            Machine::ServerInvite(invite) => invite.on_respond(now, kind, &times),
            Machine::Server(server) => server.on_respond(now, kind, &times),
            _ => false,
        };
        if !allowed {
            return None;
        }
        let is_invite_success = kind == Tell::Success && transaction.method == Method::Invite;
        if kind != Tell::Provisional {
            transaction.reply = None;
        }
        transaction.bytes = if is_invite_success {
            Vec::new()
        } else {
            bytes.clone()
        };
        self.arm(key);
        self.send(path, bytes.clone());
        is_invite_success.then_some(bytes)
    }

    /// Answers a request and keeps nothing (RFC 3261 §8.2.7).
    pub fn respond_stateless(&mut self, request: &Message<'_>, path: Path, response: &Response<'_>) {
        let agent = self.config.agent.as_deref();
        if let Ok(bytes) = Reply::new(request, path.remote).write(response, agent) {
            self.send(path, bytes);
        }
    }

    /// A To tag that is the same for every copy of a request.
    pub fn stateless_tag(&self, request: &Message<'_>) -> String {
        format!("{:032x}", self.server_key(request, request.cseq.method))
    }

    // Time.

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
        let is_client = matches!(transaction.machine, Machine::Client(_) | Machine::ClientInvite(_));
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
        if self.servers.get(&transaction.key) == Some(&key) {
            self.servers.remove(&transaction.key);
        }
        if let Some(merge) = transaction.merge
            && self.merged.get(&merge) == Some(&key)
        {
            self.merged.remove(&merge);
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

    // Keys.

    /// RFC 3261 §17.2.3: branch, sent-by and method; for peers without the magic cookie the older fields.
    fn server_key(&self, request: &Message<'_>, method: Method) -> u128 {
        let mut hasher = self.hasher;
        let mut part = |bytes: &[u8]| {
            hasher.write(bytes);
            hasher.write_u8(0);
        };
        match request.via.branch() {
            Some(branch) if branch.len() > 7 && branch.starts_with(b"z9hG4bK") => {
                part(branch);
                part(&request.via.host.to_ascii_lowercase());
                part(&request.via.port.unwrap_or(0).to_be_bytes());
            }
            branch => {
                part(request.call_id);
                part(request.from.tag().unwrap_or_default());
                part(&request.cseq.number.to_be_bytes());
                part(request.via.host);
                part(branch.unwrap_or_default());
            }
        }
        part(if method == Method::Other {
            request.cseq.method_text
        } else {
            method.as_str().as_bytes()
        });
        hasher.finish128().as_u128()
    }

    fn merge_key(&self, request: &Message<'_>) -> u64 {
        let mut hasher = self.hasher;
        for part in [
            request.call_id,
            request.from.tag().unwrap_or_default(),
            &request.cseq.number.to_be_bytes(),
        ] {
            hasher.write(part);
            hasher.write_u8(0);
        }
        hasher.finish()
    }
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
