//! Session timers, both sides (RFC 4028).
//!
//! The refresher refreshes at half the interval, by UPDATE when the peer allows it, else by re-INVITE with unchanged
//! SDP. Whoever refreshes, a session that was not refreshed is released shortly before it expires.

use std::time::{Duration, Instant};

use super::{Extensions, Session, State};
use crate::event::{Ended, Reason};
use crate::message::{Message, Name, SessionExpires};
use crate::wire::Wire;

/// Longest interval honoured, in seconds.
const MAX_EXPIRES: u32 = 86_400;
/// Shortest wait before a refused refresh is tried again.
const SOONEST: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refresh {
    /// The agreed interval in seconds; 0 for none.
    seconds: u32,
    /// In the transaction at hand: the UAC refreshes.
    refresher_uac: bool,
    /// The peer knows session timers.
    peer_supports: bool,
    /// The peer says that it takes UPDATE, and did not refuse or leave one.
    takes_update: bool,
    refused_update: bool,
    /// How often a 422 raised our interval.
    pub raised: u8,
    refresh_at: Option<Instant>,
    expire_at: Option<Instant>,
}

impl Refresh {
    pub fn next_timeout(&self) -> Option<Instant> {
        self.refresh_at.into_iter().chain(self.expire_at).min()
    }

    pub fn stop(&mut self) {
        (self.refresh_at, self.expire_at) = (None, None);
    }

    pub fn by_update(&self) -> bool {
        self.takes_update && !self.refused_update
    }

    /// The peer does not take UPDATE, whatever its Allow says.
    pub fn give_up_update(&mut self) {
        self.refused_update = true;
    }

    /// Refreshes again at `at`, after a glare.
    pub fn again_at(&mut self, at: Option<Instant>) {
        self.refresh_at = at.map(|at| at + Duration::from_millis(10));
    }

    /// Refreshes again after a refusal: when half of what is left has passed, so also in the last half minute.
    pub fn try_again(&mut self, now: Instant) {
        let left = self.expire_at.map(|at| at.saturating_duration_since(now) / 2);
        self.refresh_at = left.filter(|left| *left >= SOONEST).map(|left| now + left);
    }

    /// Starts the interval anew (RFC 4028 §10).
    fn start(&mut self, now: Instant, we_refresh: bool) {
        if self.seconds == 0 {
            return self.stop();
        }
        let margin = 32.min(self.seconds / 3);
        self.expire_at = Some(now + Duration::from_secs(u64::from(self.seconds - margin)));
        let half = Duration::from_millis(u64::from(self.seconds) * 500);
        self.refresh_at = we_refresh.then_some(now + half);
    }

    /// Starts the interval anew when the 2xx that carries it is sent.
    pub fn restart(&mut self, now: Instant) {
        self.start(now, !self.refresher_uac);
    }

    /// Session-Expires and Require lines of our 2xx to a request with or without a timer.
    pub fn response_lines(&self) -> Vec<u8> {
        if self.seconds == 0 {
            return Vec::new();
        }
        let (seconds, refresher) = (self.seconds, if self.refresher_uac { "uac" } else { "uas" });
        let require = if self.refresher_uac {
            "Require: timer\r\n"
        } else {
            ""
        };
        format!("Session-Expires: {seconds};refresher={refresher}\r\n{require}").into_bytes()
    }

    /// The lines of a refresh of ours.
    pub fn request_lines(&self, min: u32) -> Vec<u8> {
        let seconds = self.seconds;
        if seconds == 0 {
            return Vec::new();
        }
        format!("Session-Expires: {seconds};refresher=uac\r\nMin-SE: {min}\r\n").into_bytes()
    }
}

/// Whether a request asks for a shorter interval than we allow: answer 422.
pub(crate) fn is_too_brief(request: &Message<'_>, min: u32) -> bool {
    let expires = request
        .header(Name::SessionExpires)
        .and_then(SessionExpires::parse);
    expires.is_some_and(|expires| expires.seconds < min) && request.lists(Name::Supported, "timer")
}

impl Session {
    /// Takes the extensions that the peer gets.
    pub(super) fn extend(&mut self, extensions: Extensions) {
        self.extensions = extensions;
        if !extensions.update {
            self.refresh.give_up_update();
        }
    }

    /// Takes the timer of a peer's INVITE, re-INVITE or UPDATE and decides who refreshes.
    pub(super) fn note_refresh_of_request(&mut self, wire: &Wire, now: Instant, request: &Message<'_>) {
        let refresh = &mut self.refresh;
        if request.header(Name::Allow).is_some() {
            refresh.takes_update = request.lists(Name::Allow, "UPDATE");
        }
        refresh.peer_supports =
            request.lists(Name::Supported, "timer") || request.lists(Name::Require, "timer");
        let asked = request
            .header(Name::SessionExpires)
            .and_then(SessionExpires::parse);
        match asked {
            Some(asked) => {
                refresh.seconds = asked.seconds.clamp(wire.config.min_session_expires, MAX_EXPIRES);
                // A peer that does not know timers cannot refresh; one that does shall, unless it asks us to.
                refresh.refresher_uac = refresh.peer_supports && asked.refresher_uac != Some(false);
            }
            None if refresh.peer_supports && self.extensions.timer => {
                refresh.seconds = wire.config.session_expires;
                refresh.refresher_uac = true;
            }
            None => refresh.seconds = 0,
        }
        if let Some(min) = request.header(Name::MinSe).and_then(SessionExpires::parse) {
            refresh.seconds = match refresh.seconds {
                0 => 0,
                seconds => seconds.max(min.seconds).min(MAX_EXPIRES),
            };
        }
        let we_refresh = !refresh.refresher_uac;
        refresh.start(now, we_refresh);
    }

    /// Takes the timer of a 2xx to a request of ours, also one that we did not ask for.
    pub(super) fn note_refresh_of_response(&mut self, now: Instant, response: &Message<'_>) {
        let refresh = &mut self.refresh;
        if response.header(Name::Allow).is_some() {
            refresh.takes_update = response.lists(Name::Allow, "UPDATE");
        }
        let granted = response
            .header(Name::SessionExpires)
            .and_then(SessionExpires::parse);
        refresh.seconds = granted.map_or(0, |granted| granted.seconds.clamp(30, MAX_EXPIRES));
        let we_refresh = granted.is_some_and(|granted| granted.refresher_uac != Some(false));
        refresh.start(now, we_refresh);
    }

    pub(super) fn keep_fresh(&mut self, wire: &mut Wire, now: Instant) {
        if self.state != State::Confirmed {
            if self.state == State::Over {
                self.refresh.stop();
            }
            self.postpone_refresh(now);
            return;
        }
        if self.refresh.expire_at.is_some_and(|at| at <= now) {
            self.release_dialog(
                wire,
                now,
                self.current,
                b"Reason: SIP;cause=408;text=\"session expired\"\r\n",
            );
            self.finish_exchange(wire, now);
            self.state = State::Over;
            return self.tell_ended(wire, Ended::Expired, Reason::default());
        }
        if self.refresh.refresh_at.is_some_and(|at| at <= now) {
            self.refresh.refresh_at = None;
            if !self.send_refresh(wire, now) {
                self.refresh.refresh_at = Some(now + Duration::from_secs(2));
            }
        }
    }

    /// Before the session is confirmed its timers only wait.
    fn postpone_refresh(&mut self, now: Instant) {
        let later = now + Duration::from_secs(10);
        for at in [&mut self.refresh.refresh_at, &mut self.refresh.expire_at] {
            if at.is_some_and(|at| at <= now) {
                *at = Some(later);
            }
        }
    }
}
