//! The dialled leg: from the choice of a trunk to its end.

use std::time::{Duration, Instant};

use media::Codec;
use media::sdp::{Direction as Sending, Local};
use rand_core::RngCore;

use super::call::{Call, Dialling, Side, Timer};
use super::choice::{Chosen, NoTrunk, is_callees, is_the_trunks};
use super::exchange::Exchange;
use super::recipe::Asked;
use super::settings::TrunkStatus;
use super::{Now, Output};
use crate::call::disposition::{FinalResponse, LegDisposition, LegEnd, TalkEnd};
use crate::call::leg::{Leg, LegSetup, LegState, Seat};
use crate::call::number::Dialled;
use crate::call::record::{
    Cause, Choice, Direction, EndedBy, EventKind, LegNumber, LegOpened, Party, Phrase, UtcMicros,
};
use crate::flow::run::{DialRequest, Event as FlowEvent};

/// An answered leg from which nothing came for this long has failed (`hotline.md` §7, `media_failed`).
pub(super) const NO_SOUND_AT_ALL: Duration = Duration::from_secs(10);

impl Exchange {
    /// Dials. Whatever prevents it is told to the flow as the leg's end, and stands in the record.
    pub(super) fn dial(&mut self, now: Now, call: &mut Call, request: DialRequest) {
        if call.max_forwards <= 1 {
            let why = NoTrunk::too_many_hops();
            return self.fail_dial(now, call, &request, why);
        }
        match self.choose_trunk(now, call, &request, &[]) {
            Ok(chosen) => {
                call.dialling = Some(Dialling::new(request));
                self.dial_by(now, call, chosen);
            }
            Err(why) => self.fail_dial(now, call, &request, why),
        }
    }

    /// Dials by a trunk, at once or when its second has room. What is dialled stands in the call.
    fn dial_by(&mut self, now: Now, call: &mut Call, chosen: Chosen) {
        let Some(mut dialling) = call.dialling.take() else {
            return;
        };
        let Chosen {
            index,
            dialled,
            delay,
            ..
        } = chosen;
        let per_second = self.settings.trunks[index].calls_per_second;
        self.lines[index].rate.take(now.monotonic, per_second);
        if !delay.is_zero() {
            dialling.waits_for = Some(index);
            call.dialling = Some(dialling);
            return self.timers.set(call.key, Timer::Dial, now.monotonic + delay);
        }
        dialling.tried.push(index);
        self.invite(now, call, dialling, index, &dialled);
    }

    /// The second came for which a call waited.
    pub(super) fn dial_waiting(&mut self, now: Now, call: &mut Call) {
        let Some(dialling) = call.dialling.as_mut() else {
            return;
        };
        let Some(index) = dialling.waits_for.take() else {
            return;
        };
        let request = dialling.request.clone();
        // Its place in the second is paid for; all else may have changed.
        match self.offer(now, index, &request) {
            Ok(chosen) => {
                if let Some(mut dialling) = call.dialling.take() {
                    dialling.tried.push(index);
                    self.invite(now, call, dialling, index, &chosen.dialled);
                }
            }
            Err(why) => self.dial_next(now, call, index, why),
        }
    }

