//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §8.4).

use std::time::{Duration, Instant};

use super::{Clocks, Step, Tell, Times};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    /// A 2xx came; more may come from other branches or again.
    Accepted,
    /// A failure came and was acknowledged; it may come again.
    Completed,
    /// Nothing came in time; an answer that comes now must still be acknowledged and ended.
    GivenUp,
    Terminated,
}

/// Timers: A doubles without a cap (§17.1.1.2), B and M last 64*T1, D 32 s.
#[derive(Debug)]
pub(crate) struct ClientInvite {
    state: State,
    clocks: Clocks,
    patience: Duration,
    /// The answer is no longer wanted, so it is waited for only 64*T1 more.
    hurried: bool,
}

const TIMER_D: Duration = Duration::from_secs(32);
/// Longest wait for a final response after a provisional one: beyond Timer C of the owner and of proxies.
const PROCEEDING: Duration = Duration::from_secs(240);

impl ClientInvite {
    /// The INVITE has just been sent.
    pub fn new(now: Instant, times: &Times) -> Self {
        let mut clocks = Clocks {
            expire_at: Some(now + times.patience()),
            ..Clocks::default()
        };
        clocks.start_resending(now, times);
        Self {
            state: State::Calling,
            clocks,
            patience: times.patience(),
            hurried: false,
        }
    }

    pub fn on_response(&mut self, now: Instant, kind: Tell, times: &Times) -> Step {
        let (state, step) = match (self.state, kind) {
            (State::Calling | State::Proceeding, Tell::Provisional) => {
                if !self.hurried {
                    self.clocks.only_expire(now + PROCEEDING);
                } else if self.state == State::Calling {
                    self.clocks.only_expire(now + self.patience);
                }
                (State::Proceeding, Step::told(Tell::Provisional))
            }
            (State::GivenUp, Tell::Provisional) => (State::GivenUp, Step::told(Tell::Provisional)),
            (State::Calling | State::Proceeding | State::GivenUp, Tell::Success) => {
                self.clocks.only_expire(now + times.patience());
                (State::Accepted, Step::told(Tell::Success))
            }
            (State::Accepted, Tell::Success) => (State::Accepted, Step::told(Tell::Success)),
            (State::Completed, Tell::Success) => {
                // Another branch of a fork answers after all; it must hear an ACK and a BYE.
                self.clocks.only_expire(now + times.patience());
                (State::Completed, Step::told(Tell::Success))
            }
            (State::GivenUp, Tell::Failure) => {
                self.clocks.only_expire(now + TIMER_D);
                let ack = Step {
                    ack: true,
                    ..Step::NOTHING
                };
                (State::Completed, ack)
            }
            (State::Calling | State::Proceeding, Tell::Failure) => {
                // Also over reliable transports: another branch of a fork may answer yet.
                self.clocks.only_expire(now + TIMER_D);
                (
                    State::Completed,
                    Step {
                        resend: false,
                        ack: true,
                        tell: Some(Tell::Failure),
                    },
                )
            }
            (State::Completed, Tell::Failure) => (
                State::Completed,
                Step {
                    resend: false,
                    ack: true,
                    tell: None,
                },
            ),
            (unchanged, _) => (unchanged, Step::NOTHING),
        };
        self.state = state;
        step
    }

    pub fn on_timeout(&mut self, now: Instant) -> Step {
        if self.clocks.expired(now) {
            if self.state == State::Calling {
                self.state = State::GivenUp;
                self.clocks.only_expire(now + self.patience);
                return Step::told(Tell::Timeout);
            }
            let was = self.state;
            self.state = State::Terminated;
            self.clocks = Clocks::default();
            return if was == State::Proceeding {
                Step::told(Tell::Timeout)
            } else {
                Step::NOTHING
            };
        }
        match self.state {
            State::Calling if self.clocks.resend_due(now, Duration::MAX) => Step::RESEND,
            _ => Step::NOTHING,
        }
    }

    /// The owner gave the INVITE up: a final response is waited for 64*T1 (RFC 3261 §9.1).
    pub fn hurry(&mut self, now: Instant) {
        if self.state == State::Proceeding && !self.hurried {
            self.clocks.only_expire(now + self.patience);
        }
        self.hurried = true;
    }

    /// The owner turned to another target before any response came.
    pub fn give_up(&mut self, now: Instant) {
        if self.state == State::Calling {
            self.state = State::GivenUp;
            self.clocks.only_expire(now + self.patience);
        }
    }

    /// Nothing can be sent at this moment. An earlier copy may have arrived, so its response is waited for.
    pub fn on_unreachable(&mut self, now: Instant) -> Step {
        if self.state != State::Calling {
            return Step::NOTHING;
        }
        self.state = State::GivenUp;
        self.clocks.only_expire(now + self.patience);
        Step::told(Tell::Unreachable)
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.clocks.next()
    }

    /// Whether no response came yet: CANCEL must wait (RFC 3261 §9.1).
    pub fn is_calling(&self) -> bool {
        self.state == State::Calling
    }

