//! Our INVITE: provisional responses, forks, answers, credentials, other targets (RFC 3261 §13.2).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Change, Extensions, MAX_DIALOGS, ReliableProvisional, Session, State, sdp_hash};
use crate::dialog::{Ack, Dialog};
use crate::event::{Event, Invite, InviteError, SessionId};
use crate::identity::check_header;
use crate::message::{Message, Method, Name, SessionExpires, Uri, Writer, is_clean};
use crate::reason::{failure, local_failure};
use crate::slab::Key;
use crate::transaction::Tell;
use crate::wire::{Owner, Path, Purpose, Wire, slot_text};

/// Checks the texts of an outgoing call, so that none can become a header of its own.
fn check(invite: &Invite) -> Result<(), InviteError> {
    let uris = [&invite.uri, &invite.to, &invite.from.uri];
    let uris_are_valid = uris.iter().all(|uri| Uri::parse(uri.as_bytes()).is_some());
    let display_is_clean = invite
        .from
        .display
        .as_ref()
        .is_none_or(|display| is_clean(display.as_bytes()));
    let headers_are_valid = invite
        .headers
        .iter()
        .all(|(name, value)| check_header(name, value).is_ok());
    let has_offer = !invite.sdp.is_empty();
    match uris_are_valid && display_is_clean && headers_are_valid && has_offer {
        true => Ok(()),
        false => Err(InviteError::InvalidValue),
    }
}

/// `"display" <uri>` with the display name's quotes and backslashes escaped.
fn name_addr(display: Option<&str>, uri: &str) -> String {
    match display.filter(|display| !display.is_empty()) {
        Some(display) => {
            let escaped = display.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\" <{uri}>")
        }
        None => format!("<{uri}>"),
    }
}

impl Session {
    /// Starts an outgoing call to the peer's best target. `key` is the slot the session will take.
    pub fn call(wire: &mut Wire, now: Instant, key: Key, invite: Invite) -> Result<Self, InviteError> {
        check(&invite)?;
        let nonce = wire.random();
        let entry = wire.peers.get(invite.peer).ok_or(InviteError::UnknownPeer)?;
        let remote = entry
            .draw_target(now, &[], true, nonce)
            .ok_or(InviteError::NoTarget)?;
        let path = entry.path_to(remote);
        let (contact, extensions) = (entry.contact(), entry.peer.extensions);
        let (uri, routes) = entry.addressing(&invite.uri);
        let mut session = Self::new(
            SessionId(key.0),
            invite.peer,
            true,
            nonce,
            slot_text(key.index(), nonce),
        );
        session.call_id = format!("{:016x}{:016x}", wire.random(), wire.random())
            .into_bytes()
            .into();
        session.local = name_addr(invite.from.display.as_deref(), &invite.from.uri)
            .into_bytes()
            .into();
        session.remote = name_addr(None, &invite.to).into_bytes().into();
        session.contact = contact;
        session.extend(extensions);
        session.cseq = 1;
        session.tried.push(path.remote);
        session.send_invite(wire, now, path, &uri, &invite, &routes)?;
        session.local_sdp = invite.sdp;
        session.keep_trying(wire, now);
        Ok(session)
    }

    fn send_invite(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        path: Path,
        uri: &str,
        invite: &Invite,
        routes: &[String],
    ) -> Result<(), InviteError> {
        let (agent, expires, min_se) = (
            wire.config.agent.clone(),
            wire.config.session_expires,
            wire.config.min_session_expires,
        );
        let Extensions { reliable, timer, .. } = self.extensions;
        let (allow, supported) = (self.extensions.allow(), self.extensions.supported());
        let owner = Owner::Session(self.id, Purpose::Invite);
        let sent = wire.request(now, path, owner, Method::Invite, |via| {
            let mut writer = Writer::request("INVITE", uri.as_bytes());
            writer.header("Via", via);
            for route in routes {
                writer.header("Route", route.as_bytes());
            }
            writer.header_fmt(
                "Max-Forwards",
                format_args!("{}", invite.max_forwards.unwrap_or(70)),
            );
            writer.header("From", &[&self.local[..], b";tag=", self.tag.as_bytes()].concat());
            writer.header("To", &self.remote);
            writer.header("Call-ID", &self.call_id);
            writer.header_fmt("CSeq", format_args!("{} INVITE", self.cseq));
            writer.header_fmt("Contact", format_args!("<{}>", self.contact));
            writer.header("Allow", allow.as_bytes());
            if !supported.is_empty() {
                writer.header("Supported", supported.as_bytes());
            }
            if reliable == ReliableProvisional::Required {
                writer.header("Require", b"100rel");
            }
            if timer {
                writer.header_fmt("Session-Expires", format_args!("{expires}"));
                writer.header_fmt("Min-SE", format_args!("{min_se}"));
            }
            for (name, value) in &invite.headers {
                writer.header(name, value.as_bytes());
            }
            if let Some(agent) = &agent {
                writer.header("User-Agent", agent.as_bytes());
            }
            writer.finish(Some("application/sdp"), &invite.sdp)
        });
        self.invite = Some(sent.map_err(|_| InviteError::InvalidValue)?);
        self.live += 1;
        Ok(())
    }

