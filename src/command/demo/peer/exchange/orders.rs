//! Orders of our phones and offices: dial, respond, hang up.

use std::net::SocketAddr;
use std::time::Duration;

use rsip::{Method, Request};
use tokio::sync::mpsc;

use super::super::dialog::{Dialog, Stage};
use super::super::message::{self, Outline};
use super::super::user_agent::{CallEvent, Dial, Order};
use super::{Exchange, GIVE_UP, T2, Until, random_branch, random_token, transaction_of};

impl Exchange {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Dial { key, dial, events } => self.dial(key, dial, events).await,
            Order::Respond {
                key,
                status,
                headers,
                sdp,
            } => self.respond(key, status, &headers, sdp).await,
            Order::Hangup { key } => self.hangup(key).await,
            Order::Reoffer { key, sdp } => {
                let local = self.local;
                let branch = random_branch();
                let Some(dialog) = self.dialog(key).filter(|dialog| dialog.stage == Stage::Up) else {
                    return;
                };
                dialog.sdp = Some(sdp.clone());
                if let Some(request) = dialog.request(Method::Invite, None, local, &branch, Some(&sdp)) {
                    dialog.invite = request.clone();
                    let peer = dialog.peer;
                    self.send_request(&request, peer, GIVE_UP).await;
                }
            }
        }
    }

    async fn dial(&mut self, key: u64, dial: Dial, events: mpsc::Sender<CallEvent>) {
        let (tag, branch) = (random_token(), random_branch());
        let call_id = format!("{}@{}", random_token(), self.local.ip());
        let local = match dial.caller.as_str() {
            "" => format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={tag}"),
            caller => format!("<sip:{caller}@{}>;tag={tag}", self.local),
        };
        let remote = format!("<sip:{}@{}>", dial.number, dial.server);
        let target = dial
            .uri
            .clone()
            .unwrap_or_else(|| format!("sip:{}@{}", dial.number, dial.server));
        let contact = format!(
            "<sip:{}@{}>",
            if dial.caller.is_empty() {
                "phone"
            } else {
                &dial.caller
            },
            self.local
        );
        let outline = Outline {
            method: Method::Invite,
            uri: &target,
            local: self.local,
            branch: &branch,
            from: &local,
            to: &remote,
            call_id: &call_id,
            cseq: 1,
            routes: &[],
            contact: Some(&contact),
            extra: &dial.headers,
            sdp: dial.sdp.as_deref(),
        };
        let Ok(invite) = message::request(&outline) else {
            let _ = events.try_send(CallEvent::Failed {
                status: 416,
                reason: None,
            });
            return;
        };
        self.send_request(&invite, dial.server, GIVE_UP).await;
        self.dialogs.push(Dialog::calling(key, invite, dial, events));
    }

    async fn send_request(&mut self, request: &Request, to: SocketAddr, longest: Duration) {
        let Some(transaction) = transaction_of(request) else {
            return;
        };
        let bytes = request.to_string().into_bytes();
        self.send_until(Until::Response(transaction), bytes, to, longest)
            .await;
    }

    pub(super) async fn respond(
        &mut self,
        key: u64,
        status: (u16, &str),
        headers: &[(&'static str, String)],
        sdp: Option<String>,
    ) {
        let Some(dialog) = self.dialog(key).filter(|dialog| dialog.stage == Stage::Invited) else {
            return;
        };
        if sdp.is_some() {
            dialog.sdp.clone_from(&sdp);
        }
        let (invite, source) = (dialog.invite.clone(), dialog.invite_source);
        let response = message::response(&invite, source, status, &dialog.local_tag);
        let mut extra = vec![("Contact", dialog.contact.as_str())];
        extra.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let bytes = message::complete(response, &extra, sdp.as_deref())
            .to_string()
            .into_bytes();
        if status.0 < 200 {
            return self.send(&bytes, source).await;
        }
        let success = status.0 < 300;
        dialog.stage = if success { Stage::Up } else { Stage::Over };
        self.store(&invite, &bytes, source);
        self.send_until(Until::Ack { key, success }, bytes, source, T2)
            .await;
    }

    pub(super) async fn hangup(&mut self, key: u64) {
        let Some(at) = self.dialogs.iter().position(|dialog| dialog.key == key) else {
            return;
        };
        match self.dialogs[at].stage {
            Stage::Inviting { proceeding, .. } => {
                self.dialogs[at].stage = Stage::Inviting {
                    proceeding,
                    unwanted: true,
                };
                if proceeding {
                    self.cancel(at).await;
                }
            }
            Stage::Invited => {
                self.respond(key, (480, "Temporarily Unavailable"), &[], None)
                    .await
            }
            Stage::Up => {
                let (local, branch) = (self.local, random_branch());
                let dialog = &mut self.dialogs[at];
                dialog.stage = Stage::Over;
                let peer = dialog.peer;
                if let Some(bye) = dialog.request(Method::Bye, None, local, &branch, None) {
                    self.send_request(&bye, peer, T2).await;
                }
            }
            Stage::Over => {}
        }
    }

    pub(super) async fn cancel(&mut self, at: usize) {
        let dialog = &self.dialogs[at];
        let (peer, remote) = (dialog.peer, dialog.remote.clone());
        if let Some(cancel) = dialog.same_transaction(Method::Cancel, &remote, self.local) {
            self.send_request(&cancel, peer, T2).await;
        }
    }
}
