//! Taking on an incoming call: route, room, sound, record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;
use sip::{IncomingInvite, PeerId, SessionId};

use super::call::{Call, Side, Withheld};
use super::exchange::Exchange;
use super::routes::Route;
use super::settings::TrunkStatus;
use super::{Now, Output};
use crate::call::book::Book;
use crate::call::disposition::SessionDisposition;
use crate::call::leg::{Leg, LegSetup};
use crate::call::number::NumberFormat;
use crate::call::record::{
    self, CallClosed, CallDetails, CallOpened, Direction, EndedBy, EventKind, LegNumber, LegOpened, Party,
    UtcMicros, caller_hmac, kept_sip_call_id,
};
use crate::call::timers::CallKey;
use crate::flow::run::Run;
use crate::units::{CallId, Language, PhoneNumber, TrunkName};

const RETRY_AFTER: Duration = Duration::from_secs(30);
/// For a call that was one too many for its second.
const RETRY_SOON: Duration = Duration::from_secs(2);

impl Exchange {
    /// Takes a call on, or turns it away with the right status. Calls that are turned away for want of room are
    /// recorded; those for numbers that are not ours are not.
    pub(super) fn admit(
        &mut self,
        now: Now,
        session: SessionId,
        peer: PeerId,
        invite: &IncomingInvite,
        calls: usize,
    ) -> Option<(CallKey, Box<Call>)> {
        let index = Self::index_of(peer);
        let trunk = self.settings.trunks.get(index)?.name.clone();
        if self.lines.get(index)?.retired.is_some() {
            // A trunk that is being left: its calls should come another way.
            self.endpoint.reject(now.monotonic, session, 503, None);
            return None;
        }
        let Some((number, route)) = self.route_of(index, &trunk, invite) else {
            self.endpoint.reject(now.monotonic, session, 404, None);
            self.tell_not_served(now, index, trunk, invite);
            return None;
        };
        if self.is_over_rate(now) {
            self.endpoint
                .reject(now.monotonic, session, 503, Some(RETRY_SOON));
            return None;
        }
        let opened = self.opened(now, &route, index, invite);
        self.trace_call(now, &opened, &route, index, invite);
        let refused = self.refusal(calls, index, &route);
        let seat = if refused.is_none() { self.take_seat() } else { None };
        let (Some(seat), None) = (seat, refused) else {
            let reason = refused.unwrap_or("no_media_port");
            let disposition = SessionDisposition::CapacityRefused;
            self.turn_away(now, session, opened, 503, disposition, reason);
            return None;
        };
        let setup = LegSetup {
            number: LegNumber(0),
            peer,
            trunk: trunk.clone(),
            seat: self.seat_seen_by(index, seat),
            codecs: self.settings.trunks[index].codecs.clone(),
            source: self.source_rule(index, None, None),
            signals: invite.source.map(|source| source.ip()),
            start: self.start(),
            sdp_id: self.random.next_u32() >> 1,
            silence_after: Some(self.settings.silence_after),
            digits: self.settings.trunks[index].digits,
        };
        let mut caller = Leg::new(session, setup);
        if caller.take_offer(invite.sdp.as_deref()).is_err() {
            self.add_seat(seat);
            let disposition = SessionDisposition::NoCommonCodec;
            self.turn_away(now, session, opened, 488, disposition, "no_common_audio");
            if self.lines[index].tells_refusal(now.monotonic) {
                self.outputs
                    .push_back(Output::Trunk(TrunkStatus::NoCommonCodec { trunk }));
            }
            return None;
        }
        self.trust_caller(index, &mut caller);
        Some(self.begin(now, opened, caller, route, number, invite.max_forwards))
    }

    /// The number is of our own, or meant to be; no more of it is told than fits a telephone number.
    fn tell_not_served(&mut self, now: Now, index: usize, trunk: TrunkName, invite: &IncomingInvite) {
        if self.lines[index].tells_refusal(now.monotonic) {
            let user = match invite.to_registration {
                true => user_of(&invite.to.uri),
                false => &invite.user,
            };
            let number = NumberFormat::read_as(self.settings.trunks[index].number_format_in, user);
            let shown = number.chars().filter(char::is_ascii_graphic).take(32);
            let number = shown.collect();
            self.outputs
                .push_back(Output::Trunk(TrunkStatus::NotServed { trunk, number }));
        }
    }

    /// Whether a call is one too many for this second. Such calls are only counted: what is too much for the second is
    /// too much for the disk.
    fn is_over_rate(&mut self, now: Now) -> bool {
        let per_second = self.settings.calls_per_second;
        let delay = self.incoming.delay(now.monotonic, per_second, per_second);
        if delay.is_zero() {
            self.incoming.take(now.monotonic, per_second);
        } else {
            self.over_rate += 1;
        }
        !delay.is_zero()
    }

    /// Judges the address that a caller's offer names for its sound.
    fn trust_caller(&self, trunk: usize, caller: &mut Leg) {
        let described = caller.agreed.as_ref().and_then(|agreed| agreed.remote);
        caller.set_source(self.source_rule(trunk, described, caller.signals));
    }

