//! What systemd is told: ready, reloading, stopping, and that the signalling loop turns. Without systemd there is
//! nobody to tell, and nothing is.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Several signs of life fit into the time that the service manager waits for one.
const SIGNS_PER_PATIENCE: u32 = 4;

/// Calls can be taken; also the end of a reload.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows, whatever came of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => tell(&[NotifyState::Reloading, since]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // A service manager that does not listen changes nothing for calls.
    let _ = sd_notify::notify(state);
}

/// Tells that the loop turns, unless that would hold it up: a service manager that is behind needs no more of these.
fn sign_of_life() {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    // As above.
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(NotifyState::Watchdog.to_string().as_bytes(), place)
    });
}

/// Signs of life of the loop that owns it: when the loop stands still, they stop (WatchdogSec).
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    /// As the service manager asked for in the environment, if it did.
    pub fn from_environment() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    fn new(patience: Option<Duration>) -> Self {
        Self {
            every: patience.map(|patience| patience / SIGNS_PER_PATIENCE),
            last: None,
        }
    }

    /// The loop came round.
    pub fn beat(&mut self, now: Instant) {
        if self.is_due(now) {
            sign_of_life();
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every else { return false };
        let due = self.last.is_none_or(|last| now >= last + every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_signs_of_life_fit_into_the_patience_and_none_are_sent_unasked() {
        let start = Instant::now();
        let beats = |patience| {
            let mut watchdog = Watchdog::new(patience);
            (0..400)
                .filter(|round| watchdog.is_due(start + Duration::from_millis(250) * *round))
                .count()
        };
        assert_eq!(beats(None), 0);
        assert_eq!(
            beats(Some(Duration::from_secs(20))),
            20,
            "in 100 s, one every five seconds"
        );
    }
}
