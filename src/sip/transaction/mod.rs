//! The four transaction machines of RFC 3261 §17, with the Accepted states of RFC 6026.
//!
//! In: what came or fired. Out: a [`Step`]: send again, acknowledge, tell the owner. Each machine owns its two clocks
//! (when to send again, when to give up) and nothing else; the messages are kept by `wire`, which also matches them by
//! branch. A machine must never act on a late or repeated event.

mod client;
mod client_invite;
mod server;
mod server_invite;

use std::time::{Duration, Instant};

pub(crate) use client::Client;
pub(crate) use client_invite::ClientInvite;
pub(crate) use server::Server;
pub(crate) use server_invite::ServerInvite;

/// The round-trip times of RFC 3261 §17.1.1.1 and whether the transport retransmits by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    pub reliable: bool,
}

impl Times {
    /// How long a transaction waits for the other side.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }
}

/// What the keeper of a transaction has to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// Send the stored request or response again.
    pub resend: bool,
    /// Send an ACK for the failure response at hand (client INVITE only).
    pub ack: bool,
    pub tell: Option<Tell>,
}

impl Step {
    const NOTHING: Step = Step {
        resend: false,
        ack: false,
        tell: None,
    };
    const RESEND: Step = Step {
        resend: true,
        ack: false,
        tell: None,
    };
    const fn told(tell: Tell) -> Step {
        Step {
            resend: false,
            ack: false,
            tell: Some(tell),
        }
    }
}

/// What the owner of a transaction learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    Provisional,
    Success,
    Failure,
    /// No final response in time.
    Timeout,
    /// The request could not be sent.
    Unreachable,
}

/// Sorts a status into the three kinds that the machines tell apart.
pub(crate) fn response_kind(status: u16) -> Tell {
    match status {
        0..=199 => Tell::Provisional,
        200..=299 => Tell::Success,
        _ => Tell::Failure,
    }
}

/// The two clocks of a transaction.
#[derive(Debug, Clone, Copy, Default)]
struct Clocks {
    resend_at: Option<Instant>,
    interval: Duration,
    expire_at: Option<Instant>,
}

impl Clocks {
    fn next(&self) -> Option<Instant> {
        match (self.resend_at, self.expire_at) {
            (Some(resend), Some(expire)) => Some(resend.min(expire)),
            (resend, expire) => resend.or(expire),
        }
    }

    fn expired(&self, now: Instant) -> bool {
        self.expire_at.is_some_and(|at| at <= now)
    }

    /// Whether it is time to send again; sets the next time, the interval doubled up to `cap`.
    fn resend_due(&mut self, now: Instant, cap: Duration) -> bool {
        let due = self.resend_at.is_some_and(|at| at <= now);
        if due {
            self.interval = (self.interval * 2).min(cap);
            self.resend_at = Some(now + self.interval);
        }
        due
    }

    fn start_resending(&mut self, now: Instant, times: &Times) {
        self.interval = times.t1;
        self.resend_at = (!times.reliable).then_some(now + times.t1);
    }

    /// Stops sending and gives up (or forgets) after `linger`.
    fn only_expire(&mut self, at: Instant) {
        self.resend_at = None;
        self.expire_at = Some(at);
    }
}
