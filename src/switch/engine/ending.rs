//! The end of legs and calls, and what is written then.

use std::time::Duration;

use media::{Statistics, StreamId};

use super::call::{ALL_TIMERS, Call, CallEnding, Timer};
use super::callee::talk_disposition;
use super::exchange::Exchange;
use super::{Now, Output};
use crate::call::disposition::{LegDisposition, SessionDisposition, TalkEnd};
use crate::call::leg::{Leg, LegEnding, LegState};
use crate::call::record::{
    CallClosed, CallDetails, Cause, EndedBy, EventKind, EvidenceSource, LegClosed, LegNumber, MediaSummary,
    UtcMicros,
};

/// How long the media thread may take to tell a stream's totals.
const TOTALS_PATIENCE: Duration = Duration::from_secs(2);

impl Exchange {
    /// The caller is gone: no office may ring without one.
    pub(super) fn on_caller_gone(&mut self, now: Now, call: &mut Call, by: EndedBy, cause: Cause) {
        if call.ending.is_some() {
            return;
        }
        self.note(now, call, Some(call.caller.number), EventKind::HungUp { by });
        let at = UtcMicros::from(now.wall);
        if let Some(leg) = call.callee_up() {
            let session = leg.session;
            let disposition = match leg.answered_at {
                Some(since) => talk_disposition(since, at, TalkEnd::CallerHungUp),
                None => LegDisposition::CallerEndedRinging,
            };
            self.endpoint.hangup(now.monotonic, session, None);
            self.end_callee(now, call, disposition, by, Cause::default());
        }
        let disposition = call.run.disposition_if_abandoned();
        self.end_call(now, call, disposition, by, cause);
    }

    /// The flow is through: both legs end.
    pub(super) fn end_by_flow(
        &mut self,
        now: Now,
        call: &mut Call,
        disposition: SessionDisposition,
        status: u16,
    ) {
        let of_callee = match disposition {
            SessionDisposition::SystemError => LegDisposition::SystemError,
            _ => LegDisposition::LimitReached,
        };
        self.hang_up_callee(now, call, of_callee);
        match call.caller.state {
            LegState::Invited => self
                .endpoint
                .reject(now.monotonic, call.caller.session, status, None),
            LegState::Answered => self.endpoint.hangup(now.monotonic, call.caller.session, None),
            LegState::Ended => {}
        }
        let sip_status = (call.caller.state == LegState::Invited).then_some(status);
        // A caller who was never answered gets the far end's failure.
        let passed_on =
            call.caller.answered_at.is_none() && disposition == SessionDisposition::NoTargetReached;
        let by = if passed_on {
            EndedBy::Trunk
        } else {
            EndedBy::Server
        };
        self.end_call(
            now,
            call,
            disposition,
            by,
            Cause {
                sip_status,
                ..Cause::default()
            },
        );
    }

    /// A fault of ours: the call ends, no other notices.
    pub(super) fn end_for_fault(&mut self, now: Now, call: &mut Call) {
        call.pending.clear();
        self.end_by_flow(now, call, SessionDisposition::SystemError, 500);
        call.pending.clear();
    }

    pub(super) fn end_for_shutdown(&mut self, now: Now, call: &mut Call) {
        if call.ending.is_none() {
            let reason = "shutting_down".to_owned();
            self.note(now, call, None, EventKind::Decision { reason });
            let disposition = call.run.disposition_if_abandoned();
            self.end_by_flow(now, call, disposition, 503);
        }
    }

    /// The caller's trunk carries no call for longer.
    pub(super) fn end_for_limit(&mut self, now: Now, call: &mut Call) {
        if call.ending.is_none() {
            let reason = "trunk_call_limit".to_owned();
            self.note(
                now,
                call,
                Some(call.caller.number),
                EventKind::Decision { reason },
            );
            let disposition = call.run.disposition_if_abandoned();
            self.end_by_flow(now, call, disposition, 503);
        }
    }

    /// Writes down how the dialled leg ended and lets go of its session and stream.
    pub(super) fn end_callee(
        &mut self,
        now: Now,
        call: &mut Call,
        disposition: LegDisposition,
        ended_by: EndedBy,
        cause: Cause,
    ) {
        call.dialling = None;
        let Some(mut leg) = call.callee.take() else { return };
        self.timers.cancel(call.key, Timer::TrunkRing);
        self.timers.cancel(call.key, Timer::CalleeLimit);
        let at = UtcMicros::from(now.wall);
        if std::mem::take(&mut call.bridged) {
            let stream = call.caller.seat.stream;
            self.media(call.key, media::Command::Unbridge { stream });
            self.note(now, call, Some(leg.number), EventKind::Unbridged);
        }
        let disposition = self.with_suspicion(now, call, &mut leg, (disposition, ended_by));
        leg.ending = Some(LegEnding {
            at,
            disposition,
            ended_by,
            cause,
        });
        self.let_go(now, call, leg);
    }

