//! The one thread that writes records: a bounded queue and group commit.
//!
//! Whoever records never waits for the disk: a change is pushed under a short lock and the thread writes all that has
//! gathered in one transaction. A full disk or a locked database is tried again with growing pauses while the queue
//! keeps what was taken; when half of the queue is in use [`Health::accepts_calls`] says no, so that new calls are
//! turned away and the rest of the queue is left to the calls that run.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::{CallStore, sqlite};
use crate::call::record::RecordChange;

/// How the writer thread works.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// Changes that may wait. A change takes some hundred bytes.
    pub capacity: usize,
    /// Most changes in one transaction.
    pub commit: usize,
    /// How long a first change waits for others to share its commit.
    pub gather: Duration,
    /// The first pause after a failure; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            capacity: 200_000,
            commit: 4_000,
            gather: Duration::from_millis(10),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// A change that the queue had no room for, or that came after the shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the queue of records is full or closed")]
pub struct NotTaken(pub Vec<RecordChange>);

/// What was accepted could not be written in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} changes to records are not written yet{}", .reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
pub struct FlushError {
    pub waiting: u64,
    pub reason: Option<String>,
}

/// How the writing goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Changes accepted and not yet on the disk.
    pub waiting: u64,
    pub capacity: u64,
    /// Changes on the disk.
    pub written: u64,
    pub commits: u64,
    /// Attempts that failed and were repeated.
    pub failures: u64,
    /// Changes that the queue had no room for.
    pub not_taken: u64,
    /// Changes that the database will never take, given up one by one and logged.
    pub given_up: u64,
    /// Why the last attempt failed; `None` while all is well.
    pub trouble: Option<String>,
    /// How long attempts have been failing.
    pub failing_for: Option<Duration>,
    /// The thread has ended.
    pub stopped: bool,
}

impl Health {
    /// Whether there is room to record another call from its beginning to its end.
    pub fn accepts_calls(&self) -> bool {
        !self.stopped && self.waiting < self.capacity / 2
    }
}

struct Shared {
    state: Mutex<State>,
    /// The thread sleeps here.
    work: Condvar,
    /// Those who flush sleep here.
    done: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<RecordChange>,
    accepted: u64,
    /// Accepted changes that are on the disk or given up.
    settled: u64,
    /// The thread waits for a first change.
    idle: bool,
    /// Somebody waits: do not gather.
    hurry: bool,
    /// No more is accepted; once set, the moment when even failing attempts end.
    closing: Option<Instant>,
    failing_since: Option<Instant>,
    counters: Health,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        sqlite::lock(&self.state)
    }
}

/// Hands changes to the writer thread; cheap to clone, one for each who records.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    capacity: u64,
}

impl Recorder {
    /// Queues changes in order, all or none, without waiting for the disk.
    ///
    /// # Errors
    /// Gives the changes back when the queue has no room for them or was closed.
    pub fn record(&self, changes: Vec<RecordChange>) -> Result<(), NotTaken> {
        let count = changes.len() as u64;
        let mut state = self.shared.lock();
        let room = self.capacity.saturating_sub(state.accepted - state.settled);
        if count > room || state.closing.is_some() || state.counters.stopped {
            state.counters.not_taken += count;
            return Err(NotTaken(changes));
        }
        state.accepted += count;
        state.queue.extend(changes);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    pub fn health(&self) -> Health {
        let state = self.shared.lock();
        Health {
            waiting: state.accepted - state.settled,
            capacity: self.capacity,
            failing_for: state.failing_since.map(|since| since.elapsed()),
            ..state.counters.clone()
        }
    }

    /// Waits until everything accepted before the call is on the disk, at most `patience`.
    pub fn flush(&self, patience: Duration) -> Result<(), FlushError> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        let target = state.accepted;
        state.hurry = true;
        self.shared.work.notify_one();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.settled >= target {
                return Ok(());
            }
            if left.is_zero() || state.counters.stopped {
                let waiting = target - state.settled;
                return Err(FlushError {
                    waiting,
                    reason: state.counters.trouble.clone(),
                });
            }
            state = self
                .shared
                .done
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Owns the writer thread. Dropping it shuts down with five seconds of patience.
pub struct Writer {
    recorder: Recorder,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<S>(store: Arc<S>, config: WriterConfig) -> std::io::Result<Self>
    where
        S: CallStore + Send + Sync + ?Sized + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let recorder = Recorder {
            shared: shared.clone(),
            capacity: config.capacity as u64,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let _stopped = TellStopped(&shared);
                Thread {
                    store: &*store,
                    shared: &shared,
                    config: &config,
                }
                .run();
            })?;
        Ok(Self {
            recorder,
            thread: Some(thread),
        })
    }

    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    pub fn health(&self) -> Health {
        self.recorder.health()
    }

    pub fn flush(&self, patience: Duration) -> Result<(), FlushError> {
        self.recorder.flush(patience)
    }

    /// Takes no more changes, writes those that wait and ends the thread. Failing attempts end after `patience`.
    ///
    /// # Errors
    /// Tells how many accepted changes could not be written.
    pub fn shutdown(mut self, patience: Duration) -> Result<Health, FlushError> {
        self.close(patience);
        let health = self.health();
        match health.waiting {
            0 => Ok(health),
            waiting => Err(FlushError {
                waiting,
                reason: health.trouble,
            }),
        }
    }

