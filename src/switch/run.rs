//! The running switch: one task around the engine.

mod network;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use media::StreamId;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::engine::{Engine, Input, Now, Output, Recordings, Routes, TraceCounters, Trunk, TrunkState};
use super::log;
use super::media_driver::{DriverCommand, MediaDriver};
use super::port_pool::{MediaSocket, PortPool};
use super::service_manager::Watchdog;
use super::setup::{self, Parts, StartError};
use super::sip_transport::{Tls, Transports};
use super::start::{
    concrete, directory_of, driver_config, open_prompts, open_store, prove_media_port, read_tls, routes_from,
    seed,
};
use super::trace_retention;
use super::trunk_address::{Found, watch_trunks};
use crate::call::record::RecordChange;
use crate::config::{Config, Listen};
use crate::directory::Directory;
use crate::store::{Recorder, SqliteStore, Writer};

/// Datagrams and media events taken before the outputs are drained again.
const BATCH: usize = 64;
/// A port rests this long after a call.
const PORT_REST: Duration = Duration::from_secs(5);
/// How often the state is told and the records' health looked at.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Calls that were ended at the end of a drain get this long for their farewell.
const FAREWELL: Duration = Duration::from_secs(3);
/// From when no call is left, peers get this long to hear our last requests and to take our registration back.
const LEAVING: Duration = Duration::from_secs(8);
/// Records may take this long to reach the disk at the end.
const LAST_WRITE: Duration = Duration::from_secs(20);
/// A command that found a full ring is tried again after this.
const RING_RETRY: Duration = Duration::from_millis(1);
/// Commands kept for one media thread whose ring is full.
const MOST_LATE: usize = 65_536;

/// What an operator can ask of a running switch.
#[derive(Debug)]
pub enum Order {
    /// Takes no new calls, lets calls finish for so long, then ends.
    Drain(Duration),
    /// Calls that begin from now on use these.
    Configure(Box<Reloaded>),
}

/// What a reload brings; see [`Switch::reload`].
#[derive(Debug)]
pub struct Reloaded {
    trunks: Vec<Trunk>,
    routes: Routes,
    directory: Arc<Directory>,
    tls: Tls,
    found: mpsc::Receiver<Found>,
}

/// The state of a running switch, renewed several times a second.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    pub calls: usize,
    pub draining: bool,
    pub trunks: Vec<TrunkState>,
    /// Changes of records that wait for the disk.
    pub records_waiting: u64,
    /// Why records cannot be written; none while all is well.
    pub records_trouble: Option<String>,
    pub sip_received: u64,
    pub sip_transmitted: u64,
    pub sip_retransmitted: u64,
    pub sip_strangers: u64,
    pub sip_malformed: u64,
    /// Datagrams of strangers dropped unread, because they sent too many or are banned.
    pub sip_throttled: u64,
    pub sip_banned: u64,
    #[serde(flatten)]
    pub traces: TraceCounters,
    /// Bans of strangers begun.
    pub bans: u64,
    /// Datagrams that the system did not take.
    pub sip_unsent: u64,
    /// Calls turned away because more came in a second than are taken.
    pub calls_over_rate: u64,
    /// Open connections over TCP and TLS.
    pub sip_connections: usize,
}

/// A running switch. It ends by [`Switch::shutdown`]; dropping it leaves it running until the runtime ends.
pub struct Switch {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
    store: Arc<SqliteStore>,
    recorder: Recorder,
    listen: Vec<Listen>,
}

