//! Requests of the other side: calls that come in, and what happens within calls.

use std::net::SocketAddr;

use rsip::{Method, Request};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::dialog::{Dialog, Stage};
use super::super::message;
use super::super::user_agent::{Arrival, Call, CallEvent, Invitation, next_key};
use super::{
    Exchange, GIVE_UP, QUEUE, Stored, T2, Until, random_token, split_header, text_of, transaction_of,
};

impl Exchange {
    pub(super) async fn requested(&mut self, request: Request, source: SocketAddr) {
        let transaction = transaction_of(&request);
        let stored = transaction
            .as_ref()
            .and_then(|transaction| self.answered.get(transaction));
        if let Some(stored) = stored {
            return self.send(&stored.bytes, stored.to).await;
        }
        match request.method {
            Method::Ack => self.acknowledged(&request),
            Method::Invite => self.invited(request, source).await,
            Method::Cancel => self.cancelled(&request, source).await,
            Method::Bye => self.ended(&request, source).await,
            Method::Register => self.registered(&request, source).await,
            Method::Options | Method::Info | Method::Update | Method::PRack => {
                let known = self.called(&request).is_some();
                let status = if known || request.method == Method::Options {
                    (200, "OK")
                } else {
                    (481, "Call/Transaction Does Not Exist")
                };
                self.reply(&request, source, status, "agent", &[], None).await;
            }
            _ => {
                self.reply(&request, source, (405, "Method Not Allowed"), "agent", &[], None)
                    .await
            }
        }
    }

    fn called(&mut self, request: &Request) -> Option<&mut Dialog> {
        let call_id = message::field(&request.headers, "Call-ID")?;
        self.dialogs
            .iter_mut()
            .find(|dialog| dialog.call_id == call_id && dialog.stage != Stage::Over)
    }

    fn acknowledged(&mut self, request: &Request) {
        let Some(call_id) = message::field(&request.headers, "Call-ID") else {
            return;
        };
        let Some(dialog) = self.dialogs.iter().find(|dialog| dialog.call_id == call_id) else {
            return;
        };
        let key = dialog.key;
        if dialog.stage == Stage::Up {
            let until = Until::Ack { key, success: true };
            if self.repeats.iter().any(|repeat| repeat.until == until) {
                dialog.tell(CallEvent::Confirmed {
                    sdp: text_of(&request.body),
                });
                self.stop_repeating(&until);
            }
        } else {
            self.stop_repeating(&Until::Ack { key, success: false });
        }
    }

    async fn invited(&mut self, request: Request, source: SocketAddr) {
        let tagged = message::field(&request.headers, "To").is_some_and(|to| message::has_tag(&to));
        if let Some(dialog) = self.called(&request) {
            if !tagged || dialog.stage != Stage::Up {
                return; // a repeat of an INVITE that we are still thinking about
            }
            dialog.aim(message::field(&request.headers, "Contact"));
            let (key, sdp) = (dialog.key, dialog.sdp.clone());
            if let Some(offer) = text_of(&request.body) {
                dialog.tell(CallEvent::Reoffered { sdp: offer });
            }
            let contact = format!("<sip:{}>", self.local);
            let response = message::response(&request, source, (200, "OK"), "");
            let response = message::complete(response, &[("Contact", &contact)], sdp.as_deref());
            let bytes = response.to_string().into_bytes();
            self.store(&request, &bytes, source);
            return self
                .send_until(Until::Ack { key, success: true }, bytes, source, T2)
                .await;
        }
        if tagged {
            let status = (481, "Call/Transaction Does Not Exist");
            return self.reply(&request, source, status, "agent", &[], None).await;
        }
        let trying = message::complete(
            message::response(&request, source, (100, "Trying"), ""),
            &[],
            None,
        );
        self.send(trying.to_string().as_bytes(), source).await;
        self.take_call(request, source);
    }

    fn take_call(&mut self, request: Request, source: SocketAddr) {
        let Some(orders) = self.orders.upgrade() else {
            return;
        };
        let (key, (events, queue)) = (next_key(), mpsc::channel(QUEUE));
        let invitation = Invitation {
            number: request.uri.user().unwrap_or_default().to_owned(),
            caller: message::field(&request.headers, "From")
                .as_deref()
                .and_then(message::user)
                .unwrap_or_default(),
            source,
            sdp: text_of(&request.body),
            headers: request.headers.iter().filter_map(split_header).collect(),
        };
        let dialog = Dialog::called(key, request, (source, self.local), events);
        self.dialogs.push(dialog);
        let call = Call::new(key, orders, queue, Some(invitation));
        let _ = self.arrivals.try_send(Arrival::Call(call));
    }

    async fn cancelled(&mut self, request: &Request, source: SocketAddr) {
        let reason = message::field(&request.headers, "Reason");
        let found = self
            .called(request)
            .map(|dialog| (dialog.key, dialog.stage, dialog.local_tag.clone()));
        let Some((key, stage, tag)) = found else {
            let status = (481, "Call/Transaction Does Not Exist");
            return self.reply(request, source, status, "agent", &[], None).await;
        };
        self.reply(request, source, (200, "OK"), &tag, &[], None).await;
        if stage == Stage::Invited {
            self.respond(key, (487, "Request Terminated"), &[], None).await;
            if let Some(dialog) = self.dialog(key) {
                dialog.tell(CallEvent::Cancelled { reason });
            }
        }
    }

    async fn ended(&mut self, request: &Request, source: SocketAddr) {
        let reason = message::field(&request.headers, "Reason");
        let Some(dialog) = self.called(request) else {
            let status = (481, "Call/Transaction Does Not Exist");
            return self.reply(request, source, status, "agent", &[], None).await;
        };
        dialog.stage = Stage::Over;
        dialog.tell(CallEvent::Ended { reason });
        let (key, tag) = (dialog.key, dialog.local_tag.clone());
        self.stop_repeating(&Until::Ack { key, success: true });
        self.reply(request, source, (200, "OK"), &tag, &[], None).await;
    }

    async fn registered(&mut self, request: &Request, source: SocketAddr) {
        let Some(registrar) = &mut self.registrar else {
            return self
                .reply(request, source, (405, "Method Not Allowed"), "agent", &[], None)
                .await;
        };
        let (response, registration) = registrar.answer(request, source, &random_token(), &random_token());
        let bytes = response.to_string().into_bytes();
        self.store(request, &bytes, source);
        self.send(&bytes, source).await;
        let _ = self.arrivals.try_send(Arrival::Registration(registration));
    }

    async fn reply(
        &mut self,
        request: &Request,
        source: SocketAddr,
        status: (u16, &str),
        tag: &str,
        extra: &[(&str, &str)],
        sdp: Option<&str>,
    ) {
        let response = message::complete(message::response(request, source, status, tag), extra, sdp);
        let bytes = response.to_string().into_bytes();
        self.store(request, &bytes, source);
        self.send(&bytes, source).await;
    }

    pub(super) fn store(&mut self, request: &Request, bytes: &[u8], to: SocketAddr) {
        if let Some(transaction) = transaction_of(request) {
            let until = Instant::now() + GIVE_UP;
            self.answered.insert(
                transaction,
                Stored {
                    bytes: bytes.to_vec(),
                    to,
                    until,
                },
            );
        }
    }
}