    fn close(&mut self, patience: Duration) {
        let Some(thread) = self.thread.take() else { return };
        self.recorder.shared.lock().closing = Some(Instant::now() + patience);
        self.recorder.shared.work.notify_one();
        if thread.join().is_err() {
            tracing::error!("the thread that writes records had failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(Duration::from_secs(5));
    }
}

/// Says so when the thread ends, however it ends.
struct TellStopped<'a>(&'a Shared);

impl Drop for TellStopped<'_> {
    fn drop(&mut self) {
        self.0.lock().counters.stopped = true;
        self.0.done.notify_all();
    }
}

struct Thread<'a, S: ?Sized> {
    store: &'a S,
    shared: &'a Shared,
    config: &'a WriterConfig,
}

impl<S: CallStore + ?Sized> Thread<'_, S> {
    fn run(&self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch) {
            if !self.write(&batch) {
                return;
            }
            batch.clear();
        }
    }

    /// Waits for changes and takes up to one commit of them; false when closing and nothing is left.
    fn gather(&self, batch: &mut Vec<RecordChange>) -> bool {
        let mut state = self.shared.lock();
        while state.queue.is_empty() {
            if state.closing.is_some() {
                return false;
            }
            state.hurry = false;
            state.idle = true;
            state = self
                .shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let until = Instant::now() + self.config.gather;
        while !state.hurry && state.closing.is_none() && state.queue.len() < self.config.commit {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .shared
                .work
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let count = state.queue.len().min(self.config.commit);
        batch.extend(state.queue.drain(..count));
        true
    }

    /// Writes a batch, again and again until it is written; false when closing took away the time for that.
    fn write(&self, batch: &[RecordChange]) -> bool {
        let mut pause = self.config.first_pause;
        loop {
            match self.store.apply(batch) {
                Ok(()) => {
                    self.settle(batch.len(), true);
                    return true;
                }
                Err(error) if !error.may_pass() => return self.write_one_by_one(batch, &error),
                Err(error) => {
                    if !self.failed(&error, pause) {
                        return false;
                    }
                    pause = (pause * 2).min(self.config.longest_pause);
                }
            }
        }
    }

    /// Finds the change that the database refuses for good, gives it up and keeps the others.
    fn write_one_by_one(&self, batch: &[RecordChange], error: &StoreError) -> bool {
        if let [change] = batch {
            tracing::error!(call = %change.call(), %error, "a change to a call record was given up");
            self.shared.lock().counters.given_up += 1;
            self.settle(1, false);
            return true;
        }
        batch
            .chunks(batch.len().div_ceil(2).max(1))
            .all(|half| self.write(half))
    }

    fn settle(&self, count: usize, written: bool) {
        let mut state = self.shared.lock();
        state.settled += count as u64;
        if written {
            state.counters.written += count as u64;
            state.counters.commits += 1;
        }
        if state.failing_since.take().is_some() {
            state.counters.trouble = None;
            tracing::info!("call records are being written again");
        }
        drop(state);
        self.shared.done.notify_all();
    }

    /// Notes a failure and pauses; false when there is no more time.
    fn failed(&self, error: &StoreError, pause: Duration) -> bool {
        let mut state = self.shared.lock();
        state.counters.failures += 1;
        if state.failing_since.is_none() {
            state.failing_since = Some(Instant::now());
            tracing::error!(%error, "call records cannot be written; they wait in memory");
        }
        state.counters.trouble = Some(error.to_string());
        let until = Instant::now() + pause;
        loop {
            let now = Instant::now();
            if let Some(end) = state.closing.filter(|end| *end <= now) {
                let waiting = state.accepted - state.settled;
                tracing::error!(%error, waiting, late = ?now - end, "call records were not written");
                return false;
            }
            let end = state.closing.map_or(until, |end| end.min(until));
            if end <= now {
                return true;
            }
            state = self
                .shared
                .work
                .wait_timeout(state, end - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.idle = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::record::{CallOpened, Direction, Route, UtcMicros};
    use crate::store::{CallFilter, SqliteStore, StoreUrl};
    use crate::units::CallId;

    #[test]
    fn full_database_keeps_records_waiting_until_it_may_grow() {
        let directory = tempfile::TempDir::new().unwrap();
        let url = StoreUrl::sqlite(directory.path().join("trunkline.db"));
        let store = Arc::new(SqliteStore::open(&url).unwrap());
        // A limit on pages makes SQLite say "full" as a full disk would.
        let limit = |pages: u32| {
            let pragma = format!("PRAGMA max_page_count = {pages}");
            store
                .write(|writing| Ok(writing.query_row(&pragma, [], |_| Ok(()))?))
                .unwrap();
        };
        limit(1); // SQLite raises it to the present size
        let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
        writer.recorder().record((0..1000).map(opened).collect()).unwrap();
        while writer.health().failures < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(writer.health().trouble.as_deref(), Some("the disk is full"));
        limit(1_000_000);
        writer.flush(Duration::from_secs(20)).unwrap();
        let filter = CallFilter {
            limit: Some(1000),
            ..CallFilter::default()
        };
        assert_eq!(store.calls(&filter).unwrap().calls.len(), 1000);
    }

    fn opened(n: u64) -> RecordChange {
        RecordChange::CallOpened(Box::new(CallOpened {
            call: CallId::new(n, 0),
            at: UtcMicros(0),
            direction: Direction::Inbound,
            route: Route::default(),
            caller: None,
            sip_call_id: None,
        }))
    }
}
