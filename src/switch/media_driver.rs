//! The media threads: sockets and clock around [`media::Plane`].
//!
//! Each thread wakes once a tick, takes what came on all its sockets, relays it at once, and sends what is due. Commands
//! come through a bounded ring, events leave through another; nothing is locked on the way of a packet.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use media::{Command, Event, StreamConfig, StreamId};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::worker::Worker;
use super::port_pool::MediaSocket;

mod outbox;
mod pace;
mod packet_filter;
mod worker;

/// How the media threads run.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    pub threads: usize,
    /// How often a thread wakes while there is CPU to spare: 1 to 5 ms.
    pub tick: Duration,
    /// How seldom it wakes near saturation: up to 5 ms. The same as `tick`: always so.
    pub longest_tick: Duration,
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
            tick: Duration::from_millis(1),
            longest_tick: Duration::from_millis(5),
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

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Instant;

    use media::rtp::{Header, Packet};
    use media::sdp::Negotiated;
    use media::{Clip, DigitSet, Law, PlayId, SourceRule, Start, Statistics};

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
    fn keys_come_through_the_filter_of_a_lone_stream_and_a_bridge_hears_everything_again() {
        let mut rig = Rig::new();
        let (alice, bob) = (rig.open(A, Law::Mu), rig.open(B, Law::Mu));
        // Speaks in real time until the stream has settled and the filter is set.
        for sequence in 0..60 {
            alice.speak(sequence, Law::Mu, 1000);
            std::thread::sleep(Duration::from_millis(20));
        }
        let read = || rig.driver.counters().received.load(Ordering::Relaxed);
        let before = read();
        for sequence in 60..380 {
            alice.speak(sequence, Law::Mu, 1000);
        }
        wait_until(|| read() - before >= 10);
        assert_eq!(read() - before, 10, "one packet in 32 is read");
        alice.press(380, 5);
        assert_eq!(
            rig.event_past_starts(),
            Event::DigitPressed {
                stream: A,
                digit: '5'
            }
        );
        rig.command(Command::Bridge {
            a: A,
            b: B,
            withhold: DigitSet::NONE,
        });
        // Speaks until the media thread has taken the command and bob hears.
        let first = (381..430).find(|&sequence| {
            alice.speak(sequence, Law::Mu, 1000);
            bob.hears_soon()
        });
        let next = first.unwrap() + 1;
        let end = next + 39;
        for sequence in next..end {
            alice.speak(sequence, Law::Mu, 1000);
            assert!(
                bob.hear()
                    .payload
                    .iter()
                    .all(|byte| *byte == Law::Mu.encode(1000))
            );
        }
        rig.command(Command::Close { stream: A });
        let Event::Closed { statistics, .. } = rig.event_past_starts() else {
            panic!("the stream does not close")
        };
        let Statistics {
            received,
            unread,
            lost,
            ..
        } = statistics;
        assert_eq!((received + unread, lost), (u64::from(end), 0));
        assert!(unread >= 310, "{unread}");
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
                Err(Full(_)) => break,
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

        /// The first packet of a press.
        fn press(&self, sequence: u16, event: u8) {
            let header = Header {
                marker: true,
                payload_type: 101,
                sequence,
                timestamp: u32::from(sequence) * 160,
                ssrc: 99,
            };
            let mut bytes = header.bytes().to_vec();
            bytes.extend([event, 10, 0, 160]);
            self.socket.send_to(&bytes, self.ours).unwrap();
        }

        fn hears_soon(&self) -> bool {
            let patience = self.socket.read_timeout().unwrap();
            self.socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            let heard = self.socket.recv(&mut [0; 2048]).is_ok();
            self.socket.set_read_timeout(patience).unwrap();
            heard
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

    /// Waits at most 5 s for it, then a little for what should not come.
    fn wait_until(is_so: impl Fn() -> bool) {
        for _ in 0..500 {
            if is_so() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    fn config(law: Law, remote: SocketAddr) -> StreamConfig {
        StreamConfig {
            agreed: Negotiated::plain(law.into(), Some(remote)),
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