impl Switch {
    /// Starts everything; when it returns, calls can be taken.
    pub async fn start(config: &Config, parts: Parts) -> Result<Self, StartError> {
        let opened = open_store(config).await?;
        let directory = match parts.directory {
            Some(directory) => directory,
            None => directory_of(Arc::clone(&opened.store)).await?,
        };
        let library = open_prompts(config).await?;
        let routes = routes_from(config, &opened.store)?;
        let transports = Transports::bind(&config.sip.listen, read_tls(config).await?)
            .map_err(|(address, error)| StartError::Listen { address, error })?;
        let listen = transports.listen();
        let recordings: Arc<dyn Recordings> = library;
        let settings = setup::settings(config, routes, directory, recordings, opened.key, &listen)?;
        let (media, media_events) = MediaDriver::start(&driver_config(config)).map_err(StartError::Media)?;
        let (bound, public) = setup::media_address(config, &listen);
        let ports = config.media.ports;
        let pool = PortPool::new(bound, ports.first..=ports.last, PORT_REST, seed()?);
        prove_media_port(bound, ports)?;
        let mut engine = Engine::new(settings, seed()?);
        trace_retention::start(&mut engine, &opened.store, &config.trace);
        let (orders, orders_in) = mpsc::channel(16);
        let (status_out, status) = watch::channel(Status::default());
        let (found_out, found) = mpsc::channel(64);
        watch_trunks(config, &listen, &found_out)?;
        let recorder = opened.writer.recorder();
        let advertised = public.or_else(|| concrete(bound, config, &listen));
        let mut running = Running {
            clock: parts.wall.map_or_else(Clock::default, Clock::starting_at),
            engine,
            transports,
            media,
            pool,
            advertised,
            stock: HashMap::new(),
            next_stream: 1,
            late_commands: Vec::new(),
            late_records: VecDeque::new(),
            writer: opened.writer,
            status: status_out,
            deadline: None,
            drain_until: None,
            farewell_until: None,
            leave_until: None,
            failed_streams: 0,
            streams_told_at: None,
            watchdog: Watchdog::from_environment(),
        };
        running.pump();
        let task = tokio::spawn(running.run(media_events, orders_in, found));
        Ok(Self {
            orders,
            status,
            task,
            store: opened.store,
            recorder,
            listen,
        })
    }

    pub fn store(&self) -> Arc<SqliteStore> {
        Arc::clone(&self.store)
    }

    /// The addresses that SIP listens on.
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// Waits until every trunk that is to be registered with is, or the time is over; tells whether all are.
    pub async fn registered(&self, patience: Duration) -> bool {
        let mut status = self.status.clone();
        let all = |status: &Status| {
            !status.trunks.is_empty()
                && status
                    .trunks
                    .iter()
                    .all(|trunk| trunk.resolved && trunk.registered != Some(false))
        };
        tokio::time::timeout(patience, status.wait_for(all))
            .await
            .is_ok_and(|found| found.is_ok())
    }

    /// Takes another configuration's trunks, numbers and flows, and the store's campaigns and directory, for calls
    /// that begin from now on. When anything in it does not fit, all stays as it was.
    pub async fn reload(&self, config: &Config) -> Result<(), StartError> {
        let routes = routes_from(config, &self.store)?;
        let tls = read_tls(config).await?;
        let trunks = setup::trunks_of(config, &self.listen)?;
        let directory = directory_of(self.store()).await?;
        let (found_out, found) = mpsc::channel(64);
        watch_trunks(config, &self.listen, &found_out)?;
        let reloaded = Box::new(Reloaded {
            trunks,
            routes,
            directory,
            tls,
            found,
        });
        // A switch that ended needs no configuration.
        let _ = self.orders.send(Order::Configure(reloaded)).await;
        Ok(())
    }

    /// Waits until all that was recorded so far can be read from the store.
    pub async fn flush(&self) -> bool {
        let recorder = self.recorder.clone();
        let flushed = tokio::task::spawn_blocking(move || recorder.flush(LAST_WRITE));
        flushed.await.is_ok_and(|flushed| flushed.is_ok())
    }

    /// Takes no new calls, lets calls finish for at most `drain`, then ends them, leaves the trunks and stops.
    pub async fn shutdown(self, drain: Duration) {
        // The task may have ended by itself; then there is nothing left to do.
        let _ = self.orders.send(Order::Drain(drain)).await;
        let _ = self.task.await;
    }

    /// Waits for the end that another order brings.
    pub async fn ended(self) {
        let _ = self.task.await;
    }
}

/// The wall clock, set off from the machine's where the demo wants another time of day.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    fn starting_at(wall: Timestamp) -> Self {
        Self {
            ahead: wall.duration_since(Timestamp::now()),
        }
    }

    fn now(self) -> Now {
        let machine = Timestamp::now();
        Now {
            monotonic: Instant::now(),
            wall: machine.checked_add(self.ahead).unwrap_or(machine),
        }
    }
}

struct Running {
    clock: Clock,
    engine: Engine,
    transports: Transports,
    media: MediaDriver,
    pool: PortPool,
    /// The address told to peers in place of the bound one.
    advertised: Option<IpAddr>,
    stock: HashMap<StreamId, MediaSocket>,
    next_stream: u32,
    /// Commands that found a full ring, by media thread, in order.
    late_commands: Vec<VecDeque<DriverCommand>>,
    /// Changes that found a full queue.
    late_records: VecDeque<RecordChange>,
    writer: Writer,
    status: watch::Sender<Status>,
    deadline: Option<Instant>,
    drain_until: Option<Instant>,
    farewell_until: Option<Instant>,
    /// Set once no call is left.
    leave_until: Option<Instant>,
    failed_streams: usize,
    /// When a want of ports was told last.
    streams_told_at: Option<Instant>,
    watchdog: Watchdog,
}