    /// Sends the INVITE, as a leg of its own.
    fn invite(&mut self, now: Now, call: &mut Call, dialling: Dialling, index: usize, dialled: &Dialled) {
        let number = call.new_leg();
        self.open_leg_record(now, call, number, &dialling.request, Some(index));
        let Some(seat) = self.take_seat() else {
            let why = NoTrunk::new(LegDisposition::SystemError, "no_media_port");
            return self.fail_leg(now, call, number, why);
        };
        let setup = self.callee_setup(index, number, seat, call.caller.codec());
        let mut local = Local::new(setup.sdp_id, setup.seat.address, &setup.codecs);
        let asked = Asked {
            peer: setup.peer,
            dialled,
            called: call.called.as_ref(),
            max_forwards: call.max_forwards.saturating_sub(1),
            sdp: local.offer(Sending::SendReceive),
        };
        let invite = self.settings.trunks[index].invite(asked);
        match self.endpoint.invite(now.monotonic, invite) {
            Ok(session) => {
                self.sessions.insert(session, (call.key, Side::Callee));
                self.streams.insert(seat.stream, (call.key, Side::Callee));
                self.lines[index].calls += 1;
                let shown = dialling.request.public_number.as_ref();
                self.trace_leg(call.book.call(), number, session, index, shown);
                let told = EventKind::Dialled {
                    target: dialling.request.target.clone(),
                    office: dialling.request.office.clone(),
                    trunk: Some(setup.trunk.clone()),
                    attempt: dialling.request.attempt,
                };
                call.callee = Some(Leg::dialled(session, setup, local).invited(now.monotonic));
                self.note(now, call, Some(number), told);
                self.limit_ringing(now, call, index);
                let another = self.choose_trunk(now, call, &dialling.request, &dialling.tried);
                if another.is_ok_and(|another| !another.resting) {
                    self.endpoint.hurry(now.monotonic, session);
                }
                call.dialling = Some(dialling);
            }
            Err(error) => {
                self.add_seat(seat);
                let why = NoTrunk::new(LegDisposition::TrunkError, format!("invite_refused: {error}"));
                let (disposition, reason) = (why.disposition, why.reason.clone());
                self.note(now, call, Some(number), EventKind::Decision { reason });
                self.close_undialled(now, call, number, disposition);
                call.dialling = Some(dialling);
                self.dial_next(now, call, index, why);
            }
        }
    }

    fn limit_ringing(&mut self, now: Now, call: &Call, index: usize) {
        if let Some(longest) = self.settings.trunks[index].longest_ring {
            self.timers
                .set(call.key, Timer::TrunkRing, now.monotonic + longest);
        }
    }

    fn callee_setup(&mut self, index: usize, number: LegNumber, seat: Seat, like: Option<Codec>) -> LegSetup {
        LegSetup {
            number,
            peer: Self::peer_id(index),
            trunk: self.settings.trunks[index].name.clone(),
            seat: self.seat_seen_by(index, seat),
            codecs: self.codecs_like_the_callers(index, like),
            source: self.source_rule(index, None, None),
            signals: self.lines[index].targets.first().map(|target| target.ip()),
            start: self.start(),
            sdp_id: self.random.next_u32() >> 1,
            silence_after: Some(NO_SOUND_AT_ALL),
            digits: self.settings.trunks[index].digits,
        }
    }

    /// A trunk failed before anything came of the call: dials by the next one, or tells the flow why there is none.
    fn dial_next(&mut self, now: Now, call: &mut Call, failed: usize, why: NoTrunk) {
        let Some(dialling) = call.dialling.as_mut() else {
            return;
        };
        if !dialling.tried.contains(&failed) {
            dialling.tried.push(failed);
        }
        let (request, tried) = (dialling.request.clone(), dialling.tried.clone());
        match self.choose_trunk(now, call, &request, &tried) {
            Ok(chosen) => self.dial_by(now, call, chosen),
            Err(_) => {
                call.dialling = None;
                self.fail_dial(now, call, &request, why);
            }
        }
    }

    /// Goes on to the next trunk when a leg failed by the fault of its own, and no sound of it was promised to the
    /// caller. The leg that failed stands in the record.
    fn goes_on(&mut self, now: Now, call: &mut Call, failure: &sip::Failure, cause: &Cause) -> bool {
        let Some(leg) = call.callee.as_ref().filter(|leg| leg.is_up()) else {
            return false;
        };
        let (index, rang, heard) = (Self::index_of(leg.peer), leg.ringing_at.is_some(), leg.heard);
        let codes = &self.settings.trunks[index].failover;
        if heard || call.bridged || !is_the_trunks(failure, rang, codes) {
            return false;
        }
        let Some(dialling) = &call.dialling else {
            return false;
        };
        let (request, tried) = (dialling.request.clone(), dialling.tried.clone());
        let Ok(chosen) = self.choose_trunk(now, call, &request, &tried) else {
            return false;
        };
        let disposition = disposition_of(failure);
        let number = leg.number;
        let reason = "next_trunk".to_owned();
        self.note(now, call, Some(number), EventKind::Decision { reason });
        self.tell_passed_over(index, chosen.index, cause);
        let dialling = call.dialling.take();
        self.end_callee(now, call, disposition, EndedBy::Trunk, cause.clone());
        call.dialling = dialling;
        self.dial_by(now, call, chosen);
        true
    }

