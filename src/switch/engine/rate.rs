//! How many calls may begin each second.

use std::time::{Duration, Instant};

/// A leaky bucket that holds only the time at which it will be empty (the "generic cell rate algorithm").
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    empty_at: Option<Instant>,
}

impl Rate {
    /// How long one more call has to wait, when `burst` may begin at once. A rate of 0 sets no limit.
    pub fn delay(&self, now: Instant, per_second: u32, burst: u32) -> Duration {
        if per_second == 0 {
            return Duration::ZERO;
        }
        let room = interval(per_second) * burst.saturating_sub(1);
        self.empty_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now + room))
    }

    /// Counts a call that begins once its delay is over.
    pub fn take(&mut self, now: Instant, per_second: u32) {
        if per_second > 0 {
            let from = self.empty_at.map_or(now, |at| at.max(now));
            self.empty_at = Some(from + interval(per_second));
        }
    }
}

fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_burst_calls_are_spread_evenly_over_the_second() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let delays: Vec<u128> = (0..5)
            .map(|_| {
                let delay = rate.delay(now, 4, 1);
                rate.take(now, 4);
                delay.as_millis()
            })
            .collect();
        assert_eq!(delays, [0, 250, 500, 750, 1000]);
        assert_eq!(rate.delay(now + Duration::from_secs(2), 4, 1), Duration::ZERO);
    }

    #[test]
    fn a_burst_of_a_second_passes_at_once_and_no_more() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let admitted = |rate: &mut Rate, now| {
            let mut count = 0;
            while rate.delay(now, 10, 10).is_zero() {
                rate.take(now, 10);
                count += 1;
            }
            count
        };
        assert_eq!(admitted(&mut rate, now), 10);
        assert_eq!(admitted(&mut rate, now + Duration::from_millis(500)), 5);
        assert_eq!(admitted(&mut rate, now + Duration::from_secs(60)), 10);
    }

    #[test]
    fn a_rate_of_nothing_sets_no_limit() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        for _ in 0..1000 {
            rate.take(now, 0);
            assert_eq!(rate.delay(now, 0, 1), Duration::ZERO);
        }
    }
}
