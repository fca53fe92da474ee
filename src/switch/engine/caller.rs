//! What the caller's side does: keys, new offers, hanging up; and what the media threads tell of either side.

use std::time::Duration;

use super::Now;
use super::call::{Call, DigitSource, Side, Withheld};
use super::exchange::Exchange;
use crate::call::leg::LegState;
use crate::call::record::{Cause, EndedBy, EventKind, LegNumber, UtcMicros};
use crate::flow::run::Event as FlowEvent;

/// One press that comes by RTP and by INFO counts once (`sip.md` §6.4).
const SAME_PRESS: Duration = Duration::from_millis(250);

impl Exchange {
    pub(super) fn on_caller_event(&mut self, now: Now, call: &mut Call, event: sip::Event) {
        match event {
            sip::Event::Offered { sdp, .. } => self.on_offer(now, call, Side::Caller, sdp.as_deref()),
            sip::Event::OfferAnswered { sdp, .. } => self.on_offer_answered(now, call, Side::Caller, &sdp),
            sip::Event::DigitPressed { digit, .. } => self.on_digit(now, call, digit, DigitSource::Info),
            sip::Event::Ended { ended, reason, .. } => {
                let by = match ended {
                    sip::Ended::ByUs => return,
                    sip::Ended::ByPeer | sip::Ended::CancelledByPeer => EndedBy::Caller,
                    _ => EndedBy::Trunk,
                };
                let cause = Cause {
                    q850: reason.cause,
                    ..Cause::default()
                };
                self.on_caller_gone(now, call, by, cause);
            }
            sip::Event::Failed { .. } => self.on_caller_gone(now, call, EndedBy::Trunk, Cause::default()),
            _ => {}
        }
    }

    pub(super) fn on_media_event(&mut self, now: Now, call: &mut Call, side: Side, event: media::Event) {
        match event {
            media::Event::DigitPressed { digit, .. } if side == Side::Caller => {
                self.on_digit(now, call, digit, DigitSource::Rtp);
            }
            media::Event::Played { play, .. } if side == Side::Caller && call.playing == Some(play.0) => {
                call.playing = None;
                call.pending.push_back(FlowEvent::Played);
            }
            media::Event::Started { .. } => {
                let leg = leg_number(call, side);
                self.note(now, call, leg, EventKind::MediaStarted);
            }
            media::Event::Silent { .. } => self.on_silence(now, call, side),
            media::Event::Closed { stream, statistics } => self.on_totals(call, stream, &statistics),
            _ => {}
        }
    }

    fn on_digit(&mut self, now: Now, call: &mut Call, digit: char, source: DigitSource) {
        let again = call.last_digit.is_some_and(|(last, came, at)| {
            last == digit && came != source && now.monotonic.saturating_duration_since(at) < SAME_PRESS
        });
        call.last_digit = Some((digit, source, now.monotonic));
        if again {
            return;
        }
        let passed_on = match call.withheld {
            Withheld::Nothing => true,
            Withheld::Star => digit != '*',
            Withheld::All => false,
        };
        if source == DigitSource::Info && call.bridged && passed_on {
            self.send_digit(call, digit);
        }
        call.pending.push_back(FlowEvent::DigitPressed(digit));
    }

    /// Nothing was heard for long. A caller's silence ends the call, since nobody may be there; an office's is only
    /// noted: holding lines without comfort noise are common.
    fn on_silence(&mut self, now: Now, call: &mut Call, side: Side) {
        let seconds = u32::try_from(self.settings.silence_after.as_secs()).unwrap_or(u32::MAX);
        let leg = leg_number(call, side);
        self.note(now, call, leg, EventKind::MediaSilent { seconds });
        if side == Side::Caller && call.caller.state == LegState::Answered {
            self.note(now, call, leg, EventKind::MediaTimedOut);
            self.endpoint.hangup(now.monotonic, call.caller.session, None);
            self.on_caller_gone(now, call, EndedBy::Server, Cause::default());
        }
    }

    /// The peer offers again: a hold, another address, another codec, or just a refresh.
    pub(super) fn on_offer(&mut self, now: Now, call: &mut Call, side: Side, offer: Option<&[u8]>) {
        let at = UtcMicros::from(now.wall);
        let leg = match side {
            Side::Caller => Some(&mut call.caller),
            Side::Callee => call.callee.as_mut().filter(|leg| leg.is_up()),
        };
        let Some(leg) = leg else { return };
        let (session, number) = (leg.session, leg.number);
        let accepted = leg.take_offer(offer).is_ok();
        match leg.answer.take() {
            Some(answer) if accepted => {
                self.endpoint.accept_offer(now.monotonic, session, answer);
                if offer.is_some() {
                    self.update_stream(call, side);
                }
            }
            _ => self.endpoint.refuse_offer(now.monotonic, session, 488),
        }
        let reoffered = EventKind::Reoffered { accepted };
        call.book.note(at, Some(number), reoffered, &mut self.changes);
    }

    /// The answer to an offer that went in our 200 or in our reply to a request without one.
    pub(super) fn on_offer_answered(&mut self, now: Now, call: &mut Call, side: Side, answer: &[u8]) {
        let leg = match side {
            Side::Caller => Some(&mut call.caller),
            Side::Callee => call.callee.as_mut().filter(|leg| leg.is_up()),
        };
        let Some(leg) = leg else { return };
        if leg.take_answer(answer).is_err() {
            let session = leg.session;
            self.endpoint.hangup(now.monotonic, session, None);
            if side == Side::Caller {
                self.on_caller_gone(now, call, EndedBy::Server, Cause::default());
            }
            return;
        }
        self.open_or_update_stream(call, side);
    }

    pub(super) fn update_stream(&mut self, call: &mut Call, side: Side) {
        let leg = match side {
            Side::Caller => Some(&call.caller),
            Side::Callee => call.callee.as_ref(),
        };
        if let Some(leg) = leg.filter(|leg| leg.opened)
            && let Some(config) = leg.stream_config()
        {
            let stream = leg.seat.stream;
            self.media(call.key, media::Command::Update { stream, config });
        }
    }

    pub(super) fn open_or_update_stream(&mut self, call: &mut Call, side: Side) {
        let leg = match side {
            Side::Caller => Some(&mut call.caller),
            Side::Callee => call.callee.as_mut(),
        };
        let Some(leg) = leg else { return };
        let Some(config) = leg.stream_config() else { return };
        let stream = leg.seat.stream;
        let command = match std::mem::replace(&mut leg.opened, true) {
            true => media::Command::Update { stream, config },
            false => media::Command::Open { stream, config },
        };
        self.media(call.key, command);
    }

    pub(super) fn note(&mut self, now: Now, call: &mut Call, leg: Option<LegNumber>, kind: EventKind) {
        call.book
            .note(UtcMicros::from(now.wall), leg, kind, &mut self.changes);
    }
}

pub(super) fn leg_number(call: &Call, side: Side) -> Option<LegNumber> {
    match side {
        Side::Caller => Some(call.caller.number),
        Side::Callee => call.callee.as_ref().map(|leg| leg.number),
    }
}