    /// Tells that a trunk fails: once, until it carries a call again.
    fn tell_passed_over(&mut self, index: usize, next: usize, cause: &Cause) {
        if std::mem::replace(&mut self.lines[index].failing, true) {
            return;
        }
        let phrase = cause.phrase.as_ref().map(ToString::to_string).unwrap_or_default();
        let why = match cause.sip_status {
            Some(status) => format!("answered {status} {phrase}"),
            None => phrase,
        };
        let name = |index: usize| self.settings.trunks[index].name.clone();
        let (trunk, next) = (name(index), name(next));
        let told = TrunkStatus::PassedOver { trunk, next, why };
        self.outputs.push_back(Output::Trunk(told));
    }

    /// The trunk's codecs, with the one the caller's side uses first: nothing is to be converted then.
    fn codecs_like_the_callers(&self, index: usize, like: Option<Codec>) -> Vec<Codec> {
        let mut codecs = self.settings.trunks[index].codecs.clone();
        codecs.sort_by_key(|codec| Some(*codec) != like);
        codecs
    }

    fn open_leg_record(
        &mut self,
        now: Now,
        call: &mut Call,
        number: LegNumber,
        request: &DialRequest,
        trunk: Option<usize>,
    ) {
        let party = match &request.target {
            Some(target) => Party::Office {
                target: target.clone(),
                office: request.office.clone(),
                number: request.public_number.clone(),
            },
            None => Party::Route,
        };
        let opened = LegOpened {
            call: call.book.call(),
            leg: number,
            at: UtcMicros::from(now.wall),
            direction: Direction::Outbound,
            party,
            trunk: trunk.map(|index| self.settings.trunks[index].name.clone()),
            choice: Some(if request.target.is_some() {
                request.choice
            } else {
                Choice::Route
            }),
            attempt: request.attempt,
            caller_id_policy: trunk.map(|index| match self.settings.trunks[index].caller_id {
                Some(_) => "trunk_number".to_owned(),
                None => "account".to_owned(),
            }),
        };
        call.book.open_leg(opened, &mut self.changes);
    }

    /// Nothing was dialled: a leg of its own says so in the record, and the flow hears of it.
    fn fail_dial(&mut self, now: Now, call: &mut Call, request: &DialRequest, why: NoTrunk) {
        let number = call.new_leg();
        self.open_leg_record(now, call, number, request, None);
        self.fail_leg(now, call, number, why);
    }

    fn fail_leg(&mut self, now: Now, call: &mut Call, number: LegNumber, why: NoTrunk) {
        let NoTrunk { disposition, reason } = why;
        self.note(now, call, Some(number), EventKind::Decision { reason });
        self.close_undialled(now, call, number, disposition);
        call.pending.push_back(FlowEvent::CalleeEnded {
            disposition,
            cause: Cause::default(),
        });
    }

