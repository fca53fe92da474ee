//! One call as SIP sees it: who we are in it, where its requests go, what we last said.

use std::net::SocketAddr;

use rsip::{Method, Request, Response};
use tokio::sync::mpsc;

use super::message::{self, Outline};
use super::user_agent::{CallEvent, Dial};

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// We sent INVITE; `proceeding` once a provisional response came, `unwanted` once the phone hung up.
    Inviting {
        proceeding: bool,
        unwanted: bool,
    },
    /// We got INVITE and have not answered.
    Invited,
    Up,
    Over,
}

/// One call of the exchange.
#[derive(Debug)]
pub struct Dialog {
    pub key: u64,
    pub stage: Stage,
    pub call_id: String,
    /// From as we write it, with our tag.
    pub local: String,
    /// To as we write it; with the other side's tag once known.
    pub remote: String,
    pub local_tag: String,
    /// The request URI of requests within the dialog, and where they are sent.
    pub target: String,
    pub peer: SocketAddr,
    pub routes: Vec<String>,
    pub contact: String,
    pub cseq: u32,
    /// The INVITE that began it: ours or theirs.
    pub invite: Request,
    pub invite_source: SocketAddr,
    /// Our latest description.
    pub sdp: Option<String>,
    /// The ACK for the latest 2xx, to repeat it.
    pub ack: Option<Vec<u8>>,
    pub events: mpsc::Sender<CallEvent>,
}

impl Dialog {
    /// A call that we begin with `invite`.
    pub fn calling(key: u64, invite: Request, dial: Dial, events: mpsc::Sender<CallEvent>) -> Dialog {
        let read = |name| message::field(&invite.headers, name).unwrap_or_default();
        Dialog {
            key,
            stage: Stage::Inviting {
                proceeding: false,
                unwanted: false,
            },
            call_id: read("Call-ID"),
            local: read("From"),
            remote: read("To"),
            local_tag: String::new(),
            target: invite.uri.to_string(),
            peer: dial.server,
            routes: Vec::new(),
            contact: read("Contact"),
            cseq: 1,
            invite_source: dial.server,
            sdp: dial.sdp,
            ack: None,
            events,
            invite,
        }
    }

    /// A call that begins with the other side's `invite`, which came from the first address to the second.
    pub fn called(
        key: u64,
        invite: Request,
        (source, local): (SocketAddr, SocketAddr),
        events: mpsc::Sender<CallEvent>,
    ) -> Dialog {
        let read = |name| message::field(&invite.headers, name).unwrap_or_default();
        let local_tag = format!("office{key}");
        let mut dialog = Dialog {
            key,
            stage: Stage::Invited,
            call_id: read("Call-ID"),
            local: format!("{};tag={local_tag}", read("To")),
            remote: read("From"),
            local_tag,
            target: String::new(),
            peer: source,
            routes: message::fields(&invite.headers, "Record-Route"),
            contact: format!("<sip:{}@{local}>", invite.uri.user().unwrap_or("phone")),
            cseq: 1,
            invite_source: source,
            sdp: None,
            ack: None,
            events,
            invite,
        };
        dialog.aim(message::field(&dialog.invite.headers, "Contact"));
        dialog
    }

    pub fn tell(&self, event: CallEvent) {
        let _ = self.events.try_send(event); // a phone that does not listen misses it
    }

    /// Builds the next request within the dialog; ACK takes the number of the INVITE it acknowledges.
    pub fn request(
        &mut self,
        method: Method,
        cseq: Option<u32>,
        local: SocketAddr,
        branch: &str,
        sdp: Option<&str>,
    ) -> Option<Request> {
        let cseq = cseq.unwrap_or_else(|| {
            self.cseq += 1;
            self.cseq
        });
        let outline = Outline {
            method,
            uri: &self.target,
            local,
            branch,
            from: &self.local,
            to: &self.remote,
            call_id: &self.call_id,
            cseq,
            routes: &self.routes,
            contact: Some(&self.contact),
            extra: &[],
            sdp,
        };
        message::request(&outline).ok()
    }

    /// Takes the dialog's state from the 2xx to our INVITE (RFC 3261 §12.1.2).
    pub fn establish(&mut self, response: &Response) {
        if let Some(to) = message::field(&response.headers, "To") {
            self.remote = to;
        }
        self.routes = message::fields(&response.headers, "Record-Route");
        self.routes.reverse();
        self.aim(message::field(&response.headers, "Contact"));
        self.stage = Stage::Up;
    }

    /// Sends later requests to the other side's contact.
    pub fn aim(&mut self, contact: Option<String>) {
        if let Some((uri, address)) = contact.as_deref().and_then(message::target) {
            self.target = uri;
            self.peer = address;
        }
    }

    /// A request that repeats the INVITE's transaction: CANCEL, or ACK for a final response other than 2xx
    /// (RFC 3261 §9.1, §17.1.1.3).
    pub fn same_transaction(&self, method: Method, to: &str, local: SocketAddr) -> Option<Request> {
        let branch = message::branch(&self.invite)?;
        let cseq = message::field(&self.invite.headers, "CSeq")?
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        let uri = self.invite.uri.to_string();
        let outline = Outline {
            method,
            uri: &uri,
            local,
            branch: &branch,
            from: &self.local,
            to,
            call_id: &self.call_id,
            cseq,
            routes: &[],
            contact: None,
            extra: &[],
            sdp: None,
        };
        message::request(&outline).ok()
    }
}
