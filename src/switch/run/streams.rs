//! Media sockets made ready ahead of calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::StreamId;

use super::Running;
use crate::call::leg::Seat;
use crate::switch::engine::Input;

/// A want of ports is told this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

impl Running {
    pub(super) fn make_streams(&mut self, count: usize) {
        for made in 0..count {
            let opened = self.pool.open().map_err(|error| error.to_string());
            let placed = opened.and_then(|socket| {
                let address = socket.local_address().map_err(|error| error.to_string())?;
                Ok((socket, address))
            });
            match placed {
                Ok((socket, bound)) => {
                    let stream = StreamId(self.next_stream);
                    self.next_stream = self.next_stream.wrapping_add(1);
                    let ip = self.advertised.unwrap_or_else(|| bound.ip());
                    let address = SocketAddr::new(ip, bound.port());
                    self.stock.insert(stream, socket);
                    self.engine
                        .handle_input(self.clock.now(), Input::StreamReady(Seat { stream, address }));
                }
                Err(error) => {
                    self.tell_no_port(&error);
                    // Told at the next heartbeat, so that the engine asks again, but not at once.
                    self.failed_streams += count - made;
                    return;
                }
            }
        }
    }

    fn tell_no_port(&mut self, error: &str) {
        let is_told = |at: Instant| at.elapsed() < TOLD_EVERY;
        if !self.streams_told_at.is_some_and(is_told) {
            self.streams_told_at = Some(Instant::now());
            tracing::error!("no media port ([media] address, ports): {error}");
        }
    }
}
