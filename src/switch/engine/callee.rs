//! The dialled leg: from the choice of a trunk to its end.

use std::time::Duration;

use media::Law;
use media::sdp::{Direction as Sending, Local};
use rand_core::RngCore;
use sip::{Invite, Party as SipParty};

use super::Now;
use super::call::{Call, Side};
use super::exchange::Exchange;
use crate::call::disposition::{FinalResponse, LegDisposition, LegEnd, TalkEnd};
use crate::call::leg::{Leg, LegSetup, LegState};
use crate::call::number::{Dialled, FromUser};
use crate::call::record::{
    Cause, Choice, Direction, EndedBy, EventKind, LegOpened, Party, Phrase, UtcMicros,
};
use crate::flow::run::{DialRequest, Event as FlowEvent};

/// An answered leg from which nothing came for this long has failed (`hotline.md` §7, `media_failed`).
pub(super) const NO_SOUND_AT_ALL: Duration = Duration::from_secs(10);

impl Exchange {
    /// Dials. Whatever prevents it is told to the flow as the leg's end, and stands in the record.
    pub(super) fn dial(&mut self, now: Now, call: &mut Call, request: DialRequest) {
        let number = call.new_leg();
        if call.max_forwards <= 1 {
            self.open_leg_record(now, call, number, &request, None);
            let reason = "too_many_hops".to_owned();
            self.note(now, call, Some(number), EventKind::Decision { reason });
            return self.fail_dial(now, call, number, LegDisposition::TrunkError);
        }
        let (index, dialled) = match self.choose_trunk(call, &request) {
            Ok(chosen) => chosen,
            Err((disposition, reason)) => {
                self.open_leg_record(now, call, number, &request, None);
                self.note(now, call, Some(number), EventKind::Decision { reason });
                return self.fail_dial(now, call, number, disposition);
            }
        };
        self.open_leg_record(now, call, number, &request, Some(index));
        let Some(seat) = self.take_seat() else {
            let reason = "no_media_port".to_owned();
            self.note(now, call, Some(number), EventKind::Decision { reason });
            return self.fail_dial(now, call, number, LegDisposition::SystemError);
        };
        let setup = LegSetup {
            number,
            peer: Self::peer_id(index),
            trunk: self.settings.trunks[index].name.clone(),
            seat,
            laws: self.laws_like_the_callers(index, call.caller.law()),
            source: self.source_rule(index, None, None),
            signals: self.lines[index].targets.first().map(|target| target.ip()),
            start: self.start(),
            sdp_id: self.random.next_u32() >> 1,
            silence_after: Some(NO_SOUND_AT_ALL),
        };
        let mut local = Local::new(setup.sdp_id, seat.address, &setup.laws);
        let offer = local.offer(Sending::SendReceive);
        let invite = self.invite(index, &dialled, offer, call);
        match self.endpoint.invite(now.monotonic, invite) {
            Ok(session) => {
                self.sessions.insert(session, (call.key, Side::Callee));
                self.streams.insert(seat.stream, (call.key, Side::Callee));
                self.lines[index].calls += 1;
                let shown = request.public_number.as_ref();
                self.trace_leg(call.book.call(), number, session, index, shown);
                call.callee = Some(Leg::dialled(session, setup, local));
                let dialled = EventKind::Dialled {
                    target: request.target,
                    office: request.office,
                    trunk: Some(self.settings.trunks[index].name.clone()),
                    attempt: request.attempt,
                };
                self.note(now, call, Some(number), dialled);
            }
            Err(error) => {
                self.add_seat(seat);
                let reason = format!("invite_refused: {error}");
                self.note(now, call, Some(number), EventKind::Decision { reason });
                self.fail_dial(now, call, number, LegDisposition::TrunkError);
            }
        }
    }

