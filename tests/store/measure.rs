//! Throughput, measured by hand in release:
//! `cargo test --release --test store -- --ignored --nocapture measure`

use std::time::{Duration, Instant};

use trunkline::call::record::*;
use trunkline::store::*;
use trunkline::units::CallId;

use crate::sample::*;

#[test]
#[ignore = "a measurement: run in release"]
fn writer_cost_per_call() {
    let calls: u32 = 60_000;
    for (name, make) in [
        ("one office", short_call as fn(CallId) -> Vec<RecordChange>),
        ("three offices", rich_call),
    ] {
        let (_directory, store) = new_store();
        let batches: Vec<Vec<RecordChange>> = (0..u64::from(calls) / 100)
            .map(|batch| (0..100).flat_map(|n| make(id(batch * 100 + n))).collect())
            .collect();
        let changes: usize = batches.iter().map(Vec::len).sum();
        let (begun, cpu) = (Instant::now(), thread_cpu());
        for batch in &batches {
            store.apply(batch).unwrap();
        }
        let (wall, cpu) = (begun.elapsed(), thread_cpu() - cpu);
        println!(
            "{name}: {calls} calls, {changes} changes: {:.0} calls/s, {:.4} ms CPU and {} bytes per call",
            f64::from(calls) / wall.as_secs_f64(),
            cpu.as_secs_f64() * 1000.0 / f64::from(calls),
            std::fs::metadata(store.path()).unwrap().len() / u64::from(calls),
        );
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Two legs, six events.
fn short_call(call: CallId) -> Vec<RecordChange> {
    whole_call(call, hmac())
}

/// Four legs, 28 events.
fn rich_call(call: CallId) -> Vec<RecordChange> {
    let mut changes = whole_call(call, hmac());
    let closing = changes.split_off(changes.len() - 1);
    for leg in 2..4 {
        let mut more = whole_call(call, hmac());
        for change in &mut more {
            match change {
                RecordChange::LegOpened(opened) => opened.leg = LegNumber(leg),
                RecordChange::LegClosed(closed) => closed.leg = LegNumber(leg),
                _ => {}
            }
        }
        more.retain(|change| !matches!(change, RecordChange::CallOpened(_) | RecordChange::CallClosed(_)));
        changes.extend(more);
    }
    let prompts = (0..10).map(|n| CallEvent {
        at: UtcMicros(n * 1_000_000),
        leg: Some(LegNumber(0)),
        kind: EventKind::PromptStarted {
            prompt: "msg_location".to_owned(),
        },
    });
    changes.push(RecordChange::Events {
        call,
        events: prompts.collect(),
    });
    changes.extend(closing);
    changes
}
