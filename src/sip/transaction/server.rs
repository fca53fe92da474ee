//! The server transaction of every request but INVITE (RFC 3261 §17.2.2).

use std::time::{Duration, Instant};

use super::{Clocks, Step, Tell, Times};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent yet.
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// Timer J lasts 64*T1.
#[derive(Debug)]
pub(crate) struct Server {
    state: State,
    clocks: Clocks,
}

impl Server {
    pub fn new() -> Self {
        Self {
            state: State::Trying,
            clocks: Clocks::default(),
        }
    }

    /// The request came again.
    pub fn on_request(&self) -> Step {
        match self.state {
            State::Proceeding | State::Completed => Step::RESEND,
            State::Trying | State::Terminated => Step::NOTHING,
        }
    }

    /// The owner sends a response. Returns whether it may.
    pub fn on_respond(&mut self, now: Instant, kind: Tell, times: &Times) -> bool {
        if matches!(self.state, State::Completed | State::Terminated) {
            return false;
        }
        if kind == Tell::Provisional {
            self.state = State::Proceeding;
        } else {
            let linger = if times.reliable {
                Duration::ZERO
            } else {
                times.patience()
            };
            self.clocks.only_expire(now + linger);
            self.state = State::Completed;
        }
        true
    }

    pub fn on_timeout(&mut self, now: Instant) -> Step {
        if self.clocks.expired(now) {
            self.state = State::Terminated;
            self.clocks = Clocks::default();
        }
        Step::NOTHING
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.clocks.next()
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_gets_the_same_answer_for_64_t1() {
        let times = Times {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            reliable: false,
        };
        let start = Instant::now();
        let mut server = Server::new();
        assert_eq!(server.on_request(), Step::NOTHING);
        assert!(server.on_respond(start, Tell::Success, &times));
        assert!(!server.on_respond(start, Tell::Failure, &times));
        assert_eq!(server.on_request(), Step::RESEND);
        server.on_timeout(start + Duration::from_secs(31));
        assert!(!server.is_terminated());
        server.on_timeout(start + Duration::from_secs(32));
        assert!(server.is_terminated());
    }
}
