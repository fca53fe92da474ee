//! One media thread: wakes once a tick, takes what came on all its sockets, relays it, and sends what is due.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use media::{Command, Event, Plane, PlaneConfig, StreamConfig, StreamId};
use rustix::event::{Timespec, epoll};
use rustix::thread::{ClockId, clock_nanosleep_absolute};

use super::outbox::Outbox;
use super::pace::{Load, Pace};
use super::packet_filter;
use super::{Counters, DriverCommand, DriverConfig, Shared};
use crate::switch::port_pool::MediaSocket;

/// Packets read in one visit to a socket before the others have their turn.
const VISIT: usize = 4;
/// Ready sockets taken from the kernel at once.
const BATCH: usize = 512;
/// Packets read in one tick at most, however fast they can be read: the rest of the tick's time is the other bound, so
/// that what we send stays on time under a flood.
const MAX_PACKETS: usize = 16 * 1024;
/// Longer datagrams are no telephone audio and are cut.
const MAX_DATAGRAM: usize = 2048;
/// Names the wake-up in what epoll reports; sockets are named by their seat.
const WAKE: u64 = u64::MAX;

/// How long the load is measured before the tick is chosen anew.
const MEASURE: Duration = Duration::from_millis(100);

/// One media thread.
pub(super) struct Worker {
    epoll: OwnedFd,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<DriverCommand>,
    plane: Plane,
    pace: Pace,
    measured: Measured,
    sockets: Sockets,
    /// Sockets that may hold more than was read; epoll does not report them again.
    pending: Pending,
    outbox: Outbox,
    counters: Arc<Counters>,
}

/// What the choice of the tick rests on, since a point in time.
struct Measured {
    since: Instant,
    /// CPU time of this thread at that point.
    cpu: Duration,
    ticks: u64,
    missed: u64,
    relays: bool,
}

/// The sockets of a thread, by seat (as epoll names them) and by stream.
#[derive(Default)]
struct Sockets {
    seats: Vec<Option<(StreamId, MediaSocket)>>,
    free: Vec<usize>,
    names: HashMap<StreamId, usize>,
}

/// Seats in the order in which they are to be visited; each is in it once.
#[derive(Default)]
struct Pending {
    order: VecDeque<usize>,
    waits: Vec<bool>,
}

impl Pending {
    fn push(&mut self, seat: usize) {
        if seat >= self.waits.len() {
            self.waits.resize(seat + 1, false);
        }
        if !std::mem::replace(&mut self.waits[seat], true) {
            self.order.push_back(seat);
        }
    }