    pub(super) fn on_invite_report(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        tell: Tell,
        response: Option<(&Message<'_>, SocketAddr)>,
    ) {
        match (tell, response) {
            (Tell::Success, Some((response, source))) => self.on_answer(wire, now, key, response, source),
            (Tell::Provisional, _) if self.invite != Some(key) => {
                // A target that was given up speaks after all.
                self.send_cancel(wire, now, key, &[]);
            }
            (Tell::Provisional, Some((response, source))) => {
                self.on_provisional(wire, now, key, response, source);
            }
            _ if self.invite != Some(key) => {}
            (Tell::Failure, Some((response, _))) => self.on_failure(wire, now, key, response),
            (Tell::Unreachable, _) => self.on_silence(wire, now, 503),
            _ => self.on_silence(wire, now, 408),
        }
    }

    fn on_provisional(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        response: &Message<'_>,
        source: SocketAddr,
    ) {
        self.target_at = None;
        if self.state == State::Cancelling {
            let lines = self.release.take().unwrap_or_default();
            return self.send_cancel(wire, now, key, &lines);
        }
        if self.state != State::Calling {
            // It was given up at Timer B.
            return self.send_cancel(wire, now, key, &[]);
        }
        self.give_up_at = Some(now + wire.config.ring_limit);
        self.wake_target(wire);
        let status = response.status().unwrap_or(100);
        if status == 100 {
            return;
        }
        let Some(index) = self.dialog_for(wire, response, source) else {
            return;
        };
        if !self.acknowledge_provisional(wire, now, index, response) {
            return;
        }
        let sdp = crate::body::sdp(response).ok().flatten();
        match sdp {
            Some(sdp) if self.dialogs[index].early_sdp.as_deref() != Some(sdp) || self.current != index => {
                self.current = index;
                self.dialogs[index].early_sdp = Some(sdp.to_vec());
                self.tell(
                    wire,
                    Event::Progress {
                        session: self.id,
                        sdp: sdp.to_vec(),
                    },
                );
            }
            None if !self.rang => {
                self.rang = true;
                self.tell(wire, Event::Ringing { session: self.id });
            }
            _ => {}
        }
    }

    /// Finds or makes the dialog of a response's To tag; every branch of a fork has its own.
    fn dialog_for(&mut self, wire: &Wire, response: &Message<'_>, source: SocketAddr) -> Option<usize> {
        let tag = response.to.tag().unwrap_or_default();
        if let Some(index) = self.dialogs.iter().position(|dialog| *dialog.remote_tag == *tag) {
            return Some(index);
        }
        let entry = wire.peers.get(self.peer);
        let (_, path) = self.invite.and_then(|key| wire.request_of(key))?;
        let transport = entry.map_or(path.transport, |entry| entry.peer.transport);
        let path = Path {
            remote: source,
            transport,
            ..path
        };
        let mut dialog = Dialog::from_response(response, path);
        if dialog.target.is_empty() {
            // Without a Contact the call's own URI must do.
            dialog.target = self
                .remote
                .strip_prefix(b"<")
                .and_then(|name| name.strip_suffix(b">"))
                .unwrap_or_default()
                .into();
        }
        if self.dialogs.len() < MAX_DIALOGS {
            // Most calls have one.
            self.dialogs.reserve_exact(1);
            self.dialogs.push(dialog);
            return Some(self.dialogs.len() - 1);
        }
        // An answer must be acknowledged, however many branches there are: one that only rang makes room for it, else
        // one that was ended.
        let is_answer = response.status().is_some_and(|status| status >= 200);
        let spare = self.dialogs.iter().position(Dialog::is_spare);
        let other = (0..self.dialogs.len()).find(|index| *index != self.current);
        let index = spare.or(other).filter(|_| is_answer)?;
        self.dialogs[index] = dialog;
        Some(index)
    }

    /// A 2xx: every one gets its ACK, made from that response; one dialog is kept, others get BYE.
    fn on_answer(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        response: &Message<'_>,
        source: SocketAddr,
    ) {
        let Some(index) = self.dialog_for(wire, response, source) else {
            return;
        };
        let cseq = response.cseq.number;
        if let Some(ack) = self.dialogs[index].ack(cseq).cloned() {
            return wire.send(ack.path, ack.bytes);
        }
        let dialog = &mut self.dialogs[index];
        dialog.path.remote = source;
        dialog.refresh_routes(response);
        dialog.refresh_target(response);
        self.acknowledge(wire, index, cseq, &[]);
        if self.state != State::Calling || self.invite != Some(key) {
            if self.state == State::Cancelling && self.invite == Some(key) {
                self.finish_invite(wire, now);
            }
            // A copy that another INVITE of this call brought must not end the dialog that is kept.
            if self.state == State::Confirmed && index == self.current {
                return;
            }
            return self.release_dialog(wire, now, index, &[]);
        }
        (self.target_at, self.give_up_at) = (None, None);
        self.current = index;
        let sdp = match crate::body::sdp(response) {
            Ok(Some(sdp)) => Some(sdp.to_vec()),
            _ => self.dialogs[index].early_sdp.take(),
        };
        let Some(sdp) = sdp.filter(|_| response.to.tag().is_some()) else {
            self.release_dialog(wire, now, index, &[]);
            self.drop_offer(wire, now);
            self.state = State::Over;
            return self.tell_failed(wire, local_failure(488));
        };
        self.state = State::Confirmed;
        self.remote_sdp = Some(sdp_hash(&sdp));
        self.note_refresh_of_response(now, response);
        self.tell(
            wire,
            Event::Answered {
                session: self.id,
                sdp,
            },
        );
    }

    /// Sends the ACK of a 2xx and keeps it for copies of that 2xx (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge(&mut self, wire: &mut Wire, index: usize, cseq: u32, sdp: &[u8]) {
        let Some(path) = self.path(wire, index) else {
            return;
        };
        let via = wire.ack_via(path);
        let current = std::mem::replace(&mut self.cseq, cseq);
        let begun = self.begin("ACK", index, via.as_bytes());
        self.cseq = current.max(cseq);
        let Ok(mut writer) = begun else { return };
        // The ACK may go wherever the 2xx's Contact points: credentials go to the peer only.
        let ours = wire
            .peers
            .get(self.peer)
            .is_some_and(|entry| entry.peer.owns(path.remote.ip()));
        if ours {
            writer.lines(&self.invite_credentials);
        }
        let Ok(bytes) = writer.finish(Some("application/sdp"), sdp) else {
            return;
        };
        let kept = bytes.clone();
        self.dialogs[index].keep_ack(Ack {
            cseq,
            bytes: kept,
            path,
        });
        wire.send(path, bytes);
    }

