//! The record of one call while it runs: what is known is handed on in few, ordered changes.
//!
//! Events wait until the next change that matters (a leg, the end) or until [`MOST_WAITING`] have gathered, so a call
//! costs a handful of writes; the call itself is in the store from its first INVITE on.

use super::record::{
    CallClosed, CallDetails, CallEvent, CallOpened, EventKind, LegClosed, LegNumber, LegOpened, RecordChange,
    UtcMicros,
};
use crate::units::CallId;

/// Events that wait at most.
const MOST_WAITING: usize = 32;
/// Events of one call that are kept at most; a call that makes more is told so by its last one.
const MOST_EVENTS: usize = 2000;

/// Writes the record of one call.
#[derive(Debug)]
pub struct Book {
    call: CallId,
    waiting: Vec<CallEvent>,
    written: usize,
}

impl Book {
    pub fn open(opened: CallOpened, changes: &mut Vec<RecordChange>) -> Self {
        let call = opened.call;
        changes.push(RecordChange::CallOpened(Box::new(opened)));
        Self {
            call,
            waiting: Vec::new(),
            written: 0,
        }
    }

    pub fn call(&self) -> CallId {
        self.call
    }

    pub fn note(
        &mut self,
        at: UtcMicros,
        leg: Option<LegNumber>,
        kind: EventKind,
        changes: &mut Vec<RecordChange>,
    ) {
        // Keys pressed one after the other are one event: only their number is kept.
        if let (
            EventKind::Digits { count },
            Some(CallEvent {
                kind: EventKind::Digits { count: before },
                ..
            }),
        ) = (&kind, self.waiting.last_mut())
        {
            *before = before.saturating_add(*count);
            return;
        }
        match MOST_EVENTS.checked_sub(self.written + self.waiting.len()) {
            None | Some(0) => return,
            Some(1) => {
                let reason = "too_many_events".to_owned();
                self.waiting.push(CallEvent {
                    at,
                    leg: None,
                    kind: EventKind::Decision { reason },
                });
                return;
            }
            Some(_) => {}
        }
        self.waiting.push(CallEvent { at, leg, kind });
        if self.waiting.len() >= MOST_WAITING {
            self.flush(changes);
        }
    }

    pub fn open_leg(&mut self, opened: LegOpened, changes: &mut Vec<RecordChange>) {
        self.flush(changes);
        changes.push(RecordChange::LegOpened(Box::new(opened)));
    }

    pub fn close_leg(&mut self, closed: LegClosed, changes: &mut Vec<RecordChange>) {
        self.flush(changes);
        changes.push(RecordChange::LegClosed(Box::new(closed)));
    }

    pub fn tell(&mut self, details: CallDetails, changes: &mut Vec<RecordChange>) {
        changes.push(RecordChange::CallDetails {
            call: self.call,
            details: Box::new(details),
        });
    }

    pub fn close(&mut self, closed: CallClosed, changes: &mut Vec<RecordChange>) {
        self.flush(changes);
        changes.push(RecordChange::CallClosed(Box::new(closed)));
    }

    fn flush(&mut self, changes: &mut Vec<RecordChange>) {
        if !self.waiting.is_empty() {
            self.written += self.waiting.len();
            let events = std::mem::take(&mut self.waiting);
            changes.push(RecordChange::Events {
                call: self.call,
                events,
            });
        }
    }
}