    fn end_call(
        &mut self,
        now: Now,
        call: &mut Call,
        disposition: SessionDisposition,
        by: EndedBy,
        cause: Cause,
    ) {
        call.dialling = None;
        let at = UtcMicros::from(now.wall);
        call.ending = Some(CallEnding { disposition, by, at });
        for timer in ALL_TIMERS {
            if timer != Timer::Totals {
                self.timers.cancel(call.key, timer);
            }
        }
        let leg_disposition = match (call.caller.answered_at, by) {
            (Some(since), EndedBy::Caller) => talk_disposition(since, at, TalkEnd::CallerHungUp),
            (Some(since), _) if at.since(since) >= 0 => talk_disposition(since, at, TalkEnd::CallerHungUp),
            (None, EndedBy::Caller) => LegDisposition::CallerEndedRinging,
            _ => cause
                .sip_status
                .map_or(LegDisposition::TrunkError, LegDisposition::of_status),
        };
        call.caller.ending = Some(LegEnding {
            at,
            disposition: leg_disposition,
            ended_by: by,
            cause,
        });
    }

    /// Ends a leg's session here and asks for its stream's totals; without a stream its record is closed at once.
    fn let_go(&mut self, now: Now, call: &mut Call, mut leg: Leg) {
        leg.state = LegState::Ended;
        self.sessions.remove(&leg.session);
        if let Some(line) = self.lines.get_mut(Self::index_of(leg.peer)) {
            line.calls = line.calls.saturating_sub(1);
            if leg.number == LegNumber(0) {
                line.inbound = line.inbound.saturating_sub(1);
            }
        }
        if leg.opened {
            self.media(
                call.key,
                media::Command::Close {
                    stream: leg.seat.stream,
                },
            );
            self.timers
                .set(call.key, Timer::Totals, now.monotonic + TOTALS_PATIENCE);
            call.ended_legs.push(leg);
        } else {
            self.streams.remove(&leg.seat.stream);
            self.outputs.push_back(Output::Discard(leg.seat.stream));
            self.close_leg(call, &leg, MediaSummary::default());
        }
    }

    pub(super) fn on_totals(&mut self, call: &mut Call, stream: StreamId, statistics: &Statistics) {
        let Some(at) = call.ended_legs.iter().position(|leg| leg.seat.stream == stream) else {
            return;
        };
        let leg = call.ended_legs.swap_remove(at);
        self.streams.remove(&stream);
        let summary = MediaSummary {
            codec: leg.codec().map(|codec| codec.name().to_owned()),
            packets_sent: statistics.sent,
            packets_received: statistics.received + statistics.unread,
            packets_lost: statistics.lost,
            jitter_microseconds: u32::try_from(statistics.jitter.as_micros()).unwrap_or(u32::MAX),
        };
        self.close_leg(call, &leg, summary);
    }

    /// The media thread told nothing in time: the record is closed without it.
    pub(super) fn close_without_totals(&mut self, call: &mut Call) {
        for leg in std::mem::take(&mut call.ended_legs) {
            self.streams.remove(&leg.seat.stream);
            self.close_leg(call, &leg, MediaSummary::default());
        }
    }

    fn close_leg(&mut self, call: &mut Call, leg: &Leg, media: MediaSummary) {
        let Some(ending) = &leg.ending else { return };
        let suspicion = leg.suspicion.as_ref();
        let heard = suspicion.filter(|heard| heard.disposition == ending.disposition);
        let closed = LegClosed {
            call: call.book.call(),
            leg: leg.number,
            at: ending.at,
            ringing_at: leg.ringing_at,
            answered_at: leg.answered_at,
            disposition: ending.disposition,
            ended_by: ending.ended_by,
            cause: ending.cause.clone(),
            evidence: heard.map_or(EvidenceSource::Signal, |_| EvidenceSource::Media),
            confidence: heard.map_or(100, |heard| heard.confidence),
            media,
        };
        call.book.close_leg(closed, &mut self.changes);
    }

    /// Closes the record of a leg that was never dialled.
    pub(super) fn close_undialled(
        &mut self,
        now: Now,
        call: &mut Call,
        number: LegNumber,
        disposition: LegDisposition,
    ) {
        let ended_by = match disposition {
            LegDisposition::CallerSkipped => EndedBy::Caller,
            _ => EndedBy::Server,
        };
        let closed = LegClosed {
            call: call.book.call(),
            leg: number,
            at: UtcMicros::from(now.wall),
            ringing_at: None,
            answered_at: None,
            disposition,
            ended_by,
            cause: Cause::default(),
            evidence: EvidenceSource::Signal,
            confidence: 100,
            media: MediaSummary::default(),
        };
        call.book.close_leg(closed, &mut self.changes);
    }

    /// Lets the caller's leg go once the call ended, and closes the record once all legs' totals are in.
    pub(super) fn finish_if_over(&mut self, now: Now, call: &mut Call) -> bool {
        let Some(ending) = call.ending else { return false };
        if call.caller.state != LegState::Ended {
            call.caller.state = LegState::Ended;
            let leg = call.caller.ended_copy();
            self.let_go(now, call, leg);
        }
        if !call.ended_legs.is_empty() {
            return false;
        }
        self.timers.forget(call.key, &ALL_TIMERS);
        let details: CallDetails = std::mem::take(&mut call.details);
        let closed = CallClosed {
            call: call.book.call(),
            at: ending.at,
            disposition: ending.disposition,
            ended_by: ending.by,
            details,
        };
        call.book.close(closed, &mut self.changes);
        let failed = ending.disposition == SessionDisposition::SystemError;
        self.trace.end(now, call.book.call(), failed);
        true
    }
}
