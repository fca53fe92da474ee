//! Server transactions: absorbing repeated requests, answering, and the keys that find them (RFC 3261 §17.2.3).

use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Instant;

use siphasher::sip128::Hasher128;

use super::{Machine, Owner, Path, Transaction, Wire};
use crate::message::{Message, Method};
use crate::reply::{Reply, Response, write_once};
use crate::slab::Key;
use crate::transaction::{Server, ServerInvite, Tell, response_kind};

/// A To tag made from a request: 32 hexadecimal digits.
pub(crate) struct StatelessTag([u8; 32]);

impl StatelessTag {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Wire {
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
        // After a 2xx the ACK is the session's, also when it comes with the INVITE's branch (RFC 6026 §7.1).
        let absorbed = invite.on_ack(now, &times);
        self.arm(key);
        absorbed
    }

    /// The INVITE that a CANCEL means, and its owner. Only whoever sent the INVITE may take it back (RFC 3261 §22.1):
    /// its host, or another one of a peer.
    pub fn cancelled(&self, cancel: &Message<'_>, path: Path) -> Option<(Key, Owner)> {
        let key = *self.servers.get(&self.server_key(cancel, Method::Invite))?;
        let transaction = self.transactions.get(key)?;
        let is_same = transaction.path.remote.ip() == path.remote.ip();
        let is_allowed = is_same || self.peers.sender(path, b"").is_some();
        is_allowed.then_some((key, transaction.owner))
    }

    /// The To tag of the last response that a served request got.
    pub fn tag_of_response(&self, key: Key) -> Option<String> {
        let mut scratch = Vec::new();
        let response = Message::parse(&self.transactions.get(key)?.bytes, &mut scratch).ok()?;
        let tag = response.to.tag()?;
        Some(String::from_utf8_lossy(tag).into_owned())
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
            path: answered_by(path, request),
            owner,
            method,
            nonce: 0,
            cseq: 0,
            bytes: Vec::new(),
            cancel: None,
            reply: Some(Box::new(Reply::new(request, path.remote))),
            key,
            merge,
            queued: None,
            sent_again: false,
            is_large: false,
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
        let repeated = is_invite_success.then(|| bytes.clone());
        self.send(path, bytes);
        repeated
    }

    /// Answers a request and keeps nothing (RFC 3261 §8.2.7).
    pub fn respond_stateless(&mut self, request: &Message<'_>, path: Path, response: &Response<'_>) {
        let agent = self.config.agent.as_deref();
        if let Ok(bytes) = write_once(request, path.remote, response, agent) {
            self.send(answered_by(path, request), bytes);
        }
    }

    /// A To tag that is the same for every copy of a request.
    pub fn stateless_tag(&self, request: &Message<'_>) -> StatelessTag {
        let key = self.server_key(request, request.cseq.method);
        StatelessTag(std::array::from_fn(|at| {
            b"0123456789abcdef"[(key >> (124 - 4 * at) & 15) as usize]
        }))
    }

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
                for piece in request.via.host.chunks(64) {
                    let mut lower = [0; 64];
                    let lower = &mut lower[..piece.len()];
                    lower.copy_from_slice(piece);
                    lower.make_ascii_lowercase();
                    part(lower);
                }
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

/// The way of responses: over TCP and TLS the connection that the request came by, and once that is gone a new one to
/// the address it came from, at the port of its Via (RFC 3261 §18.2.2).
fn answered_by(path: Path, request: &Message<'_>) -> Path {
    if !path.transport.is_reliable() {
        return path;
    }
    let port = request.via.port.unwrap_or(path.transport.default_port());
    Path {
        remote: SocketAddr::new(path.remote.ip(), port),
        ..path
    }
}