    pub(super) fn on_callee_event(&mut self, now: Now, call: &mut Call, event: sip::Event) {
        let at = UtcMicros::from(now.wall);
        let Some(leg) = call.callee.as_mut().filter(|leg| leg.is_up()) else {
            return;
        };
        match event {
            sip::Event::Ringing { .. } if leg.ringing_at.is_none() => {
                leg.ringing_at = Some(at);
                let number = leg.number;
                self.note(now, call, Some(number), EventKind::Ringing);
                call.pending.push_back(FlowEvent::CalleeRang);
            }
            sip::Event::Progress { sdp, .. } => self.on_early_media(now, call, &sdp),
            sip::Event::Answered { sdp, .. } => self.on_callee_answered(now, call, &sdp),
            sip::Event::Offered { sdp, .. } => self.on_offer(now, call, Side::Callee, sdp.as_deref()),
            sip::Event::OfferAnswered { sdp, .. } => self.on_offer_answered(now, call, Side::Callee, &sdp),
            sip::Event::Failed { failure, .. } => self.on_callee_failed(now, call, &failure),
            sip::Event::Ended { ended, reason, .. } => {
                let by = match ended {
                    sip::Ended::ByUs => return,
                    sip::Ended::ByPeer => EndedBy::Office,
                    _ => EndedBy::Trunk,
                };
                let cause = Cause {
                    q850: reason.cause,
                    ..Cause::default()
                };
                let disposition = match leg.answered_at {
                    Some(_) if ended == sip::Ended::NoSdp => LegDisposition::MediaFailed,
                    Some(since) => talk_disposition(since, at, TalkEnd::OfficeHungUp),
                    None if ended == sip::Ended::NoSdp => LegDisposition::MediaFailed,
                    None => LegDisposition::TrunkError,
                };
                self.end_callee(now, call, disposition, by, cause.clone());
                call.pending
                    .push_back(FlowEvent::CalleeEnded { disposition, cause });
            }
            _ => {}
        }
    }

    fn on_early_media(&mut self, now: Now, call: &mut Call, sdp: &[u8]) {
        let at = UtcMicros::from(now.wall);
        let Some(leg) = call.callee_up() else { return };
        let first_ring = leg.ringing_at.is_none();
        leg.ringing_at.get_or_insert(at);
        let number = leg.number;
        if leg.take_answer(sdp).is_err() {
            // Sound we cannot use before the answer is no reason to give up: the answer may be usable.
            return call.pending.push_back(FlowEvent::CalleeRang);
        }
        // The flow hears of early media once sound arrives (`on_sound`): many trunks announce it and send none.
        self.trust_media(call, Side::Callee);
        self.open_or_update_stream(call, Side::Callee);
        if first_ring {
            self.note(now, call, Some(number), EventKind::Ringing);
            call.pending.push_back(FlowEvent::CalleeRang);
        }
    }

    fn on_callee_answered(&mut self, now: Now, call: &mut Call, sdp: &[u8]) {
        let at = UtcMicros::from(now.wall);
        let Some(leg) = call.callee_up() else { return };
        let (number, session) = (leg.number, leg.session);
        if leg.take_answer(sdp).is_err() {
            self.endpoint.hangup(now.monotonic, session, Some(sip::Cause(88)));
            let disposition = LegDisposition::MediaFailed;
            return self.lose_callee(now, call, disposition);
        }
        leg.state = LegState::Answered;
        leg.answered_at = Some(at);
        self.lines[Self::index_of(leg.peer)].failing = false;
        let longest = self.settings.trunks[Self::index_of(leg.peer)].longest_call;
        self.timers.cancel(call.key, Timer::TrunkRing);
        if let Some(longest) = longest {
            self.timers
                .set(call.key, Timer::CalleeLimit, now.monotonic + longest);
        }
        self.trust_media(call, Side::Callee);
        self.open_or_update_stream(call, Side::Callee);
        self.note(now, call, Some(number), EventKind::Answered);
        call.pending.push_back(FlowEvent::CalleeAnswered);
    }

    fn on_callee_failed(&mut self, now: Now, call: &mut Call, failure: &sip::Failure) {
        let Some(leg) = &call.callee else { return };
        let (number, index) = (leg.number, Self::index_of(leg.peer));
        let disposition = disposition_of(failure);
        let cause = Cause {
            // What nobody sent is not to look like an answer.
            sip_status: failure.from_peer.then_some(failure.status),
            q850: failure.reason.cause,
            phrase: Some(Phrase::new(&match failure.from_peer {
                true => failure.phrase.clone(),
                false => silence(failure.status, leg, now.monotonic),
            })),
        };
        let failed = EventKind::DialFailed {
            disposition,
            cause: cause.clone(),
        };
        self.note(now, call, Some(number), failed);
        let said = said(failure);
        if !said.is_empty() {
            let text = Phrase::new(&said);
            self.note(now, call, Some(number), EventKind::TrunkSaid { text });
        }
        // Of the callee (a Reason says so), a 503 is no wish of the trunk's.
        if let (503, Some(asked), false) = (failure.status, failure.retry_after, is_callees(failure)) {
            self.lines[index].rest(now.monotonic, asked);
        }
        if self.goes_on(now, call, failure, &cause) {
            return;
        }
        self.end_callee(now, call, disposition, EndedBy::Trunk, cause.clone());
        call.pending
            .push_back(FlowEvent::CalleeEnded { disposition, cause });
    }