    fn begin(
        &mut self,
        now: Now,
        opened: CallOpened,
        caller: Leg,
        route: Route,
        number: String,
        max_forwards: u8,
    ) -> (CallKey, Box<Call>) {
        let key = self.next_key;
        self.next_key += 1;
        self.sessions.insert(caller.session, (key, Side::Caller));
        self.streams.insert(caller.seat.stream, (key, Side::Caller));
        if let Some(line) = self.lines.get_mut(Self::index_of(caller.peer)) {
            line.calls += 1;
            line.inbound += 1;
        }
        let at = opened.at;
        let mut book = Book::open(opened, &mut self.changes);
        let leg = LegOpened {
            call: book.call(),
            leg: LegNumber(0),
            at,
            direction: Direction::Inbound,
            party: Party::Caller,
            trunk: Some(caller.trunk.clone()),
            choice: None,
            attempt: 1,
            caller_id_policy: None,
        };
        book.open_leg(leg, &mut self.changes);
        book.note(at, None, EventKind::Admitted, &mut self.changes);
        self.endpoint.ring(now.monotonic, caller.session);
        let language = self.language_of(&route);
        let (trunks, called) = (Arc::clone(&route.trunks), number.parse().ok());
        let run = Run::new(route.flow, route.campaign, number, language);
        let call = Call {
            key,
            generation: self.generations.begun(),
            book,
            run,
            directory: Arc::clone(&self.settings.directory),
            caller,
            callee: None,
            dialling: None,
            trunks,
            called,
            ended_legs: Vec::new(),
            next_leg: 1,
            pending: VecDeque::new(),
            language,
            playing: None,
            next_play: 1,
            bridged: false,
            withheld: Withheld::Nothing,
            details: CallDetails::default(),
            last_digit: None,
            ending: None,
            max_forwards,
        };
        (key, Box::new(call))
    }

    /// Why no call is taken at all, if so.
    fn refusal(&self, calls: usize, index: usize, route: &Route) -> Option<&'static str> {
        let full = calls >= self.settings.most_calls || self.is_full(index, route);
        match () {
            () if !self.records_accepted => Some("records_cannot_be_written"),
            () if full => Some("all_lines_in_use"),
            () if self.is_draining() => Some("shutting_down"),
            () => None,
        }
    }

    /// Whether a trunk has no room for one more caller. One whose flow dials will want a second channel, and must not
    /// find it taken by other callers who wait for theirs.
    fn is_full(&self, index: usize, route: &Route) -> bool {
        let (trunk, line) = (&self.settings.trunks[index], &self.lines[index]);
        let dials = !trunk.destinations.is_empty() && route.flow.dials();
        let each = if dials { 2 } else { 1 };
        line.calls >= trunk.channels || (line.inbound + 1).saturating_mul(each) > trunk.channels
    }

    fn language_of(&self, route: &Route) -> Language {
        let of_campaign = route
            .campaign
            .as_ref()
            .and_then(|campaign| campaign.languages.first());
        of_campaign
            .or(self.settings.languages.first())
            .copied()
            .unwrap_or(Language::ENGLISH)
    }

    /// The number that a call is for, and where it leads. A Request-URI that names our registration, or our account and
    /// no number of ours, leaves the number to To.
    fn route_of(&self, index: usize, trunk: &TrunkName, invite: &IncomingInvite) -> Option<(String, Route)> {
        let configured = &self.settings.trunks[index];
        let find = |user: &str| {
            let number = NumberFormat::read_as(configured.number_format_in, user);
            let route = self.settings.routes.find(&number, trunk).cloned()?;
            Some((number, route))
        };
        let by_to = || find(user_of(&invite.to.uri));
        if invite.to_registration {
            return by_to();
        }
        let account = configured.credentials.as_ref();
        let names_account = account.is_some_and(|account| account.username == invite.user);
        find(&invite.user).or_else(|| names_account.then(by_to).flatten())
    }

    fn opened(&mut self, now: Now, route: &Route, trunk: usize, invite: &IncomingInvite) -> CallOpened {
        let milliseconds = u64::try_from(now.wall.as_millisecond()).unwrap_or(0);
        let random = u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64());
        let caller = (!invite.withheld).then(|| caller_number(invite)).flatten();
        let hmac = self.settings.caller_key.as_ref().zip(caller.as_ref());
        CallOpened {
            call: CallId::new(milliseconds, random),
            at: UtcMicros::from(now.wall),
            direction: Direction::Inbound,
            route: record::Route {
                // As configured: behind a pattern, the number dialled is somebody else's.
                number: Some(route.pattern.to_string()),
                trunk: Some(self.settings.trunks[trunk].name.clone()),
                campaign: route.campaign.as_ref().map(|campaign| campaign.id.clone()),
                flow: Some(route.flow.name.clone()),
                flow_version: Some(route.flow.version),
            },
            caller: hmac.map(|(key, number)| caller_hmac(key, number)),
            sip_call_id: Some(kept_sip_call_id(&invite.call_id, caller.as_ref())),
        }
    }

    fn turn_away(
        &mut self,
        now: Now,
        session: SessionId,
        opened: CallOpened,
        status: u16,
        disposition: SessionDisposition,
        reason: &str,
    ) {
        let retry_after = (status == 503).then_some(RETRY_AFTER);
        self.endpoint.reject(now.monotonic, session, status, retry_after);
        self.trace.end(now, opened.call, true);
        if !self.records_accepted {
            return;
        }
        let (call, at) = (opened.call, opened.at);
        let mut book = Book::open(opened, &mut self.changes);
        let reason = reason.to_owned();
        book.note(at, None, EventKind::Refused { status, reason }, &mut self.changes);
        let (ended_by, details) = (EndedBy::Server, CallDetails::default());
        let closed = CallClosed {
            call,
            at,
            disposition,
            ended_by,
            details,
        };
        book.close(closed, &mut self.changes);
    }
}

/// The caller's number: what the trunk asserts, else what From says.
fn caller_number(invite: &IncomingInvite) -> Option<PhoneNumber> {
    let asserted = invite.asserted.iter().map(|party| party.uri.as_str());
    asserted
        .chain([invite.from.uri.as_str()])
        .find_map(|uri| PhoneNumber::parse_us(user_of(uri)).ok())
}

/// The user part of a sip: or tel: URI.
pub(super) fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split(['@', ';', '?', '>']).next().unwrap_or_default()
}
