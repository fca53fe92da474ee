//! Records, settings and campaigns read back.

use std::ops::ControlFlow;

use tempfile::TempDir;
use trunkline::call::disposition::{LegDisposition, SessionDisposition};
use trunkline::call::record::*;
use trunkline::store::*;
use trunkline::units::{CampaignId, PhoneNumber};

use crate::sample::*;

#[test]
fn call_reads_back_as_it_was_recorded() {
    let (_directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();

    let call = store.call(id(1)).unwrap().unwrap();
    assert_eq!(call.summary.disposition, Some(SessionDisposition::CompletedSome));
    assert_eq!(call.summary.ended_at, Some(UtcMicros(90_000_000)));
    assert_eq!(call.summary.caller_hmac, Some(hmac()));
    assert_eq!(call.summary.route.campaign, Some(CampaignId::new("congress")));
    assert_eq!(call.summary.zip.prefix.as_deref(), Some("941"));
    assert_eq!(call.legs.len(), 2);
    let office = call.legs[1].end.as_ref().unwrap();
    assert_eq!(
        (office.disposition, office.cause.q850),
        (LegDisposition::Busy, Some(17))
    );
    assert_eq!(kinds(&call), WHOLE_KINDS);
    assert_eq!(call.events[2].kind, EventKind::Digits { count: 5 });
}

#[test]
fn callers_number_and_zip_are_nowhere_in_the_database() {
    let (directory, store) = new_store();
    let key = store.caller_key().unwrap();
    let number: PhoneNumber = "+12025550173".parse().unwrap();
    let mut changes = whole_call(id(1), caller_hmac(key.as_bytes(), &number));
    for change in &mut changes {
        match change {
            RecordChange::CallOpened(opened) => {
                opened.sip_call_id = Some(kept_sip_call_id("2025550173@192.0.2.7", Some(&number)));
            }
            RecordChange::LegClosed(closed) => {
                closed.cause.phrase = Some(Phrase::new("Caller +1 (202) 555-0173 not welcome"));
            }
            _ => {}
        }
    }
    store.apply(&changes).unwrap();
    drop(store);
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for needle in ["2025550173", "555-0173", "94110"] {
            let found = bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes());
            assert!(!found, "{needle} is in the database");
        }
    }
}

#[test]
fn changes_applied_twice_count_once_and_the_first_end_stands() {
    let (_directory, store) = new_store();
    store.apply(&whole_call(id(1), hmac())).unwrap();
    let before = store.call(id(1)).unwrap().unwrap();
    let mut again = whole_call(id(1), hmac());
    again.retain(|change| !matches!(change, RecordChange::Events { .. }));
    if let Some(RecordChange::CallClosed(closed)) = again.last_mut() {
        closed.disposition = SessionDisposition::SystemError;
    }
    store.apply(&again).unwrap();
    assert_eq!(store.call(id(1)).unwrap().unwrap(), before);
}

