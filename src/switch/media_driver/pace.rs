//! How long the tick of a media thread is: short while there is CPU to spare, so that audio is not delayed; long near
//! saturation, so that each wake-up is shared by more packets.

use std::time::Duration;

/// What a media thread measured over a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// CPU time over wall time, 0 to 1.
    pub(super) busy: f64,
    /// Share of ticks that were missed because the thread came too late, 0 to 1: others need the CPU too.
    pub(super) missed: f64,
    /// Whether packets are relayed: only they gain by a shorter tick than [`PLAYING`].
    pub(super) relays: bool,
}

/// Prompts alone need no shorter tick: a key is still told within it.
const PLAYING: u32 = 2;
/// Busier than this a tick of 1, 2, 3, 4 ms is too short. On the machine of `docs/performance.md`, 200 bridged calls
/// keep a thread an eighth busy and 1000 half; with those a tick of 2 ms delays audio by 1.6 ms at the median, one of
/// 3 ms by 2.3 ms.
const TOO_BUSY: [f64; 4] = [0.25, 0.6, 0.75, 0.85];
/// A shorter tick costs more itself: the load must be so much lower before one is tried.
const MARGIN: f64 = 0.07;
/// With more ticks missed than this the tick grows, and with fewer than a tenth of this it may shrink.
const MANY_MISSED: f64 = 0.2;

/// The tick to use next, in milliseconds: at once as long as the load asks for, but shorter by one step only.
pub(super) fn next_tick(tick: u32, load: Load) -> u32 {
    let shortest = if load.relays { 1 } else { PLAYING };
    let asked = |busy: f64| 1 + TOO_BUSY.iter().filter(|limit| busy > **limit).count() as u32;
    let crowded = if load.missed > MANY_MISSED { tick + 1 } else { 1 };
    let longer = asked(load.busy).max(crowded).max(shortest).min(5);
    if longer >= tick {
        return longer;
    }
    let calm = load.missed <= MANY_MISSED / 10.0;
    if calm && asked(load.busy + MARGIN) < tick {
        (tick - 1).max(shortest)
    } else {
        tick
    }
}

/// The tick in force and the bounds it keeps.
#[derive(Debug)]
pub(super) struct Pace {
    shortest: u32,
    longest: u32,
    tick: u32,
}

impl Pace {
    /// Both bounds are brought into 1 to 5 ms; with equal bounds nothing adapts.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        let bound = |tick: Duration| tick.as_millis().clamp(1, 5) as u32;
        let shortest = bound(shortest);
        Self {
            shortest,
            longest: bound(longest).max(shortest),
            tick: shortest,
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.shortest == self.longest
    }

    pub(super) fn tick(&self) -> Duration {
        Duration::from_millis(u64::from(self.tick))
    }

    pub(super) fn adapt(&mut self, load: Load) {
        self.tick = next_tick(self.tick, load).clamp(self.shortest, self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaying(busy: f64) -> Load {
        Load {
            busy,
            missed: 0.0,
            relays: true,
        }
    }

    /// Where the tick comes to rest under a steady load.
    fn rest(start: u32, load: Load) -> u32 {
        (0..10).fold(start, |tick, _| next_tick(tick, load))
    }

    #[test]
    fn light_load_is_relayed_every_millisecond_and_saturation_every_five() {
        for start in 1..=5 {
            assert_eq!(rest(start, relaying(0.0)), 1);
            assert_eq!(rest(start, relaying(0.12)), 1);
            assert_eq!(rest(start, relaying(0.95)), 5);
        }
        assert_eq!(rest(1, relaying(0.5)), 2);
        assert_eq!(rest(5, relaying(0.5)), 2);
    }

    #[test]
    fn the_tick_grows_at_once_and_shrinks_step_by_step() {
        assert_eq!(next_tick(1, relaying(0.9)), 5);
        assert_eq!(next_tick(5, relaying(0.1)), 4);
    }

    #[test]
    fn a_tick_that_the_load_has_just_outgrown_is_not_tried_again_at_once() {
        // At 1 ms the thread is 27 % busy, at 2 ms 22 %: it stays at 2 ms.
        assert_eq!(next_tick(1, relaying(0.27)), 2);
        assert_eq!(next_tick(2, relaying(0.22)), 2);
        assert_eq!(next_tick(2, relaying(0.15)), 1);
    }

    #[test]
    fn more_load_never_means_a_shorter_tick() {
        for tick in 1..=5 {
            for missed in [0.0, 0.1, 0.5] {
                let ticks: Vec<u32> = (0..=100)
                    .map(|percent| {
                        let busy = f64::from(percent) / 100.0;
                        next_tick(
                            tick,
                            Load {
                                missed,
                                ..relaying(busy)
                            },
                        )
                    })
                    .collect();
                assert!(ticks.is_sorted(), "{tick} {missed} {ticks:?}");
            }
        }
    }

    #[test]
    fn missed_ticks_lengthen_the_tick_though_the_thread_itself_is_idle() {
        let crowded = Load {
            missed: 0.5,
            ..relaying(0.05)
        };
        assert_eq!(next_tick(1, crowded), 2);
        assert_eq!(rest(1, crowded), 5);
        let some = Load {
            missed: 0.1,
            ..relaying(0.05)
        };
        assert_eq!(rest(3, some), 3);
        assert_eq!(rest(1, some), 1);
    }

    #[test]
    fn prompts_alone_wake_the_thread_every_other_millisecond() {
        let playing = Load {
            relays: false,
            ..relaying(0.01)
        };
        assert_eq!(rest(1, playing), 2);
        assert_eq!(rest(5, playing), 2);
        assert_eq!(next_tick(2, relaying(0.01)), 1);
    }

    #[test]
    fn bounds_are_kept_and_equal_ones_fix_the_tick() {
        let ms = Duration::from_millis;
        let mut fixed = Pace::new(ms(2), ms(2));
        assert!(fixed.is_fixed());
        fixed.adapt(relaying(0.99));
        assert_eq!(fixed.tick(), ms(2));
        let mut pace = Pace::new(ms(2), ms(4));
        pace.adapt(relaying(0.99));
        assert_eq!(pace.tick(), ms(4));
        for _ in 0..5 {
            pace.adapt(relaying(0.0));
        }
        assert_eq!(pace.tick(), ms(2));
        assert_eq!(Pace::new(ms(0), ms(60)).tick(), ms(1));
    }
}