    /// The first trunk that may carry the number and has a free channel.
    fn choose_trunk(
        &self,
        call: &Call,
        request: &DialRequest,
    ) -> Result<(usize, Dialled), (LegDisposition, String)> {
        let mut refused = (LegDisposition::TrunkError, "no_trunk".to_owned());
        for index in self.trunks_by_health() {
            let trunk = &self.settings.trunks[index];
            if request.trunk.as_ref().is_some_and(|wanted| *wanted != trunk.name)
                || !self.lines[index].serves(call.generation)
            {
                continue;
            }
            match Dialled::check(&request.number, &trunk.destinations) {
                Err(why) => refused = (LegDisposition::NoNumber, format!("not_dialled: {why}")),
                Ok(_) if self.lines[index].targets.is_empty() => {
                    refused = (LegDisposition::TrunkError, "trunk_address_unknown".to_owned());
                }
                Ok(_) if self.lines[index].calls >= trunk.channels => {
                    refused = (LegDisposition::Congestion, "trunk_full".to_owned());
                }
                Ok(dialled) => return Ok((index, dialled)),
            }
        }
        Err(refused)
    }

    /// Trunks in the order of the configuration, those that are registered, or need not be, first; those that are
    /// being left, last.
    fn trunks_by_health(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.settings.trunks.len()).collect();
        order.sort_by_key(|&index| {
            let line = &self.lines[index];
            let unregistered = self.settings.trunks[index].register.is_some() && !line.registered;
            (line.retired.is_some(), unregistered, line.rank)
        });
        order
    }

    /// The trunk's codecs, with the one the caller's side uses first: nothing is to be converted then.
    fn laws_like_the_callers(&self, index: usize, like: Option<Law>) -> Vec<Law> {
        let mut laws = self.settings.trunks[index].laws.clone();
        laws.sort_by_key(|law| Some(*law) != like);
        laws
    }

    fn invite(&self, index: usize, dialled: &Dialled, offer: Vec<u8>, call: &Call) -> Invite {
        let trunk = &self.settings.trunks[index];
        let uri = format!(
            "sip:{}{}@{}",
            trunk.dial_prefix,
            trunk.number_format.write(dialled),
            trunk.host
        );
        let account = trunk
            .credentials
            .as_ref()
            .map(|credentials| credentials.username.as_str());
        let shown = trunk
            .caller_id
            .as_ref()
            .map(|number| trunk.number_format.write_own(number));
        let user = match trunk.from_user {
            FromUser::Number => shown.as_deref().or(account),
            FromUser::Account => account,
        };
        let from = format!("sip:{}@{}", user.unwrap_or("anonymous"), trunk.host);
        let identity = shown
            .as_deref()
            .and_then(|number| trunk.identity.header(number, &trunk.host));
        Invite {
            peer: Self::peer_id(index),
            to: uri.clone(),
            uri,
            from: SipParty::new(from),
            headers: identity.into_iter().collect(),
            max_forwards: Some(call.max_forwards.saturating_sub(1)),
            sdp: offer,
        }
    }

    fn open_leg_record(
        &mut self,
        now: Now,
        call: &mut Call,
        number: crate::call::record::LegNumber,
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

    fn fail_dial(
        &mut self,
        now: Now,
        call: &mut Call,
        number: crate::call::record::LegNumber,
        disposition: LegDisposition,
    ) {
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
        self.trust_media(call, Side::Callee);
        self.open_or_update_stream(call, Side::Callee);
        self.note(now, call, Some(number), EventKind::Answered);
        call.pending.push_back(FlowEvent::CalleeAnswered);
    }

    fn on_callee_failed(&mut self, now: Now, call: &mut Call, failure: &sip::Failure) {
        let text = [failure.reason.text.as_deref(), failure.detail.as_deref()];
        let reason = text.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let end = if failure.from_peer {
            LegEnd::Refused(FinalResponse {
                status: failure.status,
                q850: failure.reason.cause,
                phrase: &failure.phrase,
                reason: &reason,
            })
        } else {
            LegEnd::NoResponse
        };
        let disposition = LegDisposition::of(&end);
        let cause = Cause {
            sip_status: Some(failure.status),
            q850: failure.reason.cause,
            phrase: Some(Phrase::new(&failure.phrase)),
        };
        let number = call.callee.as_ref().map(|leg| leg.number);
        let failed = EventKind::DialFailed {
            disposition,
            cause: cause.clone(),
        };
        self.note(now, call, number, failed);
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

pub(super) fn talk_disposition(since: UtcMicros, at: UtcMicros, end: TalkEnd) -> LegDisposition {
    let micros = u64::try_from(at.since(since)).unwrap_or(0);
    LegDisposition::of(&LegEnd::Talked {
        talk: Duration::from_micros(micros),
        end,
    })
}