    fn pop(&mut self) -> Option<usize> {
        let seat = self.order.pop_front()?;
        self.waits[seat] = false;
        Some(seat)
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Worker {
    pub(super) fn new(
        config: &DriverConfig,
        commands: mpsc::Receiver<DriverCommand>,
        shared: Arc<Shared>,
        events: tokio::sync::mpsc::Sender<Event>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &shared.wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        let pace = Pace::new(config.tick, config.longest_tick);
        Ok(Self {
            epoll,
            shared,
            commands,
            plane: Plane::new(Instant::now(), PlaneConfig { tick: pace.tick() }),
            pace,
            measured: Measured::start(Instant::now()),
            sockets: Sockets::default(),
            pending: Pending::default(),
            outbox: Outbox::new(events),
            counters,
        })
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::with_capacity(BATCH);
        let mut buffer = [0; MAX_DATAGRAM];
        let mut deadline = Instant::now();
        while !self.shared.stop.load(Ordering::SeqCst) {
            if self.sockets.names.is_empty() {
                self.sleep_until_woken(&mut ready);
                self.take_commands();
                self.publish();
                deadline = Instant::now();
                self.measured = Measured::start(deadline);
                continue;
            }
            deadline = self.sleep_until(deadline + self.pace.tick());
            // Commands first: one that was sent before a packet came is in force for it.
            self.take_commands();
            self.attend();
            let now = Instant::now();
            self.receive(now, &mut ready, &mut buffer);
            self.play(now);
            self.publish();
            self.adapt(now);
        }
    }

    /// Chooses the tick anew from what was measured.
    fn adapt(&mut self, now: Instant) {
        self.measured.ticks += 1;
        if !self.pace.is_fixed()
            && let Some(load) = self.measured.load(now)
        {
            self.pace.adapt(load);
            self.measured = Measured::start(now);
        }
    }

    fn take_commands(&mut self) {
        // A ring cannot hold more than its capacity, but the control side may refill it meanwhile.
        for _ in 0..BATCH * 8 {
            match self.commands.try_recv() {
                Ok(command) => self.carry_out(Instant::now(), command),
                Err(_) => return,
            }
        }
    }

    fn carry_out(&mut self, now: Instant, command: DriverCommand) {
        match command {
            DriverCommand::Open {
                stream,
                socket,
                config,
            } => self.open(now, stream, socket, config),
            DriverCommand::Media(Command::Open { .. }) => {
                tracing::error!("a stream cannot be opened without a socket");
            }
            DriverCommand::Media(Command::Close { stream }) => {
                self.plane.command(now, Command::Close { stream });
                self.close(stream);
            }
            DriverCommand::Media(command) => self.plane.command(now, command),
        }
    }

    fn open(&mut self, now: Instant, stream: StreamId, socket: MediaSocket, config: StreamConfig) {
        self.close(stream);
        let seat = self.sockets.add(stream, socket);
        if let Some((_, socket)) = &self.sockets.seats[seat] {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(seat as u64);
            if let Err(error) = epoll::add(&self.epoll, socket.udp(), data, flags) {
                // The stream still sends; that it hears nothing is told as silence.
                tracing::error!(%error, stream = stream.0, "a media socket cannot be watched");
            }
            // Packets from before the watch would not be reported.
            self.pending.push(seat);
        }
        self.plane.command(now, Command::Open { stream, config });
    }

    /// Dropping the socket also takes it out of epoll.
    fn close(&mut self, stream: StreamId) {
        if self.sockets.remove(stream) {
            self.shared.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits for a command without waking in between.
    fn sleep_until_woken(&mut self, ready: &mut Vec<epoll::Event>) {
        self.shared.asleep.store(true, Ordering::SeqCst);
        // A command that came before the store above did not wake us.
        if let Ok(command) = self.commands.try_recv() {
            self.shared.asleep.store(false, Ordering::SeqCst);
            self.carry_out(Instant::now(), command);
            return;
        }
        if !self.shared.stop.load(Ordering::SeqCst) {
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            ready.clear();
            let spare = rustix::buffer::spare_capacity(ready);
            let _ = epoll::wait(&self.epoll, spare, self.outbox.is_waiting().then_some(&patience));
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
    }

    /// Sleeps until a tick is due and returns when it was. Ticks that are missed are not made up for.
    fn sleep_until(&mut self, deadline: Instant) -> Instant {
        let now = Instant::now();
        if let Some(rest) = deadline
            .checked_duration_since(now)
            .filter(|rest| !rest.is_zero())
        {
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &after(rest));
            return deadline;
        }
        let late = now.saturating_duration_since(deadline);
        if late < self.pace.tick() {
            return deadline;
        }
        let missed = (late.as_nanos() / self.pace.tick().as_nanos()) as u64;
        self.measured.missed += missed;
        self.counters.overruns.fetch_add(missed, Ordering::Relaxed);
        now
    }

    fn receive(&mut self, now: Instant, ready: &mut Vec<epoll::Event>, buffer: &mut [u8]) {
        let mut packets = 0;
        let until = now + self.pace.tick();
        // Sockets left over from the last tick come first.
        packets += self.visit_pending(now, until, buffer);
        loop {
            ready.clear();
            let none = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(ready), Some(&none)).is_err() {
                break;
            }
            for event in ready.iter() {
                match event.data.u64() {
                    WAKE => {
                        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
                    }
                    // Told once only, so it is kept for the next tick when this one's time is over.
                    seat if Instant::now() >= until => self.pending.push(seat as usize),
                    seat => packets += self.visit(now, seat as usize, buffer),
                }
            }
            if ready.len() < BATCH || packets >= MAX_PACKETS || Instant::now() >= until {
                break;
            }
        }
        while packets < MAX_PACKETS && !self.pending.is_empty() && Instant::now() < until {
            packets += self.visit_pending(now, until, buffer);
        }
        self.counters
            .received
            .fetch_add(packets as u64, Ordering::Relaxed);
    }

    /// Visits each pending socket once, as far as the time until then allows.
    fn visit_pending(&mut self, now: Instant, until: Instant, buffer: &mut [u8]) -> usize {
        let mut packets = 0;
        for _ in 0..self.pending.len() {
            let Some(seat) = self.pending.pop() else {
                break;
            };
            packets += self.visit(now, seat, buffer);
            if Instant::now() >= until {
                break;
            }
        }
        packets
    }

    /// Reads a few packets of one socket; if there may be more, it is visited again after the others.
    fn visit(&mut self, now: Instant, seat: usize, buffer: &mut [u8]) -> usize {
        let Some(Some((stream, socket))) = self.sockets.seats.get(seat) else {
            return 0;
        };
        let stream = *stream;
        for packet in 0..VISIT {
            let (length, source) = match socket.udp().recv_from(buffer) {
                Ok(received) => received,
                Err(error) if is_passing(&error) => continue,
                Err(_) => return packet,
            };
            let Some(forward) = self
                .plane
                .receive(now, stream, unmapped(source), &mut buffer[..length])
            else {
                continue;
            };
            self.measured.relays = true;
            let bytes = &buffer[forward.range];
            self.sockets
                .send(forward.stream, forward.destination, bytes, &self.counters);
        }
        self.pending.push(seat);
        VISIT
    }

    /// Sets the socket filters as the plane wishes.
    fn attend(&mut self) {
        while let Some((stream, attention)) = self.plane.poll_attention() {
            let Some(socket) = self.sockets.of(stream) else {
                continue;
            };
            match packet_filter::set(socket.udp(), attention) {
                Ok(()) => self.plane.attend(stream, attention),
                // Everything is read then, which only costs more.
                Err(error) => tracing::debug!(%error, stream = stream.0, "a socket filter cannot be set"),
            }
        }
    }

    fn play(&mut self, now: Instant) {
        let (sockets, counters) = (&self.sockets, &self.counters);
        self.plane.tick(now, &mut |stream, to, bytes| {
            sockets.send(stream, to, bytes, counters)
        });
    }

    fn publish(&mut self) {
        let mut dropped = self.outbox.flush();
        while let Some(event) = self.plane.poll_event() {
            dropped += self.outbox.post(event);
        }
        if dropped > 0 {
            self.counters.dropped_events.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

impl Measured {
    fn start(now: Instant) -> Self {
        Self {
            since: now,
            cpu: thread_cpu(),
            ticks: 0,
            missed: 0,
            relays: false,
        }
    }

    /// None before enough time has passed.
    fn load(&self, now: Instant) -> Option<Load> {
        let span = now.saturating_duration_since(self.since);
        (span >= MEASURE).then(|| Load {
            busy: thread_cpu().saturating_sub(self.cpu).as_secs_f64() / span.as_secs_f64(),
            missed: self.missed as f64 / (self.missed + self.ticks).max(1) as f64,
            relays: self.relays,
        })
    }
}

impl Sockets {
    fn add(&mut self, stream: StreamId, socket: MediaSocket) -> usize {
        let seat = self.free.pop().unwrap_or(self.seats.len());
        match self.seats.get_mut(seat) {
            Some(empty) => *empty = Some((stream, socket)),
            None => self.seats.push(Some((stream, socket))),
        }
        self.names.insert(stream, seat);
        seat
    }

    fn remove(&mut self, stream: StreamId) -> bool {
        let Some(seat) = self.names.remove(&stream) else {
            return false;
        };
        self.free.push(seat);
        self.seats.get_mut(seat).is_some_and(|seat| seat.take().is_some())
    }

    fn of(&self, stream: StreamId) -> Option<&MediaSocket> {
        let seat = self.names.get(&stream)?;
        self.seats.get(*seat)?.as_ref().map(|(_, socket)| socket)
    }

    fn send(&self, stream: StreamId, to: SocketAddr, bytes: &[u8], counters: &Counters) {
        let sent = self
            .of(stream)
            .is_some_and(|socket| socket.udp().send_to(bytes, to).is_ok());
        let counter = if sent { &counters.sent } else { &counters.unsent };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An error that says something about an earlier packet, not about this socket now.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
    )
}

/// IPv4 senders on a socket of both families are IPv4 all the same.
fn unmapped(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}

/// CPU time that this thread has used.
fn thread_cpu() -> Duration {
    let used = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec as u32)
}

/// The system's monotonic time after `rest` from now.
fn after(rest: Duration) -> Timespec {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let nanos = now.tv_nsec as u64 + u64::from(rest.subsec_nanos());
    Timespec {
        tv_sec: now.tv_sec + rest.as_secs() as i64 + (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_waits_once_however_often_it_is_told() {
        let mut pending = Pending::default();
        for _ in 0..3 {
            [7, 2, 7].into_iter().for_each(|seat| pending.push(seat));
        }
        assert_eq!(pending.len(), 2);
        assert_eq!(
            (pending.pop(), pending.pop(), pending.pop()),
            (Some(7), Some(2), None)
        );
        pending.push(7);
        assert_eq!(pending.pop(), Some(7));
    }
}
