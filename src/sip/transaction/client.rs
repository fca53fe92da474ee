//! The client transaction of every request but INVITE (RFC 3261 §17.1.2).

use std::time::{Duration, Instant};

use super::{Clocks, Step, Tell, Times};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// Timers: E doubles up to T2 and is T2 once a 1xx came, F lasts 64*T1, K T4.
#[derive(Debug)]
pub(crate) struct Client {
    state: State,
    clocks: Clocks,
}

impl Client {
    /// The request has just been sent.
    pub fn new(now: Instant, times: &Times) -> Self {
        let mut clocks = Clocks {
            expire_at: Some(now + times.patience()),
            ..Clocks::default()
        };
        clocks.start_resending(now, times);
        Self {
            state: State::Trying,
            clocks,
        }
    }

    pub fn on_response(&mut self, now: Instant, kind: Tell, times: &Times) -> Step {
        let (state, step) = match (self.state, kind) {
            (State::Trying | State::Proceeding, Tell::Provisional) => {
                self.clocks.interval = times.t2;
                (State::Proceeding, Step::told(Tell::Provisional))
            }
            (State::Trying | State::Proceeding, kind) => {
                let linger = if times.reliable { Duration::ZERO } else { times.t4 };
                self.clocks.only_expire(now + linger);
                (State::Completed, Step::told(kind))
            }
            (unchanged, _) => (unchanged, Step::NOTHING),
        };
        self.state = state;
        step
    }

    pub fn on_timeout(&mut self, now: Instant, times: &Times) -> Step {
        if self.clocks.expired(now) {
            let was = self.state;
            self.state = State::Terminated;
            self.clocks = Clocks::default();
            return match was {
                State::Trying | State::Proceeding => Step::told(Tell::Timeout),
                _ => Step::NOTHING,
            };
        }
        if self.clocks.resend_due(now, times.t2) {
            Step::RESEND
        } else {
            Step::NOTHING
        }
    }

    pub fn on_unreachable(&mut self) -> Step {
        if !matches!(self.state, State::Trying | State::Proceeding) {
            return Step::NOTHING;
        }
        self.state = State::Terminated;
        self.clocks = Clocks::default();
        Step::told(Tell::Unreachable)
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.clocks.next()
    }

    /// Whether the final response is still to come.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
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

    fn resends(mut request: Client, start: Instant) -> (Vec<u128>, u128) {
        let mut sent = vec![];
        loop {
            let at = request.next_timeout().unwrap();
            match request.on_timeout(at, &TIMES) {
                Step { resend: true, .. } => sent.push((at - start).as_millis()),
                Step {
                    tell: Some(Tell::Timeout),
                    ..
                } => return (sent, (at - start).as_millis()),
                _ => panic!("a timeout without effect"),
            }
        }
    }

    #[test]
    fn an_unanswered_request_is_repeated_at_most_every_t2() {
        let start = Instant::now();
        let (sent, gave_up) = resends(Client::new(start, &TIMES), start);
        assert_eq!(
            sent,
            [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
        );
        assert_eq!(gave_up, 32_000);
    }

    #[test]
    fn a_provisional_response_slows_repetition_to_t2_but_does_not_stop_it() {
        let start = Instant::now();
        let mut request = Client::new(start, &TIMES);
        request.on_response(start + Duration::from_millis(100), Tell::Provisional, &TIMES);
        let (sent, _) = resends(request, start);
        assert_eq!(sent[..3], [500, 4500, 8500]);
    }

    #[test]
    fn a_final_response_is_told_once_and_forgotten_after_t4() {
        let now = Instant::now();
        let mut request = Client::new(now, &TIMES);
        assert_eq!(
            request.on_response(now, Tell::Success, &TIMES).tell,
            Some(Tell::Success)
        );
        assert_eq!(request.on_response(now, Tell::Success, &TIMES), Step::NOTHING);
        assert_eq!(request.on_timeout(now + TIMES.t4, &TIMES), Step::NOTHING);
        assert!(request.is_terminated());
    }
}
