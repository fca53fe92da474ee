//! What the caller's side does: keys, new offers, hanging up; and what the media threads tell of either side.

use std::time::Duration;

use super::Now;
use super::call::{Call, DigitSource, LastDigit, Side, Withheld};
use super::callee::NO_SOUND_AT_ALL;
use super::exchange::Exchange;
use crate::call::disposition::LegDisposition;
use crate::call::leg::LegState;
use crate::call::record::{Cause, EndedBy, EventKind, LegNumber, UtcMicros};
use crate::flow::run::Event as FlowEvent;

/// One press that comes by RTP and by INFO counts once (`sip.md` §6.4).
const SAME_PRESS: Duration = Duration::from_millis(250);
/// What a peer says of the length of a press is believed up to this.
const LONGEST_PRESS: Duration = Duration::from_secs(5);

impl Exchange {
    pub(super) fn on_caller_event(&mut self, now: Now, call: &mut Call, event: sip::Event) {
        match event {
            sip::Event::Offered { sdp, .. } => self.on_offer(now, call, Side::Caller, sdp.as_deref()),
            sip::Event::OfferAnswered { sdp, .. } => self.on_offer_answered(now, call, Side::Caller, &sdp),
            sip::Event::DigitPressed { digit, duration, .. } => {
                self.on_digit(now, call, digit, DigitSource::Info, duration.min(LONGEST_PRESS));
            }
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
                self.on_digit(now, call, digit, DigitSource::Rtp, Duration::ZERO);
            }
            media::Event::Heard { heard, .. } => self.on_heard(now, call, side, heard),
            media::Event::Played { play, .. } if side == Side::Caller && call.playing == Some(play.0) => {
                call.playing = None;
                call.pending.push_back(FlowEvent::Played);
            }
            media::Event::Started { .. } => {
                let leg = leg_number(call, side);
                self.note(now, call, leg, EventKind::MediaStarted);
                self.on_sound(now, call, side);
            }
            media::Event::Silent { .. } => self.on_silence(now, call, side),
            media::Event::Closed { stream, statistics } => self.on_totals(call, stream, &statistics),
            _ => {}
        }
    }

    /// A key, told by RTP when the press begins, by INFO usually when it ends.
    pub(super) fn on_digit(
        &mut self,
        now: Now,
        call: &mut Call,
        digit: char,
        source: DigitSource,
        held: Duration,
    ) {
        let way = source as usize;
        if let Some(last) = &mut call.last_digit {
            let since = now.monotonic.saturating_duration_since(last.at);
            if last.digit == digit && !last.came[way] && since < SAME_PRESS + held {
                // Another copy of this press; the next one that comes this way is another press.
                last.came[way] = true;
                return;
            }
        }
        let mut last = LastDigit {
            digit,
            came: [false; 3],
            at: now.monotonic,
        };
        last.came[way] = true;
        call.last_digit = Some(last);
        let passed_on = match call.withheld {
            Withheld::Nothing => true,
            Withheld::Star => digit != '*',
            Withheld::All => false,
        };
        // RTP events are relayed on the media thread, where the callee's side takes them.
        let relayed = source == DigitSource::Rtp && call.callee_takes_events();
        if call.bridged && passed_on && !relayed {
            self.send_digit(now, call, digit, held);
        }
        call.pending.push_back(FlowEvent::DigitPressed(digit));
    }

    /// A side's first sound. Before its answer, the callee's is early media.
    fn on_sound(&mut self, now: Now, call: &mut Call, side: Side) {
        let leg = match side {
            Side::Caller => Some(&mut call.caller),
            Side::Callee => call.callee_up(),
        };
        let Some(leg) = leg else { return };
        let first = !std::mem::replace(&mut leg.heard, true);
        let (number, early) = (leg.number, leg.state == LegState::Invited);
        if side == Side::Callee && first && early {
            self.note(now, call, Some(number), EventKind::EarlyMedia);
            call.pending.push_back(FlowEvent::CalleeSpokeEarly);
        }
    }

    /// Nothing was heard for long. A caller's silence ends the call, since nobody may be there. An office from which
    /// nothing ever came is no talk; one that fell silent is only noted: holding lines without noise are common.
    fn on_silence(&mut self, now: Now, call: &mut Call, side: Side) {
        let after = if side == Side::Caller {
            self.settings.silence_after
        } else {
            NO_SOUND_AT_ALL
        };
        let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
        let leg = leg_number(call, side);
        self.note(now, call, leg, EventKind::MediaSilent { seconds });
        match side {
            Side::Caller if call.caller.state == LegState::Answered => {
                self.note(now, call, leg, EventKind::MediaTimedOut);
                self.endpoint.hangup(now.monotonic, call.caller.session, None);
                self.on_caller_gone(now, call, EndedBy::Server, Cause::default());
            }
            Side::Callee => {
                let mute = call
                    .callee_up()
                    .filter(|leg| leg.state == LegState::Answered && !leg.heard);
                if let Some(session) = mute.map(|leg| leg.session) {
                    self.note(now, call, leg, EventKind::MediaTimedOut);
                    self.endpoint.hangup(now.monotonic, session, None);
                    self.lose_callee(now, call, LegDisposition::MediaFailed);
                }
            }
            Side::Caller => {}
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
                    self.trust_media(call, side);
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
            match side {
                Side::Caller => self.on_caller_gone(now, call, EndedBy::Server, Cause::default()),
                Side::Callee => self.lose_callee(now, call, LegDisposition::MediaFailed),
            }
            return;
        }
        self.trust_media(call, side);
        self.open_or_update_stream(call, side);
    }

    /// Judges the address that a peer named for its sound, each time it names one.
    pub(super) fn trust_media(&mut self, call: &mut Call, side: Side) {
        let leg = match side {
            Side::Caller => Some(&mut call.caller),
            Side::Callee => call.callee.as_mut(),
        };
        let Some(leg) = leg else { return };
        if let Some(target) = self.endpoint.target_of(leg.session) {
            leg.signals = Some(target.ip());
        }
        let described = leg.agreed.as_ref().and_then(|agreed| agreed.remote);
        let rule = self.source_rule(Self::index_of(leg.peer), described, leg.signals);
        leg.set_source(rule);
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
        self.listen(call, side);
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
        self.listen(call, side);
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
