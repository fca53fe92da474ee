//! The writer thread: order, shutdown, and what it does while the disk or the database says no.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trunkline::call::record::*;
use trunkline::store::*;
use trunkline::units::CallId;

use crate::sample::*;

/// The rest of a store that only takes changes.
macro_rules! refusing {
    () => {
        fn close_open_calls(&self, _: UtcMicros) -> Result<u64, StoreError> {
            Err(StoreError::Full)
        }
        fn calls(&self, _: &CallFilter) -> Result<CallPage, StoreError> {
            Err(StoreError::Full)
        }
        fn call(&self, _: CallId) -> Result<Option<CallRecord>, StoreError> {
            Err(StoreError::Full)
        }
        fn export_calls(
            &self,
            _: &CallFilter,
            _: &mut dyn FnMut(CallRecord) -> ControlFlow<()>,
        ) -> Result<(), StoreError> {
            Err(StoreError::Full)
        }
    };
}
#[test]
fn flushed_changes_are_on_the_disk_in_order() {
    let (_directory, store) = new_store();
    let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
    for n in 0..200 {
        for change in whole_call(id(n), hmac()) {
            writer.recorder().record(vec![change]).unwrap();
        }
    }
    writer.flush(PATIENCE).unwrap();
    assert_eq!(count(&*store), 200);
    assert_eq!(kinds(&store.call(id(199)).unwrap().unwrap()), WHOLE_KINDS);
    let health = writer.shutdown(PATIENCE).unwrap();
    assert_eq!(
        (health.waiting, health.written, health.given_up),
        (0, 200 * WHOLE, 0)
    );
    assert!(health.stopped && health.trouble.is_none());
    assert!(health.commits < 200, "changes share commits: {}", health.commits);
}

#[test]
fn shutdown_writes_what_waits_and_refuses_what_comes_later() {
    let (_directory, store) = new_store();
    let slow = WriterConfig {
        gather: Duration::from_secs(3600),
        ..WriterConfig::default()
    };
    let writer = Writer::start(store.clone(), slow).unwrap();
    let recorder = writer.recorder();
    recorder.record(whole_call(id(1), hmac())).unwrap();
    writer.shutdown(PATIENCE).unwrap();
    assert_eq!(count(&*store), 1);
    let NotTaken(back) = recorder.record(whole_call(id(2), hmac())).unwrap_err();
    assert_eq!(back, whole_call(id(2), hmac()));
    assert!(!recorder.health().accepts_calls());
}

#[test]
fn locked_database_delays_records_and_loses_none() {
    let (directory, store) = new_store();
    let other = rusqlite::Connection::open(directory.path().join("trunkline.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
    writer.recorder().record(whole_call(id(1), hmac())).unwrap();
    until(|| writer.health().failures > 0);
    let health = writer.health();
    assert_eq!(health.waiting, WHOLE);
    assert_eq!(
        health.trouble.as_deref(),
        Some("the database is locked by another program")
    );
    assert!(health.failing_for.is_some());
    let error = writer.flush(Duration::from_millis(1)).unwrap_err().to_string();
    let told = "11 changes to records are not written yet: the database is locked by another program";
    assert_eq!(error, told);
    other.execute_batch("ROLLBACK").unwrap();
    writer.flush(PATIENCE).unwrap();
    assert_eq!(count(&*store), 1);
    assert_eq!(writer.health().trouble, None);
}

#[test]
fn full_disk_bounds_the_queue_and_turns_new_calls_away_first() {
    let disk = Arc::new(Disk::default());
    let config = WriterConfig {
        capacity: 40,
        ..WriterConfig::default()
    };
    let writer = Writer::start(disk.clone(), config).unwrap();
    let recorder = writer.recorder();
    assert!(recorder.health().accepts_calls());
    recorder.record(whole_call(id(1), hmac())).unwrap();
    recorder.record(whole_call(id(2), hmac())).unwrap();
    assert!(
        !recorder.health().accepts_calls(),
        "half of the queue is kept for the calls that run"
    );
    recorder.record(whole_call(id(3), hmac())).unwrap();
    let NotTaken(back) = recorder.record(whole_call(id(4), hmac())).unwrap_err();
    assert_eq!(back, whole_call(id(4), hmac()));
    until(|| recorder.health().failures > 2);
    assert_eq!(recorder.health().trouble.as_deref(), Some("the disk is full"));
    assert_eq!(
        (recorder.health().waiting, recorder.health().not_taken),
        (3 * WHOLE, WHOLE)
    );

    disk.has_room.store(true, Ordering::Relaxed);
    writer.flush(PATIENCE).unwrap();
    assert_eq!(disk.applied.load(Ordering::Relaxed), 3 * WHOLE);
    assert!(recorder.health().accepts_calls());
}

#[test]
fn shutdown_on_a_full_disk_ends_in_time_and_tells_what_is_lost() {
    let writer = Writer::start(Arc::new(Disk::default()), WriterConfig::default()).unwrap();
    writer.recorder().record(whole_call(id(1), hmac())).unwrap();
    let begun = Instant::now();
    let error = writer.shutdown(Duration::from_millis(50)).unwrap_err();
    assert_eq!(
        error,
        FlushError {
            waiting: WHOLE,
            reason: Some("the disk is full".to_owned())
        }
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn change_that_the_database_refuses_takes_no_other_with_it() {
    let (directory, store) = new_store();
    let other = rusqlite::Connection::open(directory.path().join("trunkline.db")).unwrap();
    let refuse = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON call_record WHEN NEW.id = '{}'
         BEGIN SELECT RAISE(ABORT, 'no'); END",
        id(5)
    );
    other.execute_batch(&refuse).unwrap();
    let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
    let changes = (0..10).map(|n| opened(id(n), UtcMicros(0), "a")).collect();
    writer.recorder().record(changes).unwrap();
    writer.flush(PATIENCE).unwrap();
    assert_eq!(count(&*store), 9);
    assert_eq!((writer.health().given_up, writer.health().written), (1, 9));
}

#[test]
fn store_that_panics_stops_the_writer_in_the_open() {
    struct Panics;
    impl CallStore for Panics {
        fn apply(&self, _: &[RecordChange]) -> Result<(), StoreError> {
            panic!("on purpose, by a test");
        }
        refusing!();
    }
    let writer = Writer::start(Arc::new(Panics), WriterConfig::default()).unwrap();
    writer.recorder().record(whole_call(id(1), hmac())).unwrap();
    assert_eq!(writer.flush(PATIENCE).unwrap_err().waiting, WHOLE);
    assert!(writer.health().stopped && !writer.health().accepts_calls());
    assert!(writer.recorder().record(whole_call(id(2), hmac())).is_err());
}

/// A store that takes changes only while its disk has room.
#[derive(Default)]
struct Disk {
    has_room: AtomicBool,
    applied: AtomicU64,
}

impl CallStore for Disk {
    fn apply(&self, changes: &[RecordChange]) -> Result<(), StoreError> {
        if !self.has_room.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        self.applied.fetch_add(changes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
    refusing!();
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to that in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}
