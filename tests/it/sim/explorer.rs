//! Random calls through the whole switch. A failing seed names itself; run it alone with
//! `SIM_SEED=n cargo test --test it sim::explorer`, or more of them with `SIM_SEEDS=n`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::chance::Chance;
use super::plans;
use super::world::{Operation, Wires, World};
use crate::support::HOTLINE;

/// Scenarios of one run, and calls of one scenario.
const SEEDS: u64 = 200;
const CALLS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn twenty_thousand_random_calls_leave_nothing_behind() {
    let only = number("SIM_SEED");
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let (first, last) = only.map_or((0, count), |seed| (seed, seed + 1));
    let next = AtomicU64::new(first);
    let (calls, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let kinds = Mutex::new(BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let explored = std::panic::catch_unwind(|| explore(seed, false));
                    let wrong = match explored {
                        Ok(explored) => {
                            calls.fetch_add(explored.calls, Ordering::Relaxed);
                            let mut kinds = kinds.lock().unwrap();
                            for (kind, count) in explored.kinds {
                                *kinds.entry(kind).or_default() += count;
                            }
                            explored.wrong
                        }
                        Err(_) => vec!["it panicked".to_owned()],
                    };
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push((seed, wrong));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    if std::env::var_os("SIM_ALL").is_some() {
        println!("{:#?}", kinds.lock().unwrap());
        let faults = failures
            .iter()
            .flat_map(|(seed, wrong)| wrong.iter().map(move |fault| (seed, fault)));
        faults.for_each(|(seed, fault)| println!("seed {seed}: {fault}"));
    }
    if let Some((seed, wrong)) = failures.first() {
        let (seeds, faults) = (failures.len(), wrong.len());
        let told = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
        panic!(
            "{seeds} seeds failed; of seed {seed}, {faults} faults:\n{told}\n\
             replay: SIM_SEED={seed} cargo test --test it sim::explorer::twenty"
        );
    }
    if only.is_none() && count == SEEDS {
        assert_explored(calls.into_inner(), &kinds.into_inner().unwrap());
    }
}

#[test]
fn same_seed_gives_the_same_log() {
    let logs: Vec<u64> = [3, 3, 4]
        .into_iter()
        .map(|seed| explore(seed, true).log)
        .collect();
    assert_eq!(logs[0], logs[1], "the simulation is not deterministic");
    assert_ne!(logs[0], logs[2], "the seed changes nothing");
}

/// An explorer that no longer gets anywhere finds nothing either.
fn assert_explored(calls: usize, kinds: &BTreeMap<String, usize>) {
    assert!(calls > 12_000, "only {calls} calls were taken on");
    for (kind, least) in [
        ("< 200 INVITE", 8_000),
        ("< 487 INVITE", 1_000),
        ("< 482 INVITE", 20),
        ("< INVITE", 8_000),
        ("> 200 INVITE", 3_000),
        ("> 407 INVITE", 100),
        ("> 422 INVITE", 50),
        ("> 491 INVITE", 1),
        ("> UPDATE", 100),
        ("< CANCEL", 500),
        ("< PRACK", 50),
        ("< BYE", 1_000),
        ("> BYE", 3_000),
    ] {
        let seen = kinds.get(kind).copied().unwrap_or(0);
        assert!(seen >= least, "only {seen} of {kind:?} in {kinds:#?}");
    }
}

struct Explored {
    kinds: BTreeMap<String, usize>,
    calls: usize,
    wrong: Vec<String>,
    log: u64,
}

fn explore(seed: u64, keep_log: bool) -> Explored {
    let mut chance = Chance::new(seed ^ 0x51_4d00);
    let wires = Wires {
        lost: [0, 20, 100, 250][usize::try_from(seed % 4).unwrap()],
        doubled: [0, 30, 150][usize::try_from(seed % 3).unwrap()],
        slow: Duration::from_millis([0, 300, 4000, 1500, 0][usize::try_from(seed % 5).unwrap()]),
    };
    let mut world = World::new(seed, wires);
    world.log = keep_log.then(DefaultHasher::new);
    world.offices = Box::new(|chance, _| plans::office(chance));
    for _ in 0..CALLS {
        let after = chance.between(0, 150_000);
        let called = match chance.below(20) {
            0..8 => HOTLINE,
            8..16 => "0000123",
            16..18 => "70000001",
            18 => "+12025550188",
            _ => HOTLINE,
        };
        let habits = plans::caller(&mut chance);
        world.call(after, called, habits);
    }
    operate(&mut chance, &mut world);
    world.run_until(Duration::from_secs(150));
    let wrong = world.end(Duration::from_secs(3 * 3600));
    Explored {
        calls: world.audit.calls(),
        kinds: world.audit.kinds(),
        wrong,
        log: world.log.map_or(0, |log| log.finish()),
    }
}

/// What the operator and the machine do meanwhile.
fn operate(chance: &mut Chance, world: &mut World) {
    for _ in 0..chance.below(8) {
        let at = chance.between(0, 150_000);
        let later = at + chance.between(100, 15_000);
        let (first, second) = chance.pick(&[
            (Operation::Directory, None),
            (Operation::Reload, None),
            (Operation::DropTrunk, Some(Operation::Reload)),
            (Operation::DropNumbers, Some(Operation::Reload)),
            (Operation::Resolve, None),
            (Operation::Records(false), Some(Operation::Records(true))),
            (Operation::Ports(false), Some(Operation::Ports(true))),
            (Operation::Totals(false), Some(Operation::Totals(true))),
            (Operation::Clock(3600), Some(Operation::Clock(-7200))),
        ]);
        world.operate(at, first);
        if let Some(second) = second {
            world.operate(later, second);
        }
    }
    match chance.below(12) {
        0 => world.operate(chance.between(60_000, 150_000), Operation::Drain),
        1 => world.operate(chance.between(60_000, 150_000), Operation::EndAll),
        _ => {}
    }
}