    /// The dialled leg is lost by a fault, not by anybody's wish; the flow hears of it.
    pub(super) fn lose_callee(&mut self, now: Now, call: &mut Call, disposition: LegDisposition) {
        self.end_callee(now, call, disposition, EndedBy::Server, Cause::default());
        call.pending.push_back(FlowEvent::CalleeEnded {
            disposition,
            cause: Cause::default(),
        });
    }

    /// The flow ends the dialled leg. What became of it depends on how far it came.
    pub(super) fn hang_up_callee(&mut self, now: Now, call: &mut Call, wished: LegDisposition) {
        let at = UtcMicros::from(now.wall);
        if let Some(dialling) = call.dialling.take_if(|dialling| dialling.waits_for.is_some()) {
            self.timers.cancel(call.key, Timer::Dial);
            let why = NoTrunk::new(wished, "left_while_waiting_for_the_trunk");
            return self.fail_dial(now, call, &dialling.request, why);
        }
        let Some(leg) = call.callee_up() else { return };
        let session = leg.session;
        let disposition = match (leg.answered_at, wished) {
            (Some(since), LegDisposition::CallerEndedTalk) => {
                talk_disposition(since, at, TalkEnd::CallerWentOn)
            }
            (Some(since), LegDisposition::LimitReached) => talk_disposition(since, at, TalkEnd::TalkLimit),
            (None, LegDisposition::LimitReached) => LegDisposition::NoAnswer,
            (_, wished) => wished,
        };
        let by = match wished {
            LegDisposition::CallerSkipped
            | LegDisposition::CallerEndedRinging
            | LegDisposition::CallerEndedTalk => EndedBy::Caller,
            _ => EndedBy::Server,
        };
        self.endpoint.hangup(now.monotonic, session, None);
        self.end_callee(now, call, disposition, by, Cause::default());
        call.pending.push_back(FlowEvent::CalleeEnded {
            disposition,
            cause: Cause::default(),
        });
    }
}

/// What a call failed of for which the trunk sent no final answer.
fn silence(status: u16, leg: &Leg, at: Instant) -> String {
    let seconds = leg
        .invited_at
        .map(|since| at.saturating_duration_since(since).as_secs());
    match (status, leg.ringing_at, seconds) {
        (408, None, Some(seconds)) => format!("no answer from the trunk in {seconds} s"),
        (408, None, None) => "no answer from the trunk".to_owned(),
        (408, Some(_), _) => "no end to the ringing".to_owned(),
        (503, ..) => "the trunk could not be reached".to_owned(),
        (488, ..) => "the trunk's answer could not be used".to_owned(),
        _ => format!("given up by this server ({status})"),
    }
}

fn disposition_of(failure: &sip::Failure) -> LegDisposition {
    if !failure.from_peer {
        return LegDisposition::of(&LegEnd::NoResponse);
    }
    LegDisposition::of(&LegEnd::Refused(FinalResponse {
        status: failure.status,
        q850: failure.reason.cause,
        phrase: &failure.phrase,
        reason: &said(failure),
    }))
}

/// What a trunk said beside the status.
fn said(failure: &sip::Failure) -> String {
    let texts = [failure.reason.text.as_deref(), failure.detail.as_deref()];
    texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn talk_disposition(since: UtcMicros, at: UtcMicros, end: TalkEnd) -> LegDisposition {
    let micros = u64::try_from(at.since(since)).unwrap_or(0);
    LegDisposition::of(&LegEnd::Talked {
        talk: Duration::from_micros(micros),
        end,
    })
}