    fn on_failure(&mut self, wire: &mut Wire, now: Instant, key: Key, response: &Message<'_>) {
        let status = response.status().unwrap_or(500);
        if self.state == State::Calling {
            let retried = match status {
                401 | 407 => self.authenticate(wire, now, key, Purpose::Invite, response),
                422 => self.raise_expires(wire, now, key, Purpose::Invite, response),
                _ => None,
            };
            if retried.is_some() {
                self.invite = retried;
                return self.keep_trying(wire, now);
            }
            let failure = failure(response);
            // After ringing, 408 is the callee's.
            let is_targets = status == 503 || (status == 408 && !self.rang);
            if is_targets && !failure.reason.is_callees() {
                self.rest_target(wire, now, failure.retry_after);
                if self.try_next_target(wire, now) {
                    return;
                }
            }
            self.tell_failed(wire, failure);
        }
        self.finish_invite(wire, now);
    }

    /// No response, or nothing could be sent.
    fn on_silence(&mut self, wire: &mut Wire, now: Instant, status: u16) {
        if self.state == State::Calling {
            self.rest_target(wire, now, None);
            if self.try_next_target(wire, now) {
                return;
            }
            self.tell_failed(wire, local_failure(status));
        }
        self.finish_invite(wire, now);
    }

    fn finish_invite(&mut self, wire: &mut Wire, now: Instant) {
        self.drop_offer(wire, now);
        self.state = State::Over;
        (self.target_at, self.give_up_at) = (None, None);
    }

    /// Raises Session-Expires to the Min-SE of a 422 and tries once more (RFC 4028 §7.4).
    pub(super) fn raise_expires(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        response: &Message<'_>,
    ) -> Option<Key> {
        let min = response
            .header(Name::MinSe)
            .and_then(SessionExpires::parse)?
            .seconds;
        if self.refresh.raised >= 2 || min > 86_400 {
            return None;
        }
        self.refresh.raised += 1;
        let expires = min.max(wire.config.session_expires);
        let replace = [
            (Name::SessionExpires, "Session-Expires", expires.to_string()),
            (Name::MinSe, "Min-SE", min.to_string()),
        ];
        self.resubmit(
            wire,
            now,
            key,
            purpose,
            Change {
                replace: &replace,
                ..Change::default()
            },
        )
    }
}