impl Running {
    async fn run(
        mut self,
        mut media_events: mpsc::Receiver<media::Event>,
        mut orders: mpsc::Receiver<Order>,
        mut found: mpsc::Receiver<Found>,
    ) {
        let mut buffer = network::buffer();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.pump();
            let wake = self.wake_at();
            tokio::select! {
                ready = self.transports.ready() => self.receive(ready, &mut buffer),
                event = media_events.recv() => {
                    let Some(event) = event else { break };
                    self.engine.handle_input(self.clock.now(), Input::Media(event));
                    for _ in 0..BATCH {
                        let Ok(event) = media_events.try_recv() else { break };
                        self.engine.handle_input(self.clock.now(), Input::Media(event));
                    }
                }
                Some(found) = found.recv() => {
                    let Found { trunk, targets, shares, registrars, local } = found;
                    let (now, name) = (self.clock.now(), trunk.clone());
                    let resolved = Input::RegistrarsResolved { trunk: name, targets: registrars };
                    self.engine.handle_input(now, resolved);
                    self.engine.handle_input(now, Input::TrunkShares { trunk: trunk.clone(), shares });
                    self.engine.handle_input(now, Input::TrunkResolved { trunk, targets, local });
                }
                Some(order) = orders.recv() => {
                    if let Some(other) = self.obey(order) {
                        // Those who watched the trunks until now end with their receiver.
                        found = other;
                    }
                }
                () = sleep_until(wake) => {}
                _ = heartbeat.tick() => self.beat(),
            }
            self.engine.handle_timeout(self.clock.now());
            if self.is_over() {
                break;
            }
        }
        self.pump();
        self.flush().await;
        self.finish().await;
    }

    /// Does what is asked; other trunks come with the place where their addresses are told.
    fn obey(&mut self, order: Order) -> Option<mpsc::Receiver<Found>> {
        let now = self.clock.now();
        match order {
            Order::Drain(patience) => {
                tracing::info!(calls = self.engine.calls(), "draining: no new calls");
                self.drain_until = Some(Instant::now() + patience);
                self.engine.handle_input(now, Input::Drain);
                None
            }
            Order::Configure(reloaded) => {
                let Reloaded {
                    trunks,
                    routes,
                    directory,
                    tls,
                    found,
                } = *reloaded;
                self.transports.connections.renew(tls);
                self.engine.handle_input(now, Input::Directory(directory));
                self.engine.handle_input(now, Input::Configure { trunks, routes });
                Some(found)
            }
        }
    }

    /// Carries out all that the engine wants.
    fn pump(&mut self) {
        self.retry_late();
        loop {
            match self.engine.poll_output() {
                Output::Transmit {
                    local,
                    destination,
                    transport,
                    peer,
                    connection,
                    bytes,
                } => self.send((local, destination), transport, (peer, connection), bytes),
                Output::Media { call, command } => self.command(call, command),
                Output::Discard(stream) => {
                    self.stock.remove(&stream);
                }
                Output::NeedStreams(count) => self.make_streams(count),
                Output::Records(changes) => self.record(changes),
                Output::Trunk(status) => log::trunk(&status),
                Output::Said { .. } => {}
                Output::Sighting { source, sighting } => log::sighting(source, sighting),
                Output::Proved { source, transport } => {
                    self.transports.connections.know_at(transport, source);
                }
                Output::Banned {
                    source,
                    transport,
                    length,
                } => {
                    if transport.is_reliable() {
                        self.transports.connections.close_strangers(source);
                    }
                    tracing::warn!("SECURITY ip={source} event=Banned seconds={}", length.as_secs());
                }
                Output::Wait(_) if self.tell_lost() => {}
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    fn command(&mut self, call: u64, command: media::Command) {
        let thread = usize::try_from(call).unwrap_or(0) % self.media.threads().max(1);
        let command = match command {
            media::Command::Open { stream, config } => match self.stock.remove(&stream) {
                Some(socket) => {
                    socket.discard_received();
                    DriverCommand::Open {
                        stream,
                        socket,
                        config,
                    }
                }
                None => return,
            },
            command => DriverCommand::Media(command),
        };
        if self.late_commands.len() <= thread {
            self.late_commands.resize_with(thread + 1, VecDeque::new);
        }
        let late = &mut self.late_commands[thread];
        if late.len() >= MOST_LATE {
            // The thread has taken nothing for long; its calls end for want of totals.
            tracing::error!(thread, "a media thread is stuck: a command is dropped");
            return;
        }
        late.push_back(command);
        self.retry_thread(thread);
    }

    /// Tries all threads again: one that is full delays no other.
    fn retry_commands(&mut self) {
        (0..self.late_commands.len()).for_each(|thread| self.retry_thread(thread));
    }

    fn retry_thread(&mut self, thread: usize) {
        let Some(late) = self.late_commands.get_mut(thread) else {
            return;
        };
        while let Some(command) = late.pop_front() {
            if let Err(full) = self.media.send(thread, command) {
                late.push_front(*full.0);
                return;
            }
        }
    }

    fn record(&mut self, changes: Vec<RecordChange>) {
        for change in &changes {
            log::call(change);
        }
        self.late_records.extend(changes);
        self.retry_records();
    }

    fn retry_records(&mut self) {
        if self.late_records.is_empty() {
            return;
        }
        let changes: Vec<RecordChange> = self.late_records.drain(..).collect();
        if let Err(refused) = self.writer.recorder().record(changes) {
            self.late_records.extend(refused.0);
            self.engine
                .handle_input(self.clock.now(), Input::RecordsAccepted(false));
        }
    }

    fn retry_late(&mut self) {
        self.retry_commands();
        self.retry_records();
    }

    fn wake_at(&self) -> Option<Instant> {
        let late = self.late_commands.iter().any(|late| !late.is_empty());
        let retry = late.then(|| Instant::now() + RING_RETRY);
        [
            self.deadline,
            retry,
            self.drain_until.filter(|_| self.farewell_until.is_none()),
            self.farewell_until,
            self.leave_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn beat(&mut self) {
        self.watchdog.beat(Instant::now());
        let health = self.writer.health();
        let accepted = health.accepts_calls() && self.late_records.is_empty();
        self.engine
            .handle_input(self.clock.now(), Input::RecordsAccepted(accepted));
        let failed = std::mem::take(&mut self.failed_streams);
        if failed > 0 {
            self.engine
                .handle_input(self.clock.now(), Input::StreamsFailed(failed));
        }
        let sip = self.engine.sip_counters();
        let guard = self.engine.guard_counters();
        self.status.send_replace(Status {
            calls: self.engine.calls(),
            draining: self.drain_until.is_some(),
            trunks: self.engine.trunks(),
            records_waiting: health.waiting,
            records_trouble: health.trouble,
            sip_received: sip.received,
            sip_transmitted: sip.transmitted,
            sip_retransmitted: sip.retransmitted,
            sip_strangers: sip.strangers,
            sip_malformed: sip.malformed,
            sip_throttled: guard.throttled,
            sip_banned: guard.banned,
            traces: self.engine.trace_counters(),
            bans: guard.bans,
            calls_over_rate: self.engine.calls_over_rate(),
            sip_unsent: self.transports.udp.unsent() + self.transports.connections.unsent(),
            sip_connections: self.transports.connections.count(),
        });
    }

    /// Whether a drain is complete; ends what is left when its time is over.
    fn is_over(&mut self) -> bool {
        let Some(drain_until) = self.drain_until else {
            return false;
        };
        let now_at = Instant::now();
        if self.engine.is_idle() {
            return true;
        }
        if self.engine.calls() == 0 {
            // Calls may have taken long to end: only now is what they leave behind waited for.
            return now_at >= *self.leave_until.get_or_insert(now_at + LEAVING);
        }
        if now_at >= drain_until && self.farewell_until.is_none() {
            tracing::info!(
                calls = self.engine.calls(),
                "the time to drain is over: ending calls"
            );
            self.engine.handle_input(self.clock.now(), Input::EndAll);
            self.farewell_until = Some(now_at + FAREWELL);
        }
        self.farewell_until.is_some_and(|until| now_at >= until)
    }

    async fn finish(mut self) {
        self.retry_records();
        let writer = self.writer;
        let written = tokio::task::spawn_blocking(move || writer.shutdown(LAST_WRITE)).await;
        match written {
            Ok(Ok(_)) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!("stopped, but not every record was written: {error}"),
            Err(error) => tracing::error!("the record writer failed: {error}"),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
