//! Events of a media thread on their way to the control side.

use std::collections::VecDeque;

use media::Event;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// Events kept while the control side does not fetch them; digits and played prompts get the larger number.
const MAX_VITAL_BACKLOG: usize = 65_536;
const MAX_BACKLOG: usize = 16_384;

/// Events on their way to the control side.
pub(super) struct Outbox {
    events: Sender<Event>,
    backlog: VecDeque<Event>,
}

impl Outbox {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self {
            events,
            backlog: VecDeque::new(),
        }
    }

    /// Whether events wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends what waits; returns how many events were dropped.
    pub(super) fn flush(&mut self) -> u64 {
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return 0;
                }
                Err(TrySendError::Closed(_)) => {
                    let dropped = 1 + self.backlog.len() as u64;
                    self.backlog.clear();
                    return dropped;
                }
            }
        }
        0
    }

    /// Sends an event after those that wait. With the backlog long, statistics go before digits.
    pub(super) fn post(&mut self, event: Event) -> u64 {
        let limit = if event.is_vital() {
            MAX_VITAL_BACKLOG
        } else {
            MAX_BACKLOG
        };
        if self.backlog.len() >= limit {
            return 1;
        }
        self.backlog.push_back(event);
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use media::StreamId;

    use super::*;

    const A: StreamId = StreamId(1);

    #[test]
    fn statistics_are_dropped_before_digits_when_nobody_fetches_events() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut outbox = Outbox {
            events: sender,
            backlog: VecDeque::new(),
        };
        let lesser = Event::Silent { stream: A };
        let dropped: u64 = (0..MAX_BACKLOG + 2).map(|_| outbox.post(lesser.clone())).sum();
        assert_eq!(dropped, 1);
        let digit = Event::DigitPressed {
            stream: A,
            digit: '5',
        };
        assert_eq!(outbox.post(digit.clone()), 0);
        for _ in 0..=MAX_BACKLOG {
            assert_eq!(receiver.try_recv().unwrap(), lesser);
            outbox.flush();
        }
        assert_eq!(receiver.try_recv().unwrap(), digit);
    }
}
