//! The media threads: sockets and clock around [`media::Plane`].
//!
//! Each thread wakes once a tick, takes what came on all its sockets, relays it at once, and sends what is due. Commands
//! come through a bounded ring, events leave through another; nothing is locked on the way of a packet.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::{Command, Event, Plane, PlaneConfig, StreamConfig, StreamId};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{ClockId, clock_nanosleep_absolute};

use super::port_pool::MediaSocket;

/// Packets read in one visit to a socket before the others have their turn.
const VISIT: usize = 4;
/// Ready sockets taken from the kernel at once.
const BATCH: usize = 512;
/// Packets read in one tick at most, so that what we send stays on time under a flood.
const MAX_PACKETS: usize = 16 * 1024;
/// Longer datagrams are no telephone audio and are cut.
const MAX_DATAGRAM: usize = 2048;
/// Events kept while the control side does not fetch them; digits and played prompts get the larger number.
const MAX_VITAL_BACKLOG: usize = 65_536;
const MAX_BACKLOG: usize = 16_384;
/// Names the wake-up in what epoll reports; sockets are named by their seat.
const WAKE: u64 = u64::MAX;

/// How the media threads run.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    pub threads: usize,
    /// How often a thread wakes: 1 to 5 ms.
    pub tick: Duration,
    /// Commands that wait for a thread at most.
    pub commands: usize,
    /// Events that wait for the control side at most before they are sorted by worth.
    pub events: usize,
}

impl Default for DriverConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: (cores - 1).max(1),
            tick: Duration::from_millis(2),
            commands: 4096,
            events: 4096,
        }
    }
}

/// What the control side asks of a media thread.
#[derive(Debug)]
pub enum DriverCommand {
    /// Opens a stream on its own socket.
    Open {
        stream: StreamId,
        socket: MediaSocket,
        config: StreamConfig,
    },
    /// Anything else; `Command::Open` is refused here for want of a socket.
    Media(Command),
}

/// The ring of a thread has no room, or the thread ended: the command was not taken and comes back.
#[derive(Debug, thiserror::Error)]
#[error("the media thread takes no more commands")]
pub struct Full(pub Box<DriverCommand>);

/// Totals over all threads since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// Packets the system did not take.
    pub unsent: AtomicU64,
    /// Ticks that were over before the one before them ended.
    pub overruns: AtomicU64,
    pub dropped_events: AtomicU64,
}

/// The running media threads. Dropping it ends them.
#[derive(Debug)]
pub struct MediaDriver {
    threads: Vec<Thread>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::SyncSender<DriverCommand>,
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// What both sides of a thread see.
#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    /// The thread sleeps without a deadline and must be woken.
    asleep: AtomicBool,
    stop: AtomicBool,
    streams: AtomicUsize,
}

impl MediaDriver {
    /// Starts the threads and raises the limit of open files as far as allowed. Events of all threads come out of the
    /// receiver.
    ///
    /// # Errors
    /// When the system gives no epoll, eventfd or thread.
    pub fn start(config: &DriverConfig) -> io::Result<(Self, tokio::sync::mpsc::Receiver<Event>)> {
        raise_file_limit();
        let (sender, receiver) = tokio::sync::mpsc::channel(config.events.max(1));
        let counters = Arc::new(Counters::default());
        let threads = (0..config.threads.max(1))
            .map(|number| Thread::start(number, config, sender.clone(), Arc::clone(&counters)))
            .collect::<io::Result<_>>()?;
        Ok((Self { threads, counters }, receiver))
    }

    /// How many threads there are; they are numbered from 0.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// The thread with the fewest streams, for a new call. All legs of a call belong on one thread.
    pub fn least_loaded(&self) -> usize {
        let load = |number: &usize| self.threads[*number].shared.streams.load(Ordering::Relaxed);
        (0..self.threads.len()).min_by_key(load).unwrap_or(0)
    }

