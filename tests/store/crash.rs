//! A process that is killed while it records, and what the next start makes of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::*;
use trunkline::store::*;

use crate::sample::*;

/// Ids of one round's calls start here.
const ROUND: u64 = 1_000_000;

/// When the next start finds what was left open.
const LATER: UtcMicros = UtcMicros(86_400_000_000);

#[test]
fn open_calls_end_as_system_error_once_at_their_last_known_moment() {
    let (_directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    let finished = store.call(id(1)).unwrap();
    let mut cut = whole_call(id(2), hmac());
    cut.truncate(6);
    let office = Some(LegNumber(1));
    cut.push(RecordChange::event(
        id(2),
        UtcMicros(40_000_000),
        office,
        EventKind::Ringing,
    ));
    cut.push(RecordChange::event(
        id(2),
        UtcMicros(45_000_000),
        office,
        EventKind::Answered,
    ));
    store.apply(&cut).unwrap();

    let day_later = UtcMicros(86_400_000_000);
    assert_eq!(store.close_open_calls(day_later).unwrap(), 1);
    let call = store.call(id(2)).unwrap().unwrap();
    assert_eq!(call.summary.disposition, Some(SessionDisposition::SystemError));
    assert_eq!(call.summary.ended_at, Some(UtcMicros(45_000_000)));
    assert_eq!(call.summary.ended_by, Some(EndedBy::Server));
    let leg = call.legs[1].end.as_ref().unwrap();
    assert_eq!(leg.disposition, LegDisposition::SystemError);
    assert_eq!(leg.ringing_at, Some(UtcMicros(40_000_000)));
    assert_eq!(leg.answered_at, Some(UtcMicros(45_000_000)));
    let last = call.events.last().unwrap();
    assert_eq!((last.at, &last.kind), (day_later, &EventKind::Recovered));

    assert_eq!(store.close_open_calls(UtcMicros(day_later.0 + 1)).unwrap(), 0);
    assert_eq!(store.call(id(2)).unwrap().unwrap(), call);
    assert_eq!(store.call(id(1)).unwrap(), finished);
}

/// Not a test of its own: the body of the process that the next test kills.
#[test]
#[ignore = "run by killed_process_loses_nothing_it_flushed"]
fn child_that_records_until_it_is_killed() {
    let (Ok(directory), Ok(round)) = (
        std::env::var("TRUNKLINE_STORE_CHILD"),
        std::env::var("TRUNKLINE_STORE_ROUND"),
    ) else {
        return;
    };
    let round: u64 = round.parse().unwrap();
    let store = Arc::new(open(Path::new(&directory)));
    store.close_open_calls(LATER).unwrap();
    let writer = Writer::start(store, WriterConfig::default()).unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0..u64::MAX {
        let mut changes = whole_call(id(round * ROUND + n), hmac());
        if n % 3 == 2 {
            changes.truncate(6); // stays open
        }
        for change in changes {
            writer.recorder().record(vec![change]).unwrap();
        }
        if n % 16 == 15 {
            writer.flush(PATIENCE).unwrap();
            writeln!(out, "flushed {}", n + 1).unwrap();
            out.flush().unwrap();
        }
    }
}

#[test]
fn killed_process_loses_nothing_it_flushed() {
    let directory = TempDir::new().unwrap();
    let flushed: Vec<u64> = (0..3)
        .map(|round| kill_after(child(directory.path(), round), 5 + 7 * round))
        .collect();
    let store = open(directory.path());
    assert!(
        store.close_open_calls(LATER).unwrap() > 0,
        "the last child left calls open"
    );
    assert_eq!(store.close_open_calls(LATER).unwrap(), 0);

    let mut seen = BTreeSet::new();
    let check = &mut |call: CallRecord| {
        assert!(seen.insert(call.summary.id), "{} is there twice", call.summary.id);
        check_whole(&call);
        ControlFlow::Continue(())
    };
    store.export_calls(&CallFilter::default(), check).unwrap();
    for (round, flushed) in (0..).zip(flushed) {
        for n in 0..flushed {
            assert!(
                seen.contains(&id(round * ROUND + n)),
                "call {n} of round {round} was flushed and is lost"
            );
        }
    }
}

/// A call is either whole with its own end, or closed once as a system error.
fn check_whole(call: &CallRecord) {
    let recovered = call
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Recovered)
        .count();
    match call.summary.disposition.unwrap() {
        SessionDisposition::SystemError => {
            assert_eq!(recovered, 1, "{:?}", kinds(call));
            let before = call.events.len() - 1;
            assert_eq!(
                kinds(call)[..before],
                WHOLE_KINDS[..before],
                "in order, none doubled"
            );
        }
        _ => {
            assert_eq!(kinds(call), WHOLE_KINDS);
            assert_eq!(call.legs.len(), 2);
        }
    }
    assert!(
        call.legs.iter().all(|leg| leg.end.is_some()),
        "a leg of {} is open",
        call.summary.id
    );
}

fn child(directory: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_records_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("TRUNKLINE_STORE_CHILD", directory)
        .env("TRUNKLINE_STORE_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child (SIGKILL) once it told of some flushes; returns how many calls it had flushed by then.
fn kill_after(mut child: Child, flushes: u64) -> u64 {
    let out = BufReader::new(child.stdout.take().unwrap());
    let told = |line: std::io::Result<String>| line.unwrap().split_once("flushed ")?.1.parse().ok();
    let flushed = out
        .lines()
        .filter_map(told)
        .nth(usize::try_from(flushes).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    flushed.expect("the child ended by itself")
}