#[test]
fn failed_batch_leaves_nothing_behind() {
    let (directory, store) = new_store();
    let other = rusqlite::Connection::open(directory.path().join("trunkline.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON call_record BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(refuse).unwrap();
    assert!(matches!(
        store.apply(&whole_call(id(1), hmac())),
        Err(StoreError::Refused(_))
    ));
    assert_eq!(store.call(id(1)).unwrap(), None);
}

#[test]
fn list_pages_through_every_call_once_newest_first() {
    let (_directory, store) = new_store();
    for n in 0..23 {
        // Four calls in the same microsecond: the id tells them apart.
        store
            .apply(&[opened(id(n), UtcMicros(i64::try_from(n / 4).unwrap()), "a")])
            .unwrap();
    }
    let mut filter = CallFilter {
        limit: Some(5),
        ..CallFilter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.calls(&filter).unwrap();
        assert!(page.calls.len() <= 5);
        seen.extend(page.calls.iter().map(|call| call.id));
        let Some(next) = page.next else { break };
        filter.after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(seen, (0..23).rev().map(id).collect::<Vec<_>>());
}

#[test]
fn list_keeps_to_its_filters() {
    let (_directory, store) = new_store();
    for n in 0..10 {
        let campaign = if n % 2 == 0 { "even" } else { "odd" };
        store
            .apply(&[opened(id(n), UtcMicros(i64::try_from(n).unwrap()), campaign)])
            .unwrap();
    }
    store
        .apply(&[closed(id(4), UtcMicros(50), SessionDisposition::AbandonedZip)])
        .unwrap();
    let found = |filter: CallFilter| -> Vec<i64> {
        store
            .calls(&filter)
            .unwrap()
            .calls
            .iter()
            .map(|call| call.started_at.0)
            .collect()
    };
    let all = CallFilter::default();
    let between = CallFilter {
        since: Some(UtcMicros(3)),
        until: Some(UtcMicros(6)),
        ..all.clone()
    };
    assert_eq!(found(between), [5, 4, 3]);
    let odd = Some(CampaignId::new("odd"));
    assert_eq!(
        found(CallFilter {
            campaign: odd,
            ..all.clone()
        }),
        [9, 7, 5, 3, 1]
    );
    let disposition = Some(SessionDisposition::AbandonedZip);
    assert_eq!(
        found(CallFilter {
            disposition,
            ..all.clone()
        }),
        [4]
    );
    assert_eq!(
        found(CallFilter {
            disposition,
            since: Some(UtcMicros(5)),
            ..all
        }),
        [0_i64; 0]
    );
}

#[test]
fn export_gives_every_call_once_oldest_first_and_stops_when_told() {
    let (_directory, store) = new_store();
    let changes: Vec<_> = (0..600).flat_map(|n| whole_call(id(n), hmac())).collect();
    store.apply(&changes).unwrap();
    let filter = CallFilter {
        limit: Some(3),
        ..CallFilter::default()
    };
    let mut seen = Vec::new();
    let all = &mut |call: CallRecord| {
        seen.push(call.summary.id);
        ControlFlow::Continue(())
    };
    store.export_calls(&filter, all).unwrap();
    assert_eq!(seen, (0..600).map(id).collect::<Vec<_>>());
    let mut taken = 0;
    let seven = &mut |_| {
        taken += 1;
        if taken == 7 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    store.export_calls(&filter, seven).unwrap();
    assert_eq!(taken, 7);
}

#[test]
fn settings_and_campaigns_are_kept_and_replaced() {
    let (_directory, store) = new_store();
    assert_eq!(store.setting("colour").unwrap(), None);
    store.put_setting("colour", "red").unwrap();
    store.put_setting("colour", "blue").unwrap();
    assert_eq!(store.setting("colour").unwrap().as_deref(), Some("blue"));

    let mut campaign = CampaignDocument {
        id: CampaignId::new("congress"),
        document: serde_json::json!({ "name": "Call Congress", "offices": [1, 2] }),
        updated_at: UtcMicros(1),
        updated_by: "ada".to_owned(),
    };
    store.put_campaign(&campaign).unwrap();
    campaign.document["name"] = "Congress now".into();
    campaign.updated_at = UtcMicros(2);
    store.put_campaign(&campaign).unwrap();
    assert_eq!(store.campaign(&campaign.id).unwrap(), Some(campaign.clone()));
    assert_eq!(store.campaigns().unwrap(), [campaign]);
    assert_eq!(store.campaign(&CampaignId::new("other")).unwrap(), None);
}

#[test]
fn callers_key_is_made_once_and_stays() {
    let directory = TempDir::new().unwrap();
    let first = open(directory.path()).caller_key().unwrap();
    let again = open(directory.path()).caller_key().unwrap();
    let (_other_directory, other) = new_store();
    assert_eq!(first, again);
    assert_ne!(first, other.caller_key().unwrap());
    assert_eq!(format!("{first:?}"), "CallerKey(…)");
}

#[test]
fn readers_go_on_while_the_writer_writes() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (_directory, store) = new_store();
    let writer = Writer::start(store.clone(), WriterConfig::default()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut last, mut reads) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let filter = CallFilter {
                    limit: Some(1000),
                    ..CallFilter::default()
                };
                let page = store.calls(&filter).unwrap();
                assert!(page.calls.len() >= last, "calls vanished");
                last = page.calls.len();
                if let Some(newest) = page.calls.first() {
                    store.call(newest.id).unwrap().unwrap();
                }
                reads += 1;
            }
            reads
        });
        for n in 0..500 {
            writer.recorder().record(whole_call(id(n), hmac())).unwrap();
            if n % 50 == 0 {
                writer.flush(PATIENCE).unwrap();
            }
        }
        writer.flush(PATIENCE).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap() > 1);
    });
    assert_eq!(count(&*store), 500);
}