    /// Streams open on all threads, those on their way included.
    pub fn streams(&self) -> usize {
        self.threads
            .iter()
            .map(|thread| thread.shared.streams.load(Ordering::Relaxed))
            .sum()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands a command to a thread, which takes it up within one tick.
    ///
    /// # Errors
    /// `Full` when the ring has no room or there is no such thread.
    pub fn send(&self, thread: usize, command: DriverCommand) -> Result<(), Full> {
        let Some(thread) = self.threads.get(thread) else {
            return Err(Full(Box::new(command)));
        };
        let opens = matches!(command, DriverCommand::Open { .. });
        if opens {
            thread.shared.streams.fetch_add(1, Ordering::Relaxed);
        }
        let sent = thread
            .commands
            .try_send(command)
            .map_err(|refused| match refused {
                mpsc::TrySendError::Full(command) | mpsc::TrySendError::Disconnected(command) => {
                    Full(Box::new(command))
                }
            });
        if sent.is_err() && opens {
            thread.shared.streams.fetch_sub(1, Ordering::Relaxed);
        }
        thread.shared.wake_if_asleep();
        sent
    }
}

impl Drop for MediaDriver {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.shared.stop.store(true, Ordering::SeqCst);
            thread.shared.wake();
        }
        for thread in &mut self.threads {
            if thread.handle.take().is_some_and(|handle| handle.join().is_err()) {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

impl Thread {
    fn start(
        number: usize,
        config: &DriverConfig,
        events: tokio::sync::mpsc::Sender<Event>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let (sender, commands) = mpsc::sync_channel(config.commands.max(1));
        let shared = Arc::new(Shared {
            wake: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
        });
        let worker = Worker::new(config, commands, Arc::clone(&shared), events, counters)?;
        let name = format!("media-{number}");
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run())?;
        Ok(Self {
            commands: sender,
            shared,
            handle: Some(handle),
        })
    }
}

impl Shared {
    fn wake_if_asleep(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        // It can only fail when the counter is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// One media thread.
struct Worker {
    epoll: OwnedFd,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<DriverCommand>,
    plane: Plane,
    tick: Duration,
    sockets: Sockets,
    /// Sockets that may hold more than was read; epoll does not report them again.
    pending: VecDeque<usize>,
    outbox: Outbox,
    counters: Arc<Counters>,
}

/// The sockets of a thread, by seat (as epoll names them) and by stream.
#[derive(Default)]
struct Sockets {
    seats: Vec<Option<(StreamId, MediaSocket)>>,
    free: Vec<usize>,
    names: HashMap<StreamId, usize>,
}

impl Worker {
    fn new(
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
        let tick = config
            .tick
            .clamp(Duration::from_millis(1), Duration::from_millis(5));
        Ok(Self {
            epoll,
            shared,
            commands,
            plane: Plane::new(Instant::now(), PlaneConfig { tick }),
            tick,
            sockets: Sockets::default(),
            pending: VecDeque::new(),
            outbox: Outbox {
                events,
                backlog: VecDeque::new(),
            },
            counters,
        })
    }

    fn run(mut self) {
        let mut ready = Vec::with_capacity(BATCH);
        let mut buffer = [0; MAX_DATAGRAM];
        let mut deadline = Instant::now();
        while !self.shared.stop.load(Ordering::SeqCst) {
            if self.sockets.names.is_empty() {
                self.sleep_until_woken(&mut ready);
                self.take_commands();
                self.publish();
                deadline = Instant::now();
                continue;
            }
            deadline = self.sleep_until(deadline + self.tick);
            // Commands first: one that was sent before a packet came is in force for it.
            self.take_commands();
            let now = Instant::now();
            self.receive(now, &mut ready, &mut buffer);
            self.play(now);
            self.publish();
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
            self.pending.push_back(seat);
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
            let waiting = self.outbox.backlog.is_empty();
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            ready.clear();
            let spare = rustix::buffer::spare_capacity(ready);
            let _ = epoll::wait(&self.epoll, spare, (!waiting).then_some(&patience));
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
    }

    /// Sleeps until a tick is due and returns when it was. Ticks that are missed are not made up for.
    fn sleep_until(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        if let Some(rest) = deadline
            .checked_duration_since(now)
            .filter(|rest| !rest.is_zero())
        {
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &after(rest));
            return deadline;
        }
        let late = now.saturating_duration_since(deadline);
        if late < self.tick {
            return deadline;
        }
        let missed = late.as_nanos() / self.tick.as_nanos();
        self.counters.overruns.fetch_add(missed as u64, Ordering::Relaxed);
        now
    }

    fn receive(&mut self, now: Instant, ready: &mut Vec<epoll::Event>, buffer: &mut [u8]) {
        let mut packets = 0;
        // Sockets left over from the last tick come first.
        packets += self.visit_pending(now, self.pending.len(), buffer);
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
                    seat => packets += self.visit(now, seat as usize, buffer),
                }
            }
            if ready.len() < BATCH || packets >= MAX_PACKETS {
                break;
            }
        }
        while packets < MAX_PACKETS && !self.pending.is_empty() {
            packets += self.visit_pending(now, self.pending.len(), buffer);
        }
        self.counters
            .received
            .fetch_add(packets as u64, Ordering::Relaxed);
    }

    fn visit_pending(&mut self, now: Instant, sockets: usize, buffer: &mut [u8]) -> usize {
        let mut packets = 0;
        for _ in 0..sockets {
            let Some(seat) = self.pending.pop_front() else {
                break;
            };
            packets += self.visit(now, seat, buffer);
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
            let bytes = &buffer[forward.range];
            self.sockets
                .send(forward.stream, forward.destination, bytes, &self.counters);
        }
        self.pending.push_back(seat);
        VISIT
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

    fn send(&self, stream: StreamId, to: SocketAddr, bytes: &[u8], counters: &Counters) {
        let socket = self
            .names
            .get(&stream)
            .and_then(|seat| self.seats.get(*seat)?.as_ref());
        let sent = socket.is_some_and(|(_, socket)| socket.udp().send_to(bytes, to).is_ok());
        let counter = if sent { &counters.sent } else { &counters.unsent };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Events on their way to the control side.
struct Outbox {
    events: tokio::sync::mpsc::Sender<Event>,
    backlog: VecDeque<Event>,
}

impl Outbox {
    /// Sends what waits; returns how many events were dropped.
    fn flush(&mut self) -> u64 {
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(tokio::sync::mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return 0;
                }
                Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => {
                    let dropped = 1 + self.backlog.len() as u64;
                    self.backlog.clear();
                    return dropped;
                }
            }
        }
        0
    }

    /// Sends an event after those that wait. With the backlog long, statistics go before digits.
    fn post(&mut self, event: Event) -> u64 {
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

/// Raises the soft limit of open files to the hard one and returns what holds now; None without a limit.
pub fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current
        }
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
    use std::net::UdpSocket;

    use media::rtp::{Header, Packet};
    use media::sdp::{Direction, Negotiated};
    use media::{Clip, DigitSet, Law, PayloadTypes, PlayId, SourceRule, Start};

    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    #[test]
    fn bridged_peers_hear_each_other_from_our_ports() {
        let mut rig = Rig::new();
        let (alice, bob) = (rig.open(A, Law::Mu), rig.open(B, Law::A));
        rig.command(Command::Bridge {
            a: A,
            b: B,
            withhold: DigitSet::NONE,
        });
        for sequence in 0..50u16 {
            alice.speak(sequence, Law::Mu, 1000);
            bob.speak(sequence, Law::A, -2000);
            let (to_bob, to_alice) = (bob.hear(), alice.hear());
            assert_eq!(to_bob.sequence, sequence.wrapping_add(to_bob.first));
            assert!(
                to_bob
                    .payload
                    .iter()
                    .all(|byte| (i32::from(Law::A.decode(*byte)) - 1000).abs() < 40)
            );
            assert!(
                to_alice
                    .payload
                    .iter()
                    .all(|byte| (i32::from(Law::Mu.decode(*byte)) + 2000).abs() < 80)
            );
        }
        rig.command(Command::Close { stream: A });
        rig.command(Command::Close { stream: B });
        let closed = [rig.event_past_starts(), rig.event_past_starts()];
        for event in closed {
            let Event::Closed { statistics, .. } = event else {
                panic!("unexpected {event:?}")
            };
            assert_eq!(
                (statistics.received, statistics.lost, statistics.sent),
                (50, 0, 50)
            );
        }
        assert_eq!(rig.driver.streams(), 0);
    }

    #[test]
    fn a_prompt_is_sent_in_the_beat_of_20_ms_and_told_when_over() {
        let mut rig = Rig::new();
        let alice = rig.open(A, Law::Mu);
        let clip = Clip::from_samples(&vec![500; 160 * 30]);
        let started = Instant::now();
        rig.command(Command::Play {
            stream: A,
            play: PlayId(7),
            clips: vec![clip],
            repeat: false,
        });
        let heard: Vec<_> = (0..30).map(|_| alice.hear()).collect();
        assert!(
            started.elapsed() > Duration::from_millis(550),
            "{:?}",
            started.elapsed()
        );
        for (index, packet) in heard.iter().enumerate() {
            assert_eq!(packet.sequence, heard[0].sequence.wrapping_add(index as u16));
            assert_eq!(
                packet.timestamp,
                heard[0].timestamp.wrapping_add(index as u32 * 160)
            );
            assert!(packet.payload.iter().all(|byte| *byte == Law::Mu.encode(500)));
        }
        assert_eq!(
            rig.event_past_starts(),
            Event::Played {
                stream: A,
                play: PlayId(7)
            }
        );
    }

    #[test]
    fn a_thread_without_streams_sleeps_and_wakes_for_the_next_one() {
        let mut rig = Rig::new();
        std::thread::sleep(Duration::from_millis(30));
        for round in 0..3 {
            let alice = rig.open(A, Law::Mu);
            rig.command(Command::Echo { stream: A });
            alice.speak(round, Law::Mu, 100);
            assert!(
                alice
                    .hear()
                    .payload
                    .iter()
                    .all(|byte| *byte == Law::Mu.encode(100))
            );
            rig.command(Command::Close { stream: A });
            assert!(matches!(rig.event_past_starts(), Event::Closed { stream: A, .. }));
        }
    }

    #[test]
    fn a_burst_on_one_socket_is_relayed_whole() {
        let mut rig = Rig::new();
        let alice = rig.open(A, Law::Mu);
        rig.command(Command::Echo { stream: A });
        for sequence in 0..15 {
            alice.speak(sequence, Law::Mu, 100);
        }
        let heard: Vec<_> = (0..15).map(|_| alice.hear().sequence).collect();
        assert!(
            heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
            "{heard:?}"
        );
    }

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

    #[test]
    fn a_full_ring_refuses_and_loses_nothing_it_took() {
        let mut rig = Rig::with(DriverConfig {
            threads: 1,
            commands: 8,
            ..DriverConfig::default()
        });
        let alice = rig.open(A, Law::Mu);
        let clip = Clip::from_samples(&[500; 160]);
        let mut taken = 0;
        for play in 0..100_000 {
            let command = Command::Play {
                stream: A,
                play: PlayId(play),
                clips: vec![clip.clone()],
                repeat: false,
            };
            match rig.driver.send(0, DriverCommand::Media(command)) {
                Ok(()) => taken = play,
                Err(Full) => break,
            }
        }
        assert!(
            alice
                .hear()
                .payload
                .iter()
                .all(|byte| *byte == Law::Mu.encode(500))
        );
        assert_eq!(
            rig.event_past_starts(),
            Event::Played {
                stream: A,
                play: PlayId(taken)
            }
        );
    }

    /// A driver with one thread and peers on loopback.
    struct Rig {
        driver: MediaDriver,
        events: tokio::sync::mpsc::Receiver<Event>,
    }

    struct Peer {
        socket: UdpSocket,
        ours: SocketAddr,
    }

    struct Heard {
        sequence: u16,
        /// What the stream's sequence numbers started at.
        first: u16,
        timestamp: u32,
        payload: Vec<u8>,
    }

    impl Rig {
        fn new() -> Self {
            Self::with(DriverConfig {
                threads: 1,
                ..DriverConfig::default()
            })
        }

        fn with(config: DriverConfig) -> Self {
            let (driver, events) = MediaDriver::start(&config).unwrap();
            Self { driver, events }
        }

        fn open(&mut self, stream: StreamId, law: Law) -> Peer {
            let socket = UdpSocket::bind("127.77.10.2:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let ours = MediaSocket::try_from(UdpSocket::bind("127.77.10.3:0").unwrap()).unwrap();
            let peer = Peer {
                ours: ours.local_address().unwrap(),
                socket,
            };
            let config = config(law, peer.socket.local_addr().unwrap());
            self.driver
                .send(
                    0,
                    DriverCommand::Open {
                        stream,
                        socket: ours,
                        config,
                    },
                )
                .unwrap();
            peer
        }

        fn command(&mut self, command: Command) {
            self.driver.send(0, DriverCommand::Media(command)).unwrap();
        }

        fn event_past_starts(&mut self) -> Event {
            loop {
                match self.events.blocking_recv().unwrap() {
                    Event::Started { .. } => {}
                    event => return event,
                }
            }
        }
    }

    impl Peer {
        fn speak(&self, sequence: u16, law: Law, sample: i16) {
            let header = Header {
                marker: false,
                payload_type: law.payload_type(),
                sequence,
                timestamp: u32::from(sequence) * 160,
                ssrc: 99,
            };
            let mut bytes = header.bytes().to_vec();
            bytes.extend([law.encode(sample); 160]);
            self.socket.send_to(&bytes, self.ours).unwrap();
        }

        fn hear(&self) -> Heard {
            let mut bytes = [0; 2048];
            let (length, from) = self.socket.recv_from(&mut bytes).unwrap();
            assert_eq!(from, self.ours);
            let packet = Packet::parse(&bytes[..length]).unwrap();
            let Header {
                sequence, timestamp, ..
            } = packet.header;
            Heard {
                sequence,
                first: 1000,
                timestamp,
                payload: bytes[packet.payload].to_vec(),
            }
        }
    }

    fn config(law: Law, remote: SocketAddr) -> StreamConfig {
        StreamConfig {
            agreed: Negotiated {
                remote: Some(remote),
                direction: Direction::SendReceive,
                law,
                payload_type: law.payload_type(),
                event_payload_type: Some(101),
                receive: PayloadTypes {
                    mu: Some(0),
                    a: Some(8),
                    event: Some(101),
                    ..PayloadTypes::default()
                },
                ptime: 20,
                rtcp_mux: false,
            },
            source: SourceRule::default(),
            start: Start {
                ssrc: 5,
                sequence: 1000,
                timestamp: 70_000,
            },
            silence_after: None,
            fill_silence: false,
        }
    }
}
