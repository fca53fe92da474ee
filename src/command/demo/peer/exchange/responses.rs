//! Responses of the other side to what we asked.

use rsip::{Method, Response};

use super::super::dialog::Stage;
use super::super::message;
use super::super::user_agent::CallEvent;
use super::{Exchange, Until, random_branch, text_of};

impl Exchange {
    pub(super) async fn responded(&mut self, response: Response) {
        let (Some(branch), Some(cseq)) = (
            message::branch(&response),
            message::field(&response.headers, "CSeq"),
        ) else {
            return;
        };
        let method = cseq.split(' ').nth(1).unwrap_or_default().to_owned();
        self.stop_repeating(&Until::Response(format!("{branch} {method}")));
        if method != "INVITE" {
            return;
        }
        let call_id = message::field(&response.headers, "Call-ID").unwrap_or_default();
        let Some(at) = self.dialogs.iter().position(|dialog| dialog.call_id == call_id) else {
            return;
        };
        match response.status_code.code() {
            100 => self.proceed(at).await,
            101..=199 => {
                let dialog = &self.dialogs[at];
                match text_of(&response.body) {
                    Some(sdp) => dialog.tell(CallEvent::Progress { sdp }),
                    None => dialog.tell(CallEvent::Ringing {
                        status: response.status_code.code(),
                    }),
                }
                self.proceed(at).await;
            }
            200..=299 => self.accepted(at, &response, &cseq).await,
            status => self.refused(at, &response, status).await,
        }
    }

    async fn proceed(&mut self, at: usize) {
        if let Stage::Inviting {
            proceeding: false,
            unwanted,
        } = self.dialogs[at].stage
        {
            self.dialogs[at].stage = Stage::Inviting {
                proceeding: true,
                unwanted,
            };
            if unwanted {
                self.cancel(at).await;
            }
        }
    }

    async fn accepted(&mut self, at: usize, response: &Response, cseq: &str) {
        let local = self.local;
        let dialog = &mut self.dialogs[at];
        let number = cseq.split(' ').next().and_then(|number| number.parse().ok());
        let first = dialog.ack.is_none() || dialog.stage == Stage::Up && number == Some(dialog.cseq);
        let unwanted = matches!(dialog.stage, Stage::Inviting { unwanted: true, .. });
        if let (false, Some(ack)) = (first, &dialog.ack) {
            let (bytes, peer) = (ack.clone(), dialog.peer);
            return self.send(&bytes, peer).await;
        }
        let inviting = matches!(dialog.stage, Stage::Inviting { .. });
        if inviting {
            dialog.establish(response);
        }
        let answer = text_of(&response.body);
        let sdp = if dialog.invite.body.is_empty() {
            dialog.sdp.clone()
        } else {
            None
        };
        let ack = dialog.request(Method::Ack, number, local, &random_branch(), sdp.as_deref());
        if let Some(ack) = ack {
            let bytes = ack.to_string().into_bytes();
            dialog.ack = Some(bytes.clone());
            if inviting && !unwanted {
                dialog.tell(CallEvent::Answered {
                    sdp: answer.unwrap_or_default(),
                });
            }
            let (key, peer) = (dialog.key, dialog.peer);
            self.send(&bytes, peer).await;
            if unwanted {
                self.hangup(key).await; // our CANCEL crossed their answer
            }
        }
    }

    async fn refused(&mut self, at: usize, response: &Response, status: u16) {
        let to = message::field(&response.headers, "To").unwrap_or_default();
        let dialog = &mut self.dialogs[at];
        let ack = dialog.same_transaction(Method::Ack, &to, self.local);
        if matches!(dialog.stage, Stage::Inviting { .. }) {
            dialog.stage = Stage::Over;
            let reason = message::field(&response.headers, "Reason");
            dialog.tell(CallEvent::Failed { status, reason });
        }
        let peer = dialog.invite_source;
        if let Some(ack) = ack {
            self.send(ack.to_string().as_bytes(), peer).await;
        }
    }
}