    /// Whether the final response is still to come.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
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
    fn an_unanswered_invite_is_sent_seven_times_and_given_up_after_32_seconds() {
        let start = Instant::now();
        let mut invite = ClientInvite::new(start, &TIMES);
        let mut sent = vec![];
        let told = loop {
            let at = invite.next_timeout().unwrap();
            match invite.on_timeout(at) {
                Step { resend: true, .. } => sent.push((at - start).as_millis()),
                Step { tell: Some(tell), .. } => break (tell, (at - start).as_millis()),
                _ => panic!("a timeout without effect"),
            }
        };
        assert_eq!(sent, [500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(told, (Tell::Timeout, 32_000));
    }

    #[test]
    fn an_answer_after_giving_up_is_still_told() {
        let now = Instant::now();
        let mut invite = ClientInvite::new(now, &TIMES);
        let end = now + TIMES.patience();
        assert_eq!(invite.on_timeout(end).tell, Some(Tell::Timeout));
        assert_eq!(
            invite.on_response(end, Tell::Success, &TIMES).tell,
            Some(Tell::Success)
        );
        let mut invite = ClientInvite::new(now, &TIMES);
        invite.on_timeout(end);
        invite.on_timeout(end + TIMES.patience());
        assert!(invite.is_terminated());
    }

    #[test]
    fn an_invite_given_up_early_is_not_sent_again_and_a_late_failure_is_acknowledged_only() {
        let now = Instant::now();
        let mut invite = ClientInvite::new(now, &TIMES);
        invite.give_up(now + TIMES.t2);
        assert_eq!(invite.next_timeout(), Some(now + TIMES.t2 + TIMES.patience()));
        let late = invite.on_response(now + TIMES.t2 * 2, Tell::Failure, &TIMES);
        assert!(late.ack && late.tell.is_none());
    }

    #[test]
    fn repeated_failure_response_is_acked_again_but_told_once() {
        let now = Instant::now();
        let mut invite = ClientInvite::new(now, &TIMES);
        let first = invite.on_response(now, Tell::Failure, &TIMES);
        assert!(first.ack && first.tell == Some(Tell::Failure));
        let again = invite.on_response(now + TIMES.t1, Tell::Failure, &TIMES);
        assert!(again.ack && again.tell.is_none());
        assert_eq!(invite.next_timeout(), Some(now + TIMER_D));
        invite.on_timeout(now + TIMER_D);
        assert!(invite.is_terminated());
    }

    #[test]
    fn every_2xx_is_told_until_timer_m() {
        let now = Instant::now();
        let mut invite = ClientInvite::new(now, &TIMES);
        assert_eq!(
            invite.on_response(now, Tell::Provisional, &TIMES).tell,
            Some(Tell::Provisional)
        );
        assert_eq!(invite.next_timeout(), Some(now + PROCEEDING));
        assert_eq!(
            invite.on_response(now, Tell::Success, &TIMES).tell,
            Some(Tell::Success)
        );
        assert_eq!(
            invite.on_response(now, Tell::Success, &TIMES).tell,
            Some(Tell::Success)
        );
        assert_eq!(invite.on_response(now, Tell::Failure, &TIMES), Step::NOTHING);
        assert_eq!(invite.on_timeout(now + Duration::from_secs(32)), Step::NOTHING);
        assert!(invite.is_terminated());
    }

    #[test]
    fn an_invite_given_up_while_proceeding_is_forgotten_after_64_t1() {
        let now = Instant::now();
        let mut invite = ClientInvite::new(now, &TIMES);
        invite.on_response(now, Tell::Provisional, &TIMES);
        invite.hurry(now);
        invite.on_response(now + TIMES.t1, Tell::Provisional, &TIMES);
        assert_eq!(
            invite.on_timeout(now + TIMES.patience()).tell,
            Some(Tell::Timeout)
        );
        assert!(invite.is_terminated());
    }

    #[test]
    fn over_a_reliable_transport_nothing_is_repeated() {
        let (now, times) = (
            Instant::now(),
            Times {
                reliable: true,
                ..TIMES
            },
        );
        let mut invite = ClientInvite::new(now, &times);
        assert_eq!(invite.next_timeout(), Some(now + times.patience()));
        assert!(invite.on_response(now, Tell::Failure, &times).ack);
        assert_eq!(invite.on_timeout(now + TIMER_D), Step::NOTHING);
        assert!(invite.is_terminated());
    }

    #[test]
    fn an_unreachable_target_is_told_only_while_calling() {
        let now = Instant::now();
        assert_eq!(
            ClientInvite::new(now, &TIMES).on_unreachable(now).tell,
            Some(Tell::Unreachable)
        );
        let mut invite = ClientInvite::new(now, &TIMES);
        invite.on_response(now, Tell::Provisional, &TIMES);
        assert_eq!(invite.on_unreachable(now), Step::NOTHING);
    }
}
