//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §8.5).

use std::time::{Duration, Instant};

use super::{Clocks, Step, Tell, Times};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    /// A 2xx was sent; its owner repeats it, this absorbs repeated INVITEs.
    Accepted,
    /// A failure was sent and is repeated until its ACK comes.
    Completed,
    Confirmed,
    Terminated,
}

/// Timers: G doubles up to T2, H and L last 64*T1, I T4.
#[derive(Debug)]
pub(crate) struct ServerInvite {
    state: State,
    clocks: Clocks,
}

impl ServerInvite {
    pub fn new() -> Self {
        Self {
            state: State::Proceeding,
            clocks: Clocks::default(),
        }
    }

    /// The INVITE came again.
    pub fn on_request(&self) -> Step {
        match self.state {
            State::Proceeding | State::Completed => Step::RESEND,
            State::Accepted | State::Confirmed | State::Terminated => Step::NOTHING,
        }
    }

    /// The owner sends a response. Returns whether it may.
    pub fn on_respond(&mut self, now: Instant, kind: Tell, times: &Times) -> bool {
        if self.state != State::Proceeding {
            return false;
        }
        match kind {
            Tell::Provisional => {}
            Tell::Success => {
                self.clocks.only_expire(now + times.patience());
                self.state = State::Accepted;
            }
            _ => {
                self.clocks.only_expire(now + times.patience());
                self.clocks.start_resending(now, times);
                self.state = State::Completed;
            }
        }
        true
    }

    /// Takes an ACK; `true` when it was for a failure response, and so goes no further.
    pub fn on_ack(&mut self, now: Instant, times: &Times) -> bool {
        if self.state == State::Completed {
            let linger = if times.reliable { Duration::ZERO } else { times.t4 };
            self.clocks.only_expire(now + linger);
            self.state = State::Confirmed;
            return true;
        }
        self.state == State::Confirmed
    }

    pub fn on_timeout(&mut self, now: Instant, times: &Times) -> Step {
        if self.clocks.expired(now) {
            self.state = State::Terminated;
            self.clocks = Clocks::default();
            return Step::NOTHING;
        }
        match self.state {
            State::Completed if self.clocks.resend_due(now, times.t2) => Step::RESEND,
            _ => Step::NOTHING,
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.clocks.next()
    }

    /// Whether a failure was sent that has no ACK yet.
    pub fn is_repeating(&self) -> bool {
        self.state == State::Completed
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        reliable: false,
    };

    #[test]
    fn a_failure_is_repeated_up_to_every_t2_until_its_ack_comes() {
        let start = Instant::now();
        let mut invite = ServerInvite::new();
        assert!(invite.on_respond(start, Tell::Failure, &TIMES));
        let mut sent = vec![];
        for _ in 0..6 {
            let at = invite.next_timeout().unwrap();
            assert!(invite.on_timeout(at, &TIMES).resend);
            sent.push((at - start).as_millis());
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500, 15500]);
        invite.on_ack(start + Duration::from_secs(16), &TIMES);
        assert_eq!(invite.next_timeout(), Some(start + Duration::from_secs(21)));
        assert_eq!(invite.on_request(), Step::NOTHING);
    }

    #[test]
    fn without_an_ack_a_failure_is_given_up_after_32_seconds() {
        let start = Instant::now();
        let mut invite = ServerInvite::new();
        invite.on_respond(start, Tell::Failure, &TIMES);
        invite.on_timeout(start + Duration::from_secs(32), &TIMES);
        assert!(invite.is_terminated());
    }

    #[test]
    fn a_success_is_not_repeated_here_and_repeated_invites_are_absorbed() {
        let start = Instant::now();
        let mut invite = ServerInvite::new();
        assert_eq!(invite.on_request(), Step::RESEND);
        assert!(invite.on_respond(start, Tell::Success, &TIMES));
        assert!(!invite.on_respond(start, Tell::Failure, &TIMES));
        assert_eq!(invite.on_request(), Step::NOTHING);
        assert_eq!(invite.next_timeout(), Some(start + Duration::from_secs(32)));
    }
}
